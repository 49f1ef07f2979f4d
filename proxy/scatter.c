/*
 * Scatter: see scatter.h.
 *
 * It asks in passes (passes.h): first every shard by its index, then those again whose
 * answer was short, without it.
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

#include "proxy/shard_query.h"
#include "proxy/signature.h"
#include "proxy/wire.h"

/*
 * A check that began with the query proves that no shard had moved by then. Much later one may
 * have moved away and be on its way back, as an empty table of the same name: then the
 * map is checked again, after the last lane's end.
 */
#define CHECK_HOLDS_US 20000

enum lane_state {
	LANE_NEW,
	LANE_RUNNING,
	LANE_ENDED,
};

/* A node's shards in this pass: passes.asked[first .. end - 1]. */
struct group {
	struct pool *pool;
	unsigned first, end;
};

/* One worker connection's part: passes.asked[first .. first + count - 1]. */
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
	uint64_t checked_us; /* when it was asked for */
	uint64_t ended_us;   /* when the last lane ended */
	struct loop_timer *timer;
	struct topk *topk;
	struct passes passes;
	uint16_t *formats;
	struct scatter_result result;
};

static void make_groups(struct scatter *scatter);
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
	passes_fini(&scatter->passes);
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

static unsigned lane_node_number(const struct lane *lane)
{
	const struct scatter *scatter = lane->scatter;

	return scatter->request.table->shards[scatter->passes.asked[lane->first]].node;
}

static const struct shardmap_node *lane_node(const struct lane *lane)
{
	const struct scatter_request *request = &lane->scatter->request;

	return shardmap_node(request->map, lane_node_number(lane));
}

/* Every shard has been asked as it should be, and the map held. */
static void complete(struct scatter *scatter)
{
	struct scatter_result *result = &scatter->result;

	result->received = passes_rows(&scatter->passes);
	result->refilled = passes_exact(&scatter->passes);
	result->passes = &scatter->passes;
	if (scatter->request.short_answer == CONFIG_SHORT_ANSWER_ERROR &&
	    passes_cut(&scatter->passes))
		fail(scatter, SCATTER_SHORT, "an index scan was cut short");
	else
		conclude(scatter, SCATTER_OK);
}

static void check_map(struct scatter *scatter)
{
	const struct scatter_request *request = &scatter->request;

	scatter->check_passed = false;
	scatter->checked_us = loop_clock_us();
	catalog_check(request->catalog, request->map, request->table, &scatter->check_waiter);
}

