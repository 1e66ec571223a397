//! Implements the frontend's side of the handshake.

use core::cell::Cell;
use core::fmt;
use core::str::FromStr;

use xen_pac::base::Domid;
use xen_pac::xenstore::XenbusState;

use crate::hypercall::{Errno, Hypercall};
use crate::ring::Wait;
use crate::xenstore::{NodePath, Store, StoreError, Tree};

/// The maximum number of times that [`Frontend::next_step`] reads the backend's state because of
/// unrelated changes.
const ROUNDS: u32 = 1000;

/// A device operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XenbusError {
    /// Xenstore failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The frontend's or the backend's directory lacks this key.
    #[error("the device has no key {0:?}")]
    Missing(&'static str),
    /// A key's value does not have the required form.
    #[error("the device's key {0:?} is malformed")]
    Malformed(&'static str),
    /// The toolstack has removed the device.
    #[error("the device was removed")]
    DeviceGone,
    /// The backend has closed, or no longer exists.
    #[error("the device's backend has closed")]
    BackendGone,
}

/// The next action of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait for the backend.
    Wait,
    /// Read the backend's features, create rings and channels, and [publish](Frontend::publish)
    /// them.
    Publish,
    /// Read the device's properties, and [switch](Frontend::switch) to CONNECTED.
    Connect,
    /// Use the device.
    Ready,
    /// Stop using the rings, revoke the grants, and [switch](Frontend::switch) to CLOSED. The
    /// backend closes, or it has started again and no longer has the rings.
    Close,
    /// The device is closed. [`Frontend::restart`] starts the handshake again.
    Closed,
    /// The backend no longer exists. Revoke the grants.
    Gone,
}

/// Returns the next action of a frontend in the state `own` whose backend is in the state `peer`;
/// `None` if the backend does not exist.
#[must_use]
pub const fn next_step(own: XenbusState, peer: Option<XenbusState>) -> Step {
    let Some(peer) = peer else { return Step::Gone };
    let peer_closes = matches!(peer, XenbusState::CLOSING | XenbusState::CLOSED);
    match own {
        XenbusState::INITIALISING => match peer {
            // A backend that negotiates nothing goes directly to INITIALISED. CONNECTED refers to
            // an earlier frontend; the backend leaves it when it sees this one.
            XenbusState::INIT_WAIT | XenbusState::INITIALISED => Step::Publish,
            _ => Step::Wait,
        },
        XenbusState::INITIALISED => match peer {
            XenbusState::CONNECTED => Step::Connect,
            _ if peer_closes => Step::Close,
            _ => Step::Wait,
        },
        XenbusState::CONNECTED => match peer {
            XenbusState::CONNECTED | XenbusState::RECONFIGURING | XenbusState::RECONFIGURED => {
                Step::Ready
            }
            _ if peer_closes => Step::Close,
            // A network frontend switches to CONNECTED before its backend.
            _ => Step::Wait,
        },
        XenbusState::CLOSING if peer_closes => Step::Close,
        XenbusState::CLOSED if matches!(peer, XenbusState::CLOSED) => Step::Closed,
        _ => Step::Wait,
    }
}

/// The frontend of a device: this domain's end.
///
/// It holds the xenstore paths of both ends, and the frontend's state. Each step reads the
/// backend's state from xenstore; it is not cached.
#[derive(Clone, Debug)]
pub struct Frontend<'p> {
    device: &'p str,
    backend: NodePath,
    backend_domain: Domid,
    state: XenbusState,
    /// True if both ends were connected since the frontend switched to CONNECTED.
    connected: Cell<bool>,
}

impl<'p> Frontend<'p> {
    /// Finds the backend of the device with this directory, such as `device/vbd/51712`, and watches
    /// its state; the watch's token is the directory.
    ///
    /// If an earlier kernel left the device connected, closes it first.
    ///
    /// # Errors
    ///
    /// [`XenbusError::Missing`] and [`XenbusError::Malformed`] for the keys `backend`,
    /// `backend-id` and `state`; [`XenbusError::Store`].
    pub fn open<H: Hypercall + Copy, W: Wait>(
        store: &mut Store<'_, H, W>,
        device: &'p str,
    ) -> Result<Self, XenbusError> {
        let mut buffer = [0; NodePath::MAX];
        let malformed = XenbusError::Malformed("backend");
        let path = match store.read_str((device, "backend"), &mut buffer) {
            Err(StoreError::TooLong(_) | StoreError::Malformed) => return Err(malformed),
            path => path.map_err(|error| missing(error, "backend"))?,
        };
        let backend = match NodePath::new(path) {
            Ok(path) if path.as_str().starts_with('/') => path,
            _ => return Err(malformed),
        };
        let domain = number(store, (device, "backend-id"), "backend-id")?;
        let state = XenbusState(number(store, (device, "state"), "state")?);
        let backend_domain = Domid(domain);
        let mut frontend = Self { device, backend, backend_domain, state, connected: false.into() };
        match store.watch((backend.as_str(), "state"), device) {
            Ok(()) | Err(StoreError::Refused(Errno::EEXIST)) => {}
            Err(error) => return Err(error.into()),
        }
        if state != XenbusState::INITIALISING && state != XenbusState::CLOSED {
            if let Err(error) = frontend.switch(store, XenbusState::CLOSED) {
                let _ = frontend.unwatch(store);
                return Err(error);
            }
        }
        Ok(frontend)
    }

