/*
 * Relay: moves messages between the client and the coordinator.
 *
 * Most messages are forwarded by their header alone: consecutive ones form a run
 * that leaves with one write, straight from the input buffer. What each needs is
 * decided in client_action() and coordinator_message(); everything that is kept
 * for a look goes to simple.c or extended.c as one whole message.
 */
#include <assert.h>
#include <string.h>

#include "parser/prefilter.h"
#include "proxy/cancel.h"
#include "proxy/config.h"
#include "proxy/journal.h"
#include "proxy/login.h"
#include "proxy/own_setting.h"
#include "proxy/pq.h"
#include "proxy/session.h"

#define LOGIN_ERROR_MAX 30000 /* libpq's MAX_ERRLEN */
#define UNASKED_MAX (1024 * 1024)

enum action {
	ACTION_FORWARD,
	ACTION_WAIT, /* for the rest of the message */
	ACTION_KEEP, /* look inside */
	ACTION_DROP,
};

/*
 * Bytes of a message that was decided on, behind the run: they join it or are dropped.
 * False: none are there.
 */
static bool pass_rest(struct iobuf *in, size_t *left, bool dropped, size_t *run)
{
	size_t n = iobuf_len(in) - *run;

	if (n > *left)
		n = *left;
	if (n == 0)
		return false;
	*left -= n;
	if (dropped)
		iobuf_consume(in, n);
	else
		*run += n;
	return true;
}

static bool pass_client_rest(struct session *session, size_t *run)
{
	return pass_rest(&session->client.in, &session->client_left, session->client_dropped, run);
}

static bool pass_coordinator_rest(struct session *session, size_t *run)
{
	size_t before = *run;
	bool some = pass_rest(&session->coordinator.in, &session->coordinator_left,
	                      session->coordinator_hidden, run);

	shadow_bytes(session, iobuf_head(&session->coordinator.in) + before, *run - before);
	return some;
}

/* ---- client to coordinator ---- */

static bool is_worth_a_look(const char *sql, size_t len)
{
	return prefilter_is_candidate(sql, len) || own_setting_mentioned(sql, len);
}

/* A message of the session in SESSION_READY: `have` of its `total` bytes are there. */
static enum action client_action(struct session *session, uint8_t type, const uint8_t *message,
                                 size_t have, size_t total)
{
	bool tracked = !statements_empty(&session->statements);
	bool small = total <= (size_t)session->proxy->config->inspect_limit;

	if (tracked && (type == WIRE_FE_Query || type == WIRE_FE_FunctionCall))
		journal_query_follows(session);
	if (session->skipping && type != WIRE_FE_Sync && type != WIRE_FE_Terminate)
		return ACTION_DROP;
	switch (type) {
	case WIRE_FE_Query:
	case WIRE_FE_Parse:
		if (session->replies.copying_in && !tracked)
			return ACTION_FORWARD; /* the server objects to the type */
		if (small && have < total)
			return ACTION_WAIT;
		if (small && tracked && type == WIRE_FE_Parse)
			return ACTION_KEEP; /* it may replace one of them */
		if (small && tracked && type == WIRE_FE_Query && session_owes_nothing(session))
			deallocate_note(&session->deallocate, (const char *)message + WIRE_HEADER,
			                total - WIRE_HEADER);
		if (small &&
		    is_worth_a_look((const char *)message + WIRE_HEADER, total - WIRE_HEADER))
			return ACTION_KEEP;
		if (type == WIRE_FE_Query)
			return ACTION_FORWARD;
		break;
	case WIRE_FE_Bind:
	case WIRE_FE_Describe:
	case WIRE_FE_Execute:
	case WIRE_FE_Close:
		if (!tracked)
			return ACTION_FORWARD;
		if (small)
			return have < total ? ACTION_WAIT : ACTION_KEEP;
		break;
	case WIRE_FE_Flush:
		if (total != WIRE_HEADER) { /* answered by an error */
			if (tracked)
				journal_abandon(session, false);
			replies_expect(&session->replies, REPLY_PARSE, false);
			return ACTION_FORWARD;
		}
		if (!tracked)
			return ACTION_FORWARD;
		return have < total ? ACTION_WAIT : ACTION_KEEP;
	case WIRE_FE_Sync:
		if (tracked || session->skipping)
			return have < total ? ACTION_WAIT : ACTION_KEEP;
		return ACTION_FORWARD;
	default:
		return ACTION_FORWARD;
	}
	if (tracked) /* too long to look at: it may concern what is known here only */
		journal_abandon(session, type == WIRE_FE_Parse);
	return ACTION_FORWARD;
}

