/* The registers of a task that does not run, as switch.S stores them. */
#ifndef CONTEXT_H
#define CONTEXT_H

#include <stdint.h>

struct context {
    _Alignas(16) uint64_t x[31];
    uint64_t sp, elr, spsr;
};
_Static_assert(sizeof(struct context) == 272, "switch.S has it");

#endif
