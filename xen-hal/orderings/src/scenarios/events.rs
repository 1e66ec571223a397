//! Events: vCPUs that dispatch, mask and move ports, while Xen raises them.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker};

use xen_hal::event::{
    AllPorts, AsyncListener, Dispatcher, Events, Kind, Listener, Port, PortSet, ScanCursor,
    TwoLevel, Wakers,
};
use xen_hal::platform::VcpuId;
use xen_pac::access::atomic::{AtomicU32, Ordering::Relaxed};

use super::{BOUNDS, Run, leak};
use crate::explore::{Scenario, check, pause};
use crate::machine::Bounds;
use crate::xen::Xen;

const PORT: Port = Port(3);

/// Checks that a port without a handler's run is pending, and that its upcall is due.
fn no_event_is_lost(xen: Xen, port: u32, vcpu: u32) {
    if xen.pending().test(port) && !xen.mask().test(port) {
        check(xen.upcall(vcpu).test(0), "an event is pending, and no upcall is due");
        check(xen.selector(vcpu).test(port / 64), "an event is pending, and not selected");
    }
}

/// A port is unmasked while an event arrives.
pub(super) fn unmask(run: Run<'_>) {
    let (xen, own) = (Xen::new(), leak(PortSet::new()));
    run(&Scenario {
        reset: &|| {
            xen.reset();
            xen.mask().set(3);
            own.insert(PORT);
        },
        threads: &[
            &|| TwoLevel::new(xen.shared()).unmask(Events::new(&xen), PORT, &*own).unwrap(),
            &|| xen.send(3),
        ],
        end: &|| {
            check(!xen.mask().test(3), "the port is masked");
            check(xen.pending().test(3), "the event is gone");
            no_event_is_lost(xen, 3, 0);
        },
        bounds: BOUNDS,
    });
}

/// A dispatch that begins with an event of port 3, while an event arrives for another port.
fn dispatch(run: Run<'_>, port: u32, stop: bool, bounds: Bounds) {
    let (xen, cursor, data) = (Xen::new(), leak(ScanCursor::new()), AtomicU32::new(0));
    let (cursor, handled) = (RefCell::new(cursor), Cell::new(0));
    run(&Scenario {
        reset: &|| {
            xen.reset();
            **cursor.borrow_mut() = ScanCursor::new();
            xen.raise(3, 0);
            data.store(0, Relaxed);
            handled.set(0);
        },
        threads: &[
            &|| {
                let bitmaps = TwoLevel::new(xen.shared());
                let handle = |found: Port| {
                    if found.0 == port {
                        handled.set(handled.get() + 1);
                        check(data.load(Relaxed) == 1, "a handler misses what the peer wrote");
                    }
                };
                let _ = if stop {
                    let cursor = cursor.borrow();
                    bitmaps.try_dispatch(xen.vcpu_info(0), AllPorts, &cursor, |found| {
                        handle(found);
                        ControlFlow::Break(())
                    })
                } else {
                    bitmaps.dispatch(xen.vcpu_info(0), AllPorts, handle)
                };
            },
            &|| {
                data.store(1, Relaxed);
                xen.send(port);
            },
        ],
        end: &|| {
            no_event_is_lost(xen, port, 0);
            let left = xen.pending().test(port);
            check(left != (handled.get() == 1), "an event is lost, or handled twice");
        },
        bounds,
    });
}

/// In the same word.
pub(super) fn dispatch_same_word(run: Run<'_>) {
    dispatch(run, 5, false, Bounds { preemptions: 2, ..BOUNDS });
}

/// In another word.
pub(super) fn dispatch_other_word(run: Run<'_>) {
    dispatch(run, 70, false, BOUNDS);
}

/// With a handler that stops.
pub(super) fn dispatch_that_stops(run: Run<'_>) {
    dispatch(run, 5, true, Bounds { preemptions: 2, ..BOUNDS });
}

/// A second event of the port that is dispatched.
pub(super) fn dispatch_same_port(run: Run<'_>) {
    let (xen, data, seen) = (Xen::new(), AtomicU32::new(0), Cell::new(0));
    run(&Scenario {
        reset: &|| {
            xen.reset();
            xen.raise(3, 0);
            data.store(0, Relaxed);
            seen.set(0);
        },
        threads: &[
            &|| {
                let handle = |_| seen.set(data.load(Relaxed));
                let _ = TwoLevel::new(xen.shared()).dispatch(xen.vcpu_info(0), AllPorts, handle);
            },
            &|| {
                data.store(1, Relaxed);
                xen.send(3);
            },
        ],
        end: &|| {
            no_event_is_lost(xen, 3, 0);
            let done = xen.pending().test(3) || seen.get() == 1;
            check(done, "the handler of the last event misses what the peer wrote");
        },
        bounds: BOUNDS,
    });
}

