/* The shared memory of a 64-bit x86 guest, as far as the twins touch it, and what they need of the
 * guest. */
#ifndef TWIN_ABI_H
#define TWIN_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct time_info {
    uint32_t version;
    uint32_t pad;
    uint64_t tsc_timestamp;
    uint64_t system_time;
    uint32_t tsc_to_system_mul;
    int8_t tsc_shift;
    uint8_t flags;
    uint8_t pad1[2];
};

struct vcpu_info {
    uint8_t upcall_pending;
    uint8_t upcall_mask;
    uint64_t pending_sel;
    uint64_t arch[2];
    struct time_info time;
};

struct shared_info {
    struct vcpu_info vcpu[32];
    uint64_t pending[64];
    uint64_t mask[64];
};

struct grant_entry {
    uint16_t flags;
    uint16_t domid;
    uint32_t frame;
};

_Static_assert(sizeof(struct time_info) == 32, "time_info");
_Static_assert(sizeof(struct vcpu_info) == 64, "vcpu_info");
_Static_assert(offsetof(struct shared_info, pending) == 2048, "pending");
_Static_assert(offsetof(struct shared_info, mask) == 2560, "mask");
_Static_assert(sizeof(struct grant_entry) == 8, "grant_entry");

/* The hypervisor that both sides of a comparison call. */
long bench_hypercall(uint32_t number, unsigned long command, void *argument);

/* One access that the compiler neither repeats nor leaves out. */
#define ONCE(place) (*(const volatile __typeof__(place) *)&(place))

#endif
