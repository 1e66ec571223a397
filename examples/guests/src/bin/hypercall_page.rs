//! Has Xen fill a hypercall page, and compares its answers with those of the processor's own
//! hypercall instruction.
#![no_std]
#![no_main]

use core::ptr;

use rt::{Boot, During, Failure, Page, println};
use xen_hal::Xen;
use xen_hal::hypercall::{Errno, Hypercall, HypercallPage};
use xen_hal::platform::{VcpuId, XenCpuid};
use xen_hal::version::{Features, Text};
use xen_pac::release::Release;

rt::entry!(main);

/// The page that Xen writes its code into.
static CODE: Page = Page::new();

/// A vCPU that the domain does not have.
const ABSENT: VcpuId = VcpuId(77);

fn main(boot: Boot) -> Result<(), Failure> {
    let leaves =
        XenCpuid::find().ok_or(Failure::new("installing the page", "CPUID does not name Xen"))?;
    let code = CODE.as_ptr();
    // SAFETY: the page is mapped to itself, all memory is executable, and nothing else uses it.
    let page = unsafe { HypercallPage::install(leaves, code, code.addr().get() as u64) }
        .map_err(|_| Failure::new("installing the page", "Xen offers none"))?;
    let through_page = Answers::of(page).during("asking through the page")?;
    let by_instruction = Answers::of(boot.xen).during("asking by the instruction")?;
    println!("Xen {}, whose page begins with {:02x?}", through_page.release, first_slot());
    if through_page != by_instruction {
        return Err(Failure::new(
            "comparing the answers",
            "the page's differ from those of the instruction",
        ));
    }
    println!("the page answers as {:?} does", boot.xen);
    Ok(())
}

/// Xen's answers to hypercalls with two and three arguments, an error among them.
#[derive(PartialEq, Eq)]
struct Answers {
    release: Release,
    features: Features,
    capabilities: Text<1024>,
    vcpus_up: [Result<bool, Errno>; 2],
}

impl Answers {
    fn of(backend: impl Hypercall + Copy) -> Result<Self, Errno> {
        let xen = Xen::new(backend);
        let version = xen.version();
        Ok(Self {
            release: version.release()?,
            features: version.features()?,
            capabilities: version.capabilities()?,
            vcpus_up: [VcpuId(0), ABSENT].map(|vcpu| xen.vcpu(vcpu).is_up()),
        })
    }
}

/// Returns the code of the first hypercall.
fn first_slot() -> [u8; 9] {
    // SAFETY: Xen has filled the page and does not write to it again.
    unsafe { ptr::read(CODE.as_ptr().as_ptr()) }
}
