//! Files of the library with unit tests, which run here: otherwise the whole library would be
//! compiled again for them. None of them uses another module of the library.
#![allow(dead_code, unreachable_pub, reason = "the library uses and exports the rest")]

#[path = "../../src/config/faults.rs"]
mod faults;
#[path = "../../src/state/hash.rs"]
mod hash;
#[path = "../../src/state/random.rs"]
mod random;
#[path = "../../src/state/scale.rs"]
mod scale;
