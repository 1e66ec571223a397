//! Typed calls: each command of [`xen_pac`] knows its hypercall, its number, what it is called with
//! and what its answer means.
//!
//! A command that can break nothing whatever its argument holds is called by a safe method; the
//! others, whose arguments hold pointers or which take memory away, by the `unsafe` one of the same
//! shape.

use core::ptr;

use xen_pac::command::result::Outcome;
use xen_pac::command::{Command, SafeCommand, shape};

use super::{Errno, Hypercall, check};

/// What a command answers when it succeeds.
pub type Answer<C> = <<C as Command>::Result as Outcome>::Output;

/// The commands of Xen's hypercalls, for every [`Hypercall`] backend. One method for each shape
/// that a command can have.
pub trait Commands: Hypercall {
    /// Gives a command that takes no argument.
    ///
    /// # Errors
    ///
    /// The hypervisor's.
    #[inline(always)]
    fn bare<C: SafeCommand + Command<Shape = shape::Bare>>(
        &self,
        command: C,
    ) -> Result<Answer<C>, Errno> {
        // SAFETY: the command is safe whatever it is called with.
        unsafe { self.bare_unchecked(command) }
    }

    /// Gives a command with its argument, in which the answers of the hypervisor's are found
    /// afterwards.
    ///
    /// # Errors
    ///
    /// The hypervisor's.
    #[inline(always)]
    fn argument<C: SafeCommand + Command<Shape = shape::Argument>>(
        &self,
        command: C,
        argument: &mut C::Argument,
    ) -> Result<Answer<C>, Errno> {
        // SAFETY: the command is safe whatever it is called with.
        unsafe { self.argument_unchecked(command, argument) }
    }

    /// Gives a command about a vCPU, with its argument, which is `&mut ()` for those that have
    /// none.
    ///
    /// # Errors
    ///
    /// The hypervisor's.
    #[inline(always)]
    fn vcpu<C: SafeCommand + Command<Shape = shape::Vcpu>>(
        &self,
        command: C,
        vcpu: u32,
        argument: &mut C::Argument,
    ) -> Result<Answer<C>, Errno> {
        // SAFETY: the command is safe whatever it is called with.
        unsafe { self.vcpu_unchecked(command, vcpu, argument) }
    }

    /// Gives a command with several arguments at once.
    ///
    /// # Errors
    ///
    /// The hypervisor's; more arguments than its 32-bit count can tell are refused as it would
    /// refuse them.
    #[inline(always)]
    fn array<C: SafeCommand + Command<Shape = shape::Array>>(
        &self,
        command: C,
        arguments: &mut [C::Argument],
    ) -> Result<Answer<C>, Errno> {
        // SAFETY: the command is safe whatever it is called with.
        unsafe { self.array_unchecked(command, arguments) }
    }

    /// Gives a command with bytes, which the hypervisor only reads: one that writes to them is none
    /// of the safe ones.
    ///
    /// # Errors
    ///
    /// The hypervisor's.
    #[inline(always)]
    fn buffer<C: SafeCommand + Command<Shape = shape::Buffer>>(
        &self,
        command: C,
        bytes: &[C::Argument],
    ) -> Result<Answer<C>, Errno> {
        // SAFETY: the command changes no memory, and the slice is valid for reading.
        unsafe { self.buffer_unchecked(command, bytes.as_ptr().cast_mut(), bytes.len()) }
    }

    /// Gives a command with a plain value.
    ///
    /// # Errors
    ///
    /// The hypervisor's.
    #[inline(always)]
    fn value<C: SafeCommand + Command<Shape = shape::Value>>(
        &self,
        command: C,
        value: usize,
    ) -> Result<Answer<C>, Errno> {
        // SAFETY: the command is safe whatever it is called with.
        unsafe { self.value_unchecked(command, value) }
    }

    /// As [`bare`](Self::bare), for any command.
    ///
    /// # Errors
    ///
    /// The hypervisor's.
    ///
    /// # Safety
    ///
    /// What the command does to the domain, as its documentation says, must be something that the
    /// rest of the program expects.
    #[inline(always)]
    unsafe fn bare_unchecked<C: Command<Shape = shape::Bare>>(
        &self,
        _: C,
    ) -> Result<Answer<C>, Errno> {
        // Xen looks for an argument with some of them all the same, and null says that there is
        // none: whatever the register held would be taken for one. SAFETY: there is no argument;
        // the rest is the caller's promise.
        interpret::<C>(unsafe { self.call2(C::HYPERCALL.0, C::NUMBER as usize, 0) })
    }

