//! The vCPU on whose thread something is called.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, MutexGuard};
use std::thread_local;

use super::baton::{is_unwinding, leave};
use super::machine::Shared;
use super::state::{Random, Run, State, VcpuKey, frame_of_program};
use super::upcall::Taken;
use super::xen;
use xen_hal::hypercall::Errno;
use xen_hal::platform::Frame;

/// How many interrupts in a row leave a program no hope: more than there are ports, each of which
/// may need one.
const STORM: u32 = 1 << 14;

/// How deep handlers may be interrupted by others.
const DEEPEST: u32 = 64;

/// How often a program may ask something of Xen after its domain has ended: what its values do as
/// they are dropped is done in a few calls, or never.
const MOST_AFTER_THE_END: u32 = 100_000;

/// A vCPU, on its own thread.
pub(super) struct Current {
    pub(super) shared: Arc<Shared>,
    pub(super) me: VcpuKey,
    /// The interrupt flag.
    interrupts: Cell<bool>,
    /// How many handlers of interrupts run, one interrupted by the other.
    handling: Cell<u32>,
    /// Whether one of them is that of an interrupt that no flag keeps away, and which does not come
    /// again meanwhile.
    in_nmi: Cell<bool>,
    /// How often something was asked of Xen after the end.
    late: Cell<u32>,
    /// Whether Xen runs and not the program.
    inside: Cell<bool>,
    /// How many accesses to shared memory are left until the baton is passed on in the middle of
    /// the program; 0 for never.
    accesses: Cell<u32>,
    random: RefCell<Random>,
    /// How many accesses there were since the program was entered.
    made: Cell<u64>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Current>>> = const { RefCell::new(None) };
    /// Whether values are dropped whose program is over, so that there is no Xen for them.
    static OVER: Cell<bool> = const { Cell::new(false) };
}

/// Makes the calling thread that of a vCPU.
pub(super) fn become_vcpu(shared: Arc<Shared>, me: VcpuKey, seed: u64) {
    let random =
        RefCell::new(Random::new(seed ^ (me.domain as u64) << 32 ^ (me.vcpu as u64) << 48));
    let current = Current {
        shared,
        me,
        interrupts: Cell::new(false),
        handling: Cell::new(0),
        in_nmi: Cell::new(false),
        late: Cell::new(0),
        inside: Cell::new(false),
        accesses: Cell::new(0),
        random,
        made: Cell::new(0),
    };
    CURRENT.set(Some(Rc::new(current)));
}

/// The vCPU of this thread is no more. What the thread keeps yet has no Xen.
pub(super) fn forget() {
    CURRENT.set(None);
    OVER.set(true);
}

/// Drops a value that a program made. If that makes hypercalls they are refused.
pub(super) fn drop_without_xen<T>(value: T) {
    let before = OVER.replace(true);
    // A value that panics as it goes has said so by then.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(value)));
    OVER.set(before);
}

/// The vCPU whose thread this is.
///
/// # Panics
///
/// On any other thread.
pub(super) fn here() -> Rc<Current> {
    let current = CURRENT.with_borrow(Clone::clone);
    current.expect(
        "no simulated vCPU runs on this thread: hypercalls, counters and interrupts are those of the threads that `Machine::run` starts",
    )
}

