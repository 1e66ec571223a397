//! Parameters and upcall vectors.

use xen_pac::hvm::command;

use crate::support::prelude::*;

const GUEST: Domid = Domid(1);
/// One more than the last parameter.
const END: u32 = 39;
const DEPRECATED: [u32; 10] = [4, 13, 20, 21, 22, 23, 24, 25, 26, 30];
const SETTABLE: [u32; 8] = [0, 2, 15, 18, 19, 34, 36, 37];
const READABLE: [u32; 11] = [0, 1, 2, 15, 17, 18, 19, 34, 35, 36, 37];
const ON_ARM: [u32; 5] = [0, 1, 2, 17, 18];

fn set(t: &Table, dom: Domid, index: u32, value: u64) -> Answer {
    t.give(command::SetParam, &mut XenHvmParam::new(dom, HvmParam(index), value))
}

fn get(t: &Table, dom: Domid, index: u32) -> Answer {
    t.give(command::GetParam, &mut XenHvmParam::new(dom, HvmParam(index), 0))
}

fn vector(t: &Table, vcpu: u32, vector: u8) -> Answer {
    t.give(command::SetEvtchnUpcallVector, &mut XenHvmEvtchnUpcallVector::new(vcpu, vector))
}

/// A value that a parameter can have.
const fn fitting(index: u32) -> u64 {
    if index == 37 { 104 << 32 } else { 0 }
}

#[test]
fn parameters_of_oneself_on_x86() {
    for role in [Role::Control, Role::Guest] {
        for minor in [14, 15, 17, 18, 19, 20] {
            let profile = release(minor, Profile { role, ..Profile::DOM0 });
            one(profile, DomainConfig::new(), move |t| {
                for dom in [Domid::SELF, t.domain()] {
                    (0..END + 2).for_each(|index| of_oneself_on_x86(t, dom, index, minor));
                }
                t.is("no parameter of no domain: set", set(t, NOBODY, END, 0), EINVAL);
                t.is("no parameter of no domain: get", get(t, NOBODY, u32::MAX), EINVAL);
                t.is("one of no domain: set", set(t, NOBODY, 4, 0), ESRCH);
                t.is("one of no domain: get", get(t, NOBODY, 3), ESRCH);
            });
        }
    }
}

fn of_oneself_on_x86(t: &Table, dom: Domid, index: u32, minor: u16) {
    let (read, written) = if index >= END || minor >= 15 && DEPRECATED.contains(&index) {
        (EINVAL, EINVAL)
    } else {
        let read = if READABLE.contains(&index) { OK } else { EPERM };
        let written = match index {
            19 => ENODEV,
            35 if minor >= 19 => EEXIST,
            _ if SETTABLE.contains(&index) => OK,
            _ => EPERM,
        };
        (read, written)
    };
    t.is(&format!("4.{minor}: get {index}"), get(t, dom, index), read);
    t.is(&format!("4.{minor}: set {index}"), set(t, dom, index, fitting(index)), written);
}

#[test]
fn values_that_a_parameter_cannot_have() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        for (value, answer) in
            [(0, OK), (4, OK), (8, OK), (1, EINVAL), (9, EINVAL), (u64::MAX, EINVAL)]
        {
            t.is("width of the x87 instruction pointer", set(t, Domid::SELF, 36, value), answer);
        }
        for value in [0, 1, 2, u64::MAX] {
            t.is("ports of a PVH guest", set(t, Domid::SELF, 19, value), ENODEV);
        }
        for value in [0, u64::from(u32::MAX)] {
            t.is("a task state segment below 4 GiB", set(t, Domid::SELF, 15, value), OK);
        }
    });
    for (index, value) in [(15, 1 << 32), (37, 0), (37, (104 << 32) - 1)] {
        let failure = fails(Profile::DOMU, DomainConfig::new(), move |t| {
            let _ = set(t, Domid::SELF, index, value);
        });
        assert!(matches!(failure.kind, FailureKind::Crashed { .. }), "{failure}");
    }
}

#[test]
fn parameters_of_others_on_x86() {
    for minor in [14, 15, 19] {
        let control = domain(DomainConfig::new(), move |t| {
            for index in 0..END + 2 {
                let deprecated = index >= END || minor >= 15 && DEPRECATED.contains(&index);
                rows! { t;
                    &format!("get {index}"),
                        get(t, GUEST, index) => if deprecated { EINVAL } else { OK };
                }
                let written = match index {
                    _ if deprecated => EINVAL,
                    19 => ENODEV,
                    35 if minor >= 19 => EEXIST,
                    _ => OK,
                };
                t.is(&format!("set {index}"), set(t, GUEST, index, fitting(index)), written);
            }
            // Those that are set once are so by another value than none.
            rows! { t;
                "viridian", [set(t, GUEST, 9, 1), set(t, GUEST, 9, 1), set(t, GUEST, 9, 3)]
                    => [OK, OK, EEXIST];
                // Only oneself is destroyed by a bad segment.
                "a task state segment that cannot be", set(t, GUEST, 15, 1 << 32) => EINVAL;
            }
            t.publish("done", 1);
        });
        let other = domain(guest(), |t| {
            t.is("an unprivileged guest: set", set(t, Domid(0), 0, 0), EPERM);
            t.is("an unprivileged guest: get", get(t, Domid(0), 0), EPERM);
            t.is("of a retired one it learns less", get(t, Domid(0), 4), EPERM);
            let _ = t.wait_for_key("done");
        });
        several(release(minor, Profile::DOM0), [control, other]);
    }
}