    /// As [`argument`](Self::argument), for any command.
    ///
    /// # Errors
    ///
    /// The hypervisor's.
    ///
    /// # Safety
    ///
    /// What the argument points to must be valid for what the command does there, and what it does
    /// to the domain must be expected.
    #[inline(always)]
    unsafe fn argument_unchecked<C: Command<Shape = shape::Argument>>(
        &self,
        _: C,
        argument: &mut C::Argument,
    ) -> Result<Answer<C>, Errno> {
        // SAFETY: the argument is valid and of the command's type; the rest is the caller's
        // promise.
        interpret::<C>(unsafe { self.call2(C::HYPERCALL.0, C::NUMBER as usize, address(argument)) })
    }

    /// As [`vcpu`](Self::vcpu), for any command.
    ///
    /// # Errors
    ///
    /// The hypervisor's.
    ///
    /// # Safety
    ///
    /// As for [`argument_unchecked`](Self::argument_unchecked).
    #[inline(always)]
    unsafe fn vcpu_unchecked<C: Command<Shape = shape::Vcpu>>(
        &self,
        _: C,
        vcpu: u32,
        argument: &mut C::Argument,
    ) -> Result<Answer<C>, Errno> {
        // SAFETY: the argument is valid and of the command's type; the rest is the caller's
        // promise.
        interpret::<C>(unsafe {
            self.call3(C::HYPERCALL.0, C::NUMBER as usize, vcpu as usize, address(argument))
        })
    }

    /// As [`array`](Self::array), for any command.
    ///
    /// # Errors
    ///
    /// As for [`array`](Self::array).
    ///
    /// # Safety
    ///
    /// As for [`argument_unchecked`](Self::argument_unchecked), for each of the arguments.
    #[inline(always)]
    unsafe fn array_unchecked<C: Command<Shape = shape::Array>>(
        &self,
        _: C,
        arguments: &mut [C::Argument],
    ) -> Result<Answer<C>, Errno> {
        let count = u32::try_from(arguments.len()).map_err(|_| Errno::E2BIG)?;
        // SAFETY: there are that many valid arguments of the command's type; the rest is the
        // caller's promise.
        interpret::<C>(unsafe {
            self.call3(C::HYPERCALL.0, C::NUMBER as usize, address(arguments), count as usize)
        })
    }

    /// As [`buffer`](Self::buffer), for any command, those that write to the bytes included.
    ///
    /// # Errors
    ///
    /// The hypervisor's.
    ///
    /// # Safety
    ///
    /// The `length` bytes at `bytes` must be valid for what the command does with them, and what it
    /// does to the domain must be expected.
    #[inline(always)]
    unsafe fn buffer_unchecked<C: Command<Shape = shape::Buffer>>(
        &self,
        _: C,
        bytes: *mut C::Argument,
        length: usize,
    ) -> Result<Answer<C>, Errno> {
        // SAFETY: the caller's promise.
        interpret::<C>(unsafe {
            self.call3(C::HYPERCALL.0, C::NUMBER as usize, length, bytes.expose_provenance())
        })
    }

    /// As [`value`](Self::value), for any command.
    ///
    /// # Errors
    ///
    /// The hypervisor's.
    ///
    /// # Safety
    ///
    /// What the command does to the domain must be something that the rest of the program expects.
    #[inline(always)]
    unsafe fn value_unchecked<C: Command<Shape = shape::Value>>(
        &self,
        _: C,
        value: usize,
    ) -> Result<Answer<C>, Errno> {
        // SAFETY: there is no pointer; the rest is the caller's promise.
        interpret::<C>(unsafe { self.call2(C::HYPERCALL.0, C::NUMBER as usize, value) })
    }
}

impl<H: Hypercall + ?Sized> Commands for H {}

/// The address by which the hypervisor finds an argument: null for one that is empty, which stands
/// for none.
///
/// Every typed argument passes through here. An encrypted guest, whose memory the hypervisor cannot
/// read, would copy it to where it can.
#[inline(always)]
fn address<T: ?Sized>(argument: &mut T) -> usize {
    if size_of_val(argument) == 0 {
        0
    } else {
        ptr::from_mut(argument).cast::<u8>().expose_provenance()
    }
}

#[inline(always)]
fn interpret<C: Command>(answer: isize) -> Result<Answer<C>, Errno> {
    check(answer).map(C::Result::from_answer)
}