    /// Returns the same frontend with its directory in other memory.
    #[cfg(any(feature = "blk", feature = "net"))]
    pub(crate) fn at(self, device: &str) -> Frontend<'_> {
        Frontend { device, ..self }
    }

    /// Returns the frontend's directory, which is also the token of its watch.
    #[must_use]
    pub const fn device(&self) -> &'p str {
        self.device
    }

    /// Returns the backend's directory.
    #[must_use]
    pub const fn backend(&self) -> &NodePath {
        &self.backend
    }

    /// Returns the backend's domain, for grants and channels.
    #[must_use]
    pub const fn backend_domain(&self) -> Domid {
        self.backend_domain
    }

    /// Returns the frontend's state.
    #[must_use]
    pub const fn state(&self) -> XenbusState {
        self.state
    }

    /// Reads the backend's state. Returns `None` if the backend does not exist; UNKNOWN if its
    /// state is not a number.
    ///
    /// # Errors
    ///
    /// [`XenbusError::Store`].
    pub fn backend_state(&self, store: &mut impl Tree) -> Result<Option<XenbusState>, XenbusError> {
        match store.read_number((self.backend.as_str(), "state")) {
            Ok(state) => Ok(Some(XenbusState(state))),
            Err(StoreError::Malformed) => Ok(Some(XenbusState::UNKNOWN)),
            // If the directory can no longer be read, the backend no longer serves this device.
            Err(StoreError::Refused(Errno::ENOENT | Errno::EACCES)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the backend's state and returns the next action. Does not wait for a change.
    ///
    /// Call it after each event whose token is [`device`](Self::device).
    ///
    /// # Errors
    ///
    /// [`XenbusError::Store`].
    pub fn step(&self, store: &mut impl Tree) -> Result<Step, XenbusError> {
        let peer = self.backend_state(store)?;
        let restarts = matches!(
            peer,
            Some(XenbusState::INITIALISING | XenbusState::INIT_WAIT | XenbusState::INITIALISED)
        );
        let step = next_step(self.state, peer);
        self.connected.set(self.connected.get() || step == Step::Ready);
        Ok(if self.connected.get() && restarts { Step::Close } else { step })
    }

    /// Returns the next action. Waits for the backend with the store's [`Wait`], so it never
    /// returns [`Step::Wait`].
    ///
    /// # Errors
    ///
    /// [`StoreError::TimedOut`] if the backend does nothing; any other of [`XenbusError::Store`].
    pub fn next_step<H: Hypercall + Copy, W: Wait>(
        &self,
        store: &mut Store<'_, H, W>,
    ) -> Result<Step, XenbusError> {
        let mut attempt = 0;
        for _ in 0..ROUNDS {
            let seen = store.events_received();
            match self.step(store)? {
                Step::Wait => {}
                step => return Ok(step),
            }
            // A change that xenstore reported meanwhile may be a change of the backend's state.
            while store.events_received() == seen {
                store.pause(&mut attempt)?;
            }
        }
        Err(StoreError::TimedOut.into())
    }

    /// Waits until the backend waits for the frontend's keys: restarts a closed device.
    #[cfg(any(feature = "blk", feature = "net"))]
    pub(crate) fn prepare<H: Hypercall + Copy, W: Wait>(
        &mut self,
        store: &mut Store<'_, H, W>,
    ) -> Result<(), XenbusError> {
        loop {
            match self.next_step(store)? {
                Step::Publish => return Ok(()),
                // At most once, because the state is INITIALISING afterwards.
                Step::Closed => self.restart(store)?,
                _ => return Err(XenbusError::BackendGone),
            }
        }
    }

    /// Writes keys to the frontend's directory, and the frontend's state, in one transaction. The
    /// state is INITIALISED for most devices.
    ///
    /// # Errors
    ///
    /// [`XenbusError::DeviceGone`] and [`XenbusError::Store`]. Nothing is published then.
    pub fn publish<H: Hypercall + Copy, W: Wait>(
        &mut self,
        store: &mut Store<'_, H, W>,
        keys: &[(&str, &dyn fmt::Display)],
        state: XenbusState,
    ) -> Result<(), XenbusError> {
        let device = self.device;
        store.transaction(|tree| {
            // Writing would create the directory again after the toolstack has removed it.
            if !tree.exists((device, "state"))? {
                return Err(XenbusError::DeviceGone);
            }
            for (key, value) in keys {
                tree.write_number((device, *key), value)?;
            }
            Ok(tree.write_number((device, "state"), state.0)?)
        })?;
        // A device whose frontend connects second has two connected ends.
        let second = self.state == XenbusState::INITIALISED;
        let connected = self.connected.get() || second;
        self.connected.set(connected && state == XenbusState::CONNECTED);
        self.state = state;
        Ok(())
    }

    /// Changes the frontend's state.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish).
    pub fn switch<H: Hypercall + Copy, W: Wait>(
        &mut self,
        store: &mut Store<'_, H, W>,
        state: XenbusState,
    ) -> Result<(), XenbusError> {
        self.publish(store, &[], state)
    }

    /// Starts the handshake again, for a closed device.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish).
    pub fn restart<H: Hypercall + Copy, W: Wait>(
        &mut self,
        store: &mut Store<'_, H, W>,
    ) -> Result<(), XenbusError> {
        self.switch(store, XenbusState::INITIALISING)
    }

    /// Reads a number from the frontend's directory.
    ///
    /// # Errors
    ///
    /// As for [`backend_number`](Self::backend_number).
    #[cfg(feature = "blk")]
    pub(crate) fn number<N: FromStr>(
        &self,
        store: &mut impl Tree,
        key: &'static str,
    ) -> Result<N, XenbusError> {
        number(store, (self.device, key), key)
    }

    /// Reads a number from the backend's directory.
    ///
    /// # Errors
    ///
    /// [`XenbusError::Missing`] and [`XenbusError::Malformed`], which name the key;
    /// [`XenbusError::Store`].
    pub fn backend_number<N: FromStr>(
        &self,
        store: &mut impl Tree,
        key: &'static str,
    ) -> Result<N, XenbusError> {
        number(store, (self.backend.as_str(), key), key)
    }

    /// Reads a feature from the backend's directory: true if it is a number other than 0.
    ///
    /// # Errors
    ///
    /// [`XenbusError::Store`].
    pub fn backend_feature(
        &self,
        store: &mut impl Tree,
        key: &'static str,
    ) -> Result<bool, XenbusError> {
        match self.backend_number::<u32>(store, key) {
            Ok(value) => Ok(value != 0),
            Err(XenbusError::Missing(_) | XenbusError::Malformed(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Closes the device, for a driver that no longer uses its rings: switches to CLOSED, waits
    /// until the backend has unmapped the rings and closed, and stops watching it. On an error,
    /// also stops watching.
    ///
    /// # Errors
    ///
    /// [`XenbusError::BackendGone`] if the backend is in a state from which it never closes;
    /// [`StoreError::TimedOut`] if it does nothing; otherwise as for [`publish`](Self::publish).
    pub fn close<H: Hypercall + Copy, W: Wait>(
        &mut self,
        store: &mut Store<'_, H, W>,
    ) -> Result<(), XenbusError> {
        let switched = self.switch(store, XenbusState::CLOSED);
        let step = switched.and_then(|()| self.next_step(store));
        let unwatched = self.unwatch(store);
        match step? {
            Step::Closed | Step::Gone => unwatched,
            _ => Err(XenbusError::BackendGone),
        }
    }

    /// Abandons a device that could not be connected: switches to CLOSED and stops watching the
    /// backend. Ignores errors, because the caller reports why connecting failed.
    pub fn abandon<H: Hypercall + Copy, W: Wait>(mut self, store: &mut Store<'_, H, W>) {
        let _ = self.switch(store, XenbusState::CLOSED);
        let _ = self.unwatch(store);
    }

    /// Stops watching the backend.
    ///
    /// # Errors
    ///
    /// [`XenbusError::Store`].
    pub fn unwatch<H: Hypercall + Copy, W: Wait>(
        &self,
        store: &mut Store<'_, H, W>,
    ) -> Result<(), XenbusError> {
        store.unwatch((self.backend.as_str(), "state"), self.device)?;
        Ok(())
    }
}

fn number<N: FromStr>(
    store: &mut impl Tree,
    path: (&str, &str),
    key: &'static str,
) -> Result<N, XenbusError> {
    match store.read_number(path) {
        Err(StoreError::Malformed) => Err(XenbusError::Malformed(key)),
        result => result.map_err(|error| missing(error, key)),
    }
}

fn missing(error: StoreError, key: &'static str) -> XenbusError {
    match error {
        StoreError::Refused(Errno::ENOENT) => XenbusError::Missing(key),
        error => error.into(),
    }
}
