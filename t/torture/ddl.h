/*
 * DDL: a change of the tables by the superuser between two steps: the same one on the
 * sharded table, its shards and the whole one.
 */
#ifndef T_TORTURE_DDL_H
#define T_TORTURE_DDL_H

#include <libpq-fe.h>

#include "t/torture/world.h"

struct ddl {
	const char *name;
	const char *worker[2]; /* first there */
	const char *sharded;
	const char *plain;
	const char *leaf;  /* of the sharded table: its rows go, or come back */
	const char *table; /* from, or to, that one */
};

struct ddl *ddl_new(struct arena *arena, const struct world *world, struct dice *dice);
/* conns: the coordinator's sharded database, the plain one, the workers. */
void ddl_run(const struct ddl *ddl, PGconn *const conns[4]);

#endif
