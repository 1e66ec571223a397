//! Block devices: data through the backend and back, and each side hostile in turn.

use std::error::Error;

use embedded_storage::{ReadStorage, Storage};
use xen_hal::Xen;
use xen_hal::blk::{BlockDevice, BlockError, BlockInfo, SECTOR_SIZE};
use xen_hal::grant::{Access, GrantError};
use xen_hal::ring::{DevicePage, FrontRing, Protocol, YieldWait};
use xen_hal::xenbus::{Frontend, Step, XenbusError};
use xen_hal::xenstore::Tree;
use xen_pac::blkif::{BlkifOperation, BlkifRequest, BlkifRequestSegment, BlkifResponse};
use xen_pac::xenstore::XenbusState;
use xen_sim::backend::{BackendFault, Disk};
use xen_sim::{DomainSpace, FaultRates, Guest, Hypervisor, for_each_seed};

use super::devices::{GuestStore, Table, World, patience, relax, run};

const DEVICE: &str = "device/vbd/51712";

type GuestDisk<'a> = BlockDevice<'a, 'static, Hypervisor, DomainSpace, YieldWait<Hypervisor>>;

fn connect<'p>(
    store: &mut GuestStore<'_>,
    table: Table,
    pages: &'p mut [DevicePage<'static>],
) -> Result<GuestDisk<'p>, BlockError> {
    let disk = BlockDevice::connect(Hypervisor, store, DEVICE, table, pages)?;
    Ok(disk.with_wait(patience()))
}

/// Bytes that differ from sector to sector.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index / SECTOR_SIZE * 7 + index * 3) as u8).collect()
}

#[test]
fn what_is_written_is_on_the_disk_and_read_back() {
    for rates in [FaultRates::none(), FaultRates::new(), FaultRates::storm()] {
        for_each_seed(4, |seed| {
            // Fewer pages than a request can have, and more than all requests have.
            let (pages, disk) = ([2, 7, 50][seed as usize % 3], Disk::new(600));
            let (shown, expected) = (disk.clone(), pattern(401 * SECTOR_SIZE));
            let written = expected.clone();
            let report = run(seed, rates, disk, pages, move |world| {
                let mut disk = connect(&mut world.store, world.table, &mut world.pages)?;
                let info =
                    BlockInfo { sectors: 600, sector_size: 512, read_only: false, flush: true };
                assert_eq!(*disk.info(), info);
                disk.write(3, &written)?;
                disk.flush()?;
                let mut read = vec![0; written.len()];
                disk.read(3, &mut read)?;
                assert!(read == written);

                // Any bytes, by the traits.
                assert_eq!(disk.capacity(), 600 * SECTOR_SIZE);
                for (offset, length) in [(0, 3), (511, 2), (700, 1000), (512, 512), (1000, 3000)] {
                    Storage::write(&mut disk, offset, &vec![0xa5; length])?;
                    let mut around = vec![0; length + 2];
                    ReadStorage::read(&mut disk, offset.saturating_sub(1), &mut around)?;
                    let begin = usize::from(offset > 0);
                    assert!(around[begin..begin + length].iter().all(|byte| *byte == 0xa5));
                }
                disk.write(0, &vec![0; 3 * SECTOR_SIZE])?;
                disk.write(3, &written)?;

                // Requests in flight together. One is cancelled.
                let (first, length) = disk.submit_read(3, 1024)?;
                let (second, _) = disk.submit_read(4, 512).unwrap_or((first, 0));
                let mut attempts = 0;
                // A buffer that is longer than the request's data.
                let mut sector = vec![0xee; length + SECTOR_SIZE];
                while disk.answer(first, &mut sector)?.is_none() {
                    relax()?;
                    attempts += 1;
                    assert!(attempts < 4000);
                }
                assert_eq!(sector[..length], written[..length]);
                assert_eq!(sector[length..], [0xee; SECTOR_SIZE]);
                assert_eq!(disk.answer(first, &mut sector), Err(BlockError::NotInFlight));
                disk.cancel(second);
                assert_eq!(disk.answer(second, &mut sector), Err(BlockError::NotInFlight));

                for (sector, bytes, error) in [
                    (600, 512, BlockError::OutOfRange),
                    (u64::MAX, 1024, BlockError::OutOfRange),
                    (0, 601 * 512, BlockError::OutOfRange),
                    (0, 100, BlockError::Misaligned),
                ] {
                    assert_eq!(disk.read(sector, &mut vec![0; bytes]), Err(error));
                    assert_eq!(disk.write(sector, &vec![0; bytes]), Err(error));
                }
                // An empty range needs no request.
                assert_eq!(disk.read(0, &mut []), Ok(()));
                assert_eq!(disk.submit_read(0, 0).err(), Some(BlockError::Misaligned));
                assert_eq!(disk.submit_write(0, &[]).err(), Some(BlockError::Misaligned));
                // The contents show below that no byte was written.
                let beyond = Storage::write(&mut disk, 600 * 512 - 1, &[0xa5; 2]);
                assert_eq!(beyond, Err(BlockError::OutOfRange));
                for (offset, expected) in [(0, Ok(())), (1, Err(BlockError::OutOfRange))] {
                    let empty = ReadStorage::read(&mut disk, 600 * 512 + offset, &mut []);
                    assert_eq!(empty, expected, "{offset}");
                }
                drop(disk);

                // A device that was dropped is closed by the next one, and can be connected again.
                let mut disk = connect(&mut world.store, world.table, &mut world.pages)?;
                disk.read(3, &mut read)?;
                assert!(read == written);
                Ok(disk.close(&mut world.store)?)
            })?;
            let contents = shown.contents();
            assert!(contents[3 * SECTOR_SIZE..404 * SECTOR_SIZE] == expected);
            assert!(contents[404 * SECTOR_SIZE..].iter().all(|byte| *byte == 0));
            assert_eq!(shown.flushes(), 1);
            Ok(report)
        });
    }
}

