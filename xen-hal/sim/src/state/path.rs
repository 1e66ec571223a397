//! What happened, in order, as a number that differs where the order did.

use super::sum::Sum;

/// A sum over all steps, and one over those since it was last taken.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    whole: Sum,
    part: Sum,
}

impl Default for Path {
    fn default() -> Self {
        Self { whole: Sum::NOTHING, part: Sum::NOTHING }
    }
}

impl Path {
    pub(crate) fn step(&mut self, what: &[u64]) {
        for word in what {
            self.whole = self.whole.with(*word);
            self.part = self.part.with(*word);
        }
    }

    pub(crate) const fn whole(&self) -> u64 {
        self.whole.value()
    }

    pub(crate) const fn take(&mut self) -> u64 {
        core::mem::replace(&mut self.part, Sum::NOTHING).value()
    }
}

#[cfg(test)]
mod tests {
    use super::Path;

    #[test]
    fn another_order_is_another_path() {
        let after = |steps: [u64; 2]| {
            let mut path = Path::default();
            path.step(&[steps[0]]);
            path.step(&[steps[1]]);
            path
        };
        let (mut one, other) = (after([1, 2]), after([2, 1]));
        assert_ne!(one.whole(), other.whole());
        let part = one.take();
        assert_eq!((part, one.whole()), (after([1, 2]).whole(), after([1, 2]).whole()));
        assert_eq!(one.take(), Path::default().whole());
    }
}
