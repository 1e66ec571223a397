//! What Xen knows of a vCPU.

use std::boxed::Box;
use std::string::String;
use std::sync::{Arc, Condvar};
use std::vec::Vec;

use xen_pac::vcpu::Runstate;

use crate::boundary::MachineFrame;

/// What a vCPU runs.
pub(crate) type Program = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// What a vCPU is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// Not started, or stopped.
    Down,
    /// It runs, or would if it had the baton.
    Ready,
    /// It waits for an interrupt.
    Blocked,
    /// It waits for one of these ports, or an interrupt.
    Polling(Vec<u32>),
    /// It waits for another domain to post something under this name.
    Awaiting(String),
    /// Its program is over.
    Finished,
}

/// A vCPU.
pub(crate) struct Vcpu {
    pub(crate) run: Run,
    pub(crate) initialised: bool,
    /// What it runs when it is first brought up.
    pub(crate) program: Option<Program>,
    pub(crate) started: bool,
    /// Whether it has a thread, which is in its program or about to be.
    pub(crate) alive: bool,
    /// Rings when it has the baton, or has to end.
    pub(crate) bell: Arc<Condvar>,
    /// Where its block is, if anywhere: a frame, and the offset in it.
    pub(crate) info: Option<(MachineFrame, usize)>,
    pub(crate) info_registered: bool,
    /// Its own upcall vector, and the local APIC through which that comes.
    pub(crate) own_vector: Option<u8>,
    pub(crate) apic: LocalApic,
    /// How often an interrupt that it could have taken was left for later.
    pub(crate) declined: u32,
    /// Whether a non-maskable interrupt is due.
    pub(crate) nmi: bool,
    pub(crate) singleshot: Option<u64>,
    pub(crate) poll_deadline: Option<u64>,
    pub(crate) period: Option<u64>,
    pub(crate) last_tick: u64,
    pub(crate) times: RunTimes,
    pub(crate) runstate_area: Option<Area>,
    pub(crate) time_area: Option<Area>,
    /// What its counter shows beyond the machine's ticks: a processor's own matter.
    pub(crate) counter_base: u64,
    /// When its time block was last written.
    pub(crate) time_written: Option<u64>,
}

/// Memory in which Xen keeps something for a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    Virtual(usize),
    Physical(MachineFrame, usize),
}

impl Area {
    /// The frame that Xen writes to whatever the domain does.
    pub(crate) fn frame(self) -> Option<MachineFrame> {
        if let Self::Physical(frame, _) = self { Some(frame) } else { None }
    }
}

/// As much of a local APIC as upcall vectors need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LocalApic {
    pub(crate) on: bool,
    pub(crate) requested: bool,
    pub(crate) in_service: bool,
}

/// For how long a vCPU has been in which state.
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
            bell: Arc::default(),
            info,
            info_registered: false,
            own_vector: None,
            apic: LocalApic::default(),
            declined: 0,
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
    pub(crate) fn is_up(&self) -> bool {
        !matches!(self.run, Run::Down | Run::Finished)
    }
}
