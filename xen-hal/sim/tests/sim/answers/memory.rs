//! The domain's memory.

use xen_pac::memory::command;

use crate::support::prelude::*;

const GUEST: Domid = Domid(1);
const INCREASE: usize = 0;
const DECREASE: usize = 1;
const POPULATE: usize = 6;
/// A frame that no domain has.
const NO_FRAME: u64 = 1 << 40;
/// What a guest of 64 pages may have beyond them.
const SLACK: usize = 241;

fn reservation(t: &Table, command: usize, dom: Domid, frames: &mut [u64], order: u32) -> Answer {
    let mut asked = XenMemoryReservation::new(
        Handle::from_ptr(frames.as_mut_ptr()),
        frames.len() as u64,
        order,
        0,
        dom,
    );
    t.raw(HypercallNr::MEMORY_OP, [command, address(&mut asked), 0])
}

fn pages(t: &Table) -> usize {
    t.give(command::CurrentReservation, &mut XenMemoryDomain::new(Domid::SELF))
        .expect("one may know of oneself")
}

fn add(t: &Table, dom: Domid, space: u32, index: u64, at: u64) -> Answer {
    t.give(command::AddToPhysmap, &mut XenAddToPhysmap::new(dom, 0, MapSpace(space), index, at))
}

fn range(t: &Table, dom: Domid, index: u64, at: u64, size: u16) -> Answer {
    t.give(
        command::AddToPhysmap,
        &mut XenAddToPhysmap::new(dom, size, MapSpace::GMFN_RANGE, index, at),
    )
}

fn remove(t: &Table, dom: Domid, frame: u64) -> Answer {
    t.give(command::RemoveFromPhysmap, &mut XenRemoveFromPhysmap::new(dom, frame))
}

#[test]
fn commands_that_count_give_no_error() {
    on(PROFILES, DomainConfig::new(), |profile, t| {
        let is_full = profile.role == Role::Dom0less;
        let frame = t.frame(60);
        for command in [INCREASE, DECREASE, POPULATE] {
            rows! { t;
                "in no domain", reservation(t, command, NOBODY, &mut [frame], 0) => OK;
                "with an absurd order",
                    reservation(t, command, Domid::SELF, &mut [frame], 40) => OK;
            }
            let nowhere = Handle::from_ptr(std::ptr::without_provenance_mut(NOWHERE));
            let mut asked = XenMemoryReservation::new(nowhere, 1, 0, 0, Domid::SELF);
            t.is(
                "a list that is nowhere, which an increase does not read",
                t.raw(HypercallNr::MEMORY_OP, [command, address(&mut asked), 0]),
                if command == INCREASE && !is_full { Ok(1) } else { OK },
            );
            let mut asked = XenMemoryReservation::new(Handle::NULL, u64::MAX, 0, 0, Domid::SELF);
            t.is(
                "more than can be counted",
                t.raw(HypercallNr::MEMORY_OP, [command, address(&mut asked), 0]),
                OK,
            );
        }
        rows! { t;
            "nothing else was done", pages(t) => if is_full { 64 } else { 65 };
            "decrease until one that cannot be",
                reservation(t, DECREASE, Domid::SELF, &mut [frame, NO_FRAME, frame + 1], 0)
                => Ok(1);
            "the same again", reservation(t, DECREASE, Domid::SELF, &mut [frame], 0) => OK;
            "populate until one that cannot be",
                reservation(t, POPULATE, Domid::SELF, &mut [frame, NO_FRAME, frame + 1], 0)
                => Ok(1);
        }
    });
}

#[test]
fn orders_and_limits() {
    for (profile, largest) in [(Profile::DOM0, 12), (Profile::DOMU, 9), (Profile::DOM0LESS, 9)] {
        // Room for the largest extent there is nowhere; what is given is charged all the same when
        // it is at no frame.
        one(profile, DomainConfig::new().pages(1), move |t| {
            let may = |order| reservation(t, INCREASE, Domid::SELF, &mut [0], order);
            let enough = profile == Profile::DOM0;
            t.is("the largest order", may(largest), if enough { Ok(1) } else { OK });
            t.is("past it", may(largest + 1), OK);
        });
    }
    one(Profile::DOMU, DomainConfig::new(), |t| {
        let end = t.frame(63) + 1;
        let mut frames: Vec<u64> = (end..end + SLACK as u64 + 2).collect();
        rows! { t;
            "an extent that is too large is not begun",
                reservation(t, POPULATE, Domid::SELF, &mut [end], 8) => OK;
            "nothing is charged", pages(t) => 64;
            "as many as it may have",
                reservation(t, POPULATE, Domid::SELF, &mut frames, 0) => Ok(SLACK);
            "no more", reservation(t, INCREASE, Domid::SELF, &mut [0], 0) => OK;
        }
    });
}

