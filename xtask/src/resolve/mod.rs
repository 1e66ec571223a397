//! What the description means for one release and one architecture: names, values of constants, and
//! layouts.
//!
//! [`Names`] says what a name stands for there, [`Layouts`] where the fields of a struct lie. Both
//! can be asked about a description that has errors: they answer with a [`Problem`], and it is
//! `check` that tells the user.

mod epochs;
mod integer;
mod layout;
mod layouts;
mod names;
mod problem;
#[cfg(test)]
mod tests;

pub use integer::Integer;
pub use layout::{FieldLayout, Layout};
pub use layouts::{Layouts, MAX_DEPTH};
pub use names::{Basis, Item, MAX_ALIASES, Meaning, Names};
pub use problem::{LayoutError, Problem};
