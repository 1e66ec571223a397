//! What happens to a program that panics: it says where, and ends.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::{exit, println};

/// Whether a panic is being reported already.
static PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // A panic while printing one is not worth another attempt.
    if !PANICKING.swap(true, Ordering::Relaxed) {
        match info.location() {
            Some(place) => println!(
                "guest: panic at {}:{}:{}: {}",
                place.file(),
                place.line(),
                place.column(),
                info.message()
            ),
            None => println!("guest: panic: {}", info.message()),
        }
    }
    exit::panicked()
}
