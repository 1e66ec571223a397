/* The requests of a block device's frontend in C, beside which the guest `rates` measures those of
 * xen-hal. The guest has connected the device. */
#define XEN_HYPERCALL "vmmcall"
#include <xen_guest.h>

enum { DEPTH = 8, ENTRIES = 32, SECTORS = XEN_PAGE_SIZE / 512 };

union entry {
    struct blkif_request request;
    struct blkif_response response;
};

struct slot {
    volatile uint8_t *page;
    uint32_t frame;
    grant_ref_t reference;
};

struct disk {
    struct sring *ring;
    struct grant_entry_v1 *table;
    uint32_t port;
    uint16_t peer;
    uint32_t pushed, taken;
    struct slot slots[DEPTH];
};

void *memcpy(void *to, const void *from, size_t count);

static inline union entry *entry(const struct disk *disk, uint32_t index)
{
    return (union entry *)(disk->ring + 1) + index % ENTRIES;
}

/* Grants a slot's page and sends a request to read it. */
static bool submit(struct disk *disk, uint32_t number, uint64_t sector)
{
    struct slot *slot = &disk->slots[number];
    struct grant_entry_v1 *grant = &disk->table[slot->reference];
    grant->domid = disk->peer;
    grant->frame = slot->frame;
    __atomic_store_n(&grant->flags, GTF_permit_access, __ATOMIC_RELEASE);
    struct blkif_request *request = &entry(disk, disk->pushed)->request;
    request->operation = BLKIF_OP_READ;
    request->nr_segments = 1;
    request->handle = 0;
    request->id = number;
    request->sector_number = sector;
    request->seg[0].gref = slot->reference;
    request->seg[0].first_sect = 0;
    request->seg[0].last_sect = SECTORS - 1;
    uint32_t old = disk->pushed++;
    __atomic_store_n(&disk->ring->req_prod, disk->pushed, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (disk->pushed - __atomic_load_n(&disk->ring->req_event, __ATOMIC_RELAXED) >=
        disk->pushed - old)
        return true;
    struct evtchn_send send = {.port = disk->port};
    return xen_evtchnop_send(&send) == 0;
}

/* Takes a response: ends its slot's grant, and copies the page out. False on an error. */
static bool complete(struct disk *disk, const struct blkif_response *response, uint8_t *into)
{
    if (response->id >= DEPTH || response->operation != BLKIF_OP_READ ||
        response->status != BLKIF_RSP_OKAY)
        return false;
    struct slot *slot = &disk->slots[response->id];
    uint16_t granted = GTF_permit_access;
    if (!__atomic_compare_exchange_n(&disk->table[slot->reference].flags, &granted, 0, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return false;
    memcpy(into, (const void *)slot->page, XEN_PAGE_SIZE);
    return true;
}

/* Reads the first DEPTH pages of the disk repeatedly, `count` pages in all, with
 * DEPTH requests in flight. The last content is left in `into`, DEPTH pages. */
bool c_block_read(struct disk *disk, uint32_t count, uint8_t *into)
{
    uint32_t sent = 0, done = 0;
    for (; sent < DEPTH && sent < count; sent++)
        if (!submit(disk, sent, (uint64_t)sent * SECTORS))
            return false;
    while (done < count) {
        uint32_t produced = __atomic_load_n(&disk->ring->rsp_prod, __ATOMIC_ACQUIRE);
        if (produced == disk->taken) {
            __atomic_store_n(&disk->ring->rsp_event, disk->taken + 1, __ATOMIC_RELAXED);
            __atomic_thread_fence(__ATOMIC_SEQ_CST);
            continue;
        }
        if (produced - disk->taken > disk->pushed - disk->taken)
            return false;
        struct blkif_response response = entry(disk, disk->taken++)->response;
        if (!complete(disk, &response, into + response.id % DEPTH * XEN_PAGE_SIZE))
            return false;
        done++;
        if (sent < count) {
            if (!submit(disk, (uint32_t)response.id, response.id * SECTORS))
                return false;
            sent++;
        }
    }
    return true;
}
