/*
 * Explain route: see explain_route.h.
 */
#include "proxy/explain_route.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "proxy/config.h"
#include "proxy/explain_report.h"
#include "proxy/node_types.h"
#include "proxy/session.h"
#include "proxy/survey.h"

struct explain_run {
	struct session *session;
	struct explain_report report;
	struct survey *survey;
	const bool *exact; /* ANALYZE: of each shard, whether it was last asked without its index */
	unsigned first;
	struct catalog_waiter check;
	bool surveyed, checked;
};

/* ---- planning ---- */

bool explain_route_read(struct route *route, const char *sql, size_t len)
{
	struct explain explain;

	if (!explain_begins(sql, len) || !explain_parse(sql, len, route->arena, &explain)) {
		route->lifted.sql = sql;
		route->lifted.len = len;
		if (route->ntypes == 0) /* they are of parameters, used or not */
			literal_lift(sql, len, route->arena, &route->lifted);
		return true;
	}
	if (explain.format == EXPLAIN_OTHER || !explain.known)
		return false;
	route->explain = arena_alloc(route->arena, sizeof(explain));
	*route->explain = explain;
	route->lifted.sql = explain.sql;
	route->lifted.len = explain.len;
	return true;
}

void explain_route_describe(struct route *route)
{
	struct description *of = route->description;

	if (!route->explain)
		return;
	route->description = description_explain(of, route->explain->format == EXPLAIN_JSON);
	description_unref(of);
}

static const char *setting(const struct settings *settings, const char *name)
{
	const char *value = settings_get(settings, name);

	return value ? value : "not known to this pgvector";
}

/* ---- the answer ---- */

static void add_row(struct topk *topk, uint32_t number, const uint8_t *text, size_t len)
{
	struct iobuf row;
	bool ok;

	iobuf_init(&row);
	wire_put_u16(&row, 2);
	wire_put_u32(&row, (uint32_t)len);
	wire_put_bytes(&row, text, len);
	wire_put_u32(&row, 4);
	wire_put_u32(&row, number);
	ok = topk_add(topk, 0, iobuf_head(&row), iobuf_len(&row));
	assert(ok);
	iobuf_fini(&row);
}

/* Rows in their order, as if they were a routed statement's. */
static void answer(struct explain_run *run)
{
	static const struct order_key key = {.type = ORDER_INT4};
	struct topk_spec spec = {.keys = &key, .nkeys = 1, .visible = 1, .limit = UINT32_MAX};
	struct route *route = &run->session->route;
	struct topk *topk = topk_new(&spec);
	struct iobuf out;
	uint32_t number = 0;

	iobuf_init(&out);
	explain_report_write(&run->report, &out);
	while (iobuf_len(&out) > 0) {
		const uint8_t *at = iobuf_head(&out);
		const uint8_t *newline = NULL;
		size_t len = iobuf_len(&out);

		if (route->explain->format != EXPLAIN_JSON)
			newline = memchr(at, '\n', len);
		if (newline)
			len = (size_t)(newline - at);
		add_row(topk, number++, at, len);
		iobuf_consume(&out, len + (newline != NULL));
	}
	iobuf_fini(&out);
	route->topk = topk;
	route->rows = topk_finish(topk);
}

static void log_explained(const struct session *session)
{
	const struct route *route = &session->route;

	if (session->proxy->config->log_routed)
		log_event(session->proxy->log, LOG_INFO, "explained",
		          "session=%" PRIu64 " table=%s shards=%u analyze=%s", session->id,
		          log_quote(query_table(route->query)), route->table->nshards,
		          route->explain->analyze ? "yes" : "no");
}

static void maybe_finish(struct explain_run *run)
{
	if (!run->surveyed || !run->checked)
		return;
	answer(run);
	log_explained(run->session);
	route_finish(run->session, REFUSAL_none);
}

