//! The handshake of a device, and the toolstack's requests.

use std::cell::Cell;

use xen_hal::hypercall::Errno;
use xen_hal::xenbus::{Frontend, ShutdownControl, ShutdownRequest, Step, XenbusError, next_step};
use xen_hal::xenstore::{StoreError, StoreEvent, Tree};
use xen_pac::base::Domid;
use xen_pac::xenstore::XenbusState;
use xen_sim::backend::StoreServer;

use super::fixture::{GUEST, GuestStore, owned, with_server};

const DEVICE: &str = "device/vbd/51712";
const FRONT: &str = "/local/domain/1/device/vbd/51712";
const BACK: &str = "/local/domain/0/backend/vbd/1/51712";

/// Creates the toolstack's nodes of a disk.
fn add_device(server: &mut StoreServer) {
    server.set(FRONT, "");
    server.set_permissions(FRONT, &owned(GUEST, Domid(0)));
    server.set(BACK, "");
    server.set_permissions(BACK, &owned(Domid(0), GUEST));
    for (key, value) in [("backend", BACK), ("backend-id", "0"), ("state", "1")] {
        server.set(&format!("{FRONT}/{key}"), value);
    }
    for (key, value) in [("frontend", FRONT), ("online", "1"), ("state", "1")] {
        server.set(&format!("{BACK}/{key}"), value);
    }
    server.set("/local/domain/1/control/shutdown", "");
    server.set_permissions("/local/domain/1/control/shutdown", &owned(GUEST, Domid(0)));
}

fn state(server: &StoreServer, end: &str) -> XenbusState {
    XenbusState(server.get_number(&format!("{end}/state")).unwrap_or(0))
}

fn set_state(server: &mut StoreServer, end: &str, state: XenbusState) {
    server.set(&format!("{end}/state"), state.0.to_string());
}

/// One step of a backend such as Linux's.
fn backend(server: &mut StoreServer) {
    if server.get(BACK).is_none() {
        return;
    }
    let (front, own) = (state(server, FRONT), state(server, BACK));
    let next = match front {
        XenbusState::INITIALISING
            if [XenbusState::INITIALISING, XenbusState::CLOSED].contains(&own) =>
        {
            XenbusState::INIT_WAIT
        }
        XenbusState::INITIALISED | XenbusState::CONNECTED if own == XenbusState::INIT_WAIT => {
            assert_eq!(server.get(&format!("{FRONT}/ring-ref")), Some(&b"8"[..]));
            server.set(&format!("{BACK}/sectors"), "2048");
            XenbusState::CONNECTED
        }
        XenbusState::CLOSING => XenbusState::CLOSING,
        XenbusState::CLOSED => XenbusState::CLOSED,
        _ => return,
    };
    if next != own {
        set_state(server, BACK, next);
    }
}

/// Connects, as a driver does. `before` is called before each step.
fn connect(
    store: &mut GuestStore<'_, '_>,
    mut before: impl FnMut(Step),
) -> Result<(Frontend<'static>, u64), XenbusError> {
    let mut device = Frontend::open(store, DEVICE)?;
    loop {
        let step = device.next_step(store)?;
        before(step);
        match step {
            Step::Publish => {
                let keys = [("ring-ref", &8_u32 as _), ("event-channel", &5_u32 as _)];
                device.publish(store, &keys, XenbusState::INITIALISED)?;
            }
            Step::Connect => {
                let sectors = device.backend_number(store, "sectors")?;
                device.switch(store, XenbusState::CONNECTED)?;
                return Ok((device, sectors));
            }
            Step::Closed => device.restart(store)?,
            _ => return Err(XenbusError::BackendGone),
        }
    }
}

#[test]
fn a_device_is_connected_closed_and_connected_again() {
    for most in [9, 5000] {
        with_server(most, backend, |store, server| {
            add_device(&mut server.borrow_mut());
            let (mut device, sectors) = connect(store, |_| ()).unwrap();
            assert_eq!((device.backend_domain(), sectors), (Domid(0), 2048));
            assert_eq!(device.backend().as_str(), BACK);
            assert_eq!(device.next_step(store), Ok(Step::Ready));
            assert_eq!(server.borrow().get(&format!("{FRONT}/event-channel")), Some(&b"5"[..]));

            // The guest closes the device, and starts again.
            device.switch(store, XenbusState::CLOSING).unwrap();
            assert_eq!(device.next_step(store), Ok(Step::Close));
            device.switch(store, XenbusState::CLOSED).unwrap();
            assert_eq!(device.next_step(store), Ok(Step::Closed));
            device.restart(store).unwrap();
            assert_eq!(device.next_step(store), Ok(Step::Publish));
            device.unwatch(store).unwrap();

            // A later kernel closes the device first.
            device.switch(store, XenbusState::CONNECTED).unwrap();
            let mut steps = Vec::new();
            let (device, _) = connect(store, |step| steps.push(step)).unwrap();
            assert_eq!(steps, [Step::Closed, Step::Publish, Step::Connect]);
            assert_eq!(device.step(store), Ok(Step::Ready));
        });
    }
}

