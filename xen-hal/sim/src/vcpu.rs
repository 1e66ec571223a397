//! The vCPU that runs on this thread: its hypercalls, its interrupts, and the points at which it
//! can lose the processor.

use core::cell::{Cell, RefCell, RefMut};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::thread;

use xen_hal::hypercall::Errno;
use xen_hal::platform::Frame;

use crate::config::FailureKind;
use crate::scheduler::Scheduler;
use crate::state::{Event, Interrupt, Program, Random, Run, State, VcpuKey, frame_of_program};
use crate::xen;

/// The number of interrupts in a row that count as a storm. It exceeds the number of ports, each of
/// which may need one interrupt.
const STORM: u32 = 1 << 14;

/// The maximum nesting of interrupt handlers.
const MAX_NESTING: u32 = 64;

/// The maximum number of calls that a program may make after its domain has ended. Dropped values
/// make only a few.
const MAX_CALLS_AFTER_END: u32 = 100_000;

/// The duration, in nanoseconds, of an access to shared memory at which the vCPU loses the
/// processor.
const ACCESS: u64 = 100;

/// The payload that unwinds a vCPU's stack when its domain or the machine has ended.
struct VcpuExit;

/// The vCPU whose stack is running.
pub(crate) struct CurrentVcpu {
    pub(crate) scheduler: Rc<Scheduler>,
    pub(crate) me: VcpuKey,
    interrupts: Cell<bool>,
    /// Whether the last instruction turned interrupts on, so that none can be delivered yet.
    shadow: Cell<bool>,
    /// The number of running interrupt handlers.
    handlers: Cell<u32>,
    /// Whether a handler of a non-maskable interrupt is among them.
    in_nmi: Cell<bool>,
    /// The number of calls after the domain's end.
    calls_after_end: Cell<u32>,
    /// Whether the simulated Xen runs instead of the program.
    in_xen: Cell<bool>,
    /// The number of accesses to shared memory until the vCPU loses the processor; 0 for never.
    accesses_left: Cell<u32>,
    /// The number of accesses since Xen last ran.
    accesses: Cell<u64>,
    random: RefCell<Random>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<CurrentVcpu>>> = const { RefCell::new(None) };
    /// Whether this thread drops the values of an ended program, whose hypercalls are refused.
    static WITHOUT_XEN: Cell<bool> = const { Cell::new(false) };
}

/// The vCPU whose stack this is.
///
/// # Panics
///
/// On any other stack.
pub(crate) fn current() -> Rc<CurrentVcpu> {
    try_current().expect(
        "no simulated vCPU runs on this thread: hypercalls, counters and interrupts are those of \
         the programs that `Machine::run` runs",
    )
}

/// The vCPU whose stack this is, if one runs.
pub(crate) fn try_current() -> Option<Rc<CurrentVcpu>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Drops a value of a program, and refuses its hypercalls.
pub(crate) fn drop_without_xen<T>(value: T) {
    let before = WITHOUT_XEN.replace(true);
    // A value that panics has been reported by the panic hook.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
    WITHOUT_XEN.set(before);
}

/// Refuses all further hypercalls on this thread.
pub(crate) fn end_of_machine() {
    WITHOUT_XEN.set(true);
}

/// Runs a vCPU's program. This is the first function on the vCPU's stack.
pub(crate) fn run(scheduler: &Rc<Scheduler>, me: VcpuKey, program: Program) {
    let current = CurrentVcpu::new(Rc::clone(scheduler), me);
    CURRENT.set(Some(Rc::new(current)));
    let (is_over, preempt_accesses) = {
        let state = scheduler.state();
        (state.is_over_for(me), state.rates.preempt_accesses)
    };
    let result = if is_over {
        drop_without_xen(program);
        Ok(Ok(()))
    } else {
        self::current().schedule_preemption(preempt_accesses);
        catch_unwind(AssertUnwindSafe(program))
    };
    if let Some(failure) = failure_of(scheduler, me, result) {
        scheduler.state().stop(failure);
    }
    if me.vcpu == 0 {
        let handlers = core::mem::take(&mut scheduler.state().domain_mut(me).handlers);
        drop_without_xen(handlers);
    }
    CURRENT.set(None);
    let mut state = scheduler.state();
    state.finish(me);
    state.elect(None);
}