impl Current {
    /// Enters Xen. `None` when the machine has ended, on a thread that is being unwound.
    pub(super) fn enter(&self) -> Option<MutexGuard<'_, State>> {
        let mut state = self.shared.lock();
        if state.is_over_for(self.me) {
            drop(state);
            return self.lost();
        }
        self.inside.set(true);
        state.path.step(&[self.made.take()]);
        Some(state)
    }

    /// What becomes of a thread whose domain has ended.
    fn lost<T>(&self) -> Option<T> {
        self.inside.set(false);
        self.late.set(self.late.get() + 1);
        if self.late.get() > MOST_AFTER_THE_END {
            self.give_up();
        }
        if is_unwinding() { None } else { leave() }
    }

    /// Ends the process: a program that has to end goes on for ever, in a `Drop` that waits or by
    /// catching what unwinds it, and no thread can be taken from it.
    fn give_up(&self) -> ! {
        let state = self.shared.lock();
        let ((domain, vcpu), seed) = (state.name(self.me), state.seed);
        std::eprintln!(
            "domain {domain}, vCPU {vcpu} does not leave its program although that has to end (seed {seed}): does a `Drop` wait for something?"
        );
        if let Some(what) = &state.over {
            std::eprintln!("the machine had stopped because {what}");
        }
        std::process::abort()
    }

    /// The vCPU's program begins: it can be preempted from its first access on, before it ever was
    /// in Xen.
    pub(super) fn begin(&self, state: &State) {
        self.draw(state.adversity.preempt_accesses);
    }

    /// XenCpuid Xen, and takes the interrupts that are due.
    pub(super) fn exit(&self, state: MutexGuard<'_, State>) {
        self.draw(state.adversity.preempt_accesses);
        drop(state);
        self.inside.set(false);
        self.take_interrupts();
    }

    /// XenCpuid Xen once the baton is back, if it ever is.
    fn go_on(&self, passed: Option<MutexGuard<'_, State>>) -> Option<()> {
        match passed {
            Some(state) => {
                self.exit(state);
                Some(())
            }
            None => self.lost(),
        }
    }

    /// Chooses how many accesses will pass before the baton is passed on.
    fn draw(&self, often: u32) {
        if often == 0 {
            self.accesses.set(0);
        } else if self.accesses.get() == 0 {
            self.accesses.set(1 + self.random.borrow_mut().below(2 * often as usize) as u32);
        }
    }

    /// Calls the handlers of interrupts, as long as the flag lets them in. A thread that is being
    /// unwound takes none.
    pub(super) fn take_interrupts(&self) {
        let mut count = 0;
        while !is_unwinding() {
            let Some(mut state) = self.enter() else { return };
            let flag = self.interrupts.get();
            let hopeless = count >= STORM || self.handling.get() >= DEEPEST;
            let taken = if hopeless {
                state.storm(self.me);
                None
            } else {
                state.take_interrupt(self.me, flag, !self.in_nmi.get())
            };
            count += 1;
            let over = state.is_over_for(self.me);
            drop(state);
            self.inside.set(false);
            if over {
                leave();
            }
            let Some(taken) = taken else { return };
            self.handle(&taken, flag);
        }
    }

    fn handle(&self, taken: &Taken, flag: bool) {
        self.interrupts.set(false);
        let in_nmi = self.in_nmi.replace(self.in_nmi.get() || taken.is_nmi);
        self.handling.set(self.handling.get() + 1);
        (taken.handler)();
        self.handling.set(self.handling.get() - 1);
        self.in_nmi.set(in_nmi);
        self.interrupts.set(flag);
    }

    /// Looks at what Xen knows. What `work` reads of shared memory is no access of the program's,
    /// at which the processor could be taken away.
    pub(super) fn look<T>(&self, work: impl FnOnce(&State) -> T) -> T {
        let inside = self.inside.replace(true);
        let result = work(&self.shared.lock());
        self.inside.set(inside);
        result
    }

    /// Runs `work` in Xen, and takes the interrupts that come of it. `None` on a thread that is
    /// being unwound.
    pub(super) fn in_xen_as_me<T>(&self, work: impl FnOnce(&mut State, VcpuKey) -> T) -> Option<T> {
        let mut state = self.enter()?;
        let result = work(&mut state, self.me);
        self.exit(state);
        Some(result)
    }
}