/// Returns the errors that operations can have while the backend misbehaves.
fn expected(fault: BackendFault) -> &'static [BlockError] {
    match fault {
        BackendFault::Silent | BackendFault::Vanishes => &[BlockError::TimedOut],
        // Every request is answered, and no page is free.
        BackendFault::KeepsPages => &[BlockError::Busy],
        BackendFault::Fails => &[BlockError::Failed],
        BackendFault::Closes => &[],
        BackendFault::Scribbles => &[BlockError::Broken, BlockError::TimedOut],
        _ => &[BlockError::Broken],
    }
}

#[test]
fn a_hostile_backend_is_refused_and_nothing_leaks() {
    for fault in BackendFault::ALL {
        for_each_seed(3, |seed| {
            let disk = Disk::new(64);
            let shown = disk.clone();
            // With two, the backend has all pages when the device breaks.
            let pages = [2, 6][seed as usize % 2];
            run(seed, FaultRates::new(), disk.clone(), pages, move |world| {
                let mut disk = connect(&mut world.store, world.table, &mut world.pages)?;
                disk.write(0, &pattern(4096))?;
                shown.set_fault(Some(fault));
                let (mut errors, mut sector) = (Vec::new(), [0; 4096]);
                for _ in 0..12 {
                    errors.extend(disk.write(8, &pattern(4096)).err());
                    errors.extend(disk.read(0, &mut sector).err());
                }
                let allowed = expected(fault);
                assert_eq!(errors.is_empty(), allowed.is_empty(), "{fault:?}: {errors:?}");
                assert!(
                    errors.iter().all(|error| allowed.contains(error)),
                    "{fault:?}: {errors:?}"
                );
                // After an invalid response, the driver reads no other.
                let broken = errors.iter().position(|error| *error == BlockError::Broken);
                let after = &errors[broken.unwrap_or(errors.len())..];
                assert!(after.iter().all(|error| *error == BlockError::Broken));

                match disk.frontend().step(&mut world.store)? {
                    Step::Close => assert_eq!(fault, BackendFault::Closes),
                    Step::Gone => assert_eq!(fault, BackendFault::Vanishes),
                    step => assert_eq!(step, Step::Ready),
                }
                // Either way ends the use of the device.
                if seed % 2 == 0 {
                    drop(disk);
                } else {
                    disk.close(&mut world.store)?;
                }
                shown.set_fault(None);
                if fault == BackendFault::Vanishes {
                    let gone = connect(&mut world.store, world.table, &mut world.pages).err();
                    let errors = [XenbusError::BackendGone.into()];
                    assert!(gone.is_some_and(|error| errors.contains(&error)), "{gone:?}");
                    return Ok(());
                }
                // The same backend, which behaves again.
                let mut disk = connect(&mut world.store, world.table, &mut world.pages)?;
                disk.write(16, &pattern(9000 / 512 * 512))?;
                let mut read = vec![0; 9000 / 512 * 512];
                disk.read(16, &mut read)?;
                assert_eq!(read, pattern(9000 / 512 * 512));
                Ok(disk.close(&mut world.store)?)
            })
        });
    }
}

