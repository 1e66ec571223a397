//! Suspends the domain, and registers everything with Xen again after a restore.
//!
//! A restored domain keeps its memory and loses every registration with Xen: the shared page and
//! the grant table are unmapped, every channel except those of xenstore and the console is closed,
//! foreign pages are unmapped, and system time is that of the host on which the domain now runs.
//!
//! [`Setup`] lists what the guest registers. [`Setup::register`] registers it at boot and returns
//! [`Registered`]. Handles that a restore makes invalid borrow that value. [`Registered::suspend`]
//! consumes it, so the compiler refuses to keep such a handle across a suspend. If the suspend was
//! cancelled, `suspend` returns the value at once. Otherwise, [`Restored::register`] repeats the
//! registration in the required order, and returns the value when every step has succeeded.
//!
//! | what | after a restore |
//! |---|---|
//! | shared page, grant table, `VcpuInfo`s, run times, callback and vectors, periodic timers | registered again, at the same places |
//! | deadlines of type [`Instant`](crate::clock::Instant) | stay valid: the time line continues |
//! | handles that borrow [`Registered`] | cannot outlive the suspend |
//! | handles of an [`Area`] | keep the last values from before the suspend until the area is registered again |
//! | a [`Channel`](crate::event::Channel) | closed by Xen; bind it again |
//! | the [`Dispatcher`](crate::event::Dispatcher) of the setup | attached again, with all ports masked; listen to the new channels |
//! | singleshot timers, watchdogs | cleared by Xen; set them again, after the channels |
//! | a [`DeferredGrant`](crate::grant::DeferredGrant), a dropped grant | no longer in use by the peer, once the table is mapped again: [`GrantTable::recover`] returns a deferred page, and the reference of a dropped grant is free |
//! | a block device, a network interface | suspend each before the domain, and resume it after xenstore is reopened: `BlockDevice::suspend`, `NetDevice::suspend` |
//! | console and xenstore | new rings at the same frames, and the same ports: reopen them |
//!
//! ```
//! use core::sync::atomic::{AtomicU32, Ordering};
//! use xen_hal::clock::{Clock, Monotonic, PvClock, SystemTime};
//! use xen_hal::event::{Dispatcher, Drain, EventError};
//! use xen_hal::hypercall::{Errno, Hypercall};
//! use xen_hal::pac::hvm::CallbackVia;
//! use xen_hal::platform::{AddressSpace, Counter, Interrupts, VcpuId};
//! use xen_hal::suspend::{Registered, Setup, Suspended};
//! use xen_hal::{Error, Xen};
//!
//! /// Reads the clock of vCPU 0.
//! fn now<H: Hypercall + Copy, A: AddressSpace + Copy>(
//!     registered: &Registered<H, A>,
//!     counter: impl Counter,
//! ) -> Result<SystemTime, Error> {
//!     let features = Xen::new(registered.hypercall()).version().features()?;
//!     let info = registered.vcpu_info(VcpuId(0)).ok_or(Errno::ENOENT)?;
//!     Ok(PvClock::new(features, info.time(), counter)?.now())
//! }
//!
//! /// Suspends the domain. The other vCPUs are down, and interrupts are off.
//! fn suspend<H: Hypercall + Copy, A: AddressSpace + Copy>(
//!     registered: Registered<H, A>,
//!     counter: impl Counter + Copy,
//! ) -> Result<Registered<H, A>, Error> {
//!     let time = now(&registered, counter)?;
//!     let mut restored = match registered.suspend(time).map_err(|error| error.errno)? {
//!         Suspended::Cancelled(registered) => return Ok(registered),
//!         Suspended::Restored(restored) => restored,
//!     };
//!     // The guest cannot work before this succeeds, so it only retries.
//!     for _ in 0..10 {
//!         match restored.register(|registered| now(registered, counter)) {
//!             Ok(registered) => return Ok(registered),
//!             Err(error) => restored = error.restored,
//!         }
//!     }
//!     Err(Errno::EAGAIN.into())
//! }
//!
//! static EVENTS: Dispatcher = Dispatcher::new();
//! static TIME_LINE: Monotonic = Monotonic::new();
//! static RINGS: AtomicU32 = AtomicU32::new(0);
//!
//! /// The interrupt handler of the callback vector.
//! fn upcall() {
//!     let _: Drain = EVENTS.dispatch(VcpuId(0), |_port| {
//!         RINGS.fetch_add(1, Ordering::Relaxed);
//!     });
//! }
//!
//! # fn kernel(guest: xen_sim::Guest) -> Result<(), Error> {
//! # let (xen, space, interrupts) = (Xen::new(guest.xen()), guest.space(), guest.interrupts());
//! # let (page, counter) = (guest.page(0).cast(), guest.counter());
//! # guest.on_interrupt(0xf3, upcall);
//! let setup = Setup {
//!     callback: Some(CallbackVia::vector(0xf3)?),
//!     dispatcher: Some(&EVENTS),
//!     time_line: Some(&TIME_LINE),
//!     ..Setup::new(xen.hypercall(), space, page)
//! };
//! // SAFETY: nothing else uses the page, and it stays mapped. The domain is suspended below only:
//! // outside of interrupt handlers, and with one vCPU.
//! let mut registered = unsafe { setup.register() }.map_err(|error| error.error)?;
//! # guest.enable_interrupts();
//! for _ in 0..3 {
//!     let bell = xen.events().bind_ipi(VcpuId(0))?;
//!     let bell = EVENTS.listen(bell, VcpuId(0)).map_err(EventError::from)?;
//!     let (seen, before) = (RINGS.load(Ordering::Relaxed), now(&registered, counter)?);
//!     let before = TIME_LINE.instant(before);
//!     bell.send()?;
//!     interrupts.wait_until(|| RINGS.load(Ordering::Relaxed) != seen);
//!     registered = interrupts.without(|| suspend(registered, counter))?;
//!     assert!(TIME_LINE.instant(now(&registered, counter)?) >= before);
//!     // After a restore, `bell` is stale: dropping it closes nothing.
//!     assert_eq!(bell.channel().is_current(), bell.channel().status().is_ok());
//! }
//! # Ok(())
//! # }
//! # xen_sim::storm(xen_sim::Profile::DOMU, 50, kernel);
//! ```
//!
//! A handle that borrows the registered value cannot be kept across a suspend:
//!
//! ```compile_fail,E0505
//! # use xen_hal::{clock::SystemTime, hypercall::Hypercall, platform::AddressSpace};
//! # use xen_hal::suspend::Registered;
//! fn stale<H: Hypercall + Copy, A: AddressSpace + Copy>(registered: Registered<H, A>) -> u32 {
//!     let shared = registered.shared_info();
//!     let _ = registered.suspend(SystemTime::default());
//!     shared.wallclock().sec
//! }
//! ```

