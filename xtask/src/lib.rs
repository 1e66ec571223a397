//! The steps that turn the description in `abi-yaml` into `xen-pac`, and those that prove the
//! result.
//!
//! Data flows one way: [`yaml`] reads the folder, [`document`] understands it, [`layout`] lays it
//! out for one architecture and release, [`naming`] gives each thing its Rust name, [`check`]
//! reports what is wrong, and [`codegen`] writes Rust. [`generate`] is these steps in a row.
//! [`headers`] compares the description with what C compilers measured. The commands only string
//! steps together. Without the feature `tools` there are the steps of `cargo xtask regen` only.

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
pub mod generate;
#[cfg(feature = "tools")]
pub mod guest;
#[cfg(feature = "tools")]
pub mod headers;
pub mod layout;
pub mod naming;
#[cfg(feature = "tools")]
pub mod tools;
pub mod yaml;
