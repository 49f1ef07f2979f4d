/*
 * Top-K: rows of many shards in, the global top-K out. The door of merge/.
 *
 * Never trusts the order within a shard: every row is compared by the value of
 * its own keys. Keeps at most offset + limit rows (a bounded heap), each copied
 * when it enters and freed when a better one pushes it out, so memory is
 * proportional to the answer and not to what the shards sent. Ties are broken
 * by shard number and arrival, so equal input gives equal output.
 */
#ifndef MERGE_TOPK_H
#define MERGE_TOPK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "merge/order.h"

struct topk;

struct topk_spec {
	const struct order_key *keys; /* copied */
	unsigned nkeys;               /* at least 1 */
	unsigned visible; /* fields the client sees; the keys are the fields after them */
	uint64_t limit;   /* rows to deliver at most */
	uint64_t offset;  /* rows to skip; limit + offset must not overflow */
};

struct topk *topk_new(const struct topk_spec *spec);
void topk_free(struct topk *topk); /* NULL is allowed */

/*
 * Offers one DataRow body of shard number `shard`. False if the row is
 * malformed: wrong number of fields or a key that is not of its type's length.
 */
bool topk_add(struct topk *topk, unsigned shard, const uint8_t *body, size_t len);

/*
 * Forgets every row of one shard that is asked again, or of all (UINT_MAX). Rows that
 * one shard's have kept out or pushed out are not here any more; the shard's next
 * answer must be good enough to keep them out as well, which topk_settled() tells.
 */
void topk_drop(struct topk *topk, unsigned shard);

/*
 * No row that is not here any more because of a dropped one belongs into the answer.
 * False: all shards must be dropped and asked again. Before topk_finish().
 */
bool topk_settled(const struct topk *topk);

/* Sorts; after this no row can be added. Returns how many rows can be taken. */
uint64_t topk_finish(struct topk *topk);

/*
 * Row number i (0-based, i < topk_finish()) of the answer, offset already cut:
 * *body points at the visible fields' bytes (without the Int16 count), *len
 * their number. Valid until topk_free().
 */
void topk_row(const struct topk *topk, uint64_t i, const uint8_t **body, size_t *len);

/* Do rows number i and j of the answer sort alike? */
bool topk_tied(const struct topk *topk, uint64_t i, uint64_t j);

/* Bytes held for rows now, for limits and metrics. */
size_t topk_bytes(const struct topk *topk);

#endif
