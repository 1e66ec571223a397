//! Which name was perhaps meant.

/// Longer names are not compared: the cost grows with the square of the length.
const LONGEST: usize = 64;

/// The candidate that differs least from `name`, if any differs little; the first in the alphabet of several.
pub(super) fn nearest<'n>(name: &str, candidates: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if name.len() > LONGEST {
        return None;
    }
    let limit = (name.chars().count() / 3).max(1);
    let near = candidates.filter(|candidate| candidate.len() <= LONGEST && candidate.len().abs_diff(name.len()) <= limit);
    let rated = near.map(|candidate| (distance(name, candidate), candidate)).filter(|(distance, _)| *distance <= limit);
    rated.min().map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out, replaced, or swapped with their neighbour. Capitals count as small letters.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().map(|letter| letter.to_ascii_lowercase()).collect();
    let to: Vec<char> = to.chars().map(|letter| letter.to_ascii_lowercase()).collect();
    let mut before = vec![0; to.len() + 1];
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for i in 1..=from.len() {
        let mut next = vec![i];
        for j in 1..=to.len() {
            let replaced = row[j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = replaced.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn letters_put_in_taken_out_replaced_and_swapped() {
        for (from, to, expected) in [("u32", "u32", 0), ("u32", "u64", 2), ("", "abc", 3), ("prot", "port", 1), ("DOMID", "domid", 0)] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
            assert_eq!(distance(to, from), expected, "{to} {from}");
        }
    }

    #[test]
    fn only_what_is_near_is_proposed() {
        let names = || ["xen_pfn_t", "xen_ulong_t", "domid", "virq"].into_iter();
        assert_eq!(nearest("xen_pfm_t", names()), Some("xen_pfn_t"));
        assert_eq!(nearest("domdi", names()), Some("domid"));
        assert_eq!(nearest("grant_ref_t", names()), None);
        assert_eq!(nearest("", names()), None);
        assert_eq!(nearest(&"x".repeat(1_000_000), names()), None);
    }
}
