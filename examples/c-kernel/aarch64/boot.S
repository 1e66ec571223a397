/* From the entry of a Linux Image, at EL1 with the MMU off, to kernel_main.
 *
 * The MMU comes first: with it off, all memory is device memory, on which atomic operations are not
 * promised to work. Memory is mapped to itself: below 0x38000000 as device memory without code, and
 * above as normal, write-back, inner-shareable memory, as Xen and other domains use it.
 */
    .section .text.head, "ax"
    .globl image_head
image_head:
    b image_entry
    .long 0
    .quad 0
    .quad image_size
    .quad 0b1010 /* little-endian, 4 KiB pages, anywhere in memory */
    .quad 0, 0, 0
    .ascii "ARM\x64"
    .long 0
image_entry:
    adrp x0, bss_start
    adrp x1, bss_end
1:  cmp x0, x1
    b.hs 2f
    stp xzr, xzr, [x0], #16
    b 1b
    /* The first level: a table for the first GiB, and blocks of 1 GiB for the rest. */
2:  adrp x0, boot_level1
    adrp x1, boot_level2
    orr x2, x1, #3
    str x2, [x0]
    ldr x2, =0x705 /* normal memory: accessed, inner shareable, attribute 1 */
    mov x3, #1
1:  orr x4, x2, x3, lsl #30
    str x4, [x0, x3, lsl #3]
    add x3, x3, #1
    cmp x3, #512
    b.lo 1b
    /* The second level: blocks of 2 MiB. */
    ldr x4, =0x60000000000401 /* device memory: accessed, never executed, attribute 0 */
    mov x3, #0
1:  cmp x3, #(0x38000000 >> 21)
    csel x5, x4, x2, lo
    orr x5, x5, x3, lsl #21
    str x5, [x1, x3, lsl #3]
    add x3, x3, #1
    cmp x3, #512
    b.lo 1b
    /* Cache lines that were fetched before must not hide .bss, which was written without caches. */
    dsb sy
    adrp x4, bss_start
    adrp x1, bss_end
    mrs x2, ctr_el0
    ubfx x2, x2, #16, #4 /* the smallest line, as a logarithm of words */
    mov x3, #4
    lsl x2, x3, x2
1:  dc ivac, x4
    add x4, x4, x2
    cmp x4, x1
    b.lo 1b
    /* MAIR: device, normal. TCR: 39 bits, write-back, inner-shareable tables, no second half. */
    msr ttbr0_el1, x0
    mov x0, #0xff00
    msr mair_el1, x0
    ldr x0, =0x803519
    mrs x1, id_aa64mmfr0_el1
    bfi x0, x1, #32, #3
    msr tcr_el1, x0
    dsb sy
    tlbi vmalle1
    ic iallu
    dsb sy
    isb
    mrs x0, sctlr_el1
    mov x1, #0x1005 /* MMU, data cache, instruction cache */
    orr x0, x0, x1
    msr sctlr_el1, x0
    adrp x0, port_vectors
    add x0, x0, :lo12:port_vectors
    msr vbar_el1, x0
    isb
    adrp x0, port_stack_end
    mov sp, x0
    mov x29, xzr
    bl kernel_main
    udf #0
    .ltorg

    .section .bss.boot, "aw", @nobits
    .balign 4096
boot_level1: .skip 4096
boot_level2: .skip 4096
    /* The stack of kernel_main, and later of interrupts. */
    .skip 16384
    .globl port_stack_end
port_stack_end:

    .section .note.GNU-stack, "", @progbits
