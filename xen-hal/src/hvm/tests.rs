use core::fmt;
use std::string::ToString;

use proptest::prelude::*;
use xen_pac::hvm::{AcpiIoportsLocation, Altp2mMode, CallbackVia, HVM_NR_PARAMS, HvmTimerMode};
use xen_pac::sched::ShutdownReason;

use super::*;
use crate::event::Port;
use crate::platform::Frame;
use crate::testing::{Script, errno};
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use crate::version::CommandError;

#[test]
fn a_parameter_is_asked_for_by_number_and_domain() {
    let xen = Script::new()
        .argument(command::GetParam, |asked| {
            assert_eq!(
                (asked.domid, asked.index, asked.value),
                (Domid::SELF, HvmParam::STORE_EVTCHN, 0)
            );
            asked.value = 5;
            0
        })
        .argument(command::GetParam, |asked| {
            assert_eq!((asked.domid, asked.index), (Domid(7), HvmParam::TIMER_MODE));
            asked.value = 3;
            0
        });
    assert_eq!(Hvm::new(&xen).get(parameter::STORE_EVTCHN), Ok(Some(Port(5))));
    assert_eq!(
        Hvm::of(&xen, Domid(7)).get(parameter::TIMER_MODE),
        Ok(HvmTimerMode::ONE_MISSED_TICK_PENDING)
    );
}

#[test]
fn a_parameter_is_set_to_its_code() {
    let xen = Script::new()
        .argument(command::SetParam, |asked| {
            assert_eq!(
                (asked.domid, asked.index, asked.value),
                (Domid::SELF, HvmParam::X87_FIP_WIDTH, 8)
            );
            0
        })
        .argument(command::SetParam, |_| errno(Errno::EPERM));
    let hvm = Hvm::new(&xen);
    hvm.set(parameter::X87_FIP_WIDTH, FipWidth::Eight).unwrap();
    let error = hvm.set(parameter::HPET_ENABLED, true).unwrap_err();
    assert_eq!((error.parameter(), error.errno()), (HvmParam::HPET_ENABLED, Some(Errno::EPERM)));
    assert_eq!(error.to_string(), "Xen refused access to HVM parameter HPET_ENABLED: EPERM");
}

#[test]
fn removed_parameters_do_not_reach_xen() {
    let xen = Script::new();
    let hvm = Hvm::new(&xen);
    for number in [4, 13, 20, 21, 22, 23, 24, 25, 26, 30] {
        let parameter = HvmParam(number);
        let removed = error::check(parameter).unwrap_err();
        assert_eq!(hvm.get_raw(parameter), Err(ParameterError::Removed(removed)));
        assert_eq!(removed.parameter(), parameter);
        // SAFETY: nothing is set.
        let error = unsafe { hvm.set_raw(parameter, 0) }.unwrap_err();
        assert_eq!(error.errno(), None);
    }
}

#[test]
fn every_parameter_of_the_newest_release_has_a_type() {
    for number in 0..HVM_NR_PARAMS {
        let parameter = HvmParam(number);
        let current = parameter.name().is_some() && error::check(parameter).is_ok();
        assert_eq!(parameter::NUMBERS.contains(&parameter), current, "{parameter}");
    }
}

#[test]
fn a_value_that_the_type_lacks_is_named() {
    let xen = Script::new().argument(command::GetParam, |asked| {
        asked.value = 5;
        0
    });
    let error = Hvm::new(&xen).get(parameter::X87_FIP_WIDTH).unwrap_err();
    assert_eq!(error, ParameterError::Unknown { parameter: HvmParam::X87_FIP_WIDTH, value: 5 });
    assert_eq!(error.to_string(), "HVM parameter X87_FIP_WIDTH has the unknown value 0x5");
}

/// Vectors below 32 are exceptions. No value for the parameter has one.
#[test]
#[cfg(not(target_arch = "aarch64"))]
fn a_callback_has_no_vector_of_an_exception() {
    for vector in 0..=u8::MAX {
        let word = 2 << 56 | u64::from(vector);
        let expected = (vector >= 32).then_some(word);
        assert_eq!(CallbackVia::vector(vector).ok().map(CallbackVia::encode), expected);
        assert_eq!(<CallbackVia as ParamValue>::decode(word).map(ParamValue::encode), expected);
        let own = UpcallVector::new(vector);
        assert_eq!(own.is_ok(), expected.is_some());
        assert!(
            own.is_ok_and(|own| own.number() == vector)
                || own.is_err_and(|error| error.bounds() == (32, 255))
        );
    }
}

