/*
 * Expression: is it one whose value is the same on every shard as on the
 * coordinator? A list of what is allowed; everything else is refused.
 *
 * Checking also normalises, in place: every column is qualified by the name
 * under which the table stands in FROM. Moved into ORDER BY such a column
 * cannot be mistaken for an output column of the same name.
 */
#ifndef PARSER_EXPRESSION_H
#define PARSER_EXPRESSION_H

#include <stdbool.h>

#include "parser/refusal.h"
#include "parser/shardmap.h"
#include "parser/sql.h"

struct expression_scope {
	struct arena *arena;
	const struct shardmap *map;
	const struct shardmap_table *table;
	char *relation;    /* the alias, or the table's name */
	bool has_alias;    /* then schema.table.column is not allowed */
	bool returned;     /* the value goes to the client: no columns of foreign types */
	unsigned ncolumns; /* columns seen, counted up */
};

enum refusal expression_check(struct expression_scope *scope, PgQuery__Node *node);

/* Is this the name of the table itself, in t.x or s.t.x (count names)? */
bool expression_is_relation(const struct expression_scope *scope, PgQuery__Node *const *names,
                            size_t count);

/* The column that a checked node is; NULL if it is none. */
const struct shardmap_column *expression_column(const struct expression_scope *scope,
                                                const PgQuery__Node *node);

/*
 * Checks a vector distance: an operator of pgvector, of which at least one
 * operand is by syntax alone known to be of a type that has it. Gives the
 * operator's name. REFUSAL_order_by if it is something else.
 */
enum refusal expression_check_distance(struct expression_scope *scope, PgQuery__Node *node,
                                       const char **operator_name);

#endif