/* The coordinator will answer; what it runs may change the session's state. */
static void note_forwarded(struct session *session, uint8_t type)
{
	struct replies *replies = &session->replies;

	if (type == WIRE_FE_Query || type == WIRE_FE_Execute || type == WIRE_FE_FunctionCall)
		shadow_forwarded(session);
	switch (type) {
	case WIRE_FE_Query:
	case WIRE_FE_FunctionCall:
		replies_expect(replies, REPLY_QUERY, false);
		facts_expire(session->facts);
		if (type == WIRE_FE_Query) /* the server drops its own, too */
			statements_drop(&session->statements, "");
		break;
	case WIRE_FE_Parse:
		session->parses_sent++;
		replies_expect(replies, REPLY_PARSE, false);
		break;
	case WIRE_FE_Bind:
		replies_expect(replies, REPLY_BIND, false);
		break;
	case WIRE_FE_Describe:
		replies_expect(replies, REPLY_DESCRIBE, false);
		break;
	case WIRE_FE_Execute:
		replies_expect(replies, REPLY_EXECUTE, false);
		facts_expire(session->facts);
		break;
	case WIRE_FE_Close:
		replies_expect(replies, REPLY_CLOSE, false);
		break;
	case WIRE_FE_Sync:
		replies_expect(replies, REPLY_SYNC, false);
		break;
	case WIRE_FE_CopyDone:
	case WIRE_FE_CopyFail:
		replies_copy_ended(replies);
		break;
	case WIRE_FE_Terminate:
		session->leaving = true;
		break;
	default:
		break;
	}
}

static void send_run(struct session *session, size_t *run)
{
	if (*run == 0)
		return;
	stream_write(&session->coordinator, iobuf_head(&session->client.in), *run);
	iobuf_consume(&session->client.in, *run);
	*run = 0;
}

static void keep_message(struct session *session, uint8_t type, size_t total)
{
	iobuf_append(&session->message, iobuf_head(&session->client.in), total);
	iobuf_consume(&session->client.in, total);
	session_begin_work(session);
	if (type == WIRE_FE_Query)
		simple_query(session);
	else
		extended_message(session, type);
}

static void decide(struct session *session, uint8_t type, size_t total, enum action action,
                   size_t *run)
{
	switch (action) {
	case ACTION_FORWARD:
		note_forwarded(session, type);
		session->client_dropped = false;
		session->client_left = total;
		break;
	case ACTION_DROP:
		send_run(session, run);
		session->client_dropped = true;
		session->client_left = total;
		break;
	case ACTION_KEEP:
		send_run(session, run);
		keep_message(session, type, total);
		break;
	case ACTION_WAIT:
		break;
	}
}

/* A type that a session may send, whatever the length. */
static bool is_known(uint8_t type)
{
	return type != WIRE_FE_Password && wire_frontend_length_ok(type, WIRE_HEADER);
}

/*
 * What is no message of the protocol: the coordinator judges it, and all that follows. About
 * a type that is none it says something, behind our answers; else it just hangs up.
 */
static void let_through(struct session *session, uint8_t type)
{
	if (!is_known(type))
		journal_settle(session);
	session->astray = true;
	session->client_dropped = false;
	session->client_left = SIZE_MAX;
}