static void on_check(void *owner, bool ok, const char *why)
{
	struct explain_run *run = owner;

	(void)why;
	if (!ok) {
		route_map_is_stale(run->session);
		route_finish(run->session, REFUSAL_stale_map);
		return;
	}
	run->checked = true;
	maybe_finish(run);
}

/* ---- the shards' own plans ---- */

static struct settings *shard_settings(void *owner, const struct worker_facts *facts)
{
	struct explain_run *run = owner;
	struct explain_report *report = &run->report;
	const struct route *route = &run->session->route;
	struct settings *settings =
	    shard_settings_choose(route->request.settings, &facts->index, false);

	if (!report->ef_search) {
		report->ef_search = setting(settings, "hnsw.ef_search");
		report->iterative_scan = setting(settings, "hnsw.iterative_scan");
		report->probes = setting(settings, "ivfflat.probes");
		if (strcmp(report->probes, "1") == 0) /* pgvector's default */
			report->probes = NULL;
	} else if (strcmp(report->iterative_scan, setting(settings, "hnsw.iterative_scan")) != 0) {
		report->iterative_scan = "not known to each node's pgvector";
	}
	return settings;
}

static void put_shards(void *owner, struct worker *worker, unsigned first, unsigned end)
{
	struct explain_run *run = owner;
	const struct route *route = &run->session->route;
	const struct scatter_request *request = &route->request;
	const struct description *description = request->description;
	uint32_t *types = node_types_make(request->map, worker, description->parameter_types,
	                                  description->nparameters);
	struct worker_query query = {
	    .ntypes = description->nparameters,
	    .types = types,
	    .parameters = request->parameters,
	    .parameters_len = request->parameters_len,
	};

	for (unsigned i = first; i < end; i++) {
		const char *options = route->explain->options;

		worker_apply(worker,
		             shard_settings_choose(request->settings, &worker_facts(worker)->index,
		                                   run->exact && run->exact[i]));
		query.id = i;
		query.sql =
		    arena_printf(route->arena, "EXPLAIN %s%s%s %s", *options ? "(" : "", options,
		                 *options ? ")" : "", run->report.asked[i - run->first].sql);
		query.sql_len = strlen(query.sql);
		worker_query(worker, &query);
	}
	free(types);
}

static void on_row(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct explain_run *run = owner;
	struct explain_shard *shard = &run->report.asked[id - run->first];
	struct wire_reader reader;
	struct wire_value value;

	if (wire_read_data_row(body, len, &reader) != 1 || !wire_read_value(&reader, &value) ||
	    value.len < 0)
		return;
	iobuf_append(&shard->plan, value.data, (size_t)value.len);
	iobuf_append(&shard->plan, "\n", 1);
}

static bool is_stale(const char *sqlstate)
{
	return strcmp(sqlstate, "42P01") == 0 || strcmp(sqlstate, "42703") == 0;
}

static void on_surveyed(void *owner, const char *failure, const char *sqlstate)
{
	struct explain_run *run = owner;
	struct session *session = run->session;

	run->survey = NULL;
	if (!failure) {
		for (unsigned i = 0; i < run->report.nasked && !run->report.explain->verbose; i++)
			run->report.asked[i].sql = NULL;
		run->surveyed = true;
		maybe_finish(run);
		return;
	}
	log_event(session->proxy->log, LOG_INFO, "explain_failed",
	          "session=%" PRIu64 " table=%s why=%s", session->id,
	          log_quote(query_table(session->route.query)), log_quote(failure));
	if (is_stale(sqlstate))
		route_map_is_stale(session);
	route_finish(session, is_stale(sqlstate) ? REFUSAL_stale_map : REFUSAL_worker);
}

/* ---- what is known here ---- */

static const char *node_text(struct arena *arena, const struct shardmap_node *node)
{
	return node->coordinator ? "the coordinator"
	                         : arena_printf(arena, "%s:%d", node->host, node->port);
}

