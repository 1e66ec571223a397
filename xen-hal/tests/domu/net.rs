//! Network interfaces: frames to a peer and back, and each side hostile in turn.

use std::error::Error;

use xen_hal::Xen;
use xen_hal::grant::Access;
use xen_hal::net::{FRAME_MAX, NetDevice, NetError};
use xen_hal::ring::{DevicePage, FrontRing, Protocol};
use xen_hal::xenbus::{Frontend, Step, XenbusError};
use xen_hal::xenstore::Tree;
use xen_pac::netif::{NetifRxRequest, NetifRxResponse, NetifTxRequest, NetifTxResponse};
use xen_pac::xenstore::XenbusState;
use xen_sim::backend::{BackendFault, Network};
use xen_sim::{DomainSpace, FaultRates, Guest, Hypervisor, for_each_seed};

use super::devices::{GuestStore, Table, World, relax, run};

const DEVICE: &str = "device/vif/0";

type GuestNet<'a> = NetDevice<'a, 'static, Hypervisor, DomainSpace>;

fn connect<'p>(
    store: &mut GuestStore<'_>,
    table: Table,
    pages: &'p mut [DevicePage<'static>],
) -> Result<GuestNet<'p>, NetError> {
    let (tx, rx) = pages.split_at_mut(pages.len() / 2);
    NetDevice::connect(Hypervisor, store, DEVICE, table, tx, rx)
}

/// A network whose peer returns every frame.
pub(crate) fn mirror() -> Network {
    Network::new(|frame, to_guest| {
        if !frame.is_empty() {
            to_guest.push_back(frame.to_vec());
        }
    })
}

fn frame(number: usize) -> Vec<u8> {
    let length = [14, 60, 61, 1000, FRAME_MAX][number % 5];
    (0..length).map(|index| (index * 7 + number) as u8).collect()
}

/// Sends frames and receives them again, in order.
fn exchange(net: &mut GuestNet<'_>, count: usize) -> Result<(), Box<dyn Error>> {
    let (mut sent, mut received, mut idle) = (0, 0, 0);
    let mut buffer = [0; FRAME_MAX];
    while received < count {
        idle += 1;
        while sent < count && net.can_send()? {
            net.send(&frame(sent))?;
            sent += 1;
        }
        while let Some(length) = net.receive(&mut buffer)? {
            assert!(buffer[..length] == frame(received), "frame {received}");
            received += 1;
            idle = 0;
        }
        assert!(idle < 4000, "{sent} sent, {received} received");
        relax()?;
    }
    assert_eq!(net.lost(), 0);
    Ok(())
}

#[test]
fn frames_reach_the_peer_and_come_back() {
    for rates in [FaultRates::none(), FaultRates::new(), FaultRates::storm()] {
        for_each_seed(4, |seed| {
            let (network, pages) = (mirror(), [4, 9, 40, 60][seed as usize % 4]);
            let shown = network.clone();
            let report = run(seed, rates, network, pages, |world| {
                let mut net = connect(&mut world.store, world.table, &mut world.pages)?;
                assert_eq!(net.mac(), [0, 0x16, 0x3e, 0, 1, 0]);
                exchange(&mut net, 300)?;
                for length in [0, 13, FRAME_MAX + 1, 70_000] {
                    assert_eq!(net.send(&vec![0; length]), Err(NetError::FrameSize(length)));
                }
                // A frame that is longer than the buffer is lost, and the next one is not.
                net.send(&frame(1))?;
                while !net.can_send()? {
                    relax()?;
                }
                net.send(&frame(0))?;
                let (mut short, mut idle) = ([0; 20], 0);
                while net.receive(&mut short)?.is_none() {
                    relax()?;
                    idle += 1;
                    assert!(idle < 4000);
                }
                assert_eq!((&short[..14], net.lost()), (&frame(0)[..], 1));
                drop(net);
                // An interface that was dropped is closed by the next one.
                let mut net = connect(&mut world.store, world.table, &mut world.pages)?;
                exchange(&mut net, 10)?;
                Ok(net.close(&mut world.store)?)
            })?;
            assert_eq!(shown.sent(), 312);
            Ok(report)
        });
    }
}

