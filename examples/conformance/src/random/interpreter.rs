//! Carries out the steps of a random program, and prints what they did.

mod survey;

use core::fmt::{self, Write};
use core::mem::offset_of;
use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

use xen_hal::event::Events;
use xen_hal::hypercall::{Errno, Hypercall, check};
use xen_hal::platform::{AddressSpace, PAGE_SIZE, VcpuId};
use xen_pac::base::Domid;
use xen_pac::command::Command as _;
use xen_pac::grant_table::{
    GNTTAB_NR_RESERVED_ENTRIES, GnttabMapGrantRef, GnttabUnmapGrantRef, command as grant,
};
use xen_pac::hvm::{HvmParam, XenHvmParam, command as hvm};
use xen_pac::hypercall::HypercallNr;
use xen_pac::memory::command as memory;
use xen_pac::shared_info::raw;
use xen_pac::vcpu::command as vcpu;

use self::survey::Shared;
use super::peer::READY;
use super::step::{Step, Value};
use super::table::{Does, Kind, LIST, NUMBER, REGISTER};
use super::{ARGUMENT, BLOCKS, KEPT, Plan, SPARE, STATUS, TABLE, TARGETS};
use crate::{Failure, Machine, PAGES};

/// The vCPUs whose blocks are compared.
const VCPUS: usize = 2;
/// The reserved entries of a table of version 1, in bytes.
const RESERVED: usize = 64;
/// The bits of a memory command that name it. The others say where Xen goes on.
const MEMORY_COMMAND: u32 = 0x3f;
/// Bytes of an argument, with its lists.
const BYTES: usize = 512;
/// An address without memory.
const NOWHERE: usize = (usize::MAX / 2) & !0xfff;

/// The kinds of what a page is filled with.
const PATTERNS: u64 = 64;

/// How many frames there are that the runtime uses on no platform.
const LOW_FRAMES: u64 = 16;

/// A grant that was mapped at a page.
#[derive(Clone, Copy)]
struct Mapped {
    reference: u64,
    /// Its mapping ended at another frame, as Arm permits: the entry at this one is still there.
    has_ended: bool,
    /// The domain has released a page since, which can be the granted one.
    is_released: bool,
}

pub(super) struct Interpreter<'a, M: Machine> {
    machine: &'a M,
    plan: Plan<'a>,
    me: u64,
    frames: [u64; PAGES],
    /// The block of each vCPU.
    blocks: [usize; VCPUS],
    /// The version of the grant table.
    version: u64,
    /// What is mapped at each page.
    mapped: [Option<Mapped>; PAGES],
    /// The handle of the last grant that was mapped at each page.
    handles: [u64; PAGES],
    /// How many pages the domain had.
    pages: isize,
    before: Shared,
    /// A hash of all lines (FNV-1a).
    digest: u64,
    /// How many steps were done.
    pub(super) done: u32,
}

/// A line that is being made.
struct Text {
    bytes: [u8; 800],
    length: usize,
}

impl Text {
    const fn new() -> Self {
        Self { bytes: [0; 800], length: 0 }
    }

    fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.length..self.length + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}

struct Digest<'a>(&'a mut u64);

impl Write for Digest<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        *self.0 = text.bytes().fold(*self.0, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Ok(())
    }
}

struct Answer(isize);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match check(self.0) {
            Ok(value) => write!(f, "{value:#x}"),
            Err(errno) => write!(f, "{errno}"),
        }
    }
}

