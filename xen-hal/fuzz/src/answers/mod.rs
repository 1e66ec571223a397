//! tmp
pub fn run(_: &[u8]) {}
