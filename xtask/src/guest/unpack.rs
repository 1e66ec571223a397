//! Making the hypervisor's image one that the emulator can load: Debian packs it with gzip, and
//! QEMU wants the ELF file inside.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

/// What a file packed with gzip begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Writes the hypervisor's image at `from` to `to`, unpacked. Does nothing if that has been done
/// since the image last changed.
///
/// # Errors
///
/// When the image cannot be read or unpacked, or the result not written.
pub fn unpack(from: &Path, to: &Path) -> io::Result<()> {
    if is_newer(to, from) {
        return Ok(());
    }
    let mut image = Vec::new();
    File::open(from)?.read_to_end(&mut image)?;
    if image.starts_with(&GZIP) {
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(image.as_slice()).read_to_end(&mut unpacked)?;
        image = unpacked;
    }
    // Written beside its place and moved there, so that an interrupted run leaves nothing that
    // looks complete.
    let partial = to.with_extension("partial");
    fs::write(&partial, image)?;
    fs::rename(partial, to)
}

/// Whether the file `a` exists and was written after `b`.
fn is_newer(a: &Path, b: &Path) -> bool {
    let written = |path: &Path| fs::metadata(path).and_then(|data| data.modified());
    matches!((written(a), written(b)), (Ok(a), Ok(b)) if a > b)
}

#[cfg(test)]
mod tests {
    use super::unpack;
    use flate2::{Compression, write::GzEncoder};
    use std::fs;
    use std::io::Write;

    #[test]
    fn packed_and_plain_images_give_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(b"the image").unwrap();
        fs::write(folder.path().join("packed"), packer.finish().unwrap()).unwrap();
        fs::write(folder.path().join("plain"), b"the image").unwrap();
        for name in ["packed", "plain"] {
            let to = folder.path().join(format!("{name}.elf"));
            unpack(&folder.path().join(name), &to).unwrap();
            assert_eq!(fs::read(to).unwrap(), b"the image");
        }
    }

    #[test]
    fn a_broken_image_is_an_error_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("packed"), [0x1f, 0x8b, 0, 0, 0]).unwrap();
        let to = folder.path().join("xen.elf");
        assert!(unpack(&folder.path().join("packed"), &to).is_err());
        assert!(!to.exists());
    }
}
