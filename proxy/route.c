/*
 * Route: see route.h.
 */
#include "proxy/route.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "parser/plancache.h"
#include "proxy/bound.h"
#include "proxy/config.h"
#include "proxy/counts.h"
#include "proxy/explain_route.h"
#include "proxy/footnote.h"
#include "proxy/notices.h"
#include "proxy/session.h"
#include "proxy/signature.h"
#include "proxy/verdict.h"

#define MAX_ASKED 3 /* facts: the name, and again if the session's state went stale meanwhile */
#define MAX_DESCRIBED 2
#define MAX_RETRIES 2 /* after a stale shard map */

/* ---- from text to plan ---- */

static void route_advance(struct session *session);

static void finish(struct session *session, enum refusal refusal)
{
	struct route *route = &session->route;

	route->done(session, route->cancelled ? REFUSAL_cancelled : refusal);
}

void route_finish(struct session *session, enum refusal refusal)
{
	finish(session, refusal);
}

static void on_map(void *owner, bool ok, const char *why)
{
	struct session *session = owner;

	if (!ok) {
		log_event(session->proxy->log, LOG_WARNING, "map_failed",
		          "session=%" PRIu64 " database=%s error=%s", session->id,
		          log_quote(session->database), log_quote(why));
		finish(session, REFUSAL_shardmap);
		return;
	}
	route_advance(session);
}

static void on_facts(struct session *session, bool ok)
{
	if (ok)
		route_advance(session);
	else if (session->status == 'E') /* a time-out, say: it has failed the block */
		finish(session, REFUSAL_failed);
	else
		finish(session, REFUSAL_settings);
}

static void on_description(struct session *session, bool ok)
{
	if (ok)
		route_advance(session);
	else
		finish(session, REFUSAL_description);
}

/* Whether the session's place in its transaction and pipeline allows routing. */
static enum refusal check_place(const struct session *session)
{
	if (session->status == 'E')
		return REFUSAL_transaction;
	if (session->replies.failed || session->replies.touched)
		return REFUSAL_pipeline;
	return REFUSAL_none;
}

static bool load_map(struct session *session)
{
	struct route *route = &session->route;
	struct shardmap *map = catalog_map(route->catalog);

	if (!map) {
		catalog_load(route->catalog, &route->waiter);
		return false;
	}
	if (route->map != map) {
		shardmap_unref(route->map);
		route->map = shardmap_ref(map);
	}
	return true;
}

/* How long ago the coordinator may have been asked; nor may it take the session for idle. */
static uint64_t facts_ttl(const struct session *session)
{
	uint64_t ttl = (uint64_t)session->proxy->config->settings_ttl;
	uint64_t idle = facts_idle_timeout_ms(session->facts, session->status) / 2;

	return idle > 0 && idle < ttl ? idle : ttl;
}

/* Facts of the session and of the table's name. True if they are there. */
static bool ask_facts(struct session *session, const struct facts_table **table)
{
	struct route *route = &session->route;
	const char *name = query_table(route->query);
	uint64_t now = loop_now_ms(session->proxy->loop);

	if (facts_fresh(session->facts, shardmap_generation(route->map), now, facts_ttl(session)) ||
	    route->asked > 0) {
		*table = facts_table(session->facts, name);
		if (*table)
			return true;
	}
	if (route->asked++ >= MAX_ASKED) {
		finish(session, REFUSAL_settings);
		return false;
	}
	facts_ask(session, name, route->map, on_facts);
	return false;
}

/* The map's names are UTF8; elsewhere a plan must do without other letters than ASCII's. */
static bool is_readable(const struct session *session, const char *sql)
{
	const char *encoding = settings_get(facts_settings(session->facts), "client_encoding");

	if (encoding && strcmp(encoding, "UTF8") == 0)
		return true;
	for (; *sql; sql++)
		if ((unsigned char)*sql >= 0x80)
			return false;
	return true;
}

static enum refusal check_table(struct session *session, const struct facts_table *table)
{
	struct route *route = &session->route;
	enum refusal refusal;

	route->table = table->oid ? shardmap_table_by_oid(route->map, table->oid) : NULL;
	if (table->oid && (!route->table || !route->table->routable))
		catalog_missed(route->catalog, table->oid);
	if (!route->table)
		return REFUSAL_not_sharded;
	if (!route->table->routable)
		return REFUSAL_table_kind;
	if (!table->may_select)
		return REFUSAL_permission;
	if (table->row_security)
		return REFUSAL_row_security;
	refusal = facts_check(session->facts);
	if (refusal == REFUSAL_none && shadow_plans(session))
		return REFUSAL_shadow; /* not any more */
	if (refusal != REFUSAL_none && !(refusal == REFUSAL_shadow && shadow_plans(session)))
		return refusal;
	plan_unref(route->plan);
	route->plan = NULL;
	refusal = plancache_plan(session->proxy->plans, route->query, catalog_id(route->catalog),
	                         route->map, route->table, &route->plan);
	if (refusal != REFUSAL_none)
		catalog_refused(route->catalog);
	else if (!is_readable(session, route->plan->describe_sql))
		refusal = REFUSAL_settings;
	return refusal;
}