/* A message of a login that is handled here. False: stop for now. */
static bool login_message(struct session *session, uint8_t type, size_t total, size_t *run)
{
	struct iobuf *in = &session->client.in;
	struct iobuf body;

	send_run(session, run);
	if (type != WIRE_FE_Password) { /* its length does not matter */
		login_client_message(session, type, NULL, 0);
		return false;
	}
	if (total > WIRE_AUTHENTICATION_MAX) {
		let_through(session, type);
		return true;
	}
	if (iobuf_len(in) < total)
		return false;
	iobuf_init(&body); /* what is said in return may free the input buffer */
	iobuf_append(&body, iobuf_head(in), total);
	iobuf_consume(in, total);
	login_client_message(session, type, iobuf_head(&body) + WIRE_HEADER, total - WIRE_HEADER);
	iobuf_fini(&body);
	return session->phase != SESSION_CLOSED;
}

/* Handles the message at the head of the input, behind the run. False: stop for now. */
static bool client_message(struct session *session, size_t *run)
{
	struct iobuf *in = &session->client.in;
	const uint8_t *message;
	size_t have = iobuf_len(in) - *run;
	enum action action = ACTION_FORWARD;
	uint8_t type;
	size_t total;

	if (have < WIRE_HEADER)
		return false;
	message = iobuf_head(in) + *run;
	switch (wire_frame(message, have, &type, &total)) {
	case WIRE_FRAME_MORE:
		return false;
	case WIRE_FRAME_BAD:
		let_through(session, message[0]);
		return true;
	case WIRE_FRAME_OK:
		break;
	}
	if (login_keeps(session))
		return login_message(session, type, total, run);
	if (!wire_frontend_length_ok(type, total) || session->leaving ||
	    (session->phase == SESSION_READY && !is_known(type))) {
		let_through(session, type);
		return true;
	}
	if (session->phase == SESSION_READY && !session->replication) {
		if (!statements_empty(&session->statements))
			send_run(session,
			         run); /* what follows may write to the coordinator itself */
		message = iobuf_head(in) + *run;
		action = client_action(session, type, message, have, total);
	}
	if (action == ACTION_WAIT)
		return false;
	decide(session, type, total, action, run);
	return true;
}

/* A client that does not read what it is told gets nothing more done. */
static bool client_is_behind(const struct session *session)
{
	return iobuf_len(&session->client.out) >= STREAM_HIGH_WATER;
}

static bool may_go_on(const struct session *session)
{
	return session->phase != SESSION_CLOSED && !session->busy && session->coordinator.fd >= 0 &&
	       !client_is_behind(session) && !login_holds(session) && session->cancels_on_way == 0;
}

/*
 * The coordinator, too, hears that the client says no more, a message's first half included:
 * it ends, and so does the session.
 */
static void pass_end(struct session *session)
{
	size_t rest = iobuf_len(&session->client.in);

	session->leaving = true;
	send_run(session, &rest);
	stream_end(&session->coordinator);
}

void relay_client_input(struct session *session)
{
	size_t run = 0;
	bool waiting = false;

	assert(!session->relaying);
	session->relaying = true;
	while (may_go_on(session) && !waiting) {
		waiting = session->client_left > 0 ? !pass_client_rest(session, &run)
		                                   : !client_message(session, &run);
		if (session->phase != SESSION_CLOSED && client_is_behind(session))
			stream_flush(&session->client);
	}
	session->relaying = false;
	if (session->phase == SESSION_CLOSED)
		return;
	if (session->coordinator.fd >= 0)
		send_run(session, &run);
	if (waiting && session->client_ended)
		pass_end(session);
	if (!session->busy && iobuf_len(&session->client.out) > 0)
		stream_flush(&session->client);
	session_balance(session);
}

void relay_message(struct session *session)
{
	struct iobuf *message = &session->message;

	note_forwarded(session, iobuf_head(message)[0]);
	stream_write(&session->coordinator, iobuf_head(message), iobuf_len(message));
}

/* ---- coordinator to client ---- */

static void show_run(struct session *session, size_t *run)
{
	if (*run == 0)
		return;
	stream_write(&session->client, iobuf_head(&session->coordinator.in), *run);
	iobuf_consume(&session->coordinator.in, *run);
	*run = 0;
}

static bool is_of_login(uint8_t type)
{
	return type == WIRE_BE_Authentication || type == WIRE_BE_ErrorResponse;
}

