//! Hypercalls: calling conventions and commands.

use super::manifest::ArchId;
use super::types::TypeRef;
use super::{Head, name_of};
use crate::yaml::Place;

/// How an architecture makes a hypercall.
#[derive(Clone, Debug)]
pub struct Convention {
    /// The architecture.
    pub arch: ArchId,
    /// The documentation.
    pub doc: String,
    /// The register that holds the hypercall's number.
    pub number: String,
    /// The registers that hold the arguments.
    pub arguments: Vec<String>,
    /// The register in which the answer comes.
    pub result: String,
    /// The instructions that can make the call.
    pub instructions: Vec<String>,
    /// Whether Xen can fill a page with code that makes the call.
    pub page: bool,
    /// The constant that the instruction carries.
    pub immediate: Option<String>,
    /// The other registers and flags that change.
    pub clobbers: Vec<String>,
    /// The node in the YAML.
    pub place: Place,
}

/// The commands of one hypercall.
#[derive(Clone, Debug)]
pub struct CommandSet {
    /// A value of the enumeration `hypercall_nr`.
    pub hypercall: String,
    /// The documentation.
    pub doc: String,
    /// The prefix of the C names of the commands.
    pub prefix: String,
    /// The commands.
    pub list: Vec<Command>,
    /// The node in the YAML.
    pub place: Place,
}

/// A command of a hypercall.
#[derive(Clone, Debug)]
pub struct Command {
    /// The name, and the other keys that all items have.
    pub head: Head,
    /// Its number.
    pub number: u64,
    /// C's arguments.
    pub shape: CallShape,
    /// What its argument points to.
    pub argument: Option<TypeRef>,
    /// The meaning of a result that is not an error.
    pub result: CallResult,
    /// The damage that a wrong call causes.
    pub hazard: Option<String>,
}

/// C's arguments of a hypercall with commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallShape {
    /// (command)
    Bare,
    /// (command, pointer)
    Argument,
    /// (command, vCPU, pointer)
    Vcpu,
    /// (command, pointer, count)
    Array,
    /// (command, count, pointer)
    Buffer,
    /// (command, value)
    Value,
}

impl CallShape {
    /// All of them, with their names in the description.
    pub const ALL: [(&'static str, Self); 6] = [
        ("bare", Self::Bare),
        ("argument", Self::Argument),
        ("vcpu", Self::Vcpu),
        ("array", Self::Array),
        ("buffer", Self::Buffer),
        ("value", Self::Value),
    ];

    /// Returns its name in the description.
    #[must_use]
    pub fn name(self) -> &'static str {
        name_of(&Self::ALL, self)
    }
}

/// The meaning of a result that is not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallResult {
    /// Nothing.
    None,
    /// A number.
    Value,
    /// The number of completed operations.
    Count,
    /// A truth value: not 0 means true.
    Boolean,
}

impl CallResult {
    /// All of them, with their names in the description.
    pub const ALL: [(&'static str, Self); 4] = [
        ("none", Self::None),
        ("value", Self::Value),
        ("count", Self::Count),
        ("boolean", Self::Boolean),
    ];

    /// Returns its name in the description.
    #[must_use]
    pub fn name(self) -> &'static str {
        name_of(&Self::ALL, self)
    }
}
