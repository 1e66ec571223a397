/* The exception vectors and the context switch.
 *
 * Tasks run at EL1 with SP_EL0. An exception switches to SP_EL1, which is the end of the running
 * task's `struct context`, above its stack. So this code stores the registers to where they are
 * kept.
 */
    .section .text.vectors, "ax"
    .balign 2048
    .globl port_vectors
port_vectors:
    .irp vector, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    .balign 128
    .if \vector < 2 /* a synchronous exception, and an interrupt, of a task */
    sub sp, sp, #272
    stp x0, x1, [sp]
    mov x1, #\vector
    b save
    .else
    mov x0, #\vector
    mrs x1, elr_el1
    b kernel_fault
    .endif
    .endr
    .balign 128
save:
    stp x2, x3, [sp, #16]
    stp x4, x5, [sp, #32]
    stp x6, x7, [sp, #48]
    stp x8, x9, [sp, #64]
    stp x10, x11, [sp, #80]
    stp x12, x13, [sp, #96]
    stp x14, x15, [sp, #112]
    stp x16, x17, [sp, #128]
    stp x18, x19, [sp, #144]
    stp x20, x21, [sp, #160]
    stp x22, x23, [sp, #176]
    stp x24, x25, [sp, #192]
    stp x26, x27, [sp, #208]
    stp x28, x29, [sp, #224]
    mrs x2, sp_el0
    stp x30, x2, [sp, #240]
    mrs x2, elr_el1
    mrs x3, spsr_el1
    stp x2, x3, [sp, #256]
    mov x0, sp
    adrp x2, port_stack_end
    mov sp, x2
    bl port_interrupt
    /* Continues in the context at x0. */
    .globl port_start
port_start:
    mov sp, x0
    ldp x2, x3, [sp, #256]
    msr elr_el1, x2
    msr spsr_el1, x3
    ldp x30, x2, [sp, #240]
    msr sp_el0, x2
    ldp x28, x29, [sp, #224]
    ldp x26, x27, [sp, #208]
    ldp x24, x25, [sp, #192]
    ldp x22, x23, [sp, #176]
    ldp x20, x21, [sp, #160]
    ldp x18, x19, [sp, #144]
    ldp x16, x17, [sp, #128]
    ldp x14, x15, [sp, #112]
    ldp x12, x13, [sp, #96]
    ldp x10, x11, [sp, #80]
    ldp x8, x9, [sp, #64]
    ldp x6, x7, [sp, #48]
    ldp x4, x5, [sp, #32]
    ldp x2, x3, [sp, #16]
    ldp x0, x1, [sp]
    add sp, sp, #272
    eret

    .section .note.GNU-stack, "", @progbits