impl<'a, M: Machine> Interpreter<'a, M> {
    pub(super) fn new(machine: &'a M, plan: Plan<'a>) -> Result<Self, Failure> {
        let world = machine.world();
        let me = world.find_me(machine)?;
        world.attach(machine)?;
        for port in (0..128).filter(|port| port % 4 == 3) {
            world.give(xen_hal::event::Port(port), VcpuId(1));
        }
        let mut frames = [0; PAGES];
        for (index, frame) in frames.iter_mut().enumerate() {
            let found = machine.space().frame_of(machine.page(index));
            *frame = found.ok_or(Failure::Broken("each page has a frame"))?.0;
        }
        let page = machine.page(0).as_ptr().expose_provenance();
        let mut blocks = [page, page + size_of::<raw::VcpuInfo>()];
        if plan.is_arm {
            blocks[1] = 0;
        }
        (1..PAGES).for_each(|index| {
            machine.page(index).as_ptr().expose_provenance();
        });
        let mut new = Self {
            machine,
            plan,
            me: me.0.into(),
            frames,
            blocks,
            version: 1,
            mapped: [None; PAGES],
            handles: [0; PAGES],
            pages: 0,
            before: Shared::default(),
            digest: 0xcbf2_9ce4_8422_2325,
            done: 0,
        };
        new.await_rings();
        new.await_peer()?;
        new.empty_low_frames();
        machine.start(VcpuId(1), |machine| machine.world().mail.serve(machine))?;
        new.put_back(1, 0, TABLE);
        // A toolstack fills the reserved entries.
        let table = new.page(TABLE);
        (0..RESERVED).step_by(8).for_each(|byte| new.set(table + byte, 0_u64));
        (SPARE..TARGETS).for_each(|page| new.fill(new.frames[page], page as u64));
        new.pages = new.reservation();
        new.before = new.look();
        Ok(new)
    }

    fn call(&self, number: u32, arguments: [usize; 4]) -> isize {
        let [a, b, c, d] = arguments;
        // SAFETY: what the arguments point to is the program's own, or nothing at all.
        unsafe { self.machine.xen().call5(number, a, b, c, d, 0) }
    }

    fn page(&self, index: usize) -> usize {
        self.machine.page(index).addr().get()
    }

    fn word<T: Copy>(&self, at: usize) -> T {
        // SAFETY: the page is mapped, and the program's own or shared.
        unsafe { with_exposed_provenance::<T>(at).read_volatile() }
    }

    fn set<T>(&self, at: usize, value: T) {
        // SAFETY: as above.
        unsafe { with_exposed_provenance_mut::<T>(at).write_volatile(value) };
    }

    fn put(&self, at: usize, size: usize, value: u64) {
        (0..size.min(8)).for_each(|byte| self.set(at + byte, (value >> (byte * 8)) as u8));
    }

    fn get(&self, at: usize, size: usize) -> u64 {
        (0..size.min(8))
            .fold(0, |value, byte| value | u64::from(self.word::<u8>(at + byte)) << (byte * 8))
    }

    fn argument(&self) -> usize {
        self.page(ARGUMENT) + BYTES
    }

    fn clear_argument(&self) -> usize {
        let at = self.argument();
        (0..BYTES).step_by(8).for_each(|byte| self.set(at + byte, 0_u64));
        at
    }

    fn resolve(&self, value: Value) -> u64 {
        match value {
            Value::Plain(value) => value,
            Value::Frame(page) => self.frames[page],
            Value::Physical(page, offset) => (self.frames[page] << 12) + offset,
            Value::Handle(page) => self.handles[page],
            Value::Page(page, offset) => self.page(page) as u64 + offset,
            Value::Argument(offset) => (self.argument() + offset) as u64,
            Value::Nowhere => NOWHERE as u64,
            Value::Me => self.me,
            Value::Peer => self.plan.peer,
        }
    }

    /// Waits until domain 0 has mapped the rings that it serves and opened their channels. It does
    /// so while the guest runs.
    fn await_rings(&self) {
        use xen_pac::event_channel::{EvtchnState, EvtchnStatus};
        for ring in [HvmParam::STORE_EVTCHN, HvmParam::CONSOLE_EVTCHN] {
            let at = self.clear_argument();
            self.put(at + offset_of!(XenHvmParam, domid), 2, Domid::SELF.0.into());
            self.put(at + offset_of!(XenHvmParam, index), 4, ring.0.into());
            self.call(HypercallNr::HVM_OP.0, [hvm::GetParam::NUMBER as usize, at, 0, 0]);
            let port = self.get(at + offset_of!(XenHvmParam, value), 8);
            let is_unbound = || {
                let (answer, at) = self.status(port);
                let status = self.get(at + offset_of!(EvtchnStatus, status), 4);
                answer == 0 && status == EvtchnState::UNBOUND.0.into()
            };
            while is_unbound() {
                self.machine.relax();
            }
        }
    }

