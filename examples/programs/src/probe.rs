//! Tries every operation of xenstore and its refusals, and prints lines that are the same on every
//! server.

use core::fmt;
use core::str;

use xen_hal::console::Console;
use xen_hal::hypercall::Hypercall;
use xen_hal::ring::Wait;
use xen_hal::xenstore::{NodeAccess, Permission, Store, StoreError, StoreEvent, Tree};
use xen_pac::base::Domid;
use xen_pac::xenstore::XsdSockmsgType as Kind;

use crate::Error;
use crate::echo::read_line;

/// A result as a line shows it.
struct Shown<'r>(Result<&'r [u8], StoreError>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(bytes) if bytes.len() > 60 => write!(f, "{} bytes", bytes.len()),
            Ok(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Err(StoreError::Refused(errno)) => write!(f, "{errno}"),
            Err(error) => write!(f, "{error}"),
        }
    }
}

/// Returns a path of `N` bytes.
fn long<const N: usize>() -> [u8; N] {
    let mut path = [b'x'; N];
    path[..5].copy_from_slice(b"data/");
    path
}

/// What the domain types on its console when dom0 is to write `dom0` to [`DISTURBED`]. Dom0 answers
/// with a line when it has.
pub const DISTURB: &str = "disturb";
/// The node that dom0 then writes, below the domain's directory.
pub const DISTURBED: &str = "data/t/deep";

