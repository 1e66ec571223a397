//! Which text of an item a fault points at.

use crate::document::{ArchId, ArchSet, Availability, Head, Manifest, PerArch};
use crate::yaml::{Place, Step};

/// Where an item's name is written: the key in a mapping of items, the value of `name` in a list.
pub(super) fn name_of(head: &Head) -> Place {
    name_at(&head.place)
}

/// Where the name of the item at `place` is written.
pub(super) fn name_at(place: &Place) -> Place {
    match place.steps.last() {
        Some(Step::Item(_)) => place.key("name"),
        _ => place.as_key(),
    }
}

/// Each value of something that may differ by architecture, with the availability and the text that
/// belong to it. Values for architectures on which the item does not exist are left out.
pub(super) fn spread<'v, T>(
    value: &'v PerArch<T>,
    availability: Availability,
    place: &Place,
    manifest: &Manifest,
) -> Vec<(&'v T, Availability, Place)> {
    match value {
        PerArch::Same(value) => vec![(value, availability, place.clone())],
        PerArch::Each(values) => {
            let here = values.iter().filter(|(arch, _)| availability.archs.contains(**arch));
            here.map(|(arch, value)| {
                (value, narrowed(availability, *arch), place.key(&manifest.arch(*arch).name))
            })
            .collect()
        }
    }
}

/// Where the value for `arch` is written.
pub(super) fn for_arch<T>(
    value: &PerArch<T>,
    arch: ArchId,
    place: &Place,
    manifest: &Manifest,
) -> Place {
    match value {
        PerArch::Each(values) if values.contains_key(&arch) => place.key(&manifest.arch(arch).name),
        _ => place.clone(),
    }
}

fn narrowed(availability: Availability, arch: ArchId) -> Availability {
    Availability { archs: availability.archs.and(ArchSet::from_iter([arch])), ..availability }
}
