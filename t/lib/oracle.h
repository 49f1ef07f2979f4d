/*
 * Oracle: the same SQL through pgtopk and where the answer is known to be right,
 * compared byte for byte.
 *
 * Rows come from an ordinary table that holds all rows and is searched exactly
 * (schema plain; its connection has it first in the search path). What only the
 * coordinator knows (OIDs of the sharded table, errors) comes from the coordinator
 * asked directly. And each statement must have gone the way the test expects,
 * which pgtopk's log tells: an answer by the coordinator alone proves nothing.
 */
#ifndef T_LIB_ORACLE_H
#define T_LIB_ORACLE_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "t/lib/instance.h"

struct oracle {
	struct instance *instance;
	PGconn *proxy;  /* through pgtopk */
	PGconn *direct; /* the coordinator, sharded table */
	PGconn *plain;  /* the coordinator, ordinary table */
	struct instance own;
	bool no_rows; /* do not compare rows: ties, or an index that is not exact */
};

/* A statement with parameters: the extended protocol. */
struct oracle_call {
	const char *sql;
	int nvalues;
	const Oid *types;
	const char *const *values;
	const int *lengths;
	const int *formats;
	int result_format;
};

/* With the program's shared instance, or with one of its own, that knows no shard map yet. */
void oracle_open(struct oracle *oracle);
void oracle_open_fresh(struct oracle *oracle);
void oracle_close(struct oracle *oracle);
/* Something to do on all three connections first: SET. */
void oracle_set(struct oracle *oracle, const char *sql);

/* Simple protocol. event as in instance_expect(). Returns the routed line of the log. */
const char *oracle_check(struct oracle *oracle, const char *sql, const char *event);
static inline const char *oracle_routed(struct oracle *oracle, const char *sql)
{
	return oracle_check(oracle, sql, "routed");
}

const char *oracle_check_call(struct oracle *oracle, const struct oracle_call *call,
                              const char *event);
/* Text parameters; NULL ends them. */
const char *oracle_routed_with(struct oracle *oracle, const char *sql, ...)
    __attribute__((sentinel));

/*
 * Among rows as near as the last one, any may be in the answer: the first column
 * (the distance) must be the same in every row, and all rows must be different and
 * be in the answer to `all`, the same statement with no LIMIT.
 */
void oracle_tied(struct oracle *oracle, const char *sql, const char *all);

/* What differs between two results, as text(); NULL if nothing. */
const char *oracle_difference(const PGresult *got, const PGresult *wanted);

#endif
