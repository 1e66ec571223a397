//! The demonstration of Embassy without its shell, built for size: a tick, and a producer and a
//! consumer on two vCPUs if there are two.
#![no_std]
#![no_main]

#[path = "../embassy.rs"]
mod embassy;

use embassy_demo::Error;
use rt::Boot;

rt::entry!(main);

fn main(boot: Boot) -> Result<(), Error> {
    embassy::run(boot, || Ok(|_| ()))
}