/// A vCPU that waits for a masked port takes the event, then looks for what it announces.
pub(super) fn poll(run: Run<'_>) {
    let (xen, data, seen) = (Xen::new(), AtomicU32::new(0), Cell::new(0));
    run(&Scenario {
        reset: &|| {
            xen.reset();
            xen.mask().set(3);
            xen.pending().set(3);
            data.store(0, Relaxed);
            seen.set(0);
        },
        threads: &[
            &|| {
                TwoLevel::new(xen.shared()).clear(PORT);
                seen.set(data.load(Relaxed));
            },
            &|| {
                data.store(1, Relaxed);
                xen.send(3);
            },
        ],
        end: &|| check(xen.pending().test(3) || seen.get() == 1, "an event is lost"),
        bounds: BOUNDS,
    });
}

/// A vCPU that sees a pending event also sees what it announces.
pub(super) fn look(run: Run<'_>) {
    let (xen, data) = (Xen::new(), AtomicU32::new(0));
    run(&Scenario {
        reset: &|| {
            xen.reset();
            data.store(0, Relaxed);
        },
        threads: &[
            &|| {
                if TwoLevel::new(xen.shared()).is_pending(PORT) {
                    check(data.load(Relaxed) == 1, "an event is seen before what it announces");
                }
            },
            &|| {
                data.store(1, Relaxed);
                xen.send(3);
            },
        ],
        end: &|| {},
        bounds: BOUNDS,
    });
}

/// A listener of port 3 on vCPU 0, whose event is pending.
struct Domain {
    xen: Xen,
    dispatcher: NonNull<Dispatcher<2>>,
    listener: Cell<Option<Listener<'static, &'static Xen>>>,
}

impl Domain {
    fn new() -> Self {
        let xen = Xen::new();
        let dispatcher = NonNull::from(leak(Dispatcher::new()));
        Self { xen, dispatcher, listener: Cell::new(None) }
    }

    fn events(&self) -> &'static Dispatcher<2> {
        // SAFETY: the memory is leaked; the dispatcher consists of atomics.
        unsafe { self.dispatcher.as_ref() }
    }

    fn channel(&self) -> xen_hal::event::Channel<&'static Xen> {
        let xen: &'static Xen = leak(self.xen);
        Events::new(xen).adopt(PORT, Kind::Interdomain, VcpuId(0))
    }

    /// Attaches the dispatcher. The port has a listener on vCPU 0.
    fn reset(&self) {
        std::mem::forget(self.listener.take());
        self.xen.reset();
        // SAFETY: the memory is leaked, and no thread of a scenario runs.
        unsafe { self.dispatcher.write(Dispatcher::new()) };
        self.events().attach(self.xen.shared());
        let listener = self.events().listen(self.channel(), VcpuId(0)).map_err(|error| error.error);
        self.listener.set(Some(listener.expect("the dispatcher is attached")));
    }

    fn dispatch(&self, vcpu: u32, handler: impl FnMut(Port)) {
        let _ = self.events().dispatch(VcpuId(vcpu), handler);
    }
}

/// Another vCPU masks a port and waits for its handler, then frees what the handler uses.
pub(super) fn idle(run: Run<'_>) {
    let (domain, data, freed) = (Domain::new(), AtomicU32::new(0), AtomicU32::new(0));
    run(&Scenario {
        reset: &|| {
            domain.reset();
            domain.xen.raise(3, 0);
            data.store(0, Relaxed);
            freed.store(0, Relaxed);
        },
        threads: &[
            &|| {
                domain.dispatch(0, |_| {
                    check(freed.load(Relaxed) == 0, "a handler uses what was freed");
                    data.store(1, Relaxed);
                });
            },
            &|| {
                domain.events().mask(PORT);
                domain.events().wait_until_idle(VcpuId(0), pause);
                freed.store(1, Relaxed);
                data.store(2, Relaxed);
            },
        ],
        end: &|| check(data.load(Relaxed) == 2, "a handler writes to what was freed"),
        bounds: Bounds { preemptions: 2, repeats: 3, ..BOUNDS },
    });
}

/// A port with an event moves to another vCPU, which dispatches then.
pub(super) fn migrate(run: Run<'_>) {
    let (domain, runs) = (Domain::new(), AtomicU32::new(0));
    let handled = Cell::new(0);
    let handler = |_| {
        // Not atomic: the handler never runs on both vCPUs.
        let before = runs.load(Relaxed);
        runs.store(before + 1, Relaxed);
        handled.set(handled.get() + 1);
    };
    run(&Scenario {
        reset: &|| {
            domain.reset();
            domain.xen.raise(3, 0);
            runs.store(0, Relaxed);
            handled.set(0);
        },
        threads: &[&|| domain.dispatch(0, handler), &|| {
            let events = Events::new(&domain.xen);
            let moved = domain.events().migrate(events, PORT, VcpuId(1), pause);
            check(moved.is_ok(), "the port has no listener");
            domain.dispatch(1, handler);
        }],
        end: &|| {
            check(runs.load(Relaxed) == handled.get(), "a handler misses what another one wrote");
            no_event_is_lost(domain.xen, 3, 1);
            let left = u32::from(domain.xen.pending().test(3));
            check(handled.get() + left == 1, "an event is lost, or handled twice");
        },
        bounds: Bounds { preemptions: 2, repeats: 3, ..BOUNDS },
    });
}

