//! What the description means in one release on one architecture: names, values of constants, and
//! layouts.
//!
//! [`Symbols`] says what a name stands for there, [`Layouts`] where the fields of a struct lie.
//! Both also work on a description that has errors: they return a [`Problem`], and `check` reports
//! it.

mod answer;
mod compute;
mod symbols;
#[cfg(test)]
mod tests;

pub use answer::{FieldLayout, Integer, Layout, LayoutError, Problem};
pub use compute::{Layouts, MAX_DEPTH};
pub use symbols::{Basis, Item, MAX_ALIASES, Meaning, Symbols};
