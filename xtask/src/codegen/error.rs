//! Why a description cannot be rendered.

use crate::diagnostic::Diagnostic;
use crate::layout::{LayoutError, Problem};
use crate::yaml::Place;

/// Something that the checks let pass and Rust would not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CodegenError {
    /// The node to blame.
    pub(super) place: Place,
    /// What is wrong with it.
    pub(super) message: String,
}

impl CodegenError {
    pub(super) fn new(place: &Place, message: impl Into<String>) -> Self {
        Self { place: place.clone(), message: message.into() }
    }

    pub(super) fn at(place: &Place) -> impl FnOnce(Problem) -> Self {
        move |problem| Self::new(place, problem.to_string())
    }
}

impl From<LayoutError> for CodegenError {
    fn from(error: LayoutError) -> Self {
        Self { message: error.to_string(), place: error.place }
    }
}

impl From<CodegenError> for Diagnostic {
    fn from(error: CodegenError) -> Self {
        Self::new(error.place, error.message)
    }
}
