/*
 * Shadow: see shadow.h.
 */
#include "proxy/shadow.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "parser/explain.h"
#include "parser/prefilter.h"
#include "proxy/config.h"
#include "proxy/likeness.h"
#include "proxy/session.h"

#define ROWS_MAX 1000000

enum shadow_state {
	SHADOW_BOUND,     /* awaits its Execute */
	SHADOW_LISTENING, /* to the coordinator's answer */
	SHADOW_HEARD,     /* awaits the session at rest */
	SHADOW_PLANNING,  /* the session is busy with it */
	SHADOW_RUNNING,
};

struct shadow {
	struct session *session;
	enum shadow_state state;
	bool being_forwarded; /* its own message is the next to be forwarded */
	char *sql;
	size_t sql_len;
	unsigned ntypes;
	uint32_t *types;
	uint8_t *bind; /* body of the Bind; NULL: none */
	size_t bind_len;
	struct wire_bind view;

	uint64_t *rows; /* hashes */
	uint64_t count, cap;
	bool hashing; /* a row's bytes are passing */
	struct likeness_hash hash;
	uint64_t began_us, coordinator_us, planning_us;

	struct route route; /* the session's, once planned */
	struct shard_settings settings;
	uint64_t limit;
};

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

static void *copy(const void *data, size_t len)
{
	void *made = must(malloc(len ? len : 1));

	if (len)
		memcpy(made, data, len);
	return made;
}

bool shadow_mode(const struct session *session)
{
	return facts_shadowed(session->facts);
}

bool shadow_plans(const struct session *session)
{
	return session->shadow && session->shadow->state == SHADOW_PLANNING;
}

/* ---- the end ---- */

void shadow_free(struct session *session)
{
	struct shadow *shadow = session->shadow;

	if (!shadow)
		return;
	session->shadow = NULL;
	route_drop(&shadow->route);
	shard_settings_fini(&shadow->settings);
	free(shadow->sql);
	free(shadow->types);
	free(shadow->bind);
	free(shadow->rows);
	free(shadow);
}

/* There will be no comparison. */
static void give_up(struct session *session, const char *why)
{
	session->proxy->counters.shadow_skipped++;
	log_event(session->proxy->log, LOG_DEBUG, "shadow_skipped", "session=%" PRIu64 " why=%s",
	          session->id, log_quote(why));
	shadow_free(session);
}

/* ---- the statement ---- */

static bool is_candidate(const char *sql, size_t len)
{
	return prefilter_is_candidate(sql, len) && !explain_begins(sql, len);
}

static struct shadow *start(struct session *session, const char *sql, size_t len)
{
	struct shadow *shadow = session->shadow;

	if (shadow && shadow->state == SHADOW_BOUND) {
		shadow_free(session);
	} else if (shadow || session->status != 'I' || replies_owe_rows(&session->replies)) {
		session->proxy->counters.shadow_skipped++;
		return NULL;
	}
	shadow = must(calloc(1, sizeof(*shadow)));
	shadow->session = session;
	shadow->sql = copy(sql, len);
	shadow->sql_len = len;
	session->shadow = shadow;
	return shadow;
}

static void listen(struct shadow *shadow)
{
	shadow->state = SHADOW_LISTENING;
	shadow->being_forwarded = true;
	shadow->began_us = loop_clock_us();
}

void shadow_query(struct session *session)
{
	const char *sql = (const char *)iobuf_head(&session->message) + WIRE_HEADER;
	size_t len = strnlen(sql, iobuf_len(&session->message) - WIRE_HEADER);
	struct shadow *shadow = is_candidate(sql, len) ? start(session, sql, len) : NULL;

	if (shadow)
		listen(shadow);
}

void shadow_bind(struct session *session, const struct statement *statement)
{
	const struct wire_parse *parse = &statement->view;
	struct shadow *shadow = NULL;

	if (is_candidate(parse->query, parse->query_len))
		shadow = start(session, parse->query, parse->query_len);
	if (!shadow)
		return;
	shadow->state = SHADOW_BOUND;
	shadow->ntypes = parse->ntypes;
	shadow->types = copy(statement->types, parse->ntypes * sizeof(*statement->types));
	shadow->bind_len = iobuf_len(&session->message) - WIRE_HEADER;
	shadow->bind = copy(iobuf_head(&session->message) + WIRE_HEADER, shadow->bind_len);
	if (!wire_read_bind(shadow->bind, shadow->bind_len, &shadow->view))
		give_up(session, "a malformed Bind");
}

void shadow_execute(struct session *session)
{
	struct shadow *shadow = session->shadow;
	const char *portal;
	uint32_t max_rows;

	if (!shadow || shadow->state != SHADOW_BOUND)
		return;
	if (!wire_read_execute(iobuf_head(&session->message) + WIRE_HEADER,
	                       iobuf_len(&session->message) - WIRE_HEADER, &portal, &max_rows) ||
	    strcmp(portal, shadow->view.portal) != 0 || max_rows > 0 || session->status != 'I' ||
	    replies_owe_rows(&session->replies))
		give_up(session, "another portal, or a part of it");
	else
		listen(shadow);
}

void shadow_forwarded(struct session *session)
{
	struct shadow *shadow = session->shadow;

	if (!shadow || shadow->state > SHADOW_HEARD)
		return;
	if (shadow->being_forwarded)
		shadow->being_forwarded = false;
	else /* which may change what the session means by the statement */
		give_up(session, "another statement follows");
}

/* ---- the coordinator's answer ---- */

