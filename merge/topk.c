/*
 * Topk: see topk.h.
 *
 * Rows are collected until limit + offset are there; then they become a heap
 * with the worst on top, and a row gets in only by being better than that one.
 * The heap's entries carry the first key as a number in sort order (`rank`)
 * where its type allows, so that most comparisons read nothing but the heap.
 */
#include "merge/topk.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define TOPK_ENTRIES_MIN 16

/* One row that is held: this, then the body without its Int16 count. */
struct topk_item {
	const uint8_t *keys; /* the hidden fields: Int32 length and bytes each */
	const uint8_t *body;
	size_t visible_len;
	size_t size; /* of the allocation */
	uint64_t arrival;
	unsigned shard;
};

struct topk_entry {
	uint64_t rank;
	struct topk_item *item;
};

struct topk {
	struct topk_entry *entries; /* a heap once there are `capacity` of them */
	uint64_t count;
	uint64_t allocated;
	uint64_t capacity; /* limit + offset */
	uint64_t offset;
	uint64_t arrivals;
	size_t bytes;
	unsigned visible;
	bool ranked;    /* rank decides all but ties of the first key */
	bool discarded; /* some row was refused or pushed out */
	bool finished;
	struct topk_entry threshold; /* what was dropped has kept out rows no better than this */
	unsigned nkeys;
	struct row_value *values; /* nkeys, of the row being added */
	struct order_key keys[];
};

static void *topk_realloc(void *memory, size_t size)
{
	memory = realloc(memory, size);
	if (memory == NULL)
		abort();
	return memory;
}

struct topk *topk_new(const struct topk_spec *spec)
{
	struct topk *topk;

	assert(spec->nkeys >= 1 && spec->nkeys <= UINT16_MAX);
	assert(spec->limit <= UINT64_MAX - spec->offset);
	topk = topk_realloc(NULL, sizeof(*topk) + spec->nkeys * sizeof(topk->keys[0]));
	*topk = (struct topk){
	    .capacity = spec->limit == 0 ? 0 : spec->limit + spec->offset,
	    .offset = spec->offset,
	    .visible = spec->visible,
	    .nkeys = spec->nkeys,
	    .ranked = spec->keys[0].type == ORDER_FLOAT8 || spec->keys[0].type == ORDER_FLOAT4,
	};
	topk->values = topk_realloc(NULL, spec->nkeys * sizeof(*topk->values));
	memcpy(topk->keys, spec->keys, spec->nkeys * sizeof(topk->keys[0]));
	return topk;
}

static void topk_item_free(struct topk *topk, struct topk_item *item)
{
	assert(topk->bytes >= item->size);
	topk->bytes -= item->size;
	free(item);
}

void topk_free(struct topk *topk)
{
	if (topk == NULL)
		return;
	for (uint64_t i = 0; i < topk->count; i++)
		topk_item_free(topk, topk->entries[i].item);
	if (topk->threshold.item)
		topk_item_free(topk, topk->threshold.item);
	assert(topk->bytes == 0);
	free(topk->entries);
	free(topk->values);
	free(topk);
}

/* ---- order of rows ---- */

static uint64_t topk_bits(double value)
{
	uint64_t bits;

	if (value == 0)
		value = 0; /* -0.0 equals 0.0 */
	memcpy(&bits, &value, sizeof(bits));
	if (value != value)
		bits = UINT64_C(0x7ff8000000000000); /* one NaN, above Infinity */
	return bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
}

/*
 * A float as a number that sorts as order_compare() does, DESC and NULLS FIRST
 * applied. 0 and UINT64_MAX are no float's, so NULL has them.
 */
static uint64_t topk_rank(const struct order_key *key, const struct row_value *value)
{
	uint64_t bits = 0;
	uint64_t rank;
	double number;

	if (value->data == NULL)
		return key->nulls_first ? 0 : UINT64_MAX;
	for (int32_t i = 0; i < value->len; i++)
		bits = bits << 8 | value->data[i];
	if (key->type == ORDER_FLOAT8) {
		memcpy(&number, &bits, sizeof(number));
	} else {
		uint32_t single_bits = (uint32_t)bits;
		float single;

		memcpy(&single, &single_bits, sizeof(single));
		number = (double)single;
	}
	rank = topk_bits(number);
	return key->descending ? ~rank : rank;
}

/* Reads the value at *at and moves on; lengths were checked by topk_add(). */
static struct row_value topk_next_value(const uint8_t **at)
{
	struct row_value value;

