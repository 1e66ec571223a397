//! Keeps a network interface across a suspend of the domain.

use core::fmt;

use super::half::{Half, SuspendedHalf};
use super::{NetDevice, NetError};
use crate::event::Channel;
use crate::grant::GrantTable;
use crate::hypercall::{Errno, Hypercall};
use crate::ring::{DevicePage, Wait};
use crate::xenbus::Frontend;
use crate::xenstore::{NodePath, Store, StoreError, Tree};

/// A network interface of a domain that is suspended.
///
/// It borrows neither the grant table nor the pages, so it outlives
/// [`Registered::suspend`](crate::suspend::Registered::suspend).
pub struct SuspendedNetDevice<H: Hypercall + Copy> {
    /// `None` once the domain was restored, and the frames in flight were counted.
    connection: Option<Connection<H>>,
    frontend: Frontend<'static>,
    mac: [u8; 6],
    lost: u64,
    broken: bool,
}

struct Connection<H: Hypercall + Copy> {
    channel: Channel<H>,
    tx: SuspendedHalf,
    rx: SuspendedHalf,
}

/// A suspended network interface was not connected again.
#[derive(Debug)]
#[non_exhaustive]
pub struct ResumeNetError<H: Hypercall + Copy> {
    /// The interface, which can be resumed again.
    pub suspended: SuspendedNetDevice<H>,
    /// The reason.
    pub error: NetError,
}

impl<H: Hypercall + Copy, A> NetDevice<'_, '_, H, A> {
    /// Ends the use of the interface before the domain is suspended. The pages stay granted,
    /// because the suspend can be cancelled.
    ///
    /// Then [detach](DevicePage::detach) the pages, suspend the domain, and call
    /// [`SuspendedNetDevice::resume`], as for a
    /// [block device](crate::blk::BlockDevice::suspend).
    #[must_use = "dropping it loses the frames in flight"]
    pub fn suspend(self) -> SuspendedNetDevice<H> {
        let Self { frontend, channel, tx, rx, mac, lost, broken, .. } = self;
        let connection = Some(Connection { channel, tx: tx.suspend(), rx: rx.suspend() });
        SuspendedNetDevice { connection, frontend: frontend.at(""), mac, lost, broken }
    }
}

impl<H: Hypercall + Copy> SuspendedNetDevice<H> {
    /// Continues to use the interface `device`, with all pages that it had, in the same order.
    ///
    /// If the suspend was cancelled, no frame is lost. If the domain was restored, connects the
    /// interface again. Frames whose sending the backend had not reported, and frames that had
    /// arrived but were not [received](NetDevice::receive), count as [lost](NetDevice::lost).
    ///
    /// After a restore, first reopen xenstore and register the grant table again.
    ///
    /// # Errors
    ///
    /// [`NetError::NotSuspended`] if the suspend was cancelled, and the interface or a page is
    /// another one; otherwise as for [`NetDevice::connect`].
    #[allow(clippy::result_large_err, reason = "the error returns the interface")]
    pub fn resume<'a, 't, A: Copy, V: Wait>(
        mut self,
        xen: H,
        store: &mut Store<'_, H, V>,
        device: &'a str,
        table: GrantTable<'t, H, A>,
        tx: &'a mut [DevicePage<'t>],
        rx: &'a mut [DevicePage<'t>],
    ) -> Result<NetDevice<'a, 't, H, A>, ResumeNetError<H>> {
        let cancelled = self.connection.take_if(|connection| connection.channel.is_current());
        if let Some(connection) = cancelled {
            return match self.check(store, device) {
                Ok(()) => self.reuse(connection, device, table, tx, rx),
                Err(error) => {
                    let suspended = Self { connection: Some(connection), ..self };
                    Err(ResumeNetError { suspended, error })
                }
            };
        }
        if let Some(connection) = self.connection.take() {
            self.lost += count_lost(connection, &table, tx, rx);
        }
        match NetDevice::connect(xen, store, device, table, tx, rx) {
            Ok(device) => Ok(NetDevice { lost: self.lost, ..device }),
            Err(error) => Err(ResumeNetError { suspended: self, error }),
        }
    }

    /// Checks that the interface is the suspended one, which has the same backend.
    fn check(&self, store: &mut impl Tree, device: &str) -> Result<(), NetError> {
        match store.read_str((device, "backend"), &mut [0; NodePath::MAX]) {
            Ok(backend) if backend == self.frontend.backend().as_str() => Ok(()),
            Ok(_)
            | Err(
                StoreError::Refused(Errno::ENOENT) | StoreError::TooLong(_) | StoreError::Malformed,
            ) => Err(NetError::NotSuspended),
            Err(error) => Err(error.into()),
        }
    }

    /// Continues after a cancelled suspend.
    #[allow(clippy::result_large_err, reason = "the error returns the interface")]
    fn reuse<'a, 't, A>(
        self,
        mut connection: Connection<H>,
        device: &'a str,
        table: GrantTable<'t, H, A>,
        tx: &'a mut [DevicePage<'t>],
        rx: &'a mut [DevicePage<'t>],
    ) -> Result<NetDevice<'a, 't, H, A>, ResumeNetError<H>> {
        let tx = Half::resume(&table, &mut connection.tx, tx);
        let rx = Half::resume(&table, &mut connection.rx, rx);
        let (tx, rx) = match (tx, rx) {
            (Ok(Some(tx)), Ok(Some(rx))) => (tx, rx),
            (tx, rx) => {
                // The backend still uses the half whose pages were right.
                if let Ok(Some(tx)) = tx {
                    connection.tx = tx.suspend();
                }
                if let Ok(Some(rx)) = rx {
                    connection.rx = rx.suspend();
                }
                let suspended = Self { connection: Some(connection), ..self };
                return Err(ResumeNetError { suspended, error: NetError::NotSuspended });
            }
        };
        let Self { frontend, mac, lost, broken, .. } = self;
        let (frontend, channel) = (frontend.at(device), connection.channel);
        Ok(NetDevice { frontend, table, channel, tx, rx, mac, lost, broken })
    }
}

/// Returns the number of frames that a restore lost. Other pages have none.
fn count_lost<'t, H: Hypercall + Copy, A>(
    mut connection: Connection<H>,
    table: &GrantTable<'t, H, A>,
    tx: &mut [DevicePage<'t>],
    rx: &mut [DevicePage<'t>],
) -> u64 {
    let Connection { tx: sent, rx: received, .. } = &mut connection;
    let tx = Half::<super::Tx>::resume(table, sent, tx);
    let sent = tx.ok().flatten().map_or(0, |mut tx| {
        while let Some(response) = tx.next() {
            tx.end(response.id);
        }
        tx.in_flight()
    });
    let rx = Half::<super::Rx>::resume(table, received, rx);
    let received = rx.ok().flatten().map_or(0, |mut rx| {
        core::iter::from_fn(|| rx.next()).filter(|response| response.status.0 > 0).count()
    });
    sent + received as u64
}

impl<H: Hypercall + Copy> fmt::Debug for SuspendedNetDevice<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SuspendedNetDevice")
            .field("mac", &self.mac)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

impl<H: Hypercall + Copy> fmt::Display for ResumeNetError<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot resume the network interface: {}", self.error)
    }
}

impl<H: Hypercall + Copy> core::error::Error for ResumeNetError<H> where Self: fmt::Debug {}
