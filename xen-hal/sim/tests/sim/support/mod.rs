//! What tests of the simulator have in common: machines for tables of cases, and hypercalls by
//! number, so that each case says what is asked and nothing else.

pub(crate) mod events;
pub(crate) mod grants;
pub(crate) mod world;

use std::cell::RefCell;
use std::fmt::Debug;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use xen_hal::hypercall::{Errno, Hypercall as _, check};
use xen_hal::platform::{AddressSpace as _, VcpuId};
use xen_hal::vcpu::{LongMode, Vcpu};
use xen_pac::base::Domid;
use xen_pac::command::Command;
use xen_pac::hypercall::HypercallNr;
use xen_pac::release::Release;
use xen_sim::{
    Arch, DomainConfig, Failure, FaultRates, Guest, Machine, Profile, ProgramResult, Report, Role,
};

/// What a hypercall comes to.
pub(crate) type Answer = Result<usize, Errno>;
/// Success without a value.
pub(crate) const OK: Answer = Ok(0);
/// A domain that is not there.
pub(crate) const NOBODY: Domid = Domid(77);
/// Where no program has memory.
pub(crate) const NOWHERE: usize = 8;
/// A command that no hypercall has.
pub(crate) const NO_COMMAND: usize = 61;

/// The control domain of an Arm machine, where SILO reigns.
pub(crate) const ARM_DOM0: Profile = Profile { role: Role::Control, ..Profile::DOM0LESS };
/// Every profile that the simulator is told to have.
pub(crate) const PROFILES: [Profile; 3] = [Profile::DOM0, Profile::DOMU, Profile::DOM0LESS];

/// The profile under another release, 4.`minor`.
pub(crate) const fn release(minor: u16, profile: Profile) -> Profile {
    Profile { release: Release::new(4, minor), ..profile }
}

pub(crate) fn is_arm(profile: Profile) -> bool {
    profile.arch == Arch::Aarch64
}

/// Rows of a table: a description, what the guest asks, and the answer that Xen gives.
macro_rules! rows {
    ($t:ident; $($case:expr, $asked:expr => $expected:expr;)*) => {
        $($t.is($case, $asked, $expected);)*
    };
}
pub(crate) use rows;

/// A guest that asks, and notes which answers are not those of the table.
pub(crate) struct Table {
    guest: Guest,
    wrong: RefCell<Vec<String>>,
    /// Whether it was looked at, when all had been asked.
    seen: Arc<AtomicBool>,
}

impl Deref for Table {
    type Target = Guest;

    fn deref(&self) -> &Guest {
        &self.guest
    }
}

impl Table {
    pub(crate) fn new(guest: Guest) -> Self {
        Self { guest, wrong: RefCell::default(), seen: Arc::default() }
    }

