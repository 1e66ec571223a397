//! Instructions executed by each hot path and by its twin in C.
//!
//! The collection is on only within the function measured, so that preparing and calling it costs
//! nothing.

#![allow(missing_docs, reason = "the benchmarks are named for what they count")]

use core::mem::MaybeUninit;
use core::ptr::NonNull;
use std::hint::black_box;

use embassy_executor::raw::Executor as Bare;
use gungraun::prelude::*;
use gungraun::{Callgrind, EntryPoint};
use xen_hal::clock::Monotonic;
use xen_hal::event::Port;
use xen_hal::grant::{Access, Grant, GrantRef, LendError, Page};
use xen_hal::platform::{PAGE_SIZE, Tsc};
use xen_hal_bench::clock::twin::{Line, twin_monotonic, twin_now, twin_scale};
use xen_hal_bench::event::twin::{
    twin_dispatch, twin_dispatch_all, twin_mask, twin_try_dispatch, twin_unmask, twin_unmask_all,
};
use xen_hal_bench::event::{self, Tally};
use xen_hal_bench::fixture::{self, Domain};
use xen_hal_bench::grant::twin::{twin_lend, twin_relend, twin_revoke, twin_round};
use xen_hal_bench::grant::{self, twin};
use xen_hal_bench::ring::twin::{
    Front, twin_copy, twin_pop_blk, twin_pop_net, twin_publish, twin_push_blk, twin_push_net,
    twin_rearm,
};
use xen_hal_bench::ring::{Blk, Net, Ring};
use xen_hal_bench::task::{self, Sleeper};
use xen_hal_bench::{clock, hypercall, ring};
use xen_pac::base::Domid;
use xen_pac::blkif::{BlkifRequest, BlkifResponse};
use xen_pac::netif::{NetifTxRequest, NetifTxResponse};
use xen_pac::shared_info::raw::VcpuTimeInfo;

/// Counts only within the function of that name.
fn only(function: &str) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().entry_point(EntryPoint::Custom(function.to_owned())));
    config
}

/// A clock of 2.5 GHz, whose TSC started long ago.
fn running(shift: i8, flags: u8) -> NonNull<VcpuTimeInfo> {
    fixture::time_block(1000, 5000, 0xcccc_cccc, shift, flags)
}

/// A domain with a bound port 70, and what is said of it.
fn domain(masked: bool, pending: bool) -> Domain {
    hypercall::answer_with(|_, _, _| 0);
    let domain = Domain::default();
    domain.bind(70);
    if masked {
        domain.bitmaps().mask(Port(70));
    }
    if pending {
        domain.raise(70);
    }
    domain
}

/// A domain with `events` events, `step` ports apart, and `idle` more ports bound.
fn busy(events: u32, step: u32, idle: u32) -> Domain {
    let domain = Domain::default();
    (1..=idle).for_each(|port| domain.bind(port));
    (0..events).map(|index| 5 + index * step).for_each(|port| {
        domain.bind(port);
        domain.raise(port);
    });
    domain
}

#[library_benchmark(config = only("ours_scale"))]
#[bench::right(1 << 40, 0xcccc_cccc, -1)]
#[bench::none(1 << 40, 0xcccc_cccc, 0)]
#[bench::left(1 << 40, 0xcccc_cccc, 3)]
fn ours_scale(delta: i64, mul: u32, shift: i8) -> i64 {
    black_box(clock::scale(black_box(delta), black_box(mul), black_box(shift)))
}

#[library_benchmark(config = only("twin_scale"))]
#[bench::right(1 << 40, 0xcccc_cccc, -1)]
#[bench::none(1 << 40, 0xcccc_cccc, 0)]
#[bench::left(1 << 40, 0xcccc_cccc, 3)]
fn twins_scale(delta: i64, mul: u32, shift: i8) -> i64 {
    black_box(twin_scale(black_box(delta), black_box(mul), black_box(shift)))
}

#[library_benchmark(config = only("ours_now"))]
#[bench::right(running(-1, 1))]
#[bench::none(running(0, 1))]
#[bench::left(running(3, 1))]
fn ours_now(block: NonNull<VcpuTimeInfo>) -> i64 {
    black_box(clock::now(black_box(clock::over(fixture::time(block), Tsc)))).as_nanos()
}

