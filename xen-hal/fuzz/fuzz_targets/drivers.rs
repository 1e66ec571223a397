//! The target `drivers`: see the library's module of that name.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| xen_hal_fuzz::drivers::run(data));
