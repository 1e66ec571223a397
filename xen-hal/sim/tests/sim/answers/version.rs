//! Which Xen this is, and who is told what.

use xen_hal::hvm;
use xen_hal::vcpu::{Area, UpdateFlag};

use crate::support::prelude::*;

const EXTRAVERSION: usize = 1;
const COMPILE_INFO: usize = 2;
const CAPABILITIES: usize = 3;
const CHANGESET: usize = 4;
const PLATFORM: usize = 5;
const FEATURES: usize = 6;
const PAGESIZE: usize = 7;
const HANDLE: usize = 8;
const COMMANDLINE: usize = 9;
const BUILD_ID: usize = 10;
/// The same texts without a limit to their length; of the command line last.
const LONG: [usize; 3] = [11, 12, 13];
const LONG_COMMANDLINE: usize = 14;

fn ask(t: &Table, command: usize, at: usize) -> Answer {
    t.raw(HypercallNr::XEN_VERSION, [command, at, 0])
}

/// A buffer that says how long it is, as the newer commands want it.
#[repr(C, align(8))]
struct Buffer {
    length: u32,
    bytes: [u8; 1024],
}

fn into(t: &Table, command: usize, length: u32) -> Answer {
    let mut buffer = Buffer { length, bytes: [0; 1024] };
    ask(t, command, address(&mut buffer))
}

#[test]
fn what_all_are_told() {
    on(PROFILES, DomainConfig::new(), |_, t| {
        t.is("version", ask(t, 0, NOWHERE), Ok(4 << 16 | 17));
        for command in [
            EXTRAVERSION,
            COMPILE_INFO,
            CAPABILITIES,
            CHANGESET,
            PLATFORM,
            FEATURES,
            HANDLE,
            COMMANDLINE,
        ] {
            t.is(&format!("{command} into nowhere"), ask(t, command, NOWHERE), EFAULT);
        }
        let mut buffer = Buffer { length: 0, bytes: [0; 1024] };
        for command in [EXTRAVERSION, COMPILE_INFO, CAPABILITIES, CHANGESET, PLATFORM, HANDLE] {
            t.is(&format!("{command}"), ask(t, command, address(&mut buffer)), OK);
        }
        let features = |word| ask(t, FEATURES, address(&mut XenFeatureInfo::new(word)));
        t.is("features", [features(0), features(1), features(u32::MAX)], [OK, EINVAL, EINVAL]);
        t.is("page size", ask(t, PAGESIZE, 0), Ok(4096));
        t.is("page size with an argument", ask(t, PAGESIZE, NOWHERE), EINVAL);
        t.is("unknown", ask(t, NO_COMMAND, NOWHERE), ENOSYS);
    });
}

fn command_line(t: &Table) -> String {
    let mut text = [0_u8; 1024];
    t.is("command line", ask(t, COMMANDLINE, address(&mut text)), OK);
    String::from_utf8_lossy(&text).trim_end_matches('\0').to_string()
}

#[test]
fn what_guests_are_not_told() {
    one(Profile::DOM0, DomainConfig::new(), |t| {
        t.is("command line", command_line(t), "dom0=pvh".to_string());
    });
    one(release(6, Profile::DOMU), DomainConfig::new(), |t| {
        t.is("before anybody asked who asks", command_line(t), "dom0=pvh".to_string());
    });
    on([Profile::DOMU, Profile::DOM0LESS], DomainConfig::new(), |_, t| {
        t.is("command line", command_line(t), "<denied>".to_string());
        t.is(
            "build id, whatever else",
            [ask(t, BUILD_ID, 0), ask(t, BUILD_ID, NOWHERE), into(t, BUILD_ID, 0)],
            [EPERM; 3],
        );
        let mut changeset = [0xff_u8; 64];
        t.is("changeset", ask(t, CHANGESET, address(&mut changeset)), OK);
        t.is("which is none, and no secret", changeset[0], 0);
    });
}

#[test]
fn a_build_id_into_a_buffer() {
    one(Profile::DOM0, DomainConfig::new(), |t| {
        let length = ask(t, BUILD_ID, 0).expect("there is one");
        t.is("into nowhere", ask(t, BUILD_ID, NOWHERE), EFAULT);
        t.is("no room at all", into(t, BUILD_ID, 0), EINVAL);
        t.is("too little room", into(t, BUILD_ID, length as u32 - 1), ENOBUFS);
        t.is("enough", into(t, BUILD_ID, length as u32), Ok(length));
    });
    one(release(6, Profile::DOM0), DomainConfig::new(), |t| {
        t.is("before 4.7", ask(t, BUILD_ID, NOWHERE), ENOSYS);
    });
}

