//! vCPUs, their timers and their areas.

use xen_hal::vcpu::StartState as _;
use xen_pac::vcpu::command;
use xen_pac::vcpu::raw;

use crate::support::prelude::*;

const LAST_COMMAND: usize = 15;
/// No vCPU of the domains here.
const NONE: u32 = 9;
const VCPU_INFO: u32 = 64;
const ON_X86: [Profile; 2] = [Profile::DOM0, Profile::DOMU];

fn bare(t: &Table, command: usize, vcpu: u32, at: usize) -> Answer {
    t.raw(HypercallNr::VCPU_OP, [command, vcpu as usize, at])
}

fn initialise(t: &Table, vcpu: u32, mut state: VcpuHvmContext) -> Answer {
    t.give_vcpu(command::Initialise, vcpu, &mut state)
}

fn good() -> VcpuHvmContext {
    LongMode::new(0x1000, 0x2000, 0x3000).context().expect("a state in which a vCPU can start")
}

fn bad() -> VcpuHvmContext {
    VcpuHvmContext { mode: VcpuHvmMode(7), ..good() }
}

fn periodic(t: &Table, vcpu: u32, period: u64) -> Answer {
    t.give_vcpu(command::SetPeriodicTimer, vcpu, &mut VcpuSetPeriodicTimer::new(period))
}

fn singleshot(t: &Table, vcpu: u32, due: u64, flags: u32) -> Answer {
    t.give_vcpu(command::SetSingleshotTimer, vcpu, &mut VcpuSetSingleshotTimer::new(due, flags))
}

fn register(t: &Table, vcpu: u32, frame: u64, offset: u32) -> Answer {
    t.give_vcpu(command::RegisterVcpuInfo, vcpu, &mut VcpuRegisterVcpuInfo::new(frame, offset))
}

#[test]
fn no_vcpu_comes_before_everything() {
    on(PROFILES, DomainConfig::new().vcpus(2), |profile, t| {
        for command in (0..=LAST_COMMAND).chain([NO_COMMAND]) {
            t.is(&format!("command {command} of no vCPU"), bare(t, command, NONE, NOWHERE), ENOENT);
        }
        rows! { t;
            "unknown",
                bare(t, NO_COMMAND, 0, NOWHERE) => if is_arm(profile) { EINVAL } else { ENOSYS };
        }
    });
}

#[test]
fn arm_has_two_commands() {
    one(Profile::DOM0LESS, DomainConfig::new().vcpus(2), |t| {
        for command in (0..=LAST_COMMAND).filter(|command| ![5, 10].contains(command)) {
            t.is(&format!("command {command}"), bare(t, command, 1, NOWHERE), EINVAL);
        }
        t.is("5 from nowhere", bare(t, 5, 0, NOWHERE), EFAULT);
        t.is("10 from nowhere", bare(t, 10, 0, NOWHERE), EFAULT);
    });
}

#[test]
fn a_vcpu_is_initialised_once_and_comes_up_then() {
    on(ON_X86, DomainConfig::new().vcpus(2), |_, t| {
        t.is("up before", bare(t, 1, 1, NOWHERE), EINVAL);
        t.is("from nowhere, although done", bare(t, 0, 0, NOWHERE), EFAULT);
        t.is("done, in a state that cannot be", initialise(t, 0, bad()), EEXIST);
        t.is("in a state that cannot be", initialise(t, 1, bad()), EINVAL);
        t.is("up still not", bare(t, 1, 1, 0), EINVAL);
        t.is("initialised", initialise(t, 1, good()), OK);
        t.is("again", initialise(t, 1, good()), EEXIST);
        t.set_program(VcpuId(1), |_| ());
        t.is("up, twice", [bare(t, 1, 1, NOWHERE), bare(t, 1, 1, NOWHERE)], [OK; 2]);
        t.is("is up: no argument is looked at", bare(t, 3, 0, NOWHERE), Ok(1));
        t.is("down, one that never was up", bare(t, 2, 1, NOWHERE), OK);
    });
}

