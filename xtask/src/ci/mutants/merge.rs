//! Merges all mutants into one text of the HAL, in which an environment variable selects one at run
//! time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use quote::ToTokens;
use syn::{Block, ImplItem, Item, TraitItem};

use super::{Fault, Mutant};

/// The environment variable with the number of the mistake that a program makes.
pub(super) const VARIABLE: &str = "XEN_HAL_MUTANT";

/// The crate's root, which gets [`CHOICE`].
const ROOT: &str = "xen-hal/src/lib.rs";

/// The function that changed functions call. `NAME` stands for [`VARIABLE`].
const CHOICE: &str = "
mod mutant {
    extern crate std;
    static CHOSEN: std::sync::LazyLock<Option<usize>> =
        std::sync::LazyLock::new(|| std::env::var(\"NAME\").ok()?.parse().ok());
    #[inline]
    pub(crate) fn is(number: usize) -> bool {
        *CHOSEN == Some(number)
    }
}
";

/// Returns the files that mutants change, with all their changes; a mutant's number is its index.
///
/// # Errors
///
/// A mutant does not apply, or changes something that is not the body of a function.
pub(super) fn merge(root: &Path, mutants: &[&Mutant]) -> Result<BTreeMap<String, String>, Fault> {
    let files: BTreeSet<&str> = mutants.iter().flat_map(|mutant| mutant.files()).collect();
    let mut merged = BTreeMap::new();
    for file in files.into_iter().chain([ROOT]) {
        let path = root.join(file);
        let mut text = std::fs::read_to_string(&path)
            .map_err(|error| Fault(format!("{}: {error}", path.display())))?;
        let mut variants = Vec::new();
        for (number, mutant) in mutants.iter().enumerate() {
            if mutant.files().contains(file) {
                variants.push((number, mutant.apply(file, &text)?));
            }
        }
        if !variants.is_empty() {
            text = choose(&text, &variants).map_err(|why| Fault(format!("{file}: {why}")))?;
        }
        if file == ROOT {
            text += &CHOICE.replace("NAME", VARIABLE);
        }
        merged.insert(file.to_owned(), text);
    }
    Ok(merged)
}

/// Returns the file `text`, in which each function that a variant changes has both bodies.
fn choose(text: &str, variants: &[(usize, String)]) -> Result<String, String> {
    let parse = |text: &str| syn::parse_file(text).map_err(|error| error.to_string());
    let mut merged = parse(text)?;
    for (number, variant) in variants {
        let (mut old, mut new) = (parse(text)?, parse(variant)?);
        let take = |file: &mut syn::File| -> Vec<Block> {
            let empty = || Block { brace_token: Default::default(), stmts: Vec::new() };
            bodies(&mut file.items)
                .into_iter()
                .map(|body| std::mem::replace(body, empty()))
                .collect()
        };
        let changes = take(&mut old).into_iter().zip(take(&mut new));
        if code(&old) != code(&new) {
            return Err("expected a mutant that changes bodies of functions only".to_owned());
        }
        for (body, (old, new)) in bodies(&mut merged.items).into_iter().zip(changes) {
            if code(&old) != code(&new) {
                *body = syn::parse_quote!({ if crate::mutant::is(#number) #new else #body });
            }
        }
    }
    Ok(prettyplease::unparse(&merged))
}

fn code(tokens: &impl ToTokens) -> String {
    tokens.to_token_stream().to_string()
}

/// Returns the bodies of all functions, in their order.
fn bodies(items: &mut [Item]) -> Vec<&mut Block> {
    let mut found = Vec::new();
    for item in items {
        match item {
            Item::Fn(function) => found.push(&mut *function.block),
            Item::Impl(item) => found.extend(item.items.iter_mut().filter_map(|item| match item {
                ImplItem::Fn(function) => Some(&mut function.block),
                _ => None,
            })),
            Item::Trait(item) => {
                found.extend(item.items.iter_mut().filter_map(|item| match item {
                    TraitItem::Fn(function) => function.default.as_mut(),
                    _ => None,
                }));
            }
            Item::Mod(item) => {
                found.extend(item.content.iter_mut().flat_map(|(_, items)| bodies(items)));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "const N: u8 = 1;\nimpl A {\n    fn a() -> u8 { N }\n}\n\
        trait B { fn b() {} }\nmod c { fn c() {} }\n";

    #[test]
    fn a_function_has_all_its_bodies() {
        let variants = [
            (3, TEXT.replace("{ N }", "{ N + 1 }").replace("fn b() {}", "fn b() { x() }")),
            (5, TEXT.replace("{ N }", "{ 0 }").replace("fn c() {}", "fn c() { y() }")),
        ];
        let expected = "const N: u8 = 1; \
            impl A { fn a() -> u8 { if crate::mutant::is(5usize) { 0 } \
            else { if crate::mutant::is(3usize) { N + 1 } else { N } } } } \
            trait B { fn b() { if crate::mutant::is(3usize) { x() } else {} } } \
            mod c { fn c() { if crate::mutant::is(5usize) { y() } else {} } }";
        let merged = choose(TEXT, &variants).unwrap();
        assert_eq!(merged.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn only_bodies_are_changed() {
        for (from, to) in [("= 1", "= 2"), ("-> u8", "-> u16"), ("fn b() {}", "fn b();")] {
            let error = choose(TEXT, &[(0, TEXT.replace(from, to))]).unwrap_err();
            assert!(error.contains("bodies of functions only"), "{error}");
        }
    }
}
