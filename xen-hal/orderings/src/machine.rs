//! A processor like Armv8's: one memory, which all threads see alike, and in front of it threads
//! whose accesses take effect out of order, as far as their orderings permit.
//!
//! - A load can be *early*: it returns what the place held at any moment since the thread's last
//!   acquire, and since the thread's own last access to the place.
//! - A store, or a read-modify-write without acquire, can be *late*: it takes effect after later
//!   accesses of the thread. So can a relaxed load. What a late access reads is guessed from the
//!   values that the place is known to hold; an execution with a wrong guess is discarded.
//! - A read-modify-write with acquire reads in place, and its write can be late. No other thread
//!   writes to the place meanwhile.
//! - A release waits for all earlier accesses. Accesses that are both `SeqCst` stay in order, as
//!   those of `ldar` and `stlr` do. A `SeqCst` fence stops everything.
//! - Other fences are those of Rust: with release, later writes wait for earlier accesses; with
//!   acquire, earlier loads are complete.
//!
//! Dependencies order nothing: in Rust, they do not, although Arm's processors honour them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use xen_pac::access::atomic::{Access, Kind, Ordering};

use crate::sites::{Sites, Weakening};

/// Where the search of executions ends.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How often another thread runs although the present one could go on.
    pub preemptions: usize,
    /// How many accesses are late.
    pub late: usize,
    /// How often a thread makes the same access of the same place. An execution with more is
    /// discarded.
    pub repeats: usize,
    /// How many accesses each thread makes, of places that others use.
    pub accesses: [usize; 4],
}

/// An access that has not taken effect.
#[derive(Clone, Copy)]
struct Late {
    access: Access,
    /// What it has returned.
    guess: Option<u64>,
    /// It has read its place, and will write to it.
    locked: bool,
}

#[derive(Default)]
struct Thread {
    done: bool,
    late: Vec<Late>,
    /// No later load is earlier than this time.
    acquired: u64,
    /// The time of the last `SeqCst` write.
    sequential: u64,
    /// The place, size and time of each access.
    seen: Vec<(usize, usize, u64)>,
    /// How many accesses it has made.
    accesses: usize,
    /// How often each place in the source has accessed each place in memory.
    repeats: BTreeMap<(*const (), usize), usize>,
}

/// Decides what happens where several things can.
pub(crate) enum Choice {
    /// At random, from this state.
    Random(u64),
    /// All in turn: the decisions of this execution with the number of alternatives, and how many
    /// of them were made.
    All(Vec<(usize, usize)>, usize),
}

impl Choice {
    pub(crate) fn choose(&mut self, count: usize) -> usize {
        if count <= 1 {
            return 0;
        }
        match self {
            Self::Random(state) => {
                let mut next = || {
                    *state ^= *state << 13;
                    *state ^= *state >> 7;
                    *state ^= *state << 17;
                    (*state >> 20) as usize
                };
                if next() % 2 == 0 { 0 } else { next() % count }
            }
            Self::All(path, at) => {
                if *at == path.len() {
                    path.push((0, count));
                }
                let (choice, alternatives) = path[*at];
                assert_eq!(alternatives, count, "a scenario must do the same again");
                *at += 1;
                choice
            }
        }
    }

    /// Prepares the next execution. Returns false after the last one.
    pub(crate) fn advance(&mut self) -> bool {
        let Self::All(path, at) = self else { return true };
        path.truncate(*at);
        *at = 0;
        while let Some((choice, count)) = path.pop() {
            if choice + 1 < count {
                path.push((choice + 1, count));
                return true;
            }
        }
        false
    }
}

/// What one execution learns for the next ones.
#[derive(Default)]
pub(crate) struct Learnt {
    /// The values that a place has held.
    values: BTreeMap<(usize, usize), BTreeSet<u64>>,
    /// The threads that access a word, one bit each, and whether one of them writes to it.
    threads: BTreeMap<usize, (u8, bool)>,
    /// The accesses that were made.
    pub(crate) sites: BTreeSet<usize>,
}

/// What the thread that made an access does next.
pub(crate) enum Next {
    /// Goes on with this value.
    Value(u64),
    /// Lets another thread run, then asks again.
    Switch,
    /// Ends: the execution is discarded.
    Discard,
}

