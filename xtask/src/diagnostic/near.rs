//! Which name was perhaps meant.

/// Names longer than this are not compared with others: the cost grows with the square of the
/// length.
const LONGEST: usize = 64;

/// The known name that differs least from the given one, if any differs little; the first in the
/// alphabet of several.
#[must_use]
pub fn nearest<'n>(given: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if given.len() > LONGEST {
        return None;
    }
    let limit = (given.chars().count() / 3).max(1);
    let near = known.filter(|name| name.len() <= LONGEST);
    let rated = near.map(|name| {
        (strsim::damerau_levenshtein(&given.to_lowercase(), &name.to_lowercase()), name)
    });
    rated.filter(|(distance, _)| *distance <= limit).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn only_what_is_near_is_proposed() {
        let names = || ["xen_pfn_t", "xen_ulong_t", "domid", "virq"].into_iter();
        assert_eq!(nearest("xen_pfm_t", names()), Some("xen_pfn_t"));
        assert_eq!(nearest("DOMDI", names()), Some("domid"));
        assert_eq!(nearest("grant_ref_t", names()), None);
        assert_eq!(nearest("", names()), None);
        assert_eq!(nearest(&"x".repeat(1_000_000), names()), None);
    }
}
