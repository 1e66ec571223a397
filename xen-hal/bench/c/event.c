/* Two-level events: mask, unmask, and the dispatcher that starts behind the port it handled last.
 */
#include "abi.h"

enum {
    EVENT_CHANNEL_OP = 32,
    UNMASK = 9,
    EINVAL_ = 22,
    PASSES = 4,
    BITS = 64,
    PORTS = BITS * BITS
};

typedef bool handler(void *state, uint32_t port); /* false stops */

bool twin_mask(struct shared_info *shared, uint32_t port)
{
    if (port >= PORTS)
        return false;
    uint64_t bit = 1ULL << port % BITS;
    return (__atomic_fetch_or(&shared->mask[port / BITS], bit, __ATOMIC_SEQ_CST) & bit) != 0;
}

/* NULL for the set of all ports. */
static inline uint64_t own_word(const uint64_t *own, uint32_t word)
{
    return own ? __atomic_load_n(&own[word], __ATOMIC_RELAXED) : ~0ULL;
}

static __attribute__((noinline, cold)) int32_t unmask_by_xen(struct shared_info *shared,
                                                             uint32_t port)
{
    if (port >= PORTS)
        return -EINVAL_;
    __atomic_fetch_or(&shared->mask[port / BITS], 1ULL << port % BITS, __ATOMIC_SEQ_CST);
    uint32_t argument = port;
    long answer = bench_hypercall(EVENT_CHANNEL_OP, UNMASK, &argument);
    return answer < 0 && answer >= -4095 ? (int32_t)answer : 0;
}

static inline __attribute__((always_inline)) int32_t unmask(struct shared_info *shared,
                                                            uint32_t port, const uint64_t *own)
{
    uint32_t word = port / BITS;
    uint64_t bit = 1ULL << port % BITS;
    if (port < PORTS && own_word(own, word) & bit) {
        __atomic_fetch_and(&shared->mask[word], ~bit, __ATOMIC_SEQ_CST);
        if ((__atomic_load_n(&shared->pending[word], __ATOMIC_SEQ_CST) & bit) == 0)
            return 0;
    }
    return unmask_by_xen(shared, port);
}

int32_t twin_unmask(struct shared_info *shared, uint32_t port, const uint64_t *own)
{
    if (!own)
        __builtin_unreachable();
    return unmask(shared, port, own);
}

int32_t twin_unmask_all(struct shared_info *shared, uint32_t port)
{
    return unmask(shared, port, NULL);
}

static inline __attribute__((always_inline)) uint64_t due(struct shared_info *shared, uint32_t word,
                                                          const uint64_t *own)
{
    uint64_t pending = __atomic_load_n(&shared->pending[word], __ATOMIC_ACQUIRE);
    return pending & ~__atomic_load_n(&shared->mask[word], __ATOMIC_ACQUIRE) & own_word(own, word);
}

static inline __attribute__((always_inline)) uint64_t again(struct shared_info *shared,
                                                            uint32_t word, const uint64_t *own)
{
    return (uint64_t)(due(shared, word, own) != 0) << word;
}

/* Handles events of one word, highest port first; leaves alone what has been masked or given away
 * meanwhile. False when the handler stopped. */
static inline __attribute__((always_inline)) bool scan(struct shared_info *shared, uint32_t word,
                                                       uint64_t events, const uint64_t *own,
                                                       uint32_t *cursor, handler *handle,
                                                       void *state)
{
    while ((events = events & ~__atomic_load_n(&shared->mask[word], __ATOMIC_ACQUIRE) &
                     own_word(own, word)) != 0) {
        uint64_t bit = 63 ^ (uint64_t)__builtin_clzll(events);
        bool was;
        events ^= 1ULL << bit;
        __asm__ volatile("lock btrq %2, %0"
                         : "+m"(shared->pending[word]), "=@ccc"(was)
                         : "r"(bit)
                         : "memory");
        if (__builtin_expect(was, 1)) {
            uint32_t port = word * BITS + (uint32_t)bit;
            if (!handle(state, port)) {
                __atomic_store_n(cursor, port, __ATOMIC_RELAXED);
                return false;
            }
        }
    }
    return true;
}

static inline __attribute__((always_inline)) uint64_t pending(struct shared_info *shared,
                                                              uint32_t word)
{
    return __atomic_load_n(&shared->pending[word], __ATOMIC_ACQUIRE);
}

static inline __attribute__((always_inline)) uint64_t take(struct vcpu_info *vcpu)
{
    __atomic_store_n(&vcpu->upcall_pending, 0, __ATOMIC_SEQ_CST);
    return __atomic_exchange_n(&vcpu->pending_sel, 0, __ATOMIC_SEQ_CST);
}

static inline __attribute__((always_inline)) bool drained(struct vcpu_info *vcpu)
{
    return __builtin_expect(__atomic_load_n(&vcpu->upcall_pending, __ATOMIC_SEQ_CST) == 0, 1);
}

/* All events of the words, for a handler that does not stop. True when nothing is left. */
static inline __attribute__((always_inline)) bool drain(struct shared_info *shared,
                                                        struct vcpu_info *vcpu,
                                                        const uint64_t *own, handler *handle,
                                                        void *state, uint64_t words)
{
    for (int count = 1;; count++) {
        do {
            uint32_t word = (uint32_t)__builtin_ctzll(words);
            scan(shared, word, pending(shared, word), own, NULL, handle, state);
            words &= words - 1;
        } while (words);
        if (drained(vcpu))
            return true;
        if (count == PASSES)
            return false;
        words = take(vcpu);
        if (!words)
            return drained(vcpu);
    }
}

