//! Holds Xen's state of the machine, its domains and their vCPUs. Implements the changes that no
//! hypercall makes: timers, upcalls, the end of a domain.

mod grant_entry;
mod grants;
mod hash;
mod p2m;
mod physmap;
mod ports;
mod random;
mod run;
mod scale;
mod time;
mod toolstack;
mod upcall;
mod vcpu;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use xen_hal::hypercall::Errno;
use xen_pac::base::Domid;
use xen_pac::hvm::{HVM_NR_PARAMS, HvmParam};
use xen_pac::sched::ShutdownReason;
use xen_pac::vcpu::Runstate;

use crate::config::{DomainConfig, FailureKind, FaultRates, Faults, Place, Profile, Role};
use crate::raw_memory::{MachineFrame, MachineMemory};
pub(crate) use grant_entry::{
    GrantedPage, read_entry, reserved_entries, swap_entries, write_reserved_entries,
};
pub(crate) use grants::{Active, Grants, MAX_FRAMES, Map};
pub(crate) use hash::{Fnv64, TraceHash};
pub(crate) use physmap::{
    END_OF_PROGRAM, Entry, FIRST, Frames, Physmap, address_in_program, frame_of_program,
};
pub(crate) use ports::{Binding, Ports};
pub(crate) use random::Random;
pub(crate) use scale::{NANOS_PER_SECOND, scale};
pub(crate) use toolstack::Served;
pub(crate) use upcall::Interrupt;
pub(crate) use vcpu::{Area, Areas, Event, Program, Run, RunTimes, Vcpu};

/// The time at which the first domain starts, in nanoseconds since Xen started.
pub(crate) const BEGINNING: u64 = NANOS_PER_SECOND;

/// How long Xen ran when the toolstack created a guest on Arm, whose counter starts with it.
const UPTIME: i64 = 5 * NANOS_PER_SECOND as i64;
/// What the toolstack stores on Arm in the parameter `CALLBACK_IRQ`: the type of a private
/// interrupt, the flag of a low level, and the interrupt's number. Upstream:
/// `HVM_PARAM_CALLBACK_TYPE_PPI`, `HVM_PARAM_CALLBACK_TYPE_PPI_FLAG_LOW_LEVEL`, `GUEST_EVTCHN_PPI`.
const CALLBACK: u64 = 2 << 56 | 2 << 8 | 31;

/// A program's handler of an interrupt.
pub(crate) type Handler = Arc<dyn Fn() + Send + Sync>;

/// A vCPU of the machine: the index of its domain, and its own number.
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
    /// When the next timer fires.
    pub(crate) next_timer: Option<u64>,
    pub(crate) random: Random,
    pub(crate) rates: FaultRates,
    /// Whether the policy is SILO, by which unprivileged domains share nothing.
    pub(crate) is_silo: bool,
    /// The vCPU that has the processor.
    pub(crate) running: Option<VcpuKey>,
    /// The vCPUs that can run, in order.
    pub(crate) ready: Vec<VcpuKey>,
    /// vCPUs that have a program to run and no stack yet.
    pub(crate) started: Vec<(VcpuKey, Program)>,
    /// Whether there may be a vCPU that must leave its program.
    pub(crate) someone_leaves: bool,
    /// The reason why the machine stopped before its programs returned.
    pub(crate) over: Option<FailureKind>,
    pub(crate) hypercalls: u64,
    pub(crate) trace: TraceHash,
    /// The values that programs published to each other.
    pub(crate) keys_published: BTreeMap<String, u64>,
    /// The deadlines of programs that have not been met yet, by number.
    pub(crate) deadlines: BTreeMap<u64, Deadline>,
}

/// The time by which a program must have finished an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub(crate) on: VcpuKey,
    /// The time that the program has, in nanoseconds.
    pub(crate) limit: u64,
    pub(crate) due: u64,
}

/// A domain.
pub(crate) struct Domain {
    /// The current number: a restore changes it.
    pub(crate) id: Domid,
    /// The number at the domain's creation, which reports and failures use.
    pub(crate) number: Domid,
    pub(crate) role: Role,
    pub(crate) vcpus: Vec<Vcpu>,
    pub(crate) physmap: Physmap,
    /// The number of pages at the domain's creation.
    pub(crate) initial_pages: usize,
    /// The frame of its `shared_info`.
    pub(crate) shared: MachineFrame,
    pub(crate) ports: Ports,
    pub(crate) grants: Grants,
    /// The HVM parameters, by number.
    pub(crate) parameters: [u64; HVM_NR_PARAMS as usize],
    /// The vector of the domain's upcalls, on x86.
    pub(crate) upcall_vector: Option<u8>,
    /// Whether Xen marks run times while it writes them.
    pub(crate) marks_runstate: bool,
    /// The time at which each watchdog ends the domain.
    pub(crate) watchdogs: [Option<u64>; 2],
    /// The reason given by `SCHEDOP_shutdown_code`.
    pub(crate) shutdown_code: Option<ShutdownReason>,
    pub(crate) ended: Option<ShutdownReason>,
    /// The number of restores.
    pub(crate) restores: u32,
    /// Frames at which Xen had a page before a restore.
    pub(crate) holes: Vec<usize>,
    /// The domain's time minus the machine's, in nanoseconds: not 0 after a restore.
    pub(crate) epoch: i64,
    pub(crate) handlers: BTreeMap<u8, Handler>,
    pub(crate) faults: Faults,
    pub(crate) hypercalls: u64,
    /// Input of Xen's console that the domain has not read.
    pub(crate) console_input: VecDeque<u8>,
    /// The bytes that the domain wrote to Xen's console.
    pub(crate) console: Vec<u8>,
    /// Whether the domain ends when no other domain is left.
    pub(crate) daemon: bool,
    /// The resources that the domain held when its first program returned, and the grants that it
    /// changed while they were mapped.
    pub(crate) leaks: Vec<String>,
    /// The domain's xenstore and console rings, if it has them.
    pub(crate) served: Option<Served>,
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
            rates: FaultRates::new(),
            is_silo: profile.is_arm(),
            running: None,
            ready: Vec::new(),
            started: Vec::new(),
            someone_leaves: false,
            over: None,
            hypercalls: 0,
            trace: TraceHash::default(),
            keys_published: BTreeMap::new(),
            deadlines: BTreeMap::new(),
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

