/*
 * Signature: is what a foreign partition names over there what the coordinator takes it
 * for? A view, a policy on rows, or a column of another type or collation would make
 * the shard answer another question than the coordinator asks it. Each node is asked
 * once per map and table, in the same pipeline as the first query; until the map is
 * loaded anew (a minute) the answer holds. Citus keeps its shards alike itself.
 */
#ifndef PROXY_SIGNATURE_H
#define PROXY_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parser/shardmap.h"
#include "proxy/worker.h"

#define SIGNATURE_QUERY (WORKER_NO_QUERY - 1) /* the question's id */

/*
 * SQL of a text[]: what the columns of a relation, and the texts in its database, are.
 * pgvector's typmods say nothing about an answer.
 */
#define SIGNATURE_SQL(relation)                                                                    \
	"(ARRAY(SELECT pg_catalog.concat_ws(' ', a.attname, t.typname, CASE WHEN t.typname"        \
	" OPERATOR(pg_catalog.=) ANY (ARRAY['vector', 'halfvec', 'sparsevec']::pg_catalog.name[])" \
	" THEN NULL ELSE a.atttypmod END, co.collname, co.collprovider, co.collisdeterministic)"   \
	" FROM pg_catalog.pg_attribute a"                                                          \
	" JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid"                    \
	" LEFT JOIN pg_catalog.pg_collation co ON co.oid OPERATOR(pg_catalog.=) a.attcollation"    \
	" WHERE a.attrelid OPERATOR(pg_catalog.=) " relation " AND NOT a.attisdropped"             \
	" AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2)"                                 \
	" OPERATOR(pg_catalog.||) (SELECT pg_catalog.concat_ws(' ', 'database', d.encoding,"       \
	" d.datcollate, d.datctype) FROM pg_catalog.pg_database d"                                 \
	" WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()))"

struct signatures;

struct signatures *signatures_new(void);
void signatures_free(struct signatures *signatures);

/* The table of that map, of the catalog of that number, is not to be routed. */
bool signatures_unlike(const struct signatures *signatures, uint32_t catalog,
                       const struct shardmap *map, const struct shardmap_table *table);
/* The node must be asked. */
bool signatures_unknown(const struct signatures *signatures, uint32_t catalog,
                        const struct shardmap *map, const struct shardmap_table *table,
                        unsigned node);
/* What it has answered: one DataRow. Returns whether all of its shards are alike. */
bool signatures_learn(struct signatures *signatures, uint32_t catalog, const struct shardmap *map,
                      const struct shardmap_table *table, unsigned node, const uint8_t *body,
                      size_t len);

/* Queues the question about all shards of the table on the worker's node. */
void signature_ask(struct worker *worker, const struct shardmap_table *table, unsigned node);

#endif
