//! What the simulated Xen knows: the machine, its domains, and their vCPUs. Plain data, all of it
//! under one lock, and the rules that hold for a part of it alone.

mod grants;
mod path;
mod physmap;
mod ports;
mod random;
mod sum;
mod vcpu;

use std::collections::BTreeMap;
use std::io;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use xen_pac::base::Domid;
use xen_pac::sched::ShutdownReason;
use xen_pac::vcpu::Runstate;

use super::adversity::{Adversity, Faults};
use super::boundary::{MachineFrame, MachineMemory};
use super::failure::What;
use super::profile::{Profile, Role};
use super::setup::Setup;
pub(super) use grants::{Active, Grants, MAX_FRAMES, Map, V2_ENTRY};
pub(super) use path::Path;
pub(super) use physmap::{
    END_OF_PROGRAM, Entry, FIRST, Frames, Physmap, address_in_program, frame_of_program,
};
pub(super) use ports::{Binding, Ports};
pub(super) use random::Random;
pub(super) use sum::Sum;
pub(super) use vcpu::{Area, Program, Run, RunTimes, Vcpu};

use xen_hal::hypercall::Errno;

/// When the first domain starts, in nanoseconds since Xen started.
pub(crate) const BEGINNING: u64 = NANOS_PER_SECOND;

/// Nanoseconds in a second.
pub(crate) const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// What is called on an interrupt.
pub(crate) type Handler = Arc<dyn Fn() + Send + Sync>;

/// A vCPU of the machine: by the index of its domain, and its own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VcpuKey {
    pub(crate) domain: usize,
    pub(crate) vcpu: usize,
}

/// The machine.
pub(crate) struct State {
    pub(crate) profile: Profile,
    pub(crate) seed: u64,
    pub(crate) memory: MachineMemory,
    pub(crate) frames: Frames,
    pub(crate) domains: Vec<Domain>,
    /// Nanoseconds since Xen started.
    pub(crate) now: u64,
    /// The earliest moment at which a timer fires.
    pub(crate) next_timer: Option<u64>,
    pub(crate) random: Random,
    pub(crate) adversity: Adversity,
    /// Who has the baton.
    pub(crate) running: Option<VcpuKey>,
    /// Why the machine stopped before its programs were done.
    pub(crate) over: Option<What>,
    /// How many hypercalls were made.
    pub(crate) hypercalls: u64,
    /// What happened, in order, folded into a number.
    pub(crate) path: Path,
    /// vCPUs whose threads are to be started.
    pub(crate) to_start: Vec<VcpuKey>,
    /// What programs told each other beside Xen.
    pub(crate) posts: BTreeMap<String, u64>,
}

/// A domain.
pub(crate) struct Domain {
    pub(crate) id: Domid,
    pub(crate) role: Role,
    pub(crate) vcpus: Vec<Vcpu>,
    pub(crate) physmap: Physmap,
    /// How many pages it was made with.
    pub(crate) made_with: usize,
    /// The frame of the page that is shared with Xen.
    pub(crate) shared: MachineFrame,
    pub(crate) ports: Ports,
    pub(crate) grants: Grants,
    /// The HVM parameters, by their numbers.
    pub(crate) parameters: [u64; xen_pac::hvm::HVM_NR_PARAMS as usize],
    /// The vector at which events come, on x86.
    pub(crate) upcall_vector: Option<u8>,
    /// Whether Xen marks run times while it writes them.
    pub(crate) marks_runstate: bool,
    /// When each watchdog ends the domain.
    pub(crate) watchdogs: [Option<u64>; 2],
    /// The reason that was given before the end, if one was.
    pub(crate) shutdown_code: Option<ShutdownReason>,
    pub(crate) ended: Option<ShutdownReason>,
    pub(crate) suspends: u32,
    /// What its clock is ahead of the machine's, in nanoseconds: since it came from another
    /// machine.
    pub(crate) epoch: i64,
    pub(crate) handlers: BTreeMap<u8, Handler>,
    pub(crate) faults: Faults,
    pub(crate) hypercalls: u64,
    /// What was written to Xen's console.
    pub(crate) console: Vec<u8>,
}

