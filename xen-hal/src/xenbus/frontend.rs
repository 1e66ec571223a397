//! The frontend's half of the handshake.

use core::fmt;
use core::str::FromStr;

use xen_pac::base::Domid;
use xen_pac::xenstore::XenbusState;

use crate::hypercall::{Errno, Hypercall};
use crate::ring::Wait;
use crate::xenstore::{Store, StoreError, Tree};

/// How often [`Frontend::next_step`] looks at the backend's state while xenstore reports changes
/// that are none of it.
const ROUNDS: u32 = 1000;

/// Why a device cannot be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XenbusError {
    /// Xenstore failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The frontend's directory, or the backend's, has no such key.
    #[error("the device has no key {0:?}")]
    Missing(&'static str),
    /// A key does not have the form that it must have.
    #[error("the device's key {0:?} is malformed")]
    Malformed(&'static str),
    /// The toolstack has removed the device.
    #[error("the device was removed")]
    DeviceGone,
    /// The backend has closed, or no longer exists.
    #[error("the device's backend has closed")]
    BackendGone,
}

/// What a driver must do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait for the backend.
    Wait,
    /// Read what the backend offers, make rings and channels, and
    /// [publish](Frontend::publish) them.
    Publish,
    /// Read the device's properties, and [switch](Frontend::switch) to CONNECTED.
    Connect,
    /// Use the device.
    Ready,
    /// Use the rings no longer, take back what was granted, and [switch](Frontend::switch) to
    /// CLOSED.
    Close,
    /// The device is closed. [`Frontend::restart`] begins anew.
    Closed,
    /// The backend no longer exists. Take back what was granted.
    Gone,
}

/// Decides what a frontend in the state `own` must do if its backend is in the state `peer`, or has
/// none.
#[must_use]
pub const fn next_step(own: XenbusState, peer: Option<XenbusState>) -> Step {
    let Some(peer) = peer else { return Step::Gone };
    let peer_closes = matches!(peer, XenbusState::CLOSING | XenbusState::CLOSED);
    match own {
        XenbusState::INITIALISING => match peer {
            // A backend that negotiates nothing goes straight to INITIALISED. CONNECTED belongs to
            // a frontend that was there before; the backend leaves it when it sees the new one.
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
            // A network's frontend is the first to be connected.
            _ => Step::Wait,
        },
        XenbusState::CLOSING if peer_closes => Step::Close,
        XenbusState::CLOSED if matches!(peer, XenbusState::CLOSED) => Step::Closed,
        _ => Step::Wait,
    }
}

/// The path of a backend's directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BackendPath {
    bytes: [u8; Self::MAX],
    length: usize,
}

impl BackendPath {
    /// The longest path that is followed; those of real backends have about 40 bytes.
    pub const MAX: usize = 128;

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // It was made from text.
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl fmt::Debug for BackendPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// A frontend: this domain's end of a device.
///
/// It holds where both ends are in xenstore and the frontend's own state. The backend's state is
/// read from xenstore at each step, and nothing that the backend writes is believed for longer.
#[derive(Clone, Debug)]
pub struct Frontend<'p> {
    device: &'p str,
    backend: BackendPath,
    backend_domain: Domid,
    state: XenbusState,
}

impl<'p> Frontend<'p> {
    /// Finds the backend of the device with this directory, such as `device/vbd/51712`, and watches
    /// its state; the watch's token is the directory.
    ///
    /// If a kernel that ran before left the device connected, it is closed first.
    ///
    /// # Errors
    ///
    /// [`XenbusError::Missing`] and [`XenbusError::Malformed`] for the keys `backend`,
    /// `backend-id` and `state`; [`XenbusError::Store`].
    pub fn open<H: Hypercall + Copy, W: Wait>(
        store: &mut Store<'_, H, W>,
        device: &'p str,
    ) -> Result<Self, XenbusError> {
        let mut backend = BackendPath { bytes: [0; BackendPath::MAX], length: 0 };
        let path = store.read_str((device, "backend"), &mut backend.bytes);
        backend.length = match path {
            Ok(path) if path.starts_with('/') && !path.contains('\0') => path.len(),
            Ok(_) | Err(StoreError::TooLong(_) | StoreError::Malformed) => {
                return Err(XenbusError::Malformed("backend"));
            }
            Err(error) => return Err(missing(error, "backend")),
        };
        let domain = number(store, (device, "backend-id"), "backend-id")?;
        let state = XenbusState(number(store, (device, "state"), "state")?);
        let mut frontend = Self { device, backend, backend_domain: Domid(domain), state };
        match store.watch((backend.as_str(), "state"), device) {
            Ok(()) | Err(StoreError::Refused(Errno::EEXIST)) => {}
            Err(error) => return Err(error.into()),
        }
        if state != XenbusState::INITIALISING && state != XenbusState::CLOSED {
            frontend.switch(store, XenbusState::CLOSED)?;
        }
        Ok(frontend)
    }