    /// Waits until the peer has granted its pages and left its ports unbound.
    fn await_peer(&self) -> Result<(), Failure> {
        let events = Events::new(self.machine.xen());
        if self.plan.peer == 0 {
            return Ok(());
        }
        loop {
            match events.bind_interdomain(Domid(self.plan.peer as u16), READY) {
                // The port is not unbound yet.
                Err(Errno::EINVAL) => self.machine.relax(),
                // The channel ends here.
                other => break other.map(drop).map_err(Failure::from),
            }
        }
    }

    /// Asks for the state of a port. Returns the answer, and the address of the argument.
    fn status(&self, port: u64) -> (isize, usize) {
        use xen_pac::event_channel::{EvtchnStatus, command as event};
        let at = self.clear_argument();
        self.put(at + offset_of!(EvtchnStatus, dom), 2, Domid::SELF.0.into());
        self.put(at + offset_of!(EvtchnStatus, port), 4, port);
        let command = event::Status::NUMBER as usize;
        (self.call(HypercallNr::EVENT_CHANNEL_OP.0, [command, at, 0, 0]), at)
    }

    /// Takes the memory away from the lowest frames, which only some platforms have. A copy into a
    /// page of the grant table can make an entry of zeros or flags alone, which names such a frame.
    /// The domain keeps its number of pages, on which the most that it may have depends.
    fn empty_low_frames(&self) {
        use xen_pac::memory::XenMemoryReservation as Asked;
        let ask = |command: u32, list: usize, frame: u64| {
            let (at, word) = (self.clear_argument(), size_of::<usize>());
            self.put(at + offset_of!(Asked, domid), 2, Domid::SELF.0.into());
            self.put(at + offset_of!(Asked, nr_extents), word, 1);
            self.put(at + offset_of!(Asked, extent_start), word, list as u64);
            self.put(at + LIST, word, frame);
            self.call(HypercallNr::MEMORY_OP.0, [command as usize, at, 0, 0])
        };
        for frame in 0..LOW_FRAMES {
            let list = self.argument() + LIST;
            if !self.plan.is_arm && ask(memory::DecreaseReservation::NUMBER, list, frame) == 1 {
                ask(memory::IncreaseReservation::NUMBER, 0, 0);
            }
        }
    }

    fn reservation(&self) -> isize {
        let at = self.clear_argument();
        self.put(at, 2, Domid::SELF.0.into());
        let (number, command) = (HypercallNr::MEMORY_OP.0, memory::CurrentReservation::NUMBER);
        self.call(number, [command as usize, at, 0, 0])
    }

    /// Maps a Xen page to where the program looks for it.
    fn put_back(&self, space: u64, index: u64, page: usize) {
        use xen_pac::memory::XenAddToPhysmap as Asked;
        let at = self.clear_argument();
        self.put(at + offset_of!(Asked, domid), 2, Domid::SELF.0.into());
        self.put(at + offset_of!(Asked, space), 4, space);
        self.put(at + offset_of!(Asked, idx), size_of::<usize>(), index);
        self.put(at + offset_of!(Asked, gpfn), size_of::<usize>(), self.frames[page]);
        let command = memory::AddToPhysmap::NUMBER as usize;
        self.call(HypercallNr::MEMORY_OP.0, [command, at, 0, 0]);
    }

