//! A line on Xen's console, and who wrote it.

/// The prefix of a line that a guest wrote to its own console, and dom0 printed.
const OWN_CONSOLE: &str = "console: ";

/// A line of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The guest of that number wrote it.
    Guest(u32, String),
    /// The hypervisor wrote it.
    Hypervisor(String),
    /// Something else wrote it, such as the firmware.
    Other(String),
}

impl Line {
    /// Reads a line as it came over the serial port.
    #[must_use]
    pub fn parse(raw: &str) -> Self {
        let mut text = raw.trim_end_matches(['\r', '\n']);
        // GRUB clears the screen before the first line of Xen.
        while let Some(sequence) = text.strip_prefix("\x1b[") {
            text = sequence.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
            text = text.get(1..).unwrap_or_default();
        }
        if let Some(text) = text.strip_prefix("(XEN)") {
            return Self::Hypervisor(text.trim_start().to_owned());
        }
        guest(text).unwrap_or_else(|| Self::Other(text.to_owned()))
    }

    /// Returns the text of a line that a guest wrote to its own console.
    #[must_use]
    pub fn own_console(&self) -> Option<&str> {
        let Self::Other(text) = self else { return None };
        text.strip_prefix(OWN_CONSOLE)
    }
}

/// Splits a guest's line, which starts with the guest's number, as in `(d0) `.
fn guest(text: &str) -> Option<Line> {
    let (number, text) = text.strip_prefix("(d")?.split_once(')')?;
    Some(Line::Guest(number.parse().ok()?, text.strip_prefix(' ').unwrap_or(text).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::Line;

    #[test]
    fn lines_are_told_apart_by_their_prefix() {
        assert_eq!(Line::parse("(d0) guest: success\r\n"), Line::Guest(0, "guest: success".into()));
        assert_eq!(Line::parse("(d12)   indented"), Line::Guest(12, "  indented".into()));
        assert_eq!(Line::parse("(d0) "), Line::Guest(0, String::new()));
        assert_eq!(
            Line::parse("(XEN) Panic on CPU 0:\r"),
            Line::Hypervisor("Panic on CPU 0:".into())
        );
        assert_eq!(Line::parse("(XEN)"), Line::Hypervisor(String::new()));
        let cleared = "\x1b[H\x1b[J\x1b[1;1H(XEN) Xen version 4.17";
        assert_eq!(Line::parse(cleared), Line::Hypervisor("Xen version 4.17".into()));
        assert_eq!(Line::parse("\x1b["), Line::Other(String::new()));
        assert_eq!(Line::parse("(dx) text"), Line::Other("(dx) text".into()));
        assert_eq!(Line::parse("(d0"), Line::Other("(d0".into()));
    }
}