/* Messages whose body matters; all others pass by their header. */
static bool needs_body(const struct session *session, uint8_t type)
{
	return type == WIRE_BE_ReadyForQuery || type == WIRE_BE_BackendKeyData ||
	       type == WIRE_BE_CommandComplete || session->inner ||
	       footnote_wants(&session->footnote, type) || (session->login && is_of_login(type));
}

static bool is_asynchronous(uint8_t type)
{
	return type == WIRE_BE_NotificationResponse || type == WIRE_BE_ParameterStatus;
}

static bool is_fatal(const uint8_t *body, size_t len)
{
	const char *severity = wire_error_field(body, len, 'V');

	return severity && strcmp(severity, "ERROR") != 0;
}

/* A message that belongs to a hidden batch. */
static void inner_message(struct session *session, uint8_t type, const uint8_t *body, size_t len)
{
	const struct session_inner *inner = session->inner;

	if (type == WIRE_BE_ErrorResponse && is_fatal(body, len))
		stream_write(&session->client, body - WIRE_HEADER, len + WIRE_HEADER);
	else if (type == WIRE_BE_ErrorResponse && !session->on_failed)
		iobuf_append(&session->error, body - WIRE_HEADER, len + WIRE_HEADER);
	if (type != WIRE_BE_ReadyForQuery) {
		if (type != WIRE_BE_NoticeResponse)
			inner->on_message(session, type, body, len);
		return;
	}
	session->inner = NULL;
	session->status = (char)body[0];
	inner->on_ready(session);
}

static void note_command(struct session *session, const uint8_t *tag, size_t len)
{
	if (len == sizeof("DEALLOCATE") && memcmp(tag, "DEALLOCATE", len) == 0)
		journal_deallocated(session, session->deallocate.name);
	else if ((len >= 10 && memcmp(tag, "DEALLOCATE", 10) == 0) ||
	         (len >= 11 && memcmp(tag, "DISCARD ALL", 11) == 0))
		journal_deallocated(session, "");
	/* of a transaction's end or a ROLLBACK TO; answers kept here are of portals, too */
	if ((len >= 6 && memcmp(tag, "COMMIT", 6) == 0) ||
	    (len >= 8 && memcmp(tag, "ROLLBACK", 8) == 0) ||
	    (len >= 19 && memcmp(tag, "PREPARE TRANSACTION", 19) == 0))
		statements_drop_portals(&session->statements);
}

static void login_done(struct session *session)
{
	session->phase = SESSION_READY;
	loop_timer_stop(session->timer);
	login_free(session->login);
	session->login = NULL;
	iobuf_fini(&session->startup);
}

/* What a message to the client tells us. True if the client may see it. */
static bool note_reply(struct session *session, uint8_t type, const uint8_t *body, size_t len)
{
	enum reply answered;
	bool visible = replies_arrived(&session->replies, type, &answered);

	switch (type) {
	case WIRE_BE_ErrorResponse:
		journal_error(session);
		break;
	case WIRE_BE_CommandComplete:
		note_command(session, body, len);
		break;
	case WIRE_BE_BackendKeyData:
		cancel_learn(session, body, len);
		break;
	case WIRE_BE_ReadyForQuery:
		deallocate_reset(&session->deallocate);
		session->status = (char)body[0];
		if (session->status == 'I')
			statements_drop_portals(&session->statements);
		else if (session->status == 'E')
			statements_keep_executed(&session->statements);
		if (session->phase == SESSION_LOGIN)
			login_done(session);
		break;
	default:
		break;
	}
	return visible;
}

/* While SCRAM is handled here, only these come: who needs no proof is not the coordinator. */
static bool is_of_scram(uint8_t type)
{
	return is_of_login(type) || type == WIRE_BE_NoticeResponse;
}

/* Messages that are waited for as a whole have no reason to be long. */
static bool is_credible(const struct session *session, uint8_t type, size_t total)
{
	if ((login_keeps(session) && !is_of_scram(type)) || !wire_backend_length_ok(type, total))
		return false;
	return total <= UNASKED_MAX || session->inner ||
	       (!session->login && !replies_drained(&session->replies));
}

