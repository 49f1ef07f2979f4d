/*
 * Analyze: what does the statement ask? Two steps, as in plan.h:
 *   analyze_shape()  what can be said without the shard map: clauses, FROM,
 *                    LIMIT and OFFSET;
 *   analyze()        names, targets, WHERE and sort keys against one table.
 * Each gives its result or the reason to refuse.
 */
#ifndef PARSER_ANALYZE_H
#define PARSER_ANALYZE_H

#include <stdbool.h>

#include "parser/names.h"
#include "parser/plan.h"
#include "parser/refusal.h"
#include "parser/shardmap.h"
#include "parser/sql.h"

struct shape {
	PgQuery__SelectStmt *select; /* within the tree */
	PgQuery__RangeVar *table;
	struct plan_count limit;
	struct plan_count offset;
};

/*
 * The statement taken apart. The tree is changed in place: columns are
 * qualified, * is expanded, each sort key is the expression that it stands for
 * (nodes are shared between the target list and the sort clause).
 */
struct question {
	struct shape shape;
	PgQuery__ParseResult *tree;
	char *relation; /* what columns are qualified by */
	unsigned nkeys;
	PgQuery__Node **key_values;
	struct plan_key *keys;
	const char *distance;
	unsigned nparameters;
	struct names names; /* that it uses */
	const struct shardmap *map;
	bool recast; /* it casts to a type in a way that users have changed */
};

enum refusal analyze_shape(PgQuery__ParseResult *tree, struct shape *shape);

/* Everything is in the arena or belongs to the table, which must outlive it. */
enum refusal analyze(PgQuery__ParseResult *tree, const struct shardmap *map,
                     const struct shardmap_table *table, struct arena *arena,
                     struct question *question);

#endif
