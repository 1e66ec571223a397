//! Simulates a network between a guest's interface and a peer, and serves the interface's rings.

use core::fmt;
use std::collections::VecDeque;
use std::string::{String, ToString};
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec::Vec;

use xen_hal::Xen;
use xen_hal::grant::{Access, ForeignGrant, GrantRef, Mapping};
use xen_hal::platform::PAGE_SIZE;
use xen_hal::ring::{BackRing, Protocol};
use xen_pac::netif::{
    NetifRxRequest, NetifRxResponse, NetifStatus, NetifTxRequest, NetifTxResponse, netif_rx_flags,
};

use super::host::{BackendFault, Host, RingMapping, lock};
use crate::platform::Hypervisor;

/// The valid lengths of an Ethernet frame in bytes.
const FRAME: core::ops::RangeInclusive<usize> = 14..=1514;

/// The function at the other end of the network.
type PeerFn = Box<dyn FnMut(&[u8], &mut VecDeque<Vec<u8>>) + Send>;

/// A network between a guest's interface and a peer. Clones share one network.
///
/// ```
/// use xen_sim::backend::{Dom0, Network};
/// use xen_sim::{DomainConfig, FaultRates, Machine, Profile};
///
/// // Every frame comes back.
/// let network = Network::new(|frame, to_guest| to_guest.push_back(frame.to_vec()));
/// let dom0 = Dom0::new();
/// let mut machine = Machine::new(Profile::DOM0, 1).unwrap().fault_rates(FaultRates::storm());
/// machine.domain(DomainConfig::dom0(), dom0.program()).unwrap();
/// // A guest connects it with `NetDevice`.
/// let guest = machine.domain(DomainConfig::domu(), |_| ()).unwrap();
/// dom0.attach(guest, network.clone());
/// machine.run().unwrap();
/// assert_eq!(network.sent(), 0);
/// ```
#[derive(Clone)]
pub struct Network(Arc<Mutex<NetworkState>>);

struct NetworkState {
    peer: PeerFn,
    to_guest: VecDeque<Vec<u8>>,
    sent: u64,
    fault: Option<BackendFault>,
    keys: Vec<(&'static str, String)>,
}

impl Network {
    /// Creates a network whose peer is a function. It is called with each frame that the guest
    /// sends, and with an empty one when the guest has connected. It adds the frames for the guest
    /// to its second argument.
    #[must_use]
    pub fn new(peer: impl FnMut(&[u8], &mut VecDeque<Vec<u8>>) + Send + 'static) -> Self {
        let (peer, to_guest, keys) = (Box::new(peer), VecDeque::new(), Vec::new());
        Self(Arc::new(Mutex::new(NetworkState { peer, to_guest, sent: 0, fault: None, keys })))
    }

    /// Makes the backend misbehave from now, or stops it with `None`.
    pub fn set_fault(&self, fault: Option<BackendFault>) {
        self.state().fault = fault;
    }

    /// Sets a key of the backend's directory, for guests that connect later.
    pub fn set_key(&self, key: &'static str, value: &str) {
        self.state().keys.push((key, value.to_string()));
    }

    /// Returns the number of frames that the guest has sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.state().sent
    }

    pub(super) fn fault(&self) -> Option<BackendFault> {
        self.state().fault
    }

    /// Returns the keys of the backend's directory.
    pub(super) fn keys(&self) -> Vec<(&'static str, String)> {
        let mut keys = std::vec![("feature-rx-copy", "1".to_string())];
        keys.extend(self.state().keys.iter().cloned());
        keys
    }

    fn state(&self) -> MutexGuard<'_, NetworkState> {
        lock(&self.0)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl NetworkState {
    /// Passes a frame to the peer.
    fn hand_over(&mut self, frame: &[u8]) {
        (self.peer)(frame, &mut self.to_guest);
    }
}

enum Tx {}

impl Protocol for Tx {
    type Request = NetifTxRequest;
    type Response = NetifTxResponse;
}

enum Rx {}

impl Protocol for Rx {
    type Request = NetifRxRequest;
    type Response = NetifRxResponse;
}

/// The rings of a connected interface.
pub(super) struct NetworkRings {
    tx: BackRing<RingMapping, Tx>,
    rx: BackRing<RingMapping, Rx>,
    connected: bool,
    /// The number of the last request that was answered.
    last: u16,
    /// The pages that the backend does not unmap.
    kept: Vec<Mapping<'static, Hypervisor>>,
}

impl NetworkRings {
    pub(super) fn new(tx: RingMapping, rx: RingMapping) -> Self {
        let (tx, rx) = (BackRing::new(tx), BackRing::new(rx));
        Self { tx, rx, connected: false, last: 0, kept: Vec::new() }
    }

    pub(super) fn into_mappings(self) -> Vec<Mapping<'static, Hypervisor>> {
        let mut mappings = self.kept;
        mappings.push(self.tx.into_memory().into_mapping());
        mappings.push(self.rx.into_memory().into_mapping());
        mappings
    }

