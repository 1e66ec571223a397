//! Xen's own console.

use crate::support::prelude::*;

const WRITE: usize = 0;
const READ: usize = 1;
/// One more than a read may ask for.
const TOO_MANY: usize = 1 << 31;

#[test]
fn who_may_is_answered_by_what_is_wrong() {
    for profile in [Profile::DOM0, Profile::DOM0LESS] {
        let report = one(profile, DomainConfig::new(), |t| {
            let console = |command, count, at| t.raw(HypercallNr::CONSOLE_IO, [command, count, at]);
            let mut text = *b"told";
            t.is("unknown", console(NO_COMMAND, TOO_MANY, NOWHERE), ENOSYS);
            t.is("write from nowhere", console(WRITE, 1, NOWHERE), EFAULT);
            t.is("write of nothing from nowhere", console(WRITE, 0, NOWHERE), OK);
            t.is("write", console(WRITE, 4, address(&mut text)), OK);
            t.is("read of too much, to nowhere", console(READ, TOO_MANY, NOWHERE), E2BIG);
            t.is("read of as much as may be", console(READ, TOO_MANY - 1, NOWHERE), OK);
            t.type_in(b"input");
            t.is("read of input to nowhere", console(READ, 3, NOWHERE), EFAULT);
            let mut input = [0; 8];
            let mut read = |count| console(READ, count, address(&mut input));
            t.is("read of input, in parts", [read(3), read(8), read(8)], [3, 2, 0].map(Ok));
        });
        assert!(report.consoles.values().all(|console| console == "told"), "{report:?}");
    }
}

#[test]
fn a_guest_may_not_whatever_it_asks() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        for (what, command, count) in
            [("write", WRITE, 1), ("read", READ, TOO_MANY), ("unknown", NO_COMMAND, 0)]
        {
            t.is(what, t.raw(HypercallNr::CONSOLE_IO, [command, count, NOWHERE]), EPERM);
        }
    });
}