#![allow(clippy::result_large_err, reason = "the errors return everything that is registered")]

use core::fmt;
use core::ptr::NonNull;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use core::time::Duration;

use xen_pac::hvm::CallbackVia;
use xen_pac::shared_info::{SharedInfo, VcpuInfo, raw};
use xen_pac::vcpu::raw as runs;

use crate::Error;
use crate::clock::{Monotonic, SystemTime};
use crate::event::AnyDispatcher;
use crate::grant::{GrantTable, GrantTablePlace, MapTarget, PageMemory};
use crate::hvm::Hvm;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use crate::hvm::UpcallVector;
use crate::hypercall::{Errno, Hypercall};
use crate::memory::{MemoryError, WidthLatch};
use crate::platform::{AddressSpace, VcpuId};
use crate::sched::{Resumed, Sched};
use crate::vcpu::{Area, Block, RunstateArea, UpdateFlag, Vcpu, VcpuError};

/// Lists what a guest registers with Xen: at boot, and again after each restore.
#[derive(Clone, Copy, Debug)]
pub struct Setup<H, A> {
    /// The backend.
    pub xen: H,
    /// Translates pointers to guest frames.
    pub space: A,
    /// The address at which the shared page is mapped.
    pub shared_info: NonNull<raw::SharedInfo>,
    /// How Xen interrupts the guest. `None` keeps Xen's current setting. On Arm, only `None` is
    /// allowed.
    pub callback: Option<CallbackVia>,
    /// The number of vCPUs that get an upcall vector and a periodic timer.
    pub vcpus: u32,
    /// The upcall vector, which is set for each vCPU. `None` if `callback` serves all vCPUs.
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    pub upcall_vector: Option<UpcallVector>,
    /// The period of each vCPU's periodic timer.
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    pub periodic_timer: Option<Duration>,
    /// The [`VcpuInfo`] of each vCPU, by its number. vCPUs beyond the end use the shared page.
    pub vcpu_infos: &'static [Area<raw::VcpuInfo>],
    /// The dispatcher of the domain's events. It delivers no events from a suspend to the end of
    /// the restore. After the restore, all ports are masked and have no listener, as after
    /// [`attach`](crate::event::Dispatcher::attach).
    pub dispatcher: Option<&'static dyn AnyDispatcher>,
    /// The runstate area of each vCPU, registered by its virtual address.
    pub runstates: &'static [Area<runs::VcpuRunstateInfo>],
    /// The memory for a second copy of each vCPU's time, registered by its virtual address.
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    pub times: &'static [Area<raw::VcpuTimeInfo>],
    /// The address at which the grant table is mapped, and its storage.
    pub grant_table: Option<GrantTablePlace>,
    /// The kernel's time line, which continues after a restore.
    pub time_line: Option<&'static Monotonic>,
}

