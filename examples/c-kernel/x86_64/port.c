/* The port layer of x86_64: descriptor tables, upcalls, yield. */
#include "port.h"

enum { CODE = 0x08, DATA = 0x10, TASK = 0x18, VECTOR_YIELD = 0x30 };

/* The task state, of which 64-bit mode uses the stacks. switch.S writes the first of
 * interrupt_stacks, at offset 36. */
struct __attribute__((packed)) task_state {
    uint32_t reserved_0;
    uint64_t privilege_stacks[3];
    uint64_t reserved_1;
    uint64_t interrupt_stacks[7];
    uint64_t reserved_2;
    uint16_t reserved_3, io_map;
};
_Static_assert(offsetof(struct task_state, interrupt_stacks) == 36, "switch.S has it");

struct __attribute__((packed)) table {
    uint16_t limit;
    uint64_t base;
};

struct task_state port_task_state;
extern uint64_t boot_gdt[5];
extern const uint8_t port_entries[256][16];
static uint64_t gates[256][2];
/* Where an exception in kernel_main or in an interrupt is saved. */
static struct context boot_context;

void port_init(void)
{
    uint64_t base = (uintptr_t)&port_task_state, limit = sizeof(port_task_state) - 1;
    port_task_state.interrupt_stacks[0] = (uintptr_t)&boot_context + CONTEXT_FRAME_END;
    port_task_state.io_map = sizeof(port_task_state);
    boot_gdt[3] = limit | (base & 0xffffff) << 16 | (uint64_t)0x89 << 40
                  | (base >> 24 & 0xff) << 56;
    boot_gdt[4] = base >> 32;
    __asm__ volatile("ltr %w0" : : "r"(TASK));
    for (unsigned vector = 0; vector < 256; vector++) {
        /* An interrupt gate, with the first stack of the table. */
        uint64_t entry = (uintptr_t)port_entries[vector];
        gates[vector][0] = (entry & 0xffff) | CODE << 16 | (uint64_t)1 << 32 | (uint64_t)0x8e << 40
                           | (entry >> 16 & 0xffff) << 48;
        gates[vector][1] = entry >> 32;
    }
    struct table table = {sizeof(gates) - 1, (uintptr_t)gates};
    __asm__ volatile("lidt %0" : : "m"(table));
}

void port_prepare(struct context *context, void (*function)(void), void *stack)
{
    /* As the processor starts: all exceptions of the coprocessor and of SSE are masked. */
    context->fxsave[0] = 0x7f;
    context->fxsave[1] = 0x03;
    context->fxsave[24] = 0x80;
    context->fxsave[25] = 0x1f;
    context->rip = (uintptr_t)function;
    context->cs = CODE;
    context->rflags = 0x202;
    /* As after a call: 8 bytes below a multiple of 16. */
    context->rsp = (uintptr_t)stack - 8;
    context->ss = DATA;
}

/* Handles the interrupt that switch.S has saved. */
struct context *port_interrupt(const struct context *context)
{
    if (context->vector == PORT_UPCALL_VECTOR)
        kernel_upcall();
    else if (context->vector != VECTOR_YIELD)
        kernel_fault(context->vector, context->rip);
    return kernel_schedule();
}

void port_yield(void)
{
    __asm__ volatile("int %0" : : "i"(VECTOR_YIELD) : "memory");
}

void port_disable_interrupts(void)
{
    __asm__ volatile("cli" : : : "memory");
}

void port_enable_interrupts(void)
{
    __asm__ volatile("sti" : : : "memory");
}

void port_wait(void)
{
    __asm__ volatile("sti; hlt" : : : "memory");
}

void port_write(const char *text, size_t length)
{
    /* Xen does not refuse its log. */
    (void)text;
    (void)length;
}

void port_exit(unsigned status)
{
    /* QEMU's device isa-debug-exit. Elsewhere the port is unused. */
    __asm__ volatile("outw %w0, %w1" : : "a"(status), "d"(0x501));
}
