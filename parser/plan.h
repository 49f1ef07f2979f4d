/*
 * Plan: what a top-K statement asks, in the form the proxy executes. The door
 * of parser/.
 *
 * Two steps, because the table's name can only be resolved by the session that
 * sent the statement (search_path, temporary tables):
 *   query_parse()  text -> syntax; says which table, or refuses;
 *   plan_new()     syntax + the table's entry of the shard map -> plan, or refuses.
 * Both refuse everything that is not provably the same on the shards. No
 * sockets, no clock. A query and a plan are immutable once made; both are
 * counted, so that caches and running queries can share them.
 */
#ifndef PARSER_PLAN_H
#define PARSER_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "merge/arena.h"
#include "parser/names.h"
#include "parser/refusal.h"
#include "parser/shardmap.h"

struct query;

/*
 * Parses one statement (not NUL-terminated). On REFUSAL_none *query is the
 * caller's reference; otherwise it is NULL.
 */
enum refusal query_parse(const char *sql, size_t len, struct query **query);
struct query *query_ref(struct query *query);
void query_unref(struct query *query); /* NULL is allowed */

/* The table as written, quoted for to_regclass(): items, public."Items". */
const char *query_table(const struct query *query);
size_t query_size(const struct query *query); /* bytes of memory, for caches */

/* LIMIT or OFFSET. */
enum plan_count_kind {
	PLAN_COUNT_NONE, /* no such clause */
	PLAN_COUNT_CONSTANT,
	PLAN_COUNT_PARAMETER,
};

struct plan_count {
	enum plan_count_kind kind;
	int64_t value;      /* of the constant, >= 0 */
	unsigned parameter; /* n of $n, 1-based */
	int64_t maximum;    /* of the parameter, as its cast has it: beyond it the cast fails */
};

/* One ORDER BY item; its value is hidden column number i, after the visible ones. */
struct plan_key {
	bool descending;
	bool nulls_first; /* explicit, or DESC's default */
};

struct plan {
	/* The statement with the hidden key columns appended to its target list,
	 * for the coordinator to describe: parameters' types, the visible columns,
	 * then one column per key. */
	const char *describe_sql;
	struct plan_count limit; /* never PLAN_COUNT_NONE */
	struct plan_count offset;
	unsigned nkeys; /* at least 1; key 0 is the distance (float8) */
	const struct plan_key *keys;
	unsigned nparameters; /* highest $n in the text */
	bool filtered;        /* there is a WHERE clause */
	const char *distance; /* the operator: "<->" */
	struct names names;   /* of functions, operators and types that are looked up by name */
};

/* REFUSAL_none: *plan is the caller's reference. `table` must be map's. */
enum refusal plan_new(const struct query *query, const struct shardmap *map,
                      const struct shardmap_table *table, struct plan **plan);
struct plan *plan_ref(struct plan *plan);
void plan_unref(struct plan *plan);        /* NULL is allowed */
size_t plan_size(const struct plan *plan); /* bytes of memory, for caches */

/*
 * The text for one shard: visible columns, then every key as a hidden column;
 * schema.shard in the logical table's place under its alias; ORDER BY; LIMIT
 * rows as a literal, no OFFSET. Appends to buf (a growing malloc'ed buffer);
 * the parameters keep their numbers.
 */
struct plan_text {
	char *data; /* NUL-terminated */
	size_t len;
	size_t cap;
};
void plan_shard_sql(const struct plan *plan, const struct shardmap_shard *shard, uint64_t rows,
                    struct plan_text *text);
void plan_text_fini(struct plan_text *text);

/* What stands after ORDER BY, for people to read; in the arena. */
const char *plan_sort_keys(const struct plan *plan, struct arena *arena);

#endif
