//! Network interfaces: the frontend of `vif` devices (upstream: `xen/include/public/io/netif.h`).
//!
//! ```
//! use xen_hal::grant::GrantTable;
//! use xen_hal::hypercall::Hypercall;
//! use xen_hal::net::{FRAME_MAX, NetDevice, NetError};
//! use xen_hal::ring::{DevicePage, Wait};
//! use xen_hal::xenstore::Store;
//!
//! /// Sends each of ten frames back. One page of `tx` and of `rx` holds the ring, the others hold
//! /// a frame each.
//! fn reflect<'t, H: Hypercall + Copy, A: Copy, W: Wait>(
//!     xen: H,
//!     store: &mut Store<'_, H, W>,
//!     table: GrantTable<'t, H, A>,
//!     (tx, rx): (&mut [DevicePage<'t>], &mut [DevicePage<'t>]),
//!     mut wait: impl Wait,
//! ) -> Result<(), NetError> {
//!     let mut net = NetDevice::connect(xen, store, "device/vif/0", table, tx, rx)?;
//!     let (mut frame, mut frames, mut attempt) = ([0; FRAME_MAX], 0, 0);
//!     while frames < 10 {
//!         if let Some(length) = net.receive(&mut frame)? {
//!             net.send(&frame[..length])?;
//!             (frames, attempt) = (frames + 1, 0);
//!             continue;
//!         }
//!         if wait.wait(net.port(), attempt).is_break() {
//!             break;
//!         }
//!         attempt += 1;
//!     }
//!     net.close(store)
//! }
//! # let network = |dom0: &xen_sim::backend::Dom0, guest| {
//! #     // The peer sends ten frames, each after the one before was returned.
//! #     let peer = |_: &[u8], to_guest: &mut std::collections::VecDeque<_>| {
//! #         to_guest.push_back(vec![0; 60]);
//! #     };
//! #     dom0.attach(guest, xen_sim::backend::Network::new(peer));
//! # };
//! # xen_sim::storm_with_dom0(5, network, |guest| -> Result<(), xen_hal::Error> {
//! #     let (xen, mut storage) = (guest.xen(), [0; Store::STORAGE]);
//! #     // SAFETY: the ring has one owner, as long as the machine runs.
//! #     let mut store = unsafe { Store::open(xen, |frame| guest.frame(frame), &mut storage) }?;
//! #     let refs: &xen_hal::grant::GrantRefAllocator<1> = Box::leak(Box::default());
//! #     let (space, place) = (guest.space(), guest.page(1).cast());
//! #     // SAFETY: the page is the table's alone, and nothing of it is used after the run.
//! #     let table = unsafe { GrantTable::map(xen, space, place, refs, 1) }?;
//! #     let mut pages: Vec<DevicePage<'_>> = (2..10)
//! #         .map(|index| {
//! #             let page = guest.page(index).cast();
//! #             // SAFETY: the page is the value's alone.
//! #             unsafe { xen_hal::grant::Page::from_raw(&guest.space(), page) }.unwrap().into()
//! #         })
//! #         .collect();
//! #     let (tx, rx) = pages.split_at_mut(4);
//! #     let wait = xen_hal::ring::YieldWait::new(xen).attempts(1000);
//! #     Ok(reflect(xen, &mut store, table, (tx, rx), wait)?)
//! # });
//! ```
//!
//! No operation waits for the backend. [`NetDevice`] is a [`Device`](smoltcp::phy::Device) of
//! `smoltcp`. With the feature `embassy-net-driver`, an `AsyncNetDevice` is a driver for
//! `embassy-net`. Every frame is an Ethernet frame without its checksum, in one page: the driver
//! negotiates neither scatter-gather nor offloads.
//!
//! Frames are copied through the driver's own pages. The backend is not trusted: a response must be
//! the first to a request in flight, be the whole frame, and name bytes within the page. Otherwise,
//! the device is [broken](NetError::Broken): it neither sends nor receives.
//! [`close`](NetDevice::close) it, or drop it, and connect it again with the same pages. A backend
//! that does not close either lets [`NetDevice::connect`] fail with [`StoreError::TimedOut`];
//! another attempt is always possible. The pages that the backend still uses stay
//! [deferred](DevicePage).

use xen_pac::netif::{
    NetifRxRequest, NetifRxResponse, NetifStatus, NetifTxRequest, NetifTxResponse, netif_rx_flags,
};
use xen_pac::xenstore::XenbusState;