#[test]
fn each_order_of_the_backends_states_ends_a_handshake() {
    use XenbusState as S;
    const GONE: XenbusError = XenbusError::BackendGone;
    const SILENT: XenbusError = XenbusError::Store(StoreError::TimedOut);
    let (waits, connects) = (Some(S::INIT_WAIT), Some(S::CONNECTED));
    // The backend's state while the guest is INITIALISING, INITIALISED and CONNECTED; `None` if the
    // backend does not exist. Then the result of the handshake, and the step after it.
    let cases = [
        ([waits, connects, connects], Ok(Ok(Step::Ready))),
        ([Some(S::INITIALISED), connects, Some(S::RECONFIGURING)], Ok(Ok(Step::Ready))),
        ([waits, connects, Some(S::CLOSING)], Ok(Ok(Step::Close))),
        ([waits, connects, Some(S::CLOSED)], Ok(Ok(Step::Close))),
        ([waits, connects, None], Ok(Ok(Step::Gone))),
        // States that go backwards.
        ([waits, connects, waits], Ok(Ok(Step::Close))),
        ([waits, connects, Some(S::INITIALISING)], Ok(Ok(Step::Close))),
        ([waits, connects, Some(S::INITIALISED)], Ok(Ok(Step::Close))),
        ([waits, connects, Some(S::UNKNOWN)], Ok(Err(SILENT))),
        ([waits, Some(S::INITIALISING), None], Err(SILENT)),
        ([waits, waits, None], Err(SILENT)),
        // States that do not follow.
        ([connects, connects, connects], Err(SILENT)),
        ([Some(S::CLOSED), None, None], Err(SILENT)),
        ([Some(S::CLOSING), None, None], Err(SILENT)),
        ([Some(S(77)), None, None], Err(SILENT)),
        ([waits, Some(S::RECONFIGURED), None], Err(SILENT)),
        ([waits, Some(S(u32::MAX)), None], Err(SILENT)),
        // Backends that close, or cease to exist.
        ([waits, Some(S::CLOSING), None], Err(GONE)),
        ([waits, Some(S::CLOSED), None], Err(GONE)),
        ([waits, None, None], Err(GONE)),
        ([None, None, None], Err(GONE)),
    ];
    for (states, expected) in cases {
        let backend = |server: &mut StoreServer| {
            let next = match state(server, FRONT) {
                S::INITIALISING => states[0],
                S::INITIALISED => states[1],
                S::CONNECTED => states[2],
                _ => return,
            };
            match next {
                Some(next) if next != state(server, BACK) => set_state(server, BACK, next),
                None if server.get(BACK).is_some() => server.remove(BACK),
                _ => {}
            }
        };
        with_server(5000, backend, |store, server| {
            add_device(&mut server.borrow_mut());
            server.borrow_mut().set(&format!("{BACK}/sectors"), "2048");
            let found = connect(store, |_| ()).map(|(device, _)| {
                let step = device.next_step(store);
                if step == Ok(Step::Gone) {
                    let sectors = device.backend_number::<u32>(store, "sectors");
                    assert_eq!(sectors, Err(StoreError::Refused(Errno::EACCES).into()));
                }
                step
            });
            assert_eq!(found, expected, "{states:?}");
        });
    }
}

/// A network frontend switches to CONNECTED before its backend.
#[test]
fn a_backend_that_starts_again_ends_a_device_that_was_connected() {
    use XenbusState as S;
    with_server(
        5000,
        |_| (),
        |store, server| {
            add_device(&mut server.borrow_mut());
            let mut device = Frontend::open(store, DEVICE).unwrap();
            let switch = |state| set_state(&mut server.borrow_mut(), BACK, state);
            for _ in 0..2 {
                switch(S::INIT_WAIT);
                assert_eq!(device.next_step(store), Ok(Step::Publish));
                device.publish(store, &[], S::CONNECTED).unwrap();
                assert_eq!(device.step(store), Ok(Step::Wait));
                switch(S::CONNECTED);
                assert_eq!(device.step(store), Ok(Step::Ready));
                // The guest sees none of the states between.
                for state in [S::CLOSING, S::CLOSED, S::INITIALISING, S::INIT_WAIT] {
                    switch(state);
                }
                assert_eq!(device.step(store), Ok(Step::Close));
                device.switch(store, S::CLOSED).unwrap();
                assert_eq!(device.step(store), Ok(Step::Wait));
                switch(S::CLOSED);
                assert_eq!(device.next_step(store), Ok(Step::Closed));
                device.restart(store).unwrap();
            }
        },
    );
}