	value.len = (int32_t)((uint32_t)(*at)[0] << 24 | (uint32_t)(*at)[1] << 16 |
	                      (uint32_t)(*at)[2] << 8 | (*at)[3]);
	*at += 4;
	value.data = value.len < 0 ? NULL : *at;
	if (value.len > 0)
		*at += value.len;
	return value;
}

/* By their keys alone; rows whose ranks are equal. */
static int topk_compare_keys(const struct topk *topk, const struct topk_item *a,
                             const struct topk_item *b)
{
	const uint8_t *a_at = a->keys;
	const uint8_t *b_at = b->keys;

	/* If ranks decide the first key it is equal here. */
	for (unsigned i = 0; i < topk->nkeys && (topk->nkeys > 1 || !topk->ranked); i++) {
		struct row_value a_value = topk_next_value(&a_at);
		struct row_value b_value = topk_next_value(&b_at);
		int result;

		if (i == 0 && topk->ranked)
			continue;
		result = order_compare(&topk->keys[i], &a_value, &b_value);
		if (result != 0)
			return result;
	}
	return 0;
}

/* Rows whose ranks are equal. */
static int topk_compare_items(const struct topk *topk, const struct topk_item *a,
                              const struct topk_item *b)
{
	int result = topk_compare_keys(topk, a, b);

	if (result != 0)
		return result;
	if (a->shard != b->shard)
		return a->shard < b->shard ? -1 : 1;
	return a->arrival < b->arrival ? -1 : a->arrival > b->arrival;
}

static inline int topk_compare(const struct topk *topk, const struct topk_entry *a,
                               const struct topk_entry *b)
{
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return topk_compare_items(topk, a->item, b->item);
}

/* ---- the heap ---- */

/* Puts entry at position i or below, where everything under it is better. */
static void topk_sift(struct topk *topk, uint64_t i, struct topk_entry entry)
{
	struct topk_entry *entries = topk->entries;

	for (;;) {
		uint64_t child = 2 * i + 1;

		if (child >= topk->count)
			break;
		if (child + 1 < topk->count &&
		    topk_compare(topk, &entries[child + 1], &entries[child]) > 0)
			child++;
		if (topk_compare(topk, &entries[child], &entry) <= 0)
			break;
		entries[i] = entries[child];
		i = child;
	}
	entries[i] = entry;
}

static void topk_heapify(struct topk *topk)
{
	for (uint64_t i = topk->count / 2; i-- > 0;)
		topk_sift(topk, i, topk->entries[i]);
}

static struct topk_item *topk_item_new(struct topk *topk, const struct topk_item *from, size_t len)
{
	struct topk_item *item = topk_realloc(NULL, sizeof(*item) + len);
	uint8_t *body = (uint8_t *)(item + 1);

	if (len > 0)
		memcpy(body, from->body, len);
	*item = *from;
	item->body = body;
	item->keys = body + from->visible_len;
	item->size = sizeof(*item) + len;
	topk->bytes += item->size;
	return item;
}

static void topk_append(struct topk *topk, struct topk_entry entry)
{
	if (topk->count == topk->allocated) {
		uint64_t allocated = topk->allocated == 0 ? TOPK_ENTRIES_MIN : 2 * topk->allocated;

		/* Grown by what arrives: the limit may be any number. */
		if (allocated > topk->capacity)
			allocated = topk->capacity;
		assert(allocated <= SIZE_MAX / sizeof(entry));
		topk->entries = topk_realloc(topk->entries, allocated * sizeof(entry));
		topk->allocated = allocated;
	}
	topk->entries[topk->count++] = entry;
	if (topk->count == topk->capacity)
		topk_heapify(topk);
}

/* ---- the door ---- */

/* Checks the body and describes it as an item that is not copied yet. */
static bool topk_read(struct topk *topk, const uint8_t *body, size_t len, struct topk_item *item)
{
	size_t keys_len = 0;
	struct row row;

	if (!row_init(&row, body, len) || row.fields != topk->visible + topk->nkeys)
		return false;
	row_values(&row, topk->visible, topk->nkeys, topk->values);
	for (unsigned i = 0; i < topk->nkeys; i++) {
		if (!order_valid(topk->keys[i].type, &topk->values[i]))
			return false;
		keys_len += 4 + (topk->values[i].len > 0 ? (size_t)topk->values[i].len : 0);
	}
	item->body = body + 2;
	item->visible_len = len - 2 - keys_len;
	item->keys = item->body + item->visible_len;
	return true;
}