use crate::event::{Channel, Events, Port};
use crate::grant::{Access, GrantError, GrantTable};
use crate::hypercall::{Errno, Hypercall};
use crate::platform::PAGE_SIZE;
use crate::ring::{DevicePage, Protocol, Wait};
use crate::xenbus::{Frontend, Step, XenbusError};
use crate::xenstore::{Store, StoreError, Tree};

#[cfg(feature = "embassy-net-driver")]
mod asynch;
mod half;
mod phy;
mod resume;

#[cfg(feature = "embassy-net-driver")]
pub use asynch::{AsyncNetDevice, Link};
pub use phy::{RxToken, TxToken};
pub use resume::{ResumeNetError, SuspendedNetDevice};

use half::Half;

/// The maximum length of a frame: a packet of 1500 bytes, and the Ethernet header.
pub const FRAME_MAX: usize = 1514;

/// The minimum length of a frame: the header.
const FRAME_MIN: usize = 14;

/// The entries of the ring of frames to send.
enum Tx {}

impl Protocol for Tx {
    type Request = NetifTxRequest;
    type Response = NetifTxResponse;
}

/// The entries of the ring of received frames.
enum Rx {}

impl Protocol for Rx {
    type Request = NetifRxRequest;
    type Response = NetifRxResponse;
}

/// A network interface operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The device cannot be connected or closed.
    #[error(transparent)]
    Xenbus(#[from] XenbusError),
    /// A page cannot be granted.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// Xen refused an operation on the event channel.
    #[error("the network interface's event channel: {0}")]
    Event(Errno),
    /// The driver needs at least two free pages for each direction.
    #[error("expected at least two free pages for each direction of the network interface")]
    NoPages,
    /// The backend cannot copy received frames. This driver does not support backends that receive
    /// by mapping the guest's pages.
    #[error("the network interface's backend does not copy frames")]
    Unsupported,
    /// The frame's length is invalid.
    #[error("expected a frame of 14 to 1514 bytes, found {0}")]
    FrameSize(usize),
    /// All pages hold frames that the backend has not sent yet.
    #[error("the network interface has no room for another frame")]
    Busy,
    /// The backend sent an invalid response. Close the device, or drop it, and connect it again.
    #[error("the network interface's backend broke the protocol")]
    Broken,
    /// The pages or the interface are not those that were suspended.
    #[error("expected the pages and the network interface that were suspended")]
    NotSuspended,
}

impl From<StoreError> for NetError {
    fn from(error: StoreError) -> Self {
        XenbusError::from(error).into()
    }
}

/// A connected network interface.
///
/// Dropping it withdraws the pages at once, even if the backend uses them, and leaves the device
/// connected in xenstore. To close the device first, call [`close`](Self::close).
pub struct NetDevice<'a, 't, H: Hypercall + Copy, A> {
    frontend: Frontend<'a>,
    table: GrantTable<'t, H, A>,
    channel: Channel<H>,
    tx: Half<'a, 't, Tx>,
    rx: Half<'a, 't, Rx>,
    mac: [u8; 6],
    lost: u64,
    broken: bool,
}