/// Returns the failure with which a program ended, if any.
fn failure_of(
    scheduler: &Scheduler,
    me: VcpuKey,
    result: Result<Result<(), String>, Box<dyn Any + Send>>,
) -> Option<FailureKind> {
    let on = scheduler.state().name(me);
    match result {
        Ok(Ok(())) => None,
        Ok(Err(message)) => Some(FailureKind::Failed { on, message }),
        Err(payload) if payload.is::<VcpuExit>() => None,
        Err(payload) => {
            let text = payload.downcast_ref::<&str>().map(|text| (*text).to_string());
            let message = text
                .or_else(|| payload.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "the panic has no message".to_string());
            drop_without_xen(payload);
            Some(FailureKind::Panicked { on, message })
        }
    }
}

/// Returns whether a vCPU is unwinding, so it must not be unwound again.
fn is_unwinding() -> bool {
    thread::panicking()
}

impl CurrentVcpu {
    fn new(scheduler: Rc<Scheduler>, me: VcpuKey) -> Self {
        let seed = scheduler.state().seed ^ (me.domain as u64) << 32 ^ (me.vcpu as u64) << 48;
        Self {
            scheduler,
            me,
            interrupts: Cell::new(false),
            shadow: Cell::new(false),
            handlers: Cell::new(0),
            in_nmi: Cell::new(false),
            calls_after_end: Cell::new(0),
            in_xen: Cell::new(false),
            accesses_left: Cell::new(0),
            accesses: Cell::new(0),
            random: RefCell::new(Random::new(seed)),
        }
    }

