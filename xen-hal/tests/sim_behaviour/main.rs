//! How the simulator behaves.
fn main() {}
