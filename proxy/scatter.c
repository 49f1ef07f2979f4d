/*
 * Scatter: see scatter.h.
 *
 * Two passes: the first asks every shard by its index. If all shards together
 * gave fewer rows than LIMIT + OFFSET, each gave fewer than it was asked for, and
 * all are asked again without the index, because an index scan that ends early
 * (a cap of pgvector's, NULL or zero vectors, which no index holds) looks just
 * like a shard that has no more rows. Where the rows do suffice nothing can be
 * missing but what lies farther than an index scan's own end.
 *
 * A scatter lives until its last lane has ended, also when its owner has long
 * been told of a failure: connections must be read to their ReadyForQuery
 * before another query may use them. After the verdict (`done` was called or the
 * owner left) nothing of the request is touched any more.
 */
#include "proxy/scatter.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/config.h"
#include "proxy/wire.h"

enum lane_state {
	LANE_NEW,
	LANE_RUNNING,
	LANE_ENDED,
};

/* A node's shards: first .. end - 1 of the table. */
struct group {
	struct pool *pool;
	unsigned first, end;
};

/* One worker connection's part: shards first .. first + count - 1 of the table. */
struct lane {
	struct scatter *scatter;
	enum lane_state state;
	struct pool *pool;
	struct worker *worker;
	unsigned first, count;
	unsigned completed; /* queries that came to their end */
};

struct scatter {
	struct proxy *proxy;
	struct scatter_request request; /* not valid once `over` */
	scatter_done_fn *done;
	void *owner;
	bool over; /* the owner was told or has left */
	bool cancelled;
	bool telling; /* the verdict is on its way to the owner */
	bool freeing;
	unsigned ngroups;
	unsigned next; /* the group that is waiting for its first connection */
	struct group *groups;
	unsigned nlanes;
	unsigned running;
	struct lane *lanes; /* room for one per shard */
	struct pool_waiter pool_waiter;
	struct catalog_waiter check_waiter;
	bool check_passed;
	struct loop_timer *timer;
	struct topk *topk;
	bool exact; /* the second pass */
	struct plan_text text;
	uint16_t *formats;
	struct scatter_result result;
};

static void start_groups(struct scatter *scatter);

static void *zeroed(size_t size)
{
	void *memory = calloc(1, size ? size : 1);

	if (!memory)
		abort();
	return memory;
}

static void free_scatter(void *owner)
{
	struct scatter *scatter = owner;

	topk_free(scatter->topk);
	plan_text_fini(&scatter->text);
	free(scatter->formats);
	free(scatter->groups);
	free(scatter->lanes);
	free(scatter);
}

/* Frees the scatter when nothing refers to it any more. */
static void maybe_free(struct scatter *scatter)
{
	if (!scatter->over || scatter->telling || scatter->running > 0 || scatter->freeing)
		return;
	assert(!scatter->pool_waiter.pool && !scatter->check_waiter.catalog);
	scatter->freeing = true;
	loop_defer(scatter->proxy->loop, free_scatter, scatter);
}

static void stop_waiting(struct scatter *scatter)
{
	pool_cancel(&scatter->pool_waiter);
	catalog_cancel(&scatter->check_waiter);
	loop_timer_free(scatter->timer);
	scatter->timer = NULL;
}

/* Lanes that are still at work are told to stop; they end on their own. */
static void cancel_lanes(struct scatter *scatter)
{
	for (unsigned i = 0; i < scatter->nlanes; i++)
		if (scatter->lanes[i].state == LANE_RUNNING &&
		    !worker_is_lost(scatter->lanes[i].worker))
			worker_cancel(scatter->lanes[i].worker);
}

static void tell(void *owner)
{
	struct scatter *scatter = owner;

	scatter->telling = false;
	if (!scatter->over) {
		scatter->over = true;
		scatter->done(scatter->owner, &scatter->result);
		if (scatter->result.outcome == SCATTER_OK)
			scatter->topk = NULL; /* the owner's now */
	}
	maybe_free(scatter);
}

/* The verdict; reaches the owner at the end of this turn, so that no caller of
 * ours is surprised by what the owner does then. */
