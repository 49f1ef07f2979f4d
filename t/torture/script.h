/*
 * Script: what one session (or two, in turn) does: steps, each of which is sent at
 * once and answered before the next. A step is a Query or a pipeline of extended
 * calls that ends with a Sync.
 */
#ifndef T_TORTURE_SCRIPT_H
#define T_TORTURE_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "proxy/iobuf.h"
#include "t/torture/question.h"

#define SCRIPT_STEPS_MAX 24
#define SCRIPT_CALLS_MAX 4
#define SCRIPT_FORMATS_MAX 64

struct ddl;

struct script_call {
	struct question *question; /* NULL: sql as it is */
	const char *sql;
	const char *statement; /* "" or a name */
	const char *portal;
	bool parse;
	bool describe_statement, describe_portal;
	uint32_t max_rows; /* 0: all */
	bool again;        /* a second Execute for the rest */
	bool close;
	bool flush;
	int format; /* of results: 0, 1, 2: mixed */
	bool sync;  /* one more Sync in the middle */
};

struct script_step {
	unsigned who; /* 0 or 1: which session */
	bool simple;
	bool admin;            /* the superuser does it, on a connection of its own */
	const struct ddl *ddl; /* is that what it does? */
	bool skip;             /* taken out while shrinking */
	unsigned ncalls;
	struct script_call calls[SCRIPT_CALLS_MAX];
};

struct script {
	struct arena *arena;
	const struct world *world;
	const char *user;
	const char *options; /* of the startup; may be NULL */
	bool own_start;      /* a session that has begun before is not like it */
	const char *before;  /* run by the superuser first, in both databases; may be NULL */
	const char *after;
	bool ddl;    /* the tables are not the same afterwards */
	bool writes; /* rows are not the same afterwards, or are not while it runs */
	unsigned nsteps;
	struct script_step steps[SCRIPT_STEPS_MAX];
};

/* ddl: the tables may be changed. */
struct script *script_new(struct arena *arena, const struct world *world, struct dice *dice,
                          bool ddl);

/* The messages of a step, and how many ReadyForQuery answer them; vectors: OIDs of pgvector's types
 * there. */
unsigned script_put(struct iobuf *out, const struct script_step *step, const uint32_t *vectors);
/* Asks for all rows of a question with the call's formats: Parse, Bind, Execute, Sync. So many
 * columns had its answer. */
void script_put_all(struct iobuf *out, const struct script_call *call, const char *sql,
                    const uint32_t *vectors, unsigned columns);
/* For people: what the step does. */
void script_print(FILE *to, const struct script *script);

#endif