#[test]
fn what_a_guest_may_not_do_to_another() {
    let asks = domain(DomainConfig::new(), |t| {
        let frame = t.frame(0);
        for command in [INCREASE, DECREASE, POPULATE] {
            t.is("memory of another", reservation(t, command, Domid(2), &mut [frame], 0), OK);
        }
        rows! { t;
            "shared page of another", add(t, Domid(2), 0, 9, frame) => EPERM;
            "of another, at no frame", add(t, Domid(2), 99, 0, u64::MAX) => EPERM;
            "remove of another", remove(t, Domid(2), frame) => EPERM;
            "remove of another, of none", remove(t, Domid(2), NO_FRAME) => EPERM;
            "size of another",
                t.give(command::CurrentReservation, &mut XenMemoryDomain::new(Domid(2))) => EPERM;
        }
        t.publish("asked", 1);
    });
    let other = domain(DomainConfig::new(), |t| {
        let _ = t.wait_for_key("asked");
        t.is("nothing was done", pages(t), 64);
    });
    several(Profile::DOMU, [asks, other]);
}

#[test]
fn the_control_domain_may_and_devices_are_its_own() {
    let control = domain(DomainConfig::new(), |t| {
        let frame = t.frame(0);
        rows! { t;
            "decrease of a guest's", reservation(t, DECREASE, GUEST, &mut [frame], 0) => Ok(1);
            "remove of a guest's", remove(t, GUEST, frame + 1) => OK;
            "size", t.give(command::CurrentReservation, &mut XenMemoryDomain::new(GUEST)) => Ok(63);
            "devices in a guest", add(t, GUEST, 5, 0, frame) => EACCES;
            "devices of the domain itself, which x86 does not have",
                add(t, Domid::SELF, 5, 0, frame) => EINVAL;
        }
        t.publish("done", 1);
    });
    let other = domain(guest(), |t| _ = t.wait_for_key("done"));
    several(Profile::DOM0, [control, other]);
}

#[test]
fn what_can_be_mapped() {
    on(PROFILES, DomainConfig::new(), |profile, t| {
        let (frame, unknown) = (t.frame(0), if is_arm(profile) { ENOSYS } else { EINVAL });
        let own = t.domain();
        t.is("a foreign page, by this command, in no domain", add(t, NOBODY, 4, 0, frame), ENOSYS);
        t.is("in no domain, although of devices", add(t, NOBODY, 5, 0, frame), ESRCH);
        if profile != Profile::DOM0 {
            t.is("devices, at no frame", add(t, own, 5, 0, u64::MAX), EACCES);
        }
        rows! { t;
            "at no frame, although of no kind", add(t, own, 99, 0, u64::MAX) => EINVAL;
            "at no frame, although without an end", range(t, own, 0, u64::MAX, 9) => EINVAL;
            "frames without an end", range(t, own, 0, u64::MAX - 3, 9) => EOVERFLOW;
            "pages without an end", range(t, own, u64::MAX - 3, frame, 9) => EOVERFLOW;
            "a range of none", range(t, own, NO_FRAME, frame, 0) => OK;
            "a range that is no memory",
                range(t, own, NO_FRAME, frame, 1) => if is_arm(profile) { ENOSYS } else { EINVAL };
            "the second shared page", add(t, own, 0, 1, frame) => EINVAL;
            "past the grant table's end", add(t, own, 1, 64, frame) => EINVAL;
            "a page that is no memory", add(t, own, 2, NO_FRAME, frame) => unknown;
            "of no kind", add(t, own, 99, 0, frame) => unknown;
        }
        let nowhere = if is_arm(profile) { EINVAL } else { ENOENT };
        rows! { t;
            "the shared page where no frame is", add(t, own, 0, 0, NO_FRAME) => nowhere;
            "an index of which 32 bits count", add(t, own, 1, 1 << 40, t.frame(9)) => OK;
            "remove in no domain", remove(t, NOBODY, NO_FRAME) => ESRCH;
            "remove where nothing is",
                remove(t, own, NO_FRAME) => Err(Errno::ENOENT);
            "remove, and again", [remove(t, own, frame), remove(t, own, frame)]
                => [OK, Err(Errno::ENOENT)];
        }
    });
}

