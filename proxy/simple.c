/*
 * Simple: a Query message that may be routed, or that sets one of our settings.
 *
 * Until the shards' rows are complete nothing has been sent to the client and
 * nothing to the coordinator, so that every way to fail ends in one: the
 * message is forwarded as if nobody had looked at it.
 */
#include <string.h>

#include "parser/prefilter.h"
#include "proxy/own_setting.h"
#include "proxy/session.h"
#include "proxy/verdict.h"

static void fall_back(struct session *session)
{
	relay_message(session);
	session_end_work(session);
}

static void refuse(struct session *session, enum refusal refusal)
{
	if (refusal == REFUSAL_shadow)
		shadow_query(session);
	else
		route_refused(session, refusal);
	fall_back(session);
}

/* ---- routed ---- */

static void put_ready(struct session *session)
{
	wire_put_ready_for_query(&session->client.out, session->status);
	stream_flush(&session->client);
	session_end_work(session);
}

static void on_rows_sent(struct session *session)
{
	description_put_complete(session->route.description, &session->client.out,
	                         session->route.rows);
	put_ready(session);
}

static void on_prepared(struct session *session, enum refusal refusal);

static const char *query_text(const struct session *session, size_t *len)
{
	const char *sql = (const char *)iobuf_head(&session->message) + WIRE_HEADER;

	*len = strnlen(sql, iobuf_len(&session->message) - WIRE_HEADER);
	return sql;
}

static void prepare(struct session *session)
{
	size_t len;
	const char *sql = query_text(session, &len);

	route_prepare(session, sql, len, 0, NULL, on_prepared);
}

static void on_executed(struct session *session, enum refusal refusal)
{
	struct route *route = &session->route;

	if (route_may_retry(session, refusal)) {
		prepare(session);
	} else if (verdict_fails(refusal) || refusal == REFUSAL_failed) {
		route_refused(session, refusal);
		session_fail(session,
		             verdict_fails(refusal)
		                 ? verdict_error(refusal, session->route.timed_out)
		                 : NULL,
		             put_ready);
	} else if (refusal != REFUSAL_none) {
		refuse(session, refusal);
	} else {
		statements_drop(&session->statements, "");
		description_put_row_description(route->description, &session->client.out, NULL, 0);
		answer_start(session, route->topk, route->description->visible, 0, route->rows,
		             on_rows_sent);
	}
}

static void on_prepared(struct session *session, enum refusal refusal)
{
	if (verdict_fails(refusal) || refusal == REFUSAL_failed)
		on_executed(session, refusal);
	else if (refusal != REFUSAL_none)
		refuse(session, refusal);
	else
		route_execute(session, NULL, on_executed);
}

/* ---- a bad value for a setting of ours ---- */

static void report_bad_setting(struct session *session)
{
	struct wire_error error;
	char text[OWN_SETTING_TEXT];
	size_t len;
	const char *sql = query_text(session, &len);

	if (own_setting_is_bad(sql, len, &error, text))
		session_fail(session, &error, put_ready);
}

void simple_query(struct session *session)
{
	struct wire_error error;
	char text[OWN_SETTING_TEXT];
	size_t len;
	const char *sql = query_text(session, &len);
	bool whole = len + 1 == iobuf_len(&session->message) - WIRE_HEADER;

	if (own_setting_mentioned(sql, len))
		facts_forget_route(session->facts);
	if (!whole || session->replies.unsynced || session->replies.failed)
		fall_back(session);
	else if (own_setting_is_bad(sql, len, &error, text))
		session_await_replies(session, report_bad_setting);
	else if (prefilter_is_candidate(sql, len) && shadow_mode(session))
		refuse(session, REFUSAL_shadow);
	else if (prefilter_is_candidate(sql, len))
		prepare(session);
	else
		fall_back(session);
}
