use super::*;
use crate::platform::VcpuId;
use crate::testing::{Script, errno};
use core::cell::RefCell;
use proptest::prelude::*;
use std::string::ToString;
use xen_pac::version::command as version;

fn handle(info: &mut raw::VcpuRunstateInfo) -> VcpuRunstateInfo<'_> {
    // SAFETY: the borrow lasts as long as the handle, through which alone the memory is read.
    unsafe { VcpuRunstateInfo::from_ptr(NonNull::from(info)) }
}

#[test]
fn a_single_answer_is_told_by_state() {
    let xen = Script::new()
        .vcpu(command::GetRunstateInfo, |vcpu, info| {
            assert_eq!(vcpu, 5);
            info.state = Runstate::BLOCKED.0;
            info.state_entry_time = 1234;
            info.time = [10, 20, 30, 40];
            0
        })
        .vcpu(command::GetRunstateInfo, |_, _| errno(Errno::EINVAL));
    let vcpu = Vcpu::new(&xen, VcpuId(5));
    let times = vcpu.runstate().unwrap();
    assert_eq!((times.state, times.since), (Runstate::BLOCKED, SystemTime::from_nanos(1234)));
    assert_eq!(times.spent_in(Runstate::RUNNING), Some(Duration::from_nanos(10)));
    assert_eq!(times.spent_in(Runstate::OFFLINE), Some(Duration::from_nanos(40)));
    assert_eq!(times.spent_in(Runstate(4)), None);
    assert_eq!(vcpu.runstate(), Err(Errno::EINVAL));
}

#[test]
fn the_mark_is_asked_for_by_number() {
    let xen = Script::new()
        .value(vm_assist::Enable, |kind| {
            assert_eq!(kind, 5);
            0
        })
        .value(vm_assist::Enable, |_| errno(Errno::EINVAL))
        .bare(version::Version, 4 << 16 | 7);
    UpdateFlag::request(&xen).unwrap();
    let refused = UpdateFlag::request(&xen).unwrap_err();
    assert_eq!(refused.to_string(), "VMASST_TYPE_runstate_update_flag needs Xen 4.8; this is 4.7");
}

proptest! {
    #[test]
    fn what_is_at_rest_is_read_as_it_is(
        state: u32,
        since in 0..XEN_RUNSTATE_UPDATE,
        spent: [u64; 4],
    ) {
        let mut info = raw::VcpuRunstateInfo::ZEROED;
        info.state = state;
        info.state_entry_time = since;
        info.time = spent;
        let times = snapshot(handle(&mut info));
        let since = SystemTime::from_nanos(since as i64);
        prop_assert_eq!(times, RunTimes { state: Runstate(state), since, spent });
    }
}

/// Writes run times as Xen does. Each step is one machine write, in the order of
/// `update_runstate_area`, and writes one half of the entry time.
struct Writer {
    /// The low and the high half of the entry time, and the rest, of which all words are the same
    /// when it is consistent.
    memory: [u32; 2],
    body: [u64; 5],
    steps: std::vec::Vec<Step>,
    schedule: std::vec::Vec<u8>,
}

#[derive(Clone, Copy)]
enum Step {
    Mark,
    Low(u32),
    High(u32),
    Body(usize, u64),
    Unmark,
}

const MARK: u32 = (XEN_RUNSTATE_UPDATE >> 32) as u32;

impl Writer {
    /// Updates to these moments, of which so many steps are taken before each reading as `schedule`
    /// says.
    fn new(moments: &[u64], schedule: &[u8]) -> Self {
        let update = |moment: &u64| {
            let (low, high) = (*moment as u32, (*moment >> 32) as u32);
            let body = (0..5).map(|word| Step::Body(word, *moment));
            [Step::Mark]
                .into_iter()
                .chain(body)
                .chain([Step::Low(low), Step::High(high | MARK), Step::Unmark])
                .collect::<std::vec::Vec<_>>()
        };
        let steps = moments.iter().flat_map(update).rev().collect();
        Self { memory: [0; 2], body: [0; 5], steps, schedule: schedule.to_vec() }
    }

