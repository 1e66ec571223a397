/* The context switch.
 *
 * The processor, and then this code, push the registers to the stack of the running task. The
 * library must be built for a target whose code uses no vector registers and keeps no data below
 * the stack pointer (the red zone). The Makefile asks the compiler for the same.
 */
    .text

    .macro entry vector, error
    .balign 16
    .if \error == 0
    pushq $0
    .endif
    pushq $\vector
    jmp save
    .endm

    /* The entries of all vectors, 16 bytes each. */
    .balign 16
    .globl port_entries
port_entries:
    .altmacro
    .set i, 0
    .rept 256
    .if i == 8 || (i >= 10 && i <= 14) || i == 17 || i == 21 || i == 29 || i == 30
    entry %i, 1
    .else
    entry %i, 0
    .endif
    .set i, i + 1
    .endr
    .noaltmacro

    .balign 16
save:
    cmpq $32, (%rsp)
    jae 1f
    /* An exception does not return. */
    movq (%rsp), %rdi
    movq 16(%rsp), %rsi
    andq $-16, %rsp
    cld
    call kernel_fault
1:  /* An upcall that comes while interrupts are off is a mistake of QEMU: its vmrun leaves
     * exception_index set, by which an interrupt that Xen injected can come a second time. */
    cmpq $0xf3, (%rsp) /* PORT_UPCALL_VECTOR */
    jne 2f
    testl $0x200, 32(%rsp)
    jnz 2f
    addq $16, %rsp
    iretq
2:  pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, %rdi
    movq $port_stack_end, %rsp
    cld
    call port_interrupt
    movq %rax, %rdi
    /* Continues in the context at rdi. */
    .globl port_start
port_start:
    movq %rdi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    addq $16, %rsp
    iretq

    .section .note.GNU-stack, "", @progbits
