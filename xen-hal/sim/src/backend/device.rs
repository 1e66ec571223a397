//! Simulates a device's toolstack entries in xenstore, the backend's side of the handshake, and the
//! rings.

use std::fmt::Display;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use xen_hal::Xen;
use xen_hal::event::{Channel, Port};
use xen_hal::xenstore::{NodeAccess, Permission};
use xen_pac::base::Domid;
use xen_pac::xenstore::XenbusState;

use super::StoreServer;
use super::block::{Disk, DiskRing};
use super::host::{BackendFault, Host};
use super::network::{Network, NetworkRings};
use super::store::home;
use crate::platform::Hypervisor;

/// A device for a guest: see [`Dom0::attach`](super::Dom0::attach).
#[derive(Clone, Debug)]
pub enum Device {
    /// A block device.
    Disk(Disk),
    /// A network interface.
    Network(Network),
}

impl From<Network> for Device {
    fn from(network: Network) -> Self {
        Self::Network(network)
    }
}

impl From<Disk> for Device {
    fn from(disk: Disk) -> Self {
        Self::Disk(disk)
    }
}

impl Device {
    pub(super) const fn class(&self) -> &'static str {
        match self {
            Self::Disk(_) => "vbd",
            Self::Network(_) => "vif",
        }
    }

    /// Returns the number of the first device of this class, and the distance to the next.
    const fn numbers(&self) -> (usize, usize) {
        match self {
            // `xvda` and the following whole disks.
            Self::Disk(_) => (51712, 16),
            Self::Network(_) => (0, 1),
        }
    }

    fn fault(&self) -> Option<BackendFault> {
        match self {
            Self::Disk(disk) => disk.fault(),
            Self::Network(network) => network.fault(),
        }
    }
}

/// The rings of a connected device.
enum Rings {
    Disk(DiskRing),
    Network(NetworkRings),
}

struct Link {
    channel: Channel<Hypervisor>,
    rings: Rings,
}

/// A device of a guest that is served.
pub(super) struct Attached {
    device: Device,
    front: String,
    back: String,
    link: Option<Link>,
    vanished: bool,
}

impl Attached {
    /// Creates the xenstore nodes of a guest's device, the `index`-th of its class, as the
    /// toolstack does.
    pub(super) fn new(
        device: Device,
        index: usize,
        domain: Domid,
        store: &mut StoreServer,
    ) -> Self {
        let (class, (first, distance)) = (device.class(), device.numbers());
        let number = first + index * distance;
        let front = format!("{}/device/{class}/{number}", home(domain));
        let back = format!("{}/backend/{class}/{domain}/{number}", home(Domid(0)));
        let attached = Self { device, front, back, link: None, vanished: false };
        let entry = |domain, access| Permission { domain, access };
        let (guest, dom0) = (domain, Domid(0));
        let of_guest = [entry(guest, NodeAccess::None), entry(dom0, NodeAccess::Read)];
        let of_dom0 = [entry(dom0, NodeAccess::None), entry(guest, NodeAccess::Read)];
        let state = XenbusState::INITIALISING.0;
        let mut front_keys: Vec<(&str, &dyn Display)> = Vec::new();
        front_keys.extend([
            ("backend", &attached.back as &dyn Display),
            ("backend-id", &0),
            ("state", &state),
        ]);
        let [high, low] = domain.0.to_be_bytes();
        let mac = format!("00:16:3e:{high:02x}:{low:02x}:{index:02x}");
        match &attached.device {
            Device::Disk(_) => {
                front_keys.extend([("virtual-device", &number as &dyn Display)]);
                front_keys.push(("device-type", &"disk"));
            }
            Device::Network(_) => {
                front_keys.extend([("mac", &mac as &dyn Display), ("handle", &number)]);
            }
        }
        let back_keys: [(&str, &dyn Display); 4] = [
            ("frontend", &attached.front),
            ("frontend-id", &guest),
            ("online", &1),
            ("state", &state),
        ];
        for (directory, keys, permissions) in [
            (&attached.back, &back_keys[..], of_dom0),
            (&attached.front, &front_keys[..], of_guest),
        ] {
            store.set(directory, "");
            store.set_permissions(directory, &permissions);
            for (key, value) in keys {
                store.set(&format!("{directory}/{key}"), value.to_string());
            }
        }
        attached
    }

    /// Returns the port to wait for, if the device is connected.
    pub(super) fn port(&self) -> Option<Port> {
        self.link.as_ref().map(|link| link.channel.port())
    }

