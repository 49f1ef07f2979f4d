/*
 * SQL: the door to libpg_query, PostgreSQL's own parser as a library. Nobody
 * else includes its headers; its node types are the language of analyze,
 * expression and rewrite.
 *
 * Trees live in an arena and are never freed singly. They are plain data:
 * analyze and rewrite change them in place, after sql_copy().
 */
#ifndef PARSER_SQL_H
#define PARSER_SQL_H

#include <stdbool.h>
#include <stddef.h>

#include <pg_query/pg_query.pb-c.h>

#include "merge/arena.h"

/*
 * Could the tree of this text be so deep that walking it overruns the stack?
 * libpg_query and protobuf-c recurse without a limit, so nothing reaches them
 * unasked. Never false for a deep tree; true for some very long flat ones.
 */
bool sql_may_be_deep(const char *text, size_t len);

/* NULL if PostgreSQL's grammar does not accept the text, which must be known not
 * to be deep. */
PgQuery__ParseResult *sql_parse(const char *text, struct arena *arena);
/* NULL if libpg_query cannot write it. */
char *sql_deparse(const PgQuery__ParseResult *tree, struct arena *arena);
PgQuery__ParseResult *sql_copy(const PgQuery__ParseResult *tree, struct arena *arena);

/* The same, but for where in the text it stood. Two NULLs are equal. */
bool sql_equal(const ProtobufCMessage *a, const ProtobufCMessage *b);
bool sql_equal_nodes(const PgQuery__Node *a, const PgQuery__Node *b);

/*
 * Calls visit for the message and all below it, parents first; PgQuery__Node
 * is only a wrapper and left out. parent is NULL for the root.
 */
typedef void sql_visit_fn(void *context, const ProtobufCMessage *message,
                          const ProtobufCMessage *parent);
void sql_visit(const ProtobufCMessage *root, sql_visit_fn *visit, void *context);
const ProtobufCMessage *sql_node_message(const PgQuery__Node *node); /* NULL for an empty node */

/* What kind of message: SQL_IS(message, param_ref). */
#define SQL_IS(message, name) ((message)->descriptor == &pg_query__##name##__descriptor)
/* What kind of node, NULL is none: SQL_NODE_IS(node, COLUMN_REF). */
#define SQL_NODE_IS(node, NAME) ((node) != NULL && (node)->node_case == PG_QUERY__NODE__NODE_##NAME)

/* The text of a String node; NULL if it is another one. */
const char *sql_string(const PgQuery__Node *node);

/* New nodes, in the arena. Names are not copied. */
PgQuery__Node *sql_new_string(struct arena *arena, char *text);
PgQuery__Node *sql_new_column(struct arena *arena, char *relation, char *column);
PgQuery__Node *sql_new_target(struct arena *arena, PgQuery__Node *value, char *name);
PgQuery__Node *sql_new_integer(struct arena *arena, int value);

/* "name" where it must be quoted; always quoted if always is set. */
char *sql_quote(struct arena *arena, const char *name, bool always);

#endif
