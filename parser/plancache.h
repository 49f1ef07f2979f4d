/*
 * Plan cache: what has been parsed and planned before, refusals included, so
 * that a repeated statement costs one look-up of its text and one of a few
 * words.
 *
 * Two maps in one bound: text -> query or refusal; (query, database, table,
 * map generation) -> plan or refusal. The least recently used entry of either
 * goes first. What was given out is counted and outlives its entry.
 */
#ifndef PARSER_PLANCACHE_H
#define PARSER_PLANCACHE_H

#include <stddef.h>
#include <stdint.h>

#include "parser/plan.h"

struct plancache;

struct plancache_stats {
	size_t entries;
	size_t bytes;
	uint64_t hits;
	uint64_t misses;
	uint64_t evictions;
};

/* An entry larger than an eighth of max_bytes is not kept; 0 entries: nothing is. */
struct plancache *plancache_new(size_t max_entries, size_t max_bytes);
void plancache_free(struct plancache *cache); /* NULL is allowed */

/* As query_parse(); *query is the caller's reference. */
enum refusal plancache_query(struct plancache *cache, const char *sql, size_t len,
                             struct query **query);

/*
 * As plan_new(); *plan is the caller's reference. A repeated statement hits if
 * its query came from plancache_query(). database is any number that tells the
 * databases apart whose maps count their generations independently.
 */
enum refusal plancache_plan(struct plancache *cache, struct query *query, uint32_t database,
                            const struct shardmap *map, const struct shardmap_table *table,
                            struct plan **plan);

/* Plans of a map that is gone would only wait to be evicted. */
void plancache_forget(struct plancache *cache, uint32_t database);

struct plancache_stats plancache_stats(const struct plancache *cache);

#endif