// SAFETY: `shared_info` is an address, and only handles access the memory there.
unsafe impl<H: Send, A: Send> Send for Setup<H, A> {}
// SAFETY: as above.
unsafe impl<H: Sync, A: Sync> Sync for Setup<H, A> {}

impl<H: Hypercall + Copy, A: AddressSpace + Copy> Setup<H, A> {
    /// Creates a setup that registers the shared page only. Set other fields with, for example,
    /// `Setup { vcpus: 2, ..Setup::new(xen, space, page) }`.
    pub const fn new(xen: H, space: A, shared_info: NonNull<raw::SharedInfo>) -> Self {
        Self {
            xen,
            space,
            shared_info,
            callback: None,
            vcpus: 1,
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            upcall_vector: None,
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            periodic_timer: None,
            vcpu_infos: &[],
            dispatcher: None,
            runstates: &[],
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            times: &[],
            grant_table: None,
            time_line: None,
        }
    }

    /// Registers everything in the setup. Call it once, at boot, on the first vCPU and before the
    /// others are up.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if a step fails. To retry from that step, call `register` on its
    /// `restored`.
    ///
    /// # Safety
    ///
    /// For the rest of the domain's life:
    /// - the caller meets the obligations of [`WidthLatch::map_shared_info`] for the shared page,
    ///   of [`GrantTable::map`] for the grant table, and of [`Vcpu::register_runstate`] for
    ///   [`runstates`](Self::runstates) and `times`. Those methods forbid a restore;
    ///   here, [`Registered::suspend`] is permitted;
    /// - whenever `suspend` is called, no other vCPU uses the [`dispatcher`](Self::dispatcher), and
    ///   the call interrupts no handler that uses it;
    /// - `register` is called only once, so that there is at most one [`Registered`] or
    ///   [`Restored`].
    pub unsafe fn register(self) -> Result<Registered<H, A>, RestoreError<H, A>> {
        let boot = Restored { setup: self, done: 0, latch: None, flag: None, rebase: false };
        boot.register(|_| Ok(SystemTime::default()))
    }
}