/* True if the description is there. */
static bool describe(struct session *session)
{
	struct route *route = &session->route;
	struct description *found = descriptions_find(session->proxy->descriptions, route->plan,
	                                              route->ntypes, route->types);

	if (found) {
		description_unref(route->description);
		route->description = description_ref(found);
		return true;
	}
	if (route->described++ >= MAX_DESCRIBED) {
		finish(session, REFUSAL_description);
		return false;
	}
	description_ask(session, route->plan, route->ntypes, route->types, on_description);
	return false;
}

static void route_advance(struct session *session)
{
	struct route *route = &session->route;
	const struct facts_table *table;
	enum refusal refusal;

	refusal = route->cancelled ? REFUSAL_cancelled : route->refused;
	if (refusal == REFUSAL_none)
		refusal = check_place(session);
	if (refusal != REFUSAL_none) {
		finish(session, refusal);
		return;
	}
	if (!load_map(session) || !ask_facts(session, &table))
		return;
	refusal = check_table(session, table);
	if (refusal != REFUSAL_none) {
		finish(session, refusal);
		return;
	}
	if (!describe(session))
		return;
	explain_route_describe(route);
	finish(session, route->description->refusal);
}

static enum refusal read_text(struct session *session, const char *sql, size_t len)
{
	struct route *route = &session->route;

	if (!explain_route_read(route, sql, len))
		return REFUSAL_explain;
	return plancache_query(session->proxy->plans, route->lifted.sql, route->lifted.len,
	                       &route->query);
}

void route_prepare(struct session *session, const char *sql, size_t len, unsigned ntypes,
                   const uint32_t *types, void (*done)(struct session *session, enum refusal))
{
	struct route *route = &session->route;

	route_reset(session);
	route->arena = arena_new();
	route->done = done;
	route->ntypes = ntypes;
	route->types = (const uint32_t *)arena_strndup(route->arena, (const char *)types,
	                                               ntypes * sizeof(*types));
	route->waiter.fn = on_map;
	route->waiter.owner = session;
	route->catalog = catalogs_get(session->proxy->catalogs, session->database);
	route->refused = read_text(session, sql, len);
	if (route->refused == REFUSAL_none || route->explain) /* its footnote waits for its turn */
		session_await_replies(session, route_advance);
	else
		finish(session, route->refused);
}

void route_drop(struct route *route)
{
	catalog_cancel(&route->waiter);
	if (route->scatter)
		scatter_abandon(route->scatter);
	description_unref(route->asking);
	description_unref(route->description);
	plan_unref(route->plan);
	query_unref(route->query);
	shardmap_unref(route->map);
	topk_free(route->topk);
	arena_free(route->arena);
	memset(route, 0, sizeof(*route));
}

void route_reset(struct session *session)
{
	explain_route_reset(session);
	if (session->route.timing)
		loop_timer_stop(session->timer);
	route_drop(&session->route);
}

/* ---- time ---- */

static uint64_t elapsed_ms(const struct session *session)
{
	return (loop_clock_us() - session->began_us) / 1000;
}

/* statement_timeout is about all of it: planning, waiting, every pass over the shards. */
static void start_timer(struct session *session)
{
	uint64_t timeout = facts_statement_timeout_ms(session->facts);
	uint64_t idle = facts_idle_timeout_ms(session->facts, session->status) / 2;
	uint64_t first = timeout == 0 || (idle > 0 && idle < timeout) ? idle : timeout;
	uint64_t elapsed = elapsed_ms(session);

	if (first == 0)
		return;
	session->route.timing = true;
	session->route.timeout_ms = timeout;
	loop_timer_start(session->timer, first > elapsed ? first - elapsed : 0);
}

/* The workers have the same statement_timeout, and one may be quicker than we. */
static bool has_timed_out(const struct session *session)
{
	const struct route *route = &session->route;

	return route->timing && route->timeout_ms > 0 && elapsed_ms(session) >= route->timeout_ms;
}

void route_time_out(struct session *session)
{
	struct route *route = &session->route;

	if (!route->timing)
		return;
	if (has_timed_out(session))
		route->timed_out = true;
	else
		route->idle = true; /* the coordinator has a while yet to answer it itself */
	if (route->scatter)
		scatter_cancel(route->scatter);
}

