//! Generates `xen-pac` from the description in `abi-yaml`, and checks the result.
//!
//! Data flows one way: [`yaml`] reads the folder, [`document`] parses it, [`layout`] computes
//! layouts for one architecture and release, [`naming`] creates Rust names, [`check`] reports
//! errors, and [`codegen`] writes Rust. [`generate`] runs these steps in order. [`headers`]
//! compares the description with the measurements of C compilers, [`export`] writes the
//! resolved ABI as data, [`mod@reference`] as HTML, and [`schema`] the keys of the language. The
//! commands only call these steps. Without the feature `tools`, the crate has only the steps of
//! `cargo xtask regen`.

#[macro_use]
pub mod print;

#[cfg(feature = "tools")]
pub mod bench;
pub mod check;
#[cfg(feature = "tools")]
pub mod ci;
pub mod codegen;
pub mod commands;
pub mod diagnostic;
pub mod document;
#[cfg(feature = "tools")]
pub mod export;
pub mod generate;
#[cfg(feature = "tools")]
pub mod guest;
#[cfg(feature = "tools")]
pub mod headers;
pub mod layout;
pub mod naming;
#[cfg(feature = "tools")]
pub mod reference;
#[cfg(feature = "tools")]
mod replace;
#[cfg(feature = "tools")]
pub mod schema;
#[cfg(feature = "tools")]
pub mod tools;
pub use xtask_yaml as yaml;
