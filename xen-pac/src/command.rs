//! Defines the commands of all hypercalls: number, argument, shape of the call, meaning of the
//! result.
//!
//! Each command is a generated unit struct. Code that makes hypercalls is generic over [`Command`]:
//!
//! ```
//! use xen_pac::command::{Command, SafeCommand, result::Outcome, shape};
//!
//! /// Calls Xen with the hypercall's number, the command, and a pointer to the argument.
//! # fn hypercall(_hypercall: u32, _command: u32, _argument: *mut u8) -> isize { 0 }
//! fn call<C>(_: C, argument: &mut C::Argument) -> Result<<C::Result as Outcome>::Output, isize>
//! where
//!     C: SafeCommand + Command<Shape = shape::Argument>,
//! {
//!     match hypercall(C::HYPERCALL, C::NUMBER, (&raw mut *argument).cast()) {
//!         error if error < 0 => Err(error),
//!         answer => Ok(<C::Result as Outcome>::from_answer(answer as usize)),
//!     }
//! }
//! ```

use crate::access::Data;
use crate::release::Release;

/// One command of a hypercall.
pub trait Command {
    /// The type of the argument: `()` without one, the element of an array, the byte of a buffer.
    type Argument: Data;
    /// The shape of the machine arguments: one of [`shape`].
    type Shape: shape::Shape;
    /// The meaning of a non-negative result: one of [`result`].
    type Result: result::Outcome;
    /// The facts about the command that are not types.
    const FACTS: Facts;
    /// The number of the hypercall that the command belongs to: one of the constants of
    /// `hypercall::HypercallNr`.
    const HYPERCALL: u32 = Self::FACTS.hypercall;
    /// The command's number within the hypercall.
    const NUMBER: u32 = Self::FACTS.number;
    /// The command's name in C.
    const NAME: &'static str = Self::FACTS.name;
    /// The first release whose headers offer it.
    const SINCE: Release = Self::FACTS.since;
    /// The first release whose hypervisor honours it.
    const HONOURED_SINCE: Release = Self::FACTS.honoured_since;
    /// Whether some hypervisor for this architecture honours it. One that does not returns an
    /// error, usually -ENOSYS or -EINVAL.
    const HONOURED: bool = Self::FACTS.honoured;
}

/// The facts about a command that are not types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The number of the hypercall that the command belongs to.
    pub hypercall: u32,
    /// The command's number within the hypercall.
    pub number: u32,
    /// The command's name in C.
    pub name: &'static str,
    /// The first release whose headers offer it.
    pub since: Release,
    /// The first release whose hypervisor honours it.
    pub honoured_since: Release,
    /// Whether some hypervisor for this architecture honours it.
    pub honoured: bool,
}

/// A command that is memory-safe for every value of its argument: Xen accesses no memory beyond
/// the argument, and unmaps none.
///
/// # Safety
/// For every value of the argument, the command must leave all memory of the program valid and,
/// except for the argument itself, unchanged.
pub unsafe trait SafeCommand: Command {}

/// Marks a generated command as safe: its argument holds no handle, and the description gives it no
/// hazard.
#[allow(unused_macros, reason = "the description decides which commands exist")]
macro_rules! safe {
    ($command:ident) => {
        const _: () = {
            type Argument = <$command as $crate::command::Command>::Argument;
            $crate::access::hold(
                !<Argument as $crate::access::Data>::REACHES_BEYOND,
                concat!(
                    "`",
                    stringify!($command),
                    "` is not safe: its argument holds a handle, or ends in a flexible array"
                ),
            );
        };
        // SAFETY: the constant above shows that Xen accesses nothing beyond the argument. A command
        // that unmaps memory has a hazard in the description, and this one has none.
        unsafe impl $crate::command::SafeCommand for $command {}
    };
}

