//! Reduces a program to the steps that show a difference.

/// The last steps of a program that are tried alone, before anything else.
const TAILS: [usize; 4] = [8, 32, 128, 512];
/// How many parts a program is first divided into.
const PARTS: usize = 8;

/// Removes steps as long as the rest differs. `differs` judges several programs at once,
/// because some platforms run several in one boot.
pub(super) fn minimise(
    all: Vec<u32>,
    mut differs: impl FnMut(&[Vec<u32>]) -> Result<Vec<bool>, String>,
) -> Result<Vec<u32>, String> {
    let mut least = all;
    let tail = |length: &usize| Some(least.get(least.len().checked_sub(*length)?..)?.to_vec());
    let tails: Vec<Vec<u32>> = TAILS.iter().filter_map(tail).collect();
    if let Some(at) = differs(&tails)?.iter().position(|differs| *differs) {
        least = tails[at].clone();
    }
    let mut parts = PARTS;
    while least.len() > 1 {
        let size = least.len().div_ceil(parts);
        let parts_of = least.chunks(size).map(<[u32]>::to_vec).collect::<Vec<_>>();
        let without = |left_out: &[usize]| -> Vec<u32> {
            let kept = parts_of.iter().enumerate().filter(|(index, _)| !left_out.contains(index));
            kept.flat_map(|(_, part)| part).copied().collect()
        };
        let each: Vec<Vec<u32>> = (0..parts_of.len()).map(|index| without(&[index])).collect();
        let found = differs(&each)?;
        let needless: Vec<usize> = (0..each.len()).filter(|index| found[*index]).collect();
        if needless.is_empty() {
            if size == 1 {
                break;
            }
            parts *= 2;
            continue;
        }
        // What can be left out alone may be needed without the others.
        let several: Vec<Vec<u32>> =
            (1..=needless.len()).map(|count| without(&needless[..count])).collect();
        let several: Vec<Vec<u32>> =
            several.into_iter().filter(|program| !program.is_empty()).collect();
        let last = differs(&several[1..])?.iter().rposition(|differs| *differs);
        least = several[last.map_or(0, |last| last + 1)].clone();
    }
    Ok(least)
}

#[cfg(test)]
mod tests {
    use super::minimise;

    /// Reduces `0..length` for programs that differ if they have all of some steps.
    fn reduced(length: u32, needed: &[u32]) -> Vec<u32> {
        let all: Vec<u32> = (0..length).collect();
        minimise(all, |programs| {
            Ok(programs
                .iter()
                .map(|program| needed.iter().all(|step| program.contains(step)))
                .collect())
        })
        .unwrap()
    }

    #[test]
    fn only_the_steps_that_are_needed_are_left() {
        let cases: [(u32, &[u32]); 6] = [
            (1, &[0]),
            (9, &[8]),
            (40, &[0, 39]),
            (2000, &[1990, 1999]),
            (2000, &[3, 4, 700, 1999]),
            (100, &[0, 10, 20, 30, 40, 50, 60, 70, 80, 99]),
        ];
        for (length, needed) in cases {
            assert_eq!(reduced(length, needed), needed, "of {length}");
        }
    }

    #[test]
    fn one_of_two_alternatives_is_left() {
        let either = minimise((0..64).collect(), |programs| {
            Ok(programs.iter().map(|steps| steps.contains(&3) || steps.contains(&40)).collect())
        });
        assert!(matches!(either.unwrap()[..], [3 | 40]));
    }
}
