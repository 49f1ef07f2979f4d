/*
 * Passes: which shards a scatter asks, in which way, and whether what they gave is
 * enough. The first pass asks all of them by their index. A shard that gives fewer
 * rows than it was asked for has no more, or its index scan ended early: by a cap of
 * pgvector's, or because NULL and zero vectors are in no index. These look alike,
 * so it is asked again without its index, and that answer is the whole truth.
 * Knows no connections.
 */
#ifndef PROXY_PASSES_H
#define PROXY_PASSES_H

#include <stdbool.h>
#include <stdint.h>

#include "merge/topk.h"
#include "parser/shardmap.h"

struct pass_shard {
	bool exact; /* asked without its index, in this pass or the one before */
	bool again; /* in the next pass */
	uint64_t rows;
	uint64_t indexed_rows; /* exact: what it gave before, by its index */
};

struct passes {
	const struct shardmap *map;
	const struct shardmap_table *table;
	uint64_t wanted;
	unsigned nasked;
	unsigned *asked; /* shards of this pass, ascending, as they are sorted by node */
	struct pass_shard *shards;
};

/* The first pass. Map and table must outlive it. */
void passes_init(struct passes *passes, const struct shardmap *map,
                 const struct shardmap_table *table, uint64_t wanted);
void passes_fini(struct passes *passes);

/* This shard's index would give too few rows for certain: it is asked exactly at once. */
void passes_skip_index(struct passes *passes, unsigned shard);
/* A row of that shard has come. */
void passes_row(struct passes *passes, unsigned shard);

/* After a pass: how many shards gave a short answer by their index. */
unsigned passes_short(const struct passes *passes);
/* After a second pass: an exact answer had more rows than the index, which was cut short. */
bool passes_cut(const struct passes *passes);
/*
 * Makes the next pass, after passes_short() or, if the merge is not settled, of all shards;
 * rows of shards that are asked again are dropped.
 */
void passes_next(struct passes *passes, struct topk *topk);

uint64_t passes_rows(const struct passes *passes); /* that the shards gave, each in its last pass */
unsigned passes_exact(const struct passes *passes); /* shards asked without their index */

#endif