bool route_may_retry(struct session *session, enum refusal refusal)
{
	return refusal == REFUSAL_stale_map && session->retries++ < MAX_RETRIES;
}

void route_refused(struct session *session, enum refusal refusal)
{
	struct proxy *proxy = session->proxy;
	const struct explain *explain = session->route.explain;

	if (explain)
		footnote_arm(session, refusal, explain->format == EXPLAIN_JSON);
	proxy->counters.refused[refusal]++;
	if (proxy->config->log_routed)
		log_event(proxy->log, LOG_INFO, "refused", "session=%" PRIu64 " reason=%s text=%s",
		          session->id, refusal_name(refusal), log_quote(refusal_text(refusal)));
}

/* ---- from plan to rows ---- */

static bool is_integer(uint32_t type_oid)
{
	return type_oid == 20 || type_oid == 21 || type_oid == 23; /* int8, int2, int4 */
}

static bool count_type_ok(const struct description *description, const struct plan_count *count)
{
	return count->kind != PLAN_COUNT_PARAMETER ||
	       (count->parameter <= description->nparameters &&
	        is_integer(description->parameter_types[count->parameter - 1]));
}

static int int_setting(const struct facts *facts, const char *name)
{
	const char *text = facts_value(facts, name);

	return text ? atoi(text) : 0;
}

static enum refusal make_budget(struct session *session, const struct wire_bind *bind)
{
	struct route *route = &session->route;
	struct scatter_request *request = &route->request;
	struct budget_request asked = {
	    .overfetch = facts_overfetch(session->facts),
	    .ef_search = int_setting(session->facts, "hnsw.ef_search"),
	    .probes = int_setting(session->facts, "ivfflat.probes"),
	    .filtered = route->plan->filtered,
	    .shards = route->table->nshards,
	    .iterative_scans = true,
	};
	int64_t limit, offset;

	if (!count_type_ok(route->description, &route->plan->limit) ||
	    !count_type_ok(route->description, &route->plan->offset) ||
	    !counts_read(&route->plan->limit, bind, &limit) ||
	    !counts_read(&route->plan->offset, bind, &offset) || limit == 0)
		return REFUSAL_limit;
	asked.limit = request->limit = (uint64_t)limit;
	asked.offset = request->offset = (uint64_t)offset;
	if (!budget_make(&asked, &request->budget))
		return REFUSAL_limit;
	shard_settings_update(&session->shard_settings, session->facts, &request->budget);
	request->settings = &session->shard_settings;
	return REFUSAL_none;
}

/* The middle of a Bind for the shards: the client's own bytes, or the lifted literals. */
static void put_parameters(struct route *route, const struct wire_bind *bind)
{
	struct scatter_request *request = &route->request;
	struct iobuf buf;

	if (route->lifted.count == 0) {
		request->parameters = bind ? bind->middle : NULL;
		request->parameters_len = bind ? bind->middle_len : 0;
		return;
	}
	iobuf_init(&buf);
	wire_put_u16(&buf, 0);
	wire_put_u16(&buf, (uint16_t)route->lifted.count);
	for (unsigned i = 0; i < route->lifted.count; i++) {
		wire_put_u32(&buf, (uint32_t)route->lifted.literals[i].len);
		wire_put_bytes(&buf, route->lifted.literals[i].text, route->lifted.literals[i].len);
	}
	request->parameters_len = iobuf_len(&buf);
	request->parameters = (const uint8_t *)arena_strndup(
	    route->arena, (const char *)iobuf_head(&buf), request->parameters_len);
	iobuf_fini(&buf);
}

/* The client's numbers of parameters and formats must be what the statement takes. */
static bool bind_fits(const struct route *route, const struct wire_bind *bind)
{
	const struct description *description = route->description;

	if (description->nparameters < route->lifted.count)
		return false;
	if (!bind)
		return description->nparameters == route->lifted.count;
	return bind->nparameters == description->nparameters - route->lifted.count &&
	       (bind->nparameter_formats <= 1 || bind->nparameter_formats == bind->nparameters) &&
	       (bind->nresult_formats <= 1 || bind->nresult_formats == description->visible);
}

static void put_formats(struct route *route, const struct wire_bind *bind)
{
	unsigned visible = route->request.description->visible;
	uint16_t *formats = arena_calloc(route->arena, visible + 1, sizeof(*formats));

	for (unsigned i = 0; bind && !route->explain && i < visible; i++)
		formats[i] = wire_format(bind->result_formats, bind->nresult_formats, i);
	route->request.formats = formats;
}

