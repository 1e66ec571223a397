//! Who runs: each vCPU is a thread, and only the one that has the baton does anything. It is passed
//! on at hypercalls and at accesses to shared memory, to whom the seed says, so that a run can be
//! repeated.

use std::panic::resume_unwind;
use std::sync::{Arc, MutexGuard};
use std::{boxed::Box, string::String, thread, vec::Vec};

use xen_pac::vcpu::Runstate;

use super::failure::{Place, What};
use super::machine::Shared;
use super::state::{Run, State, VcpuKey};
use xen_hal::platform::VcpuId;

/// What unwinds a vCPU's thread when its domain or the machine has ended.
pub(super) struct Ended;

/// XenCpuid the program that a vCPU runs, for good.
pub(super) fn leave() -> ! {
    // No panic: nothing is reported, and the thread's start knows what it is.
    resume_unwind(Box::new(Ended))
}

impl Shared {
    /// Passes the baton on, and waits until it is back: at once, if chance says so. `None` when
    /// there is nothing to come back to.
    pub(super) fn pass<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        me: VcpuKey,
    ) -> Option<MutexGuard<'a, State>> {
        state.elect(None);
        self.wait_for_baton(state, me)
    }

    /// Passes the baton to another vCPU that can run, if there is one.
    pub(super) fn yield_to_others<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        me: VcpuKey,
    ) -> Option<MutexGuard<'a, State>> {
        state.elect(Some(me));
        self.wait_for_baton(state, me)
    }

    /// Waits for the baton. `None` when the vCPU's domain or the machine ended meanwhile.
    pub(super) fn wait_for_baton<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        me: VcpuKey,
    ) -> Option<MutexGuard<'a, State>> {
        let bell = Arc::clone(&state.vcpu(me).bell);
        loop {
            // Who leaves does so with the baton as well: what goes with its program has effects
            // that others see.
            if state.running == Some(me) {
                return if state.is_over_for(me) { None } else { Some(state) };
            }
            state = bell.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

impl State {
    pub(super) fn is_over_for(&self, me: VcpuKey) -> bool {
        self.over.is_some() || self.domain(me).ended.is_some()
    }

    /// Gives the baton to a vCPU that can run: to another than `except`, where there is one. Before
    /// all others come those that have to leave their programs, one after the other. Where nobody
    /// can run, time goes on until somebody can; where no timer is left either, the machine has
    /// come to its end.
    pub(super) fn elect(&mut self, except: Option<VcpuKey>) {
        // Who sleeps has no processor, even if it is the next to have one again.
        if let Some(last) = self.running.filter(|last| self.vcpu(*last).run != Run::Ready) {
            self.running = None;
            let now = self.runstate_of(last);
            self.set_runstate(last, now);
        }
        loop {
            let leaving = self.keys().find(|key| self.vcpu(*key).alive && self.is_over_for(*key));
            if let Some(leaving) = leaving {
                return self.give_baton(leaving);
            }
            if self.over.is_some() {
                self.running = None;
                return;
            }
            let mut ready: Vec<_> = self
                .keys()
                .filter(|key| {
                    self.vcpu(*key).run == Run::Ready && self.domain(*key).ended.is_none()
                })
                .collect();
            if ready.len() > 1 {
                ready.retain(|key| Some(*key) != except);
            }
            if !ready.is_empty() {
                let next =
                    if ready.len() == 1 { ready[0] } else { ready[self.random.below(ready.len())] };
                return self.give_baton(next);
            }
            if let Some(next) = self.next_timer {
                self.advance_to(next);
            } else if self.rest() {
                return;
            }
        }
    }

    fn give_baton(&mut self, next: VcpuKey) {
        if self.running == Some(next) {
            return self.set_runstate(next, Runstate::RUNNING);
        }
        if let Some(last) = self.running.take() {
            let now = self.runstate_of(last);
            self.set_runstate(last, now);
        }
        self.running = Some(next);
        self.path.step(&[0, next.domain as u64, next.vcpu as u64]);
        self.set_runstate(next, Runstate::RUNNING);
        self.arrive(next);
        self.vcpu(next).bell.notify_all();
    }

    /// What a vCPU without the baton is at, in Xen's words.
    pub(super) fn runstate_of(&self, key: VcpuKey) -> Runstate {
        match self.vcpu(key).run {
            Run::Ready => Runstate::RUNNABLE,
            Run::Blocked | Run::Polling(_) | Run::Awaiting(_) => Runstate::BLOCKED,
            Run::Down | Run::Finished => Runstate::OFFLINE,
        }
    }

    /// Nothing can run and nothing will wake anything. Says whether all is done; if not, somebody
    /// waits in vain.
    fn rest(&mut self) -> bool {
        self.running = None;
        let waiting: Vec<String> = self.keys().filter_map(|key| self.waits(key)).collect();
        let done = waiting.is_empty();
        if !done {
            self.stop(What::Deadlock { waiting });
        }
        done
    }

    /// What a vCPU of a domain that has not ended waits for.
    fn waits(&self, key: VcpuKey) -> Option<String> {
        let (domain, vcpu) = (self.domain(key), self.vcpu(key));
        if domain.ended.is_some() {
            return None;
        }
        let place = Place((domain.id, VcpuId(key.vcpu as u32)));
        let due = if self.upcall_is_pending(key) {
            "with an upcall pending"
        } else {
            "with no upcall pending"
        };
        match &vcpu.run {
            Run::Blocked => Some(std::format!("{place} is blocked, {due}")),
            Run::Polling(ports) => Some(std::format!("{place} polls ports {ports:?}, {due}")),
            Run::Awaiting(name) => {
                Some(std::format!("{place} waits for somebody to post {name:?}"))
            }
            _ => None,
        }
    }

    /// Ends the machine: all threads will leave their programs. The first reason stays.
    pub(super) fn stop(&mut self, what: What) {
        if self.over.is_none() {
            self.over = Some(what);
        }
    }

    /// Notes what somebody posts, and wakes those who wait for it.
    pub(super) fn post(&mut self, name: &str, value: u64) {
        self.posts.insert(name.into(), value);
        let waits = |state: &Self, key: VcpuKey| matches!(&state.vcpu(key).run, Run::Awaiting(awaited) if awaited == name);
        let waiting: Vec<_> = self.keys().filter(|key| waits(self, *key)).collect();
        waiting.into_iter().for_each(|key| self.wake(key));
    }

    /// Puts a vCPU to sleep until `wake`.
    pub(super) fn sleep(&mut self, key: VcpuKey, run: Run) {
        self.vcpu_mut(key).run = run;
        self.set_runstate(key, Runstate::BLOCKED);
    }

    /// Lets a vCPU that sleeps go on.
    pub(super) fn wake(&mut self, key: VcpuKey) {
        let vcpu = self.vcpu_mut(key);
        if matches!(vcpu.run, Run::Blocked | Run::Polling(_) | Run::Awaiting(_)) {
            vcpu.run = Run::Ready;
            vcpu.poll_deadline = None;
            self.set_runstate(key, Runstate::RUNNABLE);
        }
    }
}

/// Whether the calling thread is being unwound, so that it must not be unwound again.
pub(super) fn is_unwinding() -> bool {
    thread::panicking()
}
