/* The frontend's end of a ring of requests and responses, and the copy of a page. */
#include <string.h>

#include "abi.h"

struct shared_ring {
    uint32_t req_prod, req_event, rsp_prod, rsp_event;
    uint8_t reserved[48];
};

struct front {
    struct shared_ring *shared;
    uint32_t pushed;    /* after the last request that was pushed */
    uint32_t published; /* after the last request that was published */
    uint32_t known;     /* after the last response that was seen */
    uint32_t taken;     /* after the last response that was popped */
};

struct blk_segment {
    uint32_t reference;
    uint8_t first, last;
    uint8_t reserved[2];
};

struct blk_request {
    uint8_t operation, segments;
    uint16_t handle;
    uint32_t reserved;
    uint64_t id, sector;
    struct blk_segment segment[11];
};

struct blk_response {
    uint64_t id;
    uint8_t operation, reserved;
    int16_t status;
    uint32_t reserved1;
};

struct net_request {
    uint32_t reference;
    uint16_t offset, flags, id, size;
};

struct net_response {
    uint16_t id;
    int16_t status;
};

_Static_assert(sizeof(struct shared_ring) == 64, "shared_ring");
_Static_assert(sizeof(struct blk_request) == 112, "blk_request");
_Static_assert(sizeof(struct blk_response) == 16, "blk_response");
_Static_assert(sizeof(struct net_request) == 12, "net_request");
_Static_assert(sizeof(struct net_response) == 4, "net_response");

/* Reads the number of responses, at most one for each published request. */
static inline bool look(struct front *front)
{
    uint32_t produced = __atomic_load_n(&front->shared->rsp_prod, __ATOMIC_ACQUIRE);
    uint32_t there = produced - front->taken, most = front->published - front->taken;
    uint32_t count = there < most ? there : most;
    if (count == 0)
        return false;
    front->known = front->taken + count;
    return true;
}

/* Defines push and pop for entries that are a union of a request and a response. */
#define RING(name, request_type, response_type, entries)                                           \
    union name##_entry {                                                                           \
        request_type request;                                                                      \
        response_type response;                                                                    \
    };                                                                                             \
                                                                                                   \
    static inline union name##_entry *name##_entry(const struct front *front, uint32_t index)      \
    {                                                                                              \
        return (union name##_entry *)(front->shared + 1) + index % (entries);                      \
    }                                                                                              \
                                                                                                   \
    bool twin_push_##name(struct front *front, const request_type *request)                        \
    {                                                                                              \
        if (front->pushed - front->taken >= (entries))                                             \
            return false;                                                                          \
        name##_entry(front, front->pushed)->request = *request;                                    \
        front->pushed++;                                                                           \
        return true;                                                                               \
    }                                                                                              \
                                                                                                   \
    bool twin_pop_##name(struct front *front, response_type *response)                             \
    {                                                                                              \
        if (front->taken == front->known && !look(front))                                          \
            return false;                                                                          \
        *response = name##_entry(front, front->taken)->response;                                   \
        front->taken++;                                                                            \
        return true;                                                                               \
    }

RING(blk, struct blk_request, struct blk_response, 32)
RING(net, struct net_request, struct net_response, 256)

/* Makes the requests visible to the backend. True if it must be notified. */
bool twin_publish(struct front *front)
{
    uint32_t old = front->published, new = front->pushed;
    __atomic_store_n(&front->shared->req_prod, new, __ATOMIC_RELEASE);
    front->published = new;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return new - __atomic_load_n(&front->shared->req_event, __ATOMIC_ACQUIRE) < new - old;
}

/* Requests an event for the next response. True if there is a response already. */
bool twin_rearm(struct front *front)
{
    if (front->taken != front->known || look(front))
        return true;
    __atomic_store_n(&front->shared->rsp_event, front->taken + 1, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return look(front);
}

/* Copies bytes. The compiler does not know their number: it would copy a page by `rep movsq`, in
 * more instructions. */
void twin_copy(void *to, const void *from, size_t count)
{
    memcpy(to, from, count);
}
