//! That Xen knows how wide the guest's machine words are.

use xen_pac::base::Domid;
use xen_pac::hvm::{HvmParam, XenHvmParam, command};

use crate::hypercall::{Commands, Errno, Hypercall};

/// Proof that Xen knows the width of this guest's machine words, and so lays out the shared page as
/// the guest reads it.
///
/// On x86 Xen looks at the mode of the vCPU that writes the parameter `CALLBACK_IRQ`, and until
/// then believes what it saw before: 64 bits for a fresh domain, 32 where 32-bit firmware ran
/// before a 64-bit kernel. The shared page must not be used before that, so it cannot be mapped
/// without this proof. Upstream: `xen/arch/x86/hvm/hvm.c`, `hvm_latch_shinfo_size`.
#[derive(Clone, Copy, Debug)]
pub struct WidthLatch(());

impl WidthLatch {
    /// Lets Xen look now: reads the parameter and writes it back as it was, so that how events
    /// interrupt the guest stays the same.
    ///
    /// Do this in the mode in which the guest will run, before other vCPUs are up and might set the
    /// parameter meanwhile. After a resume it has to be done again, as all of the shared page has.
    /// Arm has one width, and nothing is asked there.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give a guest with hardware virtualisation.
    pub fn new(xen: impl Hypercall) -> Result<Self, Errno> {
        if cfg!(target_arch = "aarch64") {
            return Ok(Self(()));
        }
        let mut parameter = XenHvmParam::new(Domid::SELF, HvmParam::CALLBACK_IRQ, 0);
        xen.call(command::GetParam, &mut parameter)?;
        // SAFETY: the value is the one that the parameter has, so nothing changes but what Xen
        // knows of the width; and no page is mapped by it.
        unsafe { xen.call_unchecked(command::SetParam, &mut parameter) }?;
        Ok(Self(()))
    }

    /// The proof where the parameter has been set by other means.
    ///
    /// # Safety
    ///
    /// Since the domain was started or resumed, and after any 32-bit firmware, this program has set
    /// `CALLBACK_IRQ` in the mode in which it runs (to any value), or it runs on Arm.
    #[must_use]
    pub const unsafe fn assume() -> Self {
        Self(())
    }
}

#[cfg(test)]
#[cfg(not(target_arch = "aarch64"))]
mod tests {
    use super::*;
    use crate::testing::{Script, errno};

    #[test]
    fn the_parameter_is_written_back_as_it_was() {
        let xen = Script::new()
            .argument(command::GetParam, |asked| {
                assert_eq!((asked.domid, asked.index), (Domid::SELF, HvmParam::CALLBACK_IRQ));
                asked.value = 0x0200_0000_0000_00f3;
                0
            })
            .argument(command::SetParam, |asked| {
                assert_eq!(
                    (asked.domid, asked.index, asked.value),
                    (Domid::SELF, HvmParam::CALLBACK_IRQ, 0x0200_0000_0000_00f3)
                );
                0
            });
        WidthLatch::new(&xen).unwrap();
    }

    #[test]
    fn nothing_is_written_that_was_not_read() {
        let xen = Script::new().argument(command::GetParam, |_| errno(Errno::EPERM));
        assert_eq!(WidthLatch::new(&xen).unwrap_err(), Errno::EPERM);
    }
}