#[test]
fn keys_that_are_missing_or_malformed_are_named() {
    let cases = [
        ("backend", None, XenbusError::Missing("backend")),
        ("backend", Some("".to_string()), XenbusError::Malformed("backend")),
        ("backend", Some("relative/path".to_string()), XenbusError::Malformed("backend")),
        ("backend", Some(format!("/{}", "x".repeat(200))), XenbusError::Malformed("backend")),
        ("backend-id", None, XenbusError::Missing("backend-id")),
        ("backend-id", Some("-1".to_string()), XenbusError::Malformed("backend-id")),
        ("backend-id", Some("65536".to_string()), XenbusError::Malformed("backend-id")),
        ("state", Some("one".to_string()), XenbusError::Malformed("state")),
        ("state", None, XenbusError::Missing("state")),
    ];
    with_server(
        5000,
        |_| (),
        |store, server| {
            for (key, value, expected) in cases {
                add_device(&mut server.borrow_mut());
                let path = format!("{FRONT}/{key}");
                server.borrow_mut().remove(&path);
                if let Some(value) = &value {
                    server.borrow_mut().set(&path, value);
                }
                assert_eq!(Frontend::open(store, DEVICE).unwrap_err(), expected, "{key} {value:?}");
            }
            // The frontend's directory itself is no path.
            let invalid = XenbusError::Store(StoreError::InvalidPath);
            assert_eq!(Frontend::open(store, "nul\0").unwrap_err(), invalid);
            // The backend's keys.
            add_device(&mut server.borrow_mut());
            let device = Frontend::open(store, DEVICE).unwrap();
            for (value, number, feature) in [
                ("1", Ok(1), true),
                ("0", Ok(0), false),
                ("7 ", Err(XenbusError::Malformed("key")), false),
                ("18446744073709551616", Err(XenbusError::Malformed("key")), false),
                ("", Err(XenbusError::Malformed("key")), false),
            ] {
                server.borrow_mut().set(&format!("{BACK}/key"), value);
                assert_eq!(device.backend_number::<u64>(store, "key"), number);
                assert_eq!(device.backend_feature(store, "key"), Ok(feature));
            }
            assert_eq!(device.backend_feature(store, "none"), Ok(false));
            set_state(&mut server.borrow_mut(), BACK, XenbusState(77));
            assert_eq!(device.step(store), Ok(Step::Wait));
            server.borrow_mut().set(&format!("{BACK}/state"), "x");
            assert_eq!(device.backend_state(store), Ok(Some(XenbusState::UNKNOWN)));
        },
    );
}

#[test]
fn a_device_that_was_removed_is_not_written_again() {
    with_server(5000, backend, |store, server| {
        add_device(&mut server.borrow_mut());
        let mut device = Frontend::open(store, DEVICE).unwrap();
        server.borrow_mut().remove(FRONT);
        let published = device.publish(store, &[("ring-ref", &8_u32)], XenbusState::INITIALISED);
        assert_eq!(published, Err(XenbusError::DeviceGone));
        assert_eq!(device.state(), XenbusState::INITIALISING);
        assert_eq!(device.clone().close(store), Err(XenbusError::DeviceGone));
        assert_eq!(server.borrow().get(FRONT), None);
        // No watch is left, also if a device that must be closed first cannot be written.
        assert_eq!(server.borrow().open(GUEST), (0, 0));
        add_device(&mut server.borrow_mut());
        set_state(&mut server.borrow_mut(), FRONT, XenbusState::CONNECTED);
        let read_only = owned(Domid(0), GUEST);
        server.borrow_mut().set_permissions(&format!("{FRONT}/state"), &read_only);
        let refused = StoreError::Refused(Errno::EACCES).into();
        assert_eq!(Frontend::open(store, DEVICE).err(), Some(refused));
        assert_eq!(server.borrow().open(GUEST), (0, 0));
        server.borrow_mut().remove(FRONT);
        let long = [("key", &"x".repeat(41) as _)];
        add_device(&mut server.borrow_mut());
        let published = device.publish(store, &long, XenbusState::INITIALISED);
        assert_eq!(published, Err(StoreError::TooLong(41).into()));
        assert_eq!(state(&server.borrow(), FRONT), XenbusState::INITIALISING);
    });
}

