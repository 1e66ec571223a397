//! Permits the HAL to use what the oldest release of the program does not have, behind checks at
//! run time. Without the environment variable `XEN_PAC_OLDEST`, nothing is marked in xen-pac.

fn main() {
    println!("cargo::rerun-if-env-changed=XEN_PAC_OLDEST");
    println!("cargo::rustc-check-cfg=cfg(xen_oldest)");
    if std::env::var_os("XEN_PAC_OLDEST").is_some() {
        println!("cargo::rustc-cfg=xen_oldest");
    }
}