/// A domain that has registered its [`Setup`]. Handles that a suspend invalidates borrow this
/// value.
///
/// Interrupt handlers use the [`dispatcher`](Setup::dispatcher) of the setup, which is attached
/// while this value exists.
#[derive(Debug)]
#[must_use = "only this value can suspend the guest"]
pub struct Registered<H, A> {
    setup: Setup<H, A>,
    latch: WidthLatch<H>,
    flag: Option<UpdateFlag>,
}

impl<H: Hypercall + Copy, A: AddressSpace + Copy> Registered<H, A> {
    /// Returns the backend.
    pub const fn hypercall(&self) -> H {
        self.setup.xen
    }

    /// Returns the proof that Xen has latched the word width.
    #[must_use]
    pub const fn latch(&self) -> WidthLatch<H> {
        self.latch
    }

    /// Returns the shared page.
    #[must_use]
    pub const fn shared_info(&self) -> SharedInfo<'_> {
        // SAFETY: the page is mapped there as long as this value exists.
        unsafe { SharedInfo::from_ptr(self.setup.shared_info) }
    }

    /// Returns a vCPU's `vcpu_info`: its registered area, or the one in the shared page.
    #[must_use]
    pub fn vcpu_info(&self, vcpu: VcpuId) -> Option<VcpuInfo<'_>> {
        let vcpu = vcpu.0 as usize;
        let area = self.setup.vcpu_infos.get(vcpu).and_then(Area::vcpu_info);
        area.or_else(|| self.shared_info().vcpu_info(vcpu))
    }

    /// Returns the run times of a vCPU, if they are registered.
    #[must_use]
    pub fn runstate(&self, vcpu: VcpuId) -> Option<RunstateArea> {
        self.setup.runstates.get(vcpu.0 as usize)?.runstate()
    }

    /// Returns the proof that Xen marks the run times while it writes them; `None` before Xen 4.8,
    /// and if no run times are registered.
    #[must_use]
    pub const fn update_flag(&self) -> Option<UpdateFlag> {
        self.flag
    }

    /// Returns the time line that continues after a restore, if there is one.
    #[must_use]
    pub const fn time_line(&self) -> Option<&'static Monotonic> {
        self.setup.time_line
    }

    /// Returns the grant table, if it is registered.
    pub fn grant_table(&self) -> Option<GrantTable<'_, H, A>> {
        self.setup.grant_table.map(|place| GrantTable::at(self.setup.xen, self.setup.space, place))
    }

    /// Creates a target at which a foreign grant can be mapped until the domain is suspended.
    ///
    /// # Errors
    ///
    /// As for [`MapTarget::new`].
    ///
    /// # Safety
    ///
    /// As for [`MapTarget::new`], except that [`suspend`](Self::suspend) may suspend the domain.
    pub unsafe fn map_target(
        &self,
        page: NonNull<PageMemory>,
    ) -> Result<MapTarget<'_>, MemoryError> {
        // SAFETY: a suspend consumes this value, which the target borrows. The caller's other
        // obligations are the same.
        unsafe { MapTarget::new(&self.setup.space, page) }
    }

    /// Suspends the domain. Returns after it was restored or the suspend was cancelled. `now` is
    /// the system time, from which the time line continues.
    ///
    /// All other vCPUs must be down: Xen up to 4.17 does not register the [`VcpuInfo`] of another
    /// vCPU that is up. Xen saves nothing of a vCPU that is down: after a restore, initialise it
    /// again before it is brought up. Interrupts must be off until everything is registered again.
    ///
    /// # Errors
    ///
    /// [`SuspendError`] if Xen refuses. No known Xen does.
    pub fn suspend(self, now: SystemTime) -> Result<Suspended<H, A>, SuspendError<H, A>> {
        let Self { setup, .. } = self;
        if let Some(line) = setup.time_line {
            line.note(now);
        }
        let events = setup.dispatcher.map(|dispatcher| dispatcher.core());
        let paused = events.map(|events| (events, events.pause()));
        let resume = || paused.map(|(events, shared)| events.resume(shared));
        // SAFETY: handles of the shared page and the grant table, values made from them, and
        // mappings at a target of this value borrow it, so none exist. `register` requires that
        // there are no others.
        match unsafe { Sched::new(setup.xen).suspend() } {
            Ok(Resumed::Cancelled) => {
                resume();
                Ok(Suspended::Cancelled(self))
            }
            Ok(Resumed::Restored) => {
                if let Some(events) = events {
                    events.detach();
                }
                if let Some(grants) = setup.grant_table {
                    // SAFETY: the domain was restored, and no value made from the table exists, as
                    // above.
                    unsafe { grants.table_lost() };
                }
                let (latch, flag) = (None, None);
                Ok(Suspended::Restored(Restored { setup, done: 0, latch, flag, rebase: true }))
            }
            Err(errno) => {
                resume();
                Err(SuspendError { registered: self, errno })
            }
        }
    }
}