    fn advance(&mut self) {
        // After the schedule, the writer completes all updates, so that no reader waits for ever.
        for _ in 0..self.schedule.pop().unwrap_or(u8::MAX) {
            match self.steps.pop() {
                Some(Step::Mark) => self.memory[1] |= MARK,
                Some(Step::Low(low)) => self.memory[0] = low,
                Some(Step::High(high)) => self.memory[1] = high,
                Some(Step::Body(word, value)) => self.body[word] = value,
                Some(Step::Unmark) => self.memory[1] &= !MARK,
                None => return,
            }
        }
    }

    fn half(&mut self, half: usize) -> u32 {
        self.advance();
        self.memory[half]
    }

    fn entry_time(&mut self, high_first: bool) -> u64 {
        let (low, high) = if high_first {
            let high = self.half(1);
            (self.half(0), high)
        } else {
            (self.half(0), self.half(1))
        };
        u64::from(high) << 32 | u64::from(low)
    }

    fn body(&mut self) -> [u64; 5] {
        core::array::from_fn(|word| {
            self.advance();
            self.body[word]
        })
    }
}

/// Moments in ascending order that change both halves.
fn moments() -> impl Strategy<Value = std::vec::Vec<u64>> {
    prop::collection::vec(1..1_u64 << 34, 1..6).prop_map(|steps| {
        let sums = steps.iter().scan(0, |time, step| {
            *time += step;
            Some(*time)
        });
        sums.collect()
    })
}

proptest! {
    #[test]
    fn no_schedule_tears_a_reading(
        moments in moments(),
        schedule in prop::collection::vec(0..4_u8, 0..60),
        high_first: bool,
    ) {
        let writer = RefCell::new(Writer::new(&moments, &schedule));
        let (since, body) = between_updates(
            || whole(|| writer.borrow_mut().entry_time(high_first)),
            || writer.borrow_mut().body(),
        );
        prop_assert!(since == 0 || moments.contains(&since), "{} is none of the moments", since);
        prop_assert_eq!(body, [since; 5]);
    }
}

/// Returns whether a reader can return a torn value if the writer runs before any two of its
/// readings.
fn can_be_torn(reader: impl Fn(&RefCell<Writer>) -> (u64, [u64; 5])) -> bool {
    const READINGS: usize = 24;
    // One update keeps the high half, the other changes both halves.
    for (moment, first, second) in [5, 1 << 33 | 5]
        .into_iter()
        .flat_map(|moment| pairs(READINGS).map(move |(a, b)| (moment, a, b)))
    {
        for (early, late) in pairs(10) {
            let mut schedule = [0; 40];
            schedule[39 - first] += early as u8;
            schedule[39 - second] += late as u8;
            let (since, body) = reader(&RefCell::new(Writer::new(&[moment], &schedule)));
            if body != [since; 5] {
                return true;
            }
        }
    }
    false
}

fn pairs(end: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..end).flat_map(move |first| (0..end).map(move |second| (first, second)))
}

#[test]
fn each_part_of_the_protocol_is_needed() {
    for high_first in [false, true] {
        let halves = |writer: &RefCell<Writer>| writer.borrow_mut().entry_time(high_first);
        let entry_time = |writer: &RefCell<Writer>| whole(|| halves(writer));
        let body = |writer: &RefCell<Writer>| writer.borrow_mut().body();

        assert!(!can_be_torn(|writer| between_updates(|| entry_time(writer), || body(writer))));
        assert!(can_be_torn(|writer| (entry_time(writer), body(writer))), "without a second look");
        let unmarked = |time: u64| time & !XEN_RUNSTATE_UPDATE;
        let without_mark = |writer: &RefCell<Writer>| {
            between_updates(|| unmarked(entry_time(writer)), || body(writer))
        };
        assert!(can_be_torn(without_mark), "without looking at the mark");
    }
    // If each half is read only once, the second reading must not use this order: the low half may
    // be old, and the mark may be cleared before the high half is read.
    let once = |writer: &RefCell<Writer>| {
        between_updates(|| writer.borrow_mut().entry_time(false), || writer.borrow_mut().body())
    };
    assert!(can_be_torn(once), "without whole entry times");
}
