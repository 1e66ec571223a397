//! Where in the YAML something was said, as a path; the line and column are looked up only when an
//! error needs them.

/// One step from a YAML node to a node inside it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// The value under this key of a mapping.
    Key(String),
    /// The item at this index of a sequence.
    Item(usize),
}

/// Which text of a mapping entry is meant; for anything else, [`Side::Value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The key.
    Key,
    /// The value.
    Value,
}

/// A node of one of the YAML files.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The file's name without folder or ending, `manifest` for the manifest.
    pub file: String,
    /// From the file's root to the node.
    pub steps: Vec<Step>,
    /// The key or the value, where the last step is a key.
    pub side: Side,
}

impl Place {
    /// The root of a file.
    #[must_use]
    pub fn root(file: &str) -> Self {
        Self { file: file.to_owned(), steps: Vec::new(), side: Side::Value }
    }

    /// The value under `key` of this node.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.step(Step::Key(key.to_owned()))
    }

    /// The item at `index` of this node.
    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        self.step(Step::Item(index))
    }

    /// The key that leads to this node, and not its value.
    #[must_use]
    pub fn as_key(&self) -> Self {
        Self { side: Side::Key, ..self.clone() }
    }

    fn step(&self, step: Step) -> Self {
        let mut steps = self.steps.clone();
        steps.push(step);
        Self { file: self.file.clone(), steps, side: Side::Value }
    }
}