impl<'a, 't, H: Hypercall + Copy, A> NetDevice<'a, 't, H, A> {
    /// Connects the interface with this directory, such as `device/vif/0`.
    ///
    /// One page of `tx` holds the ring of sent frames, and each other page of `tx` holds one frame.
    /// The same is true of `rx` and received frames. Each needs at least two pages: 65 suffice for
    /// a fast network, and more than 257 are not used.
    ///
    /// # Errors
    ///
    /// [`NetError::NoPages`], [`NetError::Grant`], [`NetError::Event`], [`NetError::Unsupported`];
    /// [`NetError::Xenbus`], with the missing or malformed key, or the reason why the backend does
    /// not connect. All pages are withdrawn.
    pub fn connect<V: Wait>(
        xen: H,
        store: &mut Store<'_, H, V>,
        device: &'a str,
        table: GrantTable<'t, H, A>,
        tx: &'a mut [DevicePage<'t>],
        rx: &'a mut [DevicePage<'t>],
    ) -> Result<Self, NetError> {
        let mut frontend = Frontend::open(store, device)?;
        // An earlier backend has then unmapped the pages.
        let prepared = frontend.prepare(store).map_err(NetError::from);
        let connected = prepared
            .and_then(|()| Self::new(xen, store, frontend.clone(), table, tx, rx))
            .and_then(|mut device| device.handshake(store).map(|()| device));
        connected.inspect_err(|_| frontend.abandon(store))
    }

    fn new<V: Wait>(
        xen: H,
        store: &mut Store<'_, H, V>,
        frontend: Frontend<'a>,
        table: GrantTable<'t, H, A>,
        tx: &'a mut [DevicePage<'t>],
        rx: &'a mut [DevicePage<'t>],
    ) -> Result<Self, NetError> {
        let peer = frontend.backend_domain();
        let mac = read_mac(store, frontend.device())?;
        if !frontend.backend_feature(store, "feature-rx-copy")? {
            return Err(NetError::Unsupported);
        }
        let (tx, rx) = (Half::new(&table, peer, tx)?, Half::new(&table, peer, rx)?);
        let channel = Events::new(xen).alloc_unbound(peer).map_err(NetError::Event)?;
        Ok(Self { frontend, table, channel, tx, rx, mac, lost: 0, broken: false })
    }

    /// Connects the interface to the backend, which waits for its keys.
    fn handshake<V: Wait>(&mut self, store: &mut Store<'_, H, V>) -> Result<(), NetError> {
        self.fill()?;
        let (tx, rx) = (self.tx.reference(), self.rx.reference());
        let keys = [
            ("tx-ring-ref", &tx as _),
            ("rx-ring-ref", &rx as _),
            ("event-channel", &self.channel.port().0 as _),
            ("request-rx-copy", &1 as _),
            ("feature-rx-notify", &1 as _),
            // The backend completes checksums before it delivers a frame.
            ("feature-no-csum-offload", &1 as _),
        ];
        self.frontend.publish(store, &keys, XenbusState::CONNECTED)?;
        if self.frontend.next_step(store)? != Step::Ready {
            return Err(XenbusError::BackendGone.into());
        }
        // Notifications from before the backend bound its end were lost.
        self.channel.send().map_err(NetError::Event)
    }

    /// Returns the interface's MAC address.
    #[must_use]
    pub const fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// Returns the interface's port. The backend signals it when it has sent a frame, and when one
    /// arrives.
    #[must_use]
    pub const fn port(&self) -> Port {
        self.channel.port()
    }

    /// Returns the frontend. Call its [`step`](Frontend::step) after each xenstore event whose
    /// token is the device's directory: it shows whether the backend closes.
    #[must_use]
    pub const fn frontend(&self) -> &Frontend<'a> {
        &self.frontend
    }

    /// Returns how many frames were lost: the backend reported an error, the frame did not fit into
    /// the caller's buffer, its checksum was incomplete although the driver requests complete ones,
    /// or it was in flight when the domain was restored.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns whether a frame can be sent now. If not, the backend signals the port when one can
    /// be.
    ///
    /// # Errors
    ///
    /// [`NetError::Broken`].
    pub fn can_send(&mut self) -> Result<bool, NetError> {
        self.take_sent()?;
        Ok(self.tx.can_lend(&self.table))
    }

    /// Sends a frame.
    ///
    /// # Errors
    ///
    /// [`NetError::FrameSize`], [`NetError::Busy`]; [`NetError::Broken`], [`NetError::Grant`],
    /// [`NetError::Event`].
    pub fn send(&mut self, frame: &[u8]) -> Result<(), NetError> {
        if !(FRAME_MIN..=FRAME_MAX).contains(&frame.len()) {
            return Err(NetError::FrameSize(frame.len()));
        }
        self.take_sent()?;
        let peer = self.frontend.backend_domain();
        let size = frame.len() as u16;
        let begun = self
            .tx
            .begin(&self.table, peer, Access::ReadOnly, |bytes| bytes.copy_from(0, frame))?;
        let (id, reference) = begun.ok_or(NetError::Busy)?;
        self.tx.push(id, &NetifTxRequest::new(reference.0, 0, 0, id, size))?;
        if self.tx.publish() { self.channel.send().map_err(NetError::Event) } else { Ok(()) }
    }

    /// Withdraws the pages of frames that were sent.
    fn take_sent(&mut self) -> Result<(), NetError> {
        while let Some(response) = self.next(|device| device.tx.next())? {
            let known = [NetifStatus::OKAY, NetifStatus::ERROR, NetifStatus::DROPPED];
            let valid = known.contains(&response.status) && self.tx.end(response.id);
            self.check(valid)?;
            self.lost += u64::from(response.status != NetifStatus::OKAY);
        }
        Ok(())
    }

    /// Copies the next frame to `buffer`, if there is one, and returns its length.
    ///
    /// # Errors
    ///
    /// [`NetError::Broken`], [`NetError::Grant`], [`NetError::Event`].
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, NetError> {
        let mut received = None;
        // Each response withdraws a granted page, so the number of pages bounds this loop.
        while let Some(response) = self.next(|device| device.rx.next())? {
            let flags = response.flags;
            let chained = netif_rx_flags::MORE_DATA.is_set(flags)
                || netif_rx_flags::EXTRA_INFO.is_set(flags)
                || netif_rx_flags::GSO_PREFIX.is_set(flags);
            let offset = usize::from(response.offset);
            // The status of a received frame is its length.
            let length = usize::try_from(response.status.0).unwrap_or(0);
            self.check(!chained && offset + length <= PAGE_SIZE)?;
            // The driver does not negotiate frames whose checksum is incomplete.
            let usable = length >= FRAME_MIN && !netif_rx_flags::CSUM_BLANK.is_set(flags);
            let into = buffer.get_mut(..length).filter(|_| usable);
            let copies = into.is_some();
            // The backend may still write to the page, so the bytes are copied once.
            let copied = self.rx.finish(response.id, |bytes| match into {
                Some(into) => bytes.copy_to(offset, into),
                None => Ok(()),
            });
            self.check(copied.is_some())?;
            copied.unwrap_or(Ok(()))?;
            if copies {
                received = Some(length);
                break;
            }
            self.lost += 1;
        }
        let filled = self.fill();
        if received.is_none() {
            filled?;
        }
        // The next call fills again what could not be filled.
        Ok(received)
    }

    /// Grants all free pages, to receive frames.
    fn fill(&mut self) -> Result<(), NetError> {
        let peer = self.frontend.backend_domain();
        let mut filled = false;
        while let Some((id, reference)) =
            self.rx.begin(&self.table, peer, Access::ReadWrite, |_| Ok(()))?
        {
            self.rx.push(id, &NetifRxRequest::new(id, reference.0))?;
            filled = true;
        }
        if filled && self.rx.publish() {
            self.channel.send().map_err(NetError::Event)?;
        }
        Ok(())
    }

    /// Returns the next response of `take`, unless the backend broke the protocol.
    fn next<T>(
        &mut self,
        take: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Result<Option<T>, NetError> {
        if self.broken { Err(NetError::Broken) } else { Ok(take(self)) }
    }

    fn check(&mut self, valid: bool) -> Result<(), NetError> {
        self.broken |= !valid;
        if valid { Ok(()) } else { Err(NetError::Broken) }
    }

    /// Closes the interface, and withdraws all pages.
    ///
    /// # Errors
    ///
    /// [`NetError::Xenbus`] if the backend does not close in time, or xenstore fails. The pages are
    /// withdrawn in any case.
    pub fn close<V: Wait>(mut self, store: &mut Store<'_, H, V>) -> Result<(), NetError> {
        Ok(self.frontend.close(store)?)
    }
}