static void log_routed(const struct session *session, const struct scatter_result *result)
{
	const struct route *route = &session->route;
	const struct scatter_request *request = &route->request;

	if (!session->proxy->config->log_routed)
		return;
	log_event(session->proxy->log, LOG_INFO, "routed",
	          "session=%" PRIu64 " table=%s shards=%u lanes=%u limit=%" PRIu64 " asked=%" PRIu64
	          " received=%" PRIu64 " rows=%" PRIu64
	          " ef_search=%d refilled=%u accepted=%u ms=%.1f",
	          session->id, log_quote(query_table(route->query)), request->table->nshards,
	          result->lanes, request->limit, request->budget.rows * request->table->nshards,
	          result->received, result->rows, request->budget.ef_search, result->refilled,
	          result->accepted, (double)(loop_clock_us() - session->began_us) / 1000.);
}

static void log_failed(const struct session *session, const struct scatter_result *result)
{
	log_event(session->proxy->log, result->outcome == SCATTER_STALE ? LOG_INFO : LOG_WARNING,
	          "shards_failed", "session=%" PRIu64 " table=%s outcome=%s why=%s", session->id,
	          log_quote(query_table(session->route.query)),
	          result->outcome == SCATTER_STALE ? "stale_map" : "failed",
	          log_quote(result->why));
}

void route_map_is_stale(struct session *session)
{
	const struct route *route = &session->route;

	session->proxy->counters.stale_maps++;
	catalog_expire(route->catalog, shardmap_generation(route->map));
	facts_expire(session->facts);
}

static void on_scattered(void *owner, struct scatter_result *result)
{
	struct session *session = owner;
	struct route *route = &session->route;

	route->scatter = NULL;
	if (result->outcome == SCATTER_FAILED && has_timed_out(session)) {
		route->timed_out = true;
		result->outcome = SCATTER_CANCELLED;
	}
	if (route->timing)
		loop_timer_stop(session->timer);
	route->timing = false;
	if (result->outcome == SCATTER_OK && route->explain) {
		explain_route_start(session, result);
		return;
	}
	if (result->outcome == SCATTER_OK) {
		session->proxy->counters.routed++;
		session->proxy->counters.rows += result->rows;
		route->topk = result->topk;
		route->rows = result->rows;
		log_routed(session, result);
		notices_routed(session);
	} else if (!verdict_fails(verdict_refusal(result->outcome)) &&
	           result->outcome != SCATTER_UNLIKE) {
		log_failed(session, result);
	}
	if (result->outcome == SCATTER_STALE)
		route_map_is_stale(session);
	finish(session, result->outcome == SCATTER_CANCELLED && route->idle && !route->timed_out
	                    ? REFUSAL_idle_timeout
	                    : verdict_refusal(result->outcome));
}

bool route_takes(const struct session *session, const struct wire_bind *bind)
{
	return bind_fits(&session->route, bind);
}

enum refusal route_request(struct session *session, const struct wire_bind *bind)
{
	struct route *route = &session->route;
	struct scatter_request *request = &route->request;
	enum refusal refusal;

	assert(route->plan && route->description && !route->scatter);
	if (!bind_fits(route, bind))
		return REFUSAL_parameters;
	if (signatures_unlike(session->proxy->signatures, catalog_id(route->catalog), route->map,
	                      route->table)) {
		catalog_missed(route->catalog, route->table->oid); /* it may be mended */
		return REFUSAL_unlike;
	}
	refusal = bound_to_clock(bind) ? REFUSAL_expression : make_budget(session, bind);
	if (refusal != REFUSAL_none)
		return refusal;
	request->table = route->table;
	request->map = route->map;
	request->catalog = route->catalog;
	request->plan = route->plan;
	request->description = route->explain ? route->description->explained : route->description;
	request->user = session->user;
	request->database = session->database;
	request->short_answer = facts_short_answer(session->facts);
	put_parameters(route, bind);
	put_formats(route, bind);
	request->timed = route->explain != NULL;
	return REFUSAL_none;
}

void route_execute(struct session *session, const struct wire_bind *bind,
                   void (*done)(struct session *session, enum refusal refusal))
{
	struct route *route = &session->route;
	enum refusal refusal = route_request(session, bind);

	route->done = done;
	if (refusal != REFUSAL_none) {
		finish(session, refusal);
		return;
	}
	route->planned_us = loop_clock_us();
	if (route->explain && !route->explain->analyze) {
		explain_route_start(session, NULL);
		return;
	}
	start_timer(session);
	route->scatter = scatter_start(session->proxy, &route->request, on_scattered, session);
}