/// One execution.
pub(crate) struct Machine {
    bounds: Bounds,
    threads: Vec<Thread>,
    pub(crate) active: usize,
    time: u64,
    /// The time, place, size and former value of each write.
    log: Vec<(u64, usize, usize, u64)>,
    pub(crate) choice: Choice,
    preemptions: usize,
    deferred: usize,
    pub(crate) discarded: bool,
    pub(crate) failures: Vec<String>,
    pub(crate) learnt: Learnt,
    learning: bool,
    weakening: Option<Weakening>,
    trace: Vec<(usize, Access, &'static str, u64)>,
}

thread_local! {
    /// The sites of the sources, and those that were looked up.
    static SITES: RefCell<(Sites, BTreeMap<*const (), Option<usize>>)> =
        RefCell::new((Sites::read(), BTreeMap::new()));
}

fn acquires(order: Ordering) -> bool {
    matches!(order, Ordering::Acquire | Ordering::AcqRel | Ordering::SeqCst)
}

fn releases(order: Ordering) -> bool {
    matches!(order, Ordering::Release | Ordering::AcqRel | Ordering::SeqCst)
}

fn overlap(one: (usize, usize), other: (usize, usize)) -> bool {
    one.0 < other.0 + other.1 && other.0 < one.0 + one.1
}

fn place(access: &Access) -> (usize, usize) {
    (access.place, access.size)
}

fn writes(access: &Access) -> bool {
    !matches!(access.kind, Kind::Load | Kind::Fence)
}

fn is_store(access: &Access) -> bool {
    matches!(access.kind, Kind::Store(_))
}

/// Returns what is in a place now.
fn peek((place, size): (usize, usize)) -> u64 {
    let place = std::ptr::with_exposed_provenance::<u8>(place);
    // SAFETY: the place is that of an atomic, aligned, and one thread of the process uses it.
    unsafe {
        match size {
            1 => u64::from(place.read_volatile()),
            2 => u64::from(place.cast::<u16>().read_volatile()),
            4 => u64::from(place.cast::<u32>().read_volatile()),
            _ => place.cast::<u64>().read_volatile(),
        }
    }
}

fn poke((place, size): (usize, usize), value: u64) {
    let place = std::ptr::with_exposed_provenance_mut::<u8>(place);
    // SAFETY: as in `peek`.
    unsafe {
        match size {
            1 => place.write_volatile(value as u8),
            2 => place.cast::<u16>().write_volatile(value as u16),
            4 => place.cast::<u32>().write_volatile(value as u32),
            _ => place.cast::<u64>().write_volatile(value),
        }
    }
}

/// Returns what an access writes where `old` is.
fn written(kind: Kind, old: u64) -> Option<u64> {
    match kind {
        Kind::Load | Kind::Fence => None,
        Kind::Store(value) => Some(value),
        Kind::Update(new, operand) => Some(new(old, operand)),
        Kind::Exchange(current, new) => (old == current).then_some(new),
    }
}

/// Carries out an access at once.
pub(crate) fn plain(access: &Access) -> u64 {
    if matches!(access.kind, Kind::Fence) {
        return 0;
    }
    let old = peek(place(access));
    if let Some(new) = written(access.kind, old) {
        poke(place(access), new);
    }
    old
}

impl Machine {
    pub(crate) fn new(
        threads: usize,
        bounds: Bounds,
        weakening: Option<Weakening>,
        choice: Choice,
        learnt: Learnt,
        learning: bool,
    ) -> Self {
        let mut machine = Self {
            bounds,
            threads: (0..threads).map(|_| Thread::default()).collect(),
            active: 0,
            time: 0,
            log: Vec::new(),
            choice,
            preemptions: 0,
            deferred: 0,
            discarded: false,
            failures: Vec::new(),
            learnt,
            learning,
            weakening,
            trace: Vec::new(),
        };
        machine.active = machine.choice.choose(threads);
        machine
    }

