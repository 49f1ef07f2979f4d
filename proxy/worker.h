/*
 * Worker: one connection to a PostgreSQL behind us, spoken to in pipelines of
 * prepared statements. Also used for the catalog queries on the coordinator.
 *
 * A job (whoever took the connection from its pool) begins, adds settings and
 * queries, syncs, and is told of each row, each end and each error in order,
 * then that the connection is ready again. One job at a time. The worker knows
 * which statements it has prepared and which settings it has applied; both are
 * believed only when their success has arrived.
 */
#ifndef PROXY_WORKER_H
#define PROXY_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parser/names.h"
#include "proxy/pq.h"
#include "proxy/settings.h"

struct worker;

#define WORKER_NO_QUERY UINT32_MAX /* on_error's id where none of the job's queries failed */

/* What a job hears. `id` is the one given with the query. From the loop only. */
struct worker_job {
	/* A DataRow's body, valid during the call. */
	void (*on_row)(void *owner, unsigned id, const uint8_t *body, size_t len);
	/* CommandComplete: that query is over. */
	void (*on_complete)(void *owner, unsigned id);
	/* ErrorResponse's body. Nothing more comes for later queries, then on_ready. */
	void (*on_error)(void *owner, unsigned id, const uint8_t *body, size_t len);
	/* ReadyForQuery: the connection is idle; the job may begin again or give it back. Not
	 * before a CancelRequest on its way has arrived, so that it cannot hit the next job. */
	void (*on_ready)(void *owner);
	/* The server gave a NoticeResponse while a query ran. NULL: not of interest. */
	void (*on_notice)(void *owner);
	/* The connection is gone or broke the protocol; it must be given back all the same. */
	void (*on_lost)(void *owner, const char *why);
};

struct worker_query {
	unsigned id;
	const char *sql;
	size_t sql_len;
	unsigned ntypes; /* parameter types, this node's OIDs; 0: inferred */
	const uint32_t *types;
	/* The middle of a Bind message, ready made: parameter formats (Int16 count and codes)
	 * and values (Int16 count; Int32 length and bytes each). NULL: no parameters. */
	const uint8_t *parameters;
	size_t parameters_len;
	unsigned nresult_formats; /* 0: all text; 1: all alike; n: one each */
	const uint16_t *result_formats;
	/* What the server must answer with, this node's type OIDs (0: any); NULL: not checked.
	 * Asked once per prepared statement; anything else is an error 42804 (on_error). */
	unsigned nresult_types;
	const uint32_t *result_types;
};

/* Takes the link over. `settings` of a new connection are the server's own (unknown). */
struct worker *worker_new(struct loop *loop, struct pq_link *link);
void worker_free(
    struct worker *worker); /* NULL is allowed; within a callback too: freed at the turn's end */

/* Ends the job, if there is one, with on_lost: nobody will wait for the rest. */
void worker_abort(struct worker *worker, const char *why);

/* Needs an idle worker; if it was lost meanwhile, on_lost follows worker_sync(). */
void worker_begin(struct worker *worker, const struct worker_job *job, void *owner);
/* Queues what makes `settings` hold for the queries that follow, if they do not already. */
void worker_apply(struct worker *worker, struct settings *settings);
/* Queues Parse (unless prepared already), Bind and Execute. */
void worker_query(struct worker *worker, const struct worker_query *query);
/* Queues Sync and sends. */
void worker_sync(struct worker *worker);
/* Asks the server to stop what it is doing (CancelRequest); the job still ends as usual. */
void worker_cancel(struct worker *worker);

/* Whoever keeps the worker (its pool) is told when it is lost while no job has it. */
void worker_keep(struct worker *worker, void (*on_idle_lost)(void *keeper, const char *why),
                 void *keeper);
void *worker_keeper(const struct worker *worker);

bool worker_is_idle(const struct worker *worker);
bool worker_is_lost(const struct worker *worker);

/* pgvector's own defaults. */
#define WORKER_MAX_SCAN_TUPLES 20000
#define WORKER_MAX_PROBES 32768

/* What a server process has pgvector's settings at by itself: its configuration, its database's, its
 * role's. Of those left at pgvector's defaults nothing is known: 0. */
struct worker_index {
	bool iterative_scans; /* it has settings for them */
	int ef_search, probes;
	int max_scan_tuples, max_probes;
	double scan_mem_multiplier;
};

/* Facts of the node, read when it was connected (proxy/greeting.h). */
struct worker_facts {
	int vector_version; /* pgvector: major * 10000 + minor * 100 + patch; 0: not installed */
	uint32_t vector_oid;
	uint32_t halfvec_oid;
	uint32_t sparsevec_oid;
	struct names strangers; /* built-in names that mean something else as well there */
	struct worker_index index;
	/* Something that we know was not known there, or inconsistent (SQLSTATEs 42…, XX…): the
	 * extension may have been made anew. */
	bool doubtful;
};
const struct worker_facts *worker_facts(const struct worker *worker);
void worker_set_facts(struct worker *worker, const struct worker_facts *facts);

#endif
