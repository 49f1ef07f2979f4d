/*
 * World: a few random tables, sharded in one database and whole in another of the
 * same coordinator, which is the "one PostgreSQL" that answers are compared with.
 * All names are the same in both, so the same text is run in both.
 */
#ifndef T_TORTURE_WORLD_H
#define T_TORTURE_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "merge/arena.h"
#include "t/torture/dice.h"
#include "t/torture/value.h"

#define WORLD_DATABASE "torture"
#define WORLD_PLAIN "torture_plain"
#define WORLD_COLUMNS_MAX 16
#define WORLD_TABLES 2
#define WORLD_LEAVES_MAX 24
#define WORLD_ROWS_MAX 160
#define WORLD_MANY_ROWS 2500
/* Who may log in beside postgres. */
#define WORLD_USER "torture_user"
#define WORLD_ROLE "torture_role"

struct world_column {
	const char *name;
	const struct value_kind *kind; /* NULL: a vector */
	enum value_vector vector;
	unsigned dimensions;
	bool has_typmod;
	bool domain; /* over the vector's type */
	bool tame;   /* an index on it as a halfvec takes no large values */
	bool generated;
};

/* A partition that is a table of a worker's, or one of the coordinator's own. */
struct world_leaf {
	const char *name;   /* in the schema public, quoted */
	const char *parent; /* the table or a partition of it */
	const char *bound;
	int worker;         /* 0, 1; -1: the coordinator */
	const char *remote; /* "schema"."name" there */
};

struct world_table {
	const char *schema; /* "public" or another */
	const char *name;
	const char *full;  /* "schema"."name" */
	unsigned ncolumns; /* the first is id, the second part, the third a vector */
	struct world_column columns[WORLD_COLUMNS_MAX];
	unsigned rows;
	unsigned shards;
	bool indexed; /* a shard has a vector index: answers need not be exact */
	bool ivfflat; /* it is one that finds little */
	bool dropped; /* columns were dropped before there were partitions */
	bool local;   /* a partition may be the coordinator's own */
	bool renamed; /* columns have other names on some shards: not routed */
	bool citus;
	unsigned nleaves;
	struct world_leaf leaves[WORLD_LEAVES_MAX];
};

struct world {
	struct arena *arena;
	bool citus;
	unsigned ntables;
	struct world_table tables[WORLD_TABLES];
	/* what makes it: on the coordinator, on each worker, in the other database */
	const char *sharded_sql;
	const char *worker_sql[2];
	const char *plain_sql;
	const char *data_sql; /* in both databases */
	const char *empty_sql;
};

/* The two databases and their roles, without tables. Once per run. */
void world_prepare(void);
/* Makes one, in place of what was there; thinks it up first. */
void world_make(struct world *world, struct dice *dice, bool citus);
/* The same once more, with all that is in it. */
void world_build(const struct world *world);
/* The rows that it had at first. */
void world_refill(const struct world *world);
void world_free(struct world *world);

/* The length of the statement at the head of several, without its semicolon. */
size_t world_statement_length(const char *sql);

/* A column of a vector; one that is none. */
const struct world_column *world_vector(const struct world_table *table, struct dice *dice);
const struct world_column *world_column(const struct world_table *table, struct dice *dice);

#endif
