/* Reading the clock: a snapshot under the version counter with the TSC read inside, scaled. */
#include "abi.h"

struct snapshot {
    uint64_t tsc_timestamp;
    uint64_t system_time;
    uint32_t tsc_to_system_mul;
    int8_t tsc_shift;
    uint8_t flags;
};

struct line {
    int64_t latest;
    int64_t offset;
};

enum { TSC_STABLE = 1 };

typedef uint64_t counter(void *state);

#define INLINE static inline __attribute__((always_inline))

INLINE uint64_t tsc(void *state)
{
    uint32_t low, high;
    (void)state;
    __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

INLINE uint64_t snapshot(const struct time_info *time, struct snapshot *out, counter *read,
                         void *state)
{
    for (;;) {
        uint32_t before = __atomic_load_n(&time->version, __ATOMIC_ACQUIRE);
        if ((before & 1) == 0) {
            out->tsc_timestamp = ONCE(time->tsc_timestamp);
            out->system_time = ONCE(time->system_time);
            out->tsc_to_system_mul = ONCE(time->tsc_to_system_mul);
            out->tsc_shift = ONCE(time->tsc_shift);
            out->flags = ONCE(time->flags);
            uint64_t ticks = read(state);
            __atomic_thread_fence(__ATOMIC_ACQUIRE);
            if (__atomic_load_n(&time->version, __ATOMIC_RELAXED) == before)
                return ticks;
        }
        __builtin_ia32_pause();
    }
}

/* A shift of 64 or more in either direction gives 0. */
INLINE int64_t scale(int64_t delta, uint32_t mul, int8_t shift)
{
    if (shift < 0)
        delta = shift > -64 ? delta >> -shift : 0;
    else
        delta = shift < 64 ? (int64_t)((uint64_t)delta << shift) : 0;
    return (int64_t)((__int128)delta * mul >> 32);
}

INLINE int64_t add(uint64_t a, uint64_t b)
{
    return (int64_t)(a + b);
}

INLINE int64_t time_at(const struct snapshot *time, uint64_t ticks)
{
    int64_t since = (int64_t)(ticks - time->tsc_timestamp);
    return add(time->system_time, scale(since, time->tsc_to_system_mul, time->tsc_shift));
}

INLINE int64_t clamp(int64_t *latest, int64_t now)
{
    int64_t before = __atomic_load_n(latest, __ATOMIC_RELAXED);
    while (before < now) {
        if (__atomic_compare_exchange_n(latest, &before, now, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
            return now;
    }
    return before;
}

INLINE int64_t now(const struct time_info *time, counter *read, void *state)
{
    struct snapshot seen;
    uint64_t ticks = snapshot(time, &seen, read, state);
    return time_at(&seen, ticks);
}

INLINE int64_t monotonic(const struct time_info *time, struct line *line, counter *read,
                         void *state)
{
    struct snapshot seen;
    uint64_t ticks = snapshot(time, &seen, read, state);
    int64_t now = add(time_at(&seen, ticks), __atomic_load_n(&line->offset, __ATOMIC_RELAXED));
    return seen.flags & TSC_STABLE ? now : clamp(&line->latest, now);
}

int64_t twin_scale(int64_t delta, uint32_t mul, int8_t shift) { return scale(delta, mul, shift); }

int64_t twin_now(const struct time_info *time) { return now(time, tsc, NULL); }

int64_t twin_now_with(const struct time_info *time, counter *read, void *state)
{
    return now(time, read, state);
}

int64_t twin_monotonic(const struct time_info *time, struct line *line)
{
    return monotonic(time, line, tsc, NULL);
}

int64_t twin_monotonic_with(const struct time_info *time, struct line *line, counter *read,
                            void *state)
{
    return monotonic(time, line, read, state);
}
