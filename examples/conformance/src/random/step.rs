//! The steps of a random program: drawn from the seed and the step's number alone, so that any
//! part of a program is a program too.

use core::fmt;

use super::table::{COMMANDS, Command, Does, Field, Kind, NUMBER, Platforms, REGISTER};
use super::{BLOCKS, Plan, SPARE, TARGETS};
use crate::PAGES;

/// The most values of a step.
const VALUES: usize = 24;

/// A value, which can stand for something that no two runs have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Plain(u64),
    /// The frame of one of the machine's pages.
    Frame(usize),
    /// An offset in one of the machine's pages, as a physical address.
    Physical(usize, u64),
    /// The handle of the last grant that was mapped at one of the machine's pages.
    Handle(usize),
    /// An offset in one of the machine's pages, as an address.
    Page(usize, u64),
    /// An offset in the argument, as an address.
    Argument(usize),
    /// An address without memory.
    Nowhere,
    /// The caller's number.
    Me,
    /// The number of the domain that serves the program.
    Peer,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(value) => write!(f, "{value:#x}"),
            Self::Frame(page) => write!(f, "frame{page}"),
            Self::Physical(page, offset) => write!(f, "frame{page}+{offset:#x}"),
            Self::Handle(page) => write!(f, "handle{page}"),
            Self::Page(page, offset) => write!(f, "page{page}+{offset:#x}"),
            Self::Argument(offset) => write!(f, "argument+{offset:#x}"),
            Self::Nowhere => f.write_str("nowhere"),
            Self::Me => f.write_str("me"),
            Self::Peer => f.write_str("peer"),
        }
    }
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

impl Value {
    /// Reads what [`Display`](fmt::Display) writes.
    fn parse(text: &str) -> Option<Self> {
        let page = |text: &str| text.parse().ok().filter(|page| *page < PAGES);
        let (name, offset) = match text.split_once('+') {
            Some((name, offset)) => (name, Some(hexadecimal(offset)?)),
            None => (text, None),
        };
        Some(match (name, offset) {
            ("nowhere", None) => Self::Nowhere,
            ("me", None) => Self::Me,
            ("peer", None) => Self::Peer,
            ("argument", Some(offset)) => Self::Argument(offset as usize),
            (name, None) if name.starts_with("frame") => Self::Frame(page(&name[5..])?),
            (name, Some(offset)) if name.starts_with("frame") => {
                Self::Physical(page(&name[5..])?, offset)
            }
            (name, None) if name.starts_with("handle") => Self::Handle(page(&name[6..])?),
            (name, Some(offset)) if name.starts_with("page") => {
                Self::Page(page(&name[4..])?, offset)
            }
            (name, None) => Self::Plain(hexadecimal(name)?),
            _ => return None,
        })
    }
}

/// A step of a program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) number: u32,
    pub(super) command: &'static Command,
    /// The vCPU that does it.
    pub(super) vcpu: u32,
    /// The argument is at an address without memory.
    pub(super) nowhere: bool,
    /// How many arguments there are, and how many Xen is told of.
    pub(super) elements: usize,
    pub(super) count: u64,
    pub(super) values: [Value; VALUES],
}