static void fill_shards(struct explain_run *run)
{
	struct route *route = &run->session->route;
	struct explain_report *report = &run->report;
	struct plan_text text = {0};

	report->asked = arena_calloc(route->arena, report->nasked, sizeof(*report->asked));
	for (unsigned i = 0; i < report->nasked; i++) {
		const struct shardmap_shard *at = &route->table->shards[run->first + i];
		struct explain_shard *shard = &report->asked[i];

		text.len = 0;
		plan_shard_sql(route->plan, at, route->request.budget.rows, &text);
		shard->sql = arena_strdup(route->arena, text.data);
		shard->name = arena_printf(route->arena, "%s.%s", at->schema, at->name);
		shard->node = node_text(route->arena, shardmap_node(route->map, at->node));
		iobuf_init(&shard->plan);
	}
	plan_text_fini(&text);
}

/* Nodes, and the lanes that a query has when enough connections are idle. */
static void count_lanes(struct explain_run *run)
{
	const struct shardmap_table *table = run->session->route.table;
	unsigned most = (unsigned)run->session->proxy->config->lanes, of_node = 0;

	for (unsigned i = 0; i < table->nshards; i++) {
		if (i == 0 || table->shards[i].node != table->shards[i - 1].node) {
			run->report.nodes++;
			of_node = 0;
		}
		run->report.lanes += of_node++ < most;
	}
}

static const bool *exact_shards(struct route *route, const struct passes *passes)
{
	bool *exact = arena_calloc(route->arena, route->table->nshards + 1, sizeof(*exact));

	for (unsigned i = 0; i < route->table->nshards; i++)
		exact[i] = passes->shards[i].exact;
	return exact;
}

static void fill(struct explain_run *run, const struct scatter_result *ran)
{
	struct route *route = &run->session->route;
	struct explain_report *report = &run->report;
	bool all = route->explain->analyze || route->explain->verbose;

	report->explain = route->explain;
	report->schema = route->table->schema;
	report->table = route->table->name;
	report->sort_keys = plan_sort_keys(route->plan, route->arena);
	report->nshards = route->table->nshards;
	report->limit = route->request.limit;
	report->per_shard = route->request.budget.rows;
	report->planning_ms = (double)(route->planned_us - run->session->began_us) / 1000;
	report->nasked = all ? report->nshards : 1;
	count_lanes(run);
	if (!ran)
		return;
	report->lanes = ran->lanes;
	report->rows = ran->rows;
	report->received = ran->received;
	report->refills = ran->refilled;
	report->merge_ms = (double)ran->merge_us / 1000;
	report->execution_ms = (double)(loop_clock_us() - route->planned_us) / 1000;
	run->exact = exact_shards(route, ran->passes);
}

void explain_route_start(struct session *session, struct scatter_result *ran)
{
	struct route *route = &session->route;
	struct explain_run *run = arena_calloc(route->arena, 1, sizeof(*run));
	struct survey_request request = {
	    .map = route->map,
	    .table = route->table,
	    .user = session->user,
	    .database = session->database,
	    .settings = shard_settings,
	    .put = put_shards,
	    .row = on_row,
	    .done = on_surveyed,
	    .owner = run,
	};

	route->run = run;
	run->session = session;
	fill(run, ran);
	fill_shards(run);
	if (ran)
		topk_free(ran->topk);
	run->check.fn = on_check;
	run->check.owner = run;
	catalog_check(route->catalog, route->map, route->table, &run->check);
	request.first = run->first;
	request.end = run->first + run->report.nasked;
	run->survey = survey_start(session->proxy, &request);
}

void explain_route_cancel(struct session *session)
{
	if (session->route.run)
		survey_cancel(session->route.run->survey);
}

void explain_route_reset(struct session *session)
{
	struct explain_run *run = session->route.run;

	if (!run)
		return;
	survey_free(run->survey);
	catalog_cancel(&run->check);
	for (unsigned i = 0; i < run->report.nasked; i++)
		iobuf_fini(&run->report.asked[i].plan);
}
