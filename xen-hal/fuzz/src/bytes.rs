//! The bytes of shared pages and rings, copied in and out and used as atomics at any offset, beside
//! a model: a vector. The pages around them stay as they are.

use xen_hal::grant::Page;
use xen_hal::platform::PAGE_SIZE;
use xen_pac::access::Buffer;
use xen_pac::console_ring::XenconsInterface;
use xen_pac::xenstore::XenstoreDomainInterface;

use crate::input::Input;
use crate::memory::{At, Pages};

/// The page that is used; there is one before it and one behind.
const MIDDLE: usize = 1;

/// More steps show nothing new, and cost time.
const STEPS: usize = 64;

thread_local! {
    static PAGES: Pages = Pages::leak(3);
}

/// What is copied to and from: its first byte within the page, and its length.
enum Place {
    Page(Page),
    Buffer(Buffer<'static>, usize),
}

/// Runs the target.
pub fn run(data: &[u8]) {
    let (input, pages) = (Input::new(data), PAGES.with(|pages| *pages));
    pages.clear();
    let (place, mut model) = (Place::choose(&input, pages), vec![0; PAGE_SIZE]);
    for _ in 0..STEPS {
        match input.byte() % 4 {
            0 if input.is_empty() => break,
            0 | 1 => place.write(&input, &mut model),
            2 => place.read(&input, &model),
            _ => place.atomics(&input, &mut model),
        }
    }
    let around = [vec![0; PAGE_SIZE], model, vec![0; PAGE_SIZE]];
    for (index, expected) in around.iter().enumerate() {
        // SAFETY: the page is not used by anybody else any more.
        let found = unsafe { pages.at::<[u8; PAGE_SIZE]>(index).as_ref() };
        assert!(found[..] == expected[..], "page {index} is not what it should be");
    }
}

impl Place {
    fn choose(input: &Input, pages: Pages) -> Self {
        let page = pages.at(MIDDLE);
        match input.byte() % 5 {
            // SAFETY: the page is this value's alone as long as it lives.
            0 => Self::Page(unsafe { Page::from_raw(&At(7), page) }.expect("the frame is low")),
            // SAFETY: the page is touched by one such handle at a time, here and below.
            1 => Self::Buffer(unsafe { XenstoreDomainInterface::from_ptr(page.cast()) }.req(), 0),
            2 => {
                // SAFETY: as above.
                Self::Buffer(unsafe { XenstoreDomainInterface::from_ptr(page.cast()) }.rsp(), 1024)
            }
            // SAFETY: as above.
            3 => Self::Buffer(unsafe { XenconsInterface::from_ptr(page.cast()) }.input(), 0),
            // SAFETY: as above.
            _ => Self::Buffer(unsafe { XenconsInterface::from_ptr(page.cast()) }.output(), 1024),
        }
    }

    fn write(&self, input: &Input, model: &mut [u8]) {
        let (offset, count, first) = (offset(input), count(input), input.byte());
        let bytes: Vec<u8> = (0..count).map(|index| first.wrapping_add(index as u8)).collect();
        let copied = match self {
            Self::Page(page) => {
                page.copy_from(offset, &bytes).map_err(|error| format!("{error} {error:?}"))
            }
            Self::Buffer(buffer, _) => {
                buffer.copy_from(offset, &bytes).map_err(|error| format!("{error} {error:?}"))
            }
        };
        let within = self.of(model, offset, count);
        assert_eq!(
            copied.is_ok(),
            within.is_some(),
            "{count} bytes written at {offset}: {copied:?}"
        );
        if let Some(within) = within {
            within.copy_from_slice(&bytes);
        }
    }

    fn read(&self, input: &Input, model: &[u8]) {
        let (offset, count) = (offset(input), count(input));
        let mut bytes = vec![0xee; count];
        let copied = match self {
            Self::Page(page) => {
                page.copy_to(offset, &mut bytes).map_err(|error| format!("{error} {error:?}"))
            }
            Self::Buffer(buffer, _) => {
                buffer.copy_to(offset, &mut bytes).map_err(|error| format!("{error} {error:?}"))
            }
        };
        match self.of(&mut model.to_owned(), offset, count) {
            Some(within) => assert!(
                copied.is_ok() && *within == bytes[..],
                "{count} bytes read at {offset}: {copied:?}"
            ),
            None => assert!(
                copied.is_err() && bytes.iter().all(|byte| *byte == 0xee),
                "{count} bytes read at {offset}: {copied:?}"
            ),
        }
    }

    /// The bytes of the model at an offset, if the place has them.
    fn of<'m>(&self, model: &'m mut [u8], offset: usize, count: usize) -> Option<&'m mut [u8]> {
        let (first, length) = match self {
            Self::Page(_) => (0, PAGE_SIZE),
            Self::Buffer(buffer, first) => (*first, buffer.len()),
        };
        model.get_mut(first..first + length)?.get_mut(offset..offset.checked_add(count)?)
    }

    fn atomics(&self, input: &Input, model: &mut [u8]) {
        let Self::Page(page) = self else { return };
        let (width, offset, value) = (input.byte() % 4, offset(input), input.number() as usize);
        macro_rules! swap {
            ($integer:ty) => {{
                let new = value as $integer;
                let found = page.load::<$integer>(offset).ok();
                let found = found.map(|now| match input.byte() % 3 {
                    0 => page.swap(offset, new),
                    1 => page.store(offset, new).map(|()| now),
                    // The first changes nothing.
                    _ => page
                        .compare_exchange(offset, !now, new)
                        .and_then(|refused| {
                            assert_eq!(refused, Err(now));
                            page.compare_exchange(offset, now, new)
                        })
                        .map(|old| old.expect("nothing else writes")),
                });
                let found = found.map(|old| old.expect("it lies there").to_ne_bytes());
                swap_in(model, offset, &new.to_ne_bytes(), found.as_ref());
                if found.is_none() {
                    assert!(page.swap(offset, new).is_err() && page.store(offset, new).is_err());
                }
            }};
        }
        match width {
            0 => swap!(u8),
            1 => swap!(u16),
            2 => swap!(u32),
            _ => swap!(usize),
        }
    }
}

/// Does in the model what an atomic that may be there did in the page.
fn swap_in<const N: usize>(
    model: &mut [u8],
    offset: usize,
    new: &[u8; N],
    found: Option<&[u8; N]>,
) {
    let within = offset
        .checked_add(N)
        .filter(|_| offset % N == 0)
        .and_then(|end| model.get_mut(offset..end));
    match (within, found) {
        (Some(within), Some(old)) => {
            assert_eq!(within, old, "{N} bytes swapped at {offset}");
            within.copy_from_slice(new);
        }
        (None, None) => (),
        (within, _) => panic!(
            "an atomic of {N} bytes at {offset}: it {} lie there",
            if within.is_some() { "does" } else { "does not" }
        ),
    }
}

/// An offset: mostly one near the page.
fn offset(input: &Input) -> usize {
    match input.u16() {
        near @ 0..0x2000 => near.into(),
        last @ 0x2000..0x2100 => usize::MAX - usize::from(last - 0x2000),
        any => usize::from(any) << (any % 53),
    }
}

/// A number of bytes, mostly a small one.
fn count(input: &Input) -> usize {
    match input.byte() {
        small @ 0..0xf0 => small.into(),
        large => PAGE_SIZE - 8 + usize::from(large - 0xf0),
    }
}