/// Implements [`Command`] for a unit struct, and [`SafeCommand`] if `safe` comes first:
///
/// ```text
/// command!(
///     safe Block: crate::hypercall::HypercallNr::SCHED_OP.0, 1, "SCHEDOP_block",
///     Bare(()) -> Nothing,
///     since (4, 4), honoured (4, 4)
/// )
/// ```
#[allow(unused_macros, reason = "the description decides which commands exist")]
macro_rules! command {
    (safe $command:ident: $($facts:tt)*) => {
        $crate::command::command!($command: $($facts)*);
        $crate::command::safe!($command);
    };
    (
        $command:ident: $hypercall:expr, $number:literal, $name:literal,
        $shape:ident($argument:ty) -> $result:ident,
        since ($($since:literal),*), honoured ($($honoured:literal),*)
        $(on ($($arch:literal),*))? $(,)?
    ) => {
        impl $crate::command::Command for $command {
            type Argument = $argument;
            type Shape = $crate::command::shape::$shape;
            type Result = $crate::command::result::$result;
            const FACTS: $crate::command::Facts = $crate::command::Facts {
                hypercall: $hypercall,
                number: $number,
                name: $name,
                since: $crate::release::Release::new($($since),*),
                honoured_since: $crate::release::Release::new($($honoured),*),
                honoured: true $(&& cfg!(any($(target_arch = $arch),*)))?,
            };
        }
    };
}

#[allow(unused_imports, reason = "the description decides which commands exist")]
pub(crate) use {command, safe};

/// The machine arguments of a command.
pub mod shape {
    /// One of the shapes of this module.
    pub trait Shape: sealed::Sealed {}

    mod sealed {
        pub trait Sealed {}
    }

    macro_rules! shapes {
        ($($(#[$doc:meta])* $name:ident;)*) => {$(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub struct $name;

            impl Shape for $name {}
            impl sealed::Sealed for $name {}
        )*};
    }

    shapes! {
        /// The command alone.
        Bare;
        /// The command and a pointer to the argument.
        Argument;
        /// The command, a vCPU's number, and a pointer to the argument (null if there is none).
        Vcpu;
        /// The command, a pointer to the first argument, and their count.
        Array;
        /// The command, a count of bytes, and a pointer to them.
        Buffer;
        /// The command and a value.
        Value;
    }
}

/// The meaning of a non-negative result. A negative one is a negated error number.
pub mod result {
    /// One of the meanings of this module.
    pub trait Outcome: sealed::Sealed {
        /// The type of the result for the caller.
        type Output;

        /// Interprets a non-negative result.
        fn from_answer(answer: usize) -> Self::Output;
    }

    mod sealed {
        pub trait Sealed {}
    }

    macro_rules! outcomes {
        ($($(#[$doc:meta])* $name:ident -> $output:ty: $answer:ident => $meaning:expr;)*) => {$(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub struct $name;

            impl sealed::Sealed for $name {}
            impl Outcome for $name {
                type Output = $output;

                #[inline(always)]
                fn from_answer($answer: usize) -> $output {
                    $meaning
                }
            }
        )*};
    }

    outcomes! {
        /// Success, without a value.
        Nothing -> (): _answer => ();
        /// A value.
        Value -> usize: answer => answer;
        /// The number of completed operations.
        Count -> usize: answer => answer;
        /// True if not 0. Xen returns 1 for true; every other value counts as true as well.
        Boolean -> bool: answer => answer != 0;
    }
}

/// The hypercall convention of an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convention {
    /// The register that holds the hypercall's number.
    pub number: &'static str,
    /// The registers of the first to the fifth argument. Xen may change each of them.
    pub arguments: &'static [&'static str],
    /// The register of the result.
    pub result: &'static str,
    /// The instructions that make the call. Each processor supports one of them.
    pub instructions: &'static [&'static str],
    /// Whether Xen also provides a page of code that makes the call.
    pub page: bool,
    /// The immediate operand of the instruction, if it has one.
    pub immediate: Option<u64>,
    /// What a call changes besides these registers.
    pub clobbers: &'static [&'static str],
}

#[cfg(test)]
mod tests {
    use super::result::{Boolean, Outcome};

    #[test]
    fn a_boolean_is_true_unless_it_is_0() {
        let answers = [0, 1, 2, isize::MAX as usize];
        assert_eq!(answers.map(Boolean::from_answer), [false, true, true, true]);
    }
}