static void conclude(struct scatter *scatter, enum scatter_outcome outcome)
{
	if (scatter->over || scatter->telling)
		return;
	stop_waiting(scatter);
	scatter->result.outcome = scatter->cancelled ? SCATTER_CANCELLED : outcome;
	scatter->result.lanes = scatter->nlanes;
	if (scatter->result.outcome == SCATTER_OK) {
		uint64_t began_us = loop_clock_us();

		scatter->result.rows = topk_finish(scatter->topk);
		scatter->result.merge_us += loop_clock_us() - began_us;
		scatter->result.topk = scatter->topk;
	}
	scatter->telling = true;
	loop_defer(scatter->proxy->loop, tell, scatter);
	if (outcome != SCATTER_OK)
		cancel_lanes(scatter);
}

static void fail(struct scatter *scatter, enum scatter_outcome outcome, const char *why)
{
	if (scatter->over || scatter->telling)
		return;
	snprintf(scatter->result.why, sizeof(scatter->result.why), "%s", why);
	conclude(scatter, outcome);
}

static bool concluded(const struct scatter *scatter)
{
	return scatter->over || scatter->telling;
}

static const struct shardmap_node *lane_node(const struct lane *lane)
{
	const struct scatter_request *request = &lane->scatter->request;

	return shardmap_node(request->map, request->table->shards[lane->first].node);
}

/* All lanes are through and the map held: the answer is complete, or a second pass begins. */
static void maybe_finish(struct scatter *scatter)
{
	if (concluded(scatter) || scatter->next < scatter->ngroups || scatter->running > 0 ||
	    !scatter->check_passed)
		return;
	if (scatter->exact ||
	    scatter->result.received >= scatter->request.limit + scatter->request.offset) {
		conclude(scatter, SCATTER_OK);
		return;
	}
	if (!topk_drop(scatter->topk, UINT_MAX))
		abort();
	scatter->result.received = 0;
	scatter->exact = true;
	scatter->result.refilled = true;
	scatter->next = 0;
	scatter->nlanes = 0;
	memset(scatter->lanes, 0, scatter->request.table->nshards * sizeof(*scatter->lanes));
	start_groups(scatter);
}

/* ---- a lane ---- */

static bool add_row(struct scatter *scatter, unsigned shard, const uint8_t *body, size_t len)
{
	uint64_t began_us = scatter->request.timed ? loop_clock_us() : 0;
	bool ok = topk_add(scatter->topk, shard, body, len);

	if (scatter->request.timed)
		scatter->result.merge_us += loop_clock_us() - began_us;
	return ok;
}

static void lane_row(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct lane *lane = owner;
	struct scatter *scatter = lane->scatter;

	if (concluded(scatter))
		return;
	scatter->result.received++;
	if (!add_row(scatter, id, body, len))
		fail(scatter, SCATTER_FAILED, "a worker sent a row that does not fit its query");
	else if (topk_bytes(scatter->topk) > (size_t)scatter->proxy->config->merge_memory)
		fail(scatter, SCATTER_TOO_LARGE, "merge_memory");
}

static void lane_complete(void *owner, unsigned id)
{
	struct lane *lane = owner;

	(void)id;
	lane->completed++;
}

static bool is_stale(const char *sqlstate)
{
	/* undefined_table, undefined_column: the shard moved or the table changed */
	return strcmp(sqlstate, "42P01") == 0 || strcmp(sqlstate, "42703") == 0 ||
	       strcmp(sqlstate, "26000") == 0;
}

static void lane_error(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct lane *lane = owner;
	struct scatter *scatter = lane->scatter;
	const char *sqlstate = wire_error_field(body, len, 'C');
	char why[160];

	(void)id;
	if (concluded(scatter))
		return;
	if (!sqlstate)
		sqlstate = "?";
	snprintf(why, sizeof(why), "%s:%d sqlstate %.5s", lane_node(lane)->host,
	         lane_node(lane)->port, sqlstate);
	fail(scatter, is_stale(sqlstate) ? SCATTER_STALE : SCATTER_FAILED, why);
}

static void lane_end(struct lane *lane)
{
	struct scatter *scatter = lane->scatter;

	assert(lane->state == LANE_RUNNING);
	lane->state = LANE_ENDED;
	pool_give(lane->pool, lane->worker);
	lane->worker = NULL;
	scatter->running--;
}

static void lane_ready(void *owner)
{
	struct lane *lane = owner;
	struct scatter *scatter = lane->scatter;

	lane_end(lane);
	if (lane->completed != lane->count)
		fail(scatter, SCATTER_FAILED, "a worker skipped a query");
	else
		maybe_finish(scatter);
	maybe_free(scatter);
}