#[test]
fn a_page_of_xens_that_is_mapped_already() {
    // The first frame of the second column is empty, the others have memory.
    let asked =
        |t: &Table, kind: u32| [0, 1, 1].map(|page| add(t, Domid::SELF, kind, 0, t.frame(page)));
    for kind in [0, 1] {
        one(Profile::DOMU, DomainConfig::new(), move |t| {
            t.is("on x86 it moves", asked(t, kind), [OK; 3]);
        });
        one(release(16, Profile::DOM0LESS), DomainConfig::new(), move |t| {
            t.is("on Arm it did", asked(t, kind), [OK; 3]);
        });
        on([Profile::DOM0LESS, ARM_DOM0], DomainConfig::new(), move |_, t| {
            t.is("on Arm it does not", asked(t, kind), [OK, EBUSY, EBUSY]);
            t.is(
                "unmapped it can be mapped",
                [remove(t, Domid::SELF, t.frame(0)), add(t, Domid::SELF, kind, 0, t.frame(2))],
                [OK; 2],
            );
        });
    }
}

#[test]
fn many_at_once() {
    let batch = |t: &Table, dom, space, frames: &mut [u64], indices: *mut u64| {
        let mut answers = [1_i32; 4];
        let handles = (
            Handle::from_ptr(indices),
            Handle::from_ptr(frames.as_mut_ptr()),
            Handle::from_ptr(answers.as_mut_ptr()),
        );
        let u = XenAddToPhysmapBatchU::from_res0(0);
        let mut asked = XenAddToPhysmapBatch::new(
            dom,
            space,
            frames.len() as u16,
            u,
            handles.0,
            handles.1,
            handles.2,
        );
        (t.give(command::AddToPhysmapBatch, &mut asked), answers)
    };
    on([Profile::DOM0, Profile::DOMU], DomainConfig::new(), move |_, t| {
        let (frame, mut zeroes) = (t.frame(0), [0_u64, 1, 0, 0]);
        let at = zeroes.as_mut_ptr();
        let none = [1; 4];
        t.is("a range in no domain", batch(t, NOBODY, 3, &mut [frame], at), (EOPNOTSUPP, none));
        t.is("no domain", batch(t, NOBODY, 0, &mut [frame], at), (ESRCH, none));
        let nowhere = std::ptr::without_provenance_mut(NOWHERE);
        rows! { t;
            "a list that is nowhere",
                batch(t, Domid::SELF, 0, &mut [frame], nowhere) => (EFAULT, none);
            "none of it", batch(t, Domid::SELF, 0, &mut [], nowhere) => (OK, none);
            "each has its answer",
                batch(t, Domid::SELF, 0, &mut [frame, frame + 1], at) => (OK, [0, -22, 1, 1]);
            "until no frame", batch(t, Domid::SELF, 1, &mut [frame, u64::MAX, frame], at)
                => (EINVAL, [0, 1, 1, 1]);
        }
    });
}

#[test]
fn a_page_that_goes_to_an_impossible_frame_has_left_its_own_on_x86() {
    for kind in [0, 1] {
        one(Profile::DOM0, DomainConfig::new(), move |t| {
            let frame = t.frame(0);
            t.is("mapped", add(t, Domid::SELF, kind, 0, frame), OK);
            t.is("moved nowhere", add(t, Domid::SELF, kind, 0, NO_FRAME), ENOENT);
            t.is("it is gone", remove(t, Domid::SELF, frame), ENOENT);
        });
    }
    one(Profile::DOM0, DomainConfig::new(), |t| {
        rows! { t;
            "memory moved nowhere", add(t, Domid::SELF, 2, t.frame(5), NO_FRAME) => ENOENT;
            "it is gone, and charged",
                (remove(t, Domid::SELF, t.frame(5)), pages(t)) => (ENOENT, 64);
        }
    });
}

#[test]
fn an_extent_that_cannot_be_populated_is_charged_as_a_whole() {
    for (order, charged) in [(0, 65), (1, 66), (2, 68)] {
        one(Profile::DOMU, DomainConfig::new(), move |t| {
            let done = reservation(t, POPULATE, Domid::SELF, &mut [NO_FRAME], order);
            t.is(&format!("order {order}"), (done, pages(t)), (OK, charged));
        });
    }
}

