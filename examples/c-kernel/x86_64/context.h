/* The registers of a task that does not run, in the order in which switch.S pushes them. */
#ifndef CONTEXT_H
#define CONTEXT_H

#include <stdint.h>

struct context {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};
/* The processor aligns the end of its frame to 16 bytes, as this size keeps the stack. */
_Static_assert(sizeof(struct context) == 176, "switch.S pushes it");

#endif
