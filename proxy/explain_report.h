/*
 * Explain report: what EXPLAIN of a routed statement says, written as PostgreSQL
 * writes plans, in FORMAT TEXT and FORMAT JSON. The shards' own plans are set into
 * it as their servers gave them. Knows no sockets.
 */
#ifndef PROXY_EXPLAIN_REPORT_H
#define PROXY_EXPLAIN_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "parser/explain.h"
#include "proxy/iobuf.h"

struct explain_shard {
	const char *name;  /* schema.shard */
	const char *node;  /* host:port */
	const char *sql;   /* NULL: not to be shown */
	struct iobuf plan; /* the server's EXPLAIN: lines, or a JSON document */
};

struct explain_report {
	const struct explain *explain;
	const char *schema, *table;
	const char *sort_keys;
	unsigned nshards, nodes, lanes;
	uint64_t limit;                                  /* rows of the answer at most */
	uint64_t per_shard;                              /* LIMIT of each shard's query */
	const char *ef_search, *probes, *iterative_scan; /* probes: NULL where left alone */
	/* ANALYZE */
	uint64_t rows, received;
	unsigned refills;
	double merge_ms, planning_ms, execution_ms;
	/* shards asked; of these all or one are shown */
	unsigned nasked;
	struct explain_shard *asked;
};

/* What the root node of a shard's plan says; NAN: nothing. */
struct explain_figures {
	double total_cost, width, rows, time_ms;
};
struct explain_figures explain_figures(const struct explain *explain, const struct iobuf *plan);

/* Appends lines, each with a newline, or one JSON document without. */
void explain_report_write(const struct explain_report *report, struct iobuf *out);

#endif
