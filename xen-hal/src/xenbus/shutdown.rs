//! Receives the toolstack's requests in `control/shutdown`.

use crate::hypercall::{Errno, Hypercall};
use crate::ring::Wait;
use crate::xenstore::{Store, StoreError, Tree};

/// The node to which the toolstack writes its request.
const NODE: &str = "control/shutdown";

/// The texts of the toolstack's requests.
const REQUESTS: [(&str, ShutdownRequest); 5] = [
    ("poweroff", ShutdownRequest::Poweroff),
    ("halt", ShutdownRequest::Halt),
    ("reboot", ShutdownRequest::Reboot),
    ("suspend", ShutdownRequest::Suspend),
    ("crash", ShutdownRequest::Crash),
];

/// A request of the toolstack. To carry it out, the guest ends with
/// [`Sched::exit`](crate::sched::Sched::exit) and the matching reason; for
/// [`Suspend`](Self::Suspend), it [suspends](crate::suspend).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ShutdownRequest {
    /// `xl shutdown`: shut down and power off.
    Poweroff,
    /// Shut down.
    Halt,
    /// `xl reboot`: shut down and start again.
    Reboot,
    /// `xl save`, `xl migrate`: suspend, and continue after the restore.
    Suspend,
    /// Crash, so that the toolstack can keep a dump.
    Crash,
    /// A request that has no variant here. It is not acknowledged.
    Unknown,
}

/// Receives the toolstack's requests.
///
/// ```
/// use xen_hal::hypercall::Hypercall;
/// use xen_hal::ring::Wait;
/// use xen_hal::xenbus::{ShutdownControl, ShutdownRequest};
/// use xen_hal::xenstore::{Store, StoreError};
/// # use xen_hal::xenstore::Tree;
///
/// fn start<H: Hypercall + Copy, W: Wait>(
///     store: &mut Store<'_, H, W>,
/// ) -> Result<ShutdownControl, StoreError> {
///     ShutdownControl::watch(store)
/// }
///
/// /// On each event of `store` whose token is [`ShutdownControl::TOKEN`].
/// fn stops<H: Hypercall + Copy, W: Wait>(
///     control: &ShutdownControl,
///     store: &mut Store<'_, H, W>,
/// ) -> Result<bool, StoreError> {
///     Ok(matches!(
///         control.take(store)?,
///         Some(ShutdownRequest::Poweroff | ShutdownRequest::Halt | ShutdownRequest::Reboot)
///     ))
/// }
/// # xen_sim::storm_with_dom0(5, |_, _| (), |guest| -> Result<(), StoreError> {
/// #     let (xen, mut storage) = (guest.xen(), [0; Store::STORAGE]);
/// #     // SAFETY: the ring has one owner, as long as the machine runs.
/// #     let mut store = unsafe { Store::open(xen, |frame| guest.frame(frame), &mut storage) }?;
/// #     let control = start(&mut store)?;
/// #     assert!(!stops(&control, &mut store)?);
/// #     store.write(ShutdownControl::TOKEN, "poweroff")?;
/// #     assert!(stops(&control, &mut store)?);
/// #     Ok(())
/// # });
/// ```
#[derive(Debug)]
pub struct ShutdownControl(());

impl ShutdownControl {
    /// The token of the watch.
    pub const TOKEN: &str = NODE;

    /// Watches for requests, and announces in `control/feature-*` that the guest handles poweroff,
    /// reboot and suspend. If xenstore refuses the announcement, continues.
    ///
    /// # Errors
    ///
    /// As for [`Store::watch`].
    pub fn watch<H: Hypercall + Copy, W: Wait>(
        store: &mut Store<'_, H, W>,
    ) -> Result<Self, StoreError> {
        for feature in ["feature-poweroff", "feature-reboot", "feature-suspend"] {
            match store.write(("control", feature), "1") {
                Ok(()) | Err(StoreError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        match store.watch(NODE, Self::TOKEN) {
            Ok(()) | Err(StoreError::Refused(Errno::EEXIST)) => Ok(Self(())),
            Err(error) => Err(error),
        }
    }

    /// Takes the request, if there is one, and acknowledges it. The toolstack waits for that.
    ///
    /// # Errors
    ///
    /// As for [`Store::transaction`].
    pub fn take<H: Hypercall + Copy, W: Wait>(
        &self,
        store: &mut Store<'_, H, W>,
    ) -> Result<Option<ShutdownRequest>, StoreError> {
        store.transaction(|tree| {
            let mut buffer = [0; 32];
            let text = match tree.read(NODE, &mut buffer) {
                Ok([]) | Err(StoreError::Refused(Errno::ENOENT)) => return Ok(None),
                Ok(text) => text,
                Err(StoreError::TooLong(_)) => return Ok(Some(ShutdownRequest::Unknown)),
                Err(error) => return Err(error),
            };
            let known = REQUESTS.iter().find(|(name, _)| name.as_bytes() == text);
            let Some((_, request)) = known else { return Ok(Some(ShutdownRequest::Unknown)) };
            tree.write(NODE, "")?;
            Ok(Some(*request))
        })
    }
}