#[test]
fn a_transfer_uses_the_references_that_there_are() {
    for_each_seed(2, |seed| {
        run(seed, FaultRates::new(), Disk::new(64), 7, |world| {
            // References for the ring and two of the six other pages.
            let mut slots = Vec::new();
            while world.table.available() > 3 {
                slots.push(world.table.slot()?);
            }
            let mut disk = connect(&mut world.store, world.table, &mut world.pages)?;
            let (data, mut read) = (pattern(64 * SECTOR_SIZE), vec![0; 64 * SECTOR_SIZE]);
            disk.write(0, &data)?;
            disk.read(0, &mut read)?;
            assert!(read == data);
            assert_eq!(disk.submit_read(0, 3 * 4096)?.1, 2 * 4096);
            let full = Err(BlockError::Grant(GrantError::Full));
            assert_eq!(disk.submit_read(0, 4096), full);
            Ok(disk.close(&mut world.store)?)
        })
    });
}

#[test]
fn keys_of_the_backend_are_checked() {
    let malformed = |key| Some(XenbusError::Malformed(key).into());
    for (key, value, error) in [
        ("sectors", "x", malformed("sectors")),
        ("sectors", "18446744073709551616", malformed("sectors")),
        ("sector-size", "513", malformed("sector-size")),
        ("sector-size", "0", malformed("sector-size")),
        ("sector-size", "8192", malformed("sector-size")),
        ("info", "none", malformed("info")),
        ("sectors", "18446744073709551615", None),
        ("sector-size", "4096", None),
    ] {
        let disk = Disk::new(64);
        disk.set_key(key, value);
        run(1, FaultRates::none(), disk, 4, move |world| {
            let disk = connect(&mut world.store, world.table, &mut world.pages);
            assert_eq!(disk.as_ref().err().copied(), error, "{key} = {value}");
            let Ok(mut disk) = disk else { return Ok(()) };
            // The backend refuses what the disk does not have.
            let expected = if key == "sectors" {
                [Ok(()), Err(BlockError::Failed)]
            } else {
                [Err(BlockError::Misaligned), Err(BlockError::OutOfRange)]
            };
            assert_eq!(disk.read(8, &mut [0; 512]), expected[0]);
            assert_eq!(disk.read(1 << 52, &mut [0; 4096]), expected[1]);
            Ok(disk.close(&mut world.store)?)
        })
        .unwrap();
    }
    for (number, error) in [
        (None, XenbusError::Missing("virtual-device")),
        (Some("x"), XenbusError::Malformed("virtual-device")),
    ] {
        run(1, FaultRates::none(), Disk::new(64), 4, move |world| {
            match number {
                Some(number) => world.store.write((DEVICE, "virtual-device"), number)?,
                None => world.store.rm((DEVICE, "virtual-device"))?,
            }
            let disk = connect(&mut world.store, world.table, &mut world.pages);
            assert_eq!(disk.err(), Some(error.into()));
            Ok(())
        })
        .unwrap();
    }
    let disk = Disk::new(64);
    disk.set_read_only();
    run(1, FaultRates::none(), disk, 1, move |world| {
        let connected = connect(&mut world.store, world.table, &mut world.pages);
        assert_eq!(connected.err(), Some(BlockError::NoPages));
        Ok(())
    })
    .unwrap();
    let disk = Disk::new(64);
    disk.set_read_only();
    run(1, FaultRates::none(), disk, 2, move |world| {
        let mut disk = connect(&mut world.store, world.table, &mut world.pages)?;
        assert_eq!(disk.write(0, &[0; 512]), Err(BlockError::ReadOnly));
        disk.read(0, &mut [0; 512])?;
        Ok(disk.close(&mut world.store)?)
    })
    .unwrap();
}

