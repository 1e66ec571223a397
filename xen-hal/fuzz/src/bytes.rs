//! The bytes of shared pages and rings, copied in and out and used as atomics at any offset, beside
//! a model: a vector. The pages around them stay as they are.

use xen_hal::grant::Page;
use xen_hal::platform::PAGE_SIZE;
use xen_pac::access::Buffer;
use xen_pac::console_ring::XenconsInterface;
use xen_pac::xenstore::XenstoreDomainInterface;

use crate::fake::{At, clear, page};
use crate::input::Input;

/// The page that is used; there is one before it and one behind.
const MIDDLE: usize = 1;

/// More steps show nothing new, and cost time.
const STEPS: usize = 64;

/// What is copied to and from: its first byte within the page, and its length.
enum Place {
    Page(Page),
    Buffer(Buffer<'static>, usize),
}

/// Runs the target.
pub fn run(data: &[u8]) {
    clear();
    let input = Input::new(data);
    let (place, mut model) = (Place::choose(&input), vec![0; PAGE_SIZE]);
    for _ in 0..STEPS {
        match input.byte() % 4 {
            0 if input.is_empty() => break,
            0 | 1 => place.write(&input, &mut model),
            2 => place.read(&input, &mut model),
            _ => place.atomics(&input, &mut model),
        }
    }
    for (index, expected) in [&vec![0; PAGE_SIZE], &model, &vec![0; PAGE_SIZE]].iter().enumerate() {
        // SAFETY: nothing uses the page any more.
        let found = unsafe { page::<[u8; PAGE_SIZE]>(index).as_ref() };
        assert!(found[..] == expected[..], "page {index} is not what it should be");
    }
}

impl Place {
    fn choose(input: &Input) -> Self {
        // SAFETY: one handle uses the page at a time, here and below.
        let store = unsafe { XenstoreDomainInterface::from_ptr(page(MIDDLE)) };
        // SAFETY: as above.
        let console = unsafe { XenconsInterface::from_ptr(page(MIDDLE)) };
        match input.byte() % 5 {
            // SAFETY: as above.
            0 => Self::Page(unsafe { Page::from_raw(&At(7), page(MIDDLE)) }.expect("a low frame")),
            1 => Self::Buffer(store.req(), 0),
            2 => Self::Buffer(store.rsp(), 1024),
            3 => Self::Buffer(console.input(), 0),
            _ => Self::Buffer(console.output(), 1024),
        }
    }

    fn write(&self, input: &Input, model: &mut [u8]) {
        let (offset, count, first) = (offset(input), count(input), input.byte());
        let bytes: Vec<u8> = (0..count).map(|index| first.wrapping_add(index as u8)).collect();
        let copied = match self {
            Self::Page(page) => shown(page.copy_from(offset, &bytes)),
            Self::Buffer(buffer, _) => shown(buffer.copy_from(offset, &bytes)),
        };
        let within = self.of(model, offset, count);
        assert_eq!(copied, within.is_some(), "{count} bytes written at {offset}");
        if let Some(within) = within {
            within.copy_from_slice(&bytes);
        }
    }

    fn read(&self, input: &Input, model: &mut [u8]) {
        let (offset, count) = (offset(input), count(input));
        let mut bytes = vec![0xee; count];
        let copied = match self {
            Self::Page(page) => shown(page.copy_to(offset, &mut bytes)),
            Self::Buffer(buffer, _) => shown(buffer.copy_to(offset, &mut bytes)),
        };
        let right = match self.of(model, offset, count) {
            Some(within) => copied && *within == bytes[..],
            None => !copied && bytes.iter().all(|byte| *byte == 0xee),
        };
        assert!(right, "{count} bytes read at {offset}: {copied}");
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
                let found = page.load::<$integer>(offset).map(|now| match input.byte() % 3 {
                    0 => page.swap(offset, new),
                    1 => page.store(offset, new).map(|()| now),
                    _ => {
                        // The first changes nothing.
                        assert_eq!(page.compare_exchange(offset, !now, new), Ok(Err(now)));
                        page.compare_exchange(offset, now, new).map(|old| old.expect("unchanged"))
                    }
                });
                let found = found.ok().map(|old| old.expect("it lies there").to_ne_bytes());
                let within = self.of(model, offset, size_of::<$integer>());
                let within = within.filter(|_| offset % size_of::<$integer>() == 0);
                assert_eq!(within.as_deref(), found.as_ref().map(|old| &old[..]), "at {offset}");
                match within {
                    Some(within) => within.copy_from_slice(&new.to_ne_bytes()),
                    None => {
                        assert!(page.swap(offset, new).is_err() && page.store(offset, new).is_err())
                    }
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

/// Formats the error if there is one, and returns whether there is none.
fn shown<E: std::error::Error>(result: Result<(), E>) -> bool {
    result.inspect_err(|error| assert!(!format!("{error} {error:?}").is_empty())).is_ok()
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
