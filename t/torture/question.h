/*
 * Question: a random SELECT, kept in its clauses, so that what fails can be
 * made shorter, and so that its complete answer can be asked for as well: all rows,
 * each with its rank, by which any LIMIT and any choice among ties is judged.
 */
#ifndef T_TORTURE_QUESTION_H
#define T_TORTURE_QUESTION_H

#include <stdbool.h>
#include <stdint.h>

#include "t/torture/world.h"

#define QUESTION_TARGETS_MAX 8
#define QUESTION_CONDITIONS_MAX 4
#define QUESTION_KEYS_MAX 4
#define QUESTION_PARAMETERS_MAX 12
#define QUESTION_TAGS_MAX 24
/* As a parameter's type: that of pgvector, whose OID is another in each database. */
#define QUESTION_VECTOR_TYPE(kind) (UINT32_C(0xffff0000) + (kind))

struct question_key {
	const char *raw;   /* over columns of the table */
	const char *shown; /* as written: an alias, a position */
	const char *order;
};

struct question_parameter {
	uint32_t type;         /* as declared; 0: not */
	uint32_t certain;      /* its type where nothing else tells: in LIMIT */
	const char *text;      /* NULL: NULL */
	const uint8_t *binary; /* NULL: sent as text */
	unsigned binary_len;
};

struct question {
	struct arena *arena;
	const struct world_table *table;
	const char *prefix, *suffix; /* around it */
	bool other_shape;            /* they make it something else than a plain SELECT */
	const char *from;
	const char *relation; /* for qualified columns */
	unsigned ntargets;
	const char *targets[QUESTION_TARGETS_MAX];
	const char *names[QUESTION_TARGETS_MAX]; /* aliases; may be NULL */
	unsigned nconditions;
	const char *conditions[QUESTION_CONDITIONS_MAX];
	const char *joint; /* " AND " or " OR " */
	unsigned nkeys;
	struct question_key keys[QUESTION_KEYS_MAX];
	const char *limit; /* with its OFFSET */
	bool with_parameters;
	unsigned nparameters;
	struct question_parameter parameters[QUESTION_PARAMETERS_MAX];
	unsigned ntags;
	const char *tags[QUESTION_TAGS_MAX]; /* what coverage.h is to count it as */
};

struct question *question_new(struct arena *arena, const struct world *world, struct dice *dice,
                              bool with_parameters);
/* One that nothing but the state of the table is in the way of. */
struct question *question_plain(struct arena *arena, const struct world_table *table,
                                struct dice *dice);
const char *question_sql(const struct question *question);
bool question_uses_parameters(const struct question *question);
/* All rows, rank last; NULL: the shape has none. */
const char *question_all_sql(const struct question *question);

/* Text that lasts or is of an arena that does; the same one twice is one. */
void question_tag(struct question *question, const char *tag);

/* ---- for question.c's other half, clause.c ---- */

/* A distance; *column is the one that it is of. */
const char *clause_distance(struct question *question, struct dice *dice);
const char *clause_target(struct question *question, struct dice *dice);
const char *clause_condition(struct question *question, struct dice *dice);
const char *clause_limit(struct question *question, struct dice *dice);
/* A column as it may be written. */
const char *clause_column(struct question *question, struct dice *dice,
                          const struct world_column *column);

#endif
