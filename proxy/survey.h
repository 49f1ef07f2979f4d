/*
 * Survey: asks the nodes of a table about its shards, one node after another, one
 * connection at a time: for what is not worth the speed of a scatter (EXPLAIN,
 * catalogs). Nobody waits for a second connection while holding one.
 */
#ifndef PROXY_SURVEY_H
#define PROXY_SURVEY_H

#include <stddef.h>
#include <stdint.h>

#include "parser/shardmap.h"
#include "proxy/proxy.h"
#include "proxy/worker.h"

struct survey;

struct survey_request {
	struct shardmap *map;
	const struct shardmap_table *table; /* the map's */
	unsigned first, end;                /* shards first .. end - 1 of the table */
	const char *user;
	const char *database;
	/* What is to hold on that node; the owner's reference. */
	struct settings *(*settings)(void *owner, const struct worker_facts *facts);
	/* Queues the queries (worker_query()) about shards first .. end - 1, all on that node. */
	void (*put)(void *owner, struct worker *worker, unsigned first, unsigned end);
	void (*row)(void *owner, unsigned id, const uint8_t *body, size_t len);
	/* Once, from the loop, the survey is gone then. failure: NULL, or for the log (no
	 * message's text); sqlstate: "" if no server said so. */
	void (*done)(void *owner, const char *failure, const char *sqlstate);
	void *owner;
};

/* Everything in the request must live until done() or survey_free(); user and database
 * are copied. */
struct survey *survey_start(struct proxy *proxy, const struct survey_request *request);
/* Asks the server to stop; done() follows with a failure. NULL is allowed. */
void survey_cancel(struct survey *survey);
/* Gives up; done() is not called. NULL is allowed. */
void survey_free(struct survey *survey);

#endif
