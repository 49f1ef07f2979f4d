/*
 * Likeness: see likeness.h. Rows are matched by their visible bytes; of several that
 * look the same the nearest first.
 */
#include "proxy/likeness.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/wire.h"

#define PRIME 0x9e3779b97f4a7c15u
#define UNMATCHED UINT64_MAX

/* ---- hashing ---- */

void likeness_hash_start(struct likeness_hash *hash)
{
	*hash = (struct likeness_hash){.value = PRIME};
}

static uint64_t mix(uint64_t value, uint64_t word)
{
	value = (value ^ word) * PRIME;
	return value ^ value >> 29;
}

void likeness_hash_add(struct likeness_hash *hash, const uint8_t *data, size_t len)
{
	while (len > 0) {
		if (hash->bytes == 0 && len >= sizeof(hash->word)) {
			memcpy(&hash->word, data, sizeof(hash->word));
			hash->value = mix(hash->value, hash->word);
			hash->word = 0;
			data += sizeof(hash->word);
			len -= sizeof(hash->word);
			continue;
		}
		memcpy((uint8_t *)&hash->word + hash->bytes, data, 1);
		data++;
		len--;
		if (++hash->bytes == sizeof(hash->word)) {
			hash->value = mix(hash->value, hash->word);
			hash->bytes = 0;
			hash->word = 0;
		}
	}
}

uint64_t likeness_hash_end(const struct likeness_hash *hash)
{
	return mix(mix(hash->value, hash->word), hash->bytes);
}

/* As the DataRow message that answer.c would make of it. */
static uint64_t hash_row(const struct topk *topk, uint64_t i, unsigned visible)
{
	struct likeness_hash hash;
	struct iobuf head;
	const uint8_t *body;
	uint64_t value;
	size_t len;

	topk_row(topk, i, &body, &len);
	iobuf_init(&head);
	wire_put_u8(&head, WIRE_BE_DataRow);
	wire_put_u32(&head, (uint32_t)(4 + 2 + len));
	wire_put_u16(&head, (uint16_t)visible);
	likeness_hash_start(&hash);
	likeness_hash_add(&hash, iobuf_head(&head), iobuf_len(&head));
	likeness_hash_add(&hash, body, len);
	value = likeness_hash_end(&hash);
	iobuf_fini(&head);
	return value;
}

/* ---- matching ---- */

struct candidate {
	uint64_t hash;
	uint64_t rank;
	bool taken;
};

static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static struct candidate *sorted_candidates(const struct topk *topk, uint64_t count,
                                           unsigned visible)
{
	struct candidate *candidates = calloc(count ? count : 1, sizeof(*candidates));

	if (!candidates)
		abort();
	for (uint64_t i = 0; i < count; i++) {
		candidates[i].hash = hash_row(topk, i, visible);
		candidates[i].rank = i;
	}
	qsort(candidates, count, sizeof(*candidates), compare_candidates);
	return candidates;
}

/* The rank of the nearest such row that is not taken yet, and takes it. */
static uint64_t take(struct candidate *candidates, uint64_t count, uint64_t hash)
{
	uint64_t low = 0, high = count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (candidates[middle].hash < hash)
			low = middle + 1;
		else
			high = middle;
	}
	while (low < count && candidates[low].hash == hash && candidates[low].taken)
		low++;
	if (low == count || candidates[low].hash != hash)
		return UNMATCHED;
	candidates[low].taken = true;
	return candidates[low].rank;
}

/* Every row that the coordinator has not is as near as the last one, and so is the next. */
static bool only_ties_differ(const struct topk *topk, const struct candidate *candidates,
                             uint64_t count, uint64_t available)
{
	if (available <= count || count == 0 || !topk_tied(topk, count - 1, count))
		return false;
	for (uint64_t i = 0; i < count; i++)
		if (!candidates[i].taken && !topk_tied(topk, candidates[i].rank, count))
			return false;
	return true;
}

struct likeness likeness_of(const uint64_t *rows, uint64_t count, const struct topk *topk,
                            uint64_t available, uint64_t limit, unsigned visible)
{
	uint64_t routed = available < limit ? available : limit, farthest = 0;
	struct candidate *candidates = sorted_candidates(topk, routed, visible);
	struct likeness likeness = {.rows = count, .routed = routed};

	for (uint64_t i = 0; i < count; i++) {
		uint64_t rank = take(candidates, routed, rows[i]);

		if (rank == UNMATCHED)
			continue;
		likeness.common++;
		if (rank < farthest && !topk_tied(topk, rank, farthest))
			likeness.misordered++;
		if (rank > farthest)
			farthest = rank;
	}
	likeness.missing = count - likeness.common;
	likeness.extra = routed - likeness.common;
	likeness.same =
	    likeness.misordered == 0 && likeness.missing == likeness.extra &&
	    (likeness.extra == 0 || only_ties_differ(topk, candidates, routed, available));
	free(candidates);
	return likeness;
}
