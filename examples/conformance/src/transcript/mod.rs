//! The lines of a run, which consist of tokens.

mod token;

use core::fmt;

use xen_pac::base::Domid;

pub use token::{Address, Time, Token};

/// Takes the lines of one run.
pub struct Transcript<'a> {
    sink: &'a dyn Fn(fmt::Arguments<'_>),
    me: Domid,
}

impl<'a> Transcript<'a> {
    /// Creates a transcript of the domain `me`, whose lines go to `sink`, each without its end.
    #[must_use]
    pub const fn new(me: Domid, sink: &'a dyn Fn(fmt::Arguments<'_>)) -> Self {
        Self { sink, me }
    }

    /// Writes a line: its tokens, with a space between each two. [`line!`](crate::line) is easier
    /// to read.
    pub fn line(&self, tokens: &[&dyn Token]) {
        (self.sink)(format_args!("{}", Line(tokens, self.me)));
    }
}

impl fmt::Debug for Transcript<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transcript")
    }
}

struct Line<'a>(&'a [&'a dyn Token], Domid);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, token) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            token.write(f, self.1)?;
        }
        Ok(())
    }
}

/// Writes a line of a transcript: `line!(transcript, "closing", port, result)`.
#[macro_export]
macro_rules! line {
    ($transcript:expr, $($token:expr),+ $(,)?) => {
        $transcript.line(&[$(&$token as &dyn $crate::transcript::Token),+])
    };
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::{Address, Time, Transcript};
    use std::cell::RefCell;
    use std::string::{String, ToString};
    use std::vec::Vec;
    use xen_hal::event::Port;
    use xen_hal::hypercall::Errno;
    use xen_pac::base::Domid;

    #[test]
    fn lines_are_made_of_tokens() {
        let lines: RefCell<Vec<String>> = RefCell::default();
        let sink = |line: core::fmt::Arguments<'_>| lines.borrow_mut().push(line.to_string());
        let transcript = Transcript::new(Domid(7), &sink);
        line!(transcript, "closing", Port(3), Err::<(), _>(Errno::EINVAL));
        line!(transcript, "bound", Ok::<_, Errno>(Port(4)), true, Ok::<(), Errno>(()));
        line!(transcript, "to", Domid(7), "and", Domid(8));
        line!(transcript, "at", Address(0xffff_u64), Address(0_u64), "after", Time);
        assert_eq!(
            lines.into_inner(),
            [
                "closing port 3 EINVAL",
                "bound port 4 yes ok",
                "to this domain and domain 8",
                "at <addr> <null> after <time>"
            ]
        );
    }
}
