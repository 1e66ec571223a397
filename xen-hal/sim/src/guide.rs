#![doc = include_str!("../docs/testing-with-the-simulator.md")]
// The page is the documentation: what it shows is compiled and run with the other examples.
