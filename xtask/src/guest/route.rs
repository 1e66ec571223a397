//! On what a guest can be started: an architecture, and a way to become a guest there.

use std::fmt;

/// A way to start a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The architecture.
    pub arch: &'static str,
    /// The way's letter.
    pub letter: &'static str,
    /// What the guest is there.
    pub about: &'static str,
}

/// All that there are; the first is taken unless another is asked for.
pub const ROUTES: &[Route] =
    &[Route { arch: "x86_64", letter: "A", about: "the guest is the control domain, as PVH" }];

impl Route {
    /// The name of the folder with what was recorded there.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}-{}", self.arch, self.letter)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--arch {} --route {} ({})", self.arch, self.letter, self.about)
    }
}

/// The route that fits what was asked for.
///
/// # Errors
///
/// A sentence that says which there are.
pub fn choose(arch: Option<&str>, letter: Option<&str>) -> Result<Route, String> {
    let fits =
        |asked: Option<&str>, is: &str| asked.is_none_or(|asked| asked.eq_ignore_ascii_case(is));
    ROUTES
        .iter()
        .find(|route| fits(arch, route.arch) && fits(letter, route.letter))
        .copied()
        .ok_or_else(|| {
            let known: Vec<String> = ROUTES.iter().map(Route::to_string).collect();
            let asked = [
                arch.map(|arch| format!("--arch {arch}")),
                letter.map(|letter| format!("--route {letter}")),
            ];
            let asked: Vec<String> = asked.into_iter().flatten().collect();
            format!(
                "guests cannot be started with {}; there is: {}",
                asked.join(" "),
                known.join(", ")
            )
        })
}

#[cfg(test)]
mod tests {
    use super::{ROUTES, choose};

    #[test]
    fn a_route_is_found_by_any_part_of_its_name() {
        for (arch, letter) in
            [(None, None), (Some("x86_64"), None), (None, Some("a")), (Some("x86_64"), Some("A"))]
        {
            assert_eq!(choose(arch, letter), Ok(ROUTES[0]));
        }
    }

    #[test]
    fn a_refusal_says_what_there_is() {
        let why = choose(Some("aarch64"), Some("C")).unwrap_err();
        assert!(
            why.contains("--arch aarch64 --route C") && why.contains("--arch x86_64 --route A"),
            "{why}"
        );
    }
}