#[test]
fn vcpus_beyond_the_shared_page_need_a_block_up_to_4_18() {
    for (minor, without) in [(17, EINVAL), (18, EINVAL), (19, OK)] {
        one(release(minor, Profile::DOMU), DomainConfig::new().vcpus(34), move |t| {
            rows! { t;
                "the last that has one", initialise(t, 31, good()) => OK;
                "from nowhere, without a block",
                    bare(t, 0, 32, NOWHERE) => if minor < 19 { EINVAL } else { EFAULT };
                "without a block", initialise(t, 32, good()) => without;
                "registered", register(t, 33, t.frame(0), 0) => OK;
                "with a block", initialise(t, 33, good()) => OK;
            }
        });
    }
}

#[test]
fn periods() {
    on(ON_X86, DomainConfig::new().vcpus(2), |_, t| {
        for (period, answer) in [
            (0, EINVAL),
            (999_999, EINVAL),
            (1_000_000, OK),
            ((1 << 62) - 1, OK),
            (1 << 62, EINVAL),
            (u64::MAX, EINVAL),
        ] {
            t.is(&format!("{period} ns"), periodic(t, 0, period), answer);
            t.is(&format!("{period} ns of another"), periodic(t, 1, period), answer);
        }
        t.is("from nowhere", bare(t, 6, 0, NOWHERE), EFAULT);
        t.is("stopped", [bare(t, 7, 0, NOWHERE), bare(t, 7, 1, 0)], [OK; 2]);
    });
}

#[test]
fn single_shots() {
    let future = singleshot_timer_flags::FUTURE.mask << singleshot_timer_flags::FUTURE.shift;
    for (minor, late) in [(14, ETIME), (16, ETIME), (17, OK), (20, OK)] {
        one(release(minor, Profile::DOMU), DomainConfig::new().vcpus(2), move |t| {
            t.is("of another, from nowhere", bare(t, 8, 1, NOWHERE), EINVAL);
            t.is("of another", singleshot(t, 1, 1, 0), EINVAL);
            t.is("from nowhere", bare(t, 8, 0, NOWHERE), EFAULT);
            t.is("in the past", singleshot(t, 0, 1, 0), OK);
            t.is("in the past, and wanted in the future", singleshot(t, 0, 1, future), late);
            t.is("in the future, as wanted", singleshot(t, 0, 1 << 60, future), OK);
            t.is("stop of another", bare(t, 9, 1, NOWHERE), EINVAL);
            t.is("stopped, twice", [bare(t, 9, 0, NOWHERE), bare(t, 9, 0, 0)], [OK; 2]);
        });
    }
}

#[test]
fn the_compatibility_layer_reads_a_single_shot_first() {
    let profile = Profile { is_compat: true, ..Profile::DOMU };
    one(profile, DomainConfig::new().vcpus(2), |t| {
        t.is("of another, from nowhere", bare(t, 8, 1, NOWHERE), EFAULT);
        t.is("of another", singleshot(t, 1, 1, 0), EINVAL);
        t.is("of no vCPU, from nowhere", bare(t, 8, NONE, NOWHERE), ENOENT);
        t.is("stop of another, from nowhere", bare(t, 9, 1, NOWHERE), EINVAL);
    });
}

