//! What the simulated Xen knows: the machine, its domains, and their vCPUs. Plain data, all of it under one lock.

use std::boxed::Box;
use std::collections::BTreeMap;
use std::io;
use std::string::String;
use std::sync::{Arc, Condvar};
use std::vec::Vec;

use xen_pac::base::Domid;
use xen_pac::sched::ShutdownReason;
use xen_pac::vcpu::Runstate;

use super::Guest;
use super::adversity::{Adversity, Faults};
use super::boundary::{MachineFrame, MachineMemory};
use super::failure::What;
use super::path::Path;
use super::profile::{Profile, Role};
use super::random::Random;
use super::setup::Setup;
use super::xen::event::Ports;
use super::xen::grant::Grants;
use super::xen::physmap::{Frames, Physmap};
use crate::hypercall::Errno;

/// When the first domain starts, in nanoseconds since Xen started.
pub(super) const BEGINNING: u64 = 1_000_000_000;

/// What is called on an interrupt.
pub(super) type Handler = Arc<dyn Fn() + Send + Sync>;
/// What a vCPU runs.
pub(super) type Program = Box<dyn FnOnce(Guest) -> Result<(), String> + Send>;

/// A vCPU of the machine: by the index of its domain, and its own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct VcpuKey {
    pub(super) domain: usize,
    pub(super) vcpu: usize,
}

/// The machine.
pub(super) struct State {
    pub(super) profile: Profile,
    pub(super) seed: u64,
    pub(super) memory: MachineMemory,
    pub(super) frames: Frames,
    pub(super) domains: Vec<Domain>,
    /// Nanoseconds since Xen started.
    pub(super) now: u64,
    /// The earliest moment at which a timer fires.
    pub(super) next_timer: u64,
    pub(super) random: Random,
    pub(super) adversity: Adversity,
    /// Who has the baton.
    pub(super) running: Option<VcpuKey>,
    /// Why the machine stopped before its programs were done.
    pub(super) over: Option<What>,
    /// How many hypercalls were made.
    pub(super) hypercalls: u64,
    /// What happened, in order, folded into a number.
    pub(super) path: Path,
    /// vCPUs whose threads are to be started.
    pub(super) to_start: Vec<VcpuKey>,
    /// What programs told each other beside Xen.
    pub(super) posts: BTreeMap<String, u64>,
}

/// A domain.
pub(super) struct Domain {
    pub(super) id: Domid,
    pub(super) role: Role,
    pub(super) vcpus: Vec<Vcpu>,
    pub(super) physmap: Physmap,
    /// How many pages it was made with.
    pub(super) made_with: usize,
    /// The frame of the page that is shared with Xen.
    pub(super) shared: MachineFrame,
    pub(super) ports: Ports,
    pub(super) grants: Grants,
    /// The HVM parameters, by their numbers.
    pub(super) parameters: [u64; xen_pac::hvm::HVM_NR_PARAMS as usize],
    /// The vector at which events come, on x86.
    pub(super) upcall_vector: Option<u8>,
    /// Whether Xen marks run times while it writes them.
    pub(super) marks_runstate: bool,
    /// When each watchdog ends the domain.
    pub(super) watchdogs: [Option<u64>; 2],
    /// The reason that was given before the end, if one was.
    pub(super) shutdown_code: Option<ShutdownReason>,
    pub(super) ended: Option<ShutdownReason>,
    pub(super) suspends: u32,
    /// What its clock is ahead of the machine's, in nanoseconds: since it came from another machine.
    pub(super) epoch: i64,
    pub(super) handlers: BTreeMap<u8, Handler>,
    pub(super) faults: Faults,
    pub(super) hypercalls: u64,
    /// What was written to Xen's console.
    pub(super) console: Vec<u8>,
}

/// What a vCPU is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// Not started, or stopped.
    Down,
    /// It runs, or would if it had the baton.
    Ready,
    /// It waits for an interrupt.
    Blocked,
    /// It waits for one of these ports, or an interrupt.
    Polling(Vec<u32>),
    /// Its program is over.
    Finished,
}

/// A vCPU.
pub(super) struct Vcpu {
    pub(super) run: Run,
    pub(super) initialised: bool,
    /// What it runs when it is first brought up.
    pub(super) program: Option<Program>,
    pub(super) started: bool,
    /// Rings when it has the baton, or has to end.
    pub(super) bell: Arc<Condvar>,
    /// Where its block is, if anywhere: a frame, and the offset in it.
    pub(super) info: Option<(MachineFrame, usize)>,
    pub(super) info_registered: bool,
    /// Its own upcall vector, and the local APIC through which that comes.
    pub(super) own_vector: Option<u8>,
    pub(super) apic: LocalApic,
    /// Whether a non-maskable interrupt is due.
    pub(super) nmi: bool,
    pub(super) singleshot: Option<u64>,
    pub(super) poll_deadline: Option<u64>,
    pub(super) period: Option<u64>,
    pub(super) last_tick: u64,
    pub(super) times: RunTimes,
    pub(super) runstate_area: Option<Area>,
    pub(super) time_area: Option<Area>,
    /// What its counter shows beyond the machine's ticks: a processor's own matter.
    pub(super) counter_base: u64,
    /// When its time block was last written.
    pub(super) time_written: Option<u64>,
}