    /// Makes an access of the active thread, or has another thread run first.
    ///
    /// `asked_again` is true after a switch: the thread has its turn.
    pub(crate) fn access(&mut self, mut access: Access) -> Next {
        if self.discarded {
            return Next::Discard;
        }
        let me = self.active;
        self.weaken(&mut access);
        if matches!(access.kind, Kind::Fence) {
            // Before the fence, other threads can see that late accesses are not done.
            if !self.threads[me].late.is_empty() && self.schedule() {
                return Next::Switch;
            }
            if self.discarded {
                return Next::Discard;
            }
            return Next::Value(if access.order == Ordering::Relaxed {
                0
            } else {
                self.fence(access)
            });
        }
        let (users, written) = self.learnt.threads.entry(access.place / 8).or_default();
        if self.learning {
            *users |= 1 << me;
            *written |= writes(&access);
        } else if *users == 1 << me || !*written {
            // What no other thread accesses, or none writes, needs no order.
            return Next::Value(plain(&access));
        }
        if self.schedule() {
            return Next::Switch;
        }
        if !self.discarded {
            let site: *const () = std::ptr::from_ref(access.site).cast();
            let repeats = self.threads[me].repeats.entry((site, access.place)).or_default();
            *repeats += 1;
            self.discarded = *repeats > self.bounds.repeats;
            self.threads[me].accesses += usize::from(!self.learning);
            self.discarded |= self.threads[me].accesses > self.bounds.accesses[me];
        }
        let value = if self.discarded { 0 } else { self.issue(access) };
        if self.discarded { Next::Discard } else { Next::Value(value) }
    }

    /// Weakens the ordering that this run weakens, and notes which accesses there are.
    fn weaken(&mut self, access: &mut Access) {
        if self.weakening.is_none() && !self.learning {
            return;
        }
        let site = SITES.with_borrow_mut(|(sites, known)| {
            *known
                .entry(std::ptr::from_ref(access.site).cast())
                .or_insert_with(|| sites.find(access.site, access.name))
        });
        let Some(site) = site else { return };
        self.learnt.sites.insert(site);
        match self.weakening {
            Some(Weakening { site: at, failure: false, to, .. }) if at == site => access.order = to,
            Some(Weakening { site: at, failure: true, to, .. }) if at == site => {
                access.failure = to;
            }
            _ => {}
        }
    }

    /// Lets late accesses take effect before the next step. Returns true if another thread runs
    /// first; it is active then.
    fn schedule(&mut self) -> bool {
        let me = self.active;
        loop {
            let mut options = vec![(me, None)];
            if self.preemptions < self.bounds.preemptions {
                options.extend(
                    self.runnable().filter(|other| *other != me).map(|other| (other, None)),
                );
            }
            self.late_options(&mut options);
            match options[self.choice.choose(options.len())] {
                (thread, Some(index)) => self.take_effect_late(thread, index),
                (thread, None) if thread == me => return false,
                (other, None) => {
                    self.preemptions += 1;
                    self.active = other;
                    return true;
                }
            }
            if self.discarded {
                return false;
            }
        }
    }

    fn runnable(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.threads.len()).filter(|thread| !self.threads[*thread].done)
    }

    fn late_options(&self, options: &mut Vec<(usize, Option<usize>)>) {
        for (number, thread) in self.threads.iter().enumerate() {
            let possible = |index: &usize| self.is_possible(number, *index);
            options
                .extend((0..thread.late.len()).filter(possible).map(|index| (number, Some(index))));
        }
    }

    /// Lets another thread run, because the active one waits for it; or a late access take effect.
    pub(crate) fn pause(&mut self) {
        let me = self.active;
        let mut options: Vec<_> =
            self.runnable().filter(|other| *other != me).map(|other| (other, None)).collect();
        if options.is_empty() {
            self.late_options(&mut options);
        }
        match options.get(self.choice.choose(options.len())) {
            Some((other, None)) => self.active = *other,
            Some((thread, Some(index))) => self.take_effect_late(*thread, *index),
            None => {}
        }
    }

    /// Ends the active thread. After the last one, all late accesses take effect, in any order.
    /// Returns whether a thread is left; it is active then.
    pub(crate) fn finish(&mut self) -> bool {
        self.threads[self.active].done = true;
        let others: Vec<_> = self.runnable().collect();
        if !others.is_empty() {
            self.active = others[self.choice.choose(others.len())];
            return true;
        }
        while !self.discarded {
            let mut rest = Vec::new();
            self.late_options(&mut rest);
            let Some(_) = rest.first() else { break };
            let (thread, index) = rest[self.choice.choose(rest.len())];
            self.take_effect_late(thread, index.unwrap_or(0));
        }
        false
    }

    /// True if `later` must wait for `earlier`, of the same thread.
    fn is_ordered(earlier: &Late, later: &Access) -> bool {
        let first = &earlier.access;
        match (first.kind, later.kind) {
            // A fence with release stays late, so that only writes wait for it.
            (_, Kind::Fence) => return true,
            (Kind::Fence, _) => return writes(later),
            _ => {}
        }
        overlap(place(first), place(later))
            || writes(later) && releases(later.order)
            || first.order == Ordering::SeqCst && later.order == Ordering::SeqCst
            || !earlier.locked && !is_store(first) && acquires(first.order)
    }

