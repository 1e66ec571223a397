/* The port layer: what kernel.c needs from an architecture, and the other way round. */
#ifndef PORT_H
#define PORT_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"

/* The interrupt vector of upcalls, on x86. */
#define PORT_UPCALL_VECTOR 0xf3

/* ---- the port provides ---- */

/* Returns a context that calls `function`, with interrupts on. It lies on the stack, whose end is
 * `stack`, and whose bytes must be zero. */
struct context *port_prepare(void (*function)(void), void *stack);
/* Sets up interrupts. They stay off. */
void port_init(void);
/* Continues in `context`. Interrupts are off before the call. */
_Noreturn void port_start(struct context *context);
/* Runs the scheduler, which can continue in another task. */
void port_yield(void);
/* Turn interrupts off and on. `kernel_enter_critical` counts how often. */
void port_disable_interrupts(void);
void port_enable_interrupts(void);
/* Sleeps until an interrupt was handled. Interrupts are on. */
void port_wait(void);
/* Writes text to the UART; does nothing on x86. */
void port_write(const char *text, size_t length);
/* Ends the emulator with a status, where it has a device for that. */
void port_exit(unsigned status);

/* ---- the kernel provides ---- */

/* Handles an upcall, with interrupts off. */
void kernel_upcall(void);
/* Handles the timer's interrupt, with interrupts off. */
void kernel_tick(void);
/* Keeps the context of the running task, chooses the next one, with interrupts off, and returns its
 * context. */
struct context *kernel_schedule(struct context *context);
/* Handles an exception. */
_Noreturn void kernel_fault(uint64_t number, uint64_t address);

#endif
