/* The scheduler. */
#include "kernel.h"

#include "port.h"

struct xen_events kernel_events;
struct xen_clock kernel_clock;
uint32_t kernel_timer;

static struct task idle;
/* All tasks but `idle` are a ring. `current` is `idle` while none of them can run. */
static struct task *last, *current;
static volatile uint32_t ticks;
static int64_t due;
/* One more than the critical sections around the running code, until kernel_start. */
static unsigned nesting = 1;
static bool events_left;

static void idle_task(void)
{
    for (;;)
        port_wait();
}

void task_create(struct task *task, void (*function)(void))
{
    task->context = port_prepare(function, task->stack + sizeof(task->stack));
    task->next = last ? last->next : task;
    if (last)
        last->next = task;
    last = task;
}

void kernel_start(void)
{
    idle.context = port_prepare(idle_task, idle.stack + sizeof(idle.stack));
    current = last;
    nesting = 0;
    due = xen_clock_now(&kernel_clock) + KERNEL_TICK;
    CHECK(xen_timer_set(&kernel_clock, due) == 0);
    port_start(current->context);
}

static bool can_run(struct task *task)
{
    if (task->delayed && (int32_t)(ticks - task->wake) >= 0)
        task->delayed = false;
    return !task->delayed && !task->waiting;
}

static void dispatch_event(void *context, uint32_t port)
{
    if (kernel_timer && port == kernel_timer)
        kernel_tick();
    else
        on_event(context, port);
}

void kernel_upcall(void)
{
    events_left = xen_events_dispatch(&kernel_events, 0, dispatch_event, NULL) > 0;
}

void kernel_tick(void)
{
    int64_t late = xen_clock_now(&kernel_clock) - due;
    if (late >= 0) {
        /* Ticks that the vCPU missed count, and do not move the next. */
        int64_t count = late / KERNEL_TICK + 1;
        ticks += (uint32_t)count;
        due += count * KERNEL_TICK;
    }
    CHECK(xen_timer_set(&kernel_clock, due) == 0);
}

struct context *kernel_schedule(struct context *context)
{
    current->context = context;
    /* An upcall is an edge on aarch64: what a dispatch leaves is handled at the next interrupt,
     * which a tick is at the latest. */
    if (events_left)
        kernel_upcall();
    struct task *from = current == &idle ? last : current, *next = from;
    do {
        next = next->next;
        if (can_run(next)) {
            current = next;
            return next->context;
        }
    } while (next != from);
    last = from;
    current = &idle;
    return idle.context;
}

uint32_t kernel_ticks(void)
{
    return ticks;
}

void task_delay(uint32_t count)
{
    kernel_enter_critical();
    current->wake = ticks + count;
    current->delayed = true;
    kernel_exit_critical();
    port_yield();
}

uint32_t task_take(void)
{
    for (;;) {
        kernel_enter_critical();
        uint32_t count = current->notified;
        current->notified = 0;
        current->waiting = count == 0;
        kernel_exit_critical();
        if (count)
            return count;
        port_yield();
    }
}

void task_notify(struct task *task)
{
    task->notified++;
    task->waiting = false;
}

void kernel_enter_critical(void)
{
    port_disable_interrupts();
    nesting++;
}

void kernel_exit_critical(void)
{
    if (--nesting == 0)
        port_enable_interrupts();
}
