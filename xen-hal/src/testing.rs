//! Hypervisors for unit tests.
//!
//! A [`Script`] lists the calls that it expects, and the answer to each. It fails the test at the
//! first call that differs, or at its end if calls are missing:
//!
//! ```ignore
//! let xen = Script::new()
//!     .argument(command::BindIpi, |ipi| { assert_eq!(ipi.vcpu, 1); ipi.port = 7; 0 })
//!     .argument(command::Send, |_| -errno(Errno::EINVAL));
//! let events = Events::new(&xen);
//! ```
//!
//! A [`Fake`] answers with a function, for models with state.

#![allow(dead_code, reason = "the tests of each feature use some of the helpers")]

use core::cell::{Cell, RefCell};
use core::{ptr, slice};
use std::boxed::Box;
use std::collections::VecDeque;
use std::thread;

use xen_pac::command::{Command, shape};

use crate::hypercall::{Errno, Hypercall};

/// Returns the answer of a hypercall that fails with an error.
pub(crate) fn errno(error: Errno) -> isize {
    error.to_answer()
}

/// Returns the argument at an address that a typed call passed.
///
/// # Safety
///
/// The address must be that of a valid `T` that nothing else uses. It is ignored for a zero-sized
/// `T`.
pub(crate) unsafe fn argument_at<'a, T>(address: usize) -> &'a mut T {
    if size_of::<T>() == 0 {
        // SAFETY: a pointer to a zero-sized type may dangle.
        return unsafe { ptr::NonNull::dangling().as_mut() };
    }
    // SAFETY: the caller guarantees this; typed calls expose the addresses that they pass.
    unsafe { &mut *ptr::with_exposed_provenance_mut(address) }
}

/// Implements [`Hypercall`] by the method `answer(&self, number, &arguments)`, which gets all five
/// arguments.
macro_rules! hypercall_by_answer {
    () => {
        unsafe fn call5(
            &self,
            number: u32,
            a: usize,
            b: usize,
            c: usize,
            d: usize,
            e: usize,
        ) -> isize {
            self.answer(number, &[a, b, c, d, e])
        }
    };
}

/// A hypervisor that is a function of the hypercall's number and arguments.
pub(crate) struct Fake<F>(pub(crate) F);

impl<F: Fn(u32, &[usize]) -> isize> Fake<F> {
    fn answer(&self, number: u32, arguments: &[usize]) -> isize {
        (self.0)(number, arguments)
    }
}

// SAFETY: the function stands for the hypervisor, and the tests rely only on what it does.
unsafe impl<F: Fn(u32, &[usize]) -> isize> Hypercall for Fake<F> {
    hypercall_by_answer!();
}

type Reply<'a> = Box<dyn FnOnce(&[usize]) -> isize + 'a>;

struct Step<'a> {
    name: &'static str,
    hypercall: u32,
    command: usize,
    reply: Reply<'a>,
}

/// A hypervisor that expects certain calls in a certain order.
#[derive(Default)]
pub(crate) struct Script<'a>(RefCell<VecDeque<Step<'a>>>, Cell<u32>);

impl<'a> Script<'a> {
    /// Creates a script that expects no call.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Expects a command that takes no argument.
    pub(crate) fn bare<C: Command<Shape = shape::Bare>>(self, _: C, answer: isize) -> Self {
        self.step::<C>(move |arguments| {
            assert_eq!(arguments.get(1..), Some(&[0; 4][..]), "{}", C::NAME);
            answer
        })
    }

    /// Expects a command with an argument, which the reply checks, and fills with answers.
    pub(crate) fn argument<C>(
        self,
        _: C,
        reply: impl FnOnce(&mut C::Argument) -> isize + 'a,
    ) -> Self
    where
        C: Command<Shape = shape::Argument>,
    {
        self.step::<C>(|arguments| {
            let &[_, argument, ..] = arguments else { panic!("{}: {arguments:?}", C::NAME) };
            // SAFETY: typed calls pass the address of the command's argument, borrowed for the
            // call.
            reply(unsafe { argument_at(argument) })
        })
    }

    /// Expects a command about a vCPU.
    pub(crate) fn vcpu<C>(
        self,
        _: C,
        reply: impl FnOnce(usize, &mut C::Argument) -> isize + 'a,
    ) -> Self
    where
        C: Command<Shape = shape::Vcpu>,
    {
        self.step::<C>(|arguments| {
            let &[_, vcpu, argument, ..] = arguments else { panic!("{}: {arguments:?}", C::NAME) };
            // SAFETY: typed calls pass the address of the command's argument, borrowed for the
            // call.
            reply(vcpu, unsafe { argument_at(argument) })
        })
    }

