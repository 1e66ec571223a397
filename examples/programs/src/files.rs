//! A file system on a block device: a file gets a line each time the program runs.

use core::cell::RefCell;
use core::ops::ControlFlow;

use embedded_sdmmc::{
    Block, BlockCount, BlockDevice as Blocks, BlockIdx, Mode, TimeSource, Timestamp, VolumeIdx,
    VolumeManager,
};
use xen_hal::blk::{BlockDevice, BlockError, BlockInfo, SECTOR_SIZE};
use xen_hal::console::Console;
use xen_hal::hypercall::Hypercall;
use xen_hal::ring::Wait;

use crate::Error;

/// The file that counts runs.
const FILE: &str = "RUNS.TXT";
/// The line that each run adds.
const LINE: &[u8] = b"a guest was here\r\n";

/// Where the only partition begins, and what a file system of type FAT16 has.
const PARTITION: u32 = 64;
const PARTITION_TYPE: u8 = 0x0e;
const ROOT_ENTRIES: u16 = 512;
const CLUSTERS: core::ops::Range<u32> = 4085..65525;

/// Adds a line to a file on the disk and shows the disk's files. A disk whose first sector is zero
/// is formatted first.
///
/// # Errors
///
/// The console's, the disk's, and [`Error::Files`] if the disk has no file system that is
/// understood.
pub fn files<H: Hypercall + Copy, A, V: Wait, W: Wait>(
    console: &mut Console<'_, H, W>,
    disk: &mut BlockDevice<'_, '_, H, A, V>,
) -> Result<(), Error> {
    let BlockInfo { sectors, sector_size, read_only, flush } = *disk.info();
    writeln!(
        console,
        "the disk: {sectors} units of {SECTOR_SIZE} bytes, in sectors of {sector_size}; \
         read-only: {read_only}, flush: {flush}"
    )?;
    let mut first = [0; Block::LEN];
    disk.read(0, &mut first)?;
    if first.iter().all(|byte| *byte == 0) {
        format(disk)?;
        writeln!(console, "formatted")?;
    }

    let volumes: VolumeManager<_, _> = VolumeManager::new(Adapter(RefCell::new(disk)), NoClock);
    let volume = volumes.open_volume(VolumeIdx(0))?;
    let root = volume.open_root_dir()?;
    let file = root.open_file_in_dir(FILE, Mode::ReadWriteCreateOrAppend)?;
    file.write(LINE)?;
    file.close()?;
    let mut written = Ok(());
    root.iterate_dir(|entry| {
        written = writeln!(console, "{}: {} bytes", entry.name, entry.size);
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    written?;
    let file = root.open_file_in_dir(FILE, Mode::ReadOnly)?;
    let mut lines = 0;
    let mut line = [0; LINE.len()];
    while !file.is_eof() {
        file.read(&mut line)?;
        if line != LINE {
            return Err(Error::Files("a line is not what was written"));
        }
        lines += 1;
    }
    file.close()?;
    drop(root);
    drop(volume);
    let (Adapter(disk), NoClock) = volumes.free();
    disk.into_inner().flush()?;
    writeln!(console, "runs: {lines}")?;
    Ok(console.flush()?)
}

/// Writes a partition table with one partition, and an empty file system into that.
fn format<H: Hypercall + Copy, A, V: Wait>(
    disk: &mut BlockDevice<'_, '_, H, A, V>,
) -> Result<(), Error> {
    let sectors = u32::try_from(disk.info().sectors).unwrap_or(u32::MAX);
    let sectors = sectors.saturating_sub(PARTITION);
    let cluster = (sectors / CLUSTERS.end + 1).next_power_of_two();
    let Ok(cluster_sectors) = u8::try_from(cluster) else {
        return Err(Error::Files("the disk is too large for FAT16"));
    };
    // Two bytes for each cluster. The tables themselves take some clusters, so this is an upper
    // bound.
    let table = (sectors / cluster + 2).div_ceil(Block::LEN as u32 / 2);
    let root = u32::from(ROOT_ENTRIES) * 32 / Block::LEN as u32;
    let data = sectors.saturating_sub(1 + 2 * table + root);
    if !CLUSTERS.contains(&(data / cluster)) {
        return Err(Error::Files("the disk is too small for FAT16"));
    }

    let mut boot = [0; Block::LEN];
    boot[..11].copy_from_slice(b"\xeb\x3c\x90XENGUEST");
    boot[11..13].copy_from_slice(&512_u16.to_le_bytes());
    boot[13] = cluster_sectors;
    boot[14..16].copy_from_slice(&1_u16.to_le_bytes());
    boot[16] = 2;
    boot[17..19].copy_from_slice(&ROOT_ENTRIES.to_le_bytes());
    boot[21] = 0xf8;
    boot[22..24].copy_from_slice(&(table as u16).to_le_bytes());
    boot[28..32].copy_from_slice(&PARTITION.to_le_bytes());
    boot[32..36].copy_from_slice(&sectors.to_le_bytes());
    boot[38] = 0x29;
    boot[43..62].copy_from_slice(b"XEN GUEST  FAT16   ");
    boot[510..].copy_from_slice(&[0x55, 0xaa]);
    disk.write(PARTITION.into(), &boot)?;
    let mut sector = [0; Block::LEN];
    for index in 1..=2 * table + root {
        // The first two entries of each table are reserved.
        let begins = index == 1 || index == 1 + table;
        sector[..4].copy_from_slice(if begins { &[0xf8, 0xff, 0xff, 0xff] } else { &[0; 4] });
        disk.write((PARTITION + index).into(), &sector)?;
    }

    let mut partitions = [0; Block::LEN];
    partitions[450] = PARTITION_TYPE;
    partitions[454..458].copy_from_slice(&PARTITION.to_le_bytes());
    partitions[458..462].copy_from_slice(&sectors.to_le_bytes());
    partitions[510..].copy_from_slice(&[0x55, 0xaa]);
    Ok(disk.write(0, &partitions)?)
}

/// The disk as the file system's crate uses it.
struct Adapter<'d, D>(RefCell<&'d mut D>);

impl<H: Hypercall + Copy, A, W: Wait> Blocks for Adapter<'_, BlockDevice<'_, '_, H, A, W>> {
    type Error = BlockError;

    fn read(&self, blocks: &mut [Block], first: BlockIdx) -> Result<(), BlockError> {
        let mut disk = self.0.try_borrow_mut().map_err(|_| BlockError::Busy)?;
        blocks
            .iter_mut()
            .zip(u64::from(first.0)..)
            .try_for_each(|(block, sector)| disk.read(sector, &mut block.contents))
    }

    fn write(&self, blocks: &[Block], first: BlockIdx) -> Result<(), BlockError> {
        let mut disk = self.0.try_borrow_mut().map_err(|_| BlockError::Busy)?;
        blocks
            .iter()
            .zip(u64::from(first.0)..)
            .try_for_each(|(block, sector)| disk.write(sector, &block.contents))
    }

    fn num_blocks(&self) -> Result<BlockCount, BlockError> {
        let disk = self.0.try_borrow().map_err(|_| BlockError::Busy)?;
        Ok(BlockCount(u32::try_from(disk.info().sectors)?))
    }
}

/// Files have no dates.
struct NoClock;

impl TimeSource for NoClock {
    fn get_timestamp(&self) -> Timestamp {
        Timestamp {
            year_since_1970: 10,
            zero_indexed_month: 0,
            zero_indexed_day: 0,
            hours: 0,
            minutes: 0,
            seconds: 0,
        }
    }
}

impl From<embedded_sdmmc::Error<BlockError>> for Error {
    fn from(error: embedded_sdmmc::Error<BlockError>) -> Self {
        use embedded_sdmmc::Error as Files;
        match error {
            Files::DeviceError(error) => error.into(),
            Files::FormatError(reason) => Self::Files(reason),
            Files::NotEnoughSpace => Self::Files("the disk is full"),
            Files::NotFound => Self::Files("there is no such file"),
            _ => Self::Files("it cannot be used"),
        }
    }
}
