//! The machine as whoever tests sees it: made, given domains, and run.

use std::any::Any;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::string::{String, ToString};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::vec::Vec;
use std::{format, io};

use xen_pac::base::Domid;
use xen_pac::sched::ShutdownReason;

use super::adversity::Adversity;
use super::baton::Ended;
use super::current;
use super::failure::{Failure, What};
use super::guest::Guest;
use super::profile::Profile;
use super::setup::Setup;
use super::state::{BEGINNING, Program, State, VcpuKey};

/// How many frames a machine has.
const FRAMES: usize = 8192;

/// What the threads of a machine share.
pub(super) struct Shared {
    state: Mutex<State>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Itself, for the threads that it starts.
    this: Weak<Self>,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a mistake of the simulator's, which has been reported by then.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the threads of the vCPUs that were brought up.
    pub(super) fn start_threads(&self, state: &mut State) {
        for key in core::mem::take(&mut state.to_start) {
            let (Some(program), Some(shared)) =
                (state.vcpu_mut(key).program.take(), self.this.upgrade())
            else {
                continue;
            };
            let (seed, (domain, vcpu)) = (state.seed, state.name(key));
            let thread = thread::Builder::new().name(format!("domain {domain} vCPU {vcpu}"));
            match thread.spawn(move || shared.run(key, seed, program)) {
                Ok(thread) => {
                    state.vcpu_mut(key).alive = true;
                    self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
                }
                Err(error) => state.stop(What::Host(error.to_string())),
            }
        }
    }

    /// What the thread of a vCPU does.
    fn run(self: Arc<Self>, me: VcpuKey, seed: u64, program: Program) {
        current::become_vcpu(Arc::clone(&self), me, seed);
        let began = self
            .wait_for_baton(self.lock(), me)
            .map(|state| current::here().begin(&state))
            .is_some();
        let result = if began {
            catch_unwind(AssertUnwindSafe(program))
        } else {
            current::drop_without_xen(program);
            Ok(Ok(()))
        };
        let on = self.lock().name(me);
        if let Some(what) = failure_of(on, result) {
            self.lock().stop(what);
        }
        if me.vcpu == 0 {
            let handlers = core::mem::take(&mut self.lock().domain_mut(me).handlers);
            current::drop_without_xen(handlers);
        }
        current::forget();
        self.lock().finish(me);
    }

    /// Waits until no vCPU's thread is left.
    fn join(&self) {
        loop {
            let next = self.threads.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(thread) = next else { return };
            // A thread's own panics are caught on it.
            let _ = thread.join();
        }
    }
}

/// How a program ended, where that is a failure.
fn failure_of(
    on: (Domid, xen_hal::platform::VcpuId),
    result: Result<Result<(), String>, Box<dyn Any + Send>>,
) -> Option<What> {
    match result {
        Ok(Ok(())) => None,
        Ok(Err(message)) => Some(What::Failed { on, message }),
        Err(payload) if payload.is::<Ended>() => None,
        Err(payload) => {
            let text = payload.downcast_ref::<&str>().map(|text| (*text).to_string());
            let message = text
                .or_else(|| payload.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "it did not say why".to_string());
            current::drop_without_xen(payload);
            Some(What::Panicked { on, message })
        }
    }
}

/// A machine on which Xen and its domains are simulated: see the [module](super)'s documentation.
///
/// Everything that happens by chance is decided by the seed: the same seed and the same programs
/// give the same run.
pub struct Machine {
    shared: Arc<Shared>,
}

/// What came of a machine whose programs all ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many hypercalls there were.
    pub hypercalls: u64,
    /// How long it took, in nanoseconds of the machine's time.
    pub nanos: u64,
    /// What happened, in order, as a number: runs that are the same have the same.
    pub path: u64,
    /// Why each domain ended.
    pub ends: BTreeMap<u16, ShutdownReason>,
    /// What each domain wrote to Xen's console.
    pub consoles: BTreeMap<u16, String>,
}

/// How a vCPU's program may end: with nothing, or with a result whose error can be shown.
pub trait Ending {
    /// The error's text, if it was one.
    ///
    /// # Errors
    ///
    /// The text.
    fn ending(self) -> Result<(), String>;
}

impl Ending for () {
    fn ending(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: core::fmt::Display> Ending for Result<(), E> {
    fn ending(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

pub(super) fn boxed<E: Ending>(program: impl FnOnce(Guest) -> E + Send + 'static) -> Program {
    Box::new(|| program(Guest::here()).ending())
}

impl Machine {
    /// A machine without domains.
    ///
    /// # Errors
    ///
    /// When the computer has no memory for it, or another simulator of the process [was
    /// first](xen_pac::access::before_each).
    pub fn new(profile: Profile, seed: u64) -> io::Result<Self> {
        let state = State::new(profile, seed, FRAMES)?;
        if !xen_pac::access::before_each(current::on_access) {
            return Err(io::Error::other(
                "something else than this simulator is called before accesses to shared memory",
            ));
        }
        let shared = Arc::new_cyclic(|this| Shared {
            state: Mutex::new(state),
            threads: Mutex::default(),
            this: Weak::clone(this),
        });
        Ok(Self { shared })
    }

    /// Makes it as unkind as that.
    #[must_use]
    pub fn adversity(self, adversity: Adversity) -> Self {
        self.shared.lock().adversity = adversity;
        self
    }

    /// Adds a domain, whose first vCPU will run `program` when the machine runs. The domain ends
    /// when the program returns.
    ///
    /// Numbers go up from 0 where the first domain is the control domain, and from 1 otherwise.
    ///
    /// # Errors
    ///
    /// When the computer or the machine has no memory for it.
    pub fn domain<E: Ending>(
        &mut self,
        setup: Setup,
        program: impl FnOnce(Guest) -> E + Send + 'static,
    ) -> io::Result<Domid> {
        self.shared.lock().add_domain(&setup, boxed(program))
    }

    /// Runs all domains until they have ended.
    ///
    /// # Errors
    ///
    /// [`Failure`], which names the seed, at the first panic, error, deadlock, or mistake that
    /// destroys a domain.
    pub fn run(self) -> Result<Report, Failure> {
        {
            let mut state = self.shared.lock();
            state.to_start =
                (0..state.domains.len()).map(|domain| VcpuKey { domain, vcpu: 0 }).collect();
            self.shared.start_threads(&mut state);
            state.elect(None);
        }
        self.shared.join();
        let (result, left) = {
            let mut state = self.shared.lock();
            let result = match state.over.take() {
                Some(what) => Err(Failure { seed: state.seed, what }),
                None => Ok(state.report()),
            };
            let vcpus = state.domains.iter_mut().flat_map(|domain| &mut domain.vcpus);
            (result, vcpus.filter_map(|vcpu| vcpu.program.take()).collect::<Vec<_>>())
        };
        // Programs of vCPUs that were never brought up.
        current::drop_without_xen(left);
        result
    }
}

impl core::fmt::Debug for Machine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let state = self.shared.lock();
        write!(f, "Machine({} domains, seed {})", state.domains.len(), state.seed)
    }
}

impl State {
    fn report(&self) -> Report {
        let console =
            |domain: &super::state::Domain| String::from_utf8_lossy(&domain.console).into_owned();
        Report {
            hypercalls: self.hypercalls,
            nanos: self.now - BEGINNING,
            path: self.path.whole(),
            ends: self
                .domains
                .iter()
                .filter_map(|domain| Some((domain.id.0, domain.ended?)))
                .collect(),
            consoles: self.domains.iter().map(|domain| (domain.id.0, console(domain))).collect(),
        }
    }
}
