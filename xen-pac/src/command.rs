//! What every command of every hypercall says of itself: its number, its argument, how it is
//! called, and what its answer means.
//!
//! The commands are generated, as unit structs; whoever makes hypercalls is generic over
//! [`Command`]:
//!
//! ```
//! use xen_pac::command::{Command, SafeCommand, result::Outcome, shape};
//!
//! /// Calls Xen: number of the hypercall, command, pointer to the argument.
//! # fn hypercall(_hypercall: u32, _command: u32, _argument: *mut u8) -> isize { 0 }
//! fn call<C>(_: C, argument: &mut C::Argument) -> Result<<C::Result as Outcome>::Output, isize>
//! where
//!     C: SafeCommand + Command<Shape = shape::Argument>,
//! {
//!     match hypercall(C::HYPERCALL.0, C::NUMBER, (&raw mut *argument).cast()) {
//!         error if error < 0 => Err(error),
//!         answer => Ok(<C::Result as Outcome>::from_answer(answer as usize)),
//!     }
//! }
//! ```

use crate::access::Data;
use crate::hypercall::Hypercall;
use crate::release::Release;

/// One command of a hypercall.
pub trait Command {
    /// What it is called with; `()` where there is nothing, the element of an array, the byte of a
    /// buffer.
    type Argument: Data;
    /// Which machine arguments it takes: one of [`shape`].
    type Shape: shape::Shape;
    /// What an answer that is not negative means: one of [`result`].
    type Result: result::Outcome;
    /// The other facts, in one value.
    const FACTS: Facts;
    /// The hypercall that it belongs to.
    const HYPERCALL: Hypercall = Self::FACTS.hypercall;
    /// Its number within the hypercall.
    const NUMBER: u32 = Self::FACTS.number;
    /// Its name in C.
    const NAME: &'static str = Self::FACTS.name;
    /// The first release whose headers offer it.
    const SINCE: Release = Self::FACTS.since;
    /// The first release whose hypervisor does it.
    const HONOURED_SINCE: Release = Self::FACTS.honoured_since;
}

/// What there is to know of a command besides its types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The hypercall that it belongs to.
    pub hypercall: Hypercall,
    /// Its number within the hypercall.
    pub number: u32,
    /// Its name in C.
    pub name: &'static str,
    /// The first release whose headers offer it.
    pub since: Release,
    /// The first release whose hypervisor does it.
    pub honoured_since: Release,
}

/// A command that can break nothing of Rust's, whatever its argument holds: Xen touches no memory
/// beyond the argument, and takes none away.
///
/// # Safety
/// For every value of the argument, carrying out the command must leave all memory of the program
/// valid, and unchanged but for the argument itself.
pub unsafe trait SafeCommand: Command {}

/// Marks generated commands as safe: those whose argument holds no handle, and which the
/// description gives no hazard.
#[allow(unused_macros, reason = "which commands there are is the description's choice")]
macro_rules! safe {
    ($command:ident) => {
        const _: () = $crate::access::hold(
            !<<$command as $crate::command::Command>::Argument as $crate::access::Data>::REACHES_BEYOND,
            concat!("`", stringify!($command), "` is not safe: its argument holds a handle, or ends in an array of no fixed length"),
        );
        // SAFETY: the constant above shows that Xen touches nothing beyond the argument; a command
        // that takes memory away has a hazard in the description, and none was given.
        unsafe impl $crate::command::SafeCommand for $command {}
    };
}

/// What the description says of a command:
/// `command!(Poll: SCHED_OP, 3, "SCHEDOP_poll", Argument(SchedPoll) -> Nothing, since (4, 4), honoured (4, 4))`;
/// with `safe` before it for one that can break nothing.
#[allow(unused_macros, reason = "which commands there are is the description's choice")]
macro_rules! command {
    (safe $command:ident: $($facts:tt)*) => {
        $crate::command::command!($command: $($facts)*);
        $crate::command::safe!($command);
    };
    ($command:ident: $hypercall:ident, $number:literal, $name:literal, $shape:ident($argument:ty) -> $result:ident, since ($($since:literal),*), honoured ($($honoured:literal),*)) => {
        impl $crate::command::Command for $command {
            type Argument = $argument;
            type Shape = $crate::command::shape::$shape;
            type Result = $crate::command::result::$result;
            const FACTS: $crate::command::Facts = $crate::command::Facts {
                hypercall: $crate::hypercall::Hypercall::$hypercall,
                number: $number,
                name: $name,
                since: $crate::release::Release::new($($since),*),
                honoured_since: $crate::release::Release::new($($honoured),*),
            };
        }
    };
}

#[allow(unused_imports, reason = "which commands there are is the description's choice")]
pub(crate) use {command, safe};

/// Which machine arguments a command takes.
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
        /// The command, and a pointer to the argument.
        Argument;
        /// The command, a vCPU's number, and a pointer to the argument (null where there is none).
        Vcpu;
        /// The command, a pointer to the first argument, and how many there are.
        Array;
        /// The command, how many bytes there are, and a pointer to them.
        Buffer;
        /// The command, and a value.
        Value;
    }
}

/// What an answer that is not negative means; a negative one is an error's number with its sign
/// turned.
pub mod result {
    /// One of the meanings of this module.
    pub trait Outcome: sealed::Sealed {
        /// What the caller gets.
        type Output;

        /// Interprets an answer that is not an error.
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
        /// Nothing but that it worked.
        Nothing -> (): _answer => ();
        /// A value.
        Value -> usize: answer => answer;
        /// How many of the things asked for were done.
        Count -> usize: answer => answer;
        /// Yes or no.
        Boolean -> bool: answer => answer != 0;
    }
}

/// How an architecture makes a hypercall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convention {
    /// The register that holds the hypercall's number.
    pub number: &'static str,
    /// The registers of the arguments, first to fifth. Xen may change each of them.
    pub arguments: &'static [&'static str],
    /// The register in which the answer comes.
    pub result: &'static str,
    /// The instructions that make the call, of which a processor has one.
    pub instructions: &'static [&'static str],
    /// Whether Xen can also provide a page of code that makes it.
    pub page: bool,
    /// The number inside the instruction, where it has one.
    pub immediate: Option<u64>,
    /// What else a call changes.
    pub clobbers: &'static [&'static str],
}
