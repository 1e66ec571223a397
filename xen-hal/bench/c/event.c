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

static inline __attribute__((always_inline)) long unmask(struct shared_info *shared, uint32_t port,
                                                         const uint64_t *own)
{
    if (port >= PORTS)
        return -EINVAL_;
    uint32_t word = port / BITS;
    uint64_t bit = 1ULL << port % BITS;
    if (own_word(own, word) & bit) {
        __atomic_fetch_and(&shared->mask[word], ~bit, __ATOMIC_SEQ_CST);
        if ((__atomic_load_n(&shared->pending[word], __ATOMIC_SEQ_CST) & bit) == 0)
            return 0;
    }
    __atomic_fetch_or(&shared->mask[word], bit, __ATOMIC_SEQ_CST);
    uint32_t argument = port;
    long answer = bench_hypercall(EVENT_CHANNEL_OP, UNMASK, &argument);
    return answer < 0 && answer >= -4095 ? answer : 0;
}

int32_t twin_unmask(struct shared_info *shared, uint32_t port, const uint64_t *own)
{
    return (int32_t)unmask(shared, port, own);
}

int32_t twin_unmask_all(struct shared_info *shared, uint32_t port)
{
    return (int32_t)unmask(shared, port, NULL);
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

/* Each event that a part of a word holds, lowest port first; what has been masked or given away
 * meanwhile is left alone. */
static inline __attribute__((always_inline)) bool scan(struct shared_info *shared, uint32_t word,
                                                       uint64_t part, const uint64_t *own,
                                                       uint32_t *cursor, handler *handle,
                                                       void *state)
{
    uint64_t events = __atomic_load_n(&shared->pending[word], __ATOMIC_ACQUIRE) & part;
    while ((events = events & ~__atomic_load_n(&shared->mask[word], __ATOMIC_ACQUIRE) &
                     own_word(own, word)) != 0) {
        uint32_t bit = (uint32_t)__builtin_ctzll(events);
        uint64_t event = 1ULL << bit;
        events &= events - 1;
        if (__atomic_fetch_and(&shared->pending[word], ~event, __ATOMIC_ACQ_REL) & event) {
            uint32_t port = word * BITS + bit;
            __atomic_store_n(cursor, port, __ATOMIC_RELAXED);
            if (!handle(state, port))
                return false;
        }
    }
    return true;
}

/* The words of the selector, from the cursor's on; its own lower part last. False when the handler
 * stopped, with what is left in `rest`. */
static inline __attribute__((always_inline)) bool pass(struct shared_info *shared,
                                                       uint64_t selected, const uint64_t *own,
                                                       uint32_t *cursor, handler *handle,
                                                       void *state, uint64_t *rest)
{
    uint32_t next = __atomic_load_n(cursor, __ATOMIC_RELAXED) + 1;
    uint32_t first = next / BITS % BITS;
    uint64_t upper = ~0ULL << next % BITS;
    uint64_t lower = selected & 1ULL << first;
    uint64_t left = selected >> first | selected << (-first % BITS);
    uint64_t part = lower ? upper : ~0ULL;
    for (;; part = ~0ULL) {
        uint32_t word;
        if (left) {
            word = (first + (uint32_t)__builtin_ctzll(left)) % BITS;
            left &= left - 1;
        } else if (lower) {
            lower = 0;
            word = first;
            part = ~upper;
        } else {
            return true;
        }
        if (!scan(shared, word, part, own, cursor, handle, state)) {
            *rest = (left << first | left >> (-first % BITS)) | again(shared, word, own) |
                    (lower & again(shared, first, own));
            return false;
        }
    }
}

/* True when nothing is left. */
static inline __attribute__((always_inline)) bool dispatch(struct shared_info *shared,
                                                           struct vcpu_info *vcpu,
                                                           const uint64_t *own, uint32_t *cursor,
                                                           handler *handle, void *state)
{
    for (int count = 0; count < PASSES; count++) {
        uint64_t rest;
        __atomic_exchange_n(&vcpu->upcall_pending, 0, __ATOMIC_SEQ_CST);
        uint64_t selected = __atomic_exchange_n(&vcpu->pending_sel, 0, __ATOMIC_SEQ_CST);
        if (!pass(shared, selected, own, cursor, handle, state, &rest)) {
            if (rest) {
                __atomic_fetch_or(&vcpu->pending_sel, rest, __ATOMIC_SEQ_CST);
                __atomic_fetch_or(&vcpu->upcall_pending, 1, __ATOMIC_SEQ_CST);
            }
            break;
        }
        if (__atomic_load_n(&vcpu->upcall_pending, __ATOMIC_SEQ_CST) == 0)
            return true;
    }
    return __atomic_load_n(&vcpu->upcall_pending, __ATOMIC_SEQ_CST) == 0;
}

/* The handler that is compiled in: what is known of the events it got. */
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

bool twin_dispatch(struct shared_info *shared, struct vcpu_info *vcpu, const uint64_t *own,
                   uint32_t *cursor, struct tally *tally)
{
    if (!own)
        __builtin_unreachable();
    return dispatch(shared, vcpu, own, cursor, add, tally);
}

bool twin_dispatch_all(struct shared_info *shared, struct vcpu_info *vcpu, uint32_t *cursor,
                       struct tally *tally)
{
    return dispatch(shared, vcpu, NULL, cursor, add, tally);
}

/* With a handler of the caller's. */
bool twin_dispatch_with(struct shared_info *shared, struct vcpu_info *vcpu, const uint64_t *own,
                        uint32_t *cursor, handler *handle, void *state)
{
    return dispatch(shared, vcpu, own, cursor, handle, state);
}
