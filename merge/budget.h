/*
 * Budget: how much each shard is asked for, so that the merged answer is right.
 *
 * limit + offset rows per shard make the merge exact; the rest is the index.
 * HNSW returns at most hnsw.ef_search rows of one scan and filters afterwards,
 * ivfflat looks into ivfflat.probes lists only. So ef_search is never below the
 * rows asked for (1000 is pgvector's cap) and iterative scans in relaxed order
 * go on where that is not enough: order within a shard does not matter, the
 * merge sorts. What the user has SET holds where it asks for more.
 * Source: pgvector's README, "Iterative Index Scans", "Query Options".
 */
#ifndef MERGE_BUDGET_H
#define MERGE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define BUDGET_EF_SEARCH_DEFAULT 40
#define BUDGET_EF_SEARCH_MAX 1000

struct budget_request {
	uint64_t limit;
	uint64_t offset;
	double overfetch;     /* pgtopk.overfetch, 1.0 to 100 */
	int ef_search;        /* hnsw.ef_search of the session, 0 if not set */
	int probes;           /* ivfflat.probes of the session, 0 if not set */
	bool iterative_scans; /* pgvector of every worker is 0.8.0 or later */
};

struct budget {
	uint64_t rows;        /* LIMIT of each shard's query */
	int ef_search;        /* hnsw.ef_search for it */
	int probes;           /* ivfflat.probes for it, 0: leave as it is */
	bool iterative_scans; /* hnsw and ivfflat: relaxed_order */
	bool capped;          /* rows > ef_search and no iterative scan: a shard may fall short */
};

/* False if limit + offset or rows do not fit in an int8: not to be routed. */
bool budget_make(const struct budget_request *request, struct budget *budget);

#endif