/*
 * A server that cannot so much as fork says why in protocol 2, without a length; libpq
 * tells it from a message of protocol 3 in the same way.
 */
static bool is_old_error(const struct session *session, enum wire_frame frame,
                         const uint8_t *message, size_t total)
{
	return login_holds(session) && message[0] == WIRE_BE_ErrorResponse &&
	       (frame == WIRE_FRAME_BAD || total > LOGIN_ERROR_MAX);
}

/* A message during login, whole. True: it was handled here. */
static bool login_reply(struct session *session, uint8_t type, size_t total, size_t *run)
{
	struct iobuf *in = &session->coordinator.in;
	struct iobuf body;
	bool relayed = true;

	show_run(session, run);
	if (type == WIRE_BE_ErrorResponse &&
	    login_refused(session, iobuf_head(in) + WIRE_HEADER, total - WIRE_HEADER))
		return true;
	if (type != WIRE_BE_Authentication)
		return false;
	iobuf_init(&body);
	iobuf_append(&body, iobuf_head(in), total);
	relayed =
	    login_authentication(session, iobuf_head(&body) + WIRE_HEADER, total - WIRE_HEADER);
	iobuf_fini(&body);
	if (!relayed && session->phase == SESSION_LOGIN)
		iobuf_consume(in, total);
	return !relayed;
}

/* Handles the message at the head, behind the run. False: stop for now. */
static bool coordinator_message(struct session *session, size_t *run)
{
	struct iobuf *in = &session->coordinator.in;
	const uint8_t *message;
	size_t have = iobuf_len(in) - *run, total;
	enum wire_frame frame;
	uint8_t type;

	if (have < WIRE_HEADER)
		return false;
	message = iobuf_head(in) + *run;
	frame = wire_frame(message, have, &type, &total);
	if (frame == WIRE_FRAME_MORE)
		return false;
	if (is_old_error(session, frame, message, total)) {
		session->coordinator_left = SIZE_MAX;
		return true;
	}
	if (frame == WIRE_FRAME_BAD || !is_credible(session, type, total)) {
		session_fatal(session, "08P01",
		              "the coordinator sent a message that is not well formed",
		              "protocol_violation");
		return false;
	}
	/* one that nobody asked for must not be cut in two by what we may say meanwhile */
	if (have < total && (needs_body(session, type) || replies_drained(&session->replies)))
		return false;
	if (session->login && is_of_login(type) && login_reply(session, type, total, run))
		return session->phase == SESSION_LOGIN;
	message = iobuf_head(in) + *run;
	if (session->inner && replies_drained(&session->replies) && !is_asynchronous(type)) {
		show_run(session, run);
		inner_message(session, type, iobuf_head(in) + WIRE_HEADER, total - WIRE_HEADER);
		if (session->phase == SESSION_CLOSED)
			return false;
		iobuf_consume(in, total);
		return true;
	}
	session->coordinator_last = type;
	session->coordinator_hidden =
	    !note_reply(session, type, message + WIRE_HEADER, total - WIRE_HEADER);
	if (session->footnote.awaits && !session->coordinator_hidden) {
		show_run(session, run);
		message = iobuf_head(in);
		session->coordinator_hidden =
		    footnote_reply(session, type, message + WIRE_HEADER, total - WIRE_HEADER);
	}
	if (session->coordinator_hidden)
		show_run(session, run);
	else
		shadow_reply(session, type);
	session->coordinator_left = total;
	return true;
}

void relay_coordinator_input(struct session *session)
{
	size_t run = 0;

	while (session->phase != SESSION_CLOSED && session->coordinator.fd >= 0) {
		if (session->coordinator_left > 0 ? !pass_coordinator_rest(session, &run)
		                                  : !coordinator_message(session, &run))
			break;
	}
	if (session->phase == SESSION_CLOSED || session->coordinator.fd < 0)
		return;
	show_run(session, &run);
	if (session->on_replies_drained && session_owes_nothing(session))
		session_replies_drained(session);
	shadow_look(session);
}