#[test]
fn a_backend_that_does_nothing_ends_the_wait() {
    // Xenstore is silent, and reports other changes all the time.
    for noise in [false, true] {
        let count = Cell::new(0);
        let beside = |server: &mut StoreServer| {
            if noise {
                count.set(count.get() + 1);
                server.set("/local/domain/1/data/noise", count.get().to_string());
            }
        };
        with_server(5000, beside, |store, server| {
            add_device(&mut server.borrow_mut());
            store.watch("data", "noise").unwrap();
            let device = Frontend::open(store, DEVICE).unwrap();
            assert_eq!(device.next_step(store), Err(StoreError::TimedOut.into()));
        });
    }
}

#[test]
fn no_pair_of_states_is_without_a_step() {
    for own in (0..12).chain([u32::MAX]).map(XenbusState) {
        for peer in (0..12).chain([u32::MAX]).map(XenbusState) {
            let step = next_step(own, Some(peer));
            // Data flows only if both ends are connected.
            let flows = matches!(
                peer,
                XenbusState::CONNECTED | XenbusState::RECONFIGURING | XenbusState::RECONFIGURED
            );
            assert_eq!(step == Step::Ready, own == XenbusState::CONNECTED && flows);
            // A device in use ends when its backend ends.
            let in_use = [XenbusState::INITIALISED, XenbusState::CONNECTED, XenbusState::CLOSING];
            let ends = [XenbusState::CLOSING, XenbusState::CLOSED].contains(&peer);
            assert_eq!(step == Step::Close, in_use.contains(&own) && ends, "{own} {peer}");
        }
        assert_eq!(next_step(own, None), Step::Gone);
    }
}

#[test]
fn requests_of_the_toolstack_are_delivered_and_acknowledged() {
    const NODE: &str = "/local/domain/1/control/shutdown";
    with_server(
        64,
        |_| (),
        |store, server| {
            add_device(&mut server.borrow_mut());
            let control = ShutdownControl::watch(store).unwrap();
            // The toolstack gave the guest no feature keys to write.
            assert_eq!(store.exists("control/feature-poweroff"), Ok(false));
            assert_eq!(control.take(store), Ok(None));
            let mut buffer = [0; 64];
            let mut request = |store: &mut GuestStore<'_, '_>, text: &str| {
                while store.event(&mut buffer).unwrap().is_some() {}
                server.borrow_mut().set(NODE, text);
                let mut attempt = 0;
                store.pause(&mut attempt).unwrap();
                let mut token = [0; 64];
                while store.event(&mut token).unwrap()
                    != Some(StoreEvent::Watch { path: NODE_PATH, token: ShutdownControl::TOKEN })
                {
                    store.pause(&mut attempt).unwrap();
                }
                let taken = control.take(store).unwrap();
                (taken, String::from_utf8(server.borrow().get(NODE).unwrap().to_vec()).unwrap())
            };
            const NODE_PATH: &str = "control/shutdown";
            for (text, expected) in [
                ("poweroff", ShutdownRequest::Poweroff),
                ("reboot", ShutdownRequest::Reboot),
                ("halt", ShutdownRequest::Halt),
                ("suspend", ShutdownRequest::Suspend),
                ("crash", ShutdownRequest::Crash),
            ] {
                assert_eq!(request(store, text), (Some(expected), String::new()));
            }
            // An unknown request stays in the node, so the toolstack sees that the guest does not
            // acknowledge it.
            for text in ["explode", "POWEROFF", &"x".repeat(100)] {
                let expected = (Some(ShutdownRequest::Unknown), text.to_string());
                assert_eq!(request(store, text), expected);
            }
            server.borrow_mut().remove(NODE);
            assert_eq!(control.take(store), Ok(None));
            let again = ShutdownControl::watch(store).map(|_| ());
            assert_eq!(again, Ok(()));
            let refused = StoreError::Refused(Errno::EEXIST);
            assert_eq!(store.watch(NODE_PATH, ShutdownControl::TOKEN), Err(refused));
        },
    );
}

#[test]
fn features_are_announced_where_the_toolstack_lets_them_be() {
    with_server(
        5000,
        |_| (),
        |store, server| {
            server.borrow_mut().set("/local/domain/1/control", "");
            let own = owned(GUEST, Domid(0));
            server.borrow_mut().set_permissions("/local/domain/1/control", &own);
            ShutdownControl::watch(store).unwrap();
            for feature in ["feature-poweroff", "feature-reboot", "feature-suspend"] {
                assert_eq!(store.read_number(("control", feature)), Ok(1_u32));
            }
        },
    );
}