    /// Empties the frame of a page.
    fn remove(&self, page: usize) {
        use xen_pac::memory::XenRemoveFromPhysmap as Asked;
        let at = self.clear_argument();
        self.put(at + offset_of!(Asked, domid), 2, Domid::SELF.0.into());
        self.put(at + offset_of!(Asked, gpfn), size_of::<usize>(), self.frames[page]);
        let command = memory::RemoveFromPhysmap::NUMBER as usize;
        self.call(HypercallNr::MEMORY_OP.0, [command, at, 0, 0]);
    }

    pub(super) fn step(&mut self, step: &Step) {
        self.done += 1;
        let mut line = Text::new();
        // Lines are far shorter than the room.
        let _ = self.carry_out(step, &mut line);
        let now = self.look();
        let _ = self.changes(&now, &mut line);
        self.before = now;
        if self.plan.explains && step.number >= self.plan.first_line {
            self.machine.tell(format_args!("# {step}"));
        }
        self.report(step.number, format_args!("{} {}", step.number, line.as_str()));
    }

    /// Adds a line to the digest, and prints it if the plan has its step's lines.
    fn report(&mut self, number: u32, line: fmt::Arguments<'_>) {
        if number >= self.plan.first_line {
            self.machine.tell(line);
        } else {
            // Hashing a line cannot fail.
            let _ = writeln!(Digest(&mut self.digest), "{line}");
        }
    }

    /// Prints the digest of all lines so far.
    pub(super) fn digest(&self, number: u32) {
        self.machine.tell(format_args!("{number} {:016x}", self.digest));
    }

    fn carry_out(&mut self, step: &Step, line: &mut Text) -> fmt::Result {
        match step.command.does {
            Does::FlipMask => self.flip(offset_of!(raw::SharedInfo, evtchn_mask), step, true),
            Does::TakePending => {
                self.flip(offset_of!(raw::SharedInfo, evtchn_pending), step, false);
            }
            Does::TakeUpcall => self.take_upcall(step.plain(0) as usize),
            Does::Deliver => return self.deliver(step.vcpu, line),
            Does::WriteEntry => self.write_entry(step),
            Does::Call { number, command, pointer } => {
                return self.hypercall(step, number, command, pointer, 0, line);
            }
            Does::Array { number, command, stride } => {
                return self.hypercall(step, number, command, 1, stride, line);
            }
            Does::Values { number, command } => {
                return self.hypercall(step, number, command, usize::MAX, 0, line);
            }
        }
        line.write_str("done")
    }

    fn hypercall(
        &mut self,
        step: &Step,
        mut number: u32,
        command: u32,
        pointer: usize,
        stride: usize,
        line: &mut Text,
    ) -> fmt::Result {
        if self.ends_the_domain(step) {
            return line.write_str("not done");
        }
        let at = self.clear_argument();
        let mut registers = [command as usize, 0, 0, 0];
        if stride != 0 {
            registers[2] = step.count as usize;
        }
        if let Some(register) = registers.get_mut(pointer) {
            *register = if step.nowhere { NOWHERE } else { at };
        }
        for element in 0..step.elements {
            for (field, value) in step.element(element) {
                let value = self.resolve(value);
                match field.at {
                    NUMBER => number = value as u32,
                    REGISTER.. => registers[field.at - REGISTER] = value as usize,
                    offset => self.put(at + element * stride + offset, field.size, value),
                }
            }
        }
        let answer = match step.vcpu {
            0 => self.call(number, registers),
            _ => self.machine.world().mail.send(self.machine, number, registers),
        };
        match step.command.is_of_the_host && answer > 0 {
            true => line.write_str("some")?,
            false => write!(line, "{}", Answer(answer))?,
        }
        for element in 0..step.elements {
            for (index, (field, value)) in step.element(element).enumerate() {
                if field.at >= REGISTER || step.command.is_of_the_host {
                    continue;
                }
                let mut now = self.get(at + element * stride + field.at, field.size);
                let mut was = self.resolve(value);
                if field.size < 8 {
                    was &= (1 << (field.size * 8)) - 1;
                }
                if field.kind == Kind::OutWord {
                    now &= self.plan.greatest();
                }
                let is_peer = |status: usize| matches!(self.get(at + status, 4), 1 | 2);
                if matches!(field.kind, Kind::OutPeer(status) if is_peer(status)) {
                    now = self.without_numbers(now as u32).into();
                }
                if let Kind::OutPeerPort(peer, status) = field.kind
                    && self.is_connected_to_dom0(at + peer, at + status)
                {
                    continue;
                }
                let is_out = matches!(
                    field.kind,
                    Kind::Out | Kind::OutWord | Kind::OutPeer(_) | Kind::OutPeerPort(..)
                );
                if now != was
                    && (is_out || !matches!(field.kind, Kind::Spare | Kind::RefIf(_) | Kind::Index))
                {
                    write!(line, " {element}.{index}={now:#x}")?;
                }
            }
        }
        self.follow(step, number, registers[0] as u32, answer, at, stride);
        Ok(())
    }

