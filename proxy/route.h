/*
 * Route: takes one candidate statement from its text to a plan that may be sent
 * to the shards, or to the reason why not.
 *
 * The steps, each skipped when its result is at hand, so that a repeated
 * statement passes without waiting: replies drained, shard map, session facts,
 * plan, description.
 */
#ifndef PROXY_ROUTE_H
#define PROXY_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "merge/arena.h"
#include "parser/explain.h"
#include "parser/literal.h"
#include "parser/plan.h"
#include "proxy/catalog.h"
#include "proxy/description.h"
#include "proxy/scatter.h"

struct explain_run;
struct session;
struct wire_bind;
struct wire_error;

struct route {
	struct arena *arena;     /* of this statement; NULL while idle */
	struct explain *explain; /* it is an EXPLAIN, in the arena; else NULL */
	struct explain_run *run; /* explain_route.c's */
	struct literal_lifted lifted;
	unsigned ntypes; /* parameter types that the client declared, in the arena */
	const uint32_t *types;
	struct catalog *catalog;
	struct catalog_waiter waiter;
	unsigned asked; /* facts were asked so often for this statement */
	unsigned described;
	uint64_t planned_us;
	enum refusal refused; /* at the first look */
	bool cancelled;       /* by the client, while it was being planned */
	bool timing;          /* session->timer runs for it */
	bool timed_out;       /* it is cancelled for that */
	bool idle;            /* or because the coordinator would take the session for idle */
	uint64_t timeout_ms;  /* statement_timeout */

	struct description *asking; /* being filled by description.c */
	void (*described_fn)(struct session *session, bool ok);

	/* results; references are the route's */
	struct shardmap *map;
	const struct shardmap_table *table;
	struct query *query;
	struct plan *plan;
	struct description *description;

	void (*done)(struct session *session, enum refusal refusal);

	/* execution */
	struct scatter *scatter;
	struct scatter_request request;
	struct topk *topk; /* the answer; freed by route_reset() unless taken */
	uint64_t rows;
};

/*
 * Plans the statement; `done` is called with REFUSAL_none and the results in
 * session->route, or with the reason; perhaps before route_prepare() returns. sql and
 * types must live until then. Results stay until route_reset().
 */
void route_prepare(struct session *session, const char *sql, size_t len, unsigned ntypes,
                   const uint32_t *types, void (*done)(struct session *session, enum refusal));
/* After route_prepare(): could the coordinator take that Bind message? False: it finds an error
 * in its numbers of values and formats. */
bool route_takes(const struct session *session, const struct wire_bind *bind);
/*
 * Asks the shards, after route_prepare(): bind holds the client's parameters and
 * formats (NULL: none, all text) and must live until then. `done` is called with
 * REFUSAL_none and the rows in route.topk (the caller takes them), or with the reason
 * to fall back. REFUSAL_stale_map: worth another route_prepare(), route_may_retry() tells.
 */
void route_execute(struct session *session, const struct wire_bind *bind,
                   void (*done)(struct session *session, enum refusal));
/* Its first half: makes route.request. */
enum refusal route_request(struct session *session, const struct wire_bind *bind);
/* The session's timer has ended while it is SESSION_READY. */
void route_time_out(struct session *session);
bool route_may_retry(struct session *session, enum refusal refusal);
/* Stops whatever waits and frees what was found. */
void route_reset(struct session *session);
/* The same for one that is no session's any more. */
void route_drop(struct route *route);

/* For explain_route.c: ends route_execute(); the map has turned out not to hold. */
void route_finish(struct session *session, enum refusal refusal);
void route_map_is_stale(struct session *session);

/* Counts the reason and, with log_routed, logs it. */
void route_refused(struct session *session, enum refusal refusal);

#endif