#[library_benchmark(config = only("twin_now"))]
#[bench::right(running(-1, 1))]
#[bench::none(running(0, 1))]
#[bench::left(running(3, 1))]
fn twins_now(block: NonNull<VcpuTimeInfo>) -> i64 {
    // SAFETY: the block stays for ever.
    black_box(unsafe { twin_now(black_box(block.as_ptr())) })
}

#[library_benchmark(config = only("ours_monotonic"))]
#[bench::stable(running(-1, 1))]
#[bench::clamped(running(-1, 0))]
fn ours_monotonic(block: NonNull<VcpuTimeInfo>) -> i64 {
    let (line, time) = (Monotonic::new(), fixture::time(block));
    black_box(clock::monotonic(black_box(clock::over(time, Tsc)), black_box(&line))).as_nanos()
}

#[library_benchmark(config = only("twin_monotonic"))]
#[bench::stable(running(-1, 1))]
#[bench::clamped(running(-1, 0))]
fn twins_monotonic(block: NonNull<VcpuTimeInfo>) -> i64 {
    let mut line = Line::default();
    // SAFETY: the block stays for ever.
    black_box(unsafe { twin_monotonic(black_box(block.as_ptr()), black_box(&raw mut line)) })
}

#[library_benchmark(config = only("ours_mask"))]
#[bench::mask(domain(false, false))]
fn ours_mask(domain: Domain) -> Domain {
    black_box(event::mask(black_box(domain.bitmaps()), black_box(Port(70))));
    domain
}

#[library_benchmark(config = only("twin_mask"))]
#[bench::mask(domain(false, false))]
fn twins_mask(domain: Domain) -> Domain {
    // SAFETY: the page stays for ever.
    black_box(unsafe { twin_mask(black_box(domain.page.as_ptr()), black_box(70)) });
    domain
}

#[library_benchmark(config = only("ours_unmask"))]
#[bench::quiet(domain(true, false))]
#[bench::pending(domain(true, true))]
fn ours_unmask(domain: Domain) -> Domain {
    let (bitmaps, own) = (black_box(domain.bitmaps()), black_box(&domain.own));
    black_box(event::unmask(bitmaps, black_box(Port(70)), own)).unwrap();
    domain
}

#[library_benchmark(config = only("twin_unmask"))]
#[bench::quiet(domain(true, false))]
#[bench::pending(domain(true, true))]
fn twins_unmask(domain: Domain) -> Domain {
    let own = black_box(domain.own_words.as_ptr().cast());
    // SAFETY: page and set stay where they are.
    black_box(unsafe { twin_unmask(black_box(domain.page.as_ptr()), black_box(70), own) });
    domain
}

#[library_benchmark(config = only("ours_unmask_all"))]
#[bench::quiet(domain(true, false))]
#[bench::pending(domain(true, true))]
fn ours_unmask_all(domain: Domain) -> Domain {
    black_box(event::unmask_all(black_box(domain.bitmaps()), black_box(Port(70)))).unwrap();
    domain
}

#[library_benchmark(config = only("twin_unmask_all"))]
#[bench::quiet(domain(true, false))]
#[bench::pending(domain(true, true))]
fn twins_unmask_all(domain: Domain) -> Domain {
    // SAFETY: the page stays for ever.
    black_box(unsafe { twin_unmask_all(black_box(domain.page.as_ptr()), black_box(70)) });
    domain
}

#[library_benchmark(config = only("ours_dispatch"))]
#[bench::spurious(busy(0, 0, 0))]
#[bench::one(busy(1, 0, 0))]
#[bench::one_of_64_idle(busy(1, 0, 64))]
#[bench::one_of_4095_idle(busy(1, 0, 4095))]
#[bench::eight_in_a_word(busy(8, 1, 0))]
#[bench::eight_in_eight_words(busy(8, 64, 0))]
#[bench::every_port(busy(4091, 1, 0))]
fn ours_dispatch(domain: Domain) -> (Domain, Tally) {
    let mut tally = Tally::default();
    let _ = black_box(event::dispatch(
        black_box(domain.bitmaps()),
        black_box(domain.vcpu()),
        black_box(&domain.own),
        black_box(&mut tally),
    ));
    (domain, tally)
}