    /// Serves the device. Returns whether there was work.
    pub(super) fn serve(&mut self, host: &mut Host<'_>) -> bool {
        if self.vanished {
            return false;
        }
        let mut progress = self.follow_frontend(host);
        let fault = self.device.fault();
        if let Some(Link { channel, rings }) = &mut self.link {
            let (worked, must_send) = match (rings, &self.device) {
                (Rings::Disk(ring), Device::Disk(disk)) => ring.serve(disk, host),
                (Rings::Network(rings), Device::Network(network)) => rings.serve(network, host),
                // Unreachable: the rings are those of the device's class.
                _ => (false, false),
            };
            progress |= worked;
            if must_send {
                // The guest may have closed it.
                let _ = channel.send();
            }
            match fault.filter(|_| worked) {
                Some(BackendFault::Closes) => self.switch(host.store, XenbusState::CLOSING),
                Some(BackendFault::Vanishes) => {
                    self.disconnect(host);
                    host.store.remove(&self.back);
                    self.vanished = true;
                }
                _ => {}
            }
        }
        progress
    }

    /// Follows the frontend's state, as Linux's backends do. Returns whether the backend's state
    /// changed.
    fn follow_frontend(&mut self, host: &mut Host<'_>) -> bool {
        let number = |directory: &str| {
            let state = host.store.get_number(&format!("{directory}/state")).unwrap_or(0);
            XenbusState(state)
        };
        let (front, own) = (number(&self.front), number(&self.back));
        let next = match front {
            XenbusState::INITIALISING if own != XenbusState::INIT_WAIT => {
                self.disconnect(host);
                self.announce(host.store);
                XenbusState::INIT_WAIT
            }
            XenbusState::INITIALISED | XenbusState::CONNECTED if own == XenbusState::INIT_WAIT => {
                self.link = self.connect(host);
                if self.link.is_some() { XenbusState::CONNECTED } else { XenbusState::CLOSING }
            }
            XenbusState::CLOSING => XenbusState::CLOSING,
            XenbusState::CLOSED | XenbusState::UNKNOWN => {
                self.disconnect(host);
                XenbusState::CLOSED
            }
            _ => return false,
        };
        if next != own {
            self.switch(host.store, next);
        }
        next != own
    }

    fn switch(&self, store: &mut StoreServer, state: XenbusState) {
        store.set(&format!("{}/state", self.back), state.0.to_string());
    }

    /// Writes the device's properties to xenstore.
    fn announce(&self, store: &mut StoreServer) {
        let keys = match &self.device {
            Device::Disk(disk) => disk.keys(),
            Device::Network(network) => network.keys(),
        };
        for (key, value) in keys {
            store.set(&format!("{}/{key}", self.back), value);
        }
    }

    fn connect(&self, host: &mut Host<'_>) -> Option<Link> {
        let number = |host: &Host<'_>, key: &str| {
            host.store.get_number::<u32>(&format!("{}/{key}", self.front))
        };
        let port = Port(number(host, "event-channel")?);
        let events = Xen::new(host.guest.xen()).events();
        let channel = events.bind_interdomain(host.domain, port).ok()?;
        let rings = match &self.device {
            Device::Disk(_) => {
                let reference = number(host, "ring-ref")?;
                Rings::Disk(DiskRing::new(host.map_ring(reference)?))
            }
            Device::Network(_) => {
                let (tx, rx) = (number(host, "tx-ring-ref")?, number(host, "rx-ring-ref")?);
                let tx = host.map_ring(tx)?;
                let Some(rx) = host.map_ring(rx) else {
                    host.unmap(tx.into_mapping());
                    return None;
                };
                Rings::Network(NetworkRings::new(tx, rx))
            }
        };
        Some(Link { channel, rings })
    }

    /// Unmaps the guest's pages.
    pub(super) fn disconnect(&mut self, host: &mut Host<'_>) {
        let Some(Link { channel, rings }) = self.link.take() else { return };
        drop(channel);
        let mappings = match rings {
            Rings::Disk(ring) => ring.into_mappings(),
            Rings::Network(rings) => rings.into_mappings(),
        };
        for mapping in mappings {
            host.unmap(mapping);
        }
    }

    /// Removes the device of a guest that has ended.
    pub(super) fn detach(mut self, host: &mut Host<'_>) {
        self.disconnect(host);
        host.store.remove(&self.back);
    }
}
