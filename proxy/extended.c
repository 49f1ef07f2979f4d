/*
 * Extended: Parse, Bind, Describe, Execute, Close, Sync and Flush of statements
 * that may be routed.
 *
 * What is answered here is not sent to the coordinator at first: the messages go
 * into the session's journal, our replies are held. Then either
 *   - the statement is routed: held replies and rows go to the client;
 *   - the coordinator has to answer after all (fall_back): held replies are thrown
 *     away and the journal is sent instead, so that the coordinator says it all; or
 *   - the client wants to see the replies first (Flush, Sync, or a message of
 *     another statement): they are sent (settle), and should the coordinator need
 *     the messages later, they are sent to it hidden.
 * Replies of ours are only ever produced while the coordinator owes none, so
 * their order is the client's order.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "parser/prefilter.h"
#include "proxy/config.h"
#include "proxy/journal.h"
#include "proxy/own_setting.h"
#include "proxy/session.h"
#include "proxy/verdict.h"

static const uint8_t *body(const struct session *session)
{
	return iobuf_head(&session->message) + WIRE_HEADER;
}

static size_t body_len(const struct session *session)
{
	return iobuf_len(&session->message) - WIRE_HEADER;
}

/* The message may be kept; else the coordinator alone knows of it. */
static bool has_room(const struct session *session)
{
	const struct config *config = session->proxy->config;

	return statements_have_room(&session->statements, iobuf_len(&session->message),
	                            (unsigned)config->max_statements, (size_t)config->merge_memory);
}

static void forward(struct session *session)
{
	journal_settle(session);
	relay_message(session);
	session_end_work(session);
}

/*
 * The server skips messages up to the next Sync: it gets this one to skip as well, and
 * nothing here may change by it.
 */
static bool is_skipped(struct session *session)
{
	if (!session->replies.failed)
		return false;
	relay_message(session);
	session_end_work(session);
	return true;
}

static void skip_to_sync(struct session *session)
{
	stream_flush(&session->client);
	session->skipping = true;
	session_end_work(session);
}

/* The statement fails, in a transaction block with it: messages up to Sync are dropped. */
static void fail(struct session *session, const struct wire_error *error)
{
	journal_settle(session);
	session_fail(session, error, skip_to_sync);
}

/* It was cancelled, or the coordinator has failed what was asked for it. */
static bool has_failed(struct session *session, enum refusal refusal)
{
	if (!verdict_fails(refusal) && refusal != REFUSAL_failed)
		return false;
	route_refused(session, refusal);
	fail(session,
	     verdict_fails(refusal) ? verdict_error(refusal, session->route.timed_out) : NULL);
	return true;
}

/* ---- Parse ---- */

/* A named statement is the coordinator's as well, so that EXECUTE and DEALLOCATE know it; in
 * shadow mode the unnamed one, too. */
static void remember(struct session *session)
{
	struct statement *statement = statements_add(
	    &session->statements, iobuf_head(&session->message), iobuf_len(&session->message));

	assert(statement);
	statement->sequence = session->parses_sent + 1;
	statements_note_settings(statement, facts_settings(session->facts));
	forward(session);
}

/* A named one is asked about again when it is bound, but now what its literals mean is known. */
static void on_parsed(struct session *session, enum refusal refusal)
{
	struct statement *statement;
	struct wire_parse parse;
	bool ok = wire_read_parse(body(session), body_len(session), &parse);

	assert(ok);
	if (is_skipped(session) || has_failed(session, refusal))
		return;
	if (refusal == REFUSAL_shadow || parse.statement[0]) {
		journal_settle(session);
		remember(session);
		return;
	}
	if (refusal != REFUSAL_none) {
		route_refused(session, refusal);
		journal_settle(session);
		statements_drop(&session->statements, parse.statement);
		forward(session);
		return;
	}
	statement = statements_add(&session->statements, iobuf_head(&session->message),
	                           iobuf_len(&session->message));
	assert(statement);
	statement->here_only = true;
	statement->journaled = true;
	statement->described = description_ref(session->route.description);
	statement->lifted = session->route.lifted.count;
	statements_note_settings(statement, facts_settings(session->facts));
	wire_put_bare(&session->held, WIRE_BE_ParseComplete);
	journal_add(session);
	session_end_work(session);
}

static void prepare_parse(struct session *session)
{
	struct wire_parse parse;
	uint32_t *types;

	wire_read_parse(body(session), body_len(session), &parse);
	types = statements_read_types(&parse);
	route_prepare(session, parse.query, parse.query_len, parse.ntypes, types, on_parsed);
	free(types);
}

