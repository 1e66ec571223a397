//! What is compared after each step, and once in a while: shared pages, the pages that come and go,
//! and ports.

use core::fmt::{self, Write};
use core::mem::offset_of;

use xen_hal::platform::PAGE_SIZE;
use xen_pac::base::Domid;
use xen_pac::shared_info::raw;

use super::super::{KEPT, SPARE, STATUS, TABLE, TARGETS};
use super::{Interpreter, Text, VCPUS};
use crate::Machine;

/// The ports whose bits are compared.
const PORTS: usize = 256;
/// The first entries of the grant table, in bytes, and of their status, which are compared.
const ENTRIES: usize = 256;
/// Replaces the peer's number in lines.
const NUMBER_OF_PEER: u32 = 0x7fee;

/// What is in shared pages.
#[derive(Clone, Copy, Default)]
pub(super) struct Shared {
    pending: [u8; PORTS / 8],
    mask: [u8; PORTS / 8],
    upcall: [u8; VCPUS],
    selector: [usize; VCPUS],
    entries: u32,
    status: u32,
}

fn hash(words: impl Iterator<Item = u32>) -> u32 {
    words.fold(0x811c_9dc5, |hash, word| (hash ^ word).wrapping_mul(0x0100_0193))
}

impl<M: Machine> Interpreter<'_, M> {
    /// Replaces the number of the caller or its peer in the lower half of a 32-bit word, which
    /// differs from run to run.
    pub(super) fn without_numbers(&self, word: u32) -> u32 {
        let number = match u64::from(word & 0xffff) {
            me if me == self.me => u32::from(Domid::SELF.0),
            peer if peer != 0 && peer == self.plan.peer => NUMBER_OF_PEER,
            _ => return word,
        };
        word & !0xffff | number
    }

    /// The same in the upper half: in the first word of an entry of the grant table.
    fn head(&self, word: u32) -> u32 {
        self.without_numbers(word.rotate_left(16)).rotate_right(16)
    }

    /// Replaces what differs from run to run in a word of a page: the frame and the domain of an
    /// entry of the grant table, whose pages come and go too.
    fn without_host(&self, index: usize, word: u32) -> u32 {
        let is_frame = if self.version == 2 { index % 4 == 2 } else { index % 2 == 1 };
        let page = self.frames.iter().position(|frame| *frame as u32 == word);
        match page.filter(|_| is_frame) {
            Some(page) => u32::MAX - page as u32,
            None => self.head(word),
        }
    }

    pub(super) fn look(&self) -> Shared {
        let page = self.page(0);
        let bits = |from: usize| core::array::from_fn(|byte| self.word::<u8>(page + from + byte));
        // Frames and the caller's number differ from run to run: only the flags and the other
        // domains of entries count.
        let stride = if self.version == 2 { 16 } else { 8 };
        let words = |at: usize, stride: usize| {
            (0..ENTRIES).step_by(stride).map(move |byte| self.word::<u32>(at + byte))
        };
        let block = |vcpu: usize, offset: usize| {
            Some(self.blocks[vcpu]).filter(|at| *at != 0).map(|at| at + offset)
        };
        let selector = offset_of!(raw::VcpuInfo, evtchn_pending_sel);
        Shared {
            pending: bits(offset_of!(raw::SharedInfo, evtchn_pending)),
            mask: bits(offset_of!(raw::SharedInfo, evtchn_mask)),
            upcall: core::array::from_fn(|vcpu| block(vcpu, 0).map_or(0, |at| self.word::<u8>(at))),
            selector: core::array::from_fn(|vcpu| {
                let found = block(vcpu, selector).map_or(0, |at| self.word::<usize>(at));
                if self.plan.bits == 32 { usize::from(found != 0) } else { found }
            }),
            entries: hash(words(self.page(TABLE), stride).map(|word| self.head(word))),
            status: if self.version == 2 { hash(words(self.page(STATUS), 4)) } else { 0 },
        }
    }

    pub(super) fn changes(&self, now: &Shared, line: &mut Text) -> fmt::Result {
        let mut bits = |name: char, before: &[u8], now: &[u8]| {
            for (byte, (before, now)) in before.iter().zip(now).enumerate() {
                for bit in (0..8).filter(|bit| (before ^ now) >> bit & 1 != 0) {
                    let sign = if now >> bit & 1 != 0 { '+' } else { '-' };
                    write!(line, " {sign}{name}{}", byte * 8 + bit)?;
                }
            }
            Ok(())
        };
        bits('p', &self.before.pending, &now.pending)?;
        bits('m', &self.before.mask, &now.mask)?;
        for vcpu in 0..VCPUS {
            if self.before.upcall[vcpu] != now.upcall[vcpu] {
                write!(line, " u{vcpu}={:x}", now.upcall[vcpu])?;
            }
            if self.before.selector[vcpu] != now.selector[vcpu] {
                write!(line, " s{vcpu}={:x}", now.selector[vcpu])?;
            }
        }
        if self.before.entries != now.entries {
            write!(line, " e={:x}", now.entries)?;
        }
        if self.before.status != now.status {
            write!(line, " t={:x}", now.status)?;
        }
        Ok(())
    }

    /// Prints what no shared page shows: what is at the pages that come and go, as a hash, how many
    /// pages the domain has, and the state of each port.
    pub(in super::super) fn survey(&mut self, number: u32) {
        let mut line = Text::new();
        let _ = self.frames(&mut line);
        self.report(number, format_args!("{number} pages {}", line.as_str()));
        // Xen's console breaks longer lines.
        for first in (0..24).step_by(8) {
            let mut line = Text::new();
            let _ = self.ports(first..first + 8, &mut line);
            self.report(number, format_args!("{number} ports{}", line.as_str()));
        }
    }

    fn frames(&self, line: &mut Text) -> fmt::Result {
        write!(line, "{:+}", self.reservation() - self.pages)?;
        for page in SPARE..TARGETS + 4 {
            match self.copy(self.frames[page], self.frames[KEPT]) {
                0 => {
                    let kept = self.page(KEPT);
                    let words = (0..PAGE_SIZE).step_by(4).map(|byte| self.word(kept + byte));
                    let words =
                        words.enumerate().map(|(index, word)| self.without_host(index, word));
                    write!(line, " {:04x}", hash(words) >> 16)?;
                }
                error => write!(line, " {error}")?,
            }
        }
        Ok(())
    }

    /// Returns whether a port is connected to one of domain 0, which is another domain, by the
    /// addresses of its peer and its state.
    pub(super) fn is_connected_to_dom0(&self, peer: usize, status: usize) -> bool {
        self.get(status, 4) == 2 && self.get(peer, 2) == 0 && self.me != 0
    }

    fn ports(&self, ports: core::ops::Range<u64>, line: &mut Text) -> fmt::Result {
        use xen_pac::event_channel::EvtchnStatus;
        for port in ports {
            let (answer, at) = self.status(port);
            let status = self.get(at + offset_of!(EvtchnStatus, status), 4);
            if answer != 0 || status != 0 {
                let vcpu = self.get(at + offset_of!(EvtchnStatus, vcpu), 4);
                let more = offset_of!(EvtchnStatus, u);
                let (mut first, mut second) = (self.get(at + more, 4), self.get(at + more + 4, 4));
                if self.is_connected_to_dom0(at + more, at + offset_of!(EvtchnStatus, status)) {
                    second = 0;
                }
                if matches!(status, 1 | 2) {
                    first = self.without_numbers(first as u32).into();
                }
                write!(line, " {port}:{answer}/{status}/{vcpu}/{first:x}/{second:x}")?;
            }
        }
        Ok(())
    }
}
