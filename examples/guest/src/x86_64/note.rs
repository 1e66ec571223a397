//! The ELF note by which Xen knows a PVH guest, and where it enters it.

use core::arch::global_asm;

use xen_pac::elf_note::ElfNote;

// A note is: the length of its owner's name, the length of what it says, its kind, the name, and
// what it says, each padded to 4 bytes. This one says a 32-bit physical address.
global_asm!(
    ".pushsection .note.Xen, \"a\", @note",
    ".balign 4",
    ".globl xen_note",
    "xen_note:",
    ".long 4",
    ".long 4",
    ".long {kind}",
    ".asciz \"Xen\"",
    ".long pvh_entry",
    ".popsection",
    kind = const ElfNote::PHYS32_ENTRY.0,
);
