//! The state that the vCPUs of a scenario share, and the upcall handler, which counts the events of
//! each vCPU's ports.

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use xen_hal::clock::{Instant, Monotonic};
use xen_hal::event::{Binding, Drain, Events, Port, PortSet, TwoLevel};
use xen_hal::hypercall::{Commands, Hypercall as _};
use xen_hal::memory::WidthLatch;
use xen_hal::platform::{Interrupts as _, VcpuId};
use xen_pac::base::Domid;
use xen_pac::hvm::{HvmParam, XenHvmParam, command};
use xen_pac::shared_info::{SharedInfo, VcpuInfo, raw};

use crate::failure::Required;
use crate::{Failure, Machine};

/// The number of vCPUs that a scenario may use.
pub const VCPUS: usize = 2;

/// The number of ports that are counted. Xen allocates the lowest free port.
const PORTS: usize = 128;

/// The state that the vCPUs share. A machine has one for each run of a scenario.
#[derive(Debug)]
pub struct World {
    /// The page shared with Xen, once it is mapped.
    shared: AtomicPtr<raw::SharedInfo>,
    desks: [Desk; VCPUS],
    /// The number of times that a handler ran for each port.
    arrived: [AtomicU32; PORTS],
    /// The stage that the vCPUs have reached, by which they wait for each other.
    stage: AtomicU32,
    /// The ports that notify the vCPUs, if a scenario sets them.
    ports: [AtomicU32; VCPUS],
    /// The domain's own number, once the scenario runs.
    me: AtomicU32,
    pub(crate) readings: Readings,
    pub(crate) mail: Mail,
}

/// The state of one vCPU.
#[derive(Debug)]
struct Desk {
    /// The vCPU's `vcpu_info`, if it is not in the shared page.
    info: AtomicPtr<raw::VcpuInfo>,
    own: PortSet,
    upcalls: AtomicU32,
    /// The number of upcalls at the vCPU's own vector.
    own_upcalls: AtomicU32,
}

impl Desk {
    const fn new() -> Self {
        Self {
            info: AtomicPtr::new(ptr::null_mut()),
            own: PortSet::new(),
            upcalls: AtomicU32::new(0),
            own_upcalls: AtomicU32::new(0),
        }
    }
}

