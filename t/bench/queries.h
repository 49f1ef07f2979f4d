/*
 * Queries: a file of query vectors with the answers of exact search, made by
 * the program data for the program load. It is a cache in var/bench, in this
 * machine's byte order.
 *
 * An answer is right if it is as near as the k-th nearest row: the ids of such
 * rows are kept, k of them or, of rows that are as near as each other, more.
 */
#ifndef T_BENCH_QUERIES_H
#define T_BENCH_QUERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QUERIES_K = 10, QUERIES_ACCEPTED_MAX = 16, QUERIES_DIM_MAX = 2000 };

/* What is asked: SELECT id … [WHERE filter = $2] ORDER BY column operator $1 */
struct queries_kind {
	char column[32];
	char operator[8];
	char filter[32]; /* empty if all rows count */
	uint32_t dim;
};

struct query {
	uint32_t filter_value;
	uint32_t accepted_count;
	uint32_t accepted[QUERIES_ACCEPTED_MAX];
};

struct queries {
	struct queries_kind kind;
	uint32_t count;
	struct query *list;
	float *vectors; /* dim of each */
	size_t wire_len;
	char *wire; /* each vector in pgvector's binary form, wire_len bytes */
};

/* Both end the program with a sentence if the file can not be used. */
void queries_write(const struct queries *queries, const char *path);
void queries_read(struct queries *queries, const char *path);
void queries_free(struct queries *queries);

/* How many of these ids are right, at most QUERIES_K. */
unsigned queries_right(const struct query *query, const int64_t *ids, size_t count);

#endif
