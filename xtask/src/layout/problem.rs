//! What can stand in the way of an answer.

use crate::yaml::Place;
use std::fmt::{Display, Formatter, Result};

/// Why a name has no meaning, or a struct no layout, in some release on some architecture.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Problem {
    /// No type has this name anywhere.
    UnknownType(String),
    /// No constant has this name anywhere.
    UnknownConstant(String),
    /// The thing exists, but not in this release on this architecture.
    NotThere {
        /// Its name.
        name: String,
        /// Where it is described.
        defined: Box<Place>,
    },
    /// The name stands for something that no field can be made of.
    NotAType {
        /// The name.
        name: String,
        /// What it is, with an article.
        what: &'static str,
    },
    /// A map from architectures to values lacks this one.
    NoValue,
    /// An array has no elements.
    NoElements,
    /// An array has a negative number of elements.
    Negative(i128),
    /// Something is larger than any object can be.
    TooLarge,
    /// An array without a length stands where something follows or where its length must be known.
    Flexible,
    /// A type holds itself: the names on the way round, from a type to that type again.
    Recursive(Vec<String>),
    /// Types hold one another through more levels than [`MAX_DEPTH`](super::MAX_DEPTH), or stand
    /// for one another in a longer row than [`MAX_ALIASES`](super::MAX_ALIASES).
    TooDeep,
}

/// Why a struct has no layout, and which node of the description is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LayoutError {
    /// The node to blame; perhaps in a struct that the one asked about holds.
    pub place: Place,
    /// What is wrong with it.
    pub problem: Problem,
}

impl Problem {
    /// A type that holds itself by way of `names`. Of a long way only both ends are kept: every
    /// type on it will repeat them.
    pub(super) fn circle<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> Self {
        let count = names.len();
        let mut path = Vec::new();
        for (at, name) in names.enumerate() {
            match at {
                _ if count <= 2 * ENDS || at < ENDS || at >= count - ENDS => {
                    path.push(name.to_owned());
                }
                ENDS => path.push("...".to_owned()),
                _ => {}
            }
        }
        Self::Recursive(path)
    }
}

/// How many names of each end of a long circle are told.
const ENDS: usize = 4;

impl Display for Problem {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        match self {
            Self::UnknownType(name) => write!(out, "there is no type `{name}`"),
            Self::UnknownConstant(name) => write!(out, "there is no constant `{name}`"),
            Self::NotThere { name, .. } => write!(out, "`{name}` does not exist there"),
            Self::NotAType { name, what } => {
                write!(out, "`{name}` is {what}, of which nothing can be made here")
            }
            Self::NoValue => write!(out, "no value for this architecture"),
            Self::NoElements => write!(out, "an array of length 0"),
            Self::Negative(count) => write!(out, "an array of length {count}"),
            Self::TooLarge => write!(out, "larger than 2 GiB"),
            Self::Flexible => {
                write!(out, "only the last field of a block or an argument can be flexible")
            }
            Self::Recursive(path) => write!(out, "a type that holds itself: {}", path.join(" > ")),
            Self::TooDeep => write!(out, "types too deep in one another"),
        }
    }
}

impl Display for LayoutError {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        Display::fmt(&self.problem, out)
    }
}

impl std::error::Error for Problem {}
impl std::error::Error for LayoutError {}