/// How a domain continues after a suspend.
#[derive(Debug)]
#[must_use = "a restored domain must register its setup again"]
pub enum Suspended<H, A> {
    /// The suspend was cancelled. All registrations are unchanged.
    Cancelled(Registered<H, A>),
    /// The domain was restored, on this host or another. Nothing is registered.
    Restored(Restored<H, A>),
}

/// A domain whose [`Setup`] is not completely registered: at boot, or after a restore.
#[derive(Debug)]
#[must_use = "the setup must be registered again"]
pub struct Restored<H, A> {
    setup: Setup<H, A>,
    /// The number of steps that have succeeded.
    done: usize,
    latch: Option<WidthLatch<H>>,
    flag: Option<UpdateFlag>,
    rebase: bool,
}

impl<H: Hypercall + Copy, A: AddressSpace + Copy> Restored<H, A> {
    /// Registers the setup again, and continues the time line. `now` reads the system time. It is
    /// called after a restore only, and only if there is a time line; events are not delivered yet.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if a step fails. To retry from that step, call `register` on its
    /// `restored`.
    pub fn register(
        mut self,
        now: impl FnOnce(&Registered<H, A>) -> Result<SystemTime, Error>,
    ) -> Result<Registered<H, A>, RestoreError<H, A>> {
        let latch = match self.register_all() {
            Ok(latch) => latch,
            Err(error) => return Err(RestoreError { restored: self, error }),
        };
        let registered = Registered { setup: self.setup, latch, flag: self.flag };
        if let Some(line) = self.setup.time_line.filter(|_| self.rebase) {
            match now(&registered) {
                Ok(now) => line.rebase(now),
                Err(error) => return Err(RestoreError { restored: self, error }),
            }
        }
        if let Some(dispatcher) = self.setup.dispatcher {
            let events = dispatcher.core();
            // SAFETY: the page is mapped until a suspend, which detaches the dispatcher before.
            events.attach(unsafe { SharedInfo::from_ptr(self.setup.shared_info) });
            for (area, vcpu) in self.setup.vcpu_infos.iter().zip(0..) {
                if let Some(info) = area.vcpu_info() {
                    // The only error is that the dispatcher has no such vCPU. Such a vCPU handles
                    // no events.
                    let _ = events.attach_vcpu(VcpuId(vcpu), info);
                }
            }
        }
        Ok(registered)
    }

