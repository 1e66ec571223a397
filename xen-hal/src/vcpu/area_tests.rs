//! Tests what a registration passes to Xen, and when it makes no hypercall.

use super::*;
use crate::platform::IdentityMap;
use crate::testing::{Script, errno};
use std::boxed::Box;
use std::string::ToString;
use xen_pac::shared_info::raw::VcpuInfo as Info;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use xen_pac::shared_info::raw::VcpuTimeInfo as Time;
use xen_pac::vcpu::raw::VcpuRunstateInfo as Runs;

fn latched<H: Hypercall + Copy>(xen: H) -> WidthLatch<H> {
    // SAFETY: there is no Xen whose layout could differ.
    unsafe { WidthLatch::assume(xen) }
}

fn identity() -> IdentityMap {
    // SAFETY: nothing is mapped in these tests.
    unsafe { IdentityMap::new() }
}

fn area<T: Data + Send>() -> &'static Area<T> {
    Box::leak(Box::default())
}

#[test]
fn a_block_never_crosses_a_page() {
    static AREAS: [Area<Info>; 200] = [const { Area::new() }; 200];
    for area in &AREAS {
        let (frame, offset) = place(&identity(), area.block()).unwrap();
        assert!(offset as usize + size_of::<Info>() <= PAGE_SIZE);
        let address = frame.address().unwrap() + u64::from(offset);
        assert_eq!(address, area.block().addr().get() as u64);
    }
}

/// Registers a kind of block in one form three times: with a failure, with success, and again. Each
/// call passes vCPU 7 and the block's place.
fn passes_its_place<T: Block + Send + 'static>(
    xen: &Script<'_>,
    form: Form,
    passed: &core::cell::RefCell<std::vec::Vec<(usize, u64)>>,
) {
    let area = area::<T>();
    // SAFETY: the only address space there is maps the area.
    let take = || unsafe { area.take(&xen, VcpuId(7), form, &identity()) };
    area.reregister(&identity(), latched(xen)).expect("it never was registered");
    assert_eq!(take(), Err(VcpuError::Errno(Errno::ENOENT)));
    area.reregister(&identity(), latched(xen)).expect("it was not registered");
    assert!(!area.is_taken());
    let block = take().expect("the script accepts it");
    assert!(area.is_taken());
    assert_eq!(take(), Err(VcpuError::Taken), "before Xen is asked");
    let again = area.reregister(&identity(), latched(xen));
    assert_eq!(again, Err(VcpuError::Errno(Errno::EBUSY)));
    // The area still belongs to the vCPU.
    area.reregister(&identity(), latched(xen)).expect("the script accepts it");
    let place = (7, block.addr().get() as u64);
    assert_eq!(*passed.borrow(), [place; 4], "{form:?}");
    passed.borrow_mut().clear();
}

#[test]
fn each_form_passes_the_place_of_its_block_again_and_again() {
    const ANSWERS: [Errno; 4] = [Errno::ENOENT, Errno::EAGAIN, Errno::EBUSY, Errno::EAGAIN];
    let passed = core::cell::RefCell::new(std::vec::Vec::new());
    macro_rules! check {
        ($block:ty, $command:ident, $form:ident, $argument:ident => $address:expr) => {
            let xen = ANSWERS.into_iter().fold(Script::new(), |xen, answer| {
                let passed = &passed;
                xen.vcpu(command::$command, move |vcpu, $argument| {
                    passed.borrow_mut().push((vcpu, $address));
                    if answer == Errno::EAGAIN { 0 } else { errno(answer) }
                })
            });
            passes_its_place::<$block>(&xen, Form::$form, &passed);
        };
    }
    check!(Info, RegisterVcpuInfo, Physical, it => {
        assert_eq!(it.rsvd, 0);
        Frame(it.mfn).address().unwrap() + u64::from(it.offset)
    });
    check!(Runs, RegisterRunstateMemoryArea, Virtual, it => it.addr.v().as_ptr().addr() as u64);
    check!(Runs, RegisterRunstatePhysArea, Physical, it => it.addr.p());
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    {
        let address = |it: &VcpuRegisterTimeMemoryArea| it.addr.v().as_ptr().addr();
        check!(Time, RegisterVcpuTimeMemoryArea, Virtual, it => address(it) as u64);
        check!(Time, RegisterVcpuTimePhysArea, Physical, it => it.addr.p());
    }
}