    /// True if a late access need not wait for the ones before it.
    fn is_possible(&self, thread: usize, index: usize) -> bool {
        let late = &self.threads[thread].late;
        late[..index].iter().all(|earlier| !Self::is_ordered(earlier, &late[index].access))
    }

    fn take_effect_late(&mut self, thread: usize, index: usize) {
        let late = self.threads[thread].late.remove(index);
        self.take_effect(thread, late, "late");
    }

    /// Has the late accesses take effect that `access` must wait for, and those they wait for.
    fn wait_for_late(&mut self, access: &Access) {
        let me = self.active;
        let is_first = |late: &Late| Self::is_ordered(late, access);
        while let Some(mut index) = self.threads[me].late.iter().position(is_first) {
            while !self.is_possible(me, index) {
                index -= 1;
            }
            self.take_effect_late(me, index);
        }
    }

    /// Returns what was in a place at a time.
    fn at(&self, (place, size): (usize, usize), time: u64) -> u64 {
        let mut bytes = peek((place, size)).to_ne_bytes();
        for &(_, other, length, old) in self.log.iter().rev().take_while(|entry| entry.0 > time) {
            let old = old.to_ne_bytes();
            for (byte, at) in old.into_iter().take(length).zip(other..) {
                if let Some(offset) = at.checked_sub(place).filter(|offset| *offset < size) {
                    bytes[offset] = byte;
                }
            }
        }
        u64::from_ne_bytes(bytes)
    }

    fn learn(&mut self, place: (usize, usize), value: u64) {
        if self.learning {
            self.learnt.values.entry(place).or_default().insert(value);
        }
    }

    /// Carries out an access in the memory. Returns the old value.
    fn take_effect(&mut self, me: usize, late: Late, how: &'static str) -> u64 {
        let (access, at) = (late.access, place(&late.access));
        if matches!(access.kind, Kind::Fence) {
            return 0;
        }
        let old = peek(at);
        if late.guess.is_some_and(|guess| guess != old) {
            self.discarded = true;
        }
        self.learn(at, old);
        self.trace.push((me, access, how, old));
        let new = written(access.kind, old);
        if let Some(new) = new {
            let locked = self.threads.iter().enumerate().any(|(other, thread)| {
                let holds = |late: &Late| late.locked && overlap(place(&late.access), at);
                other != me && thread.late.iter().any(holds)
            });
            self.discarded |= locked;
            self.time += 1;
            self.log.push((self.time, at.0, at.1, old));
            poke(at, new);
            self.learn(at, peek(at));
        }
        let failed = matches!(access.kind, Kind::Exchange(..)) && new.is_none();
        let order = if failed { access.failure } else { access.order };
        let (time, thread) = (self.time, &mut self.threads[me]);
        thread.seen.push((at.0, at.1, time));
        if !is_store(&access) && acquires(order) && !late.locked {
            thread.acquired = thread.acquired.max(time);
        }
        if writes(&access) && order == Ordering::SeqCst {
            thread.sequential = thread.sequential.max(time);
        }
        old
    }

    /// Has the reads of late accesses take effect, for a fence with acquire. The write of a
    /// read-modify-write can stay late.
    fn finish_reads(&mut self) {
        let me = self.active;
        let is_read = |late: &Late| {
            !is_store(&late.access) && !late.locked && !matches!(late.access.kind, Kind::Fence)
        };
        while let Some(mut index) = self.threads[me].late.iter().position(is_read) {
            while !self.is_possible(me, index) {
                index -= 1;
            }
            let late = self.threads[me].late[index];
            if is_read(&late) && writes(&late.access) && self.choice.choose(2) == 1 {
                self.discarded |= late.guess != Some(peek(place(&late.access)));
                self.threads[me].late[index].locked = true;
            } else {
                self.take_effect_late(me, index);
            }
        }
    }

    fn fence(&mut self, access: Access) -> u64 {
        let me = self.active;
        if access.order == Ordering::SeqCst {
            self.wait_for_late(&access);
        } else if acquires(access.order) {
            self.finish_reads();
        }
        if acquires(access.order) {
            self.threads[me].acquired = self.time;
        }
        self.trace.push((me, access, "", 0));
        if releases(access.order) && !self.threads[me].late.is_empty() {
            self.threads[me].late.push(Late { access, guess: None, locked: false });
        }
        0
    }