/* The words of the selector, beginning behind the port at which the handler stopped. False when it
 * stopped, with what is left in `rest`. */
static inline __attribute__((always_inline)) bool pass(struct shared_info *shared,
                                                       uint64_t selected, const uint64_t *own,
                                                       uint32_t *cursor, handler *handle,
                                                       void *state, uint64_t *rest)
{
    uint32_t stopped = __atomic_load_n(cursor, __ATOMIC_RELAXED);
    uint32_t first = stopped / BITS % BITS;
    uint64_t words = selected, later = 0, part = 0, upper = 0;
    if (__builtin_expect(stopped != 0, 0)) {
        __atomic_store_n(cursor, 0, __ATOMIC_RELAXED);
        words = selected >> first << first;
        later = selected ^ words;
        if (selected >> first & 1) {
            uint64_t all = pending(shared, first);
            words ^= 1ULL << first;
            part = all & ((1ULL << stopped % BITS) - 1);
            upper = all ^ part;
        }
    }
    for (;;) {
        if (part && !scan(shared, first, part, own, cursor, handle, state)) {
            *rest = words | later | again(shared, first, own);
            return false;
        }
        for (; words; words &= words - 1) {
            uint32_t word = (uint32_t)__builtin_ctzll(words);
            if (!scan(shared, word, pending(shared, word), own, cursor, handle, state)) {
                *rest = (words & (words - 1)) | later | again(shared, word, own) |
                        (upper ? again(shared, first, own) : 0);
                return false;
            }
        }
        if ((later | upper) == 0)
            return true;
        if (later) {
            words = later;
            later = part = 0;
        } else {
            part = upper;
            upper = 0;
        }
    }
}

/* As `drain`, for a handler that can stop. */
static inline __attribute__((always_inline)) bool try_drain(struct shared_info *shared,
                                                            struct vcpu_info *vcpu,
                                                            const uint64_t *own, uint32_t *cursor,
                                                            handler *handle, void *state,
                                                            uint64_t words)
{
    for (int count = 1;; count++) {
        uint64_t rest;
        if (!pass(shared, words, own, cursor, handle, state, &rest)) {
            if (rest) {
                __atomic_fetch_or(&vcpu->pending_sel, rest, __ATOMIC_SEQ_CST);
                __atomic_fetch_or(&vcpu->upcall_pending, 1, __ATOMIC_SEQ_CST);
            }
            return drained(vcpu);
        }
        if (drained(vcpu))
            return true;
        if (count == PASSES)
            return false;
        words = take(vcpu);
        if (!words)
            return drained(vcpu);
    }
}

/* The handlers that are compiled in: what is known of the events they got. */
struct tally {
    uint64_t sum;
    uint64_t count;
};

static inline bool add(void *state, uint32_t port)
{
    struct tally *tally = state;
    tally->sum += port;
    tally->count++;
    return true;
}

struct limit {
    struct tally *tally;
    uint64_t most;
};

static inline bool add_up_to(void *state, uint32_t port)
{
    struct limit *limit = state;
    add(limit->tally, port);
    return limit->tally->count != limit->most;
}

/* Functions of their own, so that an upcall that finds nothing saves no registers for them. */
static __attribute__((noinline)) bool drain_own(struct shared_info *shared,
                                                struct vcpu_info *vcpu, const uint64_t *own,
                                                struct tally *tally, uint64_t words)
{
    if (!own)
        __builtin_unreachable();
    return drain(shared, vcpu, own, add, tally, words);
}

static __attribute__((noinline)) bool drain_all(struct shared_info *shared,
                                                struct vcpu_info *vcpu, struct tally *tally,
                                                uint64_t words)
{
    return drain(shared, vcpu, NULL, add, tally, words);
}

static __attribute__((noinline)) bool try_drain_own(struct shared_info *shared,
                                                    struct vcpu_info *vcpu, const uint64_t *own,
                                                    uint32_t *cursor, struct limit *limit,
                                                    uint64_t words)
{
    if (!own)
        __builtin_unreachable();
    return try_drain(shared, vcpu, own, cursor, add_up_to, limit, words);
}

bool twin_dispatch(struct shared_info *shared, struct vcpu_info *vcpu, const uint64_t *own,
                   struct tally *tally)
{
    uint64_t words = take(vcpu);
    return words ? drain_own(shared, vcpu, own, tally, words) : drained(vcpu);
}

bool twin_dispatch_all(struct shared_info *shared, struct vcpu_info *vcpu, struct tally *tally)
{
    uint64_t words = take(vcpu);
    return words ? drain_all(shared, vcpu, tally, words) : drained(vcpu);
}

bool twin_try_dispatch(struct shared_info *shared, struct vcpu_info *vcpu, const uint64_t *own,
                       uint32_t *cursor, struct tally *tally, uint64_t most)
{
    struct limit limit = {tally, most};
    uint64_t words = take(vcpu);
    return words ? try_drain_own(shared, vcpu, own, cursor, &limit, words) : drained(vcpu);
}

/* With a handler of the caller's. */
bool twin_dispatch_with(struct shared_info *shared, struct vcpu_info *vcpu, const uint64_t *own,
                        uint32_t *cursor, handler *handle, void *state)
{
    uint64_t words = take(vcpu);
    return words ? try_drain(shared, vcpu, own, cursor, handle, state, words) : drained(vcpu);
}
