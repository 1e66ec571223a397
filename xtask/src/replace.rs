//! Writes files as a whole or not at all.

use std::path::Path;
use std::{fs, io};

/// Replaces the file at `path`. An interruption leaves the old file. What is there and is no file,
/// such as a pipe, is written to directly.
///
/// # Errors
///
/// That of the file system; the old file is there.
pub(crate) fn replace(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return fs::write(path, content);
    }
    let mut staged = path.as_os_str().to_owned();
    staged.push(".staged");
    fs::write(&staged, content)
        .and_then(|()| fs::rename(&staged, path))
        .inspect_err(|_| drop(fs::remove_file(&staged)))
}

#[cfg(test)]
mod tests {
    use super::replace;
    use std::fs;
    use std::path::Path;

    #[test]
    fn a_file_is_replaced_and_a_failure_leaves_nothing_new() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for text in ["first", "second"] {
            replace(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert!(replace(&path.join("below a file"), "text").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        replace(Path::new("/dev/null"), "text").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
