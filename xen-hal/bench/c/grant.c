/* Lending a page by a free entry of the grant table, and taking it back. */
#include "abi.h"

enum { PERMIT_ACCESS = 1, READONLY = 4, IN_USE = 8 | 16, PER_WORD = 32 };

/* The references of 32 entries: free, and given up while the peer used the page. */
struct word {
    uint32_t free;
    uint32_t deferred;
};

struct table {
    struct grant_entry *entries;
    struct word *words;
    size_t length;
    size_t start;
};

struct page {
    void *memory;
    uint32_t frame;
};

struct slot {
    struct grant_entry *entry;
    struct word *word;
    uint32_t reference;
};

struct grant {
    struct slot slot;
    struct page page;
};

static inline bool take_bit(uint32_t *word, uint32_t *bit)
{
    uint32_t free = __atomic_load_n(word, __ATOMIC_RELAXED);
    while (free) {
        if (__atomic_compare_exchange_n(word, &free, free & (free - 1), true, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED)) {
            *bit = (uint32_t)__builtin_ctz(free);
            return true;
        }
    }
    return false;
}

static inline void give_back(struct word *word, uint32_t reference)
{
    __atomic_fetch_or(&word->free, 1U << reference % PER_WORD, __ATOMIC_RELEASE);
}

static inline bool take_in(struct table *table, size_t index, struct slot *slot)
{
    uint32_t bit;
    if (index >= table->length || !take_bit(&table->words[index].free, &bit))
        return false;
    uint32_t reference = (uint32_t)index * PER_WORD | bit;
    *slot = (struct slot){&table->entries[reference], &table->words[index], reference};
    return true;
}

static inline bool is_free(const struct slot *slot)
{
    return __atomic_load_n(&slot->entry->flags, __ATOMIC_RELAXED) == 0;
}

/* Searches all words, from the one of the last search on. Entries that something else has published
 * are left alone. */
static __attribute__((noinline, cold)) bool take_slowly(struct table *table, struct slot *slot)
{
    for (;;) {
        size_t start = __atomic_load_n(&table->start, __ATOMIC_RELAXED), count;
        for (count = 0; count < table->length; count++) {
            size_t index = (start + count) % table->length;
            if (take_in(table, index, slot)) {
                __atomic_store_n(&table->start, index, __ATOMIC_RELAXED);
                break;
            }
        }
        if (count == table->length)
            return false;
        if (is_free(slot))
            return true;
    }
}

static inline bool take_slot(struct table *table, struct slot *slot)
{
    size_t start = __atomic_load_n(&table->start, __ATOMIC_RELAXED);
    if (take_in(table, start, slot) && is_free(slot))
        return true;
    return take_slowly(table, slot);
}

static inline void publish(const struct slot *slot, const struct page *page, uint16_t peer,
                           uint16_t access, struct grant *grant)
{
    *(volatile uint16_t *)&slot->entry->domid = peer;
    *(volatile uint32_t *)&slot->entry->frame = page->frame;
    __atomic_store_n(&slot->entry->flags, access, __ATOMIC_RELEASE);
    *grant = (struct grant){*slot, *page};
}

/* Makes an entry lend nothing, unless Xen says that the page is in use. */
static inline bool withdraw(struct grant_entry *entry)
{
    uint16_t flags = __atomic_load_n(&entry->flags, __ATOMIC_RELAXED);
    if (flags & IN_USE)
        return false;
    return __atomic_compare_exchange_n(&entry->flags, &flags, 0, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
}

/* The page of a grant is taken back, and its slot lends another. */
bool twin_relend(struct grant *grant, const struct page *page, uint16_t peer, uint16_t access,
                 struct page *back)
{
    if (!withdraw(grant->slot.entry))
        return false;
    *back = grant->page;
    struct slot slot = grant->slot;
    publish(&slot, page, peer, access, grant);
    return true;
}

static inline bool lend(struct table *table, const struct page *page, uint16_t peer,
                        uint16_t access, struct grant *grant)
{
    struct slot slot;
    if (!take_slot(table, &slot))
        return false;
    publish(&slot, page, peer, access, grant);
    return true;
}

static inline bool revoke(const struct grant *grant, struct page *page)
{
    if (!withdraw(grant->slot.entry))
        return false;
    *page = grant->page;
    give_back(grant->slot.word, grant->slot.reference);
    return true;
}

/* Takes a reference and lends the page by it. */
bool twin_lend(struct table *table, const struct page *page, uint16_t peer, uint16_t access,
               struct grant *grant)
{
    return lend(table, page, peer, access, grant);
}

/* Takes the page back and makes the reference free. */
bool twin_revoke(const struct grant *grant, struct page *page)
{
    return revoke(grant, page);
}

/* A page lent to a peer for the time of one call, which is told the reference. True when it came
 * back. */
bool twin_round(struct table *table, struct page *page, uint16_t peer,
                void (*tell)(uint32_t reference))
{
    struct grant grant;
    if (!lend(table, page, peer, PERMIT_ACCESS, &grant))
        return false;
    tell(grant.slot.reference);
    return revoke(&grant, page);
}