    /// Returns whether Xen would destroy the domain: when a grant is mapped over another, and when
    /// a status page goes that can be in use.
    fn ends_the_domain(&self, step: &Step) -> bool {
        let target = |element: usize| {
            step.element(element).find_map(|(field, value)| match (field.kind, value) {
                (Kind::Target, Value::Physical(page, _)) => Some(page),
                _ => None,
            })
        };
        let is_mapped = |page: usize| self.mapped[page].is_some();
        match step.command.name {
            "map_grant_ref" => {
                let first = target(0);
                (0..step.elements).any(|element| target(element).is_some_and(is_mapped))
                    || step.elements > 1 && first.is_some() && first == target(1)
            }
            // Entries that are not reserved keep the version as it is while they are mapped.
            "set_version" => {
                let of_reserved =
                    |mapped: &Mapped| mapped.reference < GNTTAB_NR_RESERVED_ENTRIES.into();
                self.version == 2 && self.mapped.iter().flatten().any(of_reserved)
            }
            _ => false,
        }
    }

    /// Keeps up with what a hypercall did to what the program uses.
    fn follow(
        &mut self,
        step: &Step,
        number: u32,
        command: u32,
        answer: isize,
        at: usize,
        stride: usize,
    ) {
        match (HypercallNr(number), command) {
            (HypercallNr::GRANT_TABLE_OP, grant::MapGrantRef::NUMBER) => {
                let status = offset_of!(GnttabMapGrantRef, status);
                self.follow_grants(step, answer, at + status, stride, true);
            }
            (HypercallNr::GRANT_TABLE_OP, grant::UnmapGrantRef::NUMBER) => {
                let status = offset_of!(GnttabUnmapGrantRef, status);
                self.follow_grants(step, answer, at + status, stride, false);
            }
            (HypercallNr::GRANT_TABLE_OP, grant::SetVersion::NUMBER) if answer == 0 => {
                self.version = self.get(at, 4);
                if self.version == 2 {
                    self.put_back(1, 1 << 31, STATUS);
                }
            }
            (HypercallNr::MEMORY_OP, _)
                if command & MEMORY_COMMAND == memory::DecreaseReservation::NUMBER =>
            {
                self.mapped.iter_mut().flatten().for_each(|mapped| mapped.is_released = true);
                self.empty_targets();
            }
            (HypercallNr::MEMORY_OP, _)
                if command & MEMORY_COMMAND == memory::PopulatePhysmap::NUMBER && answer >= 0 =>
            {
                self.fill_populated(step);
            }
            (HypercallNr::MEMORY_OP, memory::AddToPhysmap::NUMBER)
            | (HypercallNr::MEMORY_OP, memory::AddToPhysmapBatch::NUMBER) => {
                self.put_back(0, 0, 0);
                self.put_back(1, 0, TABLE);
                if self.version == 2 {
                    self.put_back(1, 1 << 31, STATUS);
                }
            }
            (HypercallNr::VCPU_OP, vcpu::RegisterVcpuInfo::NUMBER) if answer == 0 => {
                let of = step.plain(3) as u32 as usize;
                // The simulator rounds up what only a block of 32-bit guests is aligned for.
                let offset = (step.plain(1) as usize).next_multiple_of(align_of::<raw::VcpuInfo>());
                let block = self.page(BLOCKS) + offset;
                if let Some(known) = self.blocks.get_mut(of) {
                    *known = block;
                    self.machine.world().moved_to(VcpuId(of as u32), block);
                }
            }
            _ => {}
        }
    }

