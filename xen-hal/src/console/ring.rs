//! The console ring (upstream: `xen/include/public/io/console.h`).

use xen_pac::console_ring::XenconsInterface;

use super::ConsoleError;
use crate::event::{Events, Port};
use crate::hypercall::Hypercall;
use crate::ring::{ByteConsumer, ByteProducer, ByteRing, EmptiedRing, FilledRing, Wait};

/// The guest's side of the console ring. No method waits.
#[derive(Debug)]
pub(super) struct RingConsole<'a> {
    page: XenconsInterface<'a>,
    port: Port,
    written: ByteProducer,
    read: ByteConsumer,
    /// The backend's position when the console gave up waiting for it.
    given_up_at: Option<u32>,
}

impl<'a> RingConsole<'a> {
    pub(super) fn new(page: XenconsInterface<'a>, port: Port) -> Self {
        let written = ByteProducer::new(output(page));
        Self { page, port, written, read: ByteConsumer::new(input(page)), given_up_at: None }
    }

    pub(super) const fn port(&self) -> Port {
        self.port
    }

    /// Writes as many bytes as fit, without a notification.
    pub(super) fn put(&mut self, bytes: &[u8]) -> usize {
        self.written.write(output(self.page), bytes)
    }

    /// Waits for the backend to read. Fails at once if an earlier wait gave up and the backend has
    /// not read since.
    pub(super) fn wait(&mut self, wait: &mut impl Wait, attempt: u32) -> Result<(), ConsoleError> {
        let now = self.page.out_cons().load();
        if self.given_up_at != Some(now) && wait.wait(self.port, attempt).is_continue() {
            return Ok(());
        }
        self.given_up_at = Some(now);
        Err(ConsoleError::Stalled)
    }

    /// True if the backend has read everything.
    pub(super) fn is_drained(&self) -> bool {
        self.written.is_drained(output(self.page))
    }

    /// Reads the available bytes, and notifies the backend that there is room.
    pub(super) fn take(
        &mut self,
        xen: impl Hypercall + Copy,
        bytes: &mut [u8],
    ) -> Result<usize, ConsoleError> {
        let count = self.read.read(input(self.page), bytes);
        if count > 0 {
            self.notify(xen)?;
        }
        Ok(count)
    }

    pub(super) fn has_input(&self) -> bool {
        self.read.available(input(self.page)) > 0
    }

    pub(super) fn notify(&self, xen: impl Hypercall + Copy) -> Result<(), ConsoleError> {
        Events::new(xen).send(self.port).map_err(ConsoleError::Refused)
    }
}

fn output(page: XenconsInterface<'_>) -> FilledRing<'_> {
    ByteRing { buffer: page.output(), producer: page.out_prod(), consumer: page.out_cons() }
}

fn input(page: XenconsInterface<'_>) -> EmptiedRing<'_> {
    ByteRing { buffer: page.input(), producer: page.in_prod(), consumer: page.in_cons() }
}