    /// Expects a command with several arguments.
    pub(crate) fn array<C>(self, _: C, reply: impl FnOnce(&mut [C::Argument]) -> isize + 'a) -> Self
    where
        C: Command<Shape = shape::Array>,
    {
        self.step::<C>(|arguments| {
            let &[_, first, count, ..] = arguments else { panic!("{}: {arguments:?}", C::NAME) };
            // SAFETY: typed calls pass the address of the first of `count` arguments, borrowed for
            // the call; for an empty array, the address is dangling and aligned.
            reply(unsafe { elements_at(first, count) })
        })
    }

    /// Expects a command with bytes.
    pub(crate) fn buffer<C>(
        self,
        _: C,
        reply: impl FnOnce(&mut [C::Argument]) -> isize + 'a,
    ) -> Self
    where
        C: Command<Shape = shape::Buffer>,
    {
        self.step::<C>(|arguments| {
            let &[_, count, first, ..] = arguments else { panic!("{}: {arguments:?}", C::NAME) };
            // SAFETY: as for arrays.
            reply(unsafe { elements_at(first, count) })
        })
    }

    /// Expects a command with a plain value.
    pub(crate) fn value<C>(self, _: C, reply: impl FnOnce(usize) -> isize + 'a) -> Self
    where
        C: Command<Shape = shape::Value>,
    {
        self.step::<C>(|arguments| {
            let &[_, value, ..] = arguments else { panic!("{}: {arguments:?}", C::NAME) };
            reply(value)
        })
    }

    /// Fails unless all expected calls were made.
    pub(crate) fn done(&self) {
        let left: std::vec::Vec<_> = self.0.borrow().iter().map(|step| step.name).collect();
        assert!(left.is_empty(), "expected calls were not made: {left:?}");
    }

    fn step<C: Command>(self, reply: impl FnOnce(&[usize]) -> isize + 'a) -> Self {
        let step = Step {
            name: C::NAME,
            hypercall: C::HYPERCALL,
            command: C::NUMBER as usize,
            reply: Box::new(reply),
        };
        self.0.borrow_mut().push_back(step);
        self
    }

    fn answer(&self, number: u32, arguments: &[usize]) -> isize {
        let step = self.0.borrow_mut().pop_front();
        let Some(step) = step else {
            panic!("hypercall {number} with {arguments:x?} was not expected")
        };
        assert_eq!(
            (number, arguments.first()),
            (step.hypercall, Some(&step.command)),
            "{} was expected",
            step.name
        );
        (step.reply)(arguments)
    }
}

/// # Safety
///
/// As for [`argument_at`], for each of the elements.
unsafe fn elements_at<'a, T>(first: usize, count: usize) -> &'a mut [T] {
    if count == 0 {
        return &mut [];
    }
    // SAFETY: the caller guarantees this; typed calls expose the addresses that they pass.
    unsafe { slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut(first), count) }
}

impl Drop for Script<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.done();
        }
    }
}

// SAFETY: the script stands for the hypervisor, and the tests rely only on what it does.
unsafe impl Hypercall for Script<'_> {
    hypercall_by_answer!();

    fn restores(&self) -> u32 {
        self.1.get()
    }

    fn count_restore(&self) {
        self.1.set(self.1.get() + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use xen_pac::event_channel::{EvtchnBindIpi, command};

    /// Binds an IPI as a typed call would.
    fn bind_ipi(xen: &impl Hypercall, command: u32) -> (isize, u32) {
        let mut ipi = EvtchnBindIpi::new(1);
        let address = (&raw mut ipi).expose_provenance();
        // SAFETY: the script's reply expects the argument of this command.
        let answer = unsafe {
            xen.call2(<command::BindIpi as Command>::HYPERCALL, command as usize, address)
        };
        (answer, ipi.port)
    }

    #[test]
    fn a_script_checks_and_answers() {
        let xen = Script::new().argument(command::BindIpi, |ipi| {
            assert_eq!(ipi.vcpu, 1);
            ipi.port = 7;
            0
        });
        assert_eq!(bind_ipi(&xen, command::BindIpi::NUMBER), (0, 7));
    }

    #[test]
    fn a_script_finds_wrong_and_missing_calls() {
        let expected =
            || Script::new().argument(command::BindIpi, |_| errno(Errno::new(2).unwrap()));
        assert_eq!(bind_ipi(&expected(), command::BindIpi::NUMBER).0, -2);
        catch_unwind(|| bind_ipi(&expected(), command::Close::NUMBER))
            .expect_err("another command");
        catch_unwind(|| drop(expected())).expect_err("no call");
        let spent = expected();
        bind_ipi(&spent, command::BindIpi::NUMBER);
        catch_unwind(AssertUnwindSafe(|| bind_ipi(&spent, command::BindIpi::NUMBER)))
            .expect_err("one call too many");
    }
}
