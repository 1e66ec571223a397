//! Typed calls. Each command of [`xen_pac`] defines its hypercall, its number, its argument and its
//! result.

use core::ptr;

use xen_pac::command::result::Outcome;
use xen_pac::command::{Command, SafeCommand, shape};

use super::{Errno, Hypercall, check};
use crate::platform::VcpuId;

/// The result of a command that succeeds.
pub type Answer<C> = <<C as Command>::Result as Outcome>::Output;

/// The arguments of a command: see [`CallShape`].
pub type Arguments<'a, C> =
    <<C as Command>::Shape as CallShape>::Arguments<'a, <C as Command>::Argument>;

/// The arguments of a command for [`Commands::call_unchecked`]: see [`CallShape`].
pub type UncheckedArguments<'a, C> =
    <<C as Command>::Shape as CallShape>::Unchecked<'a, <C as Command>::Argument>;

/// Issues the commands of all hypercalls, through every [`Hypercall`] backend.
///
/// [`call`](Self::call) issues commands that cannot break memory safety, whatever their argument
/// holds. Commands whose arguments hold pointers, or that remove memory, need
/// [`call_unchecked`](Self::call_unchecked). On return, an argument passed by `&mut` holds Xen's
/// outputs.
///
/// ```
/// use xen_hal::hypercall::{Commands, Errno, Hypercall};
/// use xen_hal::platform::VcpuId;
/// use xen_pac::version::{XenFeatureInfo, command};
/// use xen_pac::vcpu;
///
/// fn features_and_state(xen: &dyn Hypercall) -> Result<(u32, bool), Errno> {
///     let mut word = XenFeatureInfo::new(0);
///     xen.call(command::GetFeatures, &mut word)?;
///     let up = xen.call(vcpu::command::IsUp, (VcpuId(1), &mut ()))?;
///     Ok((word.submap, up))
/// }
/// # xen_sim::storm(xen_sim::Profile::DOMU, 10, |guest| {
/// #     assert_eq!(features_and_state(&guest.xen()), Err(Errno::ENOENT)); // there is no vCPU 1
/// # });
/// ```
pub trait Commands: Hypercall {
    /// Issues a command.
    ///
    /// # Errors
    ///
    /// The hypervisor's error. `E2BIG` for an array whose length does not fit into 32 bits.
    #[inline(always)]
    fn call<'a, C>(&self, command: C, arguments: Arguments<'a, C>) -> Result<Answer<C>, Errno>
    where
        C: SafeCommand + Command<Shape: CallShape, Argument: 'a>,
    {
        // SAFETY: a safe command keeps memory valid, whatever its argument holds, and the arguments
        // are borrowed for the call.
        unsafe { self.call_unchecked(command, C::Shape::unchecked(arguments)) }
    }

    /// Issues any command.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call).
    ///
    /// # Safety
    ///
    /// Every pointer in the arguments must be valid for what the command does there. The caller
    /// must permit the command's documented effects on the domain.
    #[inline(always)]
    unsafe fn call_unchecked<'a, C>(
        &self,
        _: C,
        arguments: UncheckedArguments<'a, C>,
    ) -> Result<Answer<C>, Errno>
    where
        C: Command<Shape: CallShape, Argument: 'a>,
    {
        // SAFETY: the caller's obligations are the same.
        let answer = unsafe { C::Shape::issue(self, C::HYPERCALL, C::NUMBER as usize, arguments) };
        check(answer).map(C::Result::from_answer)
    }
}

impl<H: Hypercall + ?Sized> Commands for H {}

/// A kind of argument list: each command has one such shape. The trait maps it to Rust types. `A`
/// is the command's argument type.
///
/// | shape | `Arguments` | `Unchecked`, if different |
/// |---|---|---|
/// | [`Bare`](shape::Bare) | `()` | |
/// | [`Argument`](shape::Argument) | `&mut A` | |
/// | [`Vcpu`](shape::Vcpu) | `(VcpuId, &mut A)`; `A` is `()` if there is no argument | |
/// | [`Array`](shape::Array) | `&mut [A]` | |
/// | [`Buffer`](shape::Buffer) | `&[A]`; a command that writes to the buffer is not safe | `*mut [A]` |
/// | [`Value`](shape::Value) | `usize` | |
pub trait CallShape: shape::Shape {
    /// The arguments of [`Commands::call`].
    type Arguments<'a, A: 'a>;
    /// The arguments of [`Commands::call_unchecked`].
    type Unchecked<'a, A: 'a>;