    /// A case: what was asked, what Xen answered, and what the table says.
    #[track_caller]
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a line of a table reads better without references"
    )]
    pub(crate) fn is<T: PartialEq + Debug>(&self, case: &str, answer: T, expected: T) {
        if answer != expected {
            let line = std::panic::Location::caller();
            self.wrong
                .borrow_mut()
                .push(format!("{line}: {case}: {answer:?} and not {expected:?}"));
        }
    }

    /// A hypercall by its number, with up to five arguments.
    pub(crate) fn raw<const N: usize>(&self, number: HypercallNr, arguments: [usize; N]) -> Answer {
        let mut all = [0; 5];
        all[..N].copy_from_slice(&arguments);
        let [a, b, c, d, e] = all;
        // SAFETY: the tests hand over addresses of arguments that are there, or such as the
        // simulator refuses; what they do to memory they do to pages of their own.
        check(unsafe { self.guest.xen().call5(number.0, a, b, c, d, e) })
    }

    /// A command whose argument follows it.
    pub(crate) fn give<C: Command>(&self, _: C, argument: &mut C::Argument) -> Answer {
        self.raw(HypercallNr(C::HYPERCALL), [C::NUMBER as usize, address(argument), 0])
    }

    /// A command about a vCPU.
    pub(crate) fn give_vcpu<C: Command>(
        &self,
        _: C,
        vcpu: u32,
        argument: &mut C::Argument,
    ) -> Answer {
        self.raw(HypercallNr(C::HYPERCALL), [C::NUMBER as usize, vcpu as usize, address(argument)])
    }

    /// A command that takes an array, with one element.
    pub(crate) fn give_one<C: Command>(&self, _: C, argument: &mut C::Argument) -> Answer {
        self.raw(HypercallNr(C::HYPERCALL), [C::NUMBER as usize, address(argument), 1])
    }

    /// The command with an argument that is nowhere.
    pub(crate) fn give_nowhere<C: Command>(&self, _: C) -> Answer {
        self.raw(HypercallNr(C::HYPERCALL), [C::NUMBER as usize, NOWHERE, 1])
    }

    /// The frame of one of the domain's pages.
    pub(crate) fn frame(&self, page: usize) -> u64 {
        self.frame_of(self.page(page))
    }

    /// The frame behind a pointer.
    pub(crate) fn frame_of(&self, pointer: NonNull<u8>) -> u64 {
        self.space().frame_of(pointer).expect("the simulator's pages have frames").0
    }

    /// For a program that does not come to its end: all has been asked, and all answers were right.
    pub(crate) fn all_right(&self) {
        assert_eq!(*self.wrong.borrow(), Vec::<String>::new());
        self.seen.store(true, Ordering::SeqCst);
    }

    /// Whether all answers were right.
    pub(crate) fn finish(self) -> Result<(), String> {
        self.seen.store(true, Ordering::SeqCst);
        let wrong = self.wrong.take();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    /// Starts another vCPU with a program.
    pub(crate) fn start<E: ProgramResult>(
        &self,
        vcpu: u32,
        program: impl FnOnce(Guest) -> E + Send + 'static,
    ) {
        self.set_program(VcpuId(vcpu), program);
        let vcpu = Vcpu::new(self.xen(), VcpuId(vcpu));
        // SAFETY: the vCPU runs the program that was prepared.
        unsafe { vcpu.initialise(&LongMode::new(0x1000, 0x2000, 0x3000)) }
            .expect("the vCPU is not initialised yet");
        vcpu.up().expect("the vCPU is initialised");
    }
}

/// What nobody asked for is told at the end.
impl Drop for Table {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.all_right();
        }
    }
}

/// The address of an argument, as hypercalls take it.
pub(crate) fn address<T>(argument: &mut T) -> usize {
    (&raw mut *argument).expose_provenance()
}

/// A domain of a machine: what it is made with, and what it asks.
pub(crate) type Domain = (DomainConfig, Box<dyn FnOnce(&Table) + Send>);

pub(crate) fn domain(
    config: DomainConfig,
    program: impl FnOnce(&Table) + Send + 'static,
) -> Domain {
    (config, Box::new(program))
}

/// A machine with these domains, on which nothing happens by chance.
pub(crate) fn machine(profile: Profile, domains: impl IntoIterator<Item = Domain>) -> Machine {
    watched(profile, domains).0
}

/// The same, and whether the answers of each domain were looked at.
pub(crate) fn watched(
    profile: Profile,
    domains: impl IntoIterator<Item = Domain>,
) -> (Machine, Vec<Arc<AtomicBool>>) {
    let mut all_seen = Vec::new();
    let mut machine =
        Machine::new(profile, 1).expect("the computer has memory").fault_rates(FaultRates::none());
    for (config, program) in domains {
        let seen = Arc::<AtomicBool>::default();
        all_seen.push(Arc::clone(&seen));
        let with_table = |guest| {
            let table = Table { guest, wrong: RefCell::default(), seen };
            program(&table);
            table.finish()
        };
        machine.domain(config, with_table).expect("the machine has memory");
    }
    (machine, all_seen)
}

/// Runs a machine with these domains.
#[track_caller]
pub(crate) fn several(profile: Profile, domains: impl IntoIterator<Item = Domain>) -> Report {
    let (machine, seen) = watched(profile, domains);
    let report = machine.run().unwrap_or_else(|failure| panic!("{profile:?}: {failure}"));
    assert!(
        seen.iter().all(|seen| seen.load(Ordering::SeqCst)),
        "{profile:?}: a domain ended before all had been asked: {report:?}"
    );
    report
}

