use super::*;

#[test]
fn the_description_of_this_workspace_is_understood() {
    let sources = crate::source::load(&crate::commands::workspace_root().join("abi-yaml")).unwrap();
    let (document, errors) = document(&sources);
    assert!(errors.is_empty(), "{}", crate::diagnostic::render(&errors, &sources, false));
    assert_eq!(document.unwrap().files.len() + 1, sources.files.len());
}