    /// Returns the values that a late access can be guessed to read.
    fn guesses(&self, access: &Access) -> Vec<u64> {
        let now = peek(place(access));
        let known = self.learnt.values.get(&place(access)).into_iter().flatten().copied();
        std::iter::once(now).chain(known.filter(|value| *value != now)).collect()
    }

    fn defer(&mut self, access: Access, guess: Option<u64>, locked: bool) -> u64 {
        let me = self.active;
        self.deferred += 1;
        self.trace.push((me, access, "begins", guess.unwrap_or(0)));
        self.threads[me].late.push(Late { access, guess, locked });
        guess.unwrap_or(0)
    }

    /// Guesses what a late access reads, if it is late.
    fn defer_read(&mut self, access: Access, guesses: &[u64]) -> Option<u64> {
        let choice = self.choice.choose(1 + guesses.len());
        (choice > 0).then(|| self.defer(access, Some(guesses[choice - 1]), false))
    }

    /// Makes an access of the active thread, now, early or late.
    fn issue(&mut self, access: Access) -> u64 {
        let (me, may_defer) = (self.active, self.deferred < self.bounds.late);
        match access.kind {
            Kind::Load => {
                if may_defer && access.order == Ordering::Relaxed {
                    let guesses = self.guesses(&access);
                    if let Some(guess) = self.defer_read(access, &guesses) {
                        return guess;
                    }
                }
                return self.load(access);
            }
            Kind::Store(_) if may_defer && self.choice.choose(2) == 1 => {
                return self.defer(access, None, false);
            }
            Kind::Update(..) | Kind::Exchange(..)
                if may_defer && acquires(access.order) && self.choice.choose(2) == 1 =>
            {
                self.wait_for_late(&Access { kind: Kind::Load, ..access });
                let old = peek(place(&access));
                if written(access.kind, old).is_some() {
                    let (time, thread) = (self.time, &mut self.threads[me]);
                    thread.acquired = time;
                    thread.seen.push((access.place, access.size, time));
                    return self.defer(access, Some(old), true);
                }
            }
            Kind::Update(..) | Kind::Exchange(..) if may_defer && !acquires(access.order) => {
                let mut guesses = self.guesses(&access);
                guesses.retain(|guess| written(access.kind, *guess).is_some());
                if let Some(guess) = self.defer_read(access, &guesses) {
                    return guess;
                }
            }
            _ => {}
        }
        self.wait_for_late(&access);
        self.take_effect(me, Late { access, guess: None, locked: false }, "")
    }

    /// Loads what the place holds now, or held at an earlier time that the orderings permit.
    fn load(&mut self, access: Access) -> u64 {
        self.wait_for_late(&access);
        let (me, at) = (self.active, place(&access));
        let thread = &self.threads[me];
        let mut since = thread.acquired;
        if access.order == Ordering::SeqCst {
            since = since.max(thread.sequential);
        }
        let own = thread.seen.iter().filter(|seen| overlap((seen.0, seen.1), at));
        since = own.map(|seen| seen.2).fold(since, u64::max);
        let writes = self.log.iter().rev().take_while(|entry| entry.0 > since);
        let earlier =
            writes.filter(|entry| overlap((entry.1, entry.2), at)).map(|entry| entry.0 - 1);
        let times: Vec<_> = std::iter::once(self.time).chain(earlier).collect();
        let time = times[self.choice.choose(times.len())];
        let value = self.at(at, time);
        self.trace.push((me, access, if time == self.time { "" } else { "early" }, value));
        let thread = &mut self.threads[me];
        thread.seen.push((at.0, at.1, time));
        if acquires(access.order) {
            thread.acquired = thread.acquired.max(time);
        }
        value
    }

    /// Describes the accesses in the order in which they took effect.
    pub(crate) fn trace(&self) -> Vec<String> {
        let line = |(thread, access, how, value): &(usize, Access, &str, u64)| {
            let file = access.site.file().rsplit('/').next().unwrap_or_default();
            let (order, place) = (format!("{:?}", access.order), access.place & 0xf_ffff);
            let name = access.name;
            let line = access.site.line();
            format!("    thread {thread} {how:6} {name:16} {order:7} of ..{place:05x}: {value:#x}")
                + &format!(" ({file}:{line})")
        };
        self.trace.iter().map(line).collect()
    }
}