    /// Notes at which pages grants were mapped, or are no more.
    fn follow_grants(
        &mut self,
        step: &Step,
        answer: isize,
        status: usize,
        stride: usize,
        maps: bool,
    ) {
        let is_known = matches!(step.command.name, "map_grant_ref" | "unmap_grant_ref");
        let done =
            if is_known && answer == 0 { step.elements.min(step.count as u32 as usize) } else { 0 };
        for element in 0..done {
            let first = element * step.command.fields.len();
            let is_done = self.word::<i16>(status + element * stride) == 0;
            let Value::Physical(page, _) = step.values[first + 1] else { continue };
            if !is_done {
                continue;
            }
            if maps {
                let from_status =
                    offset_of!(GnttabMapGrantRef, handle) - offset_of!(GnttabMapGrantRef, status);
                self.handles[page] = self.get(status + element * stride + from_status, 4);
                let reference = self.resolve(step.values[first + 2]);
                // The page can be one that was released, if the grant was mapped before.
                let is_released = self.mapped.iter().flatten().any(|mapped| mapped.is_released);
                self.mapped[page] = Some(Mapped { reference, has_ended: false, is_released });
            } else {
                let handle = self.resolve(step.values[first]);
                let of_handle = self.mapped.iter_mut().zip(self.handles);
                of_handle.filter(|(_, of)| *of == handle).for_each(|(mapped, _)| {
                    mapped.iter_mut().for_each(|mapped| mapped.has_ended = true);
                });
                self.mapped[page] = None;
            }
        }
        self.empty_targets();
    }

    /// Empties the frames of Arm whose grants ended at another frame, once their pages can be free:
    /// what such an entry then names depends on when Xen gives the page out again.
    fn empty_targets(&mut self) {
        for page in TARGETS..TARGETS + 4 {
            let is_loose = |mapped: Mapped| mapped.has_ended && mapped.is_released;
            if self.plan.is_arm && self.mapped[page].is_some_and(is_loose) {
                // A Xen page replaces any entry, and can be removed again. It has one frame only.
                self.remove(TABLE);
                self.put_back(1, 0, page);
                self.remove(page);
                self.put_back(1, 0, TABLE);
                self.mapped[page] = None;
            }
        }
    }

    fn flip(&self, from: usize, step: &Step, set: bool) {
        let port = step.plain(0) as usize;
        let at = self.page(0) + from + port / 8;
        let (byte, bit) = (self.word::<u8>(at), 1 << (port % 8));
        self.set(at, if set { byte ^ bit } else { byte & !bit });
    }

    fn take_upcall(&self, vcpu: usize) {
        if self.blocks[vcpu] != 0 {
            self.set(self.blocks[vcpu], 0_u8);
            self.set(self.blocks[vcpu] + offset_of!(raw::VcpuInfo, evtchn_pending_sel), 0_usize);
        }
    }