impl State {
    pub(crate) fn new(profile: Profile, seed: u64, frames: usize) -> io::Result<Self> {
        Ok(Self {
            profile,
            seed,
            memory: MachineMemory::new(frames)?,
            frames: Frames::new(frames),
            domains: Vec::new(),
            now: BEGINNING,
            next_timer: None,
            random: Random::new(seed),
            adversity: Adversity::new(),
            running: None,
            over: None,
            hypercalls: 0,
            path: Path::default(),
            to_start: Vec::new(),
            posts: BTreeMap::new(),
        })
    }

    pub(crate) fn domain(&self, key: VcpuKey) -> &Domain {
        &self.domains[key.domain]
    }

    pub(crate) fn domain_mut(&mut self, key: VcpuKey) -> &mut Domain {
        &mut self.domains[key.domain]
    }

    pub(crate) fn vcpu(&self, key: VcpuKey) -> &Vcpu {
        &self.domains[key.domain].vcpus[key.vcpu]
    }

    pub(crate) fn vcpu_mut(&mut self, key: VcpuKey) -> &mut Vcpu {
        &mut self.domains[key.domain].vcpus[key.vcpu]
    }

    /// The index of the domain with this number, `DOMID_SELF` being the caller's.
    pub(crate) fn domain_by_id(&self, caller: usize, id: Domid) -> Result<usize, Errno> {
        if id == Domid::SELF {
            return Ok(caller);
        }
        self.domains
            .iter()
            .position(|domain| domain.id == id && domain.ended.is_none())
            .ok_or(Errno::ESRCH)
    }

    /// Whether `caller` may do to `target` what is a domain's own business.
    pub(crate) fn may_act_on(&self, caller: usize, target: usize) -> Result<(), Errno> {
        if caller == target || self.domains[caller].role == Role::Control {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }

    /// Whether Xen's default policy on Arm, SILO, keeps two domains apart, so that `caller` may not
    /// bring them together (`silo_mode_dom_check`).
    pub(crate) fn apart(&self, caller: usize, one: usize, other: usize) -> bool {
        let guest = |domain: usize| self.domains[domain].role != Role::Control;
        self.profile.is_arm() && one != other && [caller, one, other].into_iter().all(guest)
    }

    /// All vCPUs of the machine.
    pub(crate) fn keys(&self) -> impl Iterator<Item = VcpuKey> + '_ {
        self.domains
            .iter()
            .enumerate()
            .flat_map(|(domain, of)| (0..of.vcpus.len()).map(move |vcpu| VcpuKey { domain, vcpu }))
    }

    /// Adds a domain whose first vCPU will run `program`.
    pub(crate) fn add_domain(&mut self, setup: &Setup, program: Program) -> io::Result<Domid> {
        let role = setup.role.unwrap_or(self.profile.role);
        let first =
            u16::from(self.domains.first().map_or(role, |first| first.role) != Role::Control);
        let id = Domid(first + self.domains.len() as u16);
        // All or nothing: two pages of Xen's, and the domain's own.
        if self.frames.free_count() < setup.pages + 2 {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let shared = self.frames.take_for_xen(&self.memory)?;
        let physmap =
            Physmap::populated(setup.pages, &mut self.frames, &self.memory, self.domains.len())?;
        let info = |vcpu| self.profile.block_in_shared_page(vcpu).map(|block| (shared, block));
        let vcpus = (0..setup.vcpus).map(|vcpu| Vcpu::new(info(vcpu), self.now));
        let mut domain = Domain {
            id,
            role,
            vcpus: vcpus.collect(),
            physmap,
            made_with: setup.pages,
            shared,
            ports: Ports::new(if role == Role::Control { 4096 } else { 1024 }),
            grants: Grants::new(self.frames.take_for_xen(&self.memory)?, setup.maps),
            parameters: [0; xen_pac::hvm::HVM_NR_PARAMS as usize],
            upcall_vector: None,
            marks_runstate: false,
            watchdogs: [None; 2],
            shutdown_code: None,
            ended: None,
            suspends: 0,
            epoch: 0,
            handlers: BTreeMap::new(),
            faults: Faults::default(),
            hypercalls: 0,
            console: Vec::new(),
        };
        let first = &mut domain.vcpus[0];
        (first.initialised, first.run, first.program, first.started) =
            (true, Run::Ready, Some(program), true);
        first.times.state = Runstate::RUNNABLE;
        self.domains.push(domain);
        self.write_wallclock(self.domains.len() - 1);
        Ok(id)
    }
}