bool topk_add(struct topk *topk, unsigned shard, const uint8_t *body, size_t len)
{
	struct topk_item item = {.shard = shard};
	struct topk_entry entry = {.item = &item};

	assert(!topk->finished && shard != UINT_MAX);
	if (!topk_read(topk, body, len, &item))
		return false;
	item.arrival = topk->arrivals++;
	if (topk->ranked)
		entry.rank = topk_rank(&topk->keys[0], &topk->values[0]);

	if (topk->count < topk->capacity) {
		entry.item = topk_item_new(topk, &item, len - 2);
		topk_append(topk, entry);
		return true;
	}
	topk->discarded = true;
	if (topk->capacity == 0 || topk_compare(topk, &entry, &topk->entries[0]) >= 0)
		return true;
	entry.item = topk_item_new(topk, &item, len - 2);
	topk_item_free(topk, topk->entries[0].item);
	topk_sift(topk, 0, entry);
	return true;
}

static int topk_compare_rows(const struct topk *topk, const struct topk_entry *a,
                             const struct topk_entry *b)
{
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return topk_compare_keys(topk, a->item, b->item);
}

/*
 * Every row that was discarded so far sorts behind the worst one that is held, or like it:
 * the worst one only ever gets better. That is remembered before rows are dropped.
 */
static void topk_raise_threshold(struct topk *topk)
{
	struct topk_entry *worst = &topk->entries[0];
	struct topk_item item;

	if (!topk->discarded || topk->capacity == 0)
		return;
	topk->discarded = false;
	if (topk->threshold.item) {
		if (topk_compare_rows(topk, &topk->threshold, worst) <= 0)
			return;
		topk_item_free(topk, topk->threshold.item);
	}
	item = *worst->item;
	topk->threshold.rank = worst->rank;
	topk->threshold.item =
	    topk_item_new(topk, &item, worst->item->size - sizeof(struct topk_item));
}

static void topk_clear_threshold(struct topk *topk)
{
	topk->discarded = false;
	if (topk->threshold.item)
		topk_item_free(topk, topk->threshold.item);
	topk->threshold.item = NULL;
}

void topk_drop(struct topk *topk, unsigned shard)
{
	uint64_t kept = 0;

	assert(!topk->finished);
	topk_raise_threshold(topk);
	if (shard == UINT_MAX)
		topk_clear_threshold(topk);
	for (uint64_t i = 0; i < topk->count; i++) {
		struct topk_entry entry = topk->entries[i];

		if (shard == UINT_MAX || entry.item->shard == shard)
			topk_item_free(topk, entry.item);
		else
			topk->entries[kept++] = entry;
	}
	/* Full still means that nothing went, and so that it is the heap that it
	 * was; otherwise topk_append() makes one when it is full again. */
	topk->count = kept;
}

bool topk_settled(const struct topk *topk)
{
	assert(!topk->finished);
	return !topk->threshold.item ||
	       (topk->count == topk->capacity &&
	        topk_compare_rows(topk, &topk->entries[0], &topk->threshold) <= 0);
}

static int topk_compare_qsort(const void *a, const void *b, void *topk)
{
	return topk_compare(topk, a, b);
}

uint64_t topk_finish(struct topk *topk)
{
	assert(!topk->finished);
	topk->finished = true;
	if (topk->count > 1)
		qsort_r(topk->entries, topk->count, sizeof(*topk->entries), topk_compare_qsort,
		        topk);
	return topk->count > topk->offset ? topk->count - topk->offset : 0;
}

void topk_row(const struct topk *topk, uint64_t i, const uint8_t **body, size_t *len)
{
	const struct topk_item *item;

	assert(topk->finished && i < topk->count && topk->count - i > topk->offset);
	item = topk->entries[topk->offset + i].item;
	*body = item->body;
	*len = item->visible_len;
}

bool topk_tied(const struct topk *topk, uint64_t i, uint64_t j)
{
	const struct topk_entry *a = &topk->entries[topk->offset + i];
	const struct topk_entry *b = &topk->entries[topk->offset + j];

	assert(topk->finished && topk->offset + i < topk->count && topk->offset + j < topk->count);
	return topk_compare_rows(topk, a, b) == 0;
}

size_t topk_bytes(const struct topk *topk)
{
	return topk->bytes + (size_t)topk->allocated * sizeof(*topk->entries);
}
