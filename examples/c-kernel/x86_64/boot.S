/* From Xen's PVH entry, in 32-bit mode without paging, to kernel_main in 64-bit mode. */

/* The ELF note by which Xen finds the entry: XEN_ELFNOTE_PHYS32_ENTRY is 18. */
    .section .note.Xen, "a", @note
    .balign 4
    .globl xen_note
xen_note:
    .long 4, 4, 18
    .asciz "Xen"
    .long pvh_entry

    .section .text.entry, "ax"
    .code32
    .globl pvh_entry
pvh_entry:
    cld
    xorl %eax, %eax
    movl $bss_start, %edi
    movl $bss_end, %ecx
    subl %edi, %ecx
    rep stosb
    /* 4 GiB are mapped to themselves: a table for each GiB, with pages of 2 MiB. */
    movl $(boot_pdpt + 3), boot_pml4
    movl $boot_pdpt, %edi
    movl $(boot_pds + 3), %eax
    movl $4, %ecx
1:  movl %eax, (%edi)
    addl $8, %edi
    addl $4096, %eax
    loop 1b
    movl $boot_pds, %edi
    movl $0x83, %eax
    movl $2048, %ecx
1:  movl %eax, (%edi)
    addl $8, %edi
    addl $0x200000, %eax
    loop 1b
    /* CR3; CR4: PAE; EFER: long mode; CR0: paging, write protection. */
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax
    movl %eax, %cr4
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80010000, %eax
    movl %eax, %cr0
    lgdt boot_gdt_pointer
    ljmp $8, $long_mode
    .code64
long_mode:
    movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movq $port_stack_end, %rsp
    xorl %ebp, %ebp
    call kernel_main
    ud2

    .section .data.boot, "aw"
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
boot_gdt_pointer:
    .word boot_gdt_pointer - boot_gdt - 1
    .quad boot_gdt

    .section .bss.boot, "aw", @nobits
    .balign 4096
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_pds: .skip 4096 * 4
    /* The stack of kernel_main, and later of interrupts. */
    .skip 16384
    .globl port_stack_end
port_stack_end:

    .section .note.GNU-stack, "", @progbits