#[test]
fn a_block_of_ones_own_up_to_4_17() {
    on(PROFILES, DomainConfig::new().vcpus(2), |_, t| {
        let frame = t.frame(0);
        t.is("across the page's end", register(t, 0, frame, 4096 - VCPU_INFO + 8), ENXIO);
        t.is("beyond the page", register(t, 0, frame, 4096), ENXIO);
        t.is("not aligned, in no frame", register(t, 0, 1 << 40, 4), ENXIO);
        t.is("in no frame", register(t, 0, 1 << 40, 0), EINVAL);
        t.is("an address that is none", register(t, 0, u64::MAX, 0), EINVAL);
        t.is("an address that is none, and not aligned", register(t, 0, u64::MAX, 4), ENXIO);
        t.is("registered", register(t, 0, frame, 0), OK);
        t.is("again", register(t, 0, frame, 0), EINVAL);
        t.is("again, across the page's end", register(t, 0, frame, 4095), ENXIO);
    });
    one(Profile::DOMU, DomainConfig::new().vcpus(2), |t| {
        t.start(1, |guest| _ = guest.wait_for_key("asked"));
        t.is("of another that is up", register(t, 1, t.frame(0), 0), EINVAL);
        t.is("of another that is up, in no frame", register(t, 1, 1 << 40, 0), EINVAL);
        t.publish("asked", 1);
    });
}

#[test]
fn a_block_of_ones_own_since_4_18() {
    for minor in [18, 19, 20] {
        for profile in PROFILES {
            one(release(minor, profile), DomainConfig::new().vcpus(2), |t| {
                let frame = t.frame(0);
                rows! { t;
                    "from nowhere", bare(t, 10, 0, NOWHERE) => EFAULT;
                    "across the page's end", register(t, 0, frame, 4096 - VCPU_INFO + 8) => ENXIO;
                    "beyond the page", register(t, 0, frame, 4096) => EINVAL;
                    "not aligned, in no frame", register(t, 0, 1 << 40, 4) => ENXIO;
                    "in no frame", register(t, 0, 1 << 40, 0) => EINVAL;
                    "an address that is none, and not aligned",
                        register(t, 0, u64::MAX, 4) => EINVAL;
                    "registered", register(t, 0, frame, 64) => OK;
                    "again", register(t, 0, frame, 0) => EBUSY;
                    "again, across the page's end", register(t, 0, frame, 4095) => EBUSY;
                    "again, beyond the page", register(t, 0, frame, 4096) => EINVAL;
                }
            });
        }
        one(release(minor, Profile::DOMU), DomainConfig::new().vcpus(2), |t| {
            t.start(1, |guest| _ = guest.wait_for_key("asked"));
            t.is("of another that is up", register(t, 1, t.frame(0), 0), OK);
            t.publish("asked", 1);
        });
    }
}

#[test]
fn memory_of_a_32_bit_guest_is_aligned_to_4_bytes() {
    const LAST: u32 = 4096 - VCPU_INFO;
    for minor in [17, 20] {
        let profile = Profile { is_compat: true, ..release(minor, Profile::DOM0) };
        one(profile, DomainConfig::new(), move |t| {
            rows! { t;
                "not aligned", register(t, 0, t.frame(0), 2) => ENXIO;
                "across the page's end", register(t, 0, t.frame(0), LAST + 4) => ENXIO;
                "aligned", register(t, 0, t.frame(0), LAST - 4) => OK;
                "marked, at a multiple of 8", byte(t.page(0).cast(), LAST as usize) => 1;
            }
            if minor == 20 {
                let page = t.frame(1) * 4096;
                let areas = |offset| [14, 15].map(|command| area(t, command, page + offset));
                t.is("areas that are not aligned", areas(2), [ENXIO; 2]);
                t.is("areas that are aligned", areas(4), [OK; 2]);
            }
        });
    }
}

#[test]
fn interrupts_and_numbers_of_the_processor() {
    on(ON_X86, DomainConfig::new().vcpus(2), |profile, t| {
        t.is("an interrupt with an argument", bare(t, 11, 0, NOWHERE), EINVAL);
        let number = if profile == Profile::DOM0 { EFAULT } else { EINVAL };
        t.is("number of the processor", bare(t, 12, 0, NOWHERE), number);
        t.is("run times to nowhere", bare(t, 4, 0, NOWHERE), EFAULT);
    });
}