    /// Moves frames both ways. Returns whether there were any, and whether to notify the guest.
    pub(super) fn serve(&mut self, network: &Network, host: &mut Host<'_>) -> (bool, bool) {
        let mut state = network.state();
        let fault = state.fault;
        if fault != Some(BackendFault::KeepsPages) {
            self.kept.drain(..).for_each(|mapping| host.unmap(mapping));
        }
        if !self.connected {
            self.connected = true;
            state.hand_over(&[]);
        }
        let (sent, must_send) = self.serve_tx(&mut state, host);
        let (received, must_send_rx) = self.serve_rx(&mut state, host);
        let worked = sent || received;
        if let (true, Some(fault)) = (worked, fault) {
            self.tx.memory().attack(fault, host.guest);
            self.rx.memory().attack(fault, host.guest);
        }
        (worked, must_send || must_send_rx || worked && fault.is_some())
    }

    fn serve_tx(&mut self, state: &mut NetworkState, host: &mut Host<'_>) -> (bool, bool) {
        let mut worked = false;
        // Bounded, so a frontend that announces requests without end does not delay other devices.
        for _ in 0..BackRing::<RingMapping, Tx>::ENTRIES {
            let Some(request) = self.tx.pop() else {
                if self.tx.rearm() { continue } else { break }
            };
            worked = true;
            let status = match read_frame(&request, host) {
                Some(frame) => {
                    state.sent += 1;
                    state.hand_over(&frame);
                    NetifStatus::OKAY
                }
                None => NetifStatus::ERROR,
            };
            let mut response = NetifTxResponse { id: request.id, status };
            self.keep(state.fault, request.gref, host);
            response.id = self.number(state.fault, request.id, host);
            match state.fault {
                Some(BackendFault::Silent) => continue,
                Some(BackendFault::Fails) => response.status = NetifStatus::ERROR,
                Some(BackendFault::UnknownStatus) => response.status = NetifStatus(77),
                Some(BackendFault::WrongOperation) => response.status = NetifStatus::NULL,
                _ => {}
            }
            // There is one response for each request that was taken.
            let _ = self.tx.push(&response);
        }
        (worked, worked && self.tx.publish())
    }

    fn serve_rx(&mut self, state: &mut NetworkState, host: &mut Host<'_>) -> (bool, bool) {
        let mut worked = false;
        while !state.to_guest.is_empty() {
            let Some(request) = self.rx.pop() else {
                if self.rx.rearm() { continue } else { break }
            };
            let Some(frame) = state.to_guest.pop_front() else { break };
            worked = true;
            let of = ForeignGrant { domain: host.domain, reference: GrantRef(request.gref) };
            let (grants, space) = (Xen::new(host.guest.xen()).grants(), host.guest.space());
            let status = match grants.copy_to_grant(&space, &frame, of, 0) {
                Ok(()) => NetifStatus(frame.len() as i16),
                Err(_) => NetifStatus::ERROR,
            };
            self.keep(state.fault, request.gref, host);
            let id = self.number(state.fault, request.id, host);
            let mut response = NetifRxResponse { id, offset: 0, flags: 0, status };
            match state.fault {
                Some(BackendFault::Silent) => continue,
                Some(BackendFault::Fails) => response.status = NetifStatus::DROPPED,
                Some(BackendFault::UnknownStatus) => response.offset = PAGE_SIZE as u16 - 1,
                Some(BackendFault::WrongOperation) => {
                    response.flags = netif_rx_flags::MORE_DATA.val(1).value;
                }
                _ => {}
            }
            // As above.
            let _ = self.rx.push(&response);
        }
        (worked, worked && self.rx.publish())
    }

    /// Returns the number for the response to a request, which the fault may falsify.
    fn number(&mut self, fault: Option<BackendFault>, id: u16, host: &Host<'_>) -> u16 {
        let last = core::mem::replace(&mut self.last, id);
        match fault {
            Some(BackendFault::WrongId) => id ^ (host.guest.random() as u16 | 0x100),
            Some(BackendFault::Repeats) => last,
            _ => id,
        }
    }

    fn keep(&mut self, fault: Option<BackendFault>, reference: u32, host: &mut Host<'_>) {
        if fault == Some(BackendFault::KeepsPages) {
            self.kept.extend(host.map(reference, Access::ReadOnly));
        }
    }
}

/// Copies a frame that the guest sends. It has no flags: nothing was negotiated.
fn read_frame(request: &NetifTxRequest, host: &Host<'_>) -> Option<Vec<u8>> {
    let size = usize::from(request.size);
    if request.flags != 0 || !FRAME.contains(&size) {
        return None;
    }
    let mut frame = std::vec![0; size];
    let of = ForeignGrant { domain: host.domain, reference: GrantRef(request.gref) };
    let (grants, space) = (Xen::new(host.guest.xen()).grants(), host.guest.space());
    grants.copy_from_grant(&space, of, request.offset, &mut frame).ok().map(|()| frame)
}