static void add_hash(struct shadow *shadow)
{
	if (shadow->count == shadow->cap) {
		shadow->cap = shadow->cap ? 2 * shadow->cap : 64;
		shadow->rows = must(realloc(shadow->rows, shadow->cap * sizeof(*shadow->rows)));
	}
	shadow->rows[shadow->count++] = likeness_hash_end(&shadow->hash);
}

void shadow_reply(struct session *session, uint8_t type)
{
	struct shadow *shadow = session->shadow;

	if (!shadow || shadow->state != SHADOW_LISTENING)
		return;
	if (shadow->hashing)
		add_hash(shadow);
	shadow->hashing = type == WIRE_BE_DataRow;
	switch (type) {
	case WIRE_BE_DataRow:
		likeness_hash_start(&shadow->hash);
		if (shadow->count == ROWS_MAX)
			give_up(session, "too many rows");
		break;
	case WIRE_BE_CommandComplete:
		shadow->coordinator_us = loop_clock_us() - shadow->began_us;
		shadow->state = SHADOW_HEARD;
		break;
	case WIRE_BE_ErrorResponse:
	case WIRE_BE_EmptyQueryResponse:
	case WIRE_BE_ReadyForQuery:
		give_up(session, "the coordinator gave no answer");
		break;
	default:
		break;
	}
}

void shadow_bytes(struct session *session, const uint8_t *data, size_t len)
{
	struct shadow *shadow = session->shadow;

	if (shadow && shadow->hashing)
		likeness_hash_add(&shadow->hash, data, len);
}

/* ---- the shards' answer ---- */

static void fail(struct shadow *shadow, const char *why)
{
	struct session *session = shadow->session;

	session->proxy->counters.shadow_failed++;
	log_event(session->proxy->log, LOG_DEBUG, "shadow_failed", "session=%" PRIu64 " why=%s",
	          session->id, log_quote(why));
	shadow_free(session);
}

static void judge(struct shadow *shadow, const struct likeness *likeness)
{
	struct proxy *proxy = shadow->session->proxy;
	uint64_t routed_us = loop_clock_us() - shadow->planning_us;

	if (likeness->same)
		proxy->counters.shadow_same++;
	else
		proxy->counters.shadow_differs++;
	if (likeness->same && !proxy->config->log_routed)
		return;
	log_event(proxy->log, LOG_INFO, likeness->same ? "shadow_same" : "shadow_differs",
	          "session=%" PRIu64 " table=%s limit=%" PRIu64 " rows=%" PRIu64
	          " routed_rows=%" PRIu64 " common=%" PRIu64 " missing=%" PRIu64 " extra=%" PRIu64
	          " misordered=%" PRIu64 " recall=%.3f coordinator_ms=%.1f routed_ms=%.1f",
	          shadow->session->id, log_quote(query_table(shadow->route.query)), shadow->limit,
	          likeness->rows, likeness->routed, likeness->common, likeness->missing,
	          likeness->extra, likeness->misordered,
	          likeness->routed ? (double)likeness->common / (double)likeness->routed : 1.,
	          (double)shadow->coordinator_us / 1000., (double)routed_us / 1000.);
}

static void on_scattered(void *owner, struct scatter_result *result)
{
	struct shadow *shadow = owner;
	struct route *route = &shadow->route;
	struct likeness likeness;

	route->scatter = NULL;
	if (result->outcome != SCATTER_OK) {
		if (result->outcome == SCATTER_STALE)
			catalog_expire(route->catalog, shardmap_generation(route->map));
		fail(shadow, result->why);
		return;
	}
	route->topk = result->topk;
	likeness = likeness_of(shadow->rows, shadow->count, result->topk, result->rows,
	                       shadow->limit, route->description->visible);
	judge(shadow, &likeness);
	shadow_free(shadow->session);
}

/* ---- between the two ---- */

/* The route goes on without its session, which has statements of its own to route. */
static void take_route(struct shadow *shadow)
{
	struct session *session = shadow->session;
	struct scatter_request *request;

	shadow->route = session->route;
	memset(&session->route, 0, sizeof(session->route));
	request = &shadow->route.request;
	shard_settings_copy(&shadow->settings, request->settings);
	request->settings = &shadow->settings;
	shadow->limit = request->limit;
	if (request->limit + request->offset < INT64_MAX)
		request->limit++; /* to see whether the last one is tied with the next */
}

static void on_prepared(struct session *session, enum refusal refusal)
{
	struct shadow *shadow = session->shadow;

	if (refusal == REFUSAL_none)
		refusal = route_request(session, shadow->bind ? &shadow->view : NULL);
	if (refusal == REFUSAL_none) {
		take_route(shadow);
		shadow->state = SHADOW_RUNNING;
		shadow->route.scatter =
		    scatter_start(session->proxy, &shadow->route.request, on_scattered, shadow);
	} else {
		give_up(session, refusal_name(refusal));
	}
	session_end_work(session);
}

static bool is_at_rest(const struct session *session)
{
	return session->phase == SESSION_READY && session->status == 'I' && !session->busy &&
	       !session->inner && !session->leaving && !session->relaying &&
	       session_owes_nothing(session) && replies_idle(&session->replies);
}

void shadow_look(struct session *session)
{
	struct shadow *shadow = session->shadow;

	if (!shadow || shadow->state != SHADOW_HEARD || !is_at_rest(session))
		return;
	shadow->state = SHADOW_PLANNING;
	shadow->planning_us = loop_clock_us();
	session_begin_work(session);
	route_prepare(session, shadow->sql, shadow->sql_len, shadow->ntypes, shadow->types,
	              on_prepared);
}
