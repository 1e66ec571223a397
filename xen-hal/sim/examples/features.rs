//! Reads Xen's release and features, as three kinds of guests see them.

mod support;

use std::process::ExitCode;

use support::{Problem, show};
use xen_hal::Xen;
use xen_pac::features::Feature;
use xen_pac::release::Release;
use xen_sim::{DomainConfig, Guest, Machine, Profile};

fn main() -> ExitCode {
    show(run, "what Xen tells each sort of guest")
}

fn run(seed: u64) -> Result<(), Problem> {
    let guests = [
        ("the control domain, as PVH on x86", Profile::DOM0),
        ("a PVH guest on x86", Profile::DOMU),
        ("a guest on Arm without a control domain", Profile::DOM0LESS),
    ];
    for (what, profile) in guests {
        println!("{what}:");
        let mut machine = Machine::new(profile, seed)?;
        machine.domain(DomainConfig::new(), move |guest| ask(guest, profile))?;
        machine.run()?;
    }
    Ok(())
}

fn ask(guest: Guest, profile: Profile) -> Result<(), Problem> {
    let version = Xen::new(guest.xen()).version();
    let (release, features) = (version.release()?, version.features()?);
    println!("  domain {} of Xen {release}{}", guest.domain(), version.extraversion()?);
    println!("  runs {}", version.capabilities()?.to_string().trim_end());
    println!("  Xen's command line: {}", version.command_line()?);
    for feature in features.iter() {
        println!("  feature {}", feature.name().unwrap_or("of a later release"));
    }

    // Decide by a feature if there is one, not by the release: features also depend on Xen's build
    // and on the kind of domain.
    let upcalls = if features.has(Feature::HVM_CALLBACK_VECTOR) {
        "a vector of its own choice"
    } else {
        "an interrupt that Xen chose"
    };
    let clock = if features.has(Feature::HVM_SAFE_PVCLOCK) {
        "Xen's time block"
    } else {
        "the architected counter"
    };
    println!("  so it is told of events by {upcalls}, and takes the time from {clock}");
    assert!(release >= Release::new(4, 4), "no older release is described");
    assert_eq!(
        features.has(Feature::DOM0),
        profile == Profile::DOM0,
        "only the control domain is the hardware domain"
    );
    Ok(())
}
