//! The dispatcher over arbitrary bitmaps, selector, own ports and cursor, with handlers that do
//! what the input says; beside a model that knows which port has an event.

mod domain;
mod model;

use xen_hal::event::{Drain, TwoLevel};

use crate::input::Input;
use crate::pages::Pages;
use domain::Domain;

thread_local! {
    static PAGE: Pages = Pages::leak(1);
}

/// Runs the target.
pub fn run(data: &[u8]) {
    let input = Input::new(data);
    let page = PAGE.with(|page| *page);
    page.clear();
    let domain = Domain::new(&input, page.at(0));
    let cursor = domain.cursor();
    domain.fill();
    loop {
        let at_rest = input.is_empty();
        domain.begin();
        let progress =
            TwoLevel::new(domain.shared)
                .dispatch(domain.vcpu, &domain.own, &cursor, |port| domain.handle(port));
        domain.check(progress);
        match progress {
            Drain::Finished if at_rest => return,
            Drain::Finished => domain.fill(),
            Drain::Unfinished => assert!(
                !at_rest,
                "nobody stopped the dispatcher, nothing came, and something is left"
            ),
        }
    }
}
