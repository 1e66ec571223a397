/* Lending a page by a free entry of the grant table, and taking it back. */
#include "abi.h"

enum { PERMIT_ACCESS = 1, READONLY = 4, RESERVED = 8, ENTRIES = 512 };

struct references {
    uint32_t *words;
    size_t length;
    uint32_t limit;
    size_t start;
};

struct table {
    struct grant_entry *entries;
    uint32_t frames;
    struct references references;
};

struct page {
    void *memory;
    uint32_t frame;
};

struct slot {
    struct grant_entry *entry;
    struct references *references;
    uint32_t reference;
    uint16_t published;
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

static inline bool take(struct references *references, uint32_t *reference)
{
    size_t index = __atomic_load_n(&references->start, __ATOMIC_RELAXED);
    for (size_t count = 0; count < references->length; count++) {
        uint32_t bit;
        if (take_bit(&references->words[index], &bit)) {
            __atomic_store_n(&references->start, index, __ATOMIC_RELAXED);
            *reference = (uint32_t)index * 32 + bit;
            return true;
        }
        if (++index == references->length)
            index = 0;
    }
    return false;
}

static inline bool give_back(struct references *references, uint32_t reference)
{
    if (reference < RESERVED ||
        reference >= __atomic_load_n(&references->limit, __ATOMIC_RELAXED) ||
        reference / 32 >= references->length)
        return false;
    uint32_t bit = 1U << reference % 32;
    return (__atomic_fetch_or(&references->words[reference / 32], bit, __ATOMIC_RELEASE) & bit) ==
           0;
}

static inline bool take_slot(struct table *table, struct slot *slot)
{
    uint32_t reference;
    while (take(&table->references, &reference)) {
        if (reference / ENTRIES >= __atomic_load_n(&table->frames, __ATOMIC_ACQUIRE))
            return false;
        struct grant_entry *entry = &table->entries[reference];
        if (__atomic_load_n(&entry->flags, __ATOMIC_RELAXED) == 0) {
            *slot = (struct slot){entry, &table->references, reference, 0};
            return true;
        }
    }
    return false;
}

static inline void publish(struct slot *slot, const struct page *page, uint16_t peer, bool readonly)
{
    slot->published = readonly ? PERMIT_ACCESS | READONLY : PERMIT_ACCESS;
    *(volatile uint16_t *)&slot->entry->domid = peer;
    *(volatile uint32_t *)&slot->entry->frame = page->frame;
    __atomic_store_n(&slot->entry->flags, slot->published, __ATOMIC_RELEASE);
}

/* An entry without flags belongs to a table that replaced the one of before: nobody uses anything
 * of it. */
static inline bool withdraw(struct slot *slot)
{
    uint16_t flags = slot->published;
    if (!__atomic_compare_exchange_n(&slot->entry->flags, &flags, 0, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE) &&
        flags != 0)
        return false;
    slot->published = 0;
    return true;
}

/* A slot and a page become a grant. */
void twin_publish(const struct slot *slot, const struct page *page, uint16_t peer, bool readonly,
                  struct grant *grant)
{
    grant->slot = *slot;
    grant->page = *page;
    publish(&grant->slot, page, peer, readonly);
}

/* A grant becomes a slot and a page again, or stays what it is. */
bool twin_withdraw(struct grant *grant, struct slot *slot, struct page *page)
{
    if (!withdraw(&grant->slot))
        return false;
    *slot = grant->slot;
    *page = grant->page;
    return true;
}

static inline bool lend(struct table *table, const struct page *page, uint16_t peer, bool readonly,
                        struct grant *grant)
{
    struct slot slot;
    if (!take_slot(table, &slot))
        return false;
    publish(&slot, page, peer, readonly);
    grant->slot = slot;
    grant->page = *page;
    return true;
}

static inline bool revoke(struct grant *grant, struct page *page)
{
    if (!withdraw(&grant->slot))
        return false;
    *page = grant->page;
    give_back(grant->slot.references, grant->slot.reference);
    return true;
}

/* Takes a reference and lends the page by it. */
bool twin_lend(struct table *table, const struct page *page, uint16_t peer, bool readonly,
               struct grant *grant)
{
    return lend(table, page, peer, readonly, grant);
}

/* Takes the page back and makes the reference free. */
bool twin_revoke(struct grant *grant, struct page *page)
{
    return revoke(grant, page);
}

/* A page lent to a peer for the time of one call, which is told the reference. True when it came
 * back. */
bool twin_round(struct table *table, struct page *page, uint16_t peer,
                void (*tell)(uint32_t reference))
{
    struct grant grant;
    if (!lend(table, page, peer, false, &grant))
        return false;
    tell(grant.slot.reference);
    return revoke(&grant, page);
}
