//! The commands of the workspace: `cargo xtask --help`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::commands;

/// Turns the description of the Xen guest ABI into xen-pac, and proves the result.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure the generator, and what it makes, against svd2rust.
    Bench(commands::bench::Arguments),
    /// Bring measured facts into the description's folder, or take them out.
    Facts(commands::facts::Arguments),
    /// Fuzz the HAL with arbitrary answers of Xen and arbitrary peers.
    Fuzz(commands::fuzz::Arguments),
    /// Break a copy of the HAL on purpose, and check that tests find each mistake.
    Mutants(commands::mutants::Arguments),
    /// Turn the description into xen-pac.
    Regen(commands::regen::Arguments),
    /// Run every check there is; ends with `N passed, M failed, K skipped`.
    Test(commands::test::Arguments),
    /// Hold the description to what a C compiler measured in the headers of each release.
    Verify(commands::verify::Arguments),
    /// Build guest programs and boot them on the real hypervisor.
    Guest(commands::guest::Arguments),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Bench(arguments) => commands::bench::run(&arguments),
        Command::Facts(arguments) => commands::facts::run(&arguments),
        Command::Fuzz(arguments) => commands::fuzz::run(&arguments),
        Command::Mutants(arguments) => commands::mutants::run(&arguments),
        Command::Regen(arguments) => commands::regen::run(&arguments),
        Command::Test(arguments) => commands::test::run(&arguments),
        Command::Verify(arguments) => commands::verify::run(&arguments),
        Command::Guest(arguments) => commands::guest::run(&arguments),
    }
}
