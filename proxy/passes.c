/*
 * Passes: see passes.h.
 */
#include "proxy/passes.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static void *zeroed(size_t count, size_t size)
{
	void *memory = calloc(count ? count : 1, size);

	if (!memory)
		abort();
	return memory;
}

void passes_init(struct passes *passes, const struct shardmap *map,
                 const struct shardmap_table *table, uint64_t wanted)
{
	*passes = (struct passes){
	    .map = map,
	    .table = table,
	    .wanted = wanted,
	    .nasked = table->nshards,
	    .asked = zeroed(table->nshards, sizeof(*passes->asked)),
	    .shards = zeroed(table->nshards, sizeof(*passes->shards)),
	};
	for (unsigned i = 0; i < table->nshards; i++)
		passes->asked[i] = i;
}

void passes_fini(struct passes *passes)
{
	free(passes->asked);
	free(passes->shards);
	memset(passes, 0, sizeof(*passes));
}

void passes_skip_index(struct passes *passes, unsigned shard)
{
	struct pass_shard *at = &passes->shards[shard];

	assert(at->rows == 0);
	if (!at->exact)
		at->indexed_rows = UINT64_MAX; /* never asked: nothing was cut */
	at->exact = true;
}

void passes_row(struct passes *passes, unsigned shard)
{
	passes->shards[shard].rows++;
}

static bool is_short(const struct passes *passes, unsigned shard)
{
	const struct pass_shard *at = &passes->shards[shard];

	return !at->exact && at->rows < passes->wanted;
}

unsigned passes_short(const struct passes *passes)
{
	unsigned count = 0;

	for (unsigned i = 0; i < passes->table->nshards; i++)
		count += is_short(passes, i);
	return count;
}

bool passes_cut(const struct passes *passes)
{
	for (unsigned i = 0; i < passes->table->nshards; i++) {
		const struct pass_shard *at = &passes->shards[i];

		if (at->exact && at->rows > at->indexed_rows)
			return true;
	}
	return false;
}

/*
 * The coordinator reads all its own partitions in one snapshot, so a row that is moved from one
 * to another is there once: they are asked again together.
 */
static bool in_one_snapshot(const struct passes *passes, unsigned shard)
{
	return shardmap_provider(passes->map) == SHARDMAP_PARTITIONS &&
	       shardmap_node(passes->map, passes->table->shards[shard].node)->coordinator;
}

void passes_next(struct passes *passes, struct topk *topk)
{
	bool all = !topk_settled(topk), local = false;

	for (unsigned i = 0; i < passes->table->nshards; i++) {
		passes->shards[i].again = all || is_short(passes, i);
		local = local || (passes->shards[i].again && in_one_snapshot(passes, i));
	}
	if (all)
		topk_drop(topk, UINT_MAX);
	passes->nasked = 0;
	for (unsigned i = 0; i < passes->table->nshards; i++) {
		struct pass_shard *at = &passes->shards[i];
		bool was_short = is_short(passes, i);

		if (!at->again && !(local && in_one_snapshot(passes, i)))
			continue;
		if (!all)
			topk_drop(topk, i);
		if (was_short) {
			at->indexed_rows = at->rows;
			at->exact = true;
		}
		at->rows = 0;
		passes->asked[passes->nasked++] = i;
	}
}

uint64_t passes_rows(const struct passes *passes)
{
	uint64_t rows = 0;

	for (unsigned i = 0; i < passes->table->nshards; i++)
		rows += passes->shards[i].rows;
	return rows;
}

unsigned passes_exact(const struct passes *passes)
{
	unsigned count = 0;

	for (unsigned i = 0; i < passes->table->nshards; i++)
		count += passes->shards[i].exact;
	return count;
}