#[test]
fn populating_over_a_grant_is_the_end_on_x86() {
    use crate::support::grants::{PERMIT, entry, host_map, map, map_table, put};
    let failure = fails(Profile::DOM0, DomainConfig::new(), |t| {
        map_table(t, 0);
        put(t, 0, 8, entry(PERMIT, t.domain(), t.frame(1)));
        let mapped = map(t, t.frame(9) * 4096, host_map(), 8, t.domain()).0;
        t.is("mapped", mapped, Ok(GrantStatus::OKAY));
        let _ = reservation(t, POPULATE, Domid::SELF, &mut [t.frame(9)], 0);
    });
    assert!(matches!(failure.kind, FailureKind::Crashed { .. }), "{failure}");
}

#[test]
fn a_call_goes_on_from_the_extent_in_its_command() {
    const START: usize = 1 << 6;
    on(PROFILES, DomainConfig::new(), |_, t| {
        let frames = [60, 61, 62].map(|page| t.frame(page));
        let take = |start: usize| {
            reservation(t, DECREASE + start * START, Domid::SELF, &mut frames.clone(), 0)
        };
        rows! { t;
            "past the end", take(3) => Ok(3);
            "in no domain", reservation(t, DECREASE + 2 * START, NOBODY, &mut [0; 3], 0) => Ok(2);
            "the last two", (take(1), pages(t)) => (Ok(3), 62);
            "the first is there", take(0) => Ok(1);
        }
        let ask = |command: usize| t.raw(HypercallNr::MEMORY_OP, [command | START, NOWHERE, 0]);
        for command in [2, 3, 4, 14, 15] {
            t.is("a call that cannot go on", ask(command), EINVAL);
        }
        t.is("a map of memory that goes on", ask(9), ENOSYS);
        let batch_at = |start: usize| t.raw(HypercallNr::MEMORY_OP, [23 | start, NOWHERE, 0]);
        t.is("past any batch", [batch_at(START << 16), batch_at(START)], [EDOM, EFAULT]);
        let mut one = XenAddToPhysmap::new(Domid::SELF, 1, MapSpace::GMFN_RANGE, 0, t.frame(60));
        let at = address(&mut one);
        let ask = |start: usize| t.raw(HypercallNr::MEMORY_OP, [7 + start * START, at, 0]);
        t.is("a range", [ask(2), ask(1), ask(1 << 16)], [EILSEQ, OK, EDOM]);
    });
}

#[test]
fn the_compatibility_layer_reads_arguments_first() {
    const START: usize = 1 << 6;
    // `remove_from_physmap`, `add_to_physmap` and its list, and `acquire_resource`.
    let commands = [15 | START, 7 | START << 16, 23 | START << 16, 28];
    for (is_compat, answers) in
        [(false, [EINVAL, EDOM, EDOM, EACCES]), (true, [EFAULT, EFAULT, EFAULT, EFAULT])]
    {
        one(Profile { is_compat, ..Profile::DOMU }, DomainConfig::new(), move |t| {
            let ask = |command, at| t.raw(HypercallNr::MEMORY_OP, [command, at, 0]);
            let zeros = [0_u64; 8];
            t.is("from nowhere", commands.map(|command| ask(command, NOWHERE)), answers);
            let at = zeros.as_ptr().addr();
            let of_zeros = [EINVAL, EDOM, EDOM, EACCES];
            t.is("of zeros", commands.map(|command| ask(command, at)), of_zeros);
        });
    }
}

#[test]
fn frames_beyond_those_that_have_addresses() {
    let far = [(1 << 28, OK), ((1 << 36) - 1, OK), (1 << 36, ENOENT), (1 << 63, OK)];
    for (frame, answer) in far {
        one(Profile::DOM0, DomainConfig::new(), move |t| {
            t.is("mapped", add(t, Domid::SELF, 0, 0, frame), answer);
            t.is("there", remove(t, Domid::SELF, frame), if answer == OK { OK } else { ENOENT });
            let frames = &mut [frame];
            let done = if answer == OK { Ok(1) } else { OK };
            t.is("populated", reservation(t, POPULATE, Domid::SELF, frames, 0), done);
            t.is("and taken back", reservation(t, DECREASE, Domid::SELF, frames, 0), done);
        });
    }
    // The frame after the last is the first, and what cannot be mapped is charged.
    let two_at_the_end = [(Profile::DOM0, (OK, OK, 66)), (ARM_DOM0, (OK, ENOENT, 66))];
    for (profile, expected) in two_at_the_end {
        one(profile, DomainConfig::new(), move |t| {
            let populated = reservation(t, POPULATE, Domid::SELF, &mut [u64::MAX], 1);
            t.is("two", (populated, remove(t, Domid::SELF, 0), pages(t)), expected);
        });
    }
    one(Profile::DOM0LESS, DomainConfig::new(), |t| {
        let at = |frame| add(t, Domid::SELF, 0, 0, frame);
        t.is("40 bits of addresses", [at(1 << 28), at((1 << 28) - 1)], [EINVAL, OK]);
    });
}

