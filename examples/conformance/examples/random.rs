//! Runs a random program on the simulator and prints what a guest prints on real Xen. The first
//! argument is the platform, as in `x86_64-dom0-4.17`; the others are the plan.

#[path = "../tests/conformance/machine.rs"]
mod machine;
#[path = "../tests/conformance/platforms.rs"]
mod platforms;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let platform = arguments.next().unwrap_or_default();
    let plan: Vec<String> = arguments.collect();
    let Some(on) = platforms::of(&platform) else {
        eprintln!("expected a platform, as in x86_64-dom0-4.17, found `{platform}`");
        return ExitCode::FAILURE;
    };
    let plan = format!("{} {}", platforms::words(&platform), plan.join(" "));
    let (lines, failure) = platforms::run_random(&on, plan);
    lines.iter().for_each(|line| println!("{line}"));
    if let Some(failure) = failure {
        println!("{failure}");
    }
    ExitCode::SUCCESS
}
