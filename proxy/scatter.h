/*
 * Scatter: one query to all shards of a table, their rows into one top-K.
 *
 * For each worker one or a few lanes, each a pooled connection with one
 * pipeline: the settings that differ, Bind and Execute for each of its shards,
 * Sync. Meanwhile one check of the map, shared by all queries that began before
 * it, runs on the coordinator (catalog_check()). The answer is good only if every lane came
 * to its end, every check held and every row was well formed; anything else is
 * a failure, and the caller has sent nothing to its client yet.
 *
 * Connections are taken in the order of pools, so that queries waiting for each
 * other's connections cannot lock up.
 */
#ifndef PROXY_SCATTER_H
#define PROXY_SCATTER_H

#include <stdbool.h>
#include <stdint.h>

#include "merge/budget.h"
#include "merge/topk.h"
#include "parser/plan.h"
#include "proxy/catalog.h"
#include "proxy/config.h"
#include "proxy/description.h"
#include "proxy/passes.h"
#include "proxy/proxy.h"
#include "proxy/shard_settings.h"

struct scatter;

enum scatter_outcome {
	SCATTER_OK,
	SCATTER_STALE,     /* the map does not hold any more: load it and ask again */
	SCATTER_CANCELLED, /* by scatter_cancel() */
	SCATTER_FAILED,    /* a worker failed, refused or was too slow */
	SCATTER_NO_CONNECTION,
	SCATTER_UNLIKE,    /* a shard is not what the coordinator takes it for (signature.h) */
	SCATTER_TOO_LARGE, /* more rows than merge_memory */
	SCATTER_SHORT,     /* an index scan was cut short, and that is to be an error */
};

struct scatter_request {
	const struct shardmap_table *table;
	struct shardmap *map;
	struct catalog *catalog;
	struct plan *plan;
	struct description *description;
	struct shard_settings *settings; /* what must hold on the workers */
	struct budget budget;
	uint64_t limit, offset;
	enum config_short_answer short_answer;
	const char *user;
	const char *database;
	/* middle of the Bind, as in struct worker_query */
	const uint8_t *parameters;
	size_t parameters_len;
	/* formats of the visible columns, expanded: one each */
	const uint16_t *formats;
	bool timed; /* measure merge_us row by row */
};

struct scatter_result {
	enum scatter_outcome outcome;
	struct topk *topk; /* SCATTER_OK: finished, the caller's */
	uint64_t rows;     /* in it */
	uint64_t received; /* rows that the shards sent */
	unsigned lanes;
	uint64_t merge_us;           /* for merging them, if it was to be timed */
	unsigned refilled;           /* shards whose answer was short: asked without their index */
	unsigned accepted;           /* or left at that */
	const struct passes *passes; /* SCATTER_OK: how each shard was asked; during done() */
	char why[160]; /* for the log: which worker, SQLSTATE; never a message's text */
};

typedef void scatter_done_fn(void *owner, struct scatter_result *result);

/* Everything in the request must live until done() is called, from the loop, once. */
struct scatter *scatter_start(struct proxy *proxy, const struct scatter_request *request,
                              scatter_done_fn *done, void *owner);
/* Stops the shard queries on the workers; done() follows with SCATTER_CANCELLED. */
void scatter_cancel(struct scatter *scatter);
/* The owner is gone: stops the queries, done() will not be called, and nothing of
 * the request is used any more. */
void scatter_abandon(struct scatter *scatter);

#endif
