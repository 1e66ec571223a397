//! What happened, in order, as a number that differs where the order did.

/// The beginning of an FNV-1a sum, and its factor.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FACTOR: u64 = 0x0100_0000_01b3;

/// A sum over all steps, and one over those since it was last taken.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Path {
    whole: u64,
    part: u64,
}

impl Default for Path {
    fn default() -> Self {
        Self { whole: BASIS, part: BASIS }
    }
}

impl Path {
    pub(in crate::sim) fn step(&mut self, what: &[u64]) {
        for word in what {
            self.whole = (self.whole ^ word).wrapping_mul(FACTOR);
            self.part = (self.part ^ word).wrapping_mul(FACTOR);
        }
    }

    pub(in crate::sim) const fn whole(&self) -> u64 {
        self.whole
    }

    pub(in crate::sim) const fn take(&mut self) -> u64 {
        core::mem::replace(&mut self.part, BASIS)
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