/// Memory in which Xen keeps something for a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Area {
    Virtual(usize),
    Physical(MachineFrame, usize),
}

/// As much of a local APIC as upcall vectors need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LocalApic {
    pub(super) on: bool,
    pub(super) requested: bool,
    pub(super) in_service: bool,
}

/// For how long a vCPU has been in which state.
#[derive(Clone, Debug)]
pub(super) struct RunTimes {
    pub(super) state: Runstate,
    pub(super) since: u64,
    pub(super) spent: [u64; 4],
}

impl State {
    pub(super) fn new(profile: Profile, seed: u64, frames: usize) -> io::Result<Self> {
        Ok(Self {
            profile,
            seed,
            memory: MachineMemory::new(frames)?,
            frames: Frames::new(frames),
            domains: Vec::new(),
            now: BEGINNING,
            next_timer: u64::MAX,
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

    pub(super) fn domain(&self, key: VcpuKey) -> &Domain {
        &self.domains[key.domain]
    }

    pub(super) fn domain_mut(&mut self, key: VcpuKey) -> &mut Domain {
        &mut self.domains[key.domain]
    }

    pub(super) fn vcpu(&self, key: VcpuKey) -> &Vcpu {
        &self.domains[key.domain].vcpus[key.vcpu]
    }

    pub(super) fn vcpu_mut(&mut self, key: VcpuKey) -> &mut Vcpu {
        &mut self.domains[key.domain].vcpus[key.vcpu]
    }

    /// The index of the domain with this number, `DOMID_SELF` being the caller's.
    pub(super) fn domain_by_id(&self, caller: usize, id: Domid) -> Result<usize, Errno> {
        if id == Domid::SELF {
            return Ok(caller);
        }
        self.domains.iter().position(|domain| domain.id == id && domain.ended.is_none()).ok_or(Errno::ESRCH)
    }

    /// Whether `caller` may do to `target` what is a domain's own business.
    pub(super) fn may_act_on(&self, caller: usize, target: usize) -> Result<(), Errno> {
        if caller == target || self.domains[caller].role == Role::Control { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// Whether Xen's default policy on Arm, SILO, keeps two domains apart, so that `caller` may not bring them together (`silo_mode_dom_check`).
    pub(super) fn apart(&self, caller: usize, one: usize, other: usize) -> bool {
        let guest = |domain: usize| self.domains[domain].role != Role::Control;
        self.profile.is_arm() && one != other && [caller, one, other].into_iter().all(guest)
    }

    /// All vCPUs of the machine.
    pub(super) fn keys(&self) -> impl Iterator<Item = VcpuKey> + '_ {
        self.domains.iter().enumerate().flat_map(|(domain, of)| (0..of.vcpus.len()).map(move |vcpu| VcpuKey { domain, vcpu }))
    }

    /// Adds a domain whose first vCPU will run `program`.
    pub(super) fn add_domain(&mut self, setup: &Setup, program: Program) -> io::Result<Domid> {
        let role = setup.role.unwrap_or(self.profile.role);
        let first = u16::from(self.domains.first().map_or(role, |first| first.role) != Role::Control);
        let id = Domid(first + self.domains.len() as u16);
        let shared = self.frames.take_for_xen(&self.memory)?;
        let physmap = Physmap::populated(setup.pages, &mut self.frames, &self.memory, self.domains.len())?;
        let in_page = self.profile.vcpus_in_shared_page();
        let block = size_of::<xen_pac::shared_info::raw::VcpuInfo>();
        let vcpus = (0..setup.vcpus).map(|vcpu| Vcpu::new((vcpu < in_page).then_some((shared, vcpu * block)), self.now));
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
        (first.initialised, first.run, first.program, first.started) = (true, Run::Ready, Some(program), true);
        first.times.state = Runstate::RUNNABLE;
        self.domains.push(domain);
        self.write_wallclock(self.domains.len() - 1);
        Ok(id)
    }
}

impl Vcpu {
    fn new(info: Option<(MachineFrame, usize)>, now: u64) -> Self {
        Self {
            run: Run::Down,
            initialised: false,
            program: None,
            started: false,
            bell: Arc::default(),
            info,
            info_registered: false,
            own_vector: None,
            apic: LocalApic::default(),
            nmi: false,
            singleshot: None,
            poll_deadline: None,
            period: None,
            last_tick: 0,
            times: RunTimes { state: Runstate::OFFLINE, since: now, spent: [0; 4] },
            runstate_area: None,
            time_area: None,
            counter_base: 0,
            time_written: None,
        }
    }

    /// Whether it is up, as Xen counts it.
    pub(super) fn is_up(&self) -> bool {
        !matches!(self.run, Run::Down | Run::Finished)
    }
}
