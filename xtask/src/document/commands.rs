//! Hypercalls: calling conventions and commands.

use super::Head;
use super::manifest::ArchId;
use super::types::TypeRef;
use crate::yaml::Place;

/// How an architecture makes a hypercall.
#[derive(Clone, Debug)]
pub struct Convention {
    /// The architecture.
    pub arch: ArchId,
    /// What there is to know.
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
    /// What else changes.
    pub clobbers: Vec<String>,
    /// The node.
    pub place: Place,
}

/// The commands of one hypercall.
#[derive(Clone, Debug)]
pub struct CommandSet {
    /// A value of the enumeration `hypercall_nr`.
    pub hypercall: String,
    /// What they are about.
    pub doc: String,
    /// What the C names of the commands begin with.
    pub prefix: String,
    /// The commands.
    pub list: Vec<Command>,
    /// The node.
    pub place: Place,
}

/// A command of a hypercall.
#[derive(Clone, Debug)]
pub struct Command {
    /// Name and more.
    pub head: Head,
    /// Its number.
    pub number: u64,
    /// C's arguments.
    pub shape: CallShape,
    /// What its argument points to.
    pub argument: Option<TypeRef>,
    /// What an answer that is no error means.
    pub result: CallResult,
    /// What a careless call breaks.
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

/// What an answer that is no error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallResult {
    /// Nothing.
    None,
    /// A number.
    Value,
    /// How many were done.
    Count,
    /// Non-zero for yes.
    Boolean,
}