/* The coordinator owes nothing: it will do this Parse, or is skipping. */
static void parse(struct session *session)
{
	struct wire_error error;
	char text[OWN_SETTING_TEXT];
	struct wire_parse parse;

	if (is_skipped(session))
		return;
	wire_read_parse(body(session), body_len(session), &parse);
	journal_release_portals_of(session, parse.statement);
	if (session->status != 'E' && !session->replies.touched &&
	    own_setting_is_bad(parse.query, parse.query_len, &error, text)) {
		fail(session, &error);
	} else if (!prefilter_is_candidate(parse.query, parse.query_len) ||
	           ((parse.statement[0] || shadow_mode(session)) && !has_room(session))) {
		journal_settle(session);
		statements_drop(&session->statements, parse.statement);
		forward(session);
	} else if (shadow_mode(session)) {
		journal_settle(session);
		remember(session);
	} else {
		prepare_parse(session);
	}
}

static void handle_parse(struct session *session)
{
	struct wire_parse view;
	bool ok = wire_read_parse(body(session), body_len(session), &view);

	if (ok && own_setting_mentioned(view.query, view.query_len))
		facts_forget_route(session->facts);
	if (ok && (statements_find(&session->statements, view.statement) ||
	           prefilter_is_candidate(view.query, view.query_len) ||
	           own_setting_mentioned(view.query, view.query_len)))
		session_await_replies(session, parse);
	else
		forward(session);
}

/* ---- Bind ---- */

static struct statement *bound_statement(const struct session *session, struct wire_bind *bind)
{
	if (!wire_read_bind(body(session), body_len(session), bind))
		return NULL;
	return statements_find((struct statements *)&session->statements, bind->statement);
}

/* The coordinator binds it, and what was bound here. */
static void bind_there(struct session *session, struct statement *statement)
{
	if (statement) {
		journal_settle(session);
		journal_hand_over_statement(session, statement);
		journal_hand_over_portals(session);
	}
	forward(session);
}

static void on_bound(struct session *session, enum refusal refusal)
{
	struct wire_bind bind;
	struct statement *statement = bound_statement(session, &bind);
	bool taken = statement && statements_find_portal(&session->statements, bind.portal);
	struct portal *portal;

	if (is_skipped(session))
		return;
	if (has_failed(session, refusal))
		return;
	if (refusal == REFUSAL_none && statement && statement->described &&
	    !description_same(statement->described, session->route.description))
		refusal = REFUSAL_description; /* the client was told of other columns */
	if (refusal == REFUSAL_none && statement) {
		statements_note_settings(statement, facts_settings(session->facts));
		if (!facts_read_alike(session->facts, statement->read_under))
			refusal = REFUSAL_settings;
	}
	if (refusal == REFUSAL_none && statement && !route_takes(session, &bind))
		refusal = REFUSAL_parameters; /* an error of Bind, not of Execute */
	if (refusal == REFUSAL_none && statement && !taken && !has_room(session))
		refusal = REFUSAL_statements;
	if (refusal == REFUSAL_none && session->status == 'T' && bind.portal[0])
		refusal = REFUSAL_transaction; /* FETCH may name it, and a savepoint undo it */
	if (refusal == REFUSAL_none && statement && !taken) {
		portal = statements_add_portal(&session->statements, statement,
		                               iobuf_head(&session->message),
		                               iobuf_len(&session->message));
		assert(portal);
		portal->journaled = true;
		portal->described = description_ref(session->route.description);
		if (!statement->described)
			statement->described = description_ref(session->route.description);
		statement->lifted = session->route.lifted.count;
		wire_put_bare(&session->held, WIRE_BE_BindComplete);
		journal_add(session);
		session_end_work(session);
		return;
	}
	if (refusal == REFUSAL_shadow && statement)
		shadow_bind(session, statement);
	else if (refusal != REFUSAL_none)
		route_refused(session, refusal);
	bind_there(session, statement);
}

static void prepare_statement(struct session *session, const struct statement *statement,
                              void (*done)(struct session *, enum refusal))
{
	route_prepare(session, statement->view.query, statement->view.query_len,
	              statement->view.ntypes, statement->types, done);
}

/* The name is taken by a portal that was executed here: 42P03, unless more is wrong. */
static void bind_again(struct session *session)
{
	static const char format[] = "cursor \"%.63s\" already exists";
	struct wire_bind bind;
	char message[sizeof(format) + 64];
	struct wire_error error = {.severity = "ERROR", .sqlstate = "42P03", .message = message};
	struct portal *portal;

	if (is_skipped(session))
		return;
	wire_read_bind(body(session), body_len(session), &bind);
	portal = statements_find_portal(&session->statements, bind.portal);
	if (!portal || journal_hand_over_name(session, portal)) {
		forward(session);
		return;
	}
	snprintf(message, sizeof(message), format, bind.portal);
	fail(session, &error);
}

