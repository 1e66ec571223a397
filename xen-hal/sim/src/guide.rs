#![doc = include_str!("../docs/testing-with-the-simulator.md")]
// The page is the documentation, and its examples are tests.
