//! Holds Xen's state of a vCPU.

use core::fmt;
use std::collections::VecDeque;

use xen_pac::hypercall::HypercallNr;
use xen_pac::vcpu::Runstate;

use crate::raw_memory::MachineFrame;

/// The program of a vCPU.
pub(crate) type Program = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// Whether a vCPU can run, and what it waits for if not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// Not started, or taken down.
    Down,
    Ready,
    /// Waits for an interrupt.
    Blocked,
    /// Waits for one of these ports, or an interrupt.
    Polling(Vec<u32>),
    /// Waits until this key is published.
    WaitingForKey(String),
    /// Its program is over.
    Finished,
}

/// A vCPU.
pub(crate) struct Vcpu {
    /// Only `State::set_run` changes it, because that also updates the list of ready vCPUs.
    pub(super) run: Run,
    pub(crate) initialised: bool,
    /// The program that starts when the vCPU is first brought up.
    pub(crate) program: Option<Program>,
    /// Whether it was ever brought up.
    pub(crate) started: bool,
    /// Whether its program runs or is about to.
    pub(crate) alive: bool,
    /// The location of the `vcpu_info`, if there is one: a frame, and the offset in it.
    pub(crate) info: Option<(MachineFrame, usize)>,
    pub(crate) info_registered: bool,
    /// Its own upcall vector, which comes through the local APIC.
    pub(crate) own_vector: Option<u8>,
    pub(crate) apic: LocalApic,
    /// The number of delays of an interrupt that the vCPU could have taken.
    pub(crate) delayed: u32,
    /// Whether `SCHEDOP_pin_override` pinned it.
    pub(crate) pinned: bool,
    /// Whether an NMI is due.
    pub(crate) nmi: bool,
    pub(crate) singleshot: Option<u64>,
    pub(crate) poll_deadline: Option<u64>,
    pub(crate) period: Option<u64>,
    pub(crate) last_tick: u64,
    pub(crate) times: RunTimes,
    pub(crate) runstate_areas: Areas,
    pub(crate) time_areas: Areas,
    /// The difference between the vCPU's counter and the machine's ticks.
    pub(crate) counter_base: u64,
    /// The time at which Xen last wrote the time block.
    pub(crate) time_written: Option<u64>,
    /// The vCPU's last events, with their times.
    pub(crate) last_events: VecDeque<(u64, Event)>,
}

/// Memory that a vCPU registered for Xen to write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    Virtual(usize),
    Physical(MachineFrame, usize),
}

impl Area {
    /// Returns the frame that Xen holds while the area is registered.
    pub(crate) fn frame(self) -> Option<MachineFrame> {
        if let Self::Physical(frame, _) = self { Some(frame) } else { None }
    }
}

/// The number of last events that are kept for each vCPU.
const EVENTS_KEPT: usize = 8;

/// Something that a vCPU did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Hypercall { number: u32, command: usize, answer: isize },
    Interrupt { vector: u8 },
    Accesses { count: u64 },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hypercall { number, command, answer } => {
                let number = HypercallNr(*number);
                write!(f, "hypercall {number}, command {command:#x}: {answer:#x}")
            }
            Self::Interrupt { vector } => write!(f, "interrupt {vector:#x}"),
            Self::Accesses { count } => write!(f, "{count} accesses to shared memory"),
        }
    }
}

/// The areas of one kind that a vCPU registered, by each sort of address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Areas {
    pub(crate) by_virtual: Option<Area>,
    pub(crate) by_physical: Option<Area>,
}

impl Areas {
    /// Returns the area that Xen updates.
    pub(crate) fn current(self) -> Option<Area> {
        self.by_physical.or(self.by_virtual)
    }

    /// Returns the frame that Xen holds while the areas are registered.
    pub(crate) fn frame(self) -> Option<MachineFrame> {
        self.by_physical.and_then(Area::frame)
    }

    /// Replaces the area by physical or by virtual address.
    pub(crate) fn with(self, area: Option<Area>, is_physical: bool) -> Self {
        if is_physical {
            Self { by_physical: area, ..self }
        } else {
            Self { by_virtual: area, ..self }
        }
    }
}

/// The part of a local APIC that upcall vectors use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LocalApic {
    pub(crate) on: bool,
    pub(crate) requested: bool,
    pub(crate) in_service: bool,
}

/// The time that a vCPU has spent in each state.
#[derive(Clone, Debug)]
pub(crate) struct RunTimes {
    pub(crate) state: Runstate,
    pub(crate) since: u64,
    pub(crate) spent: [u64; 4],
}

impl Vcpu {
    pub(super) fn new(info: Option<(MachineFrame, usize)>, now: u64) -> Self {
        Self {
            run: Run::Down,
            initialised: false,
            program: None,
            started: false,
            alive: false,
            info,
            info_registered: false,
            own_vector: None,
            apic: LocalApic::default(),
            delayed: 0,
            pinned: false,
            nmi: false,
            singleshot: None,
            poll_deadline: None,
            period: None,
            last_tick: 0,
            times: RunTimes { state: Runstate::OFFLINE, since: now, spent: [0; 4] },
            runstate_areas: Areas::default(),
            time_areas: Areas::default(),
            counter_base: 0,
            time_written: None,
            last_events: VecDeque::new(),
        }
    }

    /// Keeps an event.
    pub(crate) fn note(&mut self, now: u64, event: Event) {
        if self.last_events.len() == EVENTS_KEPT {
            self.last_events.pop_front();
        }
        self.last_events.push_back((now, event));
    }

    pub(crate) fn run(&self) -> &Run {
        &self.run
    }

    /// Returns whether it is up, as Xen counts it.
    pub(crate) fn is_up(&self) -> bool {
        !matches!(self.run, Run::Down | Run::Finished)
    }
}
