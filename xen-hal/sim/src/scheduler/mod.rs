//! Chooses the vCPU that runs. All vCPUs of a machine share one thread, each on its own stack, and
//! the machine has one processor. At hypercalls and at accesses to shared memory, the seed selects
//! the vCPU that gets the processor, so that a run can be repeated.

mod coroutine;
mod segv;

use core::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::{io, thread};

use xen_pac::sched::ShutdownReason;
use xen_pac::vcpu::Runstate;

use self::coroutine::Task;
use crate::config::{FailureKind, Place};
use crate::raw_memory::Stack;
use crate::state::{Program, Run, State, VcpuKey};

/// The number of stacks that are kept for later machines.
const POOLED_STACKS: usize = 256;

static POOL: Mutex<Vec<Stack>> = Mutex::new(Vec::new());

fn take_stack() -> io::Result<Stack> {
    let pooled = POOL.lock().unwrap_or_else(PoisonError::into_inner).pop();
    pooled.map_or_else(Stack::new, Ok)
}

fn return_stack(stack: Stack) {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    if pool.len() < POOLED_STACKS {
        pool.push(stack);
    }
}

/// A machine that runs.
pub(crate) struct Scheduler {
    state: RefCell<State>,
}

impl Scheduler {
    pub(crate) fn new(state: State) -> Self {
        Self { state: RefCell::new(state) }
    }

    /// Returns the machine's state. The borrow must end before any code of a program runs.
    pub(crate) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// Runs the machine until no vCPU can run. Each vCPU calls `entry` on its stack.
    pub(crate) fn run(self: &Rc<Self>, entry: fn(&Rc<Self>, VcpuKey, Program)) {
        let mut tasks = BTreeMap::new();
        segv::install(self.state().seed);
        self.state().elect(None);
        loop {
            let started = core::mem::take(&mut self.state().started);
            for (key, program) in started {
                match take_stack() {
                    Ok(stack) => {
                        let (guard, scheduler) = (stack.guard(), Rc::clone(self));
                        let task = Task::new(stack, move || entry(&scheduler, key, program));
                        tasks.insert(key, (guard, task));
                    }
                    Err(error) => {
                        let mut state = self.state();
                        state.vcpu_mut(key).program = Some(program);
                        state.stop(FailureKind::Host(error.to_string()));
                        state.finish(key);
                        state.elect(None);
                    }
                }
            }
            let next = {
                let state = self.state();
                let Some(next) = state.running else { break };
                if let Some((guard, _)) = tasks.get(&next) {
                    segv::watch(&state, next, *guard);
                }
                next
            };
            // Every vCPU that gets the processor has a task.
            let Some((_, task)) = tasks.get_mut(&next) else { break };
            if task.resume() {
                let task = tasks.remove(&next);
                task.into_iter().for_each(|(_, task)| return_stack(task.into_stack()));
            }
        }
        segv::unwatch();
    }

    /// Gives the processor to a vCPU that can run, which may be the caller, and returns once the
    /// caller has it again. `None` if the caller's domain or the machine has ended meanwhile.
    pub(crate) fn switch<'a>(
        &'a self,
        mut state: RefMut<'a, State>,
        me: VcpuKey,
    ) -> Option<RefMut<'a, State>> {
        if thread::panicking() {
            return state.keeps_processor(me).then_some(state);
        }
        state.elect(None);
        self.wait_for_turn(state, me)
    }

    /// Gives the processor to another vCPU that can run, if there is one.
    pub(crate) fn switch_to_other<'a>(
        &'a self,
        mut state: RefMut<'a, State>,
        me: VcpuKey,
    ) -> Option<RefMut<'a, State>> {
        if thread::panicking() {
            return state.keeps_processor(me).then_some(state);
        }
        state.elect(Some(me));
        self.wait_for_turn(state, me)
    }

    /// Waits until the caller has the processor. `None` if its domain or the machine has ended.
    fn wait_for_turn<'a>(
        &'a self,
        mut state: RefMut<'a, State>,
        me: VcpuKey,
    ) -> Option<RefMut<'a, State>> {
        while state.running != Some(me) {
            drop(state);
            coroutine::suspend();
            state = self.state();
        }
        (!state.is_over_for(me)).then_some(state)
    }
}