/// What no program does: the command, the values of its fields by their index, and the reason.
/// `None` is any value.
type LeftOut = (&'static str, &'static [(usize, Option<u64>)], &'static str);

/// Calls that end the domain, that need time to pass, or whose answer depends on the host.
const LEFT_OUT: &[LeftOut] = &[
    ("bind_virq", &[(0, Some(0))], "the timer's events come when it is time"),
    ("bind_virq", &[(0, Some(8))], "Xen raises it for its own console output"),
    ("down", &[(0, Some(0))], "it ends the program"),
    ("down", &[(0, Some(1))], "it stops the vCPU that carries out steps"),
    ("down", &[(0, Some(1 << 32))], "it ends the program"),
    ("down", &[(0, Some(1 << 32 | 1))], "it stops the vCPU that carries out steps"),
    ("get_param", &[(1, Some(1))], "the toolstack chooses the frame"),
    ("get_param", &[(1, Some(17))], "the toolstack chooses the frame"),
    ("remote_shutdown", &[(0, Some(0))], "it ends the domain"),
    ("set_param", &[(1, Some(0))], "`set_callback` draws its values"),
    ("set_param", &[(1, Some(15)), (2, Some(1 << 32))], "Xen destroys the domain"),
    ("set_param", &[(1, Some(15)), (2, Some(u64::MAX))], "Xen destroys the domain"),
    ("set_param", &[(1, Some(37)), (2, None)], "Xen destroys the domain for most values"),
    ("version_op", &[(0, Some(14))], "Xen's command line is longer on some hosts"),
    ("watchdog", &[(0, Some(0)), (1, Some(0))], "it ends the domain"),
];

/// Further calls that no program of a 32-bit guest makes.
const LEFT_OUT_OF_32_BITS: &[LeftOut] = &[
    (
        "add_to_physmap",
        &[(0, Some(3)), (2, Some(2)), (3, Some(0xffff_ffff))],
        "the frame of the second page has no number of 32 bits, so the page was never filled",
    ),
    ("increase_reservation", &[(3, None)], "not drawn for 32-bit guests"),
    ("memory_op_start", &[(0, Some(64))], "not drawn for 32-bit guests"),
    ("memory_op_start", &[(0, Some(128))], "not drawn for 32-bit guests"),
];

impl Step {
    /// The step with that number of a program; `None` if it is left out.
    pub(super) fn draw(plan: &Plan<'_>, number: u32) -> Option<Self> {
        let mut rng = Rng::new(plan.seed, number);
        let drawn = |command: &&Command| command.platforms == Platforms::All || !plan.is_arm;
        let total: u32 = COMMANDS.iter().filter(drawn).map(|command| command.weight).sum();
        let mut at = rng.below(total.into()) as u32;
        let command = COMMANDS.iter().filter(drawn).find(|command| {
            let found = at < command.weight;
            at = at.wrapping_sub(command.weight);
            found
        })?;
        let is_array = matches!(command.does, Does::Array { .. });
        let mut step = Self {
            number,
            command,
            vcpu: u32::from(rng.once_in(6)),
            nowhere: rng.once_in(40),
            elements: 1,
            count: 1,
            values: [Value::Plain(0); VALUES],
        };
        if is_array && rng.once_in(8) && 2 * command.fields.len() <= VALUES {
            (step.elements, step.count) = (2, 2);
        } else if is_array && rng.once_in(12) {
            step.count = rng.one_of(&[0, 0x8000_0000, 0xffff_ffff, 0x1_0000_0001]);
        }
        if plan.bits == 32 {
            step.count &= u64::from(u32::MAX);
        }
        for element in 0..step.elements {
            let first = element * command.fields.len();
            for (index, field) in command.fields.iter().enumerate() {
                let flags = step.values[first];
                step.values[first + index] = rng.value(field, flags, plan);
            }
        }
        let is_left_out =
            step.is_any_of(LEFT_OUT) || plan.bits == 32 && step.is_any_of(LEFT_OUT_OF_32_BITS);
        (!is_left_out).then_some(step)
    }

    /// Reads what [`Display`](fmt::Display) writes; `None` if it is no step.
    pub(super) fn parse(number: u32, text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let name = words.next()?;
        let mut step = Self {
            number,
            command: COMMANDS.iter().find(|command| command.name == name)?,
            vcpu: 0,
            nowhere: false,
            elements: 1,
            count: 1,
            values: [Value::Plain(0); VALUES],
        };
        let mut length = 0;
        while let Some(word) = words.next() {
            match word {
                "at" => step.nowhere = words.next()? == "nowhere",
                "on" => {
                    words.next()?;
                    step.vcpu = words.next()?.parse().ok()?;
                }
                _ => match word.strip_prefix("count=") {
                    Some(count) => step.count = hexadecimal(count)?,
                    None => {
                        *step.values.get_mut(length)? = Value::parse(word)?;
                        length += 1;
                    }
                },
            }
        }
        let fields = step.command.fields.len();
        step.elements = length.checked_div(fields).unwrap_or(1);
        (length == step.elements * fields).then_some(step)
    }

    fn is_any_of(&self, calls: &[LeftOut]) -> bool {
        calls.iter().any(|(name, values, _)| {
            let fits = |(index, value): &(usize, Option<u64>)| match (value, self.values[*index]) {
                (Some(value), Value::Plain(drawn)) => *value == drawn,
                (Some(0), Value::Me) | (None, _) => true,
                _ => false,
            };
            *name == self.command.name && values.iter().all(fits)
        })
    }

    /// The fields of an argument, and their values.
    pub(super) fn element(&self, element: usize) -> impl Iterator<Item = (&'static Field, Value)> {
        let first = element * self.command.fields.len();
        self.command.fields.iter().zip(self.values.into_iter().skip(first))
    }

    /// The value of a field, if it is a number.
    pub(super) fn plain(&self, index: usize) -> u64 {
        match self.values[index] {
            Value::Plain(value) => value,
            _ => u64::MAX,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.command.name)?;
        let values = &self.values[..self.elements * self.command.fields.len()];
        values.iter().try_for_each(|value| write!(f, " {value}"))?;
        if self.count != 1 {
            write!(f, " count={:#x}", self.count)?;
        }
        if self.nowhere {
            f.write_str(" at nowhere")?;
        }
        if self.vcpu != 0 { f.write_str(" on vCPU 1") } else { Ok(()) }
    }
}

/// Random numbers, from a seed (SplitMix64).
struct Rng(u64);

impl Rng {
    fn new(seed: u64, step: u32) -> Self {
        let mut rng = Self(seed.wrapping_mul(0x1_0000_0001).wrapping_add(u64::from(step) << 20));
        rng.next();
        rng
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound
    }

    fn one_of(&mut self, values: &[u64]) -> u64 {
        values[self.below(values.len() as u64) as usize]
    }

    fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Draws a value for a field. `flags` is the value of the argument's first field.
    fn value(&mut self, field: &Field, flags: Value, plan: &Plan<'_>) -> Value {
        let has = |bit: u64| matches!(flags, Value::Plain(flags) if flags & bit != 0);
        let mut is_word = (REGISTER..NUMBER).contains(&field.at);
        let value = match field.kind {
            Kind::Domid => self.domid(plan),
            Kind::Remote if plan.peer != 0 && self.once_in(2) => Value::Peer,
            Kind::Remote => self.domid(plan),
            Kind::Granter => self.granter(plan),
            Kind::GranterIf(bit) if has(bit) => self.granter(plan),
            Kind::GranterIf(_) if self.once_in(8) => self.domid(plan),
            Kind::GranterIf(_) => Value::Plain(0x7ff0),
            Kind::Port if self.once_in(5) => Value::Plain(self.one_of(&[
                0,
                13,
                20,
                63,
                64,
                100,
                127,
                128,
                255,
                256,
                1023,
                1024,
                4095,
                4096,
                131_071,
                0x7fff_ffff,
                0x8000_0000,
                0xffff_ffff,
            ])),
            Kind::Port => Value::Plain(self.below(10)),
            Kind::Vcpu => Value::Plain(match self.below(8) {
                0..=3 => 0,
                4 | 5 => 1,
                _ => self.one_of(&[
                    2,
                    3,
                    5,
                    31,
                    32,
                    127,
                    128,
                    4096,
                    0x7fff_ffff,
                    0xffff_ffff,
                    1 << 32,
                    1 << 32 | 1,
                ]),
            }),
            Kind::Spare => {
                is_word = true;
                self.spare()
            }
            Kind::Index if matches!(flags, Value::Plain(0 | 1)) => {
                is_word = true;
                Value::Plain(self.one_of(&[
                    0,
                    0,
                    0,
                    1,
                    2,
                    63,
                    64,
                    1 << 32,
                    0x8000_0000,
                    0x8000_0001,
                ]))
            }
            Kind::Index => {
                is_word = true;
                self.spare()
            }
            Kind::Blocks if self.once_in(4) => {
                Value::Plain(self.one_of(&[1 << 40, u64::MAX, 1 << 52]))
            }
            Kind::Blocks => Value::Frame(BLOCKS),
            // In version 1 an entry has 32 bits of the frame.
            Kind::Granted if self.once_in(5) => {
                Value::Plain(self.one_of(&[1 << 28, 0xffff_ffff, u64::MAX]))
            }
            Kind::Granted => Value::Frame(SPARE + self.below(4) as usize),
            Kind::Ref => Value::Plain(self.reference()),
            Kind::RefIf(bit) if has(bit) => Value::Plain(self.reference()),
            Kind::RefIf(_) => {
                is_word = true;
                self.spare()
            }
            Kind::Mapped if self.once_in(8) => Value::Plain(0),
            Kind::Target | Kind::Mapped if self.once_in(10) => {
                Value::Plain(self.one_of(&[1 << 60, u64::MAX]))
            }
            Kind::Target | Kind::Mapped => {
                let offset = if self.once_in(6) { 8 } else { 0 };
                Value::Physical(TARGETS + self.below(4) as usize, offset)
            }
            Kind::Handle if self.once_in(4) => {
                Value::Plain(self.one_of(&[0, 1, 255, 256, 0xffff, 0x1_0000, 0xffff_ffff]))
            }
            Kind::Handle => Value::Handle(TARGETS + self.below(4) as usize),
            Kind::List(u16::MAX) => Value::Nowhere,
            Kind::List(_) if self.once_in(12) => Value::Nowhere,
            Kind::List(offset) => Value::Argument(offset.into()),
            Kind::Area => match self.below(8) {
                0 => Value::Nowhere,
                1 => Value::Plain(plan.greatest()),
                2 => Value::Page(super::AREAS, 1),
                3 => Value::Page(super::AREAS, 0xff8),
                4 => Value::Page(super::AREAS, 8),
                _ => Value::Page(super::AREAS, 0),
            },
            Kind::OneOf(values) => Value::Plain(self.one_of(values)),
            Kind::Word(values) => {
                is_word = true;
                Value::Plain(self.one_of(values))
            }
            Kind::Below(bound) => Value::Plain(self.below(bound)),
            Kind::Out | Kind::OutWord | Kind::OutPeer(_) | Kind::OutPeerPort(..) => {
                Value::Plain(0x55)
            }
        };
        match value {
            // Frame 0 is memory on some platforms.
            Value::Plain(value @ 1..) if is_word && value & plan.greatest() == 0 => {
                Value::Plain(plan.greatest())
            }
            Value::Plain(value) if is_word => Value::Plain(value & plan.greatest()),
            value => value,
        }
    }

    fn domid(&mut self, plan: &Plan<'_>) -> Value {
        if plan.peer != 0 && self.once_in(10) {
            return Value::Peer;
        }
        match self.below(8) {
            0..=4 => Value::Plain(0x7ff0),
            5 => Value::Me,
            _ => Value::Plain(self.one_of(&[
                77, 0x7fef, 0x7ff1, 0x7ff2, 0x7ff3, 0x7ff4, 0x7ff5, 0x7ffe, 0x7fff, 0x8000, 0xffff,
            ])),
        }
    }

    fn granter(&mut self, plan: &Plan<'_>) -> Value {
        match self.below(4) {
            0 => self.domid(plan),
            1 if plan.peer != 0 => Value::Peer,
            _ => Value::Me,
        }
    }

    fn spare(&mut self) -> Value {
        match self.below(5) {
            4 => Value::Plain(self.one_of(&[1 << 44, 1 << 40, 1 << 52, u64::MAX, u64::MAX - 1])),
            page => Value::Frame(SPARE + page as usize),
        }
    }

    fn reference(&mut self) -> u64 {
        if self.once_in(6) {
            self.one_of(&[0, 1, 7, 12, 255, 256, 511, 512, 1024, 32_767, 32_768, 0xffff_ffff])
        } else {
            8 + self.below(4)
        }
    }
}
