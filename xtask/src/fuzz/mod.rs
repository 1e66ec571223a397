//! Coverage-guided fuzzing of the HAL, and of the fuzz targets themselves by mistakes that are
//! planted in the HAL.
//!
//! [`target`] lists the targets of `xen-hal/fuzz`, [`build`] builds their programs with libFuzzer,
//! and [`run`] runs one and says how it ended. [`row`] is a line of the table.

pub mod build;
pub mod row;
pub mod run;
pub mod target;
