/*
 * Value: types of columns and random values of them, few per type, so that ties
 * are many. Each value is one that the type's borders make interesting.
 */
#ifndef T_TORTURE_VALUE_H
#define T_TORTURE_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "merge/arena.h"
#include "t/torture/dice.h"

enum value_family {
	VALUE_NUMBER,
	VALUE_TEXT,
	VALUE_TIME,
	VALUE_JSON,
	VALUE_ARRAY,
	VALUE_RANGE,
	VALUE_OTHER,
};

struct value_kind {
	const char *column; /* as in CREATE TABLE */
	const char *type;   /* for casts */
	uint32_t oid;       /* 0: it is not the same everywhere */
	enum value_family family;
	bool ordered;           /* has a btree order */
	const char *values[12]; /* texts; ends with NULL */
};

/* What must be there before the first table: types of users. */
extern const char value_types_sql[];
extern const char value_drop_sql[];

const struct value_kind *value_kind(struct dice *dice);
/* Is it a further sort key that pgtopk compares, or one that is the coordinator's? */
bool value_is_key(const struct value_kind *kind);
/* Can a statement that shows it be routed? */
bool value_is_shown(const struct value_kind *kind);
/* A text of that kind; NULL for a NULL, if those are wanted. */
const char *value_text(struct dice *dice, const struct value_kind *kind, bool nulls);
/* As an SQL literal: 'it''s', or NULL. */
const char *value_literal(struct arena *arena, const char *text);
/* "a ""name""" */
const char *value_name(struct arena *arena, const char *name);

/* ---- vectors ---- */

enum value_vector { VALUE_VECTOR, VALUE_HALFVEC, VALUE_SPARSEVEC, VALUE_BIT, VALUE_VECTORS };

struct value_vector_kind {
	const char *type;
	unsigned ndistances;
	const char *distances[4];
	const char *hnsw[4]; /* the operator class of each; NULL: none */
	const char *ivfflat[4];
};

extern const struct value_vector_kind value_vectors[VALUE_VECTORS];

/* Text of a vector. wild: also zero and such as overflow a distance. */
const char *value_vector(struct dice *dice, struct arena *arena, enum value_vector kind,
                         unsigned dimensions, bool wild);
/* The same as a binary parameter (binary.c); NULL: it is no such vector. */
const uint8_t *value_vector_binary(struct arena *arena, enum value_vector kind, const char *text,
                                   unsigned *len);

#endif