#[test]
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn a_handle_shows_the_block_that_was_registered() {
    let mut told = [0; 5];
    let [info, run, run_physical, time, time_physical] = &mut told;
    let xen = Script::new()
        .vcpu(command::RegisterVcpuInfo, |_, argument| {
            *info = (argument.mfn << 12) as usize + argument.offset as usize;
            0
        })
        .vcpu(command::RegisterRunstateMemoryArea, |_, argument| {
            *run = argument.addr.v().as_ptr().addr();
            0
        })
        .vcpu(command::RegisterRunstatePhysArea, |_, argument| {
            *run_physical = argument.addr.p() as usize;
            0
        })
        .vcpu(command::RegisterVcpuTimeMemoryArea, |_, argument| {
            *time = argument.addr.v().as_ptr().addr();
            0
        })
        .vcpu(command::RegisterVcpuTimePhysArea, |_, argument| {
            *time_physical = argument.addr.p() as usize;
            0
        });
    let (vcpu, latch, space) = (Vcpu::new(&xen, VcpuId(1)), latched(&xen), identity());
    let info = vcpu.register_vcpu_info(&space, latch, area()).unwrap();
    assert_eq!(info.evtchn_pending_sel().load(Ordering::Relaxed), 0);
    // SAFETY: the only address space there is maps the areas, here and below.
    let run = unsafe { vcpu.register_runstate(latch, area()) }.unwrap();
    let run_physical = vcpu.register_runstate_physical(&space, latch, area()).unwrap();
    // SAFETY: as above.
    let time = unsafe { vcpu.register_time(area()) }.unwrap();
    let time_physical = vcpu.register_time_physical(&space, area()).unwrap();
    drop(xen);
    let shown = [
        info.as_ptr().addr().get(),
        run.as_ptr().addr().get(),
        run_physical.as_ptr().addr().get(),
        time.as_ptr().addr().get(),
        time_physical.as_ptr().addr().get(),
    ];
    assert_eq!(shown, told);
}

#[test]
fn a_latch_from_before_a_restore_is_refused_before_the_call() {
    let xen = Script::new().vcpu(command::RegisterVcpuInfo, |_, _| 0);
    let (vcpu, latch, space) = (Vcpu::new(&xen, VcpuId(1)), latched(&xen), identity());
    let registered = area();
    vcpu.register_vcpu_info(&space, latch, registered).expect("the script accepts it");
    xen.count_restore();
    let stale = VcpuError::StaleLatch;
    assert_eq!(vcpu.register_vcpu_info(&space, latch, area()).unwrap_err(), stale);
    assert_eq!(vcpu.register_runstate_physical(&space, latch, area()).unwrap_err(), stale);
    // SAFETY: Xen is not asked.
    assert_eq!(unsafe { vcpu.register_runstate(latch, area()) }.unwrap_err(), stale);
    assert_eq!(registered.reregister(&space, latch), Err(stale));
}

#[test]
fn an_area_without_a_frame_is_refused_before_the_call() {
    let area = area::<Info>();
    let xen = Script::new();
    let vcpu = Vcpu::new(&xen, VcpuId(1));
    let error = vcpu.register_vcpu_info(&NoSpace, latched(&xen), area).unwrap_err();
    assert_eq!(error, VcpuError::NotMapped(area.block().addr().get()));
    assert!(!area.is_taken());
}

#[test]
fn errors_read_well() {
    for (error, text) in [
        (VcpuError::NotMapped(0x10), "no guest frame is mapped at the area's address 0x10"),
        (VcpuError::Errno(Errno::EBUSY), "Xen refused a vCPU operation: EBUSY"),
    ] {
        assert_eq!(error.to_string(), text);
    }
    assert!(std::format!("{:?}", area::<Info>()).starts_with("Area(0x"));
}