fn area(t: &Table, command: usize, address_of_area: u64) -> Answer {
    let mut asked = VcpuRegisterRunstateMemoryArea::new(
        VcpuRegisterRunstateMemoryAreaAddr::from_p(address_of_area),
    );
    bare(t, command, 0, address(&mut asked))
}

#[test]
fn areas_by_physical_address_since_4_18() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        t.is("before", [area(t, 14, 0), bare(t, 15, 0, NOWHERE)], [ENOSYS; 2]);
    });
    one(release(18, Profile::DOMU), DomainConfig::new(), |t| {
        let page = t.frame(0) * 4096;
        for command in [14, 15] {
            rows! { t;
                "from nowhere", bare(t, command, 0, NOWHERE) => EFAULT;
                "across the page's end", area(t, command, page + 4095 - 7) => ENXIO;
                "not aligned, in no frame", area(t, command, (1 << 52) + 4) => ENXIO;
                "in no frame", area(t, command, 1 << 52) => EINVAL;
                "registered, and elsewhere",
                    [area(t, command, page), area(t, command, page + 512)] => [OK; 2];
                "given up, twice",
                    [area(t, command, u64::MAX), area(t, command, u64::MAX)] => [OK; 2];
            }
        }
    });
}

#[test]
fn areas_by_virtual_address() {
    let at = |t: &Table, command, pointer: *mut raw::VcpuRunstateInfo| {
        let mut asked = VcpuRegisterRunstateMemoryArea::new(
            VcpuRegisterRunstateMemoryAreaAddr::from_v(Handle::from_ptr(pointer)),
        );
        bare(t, command, 0, address(&mut asked))
    };
    on(PROFILES, DomainConfig::new(), move |profile, t| {
        let nowhere = std::ptr::without_provenance_mut(NOWHERE);
        t.is("run times from nowhere", bare(t, 5, 0, NOWHERE), EFAULT);
        t.is("run times to nowhere", at(t, 5, nowhere), OK);
        t.is("run times", at(t, 5, t.page(0).cast().as_ptr()), OK);
        t.is("run times, not aligned", at(t, 5, t.page(0).as_ptr().wrapping_add(3).cast()), OK);
        if !is_arm(profile) {
            t.is("time from nowhere", bare(t, 13, 0, NOWHERE), EFAULT);
            t.is("time to nowhere", at(t, 13, nowhere), OK);
            t.is("time", at(t, 13, t.page(1).cast().as_ptr()), OK);
            t.is("time, not aligned", at(t, 13, t.page(1).as_ptr().wrapping_add(3).cast()), OK);
        }
    });
}

#[test]
fn a_vcpu_of_the_hardware_domain_is_pinned_to_the_only_processor() {
    one(Profile::DOM0, DomainConfig::new().vcpus(2), |t| {
        let mut number = VcpuGetPhysid { phys_id: 7 };
        for (vcpu, phys_id) in [(0, 0), (1, u64::MAX)] {
            t.is("asked", t.give_vcpu(command::GetPhysid, vcpu, &mut number), OK);
            t.is("its number", number.phys_id, phys_id);
        }
        t.is("to nowhere", bare(t, 12, 0, NOWHERE), EFAULT);
    });
}