#[test]
fn texts_of_any_length_since_4_20() {
    for profile in PROFILES {
        one(release(19, profile), DomainConfig::new(), |t| {
            LONG.iter()
                .chain([&LONG_COMMANDLINE])
                .for_each(|command| t.is("before", ask(t, *command, NOWHERE), ENOSYS));
        });
        one(release(20, profile), DomainConfig::new(), |t| {
            for command in LONG {
                let length = ask(t, command, 0).expect("everybody is told");
                t.is("into nowhere", ask(t, command, NOWHERE), EFAULT);
                let answer = if length == 0 { Ok(0) } else { ENOBUFS };
                t.is("no room at all", into(t, command, 0), answer);
                if length > 1 {
                    t.is("too little room", into(t, command, length as u32 - 1), ENOBUFS);
                }
                t.is("enough", into(t, command, 1020), Ok(length));
            }
        });
    }
    one(release(20, Profile::DOM0), DomainConfig::new(), |t| {
        t.is("no room for the build id", into(t, BUILD_ID, 0), ENOBUFS);
        t.is("command line", into(t, LONG_COMMANDLINE, 1020), Ok(8));
    });
    for profile in [Profile::DOMU, Profile::DOM0LESS] {
        one(release(20, profile), DomainConfig::new(), |t| {
            rows! { t;
                "command line, whatever else",
                    [ask(t, LONG_COMMANDLINE, 0), ask(t, LONG_COMMANDLINE, NOWHERE)] => [EPERM; 2];
            }
        });
    }
}

/// An operation of the HAL, its name in C, and the release 4.x that has it first.
type Late = (&'static str, u16, fn(&Guest) -> Result<(), xen_hal::Error>);

/// The operations that need a later release than the oldest one.
const LATE: [Late; 15] = [
    ("VM_GENERATION_ID_ADDR", 5, |g| parameter(g, hvm::parameter::VM_GENERATION_ID_ADDR)),
    ("HVMOP_set_evtchn_upcall_vector", 6, |g| {
        let vector = hvm::UpcallVector::new(0xf4)?;
        Ok(Xen::new(g.xen()).hvm().set_upcall_vector(VcpuId(0), vector)?)
    }),
    ("ALTP2M", 6, |g| parameter(g, hvm::parameter::ALTP2M)),
    ("X87_FIP_WIDTH", 7, |g| parameter(g, hvm::parameter::X87_FIP_WIDTH)),
    ("SCHEDOP_pin_override", 7, |g| Ok(Xen::new(g.xen()).sched().pin_override(Some(0))?)),
    ("VCPUOP_initialise", 7, |g| {
        let state = LongMode::new(0x1000, 0x2000, 0x3000);
        // SAFETY: the vCPU is never started.
        Ok(unsafe { Xen::new(g.xen()).vcpu(VcpuId(1)).initialise(&state) }?)
    }),
    ("XENVER_build_id", 7, |g| text(Xen::new(g.xen()).version().build_id::<64>())),
    ("VMASST_TYPE_runstate_update_flag", 8, |g| Ok(UpdateFlag::request(g.xen()).map(drop)?)),
    ("VM86_TSS_SIZED", 9, |g| parameter(g, hvm::parameter::VM86_TSS_SIZED)),
    ("VCPUOP_register_runstate_phys_area", 18, |g| {
        let (me, latch) = (Xen::new(g.xen()).vcpu(VcpuId(0)), WidthLatch::new(g.xen())?);
        Ok(me.register_runstate_physical(&g.space(), latch, area(g)).map(drop)?)
    }),
    ("VCPUOP_register_vcpu_time_phys_area", 18, |g| {
        let me = Xen::new(g.xen()).vcpu(VcpuId(0));
        Ok(me.register_time_physical(&g.space(), area(g)).map(drop)?)
    }),
    ("XENVER_extraversion2", 20, |g| text(Xen::new(g.xen()).version().long_extraversion::<1024>())),
    ("XENVER_capabilities2", 20, |g| text(Xen::new(g.xen()).version().long_capabilities::<1024>())),
    ("XENVER_changeset2", 20, |g| text(Xen::new(g.xen()).version().long_changeset::<1024>())),
    ("XENVER_commandline2", 20, |g| text(Xen::new(g.xen()).version().long_command_line::<1024>())),
];

fn parameter<V: hvm::ParamValue>(
    guest: &Guest,
    parameter: hvm::Parameter<V>,
) -> Result<(), xen_hal::Error> {
    Ok(Xen::new(guest.xen()).hvm().get(parameter).map(drop)?)
}

fn text<T>(text: Result<T, xen_hal::version::CommandError>) -> Result<(), xen_hal::Error> {
    Ok(text.map(drop)?)
}

/// An area in the guest's first page, zeroed for each case.
fn area<T>(guest: &Guest) -> &'static Area<T> {
    // SAFETY: zeroes are an area, and the page stays until the machine ends, as do its handles.
    unsafe { guest.page(0).cast().as_ref() }
}

#[test]
fn an_operation_that_the_release_lacks_names_the_release_that_has_it() {
    for (name, since, operation) in LATE {
        let needs = format!("{name} needs Xen 4.{since}; this is 4.{}", since - 1);
        one(release(since - 1, Profile::DOM0), DomainConfig::new().vcpus(2), move |t| {
            let refused = operation(t).map_err(|error| error.to_string());
            let refused = refused.expect_err("a refusal");
            t.is(name, refused.trim_start_matches("HVM parameter ").to_string(), needs);
        });
        one(release(since, Profile::DOM0), DomainConfig::new().vcpus(2), move |t| {
            t.is(name, operation(t), Ok(()));
        });
    }
}
