/* The registers of a task that does not run, in the order in which switch.S pushes them. */
#ifndef CONTEXT_H
#define CONTEXT_H

#include <stdint.h>

struct context {
    _Alignas(16) uint8_t fxsave[512];
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
    uint64_t pad[2];
};

/* The processor pushes the frame to this offset, which it aligns to 16 bytes. */
#define CONTEXT_FRAME_END (sizeof(struct context) - 16)
_Static_assert(CONTEXT_FRAME_END == 688 && sizeof(struct context) == 704, "switch.S has them");

#endif
