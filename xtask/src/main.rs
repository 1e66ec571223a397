//! Implements `cargo xtask`, the commands of the workspace.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::commands;

/// Generates xen-pac from the description of the Xen guest ABI, tests the crates, and boots guests.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare the generator with svd2rust, and hot paths with C.
    #[cfg(feature = "tools")]
    Bench(commands::bench::Arguments),
    /// Bring a new release of Xen's headers into the description.
    #[cfg(feature = "tools")]
    Bump(commands::bump::Arguments),
    /// Count how much of the headers is described.
    #[cfg(feature = "tools")]
    Coverage(commands::coverage::Arguments),
    /// Show what changed between two states of the ABI, and the effect on consumers.
    #[cfg(feature = "tools")]
    Diff(commands::diff::Arguments),
    /// Print the resolved ABI as JSON or YAML, for tools in other languages.
    #[cfg(feature = "tools")]
    Export(commands::export::Arguments),
    /// Measure facts and store them in abi-yaml/facts.
    #[cfg(feature = "tools")]
    Facts(commands::facts::Arguments),
    /// Fuzz the HAL with arbitrary results of Xen and arbitrary peers.
    #[cfg(feature = "tools")]
    Fuzz(commands::fuzz::Arguments),
    /// Generate the C header from the description, for kernels in C.
    #[cfg(feature = "tools")]
    Header(commands::header::Arguments),
    /// Add deliberate mistakes to a copy of the HAL, and check that tests find each.
    #[cfg(feature = "tools")]
    Mutants(commands::mutants::Arguments),
    /// Write the ABI's reference as static HTML.
    #[cfg(feature = "tools")]
    Reference(commands::reference::Arguments),
    /// Generate xen-pac from the description.
    Regen(commands::regen::Arguments),
    /// Write the JSON Schemas of the description, for editors, and the list of its keys.
    #[cfg(feature = "tools")]
    Schema(commands::schema::Arguments),
    /// Run all checks; ends with `N passed, M failed, K skipped`.
    #[cfg(feature = "tools")]
    Test(commands::test::Arguments),
    /// Compare the description with what C compilers measured in the headers of each release.
    #[cfg(feature = "tools")]
    Verify(commands::verify::Arguments),
    /// Build guest programs and boot them on the real hypervisor.
    #[cfg(feature = "tools")]
    Guest(commands::guest::Arguments),
}

fn main() -> ExitCode {
    #[cfg(not(feature = "tools"))]
    if std::env::args().nth(1).is_none_or(|command| command != "regen") {
        return with_tools();
    }
    let arguments = Arguments::try_parse().unwrap_or_else(|message| {
        let print = if message.use_stderr() { xtask::print::err } else { xtask::print::out };
        print(format_args!("{}", message.render().ansi()));
        std::process::exit(message.exit_code())
    });
    match arguments.command {
        #[cfg(feature = "tools")]
        Command::Bench(arguments) => commands::bench::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Bump(arguments) => commands::bump::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Coverage(arguments) => commands::coverage::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Diff(arguments) => commands::diff::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Export(arguments) => commands::export::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Facts(arguments) => commands::facts::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Fuzz(arguments) => commands::fuzz::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Header(arguments) => commands::header::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Mutants(arguments) => commands::mutants::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Reference(arguments) => commands::reference::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Schema(arguments) => commands::schema::run(&arguments),
        Command::Regen(arguments) => commands::regen::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Test(arguments) => commands::test::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Verify(arguments) => commands::verify::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Guest(arguments) => commands::guest::run(&arguments),
    }
}

/// Builds this program with the feature `tools`, which has all commands, and runs it.
#[cfg(not(feature = "tools"))]
fn with_tools() -> ExitCode {
    use std::os::unix::process::CommandExt;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command.args(["run", "--package", "xtask", "--manifest-path"]);
    command.arg(commands::workspace_root().join("Cargo.toml"));
    // Replaces this process, so that a signal to it reaches the command.
    let error = command.arg("--").args(std::env::args_os().skip(1)).exec();
    xtask::print::err(format_args!("error: cannot run cargo: {error}\n"));
    ExitCode::FAILURE
}