struct Blkif;

impl Protocol for Blkif {
    type Request = BlkifRequest;
    type Response = BlkifResponse;
}

/// Connects as a driver does, then sends random requests to the backend.
fn attack(world: &mut World<'_>, guest: Guest) -> Result<(), Box<dyn Error>> {
    let xen = Xen::new(Hypervisor);
    let mut frontend = Frontend::open(&mut world.store, DEVICE)?;
    let peer = frontend.backend_domain();
    let page = world.pages.remove(0).into_page(&world.table).map_err(|_| "the page is free")?;
    let data = world.pages.remove(0).into_page(&world.table).map_err(|_| "the page is free")?;
    let channel = xen.events().alloc_unbound(peer)?;
    let data = world.table.lend(data, peer, Access::ReadWrite)?;
    let mut ring: FrontRing<_, Blkif> =
        FrontRing::new(world.table.lend(page, peer, Access::ReadWrite)?);
    let references = [data.reference().0, ring.memory().reference().0, 0, 9999, u32::MAX];
    let (reference, port) = (ring.memory().reference(), channel.port().0);
    loop {
        match frontend.next_step(&mut world.store)? {
            Step::Publish => {
                let keys = [("ring-ref", &reference as _), ("event-channel", &port as _)];
                frontend.publish(&mut world.store, &keys, XenbusState::INITIALISED)?;
            }
            Step::Connect => break,
            Step::Closed => frontend.restart(&mut world.store)?,
            step => return Err(format!("{step:?}").into()),
        }
    }
    let any = |values: &[u64]| values[guest.random() as usize % values.len()];
    for act in 0..200 {
        let segment = |_| {
            let reference = references[guest.random() as usize % references.len()];
            let mut segment = BlkifRequestSegment::new(reference, 0, 7);
            if any(&[0, 1]) == 0 {
                (segment.first_sect, segment.last_sect) =
                    (guest.random() as u8, guest.random() as u8 % 9);
            }
            segment
        };
        let request = BlkifRequest::new(
            BlkifOperation(any(&[0, 1, 2, 3, 5, 6, 255]) as u8),
            any(&[0, 1, 11, 12, 255]) as u8,
            guest.random() as u16,
            guest.random(),
            any(&[0, 8, 63, 64, 1 << 55, u64::MAX]),
            std::array::from_fn(segment),
        );
        let _ = ring.push(&request);
        if act >= 100 {
            // In the second half, it also overwrites the indices and entries.
            let at = any(&[0, 4, 8, 12, guest.random() % 4096 / 4 * 4]) as usize;
            ring.memory().bytes().store(at, any(&[0, guest.random(), 1 << 31]) as u32)?;
        }
        let _ = ring.publish();
        channel.send()?;
        relax()?;
        while ring.pop().is_some() {}
    }
    frontend.switch(&mut world.store, XenbusState::CLOSED)?;
    assert_eq!(frontend.next_step(&mut world.store)?, Step::Closed);
    frontend.unwatch(&mut world.store)?;
    for grant in [data, ring.into_memory()] {
        let (_, page) = grant.revoke().map_err(|in_use| in_use.to_string())?;
        world.pages.push(page.into());
    }
    Ok(())
}

#[test]
fn a_hostile_frontend_reaches_nothing_but_its_disk() {
    for_each_seed(8, |seed| {
        let disk = Disk::new(64);
        let shown = disk.clone();
        let report = run(seed, FaultRates::new(), disk, 4, |world| {
            attack(world, Guest::here().ok_or("this is a vCPU")?)?;
            // The backend serves a correct driver as before.
            let mut disk = connect(&mut world.store, world.table, &mut world.pages)?;
            disk.write(8, &pattern(4096))?;
            let mut read = vec![0; 4096];
            disk.read(8, &mut read)?;
            assert_eq!(read, pattern(4096));
            Ok(disk.close(&mut world.store)?)
        })?;
        assert_eq!(shown.contents().len(), 64 * SECTOR_SIZE);
        Ok(report)
    });
}