/// A vCPU begins to listen to a port with an event, which another vCPU dispatches.
pub(super) fn listen(run: Run<'_>) {
    let (xen, own) = (Xen::new(), leak(PortSet::new()));
    let handled = Cell::new(0);
    run(&Scenario {
        reset: &|| {
            xen.reset();
            own.clear();
            xen.mask().set(3);
            handled.set(0);
        },
        threads: &[
            &|| {
                own.insert(PORT);
                TwoLevel::new(xen.shared()).unmask(Events::new(&xen), PORT, &*own).unwrap();
            },
            &|| xen.send(3),
            &|| {
                let handle = |_| handled.set(handled.get() + 1);
                let _ = TwoLevel::new(xen.shared()).dispatch(xen.vcpu_info(0), &*own, handle);
            },
        ],
        end: &|| {
            no_event_is_lost(xen, 3, 0);
            check(xen.pending().test(3) != (handled.get() == 1), "an event is lost");
        },
        bounds: Bounds { preemptions: 2, repeats: 3, ..BOUNDS },
    });
}

/// The dispatcher is attached while a vCPU dispatches: all ports are masked by then.
pub(super) fn attach(run: Run<'_>) {
    let domain = Domain::new();
    run(&Scenario {
        reset: &|| {
            domain.reset();
            domain.events().detach();
            domain.xen.reset();
            domain.xen.raise(3, 0);
        },
        threads: &[&|| domain.events().attach(domain.xen.shared()), &|| {
            domain.dispatch(0, |_| check(false, "a handler runs for a masked port"))
        }],
        end: &|| {},
        bounds: Bounds { accesses: [400; 4], ..BOUNDS },
    });
}

/// A vCPU that finds its block sees what was written before the dispatcher got it.
fn block(run: Run<'_>, publish: &dyn Fn(&Domain)) {
    let (domain, data) = (Domain::new(), AtomicU32::new(0));
    run(&Scenario {
        reset: &|| {
            domain.reset();
            domain.events().detach();
            domain.xen.reset();
            data.store(0, Relaxed);
        },
        threads: &[
            &|| {
                data.store(1, Relaxed);
                publish(&domain);
            },
            &|| {
                if domain.events().vcpu_info(VcpuId(1)).is_some() {
                    check(data.load(Relaxed) == 1, "a block is used before it is filled");
                }
            },
        ],
        end: &|| {},
        bounds: Bounds { accesses: [400; 4], ..BOUNDS },
    });
}

/// By attaching the shared page.
pub(super) fn vcpu_info(run: Run<'_>) {
    block(run, &|domain| domain.events().attach(domain.xen.shared()));
}

/// By attaching the block.
pub(super) fn attach_vcpu(run: Run<'_>) {
    block(run, &|domain| {
        let attached = domain.events().attach_vcpu(VcpuId(1), domain.xen.vcpu_info(1));
        check(attached.is_ok(), "the vCPU does not exist");
    });
}

/// A task that waits for an event sees what the handler wrote.
pub(super) fn wakers(run: Run<'_>) {
    let (domain, data) = (Domain::new(), AtomicU32::new(0));
    let wakers: &'static Wakers<8> = leak(Wakers::new());
    let task: RefCell<Option<AsyncListener<'static, &'static Xen>>> = RefCell::new(None);
    run(&Scenario {
        reset: &|| {
            std::mem::forget(task.borrow_mut().take());
            domain.reset();
            let listener = wakers.listen(domain.events(), domain.channel(), VcpuId(0));
            *task.borrow_mut() = Some(listener.map_err(|error| error.error).unwrap());
            data.store(0, Relaxed);
        },
        threads: &[
            &|| {
                data.store(1, Relaxed);
                wakers.wake(PORT);
            },
            &|| {
                let mut task = task.borrow_mut();
                let polled =
                    task.as_mut().map(|task| task.poll_wait(&Context::from_waker(Waker::noop())));
                if polled == Some(Poll::Ready(())) {
                    check(data.load(Relaxed) == 1, "a task misses what the handler wrote");
                }
            },
        ],
        end: &|| {},
        bounds: BOUNDS,
    });
}