    /// Returns the machine's state, for access without entering Xen.
    pub(crate) fn state(&self) -> RefMut<'_, State> {
        self.scheduler.state()
    }

    /// Enters Xen. `None` if the domain or the machine has ended and the stack already unwinds.
    fn enter(&self) -> Option<RefMut<'_, State>> {
        let mut state = self.scheduler.state();
        if state.is_over_for(self.me) {
            drop(state);
            return self.leave();
        }
        self.in_xen.set(true);
        state.refill_holes(self.me.domain);
        let count = self.accesses.take();
        state.trace.step(&[count]);
        if count > 0 {
            state.note(self.me, Event::Accesses { count });
        }
        Some(state)
    }

    /// Unwinds the stack of a vCPU whose domain has ended. `None` if it already unwinds.
    fn leave<T>(&self) -> Option<T> {
        self.in_xen.set(false);
        self.calls_after_end.set(self.calls_after_end.get() + 1);
        if self.calls_after_end.get() > MAX_CALLS_AFTER_END {
            self.abort();
        }
        if is_unwinding() { None } else { resume_unwind(Box::new(VcpuExit)) }
    }

    /// Ends the process, because the program waits in a `Drop` or catches the unwinding.
    fn abort(&self) -> ! {
        let state = self.scheduler.state();
        let ((domain, vcpu), seed) = (state.name(self.me), state.seed);
        eprintln!(
            "domain {domain}, vCPU {vcpu} does not leave its program although its domain has ended \
             (seed {seed}): does a `Drop` wait for something?"
        );
        if let Some(failure) = &state.over {
            eprintln!("the machine had stopped: {failure}");
        }
        std::process::abort()
    }

    /// Leaves Xen, and takes the interrupts that are due.
    fn exit(&self, state: RefMut<'_, State>) {
        self.schedule_preemption(state.rates.preempt_accesses);
        drop(state);
        self.in_xen.set(false);
        self.take_interrupts();
    }

    /// Gives the processor to another vCPU, and leaves Xen once this vCPU has it again.
    fn switch(&self, state: RefMut<'_, State>, to_other: bool) -> Option<()> {
        // The vCPUs of a machine share the thread's variables.
        let current = CURRENT.take();
        let switched = if to_other {
            self.scheduler.switch_to_other(state, self.me)
        } else {
            self.scheduler.switch(state, self.me)
        };
        CURRENT.set(current);
        match switched {
            Some(state) => {
                self.exit(state);
                Some(())
            }
            None => self.leave(),
        }
    }

    /// Chooses the number of accesses to shared memory after which the vCPU loses the processor.
    fn schedule_preemption(&self, once_in: u32) {
        if once_in == 0 {
            self.accesses_left.set(0);
        } else if self.accesses_left.get() == 0 {
            let accesses = self.random.borrow_mut().below(2 * once_in as usize);
            self.accesses_left.set(1 + accesses as u32);
        }
    }

    /// Calls the handlers of interrupts, as long as the interrupt flag admits one. A vCPU that
    /// unwinds takes none.
    fn take_interrupts(&self) {
        let mut count = 0;
        while !is_unwinding() {
            let Some(mut state) = self.enter() else { return };
            let flag = self.interrupts.get();
            let is_storm = count >= STORM || self.handlers.get() >= MAX_NESTING;
            let interrupt = if is_storm {
                state.stop_for_storm(self.me);
                None
            } else {
                state.take_interrupt(self.me, flag, !self.in_nmi.get())
            };
            count += 1;
            let is_over = state.is_over_for(self.me);
            drop(state);
            self.in_xen.set(false);
            if is_over {
                self.leave::<()>();
            }
            let Some(interrupt) = interrupt else { return };
            self.handle(&interrupt, flag);
        }
    }

    fn handle(&self, interrupt: &Interrupt, flag: bool) {
        self.interrupts.set(false);
        let in_nmi = self.in_nmi.replace(self.in_nmi.get() || interrupt.is_nmi);
        self.handlers.set(self.handlers.get() + 1);
        (interrupt.handler)();
        self.handlers.set(self.handlers.get() - 1);
        self.in_nmi.set(in_nmi);
        self.interrupts.set(flag);
    }

    /// Reads the state. `work` is not preempted at its accesses to shared memory.
    pub(crate) fn inspect<T>(&self, work: impl FnOnce(&State) -> T) -> T {
        let in_xen = self.in_xen.replace(true);
        let result = work(&self.scheduler.state());
        self.in_xen.set(in_xen);
        result
    }

    /// Runs `work` in Xen, and takes the interrupts that are due afterwards. `None` if the domain
    /// has ended and the stack unwinds.
    pub(crate) fn in_xen<T>(&self, work: impl FnOnce(&mut State, VcpuKey) -> T) -> Option<T> {
        self.end_shadow();
        let mut state = self.enter()?;
        let result = work(&mut state, self.me);
        self.exit(state);
        Some(result)
    }

    /// Makes a hypercall. Before it and after it the vCPU can lose the processor.
    fn hypercall(&self, number: u32, arguments: [usize; 5]) -> Option<isize> {
        let mut state = self.enter()?;
        let (chance, shadow) = (state.rates.preempt_hypercalls, self.shadow.take());
        if !shadow && state.random.once_in(chance) {
            state.pass_time(xen::DURATION);
            state.steal_time();
            self.switch(state, false)?;
            state = self.enter()?;
        }
        // Not in a handler: if each of its hypercalls raised an upcall, the handlers would never
        // end.
        if self.handlers.get() == 0 {
            state.raise_spurious_upcall(self.me);
        }
        let flag = self.interrupts.get();
        let answer = xen::call(&mut state, self.me, flag, shadow, number, arguments);
        self.interrupts.set(answer.interrupts);
        let chance = state.rates.preempt_hypercalls;
        let gives_way =
            answer.yields || state.vcpu(self.me).run() != &Run::Ready || state.is_over_for(self.me);
        if gives_way || state.random.once_in(chance) {
            self.switch(state, false)?;
        } else {
            self.exit(state);
        }
        Some(answer.value)
    }

    /// Takes the processor away in the middle of the program.
    fn preempt(&self) {
        self.end_shadow();
        let Some(mut state) = self.enter() else { return };
        state.pass_time(ACCESS);
        state.steal_time();
        self.switch(state, false);
    }

    /// Turns interrupts on and sleeps until one is due, as `sti; hlt` does.
    pub(crate) fn halt(&self) {
        self.interrupts.set(true);
        self.shadow.set(false);
        let Some(mut state) = self.enter() else { return };
        state.pass_time(ACCESS);
        if state.can_deliver(self.me, true) {
            return self.exit(state);
        }
        state.sleep(self.me, Run::Blocked);
        self.switch(state, false);
    }

    /// Gives another vCPU the processor, if one can run.
    pub(crate) fn relax(&self) {
        self.end_shadow();
        let Some(mut state) = self.enter() else { return };
        state.pass_time(xen::DURATION);
        self.switch(state, true);
    }

    /// Waits until a key is published. `None` if the domain has ended and the stack unwinds.
    pub(crate) fn wait_for_key(&self, key: &str) -> Option<u64> {
        loop {
            self.end_shadow();
            let mut state = self.enter()?;
            if let Some(value) = state.keys_published.get(key).copied() {
                self.exit(state);
                return Some(value);
            }
            state.sleep(self.me, Run::WaitingForKey(key.into()));
            self.switch(state, false)?;
        }
    }

    pub(crate) fn disable_interrupts(&self) -> bool {
        self.shadow.set(false);
        self.interrupts.replace(false)
    }

    /// Turns interrupts on as `sti` does. At random, the next hypercall counts as the next
    /// instruction.
    pub(crate) fn enable_interrupts_in_shadow(&self) {
        let once_in = {
            let state = self.state();
            if state.profile.is_arm() { 0 } else { state.rates.interrupt_shadow }
        };
        if !self.interrupts.get() && self.random.borrow_mut().once_in(once_in) {
            self.interrupts.set(true);
            self.shadow.set(true);
        } else {
            self.enable_interrupts();
        }
    }

    /// Takes the interrupts that are due once an instruction has followed `sti`.
    fn end_shadow(&self) {
        if self.shadow.take() {
            self.take_interrupts();
        }
    }

    pub(crate) fn enable_interrupts(&self) {
        self.interrupts.set(true);
        self.take_interrupts();
    }

    /// Returns the frame of the domain at an address, or one that stands for the program's own
    /// memory.
    pub(crate) fn frame_of(&self, address: usize) -> Frame {
        let frame = match self.state().domain(self.me).physmap.memory.locate(address) {
            Some((frame, _)) => frame as u64,
            None => frame_of_program(address),
        };
        Frame(frame)
    }
}

/// A hypercall of the vCPU whose stack this is.
pub(crate) fn hypercall(number: u32, arguments: [usize; 5]) -> isize {
    // A value that outlives its program must not panic when it is dropped.
    let current = try_current();
    if WITHOUT_XEN.try_with(Cell::get) != Ok(false) || current.is_none() && is_unwinding() {
        return xen::refusal(Errno::ENOSYS);
    }
    let current = current.unwrap_or_else(self::current);
    current.hypercall(number, arguments).unwrap_or_else(|| xen::refusal(Errno::ENOSYS))
}

/// Called before each access to shared memory, on any thread of the process.
pub(crate) fn before_access() {
    let due = CURRENT.try_with(|current| {
        let current = current.try_borrow().ok()?;
        let current = current.as_ref().filter(|current| !current.in_xen.get())?;
        current.accesses.set(current.accesses.get() + 1);
        let left = current.accesses_left.get().checked_sub(1)?;
        current.accesses_left.set(left);
        (left == 0).then(|| Rc::clone(current))
    });
    let Ok(Some(current)) = due else { return };
    if !is_unwinding() && !WITHOUT_XEN.get() {
        current.preempt();
    }
}