    /// Returns the index of a domain by its number, `DOMID_SELF` being the caller.
    pub(crate) fn domain_by_id(&self, caller: usize, id: Domid) -> Result<usize, Errno> {
        if id == Domid::SELF {
            return Ok(caller);
        }
        self.domains
            .iter()
            .position(|domain| domain.id == id && domain.ended.is_none())
            .ok_or(Errno::ESRCH)
    }

    /// Whether `caller` may do to `target` what a domain may do to itself.
    pub(crate) fn may_act_on(&self, caller: usize, target: usize) -> Result<(), Errno> {
        if caller == target || self.domains[caller].role == Role::Control {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }

    /// Returns whether the policy forbids `caller` to connect two domains (`silo_mode_dom_check`).
    pub(crate) fn silo_forbids(&self, caller: usize, one: usize, other: usize) -> bool {
        let guest = |domain: usize| self.domains[domain].role != Role::Control;
        self.is_silo && one != other && [caller, one, other].into_iter().all(guest)
    }

    /// Records an event of a vCPU, for failures.
    pub(crate) fn note(&mut self, key: VcpuKey, event: Event) {
        let now = self.now;
        self.vcpu_mut(key).note(now, event);
    }

    /// Returns the last events of each vCPU, one line for each.
    pub(crate) fn last_events(&self) -> Vec<String> {
        let of_vcpu = |key: VcpuKey| {
            let place = Place(self.name(key));
            self.vcpu(key).last_events.iter().map(move |(at, event)| {
                let place = &place;
                format!("{place}, at {} us: {event}", at / 1000)
            })
        };
        self.keys().flat_map(of_vcpu).collect()
    }

    /// Returns all vCPUs of the machine.
    pub(crate) fn keys(&self) -> impl Iterator<Item = VcpuKey> + '_ {
        self.domains
            .iter()
            .enumerate()
            .flat_map(|(domain, of)| (0..of.vcpus.len()).map(move |vcpu| VcpuKey { domain, vcpu }))
    }

    /// Adds a domain whose first vCPU runs `program`.
    pub(crate) fn add_domain(
        &mut self,
        config: &DomainConfig,
        program: Program,
    ) -> io::Result<Domid> {
        let role = config.role.unwrap_or(self.profile.role);
        let first =
            u16::from(self.domains.first().map_or(role, |first| first.role) != Role::Control);
        let id = Domid(first + self.domains.len() as u16);
        // Checks that all frames are free before it takes any: the shared page, one page of the
        // grant table, the rings, and the domain's own pages.
        let rings = if config.served { 2 } else { 0 };
        if self.frames.free_count() < config.pages + 2 + rings {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let shared = self.frames.take_for_xen(&self.memory)?;
        let physmap = Physmap::populated(
            config.pages,
            &mut self.frames,
            &self.memory,
            self.domains.len(),
            self.profile.is_arm(),
        )?;
        let is_arm_guest = self.profile.is_arm() && role == Role::Guest;
        let info = |vcpu| self.profile.block_in_shared_page(vcpu).map(|block| (shared, block));
        let vcpus = (0..config.vcpus).map(|vcpu| Vcpu::new(info(vcpu), self.now));
        self.domains.push(Domain {
            id,
            number: id,
            role,
            vcpus: vcpus.collect(),
            physmap,
            initial_pages: config.pages,
            shared,
            ports: Ports::new(if role == Role::Control { 4096 } else { 1024 }),
            grants: Grants::new(self.frames.take_for_xen(&self.memory)?, config.maps),
            parameters: [0; HVM_NR_PARAMS as usize],
            upcall_vector: None,
            marks_runstate: false,
            watchdogs: [None; 2],
            shutdown_code: None,
            ended: None,
            holes: Vec::new(),
            restores: 0,
            epoch: if is_arm_guest { UPTIME } else { 0 },
            handlers: BTreeMap::new(),
            faults: Faults::default(),
            hypercalls: 0,
            console_input: VecDeque::new(),
            console: Vec::new(),
            daemon: config.daemon,
            leaks: Vec::new(),
            served: None,
        });
        let key = VcpuKey { domain: self.domains.len() - 1, vcpu: 0 };
        let vcpu = self.vcpu_mut(key);
        (vcpu.initialised, vcpu.program) = (true, Some(program));
        vcpu.times.state = Runstate::RUNNABLE;
        self.set_run(key, Run::Ready);
        self.start(key);
        self.write_wallclock(key.domain);
        if config.served {
            self.serve(key.domain)?;
        }
        if is_arm_guest {
            self.domains[key.domain].parameters[HvmParam::CALLBACK_IRQ.0 as usize] = CALLBACK;
        }
        Ok(id)
    }
}
