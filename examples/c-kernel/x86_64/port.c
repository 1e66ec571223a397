/* The port layer of x86_64: the interrupt table, upcalls, yield. */
#include "port.h"

enum { CODE = 0x08, DATA = 0x10, VECTOR_YIELD = 0x30 };

struct __attribute__((packed)) table {
    uint16_t limit;
    uint64_t base;
};

_Static_assert(PORT_UPCALL_VECTOR == 0xf3, "switch.S has it");
extern const uint8_t port_entries[256][16];
static uint64_t gates[256][2];

void port_init(void)
{
    for (unsigned vector = 0; vector < 256; vector++) {
        /* An interrupt gate, on the interrupted stack. */
        uint64_t entry = (uintptr_t)port_entries[vector];
        gates[vector][0] = (entry & 0xffff) | CODE << 16 | (uint64_t)0x8e << 40
                           | (entry >> 16 & 0xffff) << 48;
        gates[vector][1] = entry >> 32;
    }
    struct table table = {sizeof(gates) - 1, (uintptr_t)gates};
    __asm__ volatile("lidt %0" : : "m"(table));
}

struct context *port_prepare(void (*function)(void), void *stack)
{
    struct context *context = (struct context *)stack - 1;
    context->rip = (uintptr_t)function;
    context->cs = CODE;
    context->rflags = 0x202;
    /* As after a call: 8 bytes below a multiple of 16. */
    context->rsp = (uintptr_t)stack - 8;
    context->ss = DATA;
    return context;
}

/* Handles the interrupt that switch.S has saved. */
struct context *port_interrupt(struct context *context)
{
    if (context->vector == PORT_UPCALL_VECTOR)
        kernel_upcall();
    else if (context->vector != VECTOR_YIELD)
        kernel_fault(context->vector, context->rip);
    return kernel_schedule(context);
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