/// Reads the interface's MAC address, six hexadecimal numbers.
fn read_mac<H: Hypercall + Copy, V: Wait>(
    store: &mut Store<'_, H, V>,
    device: &str,
) -> Result<[u8; 6], NetError> {
    const MALFORMED: NetError = NetError::Xenbus(XenbusError::Malformed("mac"));
    let mut buffer = [0; 17];
    let text = match store.read_str((device, "mac"), &mut buffer) {
        Err(StoreError::Refused(Errno::ENOENT)) => {
            return Err(XenbusError::Missing("mac").into());
        }
        Err(StoreError::TooLong(_) | StoreError::Malformed) => return Err(MALFORMED),
        text => text?,
    };
    let mut parts = text.split(':');
    let mut mac = [0; 6];
    for byte in &mut mac {
        let is_byte = |part: &&str| part.len() == 2 && !part.starts_with('+');
        let part = parts.next().filter(is_byte).ok_or(MALFORMED)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| MALFORMED)?;
    }
    if parts.next().is_some() { Err(MALFORMED) } else { Ok(mac) }
}

impl<H: Hypercall + Copy, A> core::fmt::Debug for NetDevice<'_, '_, H, A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NetDevice")
            .field("frontend", &self.frontend)
            .field("mac", &self.mac)
            .field("lost", &self.lost)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}