static void lane_lost(void *owner, const char *why)
{
	struct lane *lane = owner;
	struct scatter *scatter = lane->scatter;

	lane_end(lane);
	fail(scatter, SCATTER_FAILED, why);
	maybe_free(scatter);
}

static const struct worker_job lane_job = {
    .on_row = lane_row,
    .on_complete = lane_complete,
    .on_error = lane_error,
    .on_ready = lane_ready,
    .on_lost = lane_lost,
};

uint32_t *scatter_node_types(const struct shardmap *map, const struct worker *worker,
                             const uint32_t *coordinator_types, unsigned count)
{
	const struct worker_facts *facts = worker_facts(worker);
	uint32_t *types = zeroed(count * sizeof(*types));

	for (unsigned i = 0; i < count; i++) {
		switch (shardmap_vector_type(map, coordinator_types[i])) {
		case SHARDMAP_TYPE_VECTOR:
			types[i] = facts->vector_oid;
			break;
		case SHARDMAP_TYPE_HALFVEC:
			types[i] = facts->halfvec_oid;
			break;
		case SHARDMAP_TYPE_SPARSEVEC:
			types[i] = facts->sparsevec_oid;
			break;
		default:
			types[i] = coordinator_types[i];
			break;
		}
	}
	return types;
}

static void query_shards(struct lane *lane)
{
	struct scatter *scatter = lane->scatter;
	const struct scatter_request *request = &scatter->request;
	const struct description *description = request->description;
	unsigned nresults = description->visible + request->plan->nkeys;
	uint32_t *types = scatter_node_types(
	    request->map, lane->worker, description->parameter_types, description->nparameters);
	uint32_t *result_types =
	    scatter_node_types(request->map, lane->worker, description->result_types, nresults);
	struct worker_query query = {
	    .ntypes = description->nparameters,
	    .types = types,
	    .parameters = request->parameters,
	    .parameters_len = request->parameters_len,
	    .nresult_formats = nresults,
	    .result_formats = scatter->formats,
	    .nresult_types = nresults,
	    .result_types = result_types,
	};

	for (unsigned i = lane->first; i < lane->first + lane->count; i++) {
		scatter->text.len = 0;
		plan_shard_sql(request->plan, &request->table->shards[i], request->budget.rows,
		               &scatter->text);
		query.id = i;
		query.sql = scatter->text.data;
		query.sql_len = scatter->text.len;
		worker_query(lane->worker, &query);
	}
	free(types);
	free(result_types);
}

struct settings *scatter_settings(const struct scatter_request *request,
                                  const struct worker_facts *facts, bool exact)
{
	return request->settings->variants[exact][!facts->iterative_scans];
}

static void lane_start(struct lane *lane)
{
	struct scatter *scatter = lane->scatter;
	struct worker *worker = lane->worker;

	assert(worker && lane->count > 0);
	lane->state = LANE_RUNNING;
	scatter->running++;
	worker_begin(worker, &lane_job, lane);
	worker_apply(worker,
	             scatter_settings(&scatter->request, worker_facts(worker), scatter->exact));
	query_shards(lane);
	worker_sync(worker);
}

/* ---- getting connections ---- */

/*
 * The group has its first connection. Further ones up to `lanes` are taken only if
 * they are idle: whoever waited for a second one while holding a first could wait for
 * somebody who does the same.
 */
static void start_group(struct scatter *scatter, struct group *group, struct worker *worker)
{
	unsigned shards = group->end - group->first;
	unsigned wanted = (unsigned)scatter->proxy->config->lanes;
	unsigned got = 0;
	struct lane *lanes = &scatter->lanes[scatter->nlanes];

	if (wanted > shards)
		wanted = shards;
	while (worker) {
		lanes[got++].worker = worker;
		worker = got < wanted ? pool_take_idle(group->pool) : NULL;
	}
	if (got < wanted)
		pool_warm(group->pool); /* for the next query */
	scatter->nlanes += got;
	for (unsigned i = 0; i < got; i++) {
		lanes[i].scatter = scatter;
		lanes[i].pool = group->pool;
		lanes[i].first = group->first + shards * i / got;
		lanes[i].count = group->first + shards * (i + 1) / got - lanes[i].first;
		lane_start(&lanes[i]);
	}
}

static void on_worker(void *owner, struct worker *worker, const char *why)
{
	struct scatter *scatter = owner;

	assert(!concluded(scatter));
	if (!worker) {
		fail(scatter, SCATTER_NO_CONNECTION, why);
		maybe_free(scatter);
		return;
	}
	start_group(scatter, &scatter->groups[scatter->next++], worker);
	start_groups(scatter);
}

