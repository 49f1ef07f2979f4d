/*
 * Likeness: how much two answers to one top-K query are alike: the coordinator's, of
 * which only a hash of each row is kept, and a merged one. Knows no sockets.
 */
#ifndef PROXY_LIKENESS_H
#define PROXY_LIKENESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "merge/topk.h"

/* Of a row's bytes, which may come in pieces; not for enemies. */
struct likeness_hash {
	uint64_t value;
	uint64_t word;
	unsigned bytes; /* in the word */
};
void likeness_hash_start(struct likeness_hash *hash);
void likeness_hash_add(struct likeness_hash *hash, const uint8_t *data, size_t len);
uint64_t likeness_hash_end(const struct likeness_hash *hash);

struct likeness {
	uint64_t rows, routed; /* of the coordinator's and the merged answer */
	uint64_t common;
	uint64_t missing;    /* rows of the coordinator's answer that the merged one has not */
	uint64_t extra;      /* ... the other way round */
	uint64_t misordered; /* common rows that the coordinator gave behind a farther one */
	/* Nothing differs, but for which of the rows as near as the last one are there. */
	bool same;
};

/*
 * rows: the hashes of DataRow messages, `count` of them, in the coordinator's order. topk:
 * finished, of limit + 1 rows, so that a tie at the last rank can be told; `available` of them
 * are there.
 */
struct likeness likeness_of(const uint64_t *rows, uint64_t count, const struct topk *topk,
                            uint64_t available, uint64_t limit, unsigned visible);

#endif
