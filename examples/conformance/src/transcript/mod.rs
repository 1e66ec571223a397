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