impl State {
    /// Keeps the processor for a vCPU that unwinds: `thread::panicking` belongs to the thread, so
    /// another vCPU would see this one's panic. If the vCPU sleeps, wakes it, because nothing else
    /// would. Returns false if the vCPU cannot continue.
    fn keeps_processor(&mut self, me: VcpuKey) -> bool {
        let goes_on = self.vcpu(me).run() == &Run::Ready && !self.is_over_for(me);
        self.wake(me);
        goes_on
    }

    /// Gives the processor to a vCPU that can run, to another than `except` if there is one.
    ///
    /// A vCPU that must leave its program comes first. If no vCPU can run, time advances to the
    /// next timer. If no timer is set, the machine ends.
    pub(crate) fn elect(&mut self, except: Option<VcpuKey>) {
        // A vCPU that sleeps does not have the processor, even if it gets the processor next.
        if let Some(last) = self.running.filter(|last| self.vcpu(*last).run() != &Run::Ready) {
            self.running = None;
            let now = self.runstate_of(last);
            self.set_runstate(last, now);
        }
        loop {
            if self.someone_leaves {
                let leaving =
                    self.keys().find(|key| self.vcpu(*key).alive && self.is_over_for(*key));
                if let Some(leaving) = leaving {
                    return self.give_processor(leaving);
                }
                self.someone_leaves = false;
            }
            if self.over.is_some() {
                self.running = None;
                return;
            }
            if let Some(next) = self.choose_ready(except) {
                return self.give_processor(next);
            }
            if let Some(next) = self.next_timer {
                self.advance_to(next);
            } else {
                return self.come_to_rest();
            }
        }
    }

    /// Chooses a ready vCPU at random.
    fn choose_ready(&mut self, except: Option<VcpuKey>) -> Option<VcpuKey> {
        let excluded = except
            .filter(|_| self.ready.len() > 1)
            .and_then(|except| self.ready.binary_search(&except).ok());
        let count = self.ready.len() - usize::from(excluded.is_some());
        let chosen = if count > 1 { self.random.below(count) } else { 0 };
        let passed = excluded.is_some_and(|excluded| chosen >= excluded);
        self.ready.get(chosen + usize::from(passed)).copied()
    }

    fn give_processor(&mut self, next: VcpuKey) {
        if self.running == Some(next) {
            return self.set_runstate(next, Runstate::RUNNING);
        }
        if let Some(last) = self.running.take() {
            let now = self.runstate_of(last);
            self.set_runstate(last, now);
        }
        self.running = Some(next);
        self.trace.step(&[0, next.domain as u64, next.vcpu as u64]);
        self.set_runstate(next, Runstate::RUNNING);
        self.resume_on_processor(next);
    }

    /// Ends the machine when no vCPU can run and no timer is set. If a vCPU still sleeps, that is a
    /// deadlock, unless its domain is a daemon: daemons end when they are the last.
    fn come_to_rest(&mut self) {
        self.running = None;
        let waiting: Vec<String> = self.keys().filter_map(|key| self.waits_for(key)).collect();
        let daemons: Vec<usize> = (0..self.domains.len())
            .filter(|index| self.domains[*index].daemon && self.domains[*index].ended.is_none())
            .collect();
        if waiting.is_empty() && !daemons.is_empty() {
            for daemon in daemons {
                self.end_domain(daemon, ShutdownReason::POWEROFF);
            }
            self.elect(None);
        } else if !waiting.is_empty() {
            self.stop(FailureKind::Deadlock { waiting });
            self.elect(None);
        }
    }

    /// Returns a description of what a vCPU waits for, unless its domain has ended.
    fn waits_for(&self, key: VcpuKey) -> Option<String> {
        let (domain, vcpu) = (self.domain(key), self.vcpu(key));
        if domain.ended.is_some() || domain.daemon {
            return None;
        }
        let place = Place(self.name(key));
        let upcall = if self.upcall_is_pending(key) { "an upcall" } else { "no upcall" };
        match vcpu.run() {
            Run::Blocked => Some(format!("{place} is blocked, with {upcall} pending")),
            Run::Polling(ports) => {
                Some(format!("{place} polls ports {ports:?}, with {upcall} pending"))
            }
            Run::WaitingForKey(name) => Some(format!("{place} waits for the key {name:?}")),
            Run::Down | Run::Ready | Run::Finished => None,
        }
    }
}
