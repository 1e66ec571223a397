//! Implements the traits of `embedded-storage`: bytes at any offset below 4 GiB.

use core::ops::Range;

use embedded_storage::{ReadStorage, Storage};

use super::{BlockDevice, BlockError, SECTOR_SIZE};
use crate::hypercall::Hypercall;
use crate::platform::PAGE_SIZE;
use crate::ring::Wait;

impl<H: Hypercall + Copy, A, W: Wait> BlockDevice<'_, '_, H, A, W> {
    /// Calls `work` for each part of the bytes that start at `offset`: part of a sector, or whole
    /// sectors. Its arguments are the first sector, the offset in it, and the part's range within
    /// the bytes.
    fn for_each_part(
        &mut self,
        offset: u32,
        length: usize,
        mut work: impl FnMut(&mut Self, u64, usize, Range<usize>) -> Result<(), BlockError>,
    ) -> Result<(), BlockError> {
        let unit = self.info.sector_size;
        let offset = usize::try_from(offset)?;
        let end = offset.checked_add(length).ok_or(BlockError::OutOfRange)?;
        // Checked before the first part, so a write beyond the end changes nothing.
        if (end.div_ceil(unit) * (unit / SECTOR_SIZE)) as u64 > self.info.sectors {
            return Err(BlockError::OutOfRange);
        }
        let mut done = 0;
        while done < length {
            let (place, left) = (offset + done, length - done);
            let inner = place % unit;
            let count =
                if inner != 0 || left < unit { left.min(unit - inner) } else { left - left % unit };
            let sector = ((place - inner) / SECTOR_SIZE) as u64;
            work(self, sector, inner, done..done + count)?;
            done += count;
        }
        Ok(())
    }
}

impl<H: Hypercall + Copy, A, W: Wait> ReadStorage for BlockDevice<'_, '_, H, A, W> {
    type Error = BlockError;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), BlockError> {
        let unit = self.info.sector_size;
        self.for_each_part(offset, bytes.len(), |disk, sector, inner, range| {
            let part = &mut bytes[range];
            if part.len() % unit == 0 {
                return BlockDevice::read(disk, sector, part);
            }
            let mut whole = [0; PAGE_SIZE];
            BlockDevice::read(disk, sector, &mut whole[..unit])?;
            part.copy_from_slice(&whole[inner..inner + part.len()]);
            Ok(())
        })
    }

    /// Returns the device's size in bytes, limited to what a `usize` can hold.
    fn capacity(&self) -> usize {
        usize::try_from(self.info.sectors)
            .ok()
            .and_then(|sectors| sectors.checked_mul(SECTOR_SIZE))
            .unwrap_or(usize::MAX)
    }
}

impl<H: Hypercall + Copy, A, W: Wait> Storage for BlockDevice<'_, '_, H, A, W> {
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), BlockError> {
        let unit = self.info.sector_size;
        self.for_each_part(offset, bytes.len(), |disk, sector, inner, range| {
            let part = &bytes[range];
            if part.len() % unit == 0 {
                return BlockDevice::write(disk, sector, part);
            }
            let mut whole = [0; PAGE_SIZE];
            BlockDevice::read(disk, sector, &mut whole[..unit])?;
            whole[inner..inner + part.len()].copy_from_slice(part);
            BlockDevice::write(disk, sector, &whole[..unit])
        })
    }
}