/// Runs a machine with one domain.
#[track_caller]
pub(crate) fn one(
    profile: Profile,
    config: DomainConfig,
    program: impl FnOnce(&Table) + Send + 'static,
) -> Report {
    several(profile, [domain(config, program)])
}

/// Runs a machine with one domain under each of these profiles.
#[track_caller]
pub(crate) fn on(
    profiles: impl IntoIterator<Item = Profile>,
    config: DomainConfig,
    program: impl Fn(Profile, &Table) + Clone + Send + 'static,
) {
    for profile in profiles {
        let program = program.clone();
        one(profile, config, move |t| program(profile, t));
    }
}

/// Runs a machine with one domain, which comes to a bad end.
#[track_caller]
pub(crate) fn fails(
    profile: Profile,
    config: DomainConfig,
    program: impl FnOnce(&Table) + Send + 'static,
) -> Failure {
    machine(profile, [domain(config, program)]).run().expect_err("the machine fails")
}

/// A guest of the toolstack's beside the first domain.
pub(crate) fn guest() -> DomainConfig {
    DomainConfig::new().role(Role::Guest)
}

/// Answers that are errors, by the names of the errors.
pub(crate) mod answer {
    use super::{Answer, Errno};

    macro_rules! answers {
        ($($name:ident),*) => { $(pub(crate) const $name: Answer = Err(Errno::$name);)* };
    }

    answers!(
        E2BIG, EACCES, EBUSY, EDOM, EEXIST, EFAULT, EILSEQ, EINVAL, ENOBUFS, ENODATA, ENODEV,
        ENOENT, ENOMEM, ENOSPC, ENOSYS, ENXIO, EOPNOTSUPP, EOVERFLOW, EPERM, ERANGE, ESRCH, ETIME,
        EXDEV
    );
}

/// What tests of the simulator use.
pub(crate) mod prelude {
    pub(crate) use std::cell::Cell;
    pub(crate) use std::collections::BTreeSet;
    pub(crate) use std::fs;
    pub(crate) use std::num::NonZero;
    pub(crate) use std::process::{Command, Output};
    pub(crate) use std::sync::atomic::Ordering::{self, SeqCst};
    pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};
    pub(crate) use std::sync::{Arc, Mutex};
    pub(crate) use std::time::Duration;

    pub(crate) use xen_hal::Xen;
    pub(crate) use xen_hal::clock::SystemTime;
    pub(crate) use xen_hal::event::*;
    pub(crate) use xen_hal::grant::*;
    pub(crate) use xen_hal::hvm::Hvm;
    pub(crate) use xen_hal::hypercall::Errno;
    pub(crate) use xen_hal::memory::{Extent, Memory, WidthLatch};
    pub(crate) use xen_hal::platform::{AddressSpace, Counter, VcpuId};
    pub(crate) use xen_hal::sched::Sched;
    pub(crate) use xen_hal::vcpu::{LongMode, RunTimes, Vcpu, VcpuError};
    pub(crate) use xen_pac::access::Handle;
    pub(crate) use xen_pac::base::{Domid, Virq};
    pub(crate) use xen_pac::event_channel::*;
    pub(crate) use xen_pac::grant_table::raw::GrantEntryV1;
    pub(crate) use xen_pac::grant_table::*;
    pub(crate) use xen_pac::grant_table_v2::raw::{GrantEntryV2FullPage, GrantEntryV2SubPage};
    pub(crate) use xen_pac::hvm::*;
    pub(crate) use xen_pac::hypercall::{HypercallNr, MulticallEntry};
    pub(crate) use xen_pac::memory::{self, *};
    pub(crate) use xen_pac::sched::*;
    pub(crate) use xen_pac::shared_info::{SharedInfo, VcpuInfo};
    pub(crate) use xen_pac::vcpu::*;
    pub(crate) use xen_pac::version::XenFeatureInfo;
    pub(crate) use xen_sim::*;

    pub(crate) use super::answer::*;
    pub(crate) use super::events::*;
    pub(crate) use super::grants::*;
    pub(crate) use super::world::*;
    pub(crate) use super::*;
}
