/* The hot paths of a guest in C, beside which the guest `figures` measures those of xen-hal. */
#if defined(__x86_64__) || defined(__i386__)
#define XEN_HYPERCALL "vmmcall"
#endif
#include <xen_guest.h>

enum { WORD_BITS = 8 * sizeof(xen_ulong_t) };

static struct shared_info *shared;
static uint64_t sent_at, waited;
static unsigned int handled;

static inline uint64_t counter(void)
{
#if defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(ticks) : : "memory");
    return ticks;
#else
    uint32_t low, high;
    __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
#endif
}

/* Returns the ticks of `count` hypercalls that do nothing. */
uint64_t c_null(unsigned int count)
{
    uint64_t start = counter();
    for (unsigned int i = 0; i < count; i++)
        if (xen_hypercall2(__HYPERVISOR_xen_version, XENVER_version, 0) < 0)
            return UINT64_MAX;
    return counter() - start;
}

static void handle(unsigned int port)
{
    (void)port;
    waited += counter() - sent_at;
    handled++;
}

/* Handles the events of an upcall. */
void c_upcall(void)
{
    struct vcpu_info *vcpu = &shared->vcpu_info[0];
    __atomic_store_n(&vcpu->evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST);
    xen_ulong_t words = __atomic_exchange_n(&vcpu->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
    for (; words; words &= words - 1) {
        unsigned int word = (unsigned int)__builtin_ctzll(words);
        xen_ulong_t events;
        while ((events = __atomic_load_n(&shared->evtchn_pending[word], __ATOMIC_RELAXED) &
                         ~__atomic_load_n(&shared->evtchn_mask[word], __ATOMIC_RELAXED))) {
            unsigned int bit = (unsigned int)__builtin_ctzll(events);
            __atomic_fetch_and(&shared->evtchn_pending[word], ~((xen_ulong_t)1 << bit),
                               __ATOMIC_SEQ_CST);
            handle(word * WORD_BITS + bit);
        }
    }
}

/* Returns the ticks from sending an event to its handler, for `count` events. */
uint64_t c_events(struct shared_info *page, unsigned int port, unsigned int count)
{
    shared = page;
    waited = handled = 0;
    for (unsigned int i = 0; i < count; i++) {
        struct evtchn_send send = {.port = port};
        sent_at = counter();
        if (xen_evtchnop_send(&send) < 0)
            return UINT64_MAX;
        while (__atomic_load_n(&handled, __ATOMIC_ACQUIRE) <= i)
            ;
    }
    return waited;
}

/* Returns the ticks of mapping a grant and unmapping it. */
uint64_t c_map(uint16_t domain, grant_ref_t reference, uint64_t address)
{
    uint64_t start = counter();
    struct gnttab_map_grant_ref map = {
        .host_addr = address, .flags = GNTMAP_host_map, .ref = reference, .dom = domain};
    if (xen_gnttabop_map_grant_ref(&map, 1) < 0 || map.status != 0)
        return UINT64_MAX;
    struct gnttab_unmap_grant_ref unmap = {.host_addr = address, .handle = map.handle};
    if (xen_gnttabop_unmap_grant_ref(&unmap, 1) < 0 || unmap.status != 0)
        return UINT64_MAX;
    return counter() - start;
}

#if defined(__aarch64__)
/* The length of a tick in nanoseconds, whole and as a fraction of 2^64. */
struct clock {
    uint64_t whole, part;
};

static inline int64_t now(const struct clock *clock)
{
    uint64_t ticks = counter();
    uint64_t rest = (uint64_t)((unsigned __int128)ticks * clock->part >> 64);
    return (int64_t)(ticks * clock->whole + rest);
}
#else
struct clock {
    const volatile struct vcpu_time_info *time;
};

/* Multiplies by a fraction of 2^32. */
static inline int64_t scale(int64_t delta, uint32_t mul)
{
#ifdef __SIZEOF_INT128__
    return (int64_t)((__int128)delta * mul >> 32);
#else
    return (delta >> 32) * mul + (int64_t)((uint64_t)(uint32_t)delta * mul >> 32);
#endif
}

static inline int64_t now(const struct clock *clock)
{
    const volatile struct vcpu_time_info *time = clock->time;
    for (;;) {
        uint32_t version = time->version;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        int64_t delta = (int64_t)(counter() - time->tsc_timestamp);
        int shift = time->tsc_shift;
        uint32_t mul = time->tsc_to_system_mul;
        uint64_t base = time->system_time;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if ((version & 1) == 0 && time->version == version) {
            delta = shift < 0 ? delta >> -shift : (int64_t)((uint64_t)delta << shift);
            return (int64_t)(base + (uint64_t)scale(delta, mul));
        }
        __builtin_ia32_pause();
    }
}
#endif

/* Returns the ticks of `count` readings of the clock, and the last one in `last`. */
uint64_t c_clock(const struct clock *clock, unsigned int count, int64_t *last)
{
    uint64_t start = counter();
    for (unsigned int i = 0; i < count; i++)
        *(volatile int64_t *)last = now(clock);
    return counter() - start;
}
