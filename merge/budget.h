/*
 * Budget: how much each shard is asked for, so that the merged answer is right.
 *
 * limit + offset rows per shard make the merge exact; the rest is the index.
 * HNSW returns at most hnsw.ef_search rows of one scan and filters afterwards,
 * ivfflat looks into ivfflat.probes lists only. So ef_search is never below the
 * rows asked for (1000 is pgvector's cap) and iterative scans in relaxed order
 * go on where that is not enough: order within a shard does not matter, the
 * merge sorts. What the user has SET holds where it asks for more.
 *
 * An iterative scan ends at the last row it was asked for, and nearer ones that match
 * the filter may not have been met by then: of 50,000 words in a shard 10 % match, and
 * recall@10 is 0.92 for 10 rows of each of two shards, 0.99 for 50. Where there are
 * many shards, each has but few of the answer's rows and is asked for enough anyway. So
 * with a filter all shards together are asked for BUDGET_FILTERED times the rows.
 * Source: pgvector's README, "Iterative Index Scans", "Query Options".
 */
#ifndef MERGE_BUDGET_H
#define MERGE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define BUDGET_EF_SEARCH_DEFAULT 40
#define BUDGET_EF_SEARCH_MAX 1000
#define BUDGET_FILTERED 10         /* times the rows, with a filter, from all shards */
#define BUDGET_FILTERED_LEAST 10   /* of fewer rows: as if it were so many */
#define BUDGET_FILTERED_EXTRA 2000 /* rows that this adds at most, to each shard */

struct budget_request {
	uint64_t limit;
	uint64_t offset;
	double overfetch;     /* pgtopk.overfetch, 1.0 to 100 */
	int ef_search;        /* hnsw.ef_search of the session, 0 if not set */
	int probes;           /* ivfflat.probes of the session, 0 if not set */
	bool filtered;        /* there is a WHERE clause */
	unsigned shards;      /* that are asked; matters for a filter only */
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
