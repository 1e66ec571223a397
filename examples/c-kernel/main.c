/* Two tasks: one computes without ever giving up the processor, and rings a bell; the other waits
 * for the bell's event. */
#include "kernel.h"
#include "port.h"

enum { ROUNDS = 5, ROUND_TICKS = 10 };

struct page {
    _Alignas(XEN_PAGE_SIZE) uint8_t bytes[XEN_PAGE_SIZE];
};

static struct page shared_page, lent_page, table_pages[XEN_GRANT_TABLE_PAGES];
static struct xen_console console;
static struct xen_grant_table table;
static struct xen_grant grant;
static struct task worker, listener;
static uint32_t bell;
static volatile unsigned rounds;
static int64_t started;

/* The frames of memory that is mapped to itself, for the library. */
uint64_t xen_frame_of(const void *address)
{
    return (uintptr_t)address >> XEN_PAGE_SHIFT;
}

static void *map(uint64_t frame)
{
    return (void *)(uintptr_t)(frame << XEN_PAGE_SHIFT);
}

void on_event(void *context, uint32_t port)
{
    (void)context;
    if (port == bell)
        task_notify(&listener);
}

static void worker_task(void)
{
    for (unsigned round = 1; round <= ROUNDS; round++) {
        uint32_t end = kernel_ticks() + ROUND_TICKS;
        while ((int32_t)(kernel_ticks() - end) < 0)
            ;
        rounds = round;
        print("worker: round %u, tick %u", round, (unsigned)kernel_ticks());
        CHECK(xen_events_send(bell) == 0);
    }
    /* Only the tick runs the other task now. */
    for (;;)
        ;
}

static void listener_task(void)
{
    for (uint32_t events = 0; events < ROUNDS;) {
        events += task_take();
        print("listener: event %u, tick %u", (unsigned)events, (unsigned)kernel_ticks());
    }
    uint32_t before = kernel_ticks();
    task_delay(ROUND_TICKS);
    CHECK(kernel_ticks() - before >= ROUND_TICKS);
    CHECK(kernel_ticks() >= (ROUNDS + 1) * ROUND_TICKS);
    CHECK(rounds == ROUNDS);
    /* No tick came early. They are read first: more come meanwhile. */
    int64_t ticks = kernel_ticks();
    CHECK(xen_clock_now(&kernel_clock) - started >= ticks * KERNEL_TICK);
    finish(NULL);
}

/* What the library refuses before anything is initialised. */
static void misuse_before(void)
{
    uint32_t number;
    CHECK(xen_events_init(NULL, &shared_page, PORT_UPCALL_VECTOR) == -XEN_EINVAL);
    CHECK(xen_events_init(&kernel_events, NULL, PORT_UPCALL_VECTOR) == -XEN_EINVAL);
    CHECK(xen_events_init(&kernel_events, &shared_page.bytes[8], 0xf3) == -XEN_EINVAL);
    CHECK(xen_events_bind_ipi(&kernel_events, 0, &number) == -XEN_EINVAL);
    CHECK(xen_events_dispatch(&kernel_events, 0, on_event, NULL) == -XEN_EINVAL);
    CHECK(xen_clock_init(NULL, &kernel_events, 0) == -XEN_EINVAL);
    CHECK(xen_clock_now(&kernel_clock) == -XEN_EINVAL);
    CHECK(xen_timer_set(&kernel_clock, 0) == -XEN_EINVAL);
    CHECK(xen_console_write(&console, "x", 1) == -XEN_EINVAL);
    CHECK(xen_grant_lend(&table, &grant, &lent_page, 0, true, &number) == -XEN_EINVAL);
    CHECK(xen_grant_revoke(&grant) == -XEN_EINVAL);
    CHECK(xen_grant_table_map(&table, table_pages, 0) == -XEN_EINVAL);
    CHECK(xen_log(NULL, 1) == -XEN_EINVAL);
}

/* What it refuses afterwards. */
static void misuse_after(void)
{
    uint32_t number;
    CHECK(xen_events_init(&kernel_events, &lent_page, PORT_UPCALL_VECTOR) == -XEN_EBUSY);
    CHECK(xen_events_bind_ipi(&kernel_events, 0, NULL) == -XEN_EINVAL);
    CHECK(xen_events_bind_ipi(&kernel_events, XEN_EVENTS_VCPUS, &number) == -XEN_EINVAL);
    CHECK(xen_events_bind_virq(&kernel_events, NR_VIRQS, 0, &number) == -XEN_EINVAL);
    CHECK(xen_events_dispatch(&kernel_events, 0, NULL, NULL) == -XEN_EINVAL);
    CHECK(xen_events_close(&kernel_events, 0) == -XEN_EINVAL);
    CHECK(xen_timer_set(&kernel_clock, -1) == -XEN_EINVAL);
    CHECK(xen_console_write(&console, NULL, 1) == -XEN_EINVAL);
    CHECK(xen_grant_lend(&table, &grant, &lent_page, 0, true, &number) == -XEN_EBUSY);
    CHECK(xen_grant_unmap((struct xen_mapping *)&grant) == -XEN_EINVAL);
}

void kernel_main(void)
{
    static const char greeting[] = "the C kernel's console is open\r\n";
    uint32_t reference;
    CHECK(xen_init() == 0);
    long version = xen_call(__HYPERVISOR_xen_version, XENVER_version, 0, 0, 0, 0);
    CHECK(version > 0);
    print("the C kernel runs on Xen %u.%u", (unsigned)version >> 16, (unsigned)version & 0xffff);
    misuse_before();
    port_init();
    CHECK(xen_events_init(&kernel_events, &shared_page, PORT_UPCALL_VECTOR) == 0);
    CHECK(xen_clock_init(&kernel_clock, &kernel_events, 0) == 0);
    CHECK(xen_events_bind_ipi(&kernel_events, 0, &bell) == 0);
#ifndef __aarch64__ /* where the timer has an interrupt of its own */
    CHECK(xen_events_bind_virq(&kernel_events, VIRQ_TIMER, 0, &kernel_timer) == 0);
#endif
    CHECK(xen_console_open(&console, map) == 0);
    CHECK(xen_console_write(&console, greeting, sizeof(greeting) - 1) == 0);
    CHECK(xen_grant_table_map(&table, table_pages, 1) == 0);
    CHECK(xen_grant_lend(&table, &grant, &lent_page, 0, true, &reference) == 0);
    print("a page is granted to domain 0, by reference %u", (unsigned)reference);
    misuse_after();
    CHECK(xen_grant_revoke(&grant) == 0);
    started = xen_clock_now(&kernel_clock);
    task_create(&worker, worker_task);
    task_create(&listener, listener_task);
    kernel_start();
}