    /// Converts the arguments of a safe call to those of an unchecked one.
    #[doc(hidden)]
    fn unchecked<'a, A: 'a>(arguments: Self::Arguments<'a, A>) -> Self::Unchecked<'a, A>;

    /// Makes the hypercall and returns its result.
    ///
    /// # Safety
    ///
    /// As for [`Commands::call_unchecked`].
    #[doc(hidden)]
    unsafe fn issue<'a, A: 'a, H: Hypercall + ?Sized>(
        xen: &H,
        hypercall: u32,
        command: usize,
        arguments: Self::Unchecked<'a, A>,
    ) -> isize;
}

/// Implements a shape whose unchecked arguments are the same as its checked ones.
macro_rules! arguments {
    ($A:ident => $arguments:ty) => {
        type Arguments<'a, $A: 'a> = $arguments;
        type Unchecked<'a, $A: 'a> = $arguments;

        #[inline(always)]
        fn unchecked<'a, $A: 'a>(arguments: $arguments) -> $arguments {
            arguments
        }
    };
}

impl CallShape for shape::Bare {
    arguments!(A => ());

    #[inline(always)]
    unsafe fn issue<'a, A: 'a, H: Hypercall + ?Sized>(
        xen: &H,
        hypercall: u32,
        command: usize,
        (): (),
    ) -> isize {
        // Some of these commands have an optional argument. Null means none; otherwise Xen would
        // use the register's content as an address. SAFETY: no pointer is passed; the caller's
        // obligations are the same.
        unsafe { xen.call2(hypercall, command, 0) }
    }
}

impl CallShape for shape::Argument {
    arguments!(A => &'a mut A);

    #[inline(always)]
    unsafe fn issue<'a, A: 'a, H: Hypercall + ?Sized>(
        xen: &H,
        hypercall: u32,
        command: usize,
        argument: &'a mut A,
    ) -> isize {
        // SAFETY: the argument is borrowed; the caller's obligations are the same.
        unsafe { xen.call2(hypercall, command, address(argument)) }
    }
}

impl CallShape for shape::Vcpu {
    arguments!(A => (VcpuId, &'a mut A));

    #[inline(always)]
    unsafe fn issue<'a, A: 'a, H: Hypercall + ?Sized>(
        xen: &H,
        hypercall: u32,
        command: usize,
        (vcpu, argument): (VcpuId, &'a mut A),
    ) -> isize {
        // SAFETY: the argument is borrowed; the caller's obligations are the same.
        unsafe { xen.call3(hypercall, command, vcpu.0 as usize, address(argument)) }
    }
}

impl CallShape for shape::Array {
    arguments!(A => &'a mut [A]);

    #[inline(always)]
    unsafe fn issue<'a, A: 'a, H: Hypercall + ?Sized>(
        xen: &H,
        hypercall: u32,
        command: usize,
        arguments: &'a mut [A],
    ) -> isize {
        let Ok(count) = u32::try_from(arguments.len()) else { return Errno::E2BIG.to_answer() };
        // SAFETY: that many arguments are borrowed; the caller's obligations are the same.
        unsafe { xen.call3(hypercall, command, address(arguments), count as usize) }
    }
}

impl CallShape for shape::Buffer {
    type Arguments<'a, A: 'a> = &'a [A];
    type Unchecked<'a, A: 'a> = *mut [A];

    #[inline(always)]
    fn unchecked<'a, A: 'a>(arguments: &'a [A]) -> *mut [A] {
        ptr::from_ref(arguments).cast_mut()
    }

    #[inline(always)]
    unsafe fn issue<'a, A: 'a, H: Hypercall + ?Sized>(
        xen: &H,
        hypercall: u32,
        command: usize,
        buffer: *mut [A],
    ) -> isize {
        let address = buffer.cast::<A>().expose_provenance();
        // SAFETY: the caller's obligations are the same.
        unsafe { xen.call3(hypercall, command, buffer.len(), address) }
    }
}

impl CallShape for shape::Value {
    arguments!(A => usize);

    #[inline(always)]
    unsafe fn issue<'a, A: 'a, H: Hypercall + ?Sized>(
        xen: &H,
        hypercall: u32,
        command: usize,
        value: usize,
    ) -> isize {
        // SAFETY: no pointer is passed; the caller's obligations are the same.
        unsafe { xen.call2(hypercall, command, value) }
    }
}

/// Returns the address of an argument for the hypervisor: null, which means none, for an argument
/// of size 0.
///
/// Every typed argument passes through this function. A port to encrypted guests, whose memory the
/// hypervisor cannot read, can copy the argument to shared memory here.
#[inline(always)]
fn address<T: ?Sized>(argument: &mut T) -> usize {
    if size_of_val(argument) == 0 {
        0
    } else {
        ptr::from_mut(argument).cast::<u8>().expose_provenance()
    }
}
