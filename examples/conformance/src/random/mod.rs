//! Random programs: a seed makes a program of hypercalls, with arguments that are valid, at the
//! limits, and wrong. The same program runs in a guest on real Xen and on the simulator, and
//! prints after each step the answer, the fields that Xen wrote, and what changed in shared pages.

mod interpreter;
mod peer;
mod step;
mod table;

use crate::{Failure, Machine};
use interpreter::Interpreter;
pub use peer::{await_end, offer};
use step::Step;

/// The pages of a program: for copies, the status of grants, for areas that Xen writes, the
/// argument, the grant table, and vCPUs' blocks. Page 0 is the page shared with Xen. An area can
/// reach into the page after it, where the argument begins further on.
const KEPT: usize = 1;
const STATUS: usize = 2;
const AREAS: usize = 3;
const ARGUMENT: usize = 4;
const TABLE: usize = 5;
const BLOCKS: usize = 6;
/// The first of four pages that come and go. The page after them is never there: an extent of two
/// pages can reach it.
const SPARE: usize = 7;
/// The first of four pages at which grants are mapped.
const TARGETS: usize = 12;

/// How many steps there are from one survey to the next.
const SURVEY: u32 = 16;

/// How many steps there are from one digest to the next.
const BLOCK: u32 = 64;

/// A program.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    seed: u64,
    steps: u32,
    /// Which steps are done, as in `0-7+12`; all if it is empty.
    only: &'a str,
    /// The program's steps as text, with slashes between them. If it is empty, the seed draws them.
    case: &'a str,
    /// How wide the guest's registers are.
    bits: u32,
    is_arm: bool,
    /// The domain that [offers](offer) the program grants and ports; 0 if there is none.
    peer: u64,
    /// Whether each step is printed too.
    explains: bool,
    /// The first step whose lines are printed.
    first_line: u32,
    /// Whether a digest of all lines is printed after each block of steps.
    has_digests: bool,
}

impl<'a> Plan<'a> {
    /// Reads a plan of words.
    ///
    /// | word | meaning |
    /// |---|---|
    /// | `seed=5` | what the steps are drawn from |
    /// | `steps=60` | their number |
    /// | `only=0-7+12` | the steps that are done |
    /// | `bits=32`, `arm=1` | the guest's width and architecture, if they are not the program's |
    /// | `peer=2` | the domain that offers grants and ports |
    /// | `explain=1` | prints each step |
    /// | `digests=1` | prints digests instead of lines |
    /// | `lines=640` | the first step whose lines are printed |
    /// | `case=send 0x1/yield` | the steps; the last word |
    #[must_use]
    pub fn parse(line: &'a str) -> Self {
        let (words, case) = line.split_once("case=").unwrap_or((line, ""));
        let mut plan = Self {
            seed: 1,
            steps: 60,
            only: "",
            case,
            bits: usize::BITS,
            is_arm: cfg!(target_arch = "aarch64"),
            peer: 0,
            explains: false,
            first_line: 0,
            has_digests: false,
        };
        for (key, value) in words.split(' ').filter_map(|word| word.split_once('=')) {
            match key {
                "seed" => plan.seed = value.parse().unwrap_or(plan.seed),
                "steps" => plan.steps = value.parse().unwrap_or(plan.steps),
                "only" => plan.only = value,
                "bits" => plan.bits = value.parse().unwrap_or(plan.bits),
                "peer" => plan.peer = value.parse().unwrap_or(plan.peer),
                "arm" => plan.is_arm = value == "1",
                "explain" => plan.explains = value == "1",
                "lines" => plan.first_line = value.parse().unwrap_or(plan.first_line),
                "digests" => (plan.has_digests, plan.first_line) = (true, u32::MAX),
                _ => {}
            }
        }
        if !case.is_empty() {
            plan.steps = case.split('/').count() as u32;
        }
        plan
    }

    fn has(&self, step: u32) -> bool {
        let parts = &mut self.only.split('+');
        self.only.is_empty() || parts.any(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let contains = |first: u32, last: u32| (first..=last).contains(&step);
            matches!((first.parse(), last.parse()), (Ok(first), Ok(last)) if contains(first, last))
        })
    }

    /// The step with that number; `None` if it is left out.
    fn step(&self, number: u32) -> Result<Option<Step>, Failure> {
        if self.case.is_empty() {
            return Ok(Step::draw(self, number).filter(|_| self.has(number)));
        }
        let text = self.case.split('/').nth(number as usize).unwrap_or_default();
        Step::parse(number, text).map(Some).ok_or(Failure::Broken("a case is made of steps"))
    }

    /// The greatest value of a register.
    const fn greatest(&self) -> u64 {
        if self.bits == 32 { u32::MAX as u64 } else { u64::MAX }
    }
}

/// Runs a program as the first thing that a domain does.
///
/// # Errors
///
/// When the state that it starts from could not be made, or when a case has a step that is unknown.
pub fn run<M: Machine>(machine: &M, plan: Plan<'_>) -> Result<(), Failure> {
    let mut interpreter = Interpreter::new(machine, plan)?;
    let mut is_surveyed = true;
    for number in 0..plan.steps {
        if let Some(step) = plan.step(number)? {
            interpreter.step(&step);
            is_surveyed = false;
        }
        if number % SURVEY == SURVEY - 1 && !is_surveyed {
            interpreter.survey(number);
            is_surveyed = true;
        }
        if plan.has_digests && number % BLOCK == BLOCK - 1 {
            interpreter.digest(number);
        }
    }
    interpreter.survey(plan.steps);
    if plan.has_digests {
        interpreter.digest(plan.steps);
    }
    machine.tell(format_args!("end of {} steps", interpreter.done));
    Ok(())
}