#[test]
fn a_page_that_xen_uses_counts_until_the_use_is_over() {
    use xen_pac::vcpu::command::RegisterVcpuInfo;
    on(PROFILES, DomainConfig::new().vcpus(2), |_, t| {
        let mut block = VcpuRegisterVcpuInfo::new(t.frame(60), 0);
        t.is("a block", t.give_vcpu(RegisterVcpuInfo, 0, &mut block), OK);
        let taken = [60, 61]
            .map(|page| (reservation(t, DECREASE, Domid::SELF, &mut [t.frame(page)], 0), pages(t)));
        t.is("its page and another", taken, [(Ok(1), 64), (Ok(1), 63)]);
    });
}

#[test]
fn a_batch_of_another_domains_pages_or_of_devices() {
    let ask = |t: &Table, space: u16, u: XenAddToPhysmapBatchU, size: u16| {
        let (mut from, mut to, mut errors) = ([0_u64], [t.frame(9)], [1_i32]);
        let mut asked = XenAddToPhysmapBatch::new(
            Domid::SELF,
            space,
            size,
            u,
            Handle::from_ptr(from.as_mut_ptr()),
            Handle::from_ptr(to.as_mut_ptr()),
            Handle::from_ptr(errors.as_mut_ptr()),
        );
        (t.give(command::AddToPhysmapBatch, &mut asked), errors[0])
    };
    let no = |errno: Errno| -i32::from(errno.number() as i16);
    let foreign = |domain| XenAddToPhysmapBatchU::from_foreign_domid(domain);
    let reserved = |value| XenAddToPhysmapBatchU::from_res0(value);
    on(PROFILES, DomainConfig::new(), move |profile, t| {
        let (own, control) = (t.domain(), profile == Profile::DOM0);
        let (of_none, of_own) = match profile.arch {
            Arch::Aarch64 => (Errno::ESRCH, Errno::ESRCH),
            _ if control => (Errno::ESRCH, Errno::EPERM),
            _ => (Errno::EPERM, Errno::EPERM),
        };
        rows! { t;
            "none", ask(t, 4, foreign(NOBODY), 0) => (OK, 1);
            "of no domain", ask(t, 4, foreign(NOBODY), 1) => (OK, no(of_none));
            "of the caller", ask(t, 4, foreign(own), 1) => (OK, no(of_own));
        }
        if control {
            t.is("of Xen", ask(t, 4, foreign(Domid::XEN), 1), (OK, no(Errno::EINVAL)));
            t.is("devices", ask(t, 5, reserved(0), 1), (OK, no(Errno::EINVAL)));
            t.is("with reserved bits", ask(t, 5, reserved(1), 1), (EOPNOTSUPP, 1));
        }
    });
}

#[test]
fn the_control_domain_asks_for_the_machines_memory_map_since_4_19() {
    const MACHINE_MEMORY_MAP: usize = 10;
    let ask = |t: &Table, at: usize| t.raw(HypercallNr::MEMORY_OP, [MACHINE_MEMORY_MAP, at, 0]);
    for (profile, minor, answer) in [
        (Profile::DOM0, 18, ENOSYS),
        (Profile::DOM0, 19, OK),
        (Profile::DOMU, 18, ENOSYS),
        (Profile::DOMU, 19, EPERM),
    ] {
        one(release(minor, profile), DomainConfig::new(), move |t| {
            let mut none = [0_u64; 2];
            t.is("an argument of zeros", ask(t, address(&mut none)), answer);
            let nowhere = if answer == OK { EFAULT } else { answer };
            t.is("an argument that is nowhere", ask(t, NOWHERE), nowhere);
        });
    }
}