#[test]
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn the_vector_goes_to_its_vcpu() {
    use crate::platform::VcpuId;

    let xen = Script::new()
        .argument(command::SetEvtchnUpcallVector, |argument| {
            assert_eq!((argument.vcpu, argument.vector), (3, 0xe0));
            0
        })
        .argument(command::SetEvtchnUpcallVector, |_| errno(Errno::ENOENT));
    let hvm = Hvm::new(&xen);
    let vector = UpcallVector::new(0xe0).unwrap();
    hvm.set_upcall_vector(VcpuId(3), vector).unwrap();
    let refused = hvm.set_upcall_vector(VcpuId(99), vector).map_err(CommandError::errno);
    assert_eq!(refused, Err(Some(Errno::ENOENT)));
}

#[test]
fn what_is_not_there_yet_is_none() {
    for word in [0, u64::MAX] {
        assert_eq!(Option::<Frame>::decode(word), Some(None));
        assert_eq!(Option::<Port>::decode(word), Some(None));
    }
    assert_eq!(Option::<Frame>::decode(0xfeffc), Some(Some(Frame(0xfeffc))));
    assert_eq!(Option::<Port>::decode(7), Some(Some(Port(7))));
    for word in [1 << 32, u64::MAX - 1] {
        assert_eq!(Option::<Port>::decode(word), None);
    }
}

#[test]
#[cfg(not(target_arch = "aarch64"))]
fn the_callback_is_the_running_domains() {
    let xen = Script::new()
        .argument(command::SetParam, |asked| {
            assert_eq!(
                (asked.domid, asked.index, asked.value),
                (Domid::SELF, HvmParam::CALLBACK_IRQ, 2 << 56 | 0xf3)
            );
            0
        })
        .argument(command::SetParam, |_| errno(Errno::EPERM));
    let hvm = Hvm::of(&xen, Domid(7));
    hvm.set_callback_via(CallbackVia::vector(0xf3).unwrap()).unwrap();
    assert_eq!(hvm.set_callback_via(CallbackVia::NONE).unwrap_err().errno(), Some(Errno::EPERM));
}

#[test]
fn translations_are_flushed_without_an_argument() {
    let xen = Script::new().argument(command::FlushTlbs, |()| 0);
    Hvm::new(&xen).flush_tlbs().unwrap();
}

fn stays<V: ParamValue + Copy + PartialEq + fmt::Debug>(word: u64) {
    if let Some(value) = V::decode(word) {
        assert_eq!(V::decode(value.encode()), Some(value), "{word:#x}");
    }
}

proptest! {
    #[test]
    fn what_was_read_can_be_written_back(word: u64, small in 0..20_u64) {
        for word in [word, small, word >> 32] {
            stays::<u64>(word);
            stays::<bool>(word);
            stays::<Option<Frame>>(word);
            stays::<Option<Port>>(word);
            stays::<CallbackVia>(word);
            stays::<HvmTimerMode>(word);
            stays::<AcpiIoportsLocation>(word);
            stays::<Altp2mMode>(word);
            stays::<ShutdownReason>(word);
            stays::<FipWidth>(word);
            stays::<GuestAddress>(word);
            stays::<SizedArea>(word);
        }
    }

    #[test]
    fn an_address_and_a_size_share_a_word(address: u32, size: u32) {
        let area = SizedArea { address, size };
        let xen = Script::new().argument(command::SetParam, |asked| {
            let value = u64::from(size) << 32 | u64::from(address);
            assert_eq!((asked.index, asked.value), (HvmParam::VM86_TSS_SIZED, value));
            0
        });
        // SAFETY: it is not written to.
        unsafe { Hvm::new(&xen).set_memory(parameter::VM86_TSS_SIZED, area) }.unwrap();
        prop_assert_eq!(SizedArea::decode(area.encode()), Some(area));
    }
}