static bool names_executed(const struct session *session, const struct wire_bind *bind)
{
	struct portal *portal =
	    statements_find_portal((struct statements *)&session->statements, bind->portal);

	return bind->portal[0] && portal && portal->executed;
}

static void handle_bind(struct session *session)
{
	struct wire_bind bind;
	struct statement *statement = NULL;

	if (wire_read_bind(body(session), body_len(session), &bind)) {
		if (names_executed(session, &bind)) {
			session_await_replies(session, bind_again);
			return;
		}
		statement = statements_find(&session->statements, bind.statement);
		if (bind.portal[0] == '\0') /* replaced, as in the server, whatever the statement */
			statements_drop_portal(&session->statements, "");
	} else {
		journal_abandon(session, false); /* the coordinator finds the error in it */
	}
	if (statement && shadow_mode(session)) {
		shadow_bind(session, statement);
		bind_there(session, statement);
	} else if (statement) {
		prepare_statement(session, statement, on_bound);
	} else {
		forward(session);
	}
}

/* ---- Describe ---- */

static void describe_here(struct session *session)
{
	struct statement *statement;
	struct portal *portal;
	const char *name;
	uint8_t kind;

	if (is_skipped(session))
		return;
	wire_read_target(body(session), body_len(session), &kind, &name);
	statement = kind == 'S' ? statements_find(&session->statements, name) : NULL;
	portal = kind == 'P' ? statements_find_portal(&session->statements, name) : NULL;
	if (!portal && !(statement && statement->here_only)) { /* dropped meanwhile */
		forward(session);
		return;
	}
	if (portal && session->status == 'E') {
		fail(session, verdict_block_failed());
		return;
	}
	if (kind == 'S') {
		description_put_parameters(statement->described, &session->held,
		                           statement->described->nparameters - statement->lifted);
		description_put_row_description(statement->described, &session->held, NULL, 0);
	} else {
		description_put_row_description(portal->described, &session->held,
		                                portal->view.result_formats,
		                                portal->view.nresult_formats);
	}
	journal_add(session);
	session_end_work(session);
}

static void handle_describe(struct session *session)
{
	struct statement *statement;
	const char *name;
	uint8_t kind;
	bool here = false;

	if (wire_read_target(body(session), body_len(session), &kind, &name)) {
		statement = kind == 'S' ? statements_find(&session->statements, name) : NULL;
		here = kind == 'S' ? statement && statement->here_only
		                   : statements_find_portal(&session->statements, name) != NULL;
	}
	if (here)
		session_await_replies(session, describe_here);
	else
		forward(session);
}

/* ---- Execute ---- */

static struct portal *executed_portal(const struct session *session, uint32_t *max_rows)
{
	const char *name;

	if (!wire_read_execute(body(session), body_len(session), &name, max_rows))
		return NULL;
	return statements_find_portal((struct statements *)&session->statements, name);
}

static void on_rows_sent(struct session *session)
{
	struct iobuf *out = &session->client.out;
	uint32_t max_rows;
	struct portal *portal = executed_portal(session, &max_rows);
	uint64_t sent = session->answer.end - portal->taken;

	portal->taken = session->answer.end;
	if (max_rows > 0 && sent == max_rows)
		wire_put_bare(out, WIRE_BE_PortalSuspended);
	else
		description_put_complete(portal->described, out, sent);
	session_end_work(session);
}

static void send_rows(struct session *session)
{
	uint32_t max_rows;
	struct portal *portal = executed_portal(session, &max_rows);
	uint64_t end;

	if (is_skipped(session))
		return;
	if (!portal) {
		forward(session);
		return;
	}
	if (session->status == 'E') { /* portals outlive an error, but give no more */
		fail(session, verdict_block_failed());
		return;
	}
	end = portal->rows;
	if (max_rows > 0 && max_rows < end - portal->taken)
		end = portal->taken + max_rows;
	iobuf_append(&session->client.out, iobuf_head(&session->held), iobuf_len(&session->held));
	journal_clear(session);
	answer_start(session, portal->topk, portal->described->visible, portal->taken, end,
	             on_rows_sent);
}

static void fall_back(struct session *session, enum refusal refusal)
{
	route_refused(session, refusal);
	journal_hand_over_portals(session);
	forward(session);
}

