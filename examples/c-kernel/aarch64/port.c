/* The port layer of aarch64: the interrupt controller (GICv2 or GICv3), yield, the UART. */
#include "port.h"

/* The interrupts: the virtual timer and upcalls. The addresses are those of every guest but dom0;
 * the device tree has them, too. Upstream: GUEST_TIMER_VIRT_PPI, GUEST_EVTCHN_PPI, GUEST_GICD_BASE,
 * GUEST_GICC_BASE, GUEST_GICV3_GICR0_BASE and GUEST_PL011_BASE in xen/include/public/arch-arm.h. */
enum { PPI_TIMER = 27, PPI_UPCALL = 31, SPURIOUS = 1020 };
#define GICD 0x03001000UL
#define GICC 0x03002000UL
#define GICR 0x03020000UL
#define UART 0x22000000UL

static volatile uint32_t *at(uintptr_t address)
{
    return (volatile uint32_t *)address;
}

static void store(uintptr_t address, uint32_t value)
{
    *at(address) = value;
}

/* Returns whether the processor has the system registers of GICv3: ID_AA64PFR0_EL1.GIC. */
static int is_gicv3(void)
{
    uint64_t features;
    __asm__ volatile("mrs %0, id_aa64pfr0_el1" : "=r"(features));
    return (features >> 24 & 0xf) != 0;
}

/* Takes the number of the interrupt. */
static uint64_t acknowledge(void)
{
    uint64_t number;
    if (!is_gicv3())
        return *at(GICC + 0xc) & 0x3ff; /* IAR */
    __asm__ volatile("mrs %0, s3_0_c12_c12_0; dsb sy" : "=r"(number)); /* ICC_IAR1_EL1 */
    return number;
}

static void end(uint64_t number)
{
    if (is_gicv3())
        __asm__ volatile("msr s3_0_c12_c12_1, %0; isb" : : "r"(number)); /* ICC_EOIR1_EL1 */
    else
        store(GICC + 0x10, (uint32_t)number); /* EOIR */
}

void port_init(void)
{
    uint32_t both = 1U << PPI_TIMER | 1U << PPI_UPCALL;
    if (!is_gicv3()) {
        store(GICD, 1);            /* CTLR: interrupts on */
        store(GICD + 0x100, both); /* ISENABLER0 */
        store(GICC + 0x4, 0xff);   /* PMR: every priority */
        store(GICC, 1);            /* CTLR */
        return;
    }
    store(GICD, 0x12); /* CTLR: group 1, affinity routing */
    /* The page of private interrupts: IGROUPR0 and ISENABLER0. */
    store(GICR + 0x10080, 0xffffffff);
    store(GICR + 0x10100, both);
    /* ICC_SRE_EL1, ICC_PMR_EL1, ICC_IGRPEN1_EL1. */
    __asm__ volatile("msr s3_0_c12_c12_5, %0; isb" : : "r"(7UL));
    __asm__ volatile("msr s3_0_c4_c6_0, %0" : : "r"(0xffUL));
    __asm__ volatile("msr s3_0_c12_c12_7, %0; isb" : : "r"(1UL));
}

struct context *port_prepare(void (*function)(void), void *stack)
{
    struct context *context = (struct context *)stack - 1;
    context->sp = (uintptr_t)context;
    context->elr = (uintptr_t)function;
    /* EL1 with SP_EL0, interrupts on. */
    context->spsr = 4;
    return context;
}

/* Handles the exception that switch.S has saved: an interrupt, or `svc`. */
struct context *port_interrupt(struct context *context, uint64_t is_interrupt)
{
    uint64_t number, syndrome;
    if (is_interrupt) {
        number = acknowledge();
        if (number == PPI_TIMER)
            kernel_tick();
        else if (number == PPI_UPCALL)
            kernel_upcall();
        if (number < SPURIOUS)
            end(number);
    } else {
        __asm__ volatile("mrs %0, esr_el1" : "=r"(syndrome));
        if (syndrome >> 26 != 0x15) /* svc */
            kernel_fault(syndrome, context->elr);
    }
    return kernel_schedule(context);
}

void port_yield(void)
{
    __asm__ volatile("svc #0" : : : "memory");
}

void port_disable_interrupts(void)
{
    __asm__ volatile("msr daifset, #2" : : : "memory");
}

void port_enable_interrupts(void)
{
    __asm__ volatile("msr daifclr, #2; isb" : : : "memory");
}

void port_wait(void)
{
    __asm__ volatile("dsb sy; wfi" : : : "memory");
}

/* Bits of the UART's flag register, and how often it is read: the UART's reader may be gone. */
enum { UART_FR = 0x18, FR_BUSY = 1 << 3, FR_TXFF = 1 << 5, ATTEMPTS = 1000000 };

/* Returns whether the UART clears the flag in time. */
static int uart_clears(uint32_t flag)
{
    for (int attempt = 0; attempt < ATTEMPTS; attempt++)
        if (!(*at(UART + UART_FR) & flag))
            return 1;
    return 0;
}

/* True if Xen refused its log, as it does to a domain that the toolstack created. Such a domain
 * has a UART if its configuration has `vuart="sbsa_uart"`. */
static int has_uart;

void port_write(const char *text, size_t length)
{
    has_uart = 1;
    while (length-- && uart_clears(FR_TXFF))
        store(UART, (uint8_t)*text++);
}

void port_exit(unsigned status)
{
    /* A semihosting call, SYS_EXIT_EXTENDED with ADP_Stopped_ApplicationExit, ends QEMU. Its
     * status is what isa-debug-exit returns on x86. */
    struct {
        uint64_t reason, status;
    } block = {0x20026, 2 * status + 1};
    if (has_uart) {
        /* The toolstack's domain does not end QEMU. What was not read is lost with the domain. */
        uart_clears(FR_BUSY);
        return;
    }
    register uint64_t operation __asm__("x0") = 0x20;
    register void *argument __asm__("x1") = &block;
    __asm__ volatile("hlt #0xf000" : "+r"(operation) : "r"(argument) : "memory");
}