/// Tries everything, and gives each line to `tell`. Dom0 disturbs a transaction meanwhile, as
/// [`DISTURB`] says.
///
/// # Errors
///
/// What ends the connection. Refusals are lines.
pub fn probe<H: Hypercall + Copy, W: Wait>(
    store: &mut Store<'_, H, W>,
    console: &mut Console<'_, H>,
    tell: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result<(), Error> {
    requests(store, tell)?;
    permissions(store, tell)?;
    transactions(store, tell)?;
    conflict(store, console, tell)?;
    in_flight(store, tell)?;
    watches(store, tell)?;
    directories(store, tell)?;
    quotas(store, tell)
}

fn requests<H: Hypercall + Copy, W: Wait>(
    store: &mut Store<'_, H, W>,
    tell: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result<(), Error> {
    let mut buffer = [0; 4096];
    let (rel, too_long) = (long::<2048>(), long::<2049>());
    let value = [b'v'; 2049];
    let mut ask = |what: &str, kind: Kind, payload: &[&[u8]]| -> Result<(), Error> {
        let answer = store.request(kind, payload, &mut buffer).map(|bytes| &*bytes);
        if let Err(error @ (StoreError::TimedOut | StoreError::Broken)) = answer {
            return Err(error.into());
        }
        tell(format_args!("{what}: {}", Shown(answer)));
        Ok(())
    };
    for (what, kind, payload) in [
        ("write", Kind::WRITE, &[&b"data/a/b\0"[..], b"value"][..]),
        ("read", Kind::READ, &[b"data/a/b\0"]),
        ("read what was created above", Kind::READ, &[b"data/a\0"]),
        ("write nothing", Kind::WRITE, &[b"data/a/b\0"]),
        ("read nothing", Kind::READ, &[b"data/a/b\0"]),
        ("write bytes", Kind::WRITE, &[b"data/a/b\0", b"\0\xff"]),
        ("read bytes", Kind::READ, &[b"data/a/b\0"]),
        ("mkdir", Kind::MKDIR, &[b"data/c/d\0"]),
        ("mkdir again", Kind::MKDIR, &[b"data/c/d\0"]),
        ("mkdir keeps the value", Kind::MKDIR, &[b"data/a/b\0"]),
        ("directory", Kind::DIRECTORY, &[b"data\0"]),
        ("directory of a leaf", Kind::DIRECTORY, &[b"data/c/d\0"]),
        ("rm", Kind::RM, &[b"data/c\0"]),
        ("rm again", Kind::RM, &[b"data/c\0"]),
        ("rm below nothing", Kind::RM, &[b"data/none/x\0"]),
        ("rm /", Kind::RM, &[b"/\0"]),
        ("read what was removed", Kind::READ, &[b"data/c/d\0"]),
        ("directory of nothing", Kind::DIRECTORY, &[b"data/c\0"]),
        ("read nothing of dom0", Kind::READ, &[b"/local/domain/0/none\0"]),
        ("read dom0's", Kind::READ, &[b"/local/domain/0\0"]),
        ("write its own name", Kind::WRITE, &[b"name\0", b"x"]),
        ("write below what it may only read", Kind::WRITE, &[b"none\0", b"x"]),
        ("mkdir at the root", Kind::MKDIR, &[b"/none\0"]),
        ("rm its own directory", Kind::RM, &[b"control\0"]),
        ("read no path", Kind::READ, &[b"\0"]),
        ("write without a path", Kind::WRITE, &[b"data"]),
        ("read //", Kind::READ, &[b"data//a\0"]),
        ("read a/", Kind::READ, &[b"data/\0"]),
        ("read a space", Kind::READ, &[b"data/a b\0"]),
        ("read a star", Kind::READ, &[b"data/*\0"]),
        ("read @", Kind::READ, &[b"@releaseDomain\0"]),
        ("a path of 2048 bytes", Kind::READ, &[&rel, b"\0"]),
        ("a path of 2049 bytes", Kind::READ, &[&too_long, b"\0"]),
        ("a value of 1900 bytes", Kind::WRITE, &[b"data/v\0", &value[..1900]]),
        ("a value of 2049 bytes", Kind::WRITE, &[b"data/v\0", &value]),
        ("the path of a domain", Kind::GET_DOMAIN_PATH, &[b"77\0"]),
        ("control", Kind::CONTROL, &[b"help\0"]),
        ("introduce", Kind::INTRODUCE, &[b"2\0", b"1\0", b"1\0"]),
        ("release", Kind::RELEASE, &[b"2\0"]),
        ("resume", Kind::RESUME, &[b"2\0"]),
        ("set target", Kind::SET_TARGET, &[b"2\0", b"1\0"]),
        ("is domain introduced", Kind::IS_DOMAIN_INTRODUCED, &[b"0\0"]),
        ("a watch event", Kind::WATCH_EVENT, &[b"a\0b\0"]),
        ("an error", Kind::ERROR, &[b"EINVAL\0"]),
        ("restrict", Kind(20), &[b"1\0"]),
        ("an unknown request", Kind(99), &[]),
        ("an invalid request", Kind::INVALID, &[]),
        ("end no transaction", Kind::TRANSACTION_END, &[b"T\0"]),
        ("end a transaction otherwise", Kind::TRANSACTION_END, &[b"X\0"]),
    ] {
        ask(what, kind, payload)?;
    }
    Ok(())
}

fn permissions<H: Hypercall + Copy, W: Wait>(
    store: &mut Store<'_, H, W>,
    tell: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result<(), Error> {
    let own = Domid(store.read_number("domid")?);
    let (mut buffer, mut raw) = ([0; 256], [0; 64]);
    let of = |domain, access| Permission { domain, access };
    let mine = of(own, NodeAccess::None);
    for (what, list) in [
        ("for all to read", &[of(own, NodeAccess::Read)][..]),
        ("for dom0", &[mine, of(Domid(0), NodeAccess::ReadWrite)]),
        ("for a domain that is not there", &[mine, of(Domid(99), NodeAccess::Write)]),
        ("five entries", &[mine; 5]),
        ("six entries", &[mine; 6]),
        ("another owner", &[of(Domid(0), NodeAccess::None)]),
    ] {
        let set = store.set_permissions("data/a", list).map(|()| &b"ok"[..]);
        tell(format_args!("permissions {what}: {}", Shown(set)));
        for permission in store.permissions("data/a", &mut buffer)? {
            let Permission { domain, access } = permission?;
            let whose = if domain == own { "own" } else { "other" };
            let access = match access {
                NodeAccess::None => "None",
                NodeAccess::Read => "Read",
                NodeAccess::Write => "Write",
                NodeAccess::ReadWrite => "ReadWrite",
            };
            tell(format_args!("  {whose} {access}"));
        }
    }
    let set = store.set_permissions("name", &[mine]).map(|()| &b"ok"[..]);
    tell(format_args!("permissions of its name: {}", Shown(set)));
    let set = store.set_permissions("data/none", &[mine]).map(|()| &b"ok"[..]);
    tell(format_args!("permissions of nothing: {}", Shown(set)));
    for text in [&b"x1\0"[..], b"r\0", b"\0", b""] {
        let payload = [&b"data/a\0"[..], text];
        let set = store.request(Kind::SET_PERMS, &payload, &mut raw).map(|bytes| &*bytes);
        tell(format_args!("permissions \"{}\": {}", text.escape_ascii(), Shown(set)));
    }
    Ok(())
}

fn transactions<H: Hypercall + Copy, W: Wait>(
    store: &mut Store<'_, H, W>,
    tell: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result<(), Error> {
    let mut raw = [0; 64];
    let committed: Result<(), StoreError> = store.transaction(|tree| {
        tree.write("data/t/deep", "1")?;
        let nested = tree.request(Kind::TRANSACTION_START, &[b"\0"], &mut raw).map(|bytes| &*bytes);
        tell(format_args!("a transaction in a transaction: {}", Shown(nested)));
        tree.rm("data/a")
    });
    tell(format_args!("commit: {}", Shown(committed.map(|()| &b"ok"[..]))));
    tell(format_args!("what it wrote: {}", Shown(store.read("data/t/deep", &mut raw))));
    tell(format_args!("what it removed: {}", Shown(store.read("data/a", &mut raw))));
    let dropped: Result<(), StoreError> = store.transaction(|tree| {
        tree.write("data/t/deep", "2")?;
        Err(StoreError::Malformed)
    });
    tell(format_args!("dropped: {}", dropped.is_err()));
    tell(format_args!("what it wrote: {}", Shown(store.read("data/t/deep", &mut raw))));
    Ok(())
}

/// Runs a transaction during whose first run dom0 writes a node that it has read.
fn conflict<H: Hypercall + Copy, W: Wait>(
    store: &mut Store<'_, H, W>,
    console: &mut Console<'_, H>,
    tell: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result<(), Error> {
    tell(format_args!("a transaction in which dom0 writes what it reads:"));
    let (mut raw, mut runs) = ([0; 64], 0);
    store.transaction(|tree| -> Result<(), Error> {
        runs += 1;
        tell(format_args!("  run {runs} reads {}", Shown(tree.read(DISTURBED, &mut raw))));
        tree.write("data/t/run", [b'0' + runs])?;
        if runs == 1 {
            writeln!(console, "{DISTURB}")?;
            console.flush()?;
            read_line(console, &mut raw)?;
            tell(format_args!("  which dom0 wrote: {}", Shown(tree.read(DISTURBED, &mut raw))));
        }
        Ok(())
    })?;
    tell(format_args!("what it wrote: {}", Shown(store.read("data/t/run", &mut raw))));
    Ok(())
}

/// Has several requests in flight, and takes their answers in the opposite order.
fn in_flight<H: Hypercall + Copy, W: Wait>(
    store: &mut Store<'_, H, W>,
    tell: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result<(), Error> {
    const REQUESTS: [(Kind, &[&[u8]]); 8] = [
        (Kind::WRITE, &[b"data/f\0", b"1"]),
        (Kind::READ, &[b"data/f\0"]),
        (Kind::MKDIR, &[b"data/f/below\0"]),
        (Kind::DIRECTORY, &[b"data/f\0"]),
        (Kind::READ, &[b"data/none\0"]),
        (Kind::RM, &[b"data/f\0"]),
        (Kind::READ, &[b"data/f\0"]),
        (Kind::GET_DOMAIN_PATH, &[b"77\0"]),
    ];
    let mut ids = [None; REQUESTS.len()];
    for (id, (kind, payload)) in ids.iter_mut().zip(REQUESTS) {
        *id = Some(store.submit(kind, payload)?);
    }
    let ninth = store.submit(Kind::READ, &[b"name\0"]).map(|_| &b"ok"[..]);
    tell(format_args!("eight requests at once, and a ninth: {}", Shown(ninth)));
    let mut buffer = [0; 64];
    for (number, id) in ids.into_iter().enumerate().rev() {
        let Some(id) = id else { continue };
        let mut attempt = 0;
        let answer = loop {
            match store.answer(id, &mut buffer).map(|found| found.map(|bytes| bytes.len())) {
                Ok(None) => store.pause(&mut attempt)?,
                Ok(Some(length)) => break Ok(length),
                Err(error) => break Err(error),
            }
        };
        let answer = answer.map(|length| &buffer[..length]);
        tell(format_args!("  number {number}: {}", Shown(answer)));
    }
    Ok(())
}

fn watches<H: Hypercall + Copy, W: Wait>(
    store: &mut Store<'_, H, W>,
    tell: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result<(), Error> {
    let mut buffer = [0; 256];
    for (what, path, token) in [
        ("watch", "data/w", "one"),
        ("watch with another token", "data/w", "two"),
        ("watch again", "data/w", "one"),
        ("watch by an absolute path", "/local/domain/0/none", "dom0"),
        ("watch a bad path", "data//w", "bad"),
        ("watch for domains that end", "@releaseDomain", "end"),
        ("watch for what is unknown", "@none", "none"),
    ] {
        let set = store.watch(path, token).map(|()| &b"ok"[..]);
        tell(format_args!("{what}: {}", Shown(set)));
        events(store, tell)?;
    }
    for (what, path, token) in [
        ("unwatch", "data/w", "two"),
        ("unwatch again", "data/w", "two"),
        ("unwatch what never was", "data/none", "x"),
        ("unwatch dom0's", "/local/domain/0/none", "dom0"),
    ] {
        let removed = match store.unwatch(path, token) {
            Ok(true) => Ok(&b"ok"[..]),
            Ok(false) => Ok(&b"was not watched"[..]),
            Err(error) => Err(error),
        };
        tell(format_args!("{what}: {}", Shown(removed)));
    }
    let own = Domid(store.read_number("domid")?);
    store.write("data/w", "1")?;
    store.write("data/w/below", "1")?;
    store.write("data/wx", "1")?;
    store.mkdir("data/w")?;
    store.set_permissions("data/w", &[Permission { domain: own, access: NodeAccess::Read }])?;
    tell(format_args!("after writing there, below, beside, mkdir and permissions:"));
    events(store, tell)?;
    store.transaction(|tree| {
        tree.write("data/w/one", "1")?;
        tree.write("data/w/two", "2")
    })?;
    tell(format_args!("after a transaction:"));
    events(store, tell)?;
    store.rm("data/w/below")?;
    tell(format_args!("after removing below:"));
    events(store, tell)?;
    store.watch("data/w/one", "deep")?;
    events(store, tell)?;
    store.rm("data/w")?;
    tell(format_args!("after removing it:"));
    events(store, tell)?;
    let reset = store.request(Kind::RESET_WATCHES, &[b"\0"], &mut buffer).map(|bytes| &*bytes);
    tell(format_args!("reset watches: {}", Shown(reset)));
    store.write("data/w", "1")?;
    tell(format_args!("after writing:"));
    events(store, tell)
}

/// Shows the events that there are. A request in between gives the server time for those that it
/// sends behind an answer.
fn events<H: Hypercall + Copy, W: Wait>(
    store: &mut Store<'_, H, W>,
    tell: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result<(), Error> {
    let mut buffer = [0; 256];
    let _: u16 = store.read_number("domid")?;
    // Bounded: others can change what is watched without end.
    for _ in 0..256 {
        let Some(event) = store.event(&mut buffer)? else { break };
        match event {
            StoreEvent::Watch { path, token } => tell(format_args!("  {path} {token}")),
            StoreEvent::Lost => tell(format_args!("  Lost")),
            StoreEvent::Reset => tell(format_args!("  Reset")),
        }
    }
    Ok(())
}

fn directories<H: Hypercall + Copy, W: Wait>(
    store: &mut Store<'_, H, W>,
    tell: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result<(), Error> {
    let mut buffer = [0; 4096];
    // Names of 40 bytes, until the node above is too large for a guest's.
    let mut count = 0;
    let refused = loop {
        let mut name = [b'n'; 40];
        name[37..].copy_from_slice(&digits(count));
        let name = str::from_utf8(&name).map_err(|_| StoreError::Malformed)?;
        match store.mkdir(("data/many", name)) {
            Ok(()) if count < 200 => count += 1,
            result => break result,
        }
    };
    tell(format_args!("children: {count}, then {}", Shown(refused.map(|()| &b"ok"[..]))));
    let payload: [&[u8]; 1] = [b"data/many\0"];
    let list = store.request(Kind::DIRECTORY, &payload, &mut buffer).map(|bytes| &*bytes);
    tell(format_args!("the directory: {}", Shown(list)));
    for offset in [&b"0\0"[..], b"1927\0", b"1968\0", b"2009\0", b"7000\0"] {
        let payload = [&b"data/many\0"[..], offset];
        let part = store.request(Kind::DIRECTORY_PART, &payload, &mut buffer);
        // Without the generation, which differs from run to run.
        let names = part.map(|part| {
            let begin = part.iter().position(|byte| *byte == 0).map_or(0, |end| end + 1);
            part.get(begin..).unwrap_or_default()
        });
        tell(format_args!(
            "  from {}: {}",
            offset[..offset.len() - 1].escape_ascii(),
            Shown(names)
        ));
    }
    let names = store.directory("data/many", &mut buffer)?;
    tell(format_args!("its names: {}", names.count()));
    store.rm("data/many")?;
    let value = [b'v'; 2048];
    let fits = (0..=2048).rev().find(|length| store.write("data/v", &value[..*length]).is_ok());
    tell(format_args!("the longest value: {fits:?}"));
    Ok(store.rm("data/v")?)
}

fn digits(number: u8) -> [u8; 3] {
    [number / 100, number / 10 % 10, number % 10].map(|digit| b'0' + digit)
}

fn quotas<H: Hypercall + Copy, W: Wait>(
    store: &mut Store<'_, H, W>,
    tell: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result<(), Error> {
    let mut raw = [0; 64];
    let mut count = 0_u8;
    let refused = loop {
        let token = digits(count);
        let token = str::from_utf8(&token).map_err(|_| StoreError::Malformed)?;
        match store.watch("data/quota", token) {
            Ok(()) if count < 200 => count += 1,
            result => break result,
        }
        // At most one event for each watch.
        for _ in 0..256 {
            if store.event(&mut raw)?.is_none() {
                break;
            }
        }
    };
    tell(format_args!("watches: {count}, then {}", Shown(refused.map(|()| &b"ok"[..]))));
    store.reset_watches()?;
    count = 0;
    let refused = loop {
        let begun = store.request(Kind::TRANSACTION_START, &[b"\0"], &mut raw).map(|bytes| &*bytes);
        match begun {
            Ok(_) if count < 50 => count += 1,
            result => break result,
        }
    };
    tell(format_args!("transactions: {count}, then {}", Shown(refused)));
    Ok(store.reset_watches()?)
}