static void on_execute_prepared(struct session *session, enum refusal refusal);

static void on_executed(struct session *session, enum refusal refusal)
{
	uint32_t max_rows;
	struct portal *portal = executed_portal(session, &max_rows);

	if (route_may_retry(session, refusal)) {
		prepare_statement(session, portal->statement, on_execute_prepared);
	} else if (verdict_fails(refusal)) {
		statements_drop_portals(&session->statements);
		has_failed(session, refusal);
	} else if (refusal != REFUSAL_none) {
		fall_back(session, refusal);
	} else {
		statements_set_answer(&session->statements, portal, session->route.topk,
		                      session->route.rows);
		session->route.topk = NULL;
		send_rows(session);
	}
}

static void on_execute_prepared(struct session *session, enum refusal refusal)
{
	uint32_t max_rows;
	struct portal *portal = executed_portal(session, &max_rows);

	if (is_skipped(session))
		return;
	if (has_failed(session, refusal))
		return;
	if (refusal == REFUSAL_none &&
	    (!portal || !description_same(portal->described, session->route.description)))
		refusal = REFUSAL_description; /* the coordinator says what it says then */
	if (refusal == REFUSAL_none)
		route_execute(session, &portal->view, on_executed);
	else
		fall_back(session, refusal);
}

static void handle_execute(struct session *session)
{
	uint32_t max_rows;
	struct portal *portal = executed_portal(session, &max_rows);

	if (!portal) {
		/* it may do anything to portals that were bound here: the coordinator's, then */
		journal_settle(session);
		journal_hand_over_portals(session);
		shadow_execute(session);
		forward(session);
	} else if (portal->executed) {
		session_await_replies(session, send_rows);
	} else {
		prepare_statement(session, portal->statement, on_execute_prepared);
	}
}

/* ---- Close, Sync, Flush ---- */

static void close_here(struct session *session)
{
	const char *name;
	uint8_t kind;

	if (is_skipped(session))
		return;
	wire_read_target(body(session), body_len(session), &kind, &name);
	journal_settle(session);
	if (kind == 'S')
		statements_drop(&session->statements, name);
	else
		statements_drop_portal(&session->statements, name);
	wire_put_bare(&session->client.out, WIRE_BE_CloseComplete);
	session_end_work(session);
}

static void handle_close(struct session *session)
{
	struct statement *statement;
	const char *name;
	uint8_t kind;

	if (!wire_read_target(body(session), body_len(session), &kind, &name)) {
		forward(session);
		return;
	}
	if (kind == 'S')
		journal_release_portals_of(session, name);
	statement = kind == 'S' ? statements_find(&session->statements, name) : NULL;
	if ((statement && statement->here_only) ||
	    (kind == 'P' && statements_find_portal(&session->statements, name))) {
		session_await_replies(session, close_here);
		return;
	}
	if (statement)
		statements_drop(&session->statements, name);
	forward(session);
}

/*
 * A portal that is to be shown before it is executed: whether its values are any, the server
 * tells at Bind. So it is the coordinator's.
 */
static void show_portals(struct session *session)
{
	struct portal *portal, *next;

	HASH_ITER (hh, session->statements.portals, portal, next) {
		if (!portal->executed && portal->view.nparameters > 0) {
			journal_hand_over_portals(session);
			return;
		}
	}
	journal_settle(session);
}

static void handle_sync(struct session *session)
{
	show_portals(session);
	session->skipping = false;
	if (session->status == 'I')
		statements_drop_portals(&session->statements); /* they end with the transaction */
	if (!replies_idle(&session->replies) || body_len(session) > 0) {
		forward(session);
		return;
	}
	wire_put_ready_for_query(&session->client.out, session->status);
	session_end_work(session);
}

static void handle_flush(struct session *session)
{
	show_portals(session);
	if (session->replies.unsynced)
		relay_message(session);
	stream_flush(&session->client);
	session_end_work(session);
}

void extended_message(struct session *session, uint8_t type)
{
	switch (type) {
	case WIRE_FE_Parse:
		handle_parse(session);
		break;
	case WIRE_FE_Bind:
		handle_bind(session);
		break;
	case WIRE_FE_Describe:
		handle_describe(session);
		break;
	case WIRE_FE_Execute:
		handle_execute(session);
		break;
	case WIRE_FE_Close:
		handle_close(session);
		break;
	case WIRE_FE_Sync:
		handle_sync(session);
		break;
	default:
		assert(type == WIRE_FE_Flush);
		handle_flush(session);
		break;
	}
}