#[test]
fn states_in_which_a_vcpu_can_start() {
    let null = VcpuHvmX8632 {
        cr0: 1,
        eip: 0x1000,
        cs_limit: u32::MAX,
        ds_limit: u32::MAX,
        ss_limit: u32::MAX,
        es_limit: u32::MAX,
        tr_limit: 0x67,
        ..VcpuHvmX8632::ZEROED
    };
    let flat = VcpuHvmX8632 {
        cs_ar: 0xc9b,
        ds_ar: 0xc93,
        ss_ar: 0xc93,
        es_ar: 0xc93,
        tr_ar: 0x8b,
        ..null
    };
    for (what, state, answer) in [
        ("zeros", VcpuHvmX8632::ZEROED, EINVAL),
        ("no segments", null, EINVAL),
        ("flat", flat, OK),
        ("without data segments", VcpuHvmX8632 { ds_ar: 0, es_ar: 0, ..flat }, OK),
        ("without a stack", VcpuHvmX8632 { ss_ar: 0, ..flat }, EINVAL),
        ("data for code", VcpuHvmX8632 { cs_ar: 0xc93, ..flat }, EINVAL),
        ("code that is not present", VcpuHvmX8632 { cs_ar: 0xc1b, ..flat }, EINVAL),
        ("a stack that is read-only", VcpuHvmX8632 { ss_ar: 0xc91, ..flat }, EINVAL),
        ("a stack of another level", VcpuHvmX8632 { ss_ar: 0xcf3, ..flat }, EINVAL),
        ("data of a lower level", VcpuHvmX8632 { ds_ar: 0xcf3, ..flat }, EINVAL),
        ("reserved bits", VcpuHvmX8632 { es_ar: 0x1c93, ..flat }, EINVAL),
        ("code for the task", VcpuHvmX8632 { tr_ar: 0x9b, ..flat }, EINVAL),
        ("past the limit", VcpuHvmX8632 { cs_ar: 0x49b, cs_limit: 0xfff, ..flat }, EINVAL),
        ("long mode that is not enabled", VcpuHvmX8632 { efer: 1 << 10, ..flat }, EINVAL),
        ("padding", VcpuHvmX8632 { pad1: 1, ..flat }, EINVAL),
    ] {
        one(Profile::DOMU, DomainConfig::new().vcpus(2), move |t| {
            let mut context = VcpuHvmContext::ZEROED;
            context.mode = VcpuHvmMode::BITS_32;
            context.cpu_regs = VcpuHvmContextCpuRegs::from_x86_32(state);
            t.is(what, initialise(t, 1, context), answer);
        });
    }
    let long = good().cpu_regs.x86_64();
    for (what, state, answer) in [
        ("long mode", long, OK),
        ("not active yet", VcpuHvmX8664 { efer: 1 << 8, ..long }, OK),
        ("not enabled", VcpuHvmX8664 { efer: 0, ..long }, EINVAL),
        ("without paging", VcpuHvmX8664 { cr0: 1, ..long }, EINVAL),
        ("without PAE", VcpuHvmX8664 { cr4: 0, ..long }, EINVAL),
        ("an address that is not canonical", VcpuHvmX8664 { rip: 1 << 47, ..long }, EINVAL),
        ("the highest address", VcpuHvmX8664 { rip: u64::MAX, ..long }, OK),
    ] {
        one(Profile::DOMU, DomainConfig::new().vcpus(2), move |t| {
            let mut context = good();
            context.cpu_regs = VcpuHvmContextCpuRegs::from_x86_64(state);
            t.is(what, initialise(t, 1, context), answer);
        });
    }
}

#[test]
fn areas_where_nothing_is_mapped_are_accepted_on_x86_and_not_written() {
    let at = |t: &Table, command, pointer: *mut raw::VcpuRunstateInfo| {
        let mut asked = VcpuRegisterRunstateMemoryArea::new(
            VcpuRegisterRunstateMemoryAreaAddr::from_v(Handle::from_ptr(pointer)),
        );
        bare(t, command, 0, address(&mut asked))
    };
    on(ON_X86, DomainConfig::new(), move |_, t| {
        for unmapped in [0x10_0000, 1 << 46] {
            let pointer = std::ptr::without_provenance_mut(unmapped);
            t.is("run times, and time", [at(t, 5, pointer), at(t, 13, pointer)], [OK; 2]);
        }
        t.is("the next one is", at(t, 5, t.page(0).cast().as_ptr()), OK);
        t.is("written", peek::<u32>(t, 0, 0), Runstate::RUNNING.0);
    });
}