#[library_benchmark(config = only("twin_dispatch"))]
#[bench::spurious(busy(0, 0, 0))]
#[bench::one(busy(1, 0, 0))]
#[bench::one_of_64_idle(busy(1, 0, 64))]
#[bench::one_of_4095_idle(busy(1, 0, 4095))]
#[bench::eight_in_a_word(busy(8, 1, 0))]
#[bench::eight_in_eight_words(busy(8, 64, 0))]
#[bench::every_port(busy(4091, 1, 0))]
fn twins_dispatch(domain: Domain) -> (Domain, Tally) {
    let mut tally = Tally::default();
    // SAFETY: all of it stays where it is for the call.
    black_box(unsafe {
        twin_dispatch(
            black_box(domain.page.as_ptr()),
            black_box(domain.vcpu().as_ptr().as_ptr()),
            black_box(domain.own_words.as_ptr().cast()),
            black_box(&raw mut tally),
        )
    });
    (domain, tally)
}

#[library_benchmark(config = only("ours_dispatch_all"))]
#[bench::spurious(busy(0, 0, 0))]
#[bench::one(busy(1, 0, 0))]
#[bench::eight_in_a_word(busy(8, 1, 0))]
#[bench::eight_in_eight_words(busy(8, 64, 0))]
#[bench::every_port(busy(4091, 1, 0))]
fn ours_dispatch_all(domain: Domain) -> (Domain, Tally) {
    let mut tally = Tally::default();
    let _ = black_box(event::dispatch_all(
        black_box(domain.bitmaps()),
        black_box(domain.vcpu()),
        black_box(&mut tally),
    ));
    (domain, tally)
}

#[library_benchmark(config = only("twin_dispatch_all"))]
#[bench::spurious(busy(0, 0, 0))]
#[bench::one(busy(1, 0, 0))]
#[bench::eight_in_a_word(busy(8, 1, 0))]
#[bench::eight_in_eight_words(busy(8, 64, 0))]
#[bench::every_port(busy(4091, 1, 0))]
fn twins_dispatch_all(domain: Domain) -> (Domain, Tally) {
    let mut tally = Tally::default();
    // SAFETY: all of it stays where it is for the call.
    black_box(unsafe {
        twin_dispatch_all(
            black_box(domain.page.as_ptr()),
            black_box(domain.vcpu().as_ptr().as_ptr()),
            black_box(&raw mut tally),
        )
    });
    (domain, tally)
}

#[library_benchmark(config = only("ours_try_dispatch"))]
#[bench::one(busy(1, 0, 0), 0)]
#[bench::eight_in_a_word(busy(8, 1, 0), 0)]
#[bench::eight_in_eight_words(busy(8, 64, 0), 0)]
#[bench::stop_at_the_first(busy(8, 64, 0), 1)]
fn ours_try_dispatch(domain: Domain, most: u64) -> (Domain, Tally) {
    let mut tally = Tally::default();
    let _ = black_box(event::try_dispatch(
        black_box(domain.bitmaps()),
        black_box(domain.vcpu()),
        black_box(&domain.own),
        black_box(&domain.cursor),
        black_box(&mut tally),
        black_box(most),
    ));
    (domain, tally)
}

#[library_benchmark(config = only("twin_try_dispatch"))]
#[bench::one(busy(1, 0, 0), 0)]
#[bench::eight_in_a_word(busy(8, 1, 0), 0)]
#[bench::eight_in_eight_words(busy(8, 64, 0), 0)]
#[bench::stop_at_the_first(busy(8, 64, 0), 1)]
fn twins_try_dispatch(domain: Domain, most: u64) -> (Domain, Tally) {
    let mut tally = Tally::default();
    // SAFETY: all of it stays where it is for the call.
    black_box(unsafe {
        twin_try_dispatch(
            black_box(domain.page.as_ptr()),
            black_box(domain.vcpu().as_ptr().as_ptr()),
            black_box(domain.own_words.as_ptr().cast()),
            black_box(domain.cursor_word.as_ptr()),
            black_box(&raw mut tally),
            black_box(most),
        )
    });
    (domain, tally)
}

type Table = &'static grant::Table<'static>;

fn table() -> Table {
    fixture::table(fixture::entries(1))
}

fn lent() -> Grant<'static> {
    table().lend(fixture::page(0x1234), Domid(7), Access::ReadWrite).unwrap()
}