    fn register_all(&mut self) -> Result<WidthLatch<H>, Error> {
        let setup = self.setup;
        let Setup { xen, space, .. } = setup;
        let mut steps = Steps { done: &mut self.done, next: 0 };
        // First, because Xen lays out the following memory by the width.
        let latch = match (self.latch, setup.callback) {
            (Some(latch), _) => latch,
            (None, Some(via)) => *self.latch.insert(Hvm::new(xen).set_callback_via(via)?),
            (None, None) => *self.latch.insert(WidthLatch::new(xen)?),
        };
        steps.once(|| {
            // SAFETY: `Setup::register` demands that the place is reserved. The handles that exist
            // later borrow a `Registered`.
            unsafe { latch.map_shared_info(&space, setup.shared_info) }?;
            Ok(())
        })?;
        // Before the vectors and the clock, which use the `vcpu_info`s.
        steps.areas(setup.vcpu_infos, &space, latch, |vcpu, area| {
            Vcpu::new(xen, vcpu).register_vcpu_info(&space, latch, area).map(drop)
        })?;
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        if let Some(vector) = setup.upcall_vector {
            for vcpu in 0..setup.vcpus {
                steps.once(|| Ok(Hvm::new(xen).set_upcall_vector(VcpuId(vcpu), vector)?))?;
            }
        }
        if let Some(place) = setup.grant_table {
            // SAFETY: `Setup::register` demands that the place is reserved. The handles that exist
            // later borrow a `Registered`.
            steps.once(|| Ok(unsafe { GrantTable::map_at(xen, space, place) }.map(drop)?))?;
        }
        // Before the areas, so that Xen marks every update of the run times that the guest reads.
        if !setup.runstates.is_empty() {
            steps.once(|| match UpdateFlag::request(xen) {
                // Without the flag, the vCPU's own times can be read all the same.
                Err(error) if matches!(error.errno(), Some(Errno::EINVAL | Errno::ENOSYS)) => {
                    Ok(())
                }
                flag => {
                    self.flag = Some(flag?);
                    Ok(())
                }
            })?;
        }
        steps.areas(setup.runstates, &space, latch, |vcpu, area| {
            // SAFETY: the caller of `Setup::register` guarantees that page tables map the areas.
            unsafe { Vcpu::new(xen, vcpu).register_runstate(latch, area) }.map(drop)
        })?;
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        {
            steps.areas(setup.times, &space, latch, |vcpu, area| {
                // SAFETY: as above.
                unsafe { Vcpu::new(xen, vcpu).register_time(area) }.map(drop)
            })?;
            for vcpu in (0..setup.vcpus).filter(|_| setup.periodic_timer.is_some()) {
                let period = setup.periodic_timer.unwrap_or_default();
                steps.once(|| Ok(Vcpu::new(xen, VcpuId(vcpu)).set_periodic_timer(period)?))?;
            }
        }
        Ok(latch)
    }
}

/// Runs the steps of a registration, and skips those that have already succeeded.
struct Steps<'a> {
    done: &'a mut usize,
    next: usize,
}

impl Steps<'_> {
    fn once(&mut self, step: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        if self.next == *self.done {
            step()?;
            *self.done = self.next.saturating_add(1);
        }
        self.next = self.next.saturating_add(1);
        Ok(())
    }

    /// Registers the area of each vCPU: the first time with `first`, later with `reregister`.
    fn areas<T: Block>(
        &mut self,
        areas: &'static [Area<T>],
        space: &impl AddressSpace,
        latch: WidthLatch<impl Hypercall + Copy>,
        first: impl Fn(VcpuId, &'static Area<T>) -> Result<(), VcpuError>,
    ) -> Result<(), Error> {
        for (area, vcpu) in areas.iter().zip(0..) {
            self.once(|| {
                let taken = area.is_taken();
                Ok(if taken { area.reregister(space, latch) } else { first(VcpuId(vcpu), area) }?)
            })?;
        }
        Ok(())
    }
}

/// Xen refused to suspend the domain. All registrations are unchanged.
#[derive(Debug)]
#[non_exhaustive]
pub struct SuspendError<H, A> {
    /// The registered setup.
    pub registered: Registered<H, A>,
    /// Xen's reason.
    pub errno: Errno,
}

/// A step of the registration failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct RestoreError<H, A> {
    /// The registration, which can be continued.
    pub restored: Restored<H, A>,
    /// The reason.
    pub error: Error,
}

impl<H, A> fmt::Display for SuspendError<H, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot suspend the domain: {}", self.errno)
    }
}

impl<H, A> fmt::Display for RestoreError<H, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot register everything: {}", self.error)
    }
}

impl<H: fmt::Debug, A: fmt::Debug> core::error::Error for SuspendError<H, A> {}

impl<H: fmt::Debug, A: fmt::Debug> core::error::Error for RestoreError<H, A> {}
