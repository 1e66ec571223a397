/* Tasks, a round-robin scheduler with a tick, and what tasks use. */
#ifndef KERNEL_H
#define KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "xen_guest.h"
#include "xen_hal.h"

/* The tick in nanoseconds. */
#define KERNEL_TICK 4000000

struct task {
    struct context *context; /* on the stack, while the task does not run */
    struct task *next;
    uint32_t wake;     /* the tick at which a delay ends */
    uint32_t notified; /* how often the task was notified since it last took that */
    bool delayed, waiting;
    _Alignas(16) uint8_t stack[16384];
};

extern struct xen_events kernel_events;
extern struct xen_clock kernel_clock;
extern uint32_t kernel_timer;

/* Adds a task, before kernel_start. Its function must not return. */
void task_create(struct task *task, void (*function)(void));
/* Starts the tick, and the task that was created last. Interrupts are off before the call. */
_Noreturn void kernel_start(void);
/* Returns the number of ticks since kernel_start. */
uint32_t kernel_ticks(void);
/* The next two switch to another task: not for interrupt handlers, nor for critical sections.
 *
 * Lets the calling task sleep for a number of ticks. */
void task_delay(uint32_t ticks);
/* Waits until the calling task was notified, and returns how often. */
uint32_t task_take(void);
/* Notifies a task. For interrupt handlers and critical sections. */
void task_notify(struct task *task);
/* Turn interrupts off, and on again after as many calls. Before kernel_start they stay off. Not for
 * interrupt handlers. */
void kernel_enter_critical(void);
void kernel_exit_critical(void);

/* Prints a line in which %u stands for an unsigned int and %s for a string. Not for interrupt
 * handlers. */
void print(const char *format, ...);
/* Ends the domain: with success if `failure` is null. */
_Noreturn void finish(const char *failure);
/* Ends the domain with failure unless the condition holds. */
#define CHECK(condition) ((condition) ? (void)0 : finish(#condition))

/* The program's: handles an event other than the timer's, with interrupts off. */
void on_event(void *context, uint32_t port);

#endif
