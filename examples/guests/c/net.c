/* The transmit ring of a network interface's frontend in C, beside which the guest `rates` measures
 * that of xen-hal. The guest has connected the device. */
#define XEN_HYPERCALL "vmmcall"
#include <xen_guest.h>

enum { DEPTH = 8, ENTRIES = 256 };

union entry {
    struct netif_tx_request request;
    struct netif_tx_response response;
};

struct slot {
    volatile uint8_t *page;
    uint32_t frame;
    grant_ref_t reference;
};

struct net {
    struct sring *ring;
    struct grant_entry_v1 *table;
    uint32_t port;
    uint16_t peer;
    uint32_t pushed, taken;
    /* A bit for each slot that is not in flight. */
    uint32_t idle;
    struct slot slots[DEPTH];
};

void *memcpy(void *to, const void *from, size_t count);

static inline union entry *entry(const struct net *net, uint32_t index)
{
    return (union entry *)(net->ring + 1) + index % ENTRIES;
}

/* Copies a frame to a slot's page, grants the page and sends a request. */
static bool submit(struct net *net, uint32_t number, const uint8_t *frame, uint16_t size)
{
    struct slot *slot = &net->slots[number];
    struct grant_entry_v1 *grant = &net->table[slot->reference];
    memcpy((void *)slot->page, frame, size);
    grant->domid = net->peer;
    grant->frame = slot->frame;
    __atomic_store_n(&grant->flags, GTF_permit_access | GTF_readonly, __ATOMIC_RELEASE);
    struct netif_tx_request *request = &entry(net, net->pushed)->request;
    request->gref = slot->reference;
    request->offset = 0;
    request->flags = 0;
    request->id = (uint16_t)number;
    request->size = size;
    uint32_t old = net->pushed++;
    __atomic_store_n(&net->ring->req_prod, net->pushed, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (net->pushed - __atomic_load_n(&net->ring->req_event, __ATOMIC_RELAXED) >=
        net->pushed - old)
        return true;
    struct evtchn_send send = {.port = net->port};
    return xen_evtchnop_send(&send) == 0;
}

/* Takes the responses that there are, and ends their slots' grants. False on an error. */
static bool take_sent(struct net *net)
{
    for (;;) {
        uint32_t produced = __atomic_load_n(&net->ring->rsp_prod, __ATOMIC_ACQUIRE);
        if (produced == net->taken) {
            __atomic_store_n(&net->ring->rsp_event, net->taken + 1, __ATOMIC_RELAXED);
            __atomic_thread_fence(__ATOMIC_SEQ_CST);
            if (__atomic_load_n(&net->ring->rsp_prod, __ATOMIC_ACQUIRE) == net->taken)
                return true;
            continue;
        }
        if (produced - net->taken > net->pushed - net->taken)
            return false;
        struct netif_tx_response response = entry(net, net->taken++)->response;
        if (response.id >= DEPTH || response.status != NETIF_RSP_OKAY)
            return false;
        uint16_t granted = GTF_permit_access | GTF_readonly;
        if (!__atomic_compare_exchange_n(&net->table[net->slots[response.id].reference].flags,
                                         &granted, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            return false;
        net->idle |= 1u << response.id;
    }
}

/* Sends a frame `count` times, each time from a slot that is not in flight. */
bool c_net_send(struct net *net, uint32_t count, const uint8_t *frame, uint16_t size)
{
    while (count > 0) {
        if (!take_sent(net))
            return false;
        if (net->idle == 0)
            continue;
        uint32_t number = (uint32_t)__builtin_ctz(net->idle);
        net->idle &= ~(1u << number);
        if (!submit(net, number, frame, size))
            return false;
        count--;
    }
    return true;
}