fn twin_table() -> *mut twin::Table {
    fixture::twin_table(fixture::entries(1), 1)
}

fn twin_lent() -> twin::Grant {
    let mut grant = MaybeUninit::uninit();
    // SAFETY: the table stays for ever, and the call writes the grant.
    unsafe {
        assert!(twin_lend(twin_table(), &fixture::twin_page(0x1234), 7, 1, grant.as_mut_ptr()));
        grant.assume_init()
    }
}

#[library_benchmark(config = only("ours_relend"))]
#[bench::relend((lent(), fixture::page(0x5678)))]
fn ours_relend((grant, page): (Grant<'static>, Page)) -> grant::TakenBack<'static> {
    black_box(grant::relend(grant, page, black_box(Domid(7)), black_box(Access::ReadWrite)))
}

#[library_benchmark(config = only("twin_relend"))]
#[bench::relend(twin_lent())]
fn twins_relend(mut grant: twin::Grant) -> (twin::Grant, MaybeUninit<twin::Page>) {
    let (page, mut back) = (fixture::twin_page(0x5678), MaybeUninit::uninit());
    let (of, into) = (&raw mut grant, back.as_mut_ptr());
    // SAFETY: the entry of the slot stays for ever.
    assert!(black_box(unsafe { twin_relend(of, &page, black_box(7), black_box(1), into) }));
    black_box((grant, back))
}

#[library_benchmark(config = only("ours_lend"))]
#[bench::lend((table(), fixture::page(0x1234)))]
fn ours_lend((table, page): (Table, Page)) -> Result<Grant<'static>, LendError> {
    black_box(grant::lend(
        black_box(table),
        page,
        black_box(Domid(7)),
        black_box(Access::ReadWrite),
    ))
}

#[library_benchmark(config = only("twin_lend"))]
#[bench::lend(twin_table())]
fn twins_lend(table: *mut twin::Table) -> MaybeUninit<twin::Grant> {
    let mut grant = MaybeUninit::uninit();
    let (table, page, into) = (black_box(table), fixture::twin_page(0x1234), grant.as_mut_ptr());
    // SAFETY: the table stays for ever.
    assert!(black_box(unsafe { twin_lend(table, &page, black_box(7), black_box(1), into) }));
    black_box(grant)
}

#[library_benchmark(config = only("ours_revoke"))]
#[bench::revoke(lent())]
fn ours_revoke(grant: Grant<'static>) -> Option<Page> {
    black_box(grant::revoke(grant))
}

#[library_benchmark(config = only("twin_revoke"))]
#[bench::revoke(twin_lent())]
fn twins_revoke(grant: twin::Grant) -> MaybeUninit<twin::Page> {
    let mut page = MaybeUninit::uninit();
    // SAFETY: entry and table stay for ever.
    assert!(black_box(unsafe { twin_revoke(black_box(&raw const grant), page.as_mut_ptr()) }));
    black_box(page)
}

extern "C" fn tell(reference: GrantRef) {
    black_box(reference);
}

#[library_benchmark(config = only("ours_round"))]
#[bench::round((table(), fixture::page(0x1234)))]
fn ours_round((table, page): (Table, Page)) -> Option<Page> {
    black_box(grant::round(black_box(table), page, black_box(Domid(7)), tell))
}

#[library_benchmark(config = only("twin_round"))]
#[bench::round(twin_table())]
fn twins_round(table: *mut twin::Table) -> twin::Page {
    let mut page = fixture::twin_page(0x1234);
    // SAFETY: the table stays for ever.
    assert!(black_box(unsafe { twin_round(black_box(table), &mut page, black_box(7), tell) }));
    page
}

#[library_benchmark(config = only("ours_push_blk"))]
#[bench::request(fixture::ring(0, 0, true))]
fn ours_push_blk(mut ring: Ring<Blk>) -> Ring<Blk> {
    black_box(ring::push_blk(black_box(&mut ring), black_box(&BlkifRequest::ZEROED))).unwrap();
    ring
}

#[library_benchmark(config = only("twin_push_blk"))]
#[bench::request(fixture::twin_ring::<Blk>(0, 0, true))]
fn twins_push_blk(mut ring: Front) -> Front {
    // SAFETY: the page stays for ever.
    assert!(black_box(unsafe {
        twin_push_blk(black_box(&raw mut ring), black_box(&BlkifRequest::ZEROED))
    }));
    ring
}

#[library_benchmark(config = only("ours_push_net"))]
#[bench::request(fixture::ring(0, 0, true))]
fn ours_push_net(mut ring: Ring<Net>) -> Ring<Net> {
    black_box(ring::push_net(black_box(&mut ring), black_box(&NetifTxRequest::ZEROED))).unwrap();
    ring
}

#[library_benchmark(config = only("twin_push_net"))]
#[bench::request(fixture::twin_ring::<Net>(0, 0, true))]
fn twins_push_net(mut ring: Front) -> Front {
    // SAFETY: the page stays for ever.
    assert!(black_box(unsafe {
        twin_push_net(black_box(&raw mut ring), black_box(&NetifTxRequest::ZEROED))
    }));
    ring
}

#[library_benchmark(config = only("ours_publish"))]
#[bench::quiet(fixture::ring(0, 1, false))]
#[bench::notify(fixture::ring(0, 1, true))]
fn ours_publish(mut ring: Ring<Net>) -> Ring<Net> {
    ring.push(&NetifTxRequest::ZEROED).unwrap();
    black_box(ring::publish(black_box(&mut ring)));
    ring
}

#[library_benchmark(config = only("twin_publish"))]
#[bench::quiet(fixture::twin_ring::<Net>(0, 1, false))]
#[bench::notify(fixture::twin_ring::<Net>(0, 1, true))]
fn twins_publish(mut ring: Front) -> Front {
    ring.pushed += 1;
    // SAFETY: the page stays for ever.
    black_box(unsafe { twin_publish(black_box(&raw mut ring)) });
    ring
}

/// The same after a response was popped, when the next one is known to be there.
fn known(mut ring: Ring<Net>) -> Ring<Net> {
    ring.pop().unwrap();
    ring
}

fn twin_known(mut ring: Front) -> Front {
    (ring.known, ring.taken) = (2, 1);
    ring
}

#[library_benchmark(config = only("ours_pop_blk"))]
#[bench::response(fixture::ring(1, 0, true))]
fn ours_pop_blk(mut ring: Ring<Blk>) -> (Ring<Blk>, BlkifResponse) {
    let mut response = BlkifResponse::ZEROED;
    black_box(ring::pop_blk(black_box(&mut ring), black_box(&mut response)));
    (ring, response)
}

#[library_benchmark(config = only("twin_pop_blk"))]
#[bench::response(fixture::twin_ring::<Blk>(1, 0, true))]
fn twins_pop_blk(mut ring: Front) -> (Front, BlkifResponse) {
    let mut response = BlkifResponse::ZEROED;
    // SAFETY: the page stays for ever.
    black_box(unsafe { twin_pop_blk(black_box(&raw mut ring), black_box(&raw mut response)) });
    (ring, response)
}

#[library_benchmark(config = only("ours_pop_net"))]
#[bench::response(fixture::ring(1, 0, true))]
#[bench::known(known(fixture::ring(2, 0, true)))]
#[bench::empty(fixture::ring(0, 1, true))]
fn ours_pop_net(mut ring: Ring<Net>) -> (Ring<Net>, NetifTxResponse) {
    let mut response = NetifTxResponse::ZEROED;
    black_box(ring::pop_net(black_box(&mut ring), black_box(&mut response)));
    (ring, response)
}

#[library_benchmark(config = only("twin_pop_net"))]
#[bench::response(fixture::twin_ring::<Net>(1, 0, true))]
#[bench::known(twin_known(fixture::twin_ring::<Net>(2, 0, true)))]
#[bench::empty(fixture::twin_ring::<Net>(0, 1, true))]
fn twins_pop_net(mut ring: Front) -> (Front, NetifTxResponse) {
    let mut response = NetifTxResponse::ZEROED;
    // SAFETY: the page stays for ever.
    black_box(unsafe { twin_pop_net(black_box(&raw mut ring), black_box(&raw mut response)) });
    (ring, response)
}

#[library_benchmark(config = only("ours_rearm"))]
#[bench::sleep(fixture::ring(0, 1, true))]
#[bench::stay(fixture::ring(1, 0, true))]
fn ours_rearm(mut ring: Ring<Net>) -> Ring<Net> {
    black_box(ring::rearm(black_box(&mut ring)));
    ring
}

#[library_benchmark(config = only("twin_rearm"))]
#[bench::sleep(fixture::twin_ring::<Net>(0, 1, true))]
#[bench::stay(fixture::twin_ring::<Net>(1, 0, true))]
fn twins_rearm(mut ring: Front) -> Front {
    // SAFETY: the page stays for ever.
    black_box(unsafe { twin_rearm(black_box(&raw mut ring)) });
    ring
}

type Bytes = Box<PageBytes>;

#[repr(align(4096))]
struct PageBytes([u8; PAGE_SIZE]);

fn bytes() -> Bytes {
    Box::new(PageBytes([7; PAGE_SIZE]))
}

#[library_benchmark(config = only("ours_copy_in"))]
#[bench::page((fixture::page(1), bytes()))]
fn ours_copy_in((page, from): (Page, Bytes)) -> (Page, Bytes) {
    black_box(ring::copy_in(black_box(&page), black_box(&from.0))).unwrap();
    (page, from)
}

#[library_benchmark(config = only("twin_copy"))]
#[bench::page((bytes(), bytes()))]
fn twins_copy_in((mut to, from): (Bytes, Bytes)) -> (Bytes, Bytes) {
    // SAFETY: neither overlaps the other.
    unsafe { twin_copy(black_box(to.0.as_mut_ptr()), black_box(from.0.as_ptr()), PAGE_SIZE) };
    (to, from)
}

#[library_benchmark(config = only("ours_copy_out"))]
#[bench::page((fixture::page(1), bytes()))]
fn ours_copy_out((page, mut into): (Page, Bytes)) -> (Page, Bytes) {
    black_box(ring::copy_out(black_box(&page), black_box(&mut into.0))).unwrap();
    (page, into)
}

#[library_benchmark(config = only("twin_copy"))]
#[bench::page((bytes(), bytes()))]
fn twins_copy_out((mut to, from): (Bytes, Bytes)) -> (Bytes, Bytes) {
    // SAFETY: as above.
    unsafe { twin_copy(black_box(to.0.as_mut_ptr()), black_box(from.0.as_ptr()), PAGE_SIZE) };
    (to, from)
}

#[library_benchmark(config = only("ours_resume"))]
#[bench::one(Sleeper::default(), 1)]
#[bench::nine(Sleeper::default(), 9)]
fn ours_resume(sleeper: Sleeper, count: u32) -> u32 {
    black_box(task::resume(black_box(sleeper), black_box(count)))
}

#[library_benchmark(config = only("twin_resume"))]
#[bench::one(task::bare(), 1)]
#[bench::nine(task::bare(), 9)]
fn twins_resume(executor: &'static Bare, count: u32) -> u32 {
    black_box(task::bare_resume(black_box(executor), black_box(count)))
}

library_benchmark_group!(
    name = clocks,
    benchmarks = [ours_scale, twins_scale, ours_now, twins_now, ours_monotonic, twins_monotonic]
);
library_benchmark_group!(
    name = masks,
    benchmarks =
        [ours_mask, twins_mask, ours_unmask, twins_unmask, ours_unmask_all, twins_unmask_all]
);
library_benchmark_group!(
    name = dispatch,
    benchmarks = [
        ours_dispatch,
        twins_dispatch,
        ours_dispatch_all,
        twins_dispatch_all,
        ours_try_dispatch,
        twins_try_dispatch
    ]
);
library_benchmark_group!(
    name = grants,
    benchmarks = [
        ours_relend,
        twins_relend,
        ours_lend,
        twins_lend,
        ours_revoke,
        twins_revoke,
        ours_round,
        twins_round
    ]
);

library_benchmark_group!(
    name = rings,
    benchmarks = [
        ours_push_blk,
        twins_push_blk,
        ours_push_net,
        twins_push_net,
        ours_publish,
        twins_publish,
        ours_pop_blk,
        twins_pop_blk,
        ours_pop_net,
        twins_pop_net,
        ours_rearm,
        twins_rearm,
        ours_copy_in,
        twins_copy_in,
        ours_copy_out,
        twins_copy_out
    ]
);

library_benchmark_group!(name = tasks, benchmarks = [ours_resume, twins_resume]);
main!(library_benchmark_groups = [clocks, masks, dispatch, grants, rings, tasks]);
