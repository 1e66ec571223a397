//! The steps that turn the description in `abi-yaml` into `xen-pac`, and those that prove the
//! result.
//!
//! Data flows one way: [`document`] is what `parse` makes of the YAML and `check` judges, `resolve`
//! lays it out for one architecture and release, and `render` writes Rust. The commands only string
//! these together.

pub mod bench;
pub mod check;
pub mod ci;
pub mod commands;
pub mod diagnostic;
pub mod document;
pub mod guest;
pub mod headers;
pub mod parse;
pub mod regen;
pub mod render;
pub mod resolve;
pub mod source;

pub mod tools;
