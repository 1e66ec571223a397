//! The frontend's end of a ring in a granted page, and the copy of a page.

use xen_hal::grant::{Grant, GrantError, Page};
use xen_hal::platform::PAGE_SIZE;
use xen_hal::ring::{FrontRing, Protocol, RingFullError};
use xen_pac::blkif::{BlkifRequest, BlkifResponse};
use xen_pac::netif::{NetifTxRequest, NetifTxResponse};

/// The entries of a disk's ring: requests of 112 bytes and responses of 16.
pub enum Blk {}

impl Protocol for Blk {
    type Request = BlkifRequest;
    type Response = BlkifResponse;
}

/// The entries of a network interface's ring of frames to send: requests of 12 bytes and responses
/// of 4.
pub enum Net {}

impl Protocol for Net {
    type Request = NetifTxRequest;
    type Response = NetifTxResponse;
}

/// A ring in a granted page.
pub type Ring<P> = FrontRing<Grant<'static>, P>;

/// Pushes a request.
///
/// # Errors
///
/// If the ring is full.
#[unsafe(export_name = "ours_push_blk")]
#[inline(never)]
pub fn push_blk(ring: &mut Ring<Blk>, request: &BlkifRequest) -> Result<(), RingFullError> {
    ring.push(request)
}

/// As [`push_blk`], for a network interface.
///
/// # Errors
///
/// As for [`push_blk`].
#[unsafe(export_name = "ours_push_net")]
#[inline(never)]
pub fn push_net(ring: &mut Ring<Net>, request: &NetifTxRequest) -> Result<(), RingFullError> {
    ring.push(request)
}

/// Pops a response, if there is one.
#[unsafe(export_name = "ours_pop_blk")]
#[inline(never)]
pub fn pop_blk(ring: &mut Ring<Blk>, into: &mut BlkifResponse) -> bool {
    ring.pop().map(|response| *into = response).is_some()
}

/// As [`pop_blk`], for a network interface.
#[unsafe(export_name = "ours_pop_net")]
#[inline(never)]
pub fn pop_net(ring: &mut Ring<Net>, into: &mut NetifTxResponse) -> bool {
    ring.pop().map(|response| *into = response).is_some()
}

/// Makes the requests visible. Returns true if the backend must be notified.
#[unsafe(export_name = "ours_publish")]
#[inline(never)]
pub fn publish(ring: &mut Ring<Net>) -> bool {
    ring.publish()
}

/// Requests an event for the next response. Returns true if there is a response already.
#[unsafe(export_name = "ours_rearm")]
#[inline(never)]
pub fn rearm(ring: &mut Ring<Net>) -> bool {
    ring.rearm()
}

/// Copies a page's worth of bytes to a shared page.
///
/// # Errors
///
/// None: the bytes fit.
#[unsafe(export_name = "ours_copy_in")]
#[inline(never)]
pub fn copy_in(page: &Page, from: &[u8; PAGE_SIZE]) -> Result<(), GrantError> {
    page.copy_from(0, from)
}

/// Copies a shared page's bytes out.
///
/// # Errors
///
/// As for [`copy_in`].
#[unsafe(export_name = "ours_copy_out")]
#[inline(never)]
pub fn copy_out(page: &Page, into: &mut [u8; PAGE_SIZE]) -> Result<(), GrantError> {
    page.copy_to(0, into)
}

#[allow(missing_docs, reason = "the C twins of the functions above, and what they are called with")]
pub mod twin {
    use super::{BlkifRequest, BlkifResponse, NetifTxRequest, NetifTxResponse};
    use xen_hal::grant::PageMemory;

    #[repr(C)]
    pub struct Front {
        pub shared: *mut PageMemory,
        pub pushed: u32,
        pub published: u32,
        pub known: u32,
        pub taken: u32,
    }

    unsafe extern "C" {
        pub fn twin_push_blk(front: *mut Front, request: *const BlkifRequest) -> bool;
        pub fn twin_push_net(front: *mut Front, request: *const NetifTxRequest) -> bool;
        pub fn twin_pop_blk(front: *mut Front, response: *mut BlkifResponse) -> bool;
        pub fn twin_pop_net(front: *mut Front, response: *mut NetifTxResponse) -> bool;
        pub fn twin_publish(front: *mut Front) -> bool;
        pub fn twin_rearm(front: *mut Front) -> bool;
        pub fn twin_copy(to: *mut u8, from: *const u8, count: usize);
    }
}
