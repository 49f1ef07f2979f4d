/*
 * Indexes: the vector indexes that a table's shards have, as their nodes tell, and
 * what of it is not as it should be: everything that makes one shard slower or its
 * answers worse than the others'. Knows no sockets.
 */
#ifndef PROXY_INDEXES_H
#define PROXY_INDEXES_H

#include <stdbool.h>

#include "parser/shardmap.h"

struct indexes;

/* One index of a shard. Strings are copied. */
struct indexes_row {
	const char *method;    /* hnsw, ivfflat */
	const char *column;    /* or expression */
	const char *predicate; /* "" if there is none; never shown, as there may be data in it */
	const char *opclass;
	const char *parameters; /* "m=16, ef_construction=64" */
	bool valid;
};

/* map and table must outlive it. */
struct indexes *indexes_new(const struct shardmap *map, const struct shardmap_table *table);
void indexes_free(struct indexes *indexes); /* NULL is allowed */

/* pgvector on the node of that shard, as worker_facts() has it. */
void indexes_set_version(struct indexes *indexes, unsigned shard, int version);
void indexes_add(struct indexes *indexes, unsigned shard, const struct indexes_row *row);

/* One call for each thing to be warned of, in an order that is always the same. */
void indexes_judge(const struct indexes *indexes, void (*warn)(void *owner, const char *text),
                   void *owner);

#endif