#[test]
fn parameters_on_arm() {
    for minor in [14, 17, 20] {
        on(
            [release(minor, Profile::DOM0LESS), release(minor, ARM_DOM0)],
            DomainConfig::new(),
            |_, t| {
                for index in (0..END + 2).chain([u32::MAX]) {
                    let known = ON_ARM.contains(&index);
                    let of_toolstack = index == 28;
                    rows! { t;
                        &format!("set {index}"), set(t, Domid::SELF, index, 0)
                            => if known || of_toolstack { EPERM } else { EINVAL };
                    }
                    let read = if of_toolstack {
                        EPERM
                    } else if known {
                        OK
                    } else {
                        EINVAL
                    };
                    t.is(&format!("get {index}"), get(t, Domid::SELF, index), read);
                }
                t.is("no parameter of no domain", get(t, NOBODY, u32::MAX), ESRCH);
                t.is("no parameter of no domain: set", set(t, NOBODY, u32::MAX, 0), ESRCH);
            },
        );
    }
    let control = domain(DomainConfig::new(), |t| {
        for index in [0, 1, 2, 17, 18, 28] {
            t.is("another's: set", set(t, GUEST, index, 5), OK);
            t.is("another's: get", get(t, GUEST, index), OK);
        }
        t.is("another's, unknown", [set(t, GUEST, 3, 0), get(t, GUEST, 3)], [EINVAL; 2]);
        t.publish("done", 1);
    });
    let other = domain(guest(), |t| {
        rows! { t;
            "an unprivileged guest, of one that there is not",
                [set(t, Domid(0), 99, 0), get(t, Domid(0), 99)] => [EPERM; 2];
        }
        let _ = t.wait_for_key("done");
    });
    several(ARM_DOM0, [control, other]);
}

#[test]
fn commands_of_the_toolstack_for_another_domain() {
    const PAGETABLE_DYING: usize = 9;
    const GET_MEM_TYPE: usize = 15;
    let ask = |t: &Table, command: usize, domain: Domid| {
        let mut argument = [0_u64; 4];
        argument[0] = domain.0.into();
        t.raw(HypercallNr::HVM_OP, [command, address(&mut argument), 0])
    };
    let control = domain(DomainConfig::new(), move |t| {
        rows! { t;
            "the control domain", ask(t, PAGETABLE_DYING, GUEST) => Err(Errno::EOPNOTSUPP);
            "types of memory", ask(t, GET_MEM_TYPE, GUEST) => OK;
        }
        t.publish("done", 1);
    });
    let other = domain(guest(), move |t| {
        rows! { t;
            "a guest", ask(t, PAGETABLE_DYING, Domid(0)) => Err(Errno::EOPNOTSUPP);
            "for itself", ask(t, PAGETABLE_DYING, Domid::SELF) => EINVAL;
            "types of memory", ask(t, GET_MEM_TYPE, Domid(0)) => EPERM;
            "its own", ask(t, GET_MEM_TYPE, Domid::SELF) => OK;
            "of no domain", ask(t, GET_MEM_TYPE, NOBODY) => ESRCH;
        }
        let _ = t.wait_for_key("done");
    });
    several(Profile::DOM0, [control, other]);
}

#[test]
fn upcall_vectors() {
    on([Profile::DOM0, Profile::DOMU], DomainConfig::new().vcpus(2), |_, t| {
        t.is("an exception's", vector(t, 0, 0xf), EINVAL);
        t.is("none, of no vCPU", vector(t, 2, 0), EINVAL);
        t.is("of no vCPU", vector(t, 2, 0x10), ENOENT);
        t.is("the lowest", vector(t, 1, 0x10), OK);
    });
    one(release(5, Profile::DOMU), DomainConfig::new(), |t| {
        t.is("before 4.6", vector(t, 0, 0x30), ENOSYS);
    });
    one(Profile::DOM0LESS, DomainConfig::new(), |t| t.is("on Arm", vector(t, 9, 0), ENOSYS));
}

#[test]
fn both_task_state_parameters_are_one_value() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        let read = |index| {
            let mut asked = XenHvmParam::new(Domid::SELF, HvmParam(index), 0);
            t.give(command::GetParam, &mut asked).map(|_| asked.value)
        };
        t.is("the address", set(t, Domid::SELF, 15, 0x1000), OK);
        t.is("with 128 bytes", [read(15), read(37)], [Ok(0x1000), Ok(0x1000 | 128 << 32)]);
        t.is("the size", set(t, Domid::SELF, 37, 0x2000 | 104 << 32), OK);
        t.is("and its address", [read(15), read(37)], [Ok(0x2000), Ok(0x2000 | 104 << 32)]);
    });
}