/* All lanes are through: the answer is complete, or another pass begins. */
static void maybe_finish(struct scatter *scatter)
{
	unsigned nshort;

	if (concluded(scatter) || scatter->next < scatter->ngroups || scatter->running > 0)
		return;
	if (scatter->check_passed && scatter->ended_us > scatter->checked_us + CHECK_HOLDS_US)
		check_map(scatter);
	if (!scatter->check_passed)
		return;
	nshort = passes_short(&scatter->passes);
	if (scatter->request.short_answer == CONFIG_SHORT_ANSWER_ACCEPT) {
		scatter->result.accepted = nshort;
		nshort = 0;
	}
	if (nshort == 0 && topk_settled(scatter->topk)) {
		complete(scatter);
		return;
	}
	passes_next(&scatter->passes, scatter->topk);
	make_groups(scatter);
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

static void read_signature(struct lane *lane, const uint8_t *body, size_t len)
{
	struct scatter *scatter = lane->scatter;
	const struct scatter_request *request = &scatter->request;

	if (!signatures_learn(scatter->proxy->signatures, catalog_id(request->catalog),
	                      request->map, request->table, lane_node_number(lane), body, len))
		fail(scatter, SCATTER_UNLIKE, "unlike");
}

static void lane_row(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct lane *lane = owner;
	struct scatter *scatter = lane->scatter;

	if (concluded(scatter))
		return;
	if (id == SIGNATURE_QUERY) {
		read_signature(lane, body, len);
		return;
	}
	passes_row(&scatter->passes, id);
	if (!add_row(scatter, id, body, len))
		fail(scatter, SCATTER_FAILED, "a worker sent a row that does not fit its query");
	else if (topk_bytes(scatter->topk) > (size_t)scatter->proxy->config->merge_memory)
		fail(scatter, SCATTER_TOO_LARGE, "merge_memory");
}

static void lane_complete(void *owner, unsigned id)
{
	struct lane *lane = owner;

	lane->completed += id != SIGNATURE_QUERY;
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

/* It is the client's to see, and in the coordinator's words. */
static void lane_notice(void *owner)
{
	struct lane *lane = owner;

	fail(lane->scatter, SCATTER_FAILED, "a worker gave a notice");
}

static void lane_end(struct lane *lane)
{
	struct scatter *scatter = lane->scatter;

	assert(lane->state == LANE_RUNNING);
	lane->state = LANE_ENDED;
	pool_give(lane->pool, lane->worker);
	lane->worker = NULL;
	scatter->running--;
	scatter->ended_us = loop_clock_us();
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
    .on_notice = lane_notice,
    .on_ready = lane_ready,
    .on_lost = lane_lost,
};

static void put_queries(struct lane *lane)
{
	struct scatter *scatter = lane->scatter;
	const struct scatter_request *request = &scatter->request;

	if (signatures_unknown(scatter->proxy->signatures, catalog_id(request->catalog),
	                       request->map, request->table, lane_node_number(lane)))
		signature_ask(lane->worker, request->table, lane_node_number(lane));
	shard_query_put(lane->worker, request, scatter->formats, &scatter->passes, lane->first,
	                lane->count);
}

static void lane_start(struct lane *lane)
{
	struct scatter *scatter = lane->scatter;
	const struct scatter_request *request = &scatter->request;
	struct worker *worker = lane->worker;

	assert(worker && lane->count > 0);
	lane->state = LANE_RUNNING;
	scatter->running++;
	worker_begin(worker, &lane_job, lane);
	if (names_meet(&worker_facts(worker)->strangers, &request->plan->names))
		fail(scatter, SCATTER_FAILED, "a name means something else on a worker");
	else
		put_queries(lane);
	worker_sync(worker);
}

/* ---- getting connections ---- */

/*
 * The coordinator reads its own partitions in one snapshot, and so does one lane
 * (greeting.c); several would not.
 */
static unsigned group_lanes(const struct scatter *scatter, const struct group *group)
{
	const struct scatter_request *request = &scatter->request;
	unsigned shard = scatter->passes.asked[group->first];
	unsigned lanes = (unsigned)scatter->proxy->config->lanes;

	if (shardmap_provider(request->map) == SHARDMAP_PARTITIONS &&
	    shardmap_node(request->map, request->table->shards[shard].node)->coordinator)
		return 1;
	return lanes < group->end - group->first ? lanes : group->end - group->first;
}

/*
 * The group has its first connection. Further ones up to `lanes` are taken only if
 * they are idle: whoever waited for a second one while holding a first could wait for
 * somebody who does the same.
 */
static void start_group(struct scatter *scatter, struct group *group, struct worker *worker)
{
	unsigned shards = group->end - group->first;
	unsigned wanted = group_lanes(scatter, group);
	unsigned got = 0;
	struct lane *lanes = &scatter->lanes[scatter->nlanes];

	while (worker) {
		lanes[got++].worker = worker;
		worker = got < wanted ? pool_take_idle(group->pool) : NULL;
	}
	if (got < wanted)
		pool_warm(group->pool); /* for the next query */
	scatter->nlanes += got;
	if (scatter->result.lanes < scatter->nlanes)
		scatter->result.lanes = scatter->nlanes; /* of all passes the most */
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

/*
 * For the shards of this pass. They are sorted by node, and nodes are numbered alike for
 * every query, so connections are always asked for in the same order.
 */
static void make_groups(struct scatter *scatter)
{
	const struct scatter_request *request = &scatter->request;
	const struct shardmap_shard *shards = request->table->shards;
	const struct passes *passes = &scatter->passes;

	scatter->ngroups = scatter->next = scatter->nlanes = 0;
	memset(scatter->lanes, 0, passes->nasked * sizeof(*scatter->lanes));
	for (unsigned i = 0; i < passes->nasked; i++) {
		unsigned node = shards[passes->asked[i]].node;
		struct group *group = &scatter->groups[scatter->ngroups];

		if (i > 0 && node == shards[passes->asked[i - 1]].node) {
			group[-1].end = i + 1;
			continue;
		}
		*group = (struct group){pools_of_node(scatter->proxy->pools,
		                                      shardmap_node(request->map, node),
		                                      request->database, request->user),
		                        i, i + 1};
		scatter->ngroups++;
		pool_warm(group->pool);
	}
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
	scatter->formats = shard_query_formats(request);
	passes_init(&scatter->passes, request->map, request->table, request->budget.rows);
	scatter->groups = zeroed(request->table->nshards * sizeof(*scatter->groups));
	scatter->lanes = zeroed(request->table->nshards * sizeof(*scatter->lanes));
	make_groups(scatter);
	check_map(scatter);
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