/// Returns the errors that sending and receiving can have while the backend misbehaves, and whether
/// a frame must be lost.
fn expected(fault: BackendFault) -> (&'static [NetError], bool) {
    match fault {
        BackendFault::Silent | BackendFault::KeepsPages | BackendFault::Vanishes => {
            (&[NetError::Busy], false)
        }
        BackendFault::Fails => (&[], true),
        BackendFault::Closes => (&[], false),
        BackendFault::Scribbles => (&[NetError::Busy, NetError::Broken], false),
        _ => (&[NetError::Broken], false),
    }
}

#[test]
fn a_hostile_backend_is_refused_and_nothing_leaks() {
    for fault in BackendFault::ALL {
        for_each_seed(3, |seed| {
            let network = mirror();
            let shown = network.clone();
            // With four, the backend has all pages when the device breaks.
            let pages = [4, 12][seed as usize % 2];
            run(seed, FaultRates::new(), network, pages, move |world| {
                let mut net = connect(&mut world.store, world.table, &mut world.pages)?;
                exchange(&mut net, 3)?;
                shown.set_fault(Some(fault));
                let (mut errors, mut buffer) = (Vec::new(), [0; FRAME_MAX]);
                for number in 0..40 {
                    errors.extend(net.send(&frame(number)).err());
                    for _ in 0..60 {
                        relax()?;
                        errors.extend(net.receive(&mut buffer).err());
                    }
                }
                let (allowed, lost) = expected(fault);
                assert_eq!(errors.is_empty(), allowed.is_empty(), "{fault:?}: {errors:?}");
                assert!(
                    errors.iter().all(|error| allowed.contains(error)),
                    "{fault:?}: {errors:?}"
                );
                assert!(net.lost() > 0 || !lost, "{fault:?}");
                // After an invalid response, the driver reads no other.
                if errors.contains(&NetError::Broken) {
                    assert_eq!(net.can_send(), Err(NetError::Broken));
                    assert_eq!(net.receive(&mut buffer), Err(NetError::Broken));
                }
                match net.frontend().step(&mut world.store)? {
                    Step::Close => assert_eq!(fault, BackendFault::Closes),
                    Step::Gone => assert_eq!(fault, BackendFault::Vanishes),
                    step => assert_eq!(step, Step::Ready),
                }
                // Either way ends the use of the interface.
                if seed % 2 == 0 {
                    drop(net);
                } else {
                    net.close(&mut world.store)?;
                }
                shown.set_fault(None);
                if fault == BackendFault::Vanishes {
                    let gone = connect(&mut world.store, world.table, &mut world.pages).err();
                    assert_eq!(gone, Some(XenbusError::BackendGone.into()));
                    return Ok(());
                }
                // The same backend, which behaves again. Earlier frames may still arrive.
                let mut net = connect(&mut world.store, world.table, &mut world.pages)?;
                net.send(&frame(3))?;
                let mut idle = 0;
                while net.receive(&mut buffer)? != Some(1000) || buffer[..1000] != frame(3) {
                    relax()?;
                    idle += 1;
                    assert!(idle < 4000);
                }
                Ok(net.close(&mut world.store)?)
            })
        });
    }
}

#[test]
fn keys_are_checked() {
    for (key, value, error) in [
        ("feature-rx-copy", "0", Some(NetError::Unsupported)),
        ("feature-rx-copy", "x", Some(NetError::Unsupported)),
        ("feature-sg", "1", None),
    ] {
        let network = mirror();
        network.set_key(key, value);
        run(1, FaultRates::none(), network, 4, move |world| {
            let net = connect(&mut world.store, world.table, &mut world.pages);
            assert_eq!(net.as_ref().err().copied(), error, "{key} = {value}");
            Ok(net.map_or(Ok(()), |net| net.close(&mut world.store))?)
        })
        .unwrap();
    }
    let malformed = XenbusError::Malformed("mac").into();
    for (mac, error) in [
        (None, XenbusError::Missing("mac").into()),
        (Some(""), malformed),
        (Some("00:16:3e:00:01"), malformed),
        (Some("00:16:3e:00:01:00:00"), malformed),
        (Some("00:16:3e:00:01:0g"), malformed),
        (Some("00:16:3e:00:01:+0"), malformed),
        (Some("0016:3e:00:01:0:0"), malformed),
        (Some("00:16:3e:00:01:00 in a long text"), malformed),
    ] {
        run(1, FaultRates::none(), mirror(), 4, move |world| {
            match mac {
                Some(mac) => world.store.write((DEVICE, "mac"), mac)?,
                None => world.store.rm((DEVICE, "mac"))?,
            }
            let net = connect(&mut world.store, world.table, &mut world.pages);
            assert_eq!(net.err(), Some(error), "{mac:?}");
            Ok(())
        })
        .unwrap();
    }
    run(1, FaultRates::none(), mirror(), 3, |world| {
        let net = connect(&mut world.store, world.table, &mut world.pages);
        assert_eq!(net.err(), Some(NetError::NoPages));
        Ok(())
    })
    .unwrap();
}

