//! Implements statics of a simulated domain.

use core::any::{Any, TypeId};
use core::cell::RefCell;
use core::fmt;
use std::collections::HashMap;

use crate::vcpu;

/// A static variable of which each simulated domain has its own value.
///
/// A kernel runs in one domain, and stores its dispatcher, its alarms and its queues in statics. A
/// test process has many domains: several in a machine, and machines on several threads. Use this
/// type in place of a plain static:
///
/// ```
/// use xen_hal::event::Dispatcher;
/// use xen_sim::DomainLocal;
///
/// static EVENTS: DomainLocal<Dispatcher> = DomainLocal::new(Dispatcher::new);
///
/// fn dispatcher() -> &'static Dispatcher {
///     EVENTS.get()
/// }
/// # assert!(core::ptr::eq(dispatcher(), dispatcher()));
/// ```
///
/// Outside a machine, each thread has its own value. Values are never dropped, as a kernel's
/// statics are not.
pub struct DomainLocal<T: 'static> {
    make: fn() -> T,
}

/// The address of the variable, its type, and the domain.
type Key = (usize, TypeId, Option<usize>);

thread_local! {
    /// The values of one machine, because each machine runs on a separate thread.
    static VALUES: RefCell<HashMap<Key, &'static dyn Any>> = RefCell::default();
}

impl<T: 'static> DomainLocal<T> {
    /// Creates a variable. When a domain first uses it, `make` creates the domain's value.
    #[must_use]
    pub const fn new(make: fn() -> T) -> Self {
        Self { make }
    }

    /// Returns the calling domain's value.
    pub fn get(&'static self) -> &'static T {
        let domain = vcpu::try_current().map(|current| current.me.domain);
        let key = (core::ptr::from_ref(self).addr(), TypeId::of::<T>(), domain);
        let found = VALUES.with_borrow(|values| values.get(&key).copied());
        let value = found.unwrap_or_else(|| {
            // Calls `make` before borrowing the map, because it can use other variables.
            let value: &'static dyn Any = Box::leak(Box::new((self.make)()));
            VALUES.with_borrow_mut(|values| *values.entry(key).or_insert(value))
        });
        value.downcast_ref().expect("the key has the type")
    }
}

impl<T: 'static> fmt::Debug for DomainLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainLocal").finish_non_exhaustive()
    }
}