impl World {
    /// Creates the initial state.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            shared: AtomicPtr::new(ptr::null_mut()),
            desks: [const { Desk::new() }; VCPUS],
            arrived: [const { AtomicU32::new(0) }; PORTS],
            stage: AtomicU32::new(0),
            ports: [const { AtomicU32::new(0) }; VCPUS],
            me: AtomicU32::new(Domid::SELF.0 as u32),
            readings: Readings::new(),
            mail: Mail::new(),
        }
    }

    /// Handles an upcall. The machine must call this on the notified vCPU, with interrupts off.
    pub fn upcall(&self, vcpu: VcpuId) {
        let (Some(desk), Some(shared), Some(info)) =
            (self.desk(vcpu), self.shared(), self.vcpu_info(vcpu))
        else {
            return;
        };
        desk.upcalls.fetch_add(1, Ordering::SeqCst);
        let count = |port: Port| {
            if let Some(arrived) = self.arrived.get(port.0 as usize) {
                arrived.fetch_add(1, Ordering::SeqCst);
            }
        };
        // Bounded: on Arm, Xen raises no interrupt again for events that are left.
        for _ in 0..16 {
            if TwoLevel::new(shared).dispatch(info, &desk.own, count) == Drain::Finished {
                break;
            }
        }
    }

    /// Returns the domain's own number.
    pub(crate) fn me(&self) -> Domid {
        Domid(self.me.load(Ordering::SeqCst) as u16)
    }

    /// Finds the domain's own number: Xen names the peer of a channel, here the domain itself.
    pub(crate) fn find_me<M: Machine>(&self, machine: &M) -> Result<Domid, Failure> {
        let channel = Events::new(machine.xen()).alloc_unbound(Domid::SELF)?;
        let Binding::Unbound { remote } = channel.status()?.binding else {
            return Err(Failure::Broken("a channel without a peer is unbound"));
        };
        self.me.store(remote.0.into(), Ordering::SeqCst);
        Ok(remote)
    }

    /// Handles an upcall at the vCPU's own vector.
    pub fn own_upcall(&self, vcpu: VcpuId) {
        if let Some(desk) = self.desk(vcpu) {
            desk.own_upcalls.fetch_add(1, Ordering::SeqCst);
        }
        self.upcall(vcpu);
    }

    /// Sets the callback, and maps the shared page in place of page 0. vCPU 0 handles all counted
    /// ports.
    pub(crate) fn attach<M: Machine>(
        &'static self,
        machine: &M,
    ) -> Result<SharedInfo<'static>, Failure> {
        if let Some(via) = machine.callback() {
            let mut parameter = XenHvmParam::new(Domid::SELF, HvmParam::CALLBACK_IRQ, via.encode());
            // SAFETY: the parameter gives Xen no memory, and the machine is ready for its upcalls.
            unsafe { machine.xen().call_unchecked(command::SetParam, &mut parameter) }?;
        }
        // SAFETY: the parameter has just been set, in the mode in which all of the scenario runs;
        // or this is Arm.
        self.map(machine, unsafe { WidthLatch::assume(machine.xen()) })
    }

    /// Does the same as [`attach`](Self::attach), without a callback: no upcall is raised until the
    /// scenario sets one.
    #[cfg(not(target_arch = "aarch64"))]
    pub(crate) fn attach_unannounced<M: Machine>(
        &'static self,
        machine: &M,
    ) -> Result<SharedInfo<'static>, Failure> {
        self.map(machine, WidthLatch::new(machine.xen())?)
    }

    fn map<M: Machine>(
        &'static self,
        machine: &M,
        latch: WidthLatch<M::Xen>,
    ) -> Result<SharedInfo<'static>, Failure> {
        // SAFETY: the page is the scenario's, which keeps nothing in it and touches it by handles
        // alone from now on.
        let shared = unsafe { latch.map_shared_info(&machine.space(), machine.page(0).cast()) };
        let shared = shared.required("the shared page can be mapped")?;
        for port in 0..PORTS as u32 {
            self.desks[0].own.insert(Port(port));
        }
        self.shared.store(shared.as_ptr().as_ptr(), Ordering::SeqCst);
        Ok(shared)
    }

    /// Moves a port's events to another vCPU's handler.
    pub(crate) fn give(&self, port: Port, vcpu: VcpuId) {
        for (number, desk) in (0..).zip(&self.desks) {
            if number == vcpu.0 {
                desk.own.insert(port);
            } else {
                desk.own.remove(port);
            }
        }
    }

    /// Names the port that reaches a vCPU, and gives it to the vCPU's handler.
    pub(crate) fn set_port(&self, vcpu: VcpuId, port: Port) {
        self.give(port, vcpu);
        self.ports[vcpu.0 as usize % VCPUS].store(port.0, Ordering::SeqCst);
    }

    /// Returns the port that notifies a vCPU.
    pub(crate) fn port(&self, vcpu: VcpuId) -> Port {
        Port(self.ports[vcpu.0 as usize % VCPUS].load(Ordering::SeqCst))
    }

    /// Returns the ports whose events a vCPU handles.
    pub(crate) fn own(&self, vcpu: VcpuId) -> &PortSet {
        &self.desks[vcpu.0 as usize % VCPUS].own
    }

    /// Records that a vCPU's `vcpu_info` is no longer in the shared page.
    pub(crate) fn moved(&self, vcpu: VcpuId, info: VcpuInfo<'static>) {
        if let Some(desk) = self.desk(vcpu) {
            desk.info.store(info.as_ptr().as_ptr(), Ordering::SeqCst);
        }
    }

    /// The same for a block by its address.
    pub(crate) fn moved_to(&self, vcpu: VcpuId, address: usize) {
        if let Some(desk) = self.desk(vcpu) {
            desk.info.store(ptr::with_exposed_provenance_mut(address), Ordering::SeqCst);
        }
    }

    /// Returns the number of times that a handler ran for a port.
    pub(crate) fn arrived(&self, port: Port) -> u32 {
        self.arrived.get(port.0 as usize).map_or(0, |arrived| arrived.load(Ordering::SeqCst))
    }

    /// Returns the number of a vCPU's upcalls.
    pub(crate) fn upcalls(&self, vcpu: VcpuId) -> u32 {
        self.desk(vcpu).map_or(0, |desk| desk.upcalls.load(Ordering::SeqCst))
    }

    /// Returns the number of a vCPU's upcalls at its own vector.
    #[cfg(not(target_arch = "aarch64"))]
    pub(crate) fn own_upcalls(&self, vcpu: VcpuId) -> u32 {
        self.desk(vcpu).map_or(0, |desk| desk.own_upcalls.load(Ordering::SeqCst))
    }

    /// Returns the stage that the vCPUs have reached.
    pub(crate) fn stage(&self) -> u32 {
        self.stage.load(Ordering::SeqCst)
    }

    /// Records that the vCPUs have reached a stage.
    pub(crate) fn reach(&self, stage: u32) {
        self.stage.store(stage, Ordering::SeqCst);
    }

    /// Waits without sleeping until the vCPUs have reached a stage.
    pub(crate) fn await_stage<M: Machine>(&self, machine: &M, stage: u32) {
        while self.stage() < stage {
            machine.relax();
        }
    }

    /// Returns the shared page, once it is mapped.
    pub(crate) fn shared(&self) -> Option<SharedInfo<'static>> {
        // SAFETY: `attach` mapped it there for ever.
        NonNull::new(self.shared.load(Ordering::SeqCst))
            .map(|page| unsafe { SharedInfo::from_ptr(page) })
    }

    /// Returns a vCPU's `vcpu_info`; `None` if it has none.
    pub(crate) fn vcpu_info(&self, vcpu: VcpuId) -> Option<VcpuInfo<'static>> {
        match NonNull::new(self.desk(vcpu)?.info.load(Ordering::SeqCst)) {
            // SAFETY: `moved` was given a handle that is valid for ever.
            Some(info) => Some(unsafe { VcpuInfo::from_ptr(info) }),
            None => self.shared()?.vcpu_info(vcpu.0 as usize),
        }
    }

    /// Returns a vCPU's `vcpu_info`, which must exist.
    pub(crate) fn block(&self, vcpu: VcpuId) -> Result<VcpuInfo<'static>, Failure> {
        self.vcpu_info(vcpu).required("the vCPU has its block")
    }

    fn desk(&self, vcpu: VcpuId) -> Option<&Desk> {
        self.desks.get(vcpu.0 as usize)
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// Times that vCPUs have read.
#[derive(Debug)]
pub(crate) struct Readings {
    /// The latest time that a vCPU has read.
    pub(crate) latest: Monotonic,
    /// The latest time that a vCPU has published before another reads the clock, in nanoseconds.
    published: AtomicI64,
    /// Whether a vCPU found a time before one that had been published.
    backwards: AtomicBool,
}

impl Readings {
    pub(crate) const fn new() -> Self {
        Self {
            latest: Monotonic::new(),
            published: AtomicI64::new(0),
            backwards: AtomicBool::new(false),
        }
    }

    /// Compares the result of `read` with the time that was published before the call, and
    /// publishes it.
    pub(crate) fn compare(&self, read: impl FnOnce() -> Instant) {
        let before = self.published.load(Ordering::SeqCst);
        let now = read().as_nanos();
        if now < before {
            self.backwards.store(true, Ordering::SeqCst);
        }
        self.published.fetch_max(now, Ordering::SeqCst);
    }

    /// Returns whether no vCPU has found a time before one that had been published.
    pub(crate) fn in_order(&self) -> bool {
        !self.backwards.load(Ordering::SeqCst)
    }
}

/// Hypercalls that one vCPU makes for another.
#[derive(Debug)]
pub(crate) struct Mail {
    number: AtomicU32,
    arguments: [AtomicUsize; 4],
    answer: AtomicUsize,
    /// Odd while a hypercall is asked for.
    turn: AtomicU32,
}

impl Mail {
    const fn new() -> Self {
        Self {
            number: AtomicU32::new(0),
            arguments: [const { AtomicUsize::new(0) }; 4],
            answer: AtomicUsize::new(0),
            turn: AtomicU32::new(0),
        }
    }

    /// Asks for a hypercall and waits for its answer. The number of all ones asks for a moment with
    /// interrupts on.
    pub(crate) fn send<M: Machine>(
        &self,
        machine: &M,
        number: u32,
        arguments: [usize; 4],
    ) -> isize {
        self.number.store(number, Ordering::SeqCst);
        for (to, argument) in self.arguments.iter().zip(arguments) {
            to.store(argument, Ordering::SeqCst);
        }
        let turn = self.turn.fetch_add(1, Ordering::SeqCst) + 1;
        while self.turn.load(Ordering::SeqCst) == turn {
            machine.relax();
        }
        self.answer.load(Ordering::SeqCst) as isize
    }

    /// Makes the hypercalls that are asked for. The vCPU does nothing else.
    pub(crate) fn serve<M: Machine>(&self, machine: &M) {
        loop {
            let turn = self.turn.load(Ordering::SeqCst);
            if turn.is_multiple_of(2) {
                machine.relax();
                continue;
            }
            let number = self.number.load(Ordering::SeqCst);
            let answer = if number == u32::MAX {
                let_interrupts_in(machine);
                0
            } else {
                let [a, b, c, d] =
                    [0, 1, 2, 3].map(|index| self.arguments[index].load(Ordering::SeqCst));
                // SAFETY: the vCPU that asks knows what the arguments point to.
                unsafe { machine.xen().call5(number, a, b, c, d, 0) }
            };
            self.answer.store(answer as usize, Ordering::SeqCst);
            self.turn.store(turn + 1, Ordering::SeqCst);
        }
    }
}

/// Turns interrupts on, makes a hypercall, and turns them off.
pub(crate) fn let_interrupts_in<M: Machine>(machine: &M) {
    machine.enable_interrupts();
    machine.relax();
    machine.interrupts().disable();
}