struct Tx;

impl Protocol for Tx {
    type Request = NetifTxRequest;
    type Response = NetifTxResponse;
}

struct Rx;

impl Protocol for Rx {
    type Request = NetifRxRequest;
    type Response = NetifRxResponse;
}

/// Connects as a driver does, then sends random requests to the backend.
fn attack(world: &mut World<'_>, guest: Guest) -> Result<(), Box<dyn Error>> {
    let xen = Xen::new(Hypervisor);
    let mut frontend = Frontend::open(&mut world.store, DEVICE)?;
    let peer = frontend.backend_domain();
    let table = world.table;
    let mut lend = || {
        let page = world.pages.remove(0).into_page(&table).map_err(|_| "the page is free")?;
        table.lend(page, peer, Access::ReadWrite).map_err(|error| error.error().to_string())
    };
    let channel = xen.events().alloc_unbound(peer)?;
    let data = lend()?;
    let mut tx: FrontRing<_, Tx> = FrontRing::new(lend()?);
    let mut rx: FrontRing<_, Rx> = FrontRing::new(lend()?);
    let references = [data.reference().0, tx.memory().reference().0, 0, 9999, u32::MAX];
    let (to, from) = (tx.memory().reference(), rx.memory().reference());
    loop {
        match frontend.next_step(&mut world.store)? {
            Step::Publish => {
                let keys = [
                    ("tx-ring-ref", &to as _),
                    ("rx-ring-ref", &from as _),
                    ("event-channel", &channel.port().0 as _),
                ];
                frontend.publish(&mut world.store, &keys, XenbusState::CONNECTED)?;
            }
            Step::Ready => break,
            Step::Closed => frontend.restart(&mut world.store)?,
            step => return Err(format!("{step:?}").into()),
        }
    }
    let any = |values: &[u64]| values[guest.random() as usize % values.len()];
    for act in 0..200 {
        let reference = references[guest.random() as usize % references.len()];
        let (offset, flags) = (any(&[0, 0, 4000, 65535]) as u16, any(&[0, 0, 4, 8]) as u16);
        let (id, size) = (guest.random() as u16, any(&[0, 14, 1514, 1515, 65535]) as u16);
        let _ = tx.push(&NetifTxRequest::new(reference, offset, flags, id, size));
        let _ = rx.push(&NetifRxRequest::new(guest.random() as u16, reference));
        if act >= 100 {
            // In the second half, it also overwrites the indices and entries.
            for grant in [tx.memory(), rx.memory()] {
                let at = any(&[0, 4, 8, 12, guest.random() % 4096 / 4 * 4]) as usize;
                grant.bytes().store(at, any(&[0, guest.random(), 1 << 31]) as u32)?;
            }
        }
        let _ = (tx.publish(), rx.publish());
        channel.send()?;
        relax()?;
        while tx.pop().is_some() {}
        while rx.pop().is_some() {}
    }
    frontend.close(&mut world.store)?;
    for grant in [data, tx.into_memory(), rx.into_memory()] {
        let (_, page) = grant.revoke().map_err(|in_use| in_use.to_string())?;
        world.pages.push(page.into());
    }
    Ok(())
}

#[test]
fn a_hostile_frontend_does_no_harm() {
    for_each_seed(8, |seed| {
        run(seed, FaultRates::new(), mirror(), 6, |world| {
            attack(world, Guest::here().ok_or("this is a vCPU")?)?;
            // The backend serves a correct driver as before, after the frames for the other one.
            let mut net = connect(&mut world.store, world.table, &mut world.pages)?;
            let (mut buffer, mut idle) = ([0; FRAME_MAX], 0);
            net.send(&frame(3))?;
            while net.receive(&mut buffer)? != Some(1000) || buffer[..1000] != frame(3) {
                relax()?;
                idle += 1;
                assert!(idle < 4000);
            }
            Ok(net.close(&mut world.store)?)
        })
    });
}