    fn deliver(&self, vcpu: u32, line: &mut Text) -> fmt::Result {
        let world = self.machine.world();
        if let Some(via) = self.machine.callback() {
            let at = self.clear_argument();
            self.put(at + offset_of!(XenHvmParam, domid), 2, Domid::SELF.0.into());
            self.put(at + offset_of!(XenHvmParam, index), 4, HvmParam::CALLBACK_IRQ.0.into());
            self.put(at + offset_of!(XenHvmParam, value), 8, via.encode());
            self.call(HypercallNr::HVM_OP.0, [hvm::SetParam::NUMBER as usize, at, 0, 0]);
        }
        let block = self.blocks[vcpu as usize % VCPUS];
        if self.plan.bits == 32 && block != 0 && self.word::<u8>(block) != 0 {
            // A word has other ports with 64 bits, as on the simulator: the handler looks at all.
            self.set(block + offset_of!(raw::VcpuInfo, evtchn_pending_sel), usize::MAX);
        }
        let arrived =
            || core::array::from_fn(|port| world.arrived(xen_hal::event::Port(port as u32)));
        let before: [u32; 128] = arrived();
        match vcpu {
            0 => crate::machine::let_interrupts_in(self.machine),
            _ => {
                world.mail.send(self.machine, u32::MAX, [0; 4]);
            }
        }
        line.write_str("handled")?;
        for (port, (now, before)) in arrived().iter().zip(before).enumerate() {
            if *now != before {
                write!(line, " {port}*{}", now - before)?;
            }
        }
        Ok(())
    }

    fn write_entry(&self, step: &Step) {
        let entry = step.plain(0) as usize;
        let (flags, frame) = (step.plain(1), self.resolve(step.values[3]));
        let head = flags | self.resolve(step.values[2]) << 16;
        let page = self.page(TABLE);
        if self.version == 2 {
            // A transitive entry names a reference of domain 0 here, and no table is so large.
            let frame = if flags & 3 == 3 { u64::MAX } else { frame };
            self.put(page + entry * 16 + 8, 8, frame);
            self.put(page + entry * 16, 8, head);
        } else {
            self.put(page + entry * 8, 4, head);
            self.put(page + entry * 8 + 4, 4, frame);
        }
    }

    /// Copies a page of the domain to another, by their frames. Returns the answer, or the status.
    fn copy(&self, from: u64, to: u64) -> isize {
        use xen_pac::grant_table::GnttabCopy;
        let at = self.clear_argument();
        let word = size_of::<usize>();
        self.put(at + offset_of!(GnttabCopy, source.u), word, from);
        self.put(at + offset_of!(GnttabCopy, source.domid), 2, Domid::SELF.0.into());
        self.put(at + offset_of!(GnttabCopy, dest.u), word, to);
        self.put(at + offset_of!(GnttabCopy, dest.domid), 2, Domid::SELF.0.into());
        self.put(at + offset_of!(GnttabCopy, len), 2, PAGE_SIZE as u64);
        let command = grant::Copy::NUMBER as usize;
        let answer = self.call(HypercallNr::GRANT_TABLE_OP.0, [command, at, 1, 0]);
        if answer == 0 {
            isize::from(self.word::<i16>(at + offset_of!(GnttabCopy, status)))
        } else {
            answer
        }
    }

    /// Fills the pages that a step populated: Xen gives pages with what was in them. An extent has
    /// one page or two, and the frame after the last is the first.
    fn fill_populated(&self, step: &Step) {
        let extents = step.element(0).filter(|(field, _)| field.kind == Kind::Spare);
        for (index, (_, value)) in (u64::from(step.number)..).zip(extents) {
            let frame = self.resolve(value);
            self.fill(frame, index);
            self.fill(frame.wrapping_add(1) & self.plan.greatest(), index + 1);
        }
    }

    /// Fills the page at a frame, if there is one. The low bits of each byte are clear, so that an
    /// entry of the grant table that a copy makes of it grants nothing.
    fn fill(&self, frame: u64, pattern: u64) {
        let word = pattern % PATTERNS * (256 / PATTERNS) * (u64::MAX / 255);
        let kept = self.page(KEPT);
        (0..PAGE_SIZE).step_by(8).for_each(|byte| self.set(kept + byte, word));
        self.copy(self.frames[KEPT], frame);
    }
}