static void start_groups(struct scatter *scatter)
{
	while (!concluded(scatter) && scatter->next < scatter->ngroups) {
		struct group *group = &scatter->groups[scatter->next];
		struct worker *worker = pool_take(group->pool, &scatter->pool_waiter);

		if (!worker)
			return; /* on_worker() goes on */
		scatter->next++;
		start_group(scatter, group, worker);
	}
}

static struct pool *node_pool(struct scatter *scatter, unsigned node)
{
	const struct scatter_request *request = &scatter->request;
	const struct shardmap_node *at = shardmap_node(request->map, node);
	const char *database = at->database ? at->database : request->database;

	if (at->coordinator)
		return pools_get(scatter->proxy->pools, NULL, 0, request->database, request->user);
	return pools_get(scatter->proxy->pools, at->host, at->port, database, request->user);
}

/* Shards are sorted by node, and nodes are numbered alike for every query, so
 * connections are always asked for in the same order. */
static void make_groups(struct scatter *scatter)
{
	const struct shardmap_table *table = scatter->request.table;

	scatter->groups = zeroed(table->nshards * sizeof(*scatter->groups));
	scatter->lanes = zeroed(table->nshards * sizeof(*scatter->lanes));
	for (unsigned i = 0; i < table->nshards; i++) {
		struct group *group = &scatter->groups[scatter->ngroups];

		if (i == 0 || table->shards[i].node != table->shards[i - 1].node) {
			if (i > 0)
				group++;
			scatter->ngroups = (unsigned)(group - scatter->groups);
			group->first = i;
			group->pool = node_pool(scatter, table->shards[i].node);
			pool_warm(group->pool);
		}
		group->end = i + 1;
	}
	scatter->ngroups += table->nshards > 0;
}

static void on_check(void *owner, bool ok, const char *why)
{
	struct scatter *scatter = owner;

	if (!ok) {
		fail(scatter, SCATTER_STALE, why);
	} else {
		scatter->check_passed = true;
		maybe_finish(scatter);
	}
	maybe_free(scatter);
}

static void on_timeout(void *owner)
{
	struct scatter *scatter = owner;

	fail(scatter, SCATTER_FAILED, "worker_timeout");
	maybe_free(scatter);
}

static void make_formats(struct scatter *scatter)
{
	unsigned visible = scatter->request.description->visible;
	unsigned keys = scatter->request.plan->nkeys;

	scatter->formats = zeroed((visible + keys) * sizeof(*scatter->formats));
	memcpy(scatter->formats, scatter->request.formats, visible * sizeof(*scatter->formats));
	for (unsigned i = 0; i < keys; i++)
		scatter->formats[visible + i] = 1;
}

struct scatter *scatter_start(struct proxy *proxy, const struct scatter_request *request,
                              scatter_done_fn *done, void *owner)
{
	struct scatter *scatter = zeroed(sizeof(*scatter));
	struct topk_spec spec = {
	    .keys = request->description->keys,
	    .nkeys = request->plan->nkeys,
	    .visible = request->description->visible,
	    .limit = request->limit,
	    .offset = request->offset,
	};

	scatter->proxy = proxy;
	scatter->request = *request;
	scatter->done = done;
	scatter->owner = owner;
	scatter->pool_waiter.fn = on_worker;
	scatter->pool_waiter.owner = scatter;
	scatter->check_waiter.fn = on_check;
	scatter->check_waiter.owner = scatter;
	scatter->topk = topk_new(&spec);
	scatter->timer = loop_timer_new(proxy->loop, on_timeout, scatter);
	loop_timer_start(scatter->timer, (uint64_t)proxy->config->worker_timeout);
	make_formats(scatter);
	make_groups(scatter);
	catalog_check(request->catalog, request->map, request->table, &scatter->check_waiter);
	start_groups(scatter);
	maybe_finish(scatter); /* a table without shards */
	return scatter;
}

void scatter_cancel(struct scatter *scatter)
{
	if (concluded(scatter))
		return;
	scatter->cancelled = true;
	fail(scatter, SCATTER_CANCELLED, "cancelled");
	maybe_free(scatter);
}

void scatter_abandon(struct scatter *scatter)
{
	if (!concluded(scatter)) {
		stop_waiting(scatter);
		cancel_lanes(scatter);
	}
	scatter->over = true;
	maybe_free(scatter);
}
