//! What the commands that measure headers have in common.

use crate::headers::compiler::TARGETS;
use crate::headers::measure::{Measured, measure};
use crate::headers::tree::Tree;
use std::path::Path;

/// How to measure headers.
#[derive(Debug, clap::Args)]
pub struct Compilers {
    /// The C compiler that measures; without it, the first that is found for each architecture.
    #[arg(long)]
    cc: Option<String>,
    /// Measure for this architecture only.
    #[arg(long, value_parser = TARGETS.map(|target| target.arch))]
    arch: Option<String>,
}

/// Measures headers for each architecture that is wanted and has a compiler; prints the compilers,
/// and which are missing.
pub(super) fn measure_all(
    folder: &Path,
    compilers: &Compilers,
) -> Result<Vec<(&'static str, Measured)>, String> {
    let tree = Tree::find(folder).map_err(|error| error.to_string())?;
    println!("headers: {}", tree.root.display());
    let Compilers { cc, arch } = compilers;
    let mut all = Vec::new();
    for target in
        TARGETS.iter().filter(|target| arch.as_ref().is_none_or(|arch| arch == target.arch))
    {
        let compiler = match target.compiler(cc.as_deref()) {
            Ok(compiler) => compiler,
            Err(missing) if arch.is_none() => {
                println!("{:8} skipped: {missing}", target.arch);
                continue;
            }
            Err(missing) => return Err(missing.to_string()),
        };
        let measured = measure(&tree, target, &compiler).map_err(|error| error.to_string())?;
        println!(
            "{:8} `{compiler}` read {} headers ({} are not for guests): {} constants, {} structs",
            target.arch,
            measured.headers.len(),
            measured.skipped.len(),
            measured.constants.len(),
            measured.structs.len()
        );
        all.push((target.arch, measured));
    }
    if all.is_empty() { Err("no architecture could be measured".to_owned()) } else { Ok(all) }
}