    /// The frontend's directory, which is also the token of its watch.
    #[must_use]
    pub const fn device(&self) -> &'p str {
        self.device
    }

    /// The backend's directory.
    #[must_use]
    pub const fn backend(&self) -> &BackendPath {
        &self.backend
    }

    /// The domain of the backend, to which rings are granted and channels are bound.
    #[must_use]
    pub const fn backend_domain(&self) -> Domid {
        self.backend_domain
    }

    /// The frontend's own state.
    #[must_use]
    pub const fn state(&self) -> XenbusState {
        self.state
    }

    /// Reads the backend's state. `None` if the backend does not exist; UNKNOWN if its state is no
    /// number.
    ///
    /// # Errors
    ///
    /// [`XenbusError::Store`].
    pub fn backend_state(&self, store: &mut impl Tree) -> Result<Option<XenbusState>, XenbusError> {
        match store.read_number((self.backend.as_str(), "state")) {
            Ok(state) => Ok(Some(XenbusState(state))),
            Err(StoreError::Malformed) => Ok(Some(XenbusState::UNKNOWN)),
            // A backend whose directory cannot be read any longer is not this device's.
            Err(StoreError::Refused(Errno::ENOENT | Errno::EACCES)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks at the backend and decides what must be done now. It does not wait for a change.
    ///
    /// Call it after each event whose token is [`device`](Self::device).
    ///
    /// # Errors
    ///
    /// [`XenbusError::Store`].
    pub fn step(&self, store: &mut impl Tree) -> Result<Step, XenbusError> {
        let peer = self.backend_state(store)?;
        Ok(next_step(self.state, peer))
    }

    /// Decides what must be done next, and waits for the backend as the store's [`Wait`] does. It
    /// never returns [`Step::Wait`].
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
            // A change that xenstore reported meanwhile may be the backend's.
            while store.events_received() == seen {
                store.pause(&mut attempt)?;
            }
        }
        Err(StoreError::TimedOut.into())
    }

    /// Publishes keys in the frontend's directory, and the state that goes with them, in one
    /// transaction. The state is INITIALISED for most devices.
    ///
    /// # Errors
    ///
    /// [`XenbusError::DeviceGone`] and [`XenbusError::Store`]; then nothing was published.
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

    /// Begins the handshake anew, for a device that is closed.
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

    /// Closes the device, for a driver that no longer uses its rings: switches to CLOSED, waits for
    /// the backend, which unmaps the rings before it is closed, and watches it no longer.
    ///
    /// # Errors
    ///
    /// [`XenbusError::BackendGone`] if the backend is in a state in which it never closes;
    /// [`StoreError::TimedOut`] if it does nothing; otherwise as for [`publish`](Self::publish).
    pub fn close<H: Hypercall + Copy, W: Wait>(
        &mut self,
        store: &mut Store<'_, H, W>,
    ) -> Result<(), XenbusError> {
        self.switch(store, XenbusState::CLOSED)?;
        let step = self.next_step(store);
        self.unwatch(store)?;
        match step? {
            Step::Closed | Step::Gone => Ok(()),
            _ => Err(XenbusError::BackendGone),
        }
    }

    /// Gives up a device that could not be connected: switches to CLOSED and watches the backend no
    /// longer, as far as xenstore permits. The reason why it could not be connected is the one to
    /// report.
    pub fn abandon<H: Hypercall + Copy, W: Wait>(mut self, store: &mut Store<'_, H, W>) {
        let _ = self.switch(store, XenbusState::CLOSED);
        let _ = self.unwatch(store);
    }

    /// Watches the backend no longer.
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