/// A hypercall of the vCPU whose thread this is. Just before it the processor may be taken away, as
/// anywhere in a program, and interrupts may come.
pub(super) fn hypercall(number: u32, arguments: [usize; 5]) -> isize {
    // What outlives its program, and is dropped while something else goes wrong or the thread ends,
    // must not make it worse.
    let on_a_vcpu = CURRENT.try_with(|current| current.borrow().is_some()).ok();
    if OVER.try_with(Cell::get) != Ok(false)
        || on_a_vcpu.is_none()
        || on_a_vcpu == Some(false) && is_unwinding()
    {
        return xen::refusal(Errno::ENOSYS);
    }
    here().carry_out(number, arguments).unwrap_or_else(|| xen::refusal(Errno::ENOSYS))
}

impl Current {
    /// `None` when the machine has ended, on a thread that is being unwound.
    fn carry_out(&self, number: u32, arguments: [usize; 5]) -> Option<isize> {
        let mut state = self.enter()?;
        let chance = state.adversity.preempt_hypercalls;
        if state.random.once_in(chance) {
            state.pass_time(xen::DURATION);
            self.go_on(self.shared.pass(state, self.me))?;
            state = self.enter()?;
        }
        // A handler that makes hypercalls would otherwise never be done, where an upcall came at
        // each.
        if self.handling.get() == 0 {
            state.disturb(self.me);
        }
        match xen::call(&self.shared, state, self.me, self.interrupts.get(), number, arguments) {
            Some((state, answer, interrupts)) => {
                self.interrupts.set(interrupts);
                self.exit(state);
                Some(answer)
            }
            None => self.lost(),
        }
    }
}

/// Called before each access to shared memory, on any thread of the process.
pub(super) fn on_access() {
    let Ok(Some(here)) =
        CURRENT.try_with(|current| current.try_borrow().ok().and_then(|current| current.clone()))
    else {
        return;
    };
    if here.inside.get() || is_unwinding() {
        return;
    }
    here.made.set(here.made.get() + 1);
    let left = here.accesses.get();
    if left == 0 {
        return;
    }
    here.accesses.set(left - 1);
    if left == 1 {
        preempt(&here);
    }
}

/// Takes the processor away in the middle of the program.
fn preempt(here: &Current) {
    let Some(mut state) = here.enter() else { return };
    state.pass_time(100);
    here.go_on(here.shared.pass(state, here.me));
}

/// Lets interrupts in and sleeps until one has come, with nothing in between.
pub(super) fn halt() {
    let here = here();
    here.interrupts.set(true);
    let Some(mut state) = here.enter() else { return };
    state.pass_time(100);
    if state.can_deliver(here.me, true) {
        return here.exit(state);
    }
    state.sleep(here.me, Run::Blocked);
    here.go_on(here.shared.pass(state, here.me));
}

/// Waits until somebody posts under a name. `None` when the machine has ended, on a thread that is
/// being unwound.
pub(super) fn await_post(name: &str) -> Option<u64> {
    let here = here();
    loop {
        let mut state = here.enter()?;
        if let Some(value) = state.posts.get(name).copied() {
            here.exit(state);
            return Some(value);
        }
        state.sleep(here.me, Run::Awaiting(name.into()));
        here.go_on(here.shared.pass(state, here.me))?;
    }
}

/// Lets other vCPUs run.
pub(super) fn relax() {
    let here = here();
    let Some(mut state) = here.enter() else { return };
    state.pass_time(1000);
    here.go_on(here.shared.yield_to_others(state, here.me));
}

pub(super) fn frame_of(address: usize) -> Option<Frame> {
    let here = here();
    let state = here.shared.lock();
    let frame = match state.domain(here.me).physmap.memory.place_of(address) {
        Some((frame, _)) => frame as u64,
        None => frame_of_program(address),
    };
    Some(Frame(frame))
}

pub(super) fn read_counter() -> u64 {
    here().in_xen_as_me(State::read_counter).unwrap_or_default()
}

pub(super) fn disable_interrupts() -> bool {
    here().interrupts.replace(false)
}

pub(super) fn restore_interrupts(on: bool) {
    let here = here();
    here.interrupts.set(on);
    here.take_interrupts();
}
