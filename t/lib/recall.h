/*
 * Recall: pgtopk's answers to the same queries as the coordinator's own, both counted
 * against exact search in a plain table of the same rows. It knows nothing of what
 * the vectors are.
 *
 * A row counts if it is as near as the k-th nearest, by its distance as the server has
 * computed it, so that of several rows as near as each other any will do.
 */
#ifndef T_LIB_RECALL_H
#define T_LIB_RECALL_H

#include "t/lib/instance.h"

/* One kind of query, asked with many vectors. */
struct recall_kind {
	const char *name;     /* what is printed */
	const char *table;    /* sharded */
	const char *plain;    /* the same rows on the coordinator, without an index */
	const char *distance; /* "embedding <->"; the vector follows */
	/* The filter: this column is the query's number modulo so many; NULL: none. */
	const char *column;
	unsigned modulus;
	unsigned k;
	unsigned queries;
	/* A setting of both sides, by which an index can be made to miss rows; or NULL. */
	const char *setting, *value;
	bool configured; /* the workers', by their configuration: pgtopk's client does not set it */
	/* The query's vector as text, valid until the next call. */
	const char *(*vector)(const void *owner, unsigned query);
	const void *owner;
};

struct recall {
	unsigned found, wanted, rows;
};

struct recall_pair {
	struct recall proxy, direct;
	unsigned worse; /* queries for which the coordinator has found more */
};

/* Asks both (so little data is sorted where the index is not preferred by settings:
 * here it is). Every query must be routed. Prints what was found. */
void recall_measure(const struct recall_kind *kind, struct recall_pair *pair);
/* recall_measure(), then: as many rows as there are, and at least so much recall. */
void recall_expect(const struct recall_kind *kind, double least);

#endif
