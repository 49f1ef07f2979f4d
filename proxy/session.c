/*
 * Session: see session.h. Here: birth, the coordinator's connection, death, and the
 * streams' events.
 */
#include "proxy/session.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "proxy/cancel.h"
#include "proxy/census.h"
#include "proxy/config.h"
#include "proxy/hidden.h"
#include "proxy/linger.h"
#include "proxy/log.h"
#include "proxy/login.h"
#include "proxy/pool.h"
#include "proxy/pq.h"
#include "proxy/startup.h"
#include "proxy/tls.h"

static void on_client_input(void *owner);
static void on_client_drained(void *owner);
static void on_client_closed(void *owner, int error);
static void on_coordinator_input(void *owner);
static void on_coordinator_drained(void *owner);
static void on_coordinator_closed(void *owner, int error);

static const struct stream_ops client_ops = {
    .on_input = on_client_input,
    .on_drained = on_client_drained,
    .on_closed = on_client_closed,
};

static const struct stream_ops coordinator_ops = {
    .on_input = on_coordinator_input,
    .on_drained = on_coordinator_drained,
    .on_closed = on_coordinator_closed,
};

/* ---- birth ---- */

static void on_timeout(void *owner)
{
	struct session *session = owner;

	if (session->phase == SESSION_READY)
		route_time_out(session);
	else
		session_close(session, "login_timeout");
}

void session_open(struct proxy *proxy, int fd)
{
	struct session *session = calloc(1, sizeof(*session));

	if (!session)
		abort();
	session->proxy = proxy;
	session->id = ++proxy->last_session_id;
	session->phase = SESSION_STARTUP;
	session->coordinator.fd = -1;
	session->status = 'I';
	session->facts = facts_new();
	replies_init(&session->replies);
	iobuf_init(&session->startup);
	iobuf_init(&session->journal);
	iobuf_init(&session->held);
	iobuf_init(&session->message);
	iobuf_init(&session->error);
	DL_APPEND(proxy->sessions, session);
	proxy->session_count++;
	proxy->counters.clients++;
	stream_open(&session->client, proxy->loop, fd, true, NULL, &client_ops, session);
	session->timer = loop_timer_new(proxy->loop, on_timeout, session);
	loop_timer_start(session->timer, (uint64_t)proxy->config->login_timeout);
	startup_open(session);
}

/* ---- death ---- */

/* Ends the coordinator's connection, whatever its state. */
static void hang_up(struct session *session)
{
	pq_attempt_free(session->dialling);
	session->dialling = NULL;
	stream_close(&session->coordinator);
	tls_free(session->coordinator_tls);
	session->coordinator_tls = NULL;
	pq_link_free(session->link);
	session->link = NULL;
}

static void free_session(void *owner)
{
	struct session *session = owner;

	statements_fini(&session->statements);
	replies_fini(&session->replies);
	iobuf_fini(&session->startup);
	iobuf_fini(&session->journal);
	iobuf_fini(&session->held);
	iobuf_fini(&session->message);
	iobuf_fini(&session->error);
	facts_free(session->facts);
	notices_told_fini(&session->told_notices);
	shard_settings_fini(&session->shard_settings);
	free(session->user);
	free(session->database);
	free(session->key);
	free(session);
}

void session_close(struct session *session, const char *reason)
{
	struct proxy *proxy = session->proxy;

	if (session->phase == SESSION_CLOSED)
		return;
	session->phase = SESSION_CLOSED;
	if (proxy->config->log_connections)
		log_event(proxy->log, LOG_INFO, "client_closed", "session=%" PRIu64 " reason=%s",
		          session->id, reason);
	session->answer.topk = NULL;
	route_reset(session);
	shadow_free(session);
	loop_timer_free(session->timer);
	session->timer = NULL;
	login_free(session->login);
	session->login = NULL;
	if (session->told && !session->client.ended && !session->client.broken)
		lingers_close(proxy->lingers, stream_detach(&session->client));
	else
		stream_close(&session->client);
	session->client_tls = NULL;
	hang_up(session);
	cancel_forget(session);
	census_leave(proxy->by_user, session->of_user);
	census_leave(proxy->by_address, session->of_address);
	if (census_leave(proxy->by_database, session->of_database))
		pools_desert(proxy->pools, session->database, true);
	DL_DELETE(proxy->sessions, session);
	proxy->session_count--;
	loop_defer(proxy->loop, free_session, session);
}

void session_fatal(struct session *session, const char *sqlstate, const char *message,
                   const char *reason)
{
	struct wire_error error = {.severity = "FATAL", .sqlstate = sqlstate, .message = message};

	session_end(session, &error, reason);
}

void session_end(struct session *session, const struct wire_error *error, const char *reason)
{
	if (session->phase == SESSION_CLOSED)
		return;
	wire_put_error(&session->client.out, WIRE_BE_ErrorResponse, error);
	session->told = true;
	session_close(session, reason);
}

/* ---- the coordinator's connection ---- */

static void begin_login(struct session *session)
{
	session->phase = SESSION_LOGIN;
	if (session->coordinator_left == 0) { /* else it is no login that we know */
		login_free(session->login);   /* of the first try, where sslmode allows two */
		session->login = login_new(session);
		replies_fini(&session->replies);
		replies_init(&session->replies);
		/* the login ends with ReadyForQuery */
		replies_expect(&session->replies, REPLY_QUERY, false);
	}
	stream_write(&session->coordinator, iobuf_head(&session->startup),
	             iobuf_len(&session->startup));
	relay_client_input(session);
}

static void on_dialled(void *owner, struct pq_link *link, const char *error)
{
	struct session *session = owner;

	session->dialling = NULL;
	if (!link) {
		log_event(session->proxy->log, LOG_ERROR, "coordinator_unreachable",
		          "session=%" PRIu64 " error=%s", session->id, log_quote(error));
		session_fatal(session, "08006", "could not connect to the coordinator",
		              "coordinator_unreachable");
		return;
	}
	session->link = link;
	if (pq_link_ssl(link))
		session->coordinator_tls = tls_wrap(pq_link_ssl(link));
	stream_open(&session->coordinator, session->proxy->loop, pq_link_fd(link), false,
	            session->coordinator_tls, &coordinator_ops, session);
	begin_login(session);
}

void session_dial(struct session *session, const char *sslmode)
{
	struct proxy *proxy = session->proxy;
	const char *const keywords[] = {"sslmode", NULL};
	const char *const values[] = {sslmode, NULL};
	struct pq_target target = {
	    .conninfo = proxy->config->coordinator,
	    .keywords = keywords,
	    .values = values,
	};

	hang_up(session);
	login_free(session->login); /* of an attempt before this one */
	session->login = NULL;
	session->phase = SESSION_CONNECTING;
	session->dialling = pq_dial(proxy->loop, &target, (uint64_t)proxy->config->connect_timeout,
	                            on_dialled, session);
}

/* ---- events ---- */

static void on_client_input(void *owner)
{
	struct session *session = owner;

	if (session->phase == SESSION_STARTUP)
		startup_input(session);
	else if (session->phase >= SESSION_LOGIN)
		relay_client_input(session);
	session_balance(session);
}

static void on_coordinator_input(void *owner)
{
	struct session *session = owner;
	bool logging_in = session->login != NULL;

	relay_coordinator_input(session);
	if (logging_in) /* it may have held the client up */
		session_continue(session);
	session_balance(session);
}

static void on_client_drained(void *owner)
{
	struct session *session = owner;

	if (session->phase >= SESSION_LOGIN && session->coordinator.fd < 0) {
		session_close(session, "coordinator_closed");
		return;
	}
	answer_continue(session);
	if (session->phase >= SESSION_LOGIN && session->phase != SESSION_CLOSED && !session->busy)
		relay_client_input(session);
	session_balance(session);
}

static void on_coordinator_drained(void *owner)
{
	session_balance(owner);
}

/* Terminate is the last that the client has said. */
static bool has_said_goodbye(const struct session *session)
{
	static const uint8_t goodbye[] = {WIRE_FE_Terminate, 0, 0, 0, 4};
	const struct iobuf *in = &session->client.in;
	size_t len = iobuf_len(in);

	return len >= sizeof(goodbye) &&
	       memcmp(iobuf_head(in) + len - sizeof(goodbye), goodbye, sizeof(goodbye)) == 0;
}

/*
 * A client that has closed its side may still read, and hears what PostgreSQL has to say to
 * all that came before. But for one that said goodbye the shards need not go on working.
 */
static bool still_listens(const struct session *session)
{
	if (session->phase < SESSION_CONNECTING || session->phase == SESSION_CLOSED)
		return false;
	if (session->leaving)
		return !session_owes_nothing(session);
	return !(session->busy && has_said_goodbye(session));
}

static void on_client_closed(void *owner, int error)
{
	struct session *session = owner;

	if (!error && !session->client_ended && still_listens(session)) {
		session->client_ended = true;
		session_continue(session);
		return;
	}

	if (session->client_tls && tls_error(session->client_tls)[0])
		log_event(session->proxy->log, LOG_INFO, "tls_failed",
		          "session=%" PRIu64 " error=%s", session->id,
		          log_quote(tls_error(session->client_tls)));
	session_close(session, error ? "client_lost" : "client_left");
}

/*
 * A server that ends a session says why, in its last message. Where it has not, it crashed
 * or the network was cut: the client is told by us, if it is between two messages.
 */
static bool has_said_why(const struct session *session)
{
	return session->phase != SESSION_READY || session->leaving || session->astray ||
	       session->coordinator_left > 0 || session->coordinator_last == WIRE_BE_ErrorResponse;
}

static void on_coordinator_closed(void *owner, int error)
{
	struct session *session = owner;

	if (!has_said_why(session)) {
		log_event(session->proxy->log, LOG_ERROR, "coordinator_lost",
		          "session=%" PRIu64 " error=%s", session->id,
		          log_quote(error ? strerror(error) : "end of stream"));
		session_fatal(session, "08006", "server closed the connection unexpectedly",
		              "coordinator_lost");
		return;
	}
	hang_up(session);
	if (iobuf_len(&session->client.out) > 0 && !error)
		return; /* the client gets to read the rest: on_client_drained() */
	session_close(session, error ? "coordinator_lost" : "coordinator_closed");
}

/* ---- work and back-pressure ---- */

void session_begin_work(struct session *session)
{
	assert(!session->busy);
	session->busy = true;
	session->began_us = loop_clock_us();
}

void session_end_work(struct session *session)
{
	assert(session->busy);
	session->busy = false;
	route_reset(session);
	iobuf_consume(&session->message, iobuf_len(&session->message));
	iobuf_release(&session->message);
	iobuf_fini(&session->error);
	session->retries = 0;
	session_continue(session);
}

void session_continue(struct session *session)
{
	if (session->relaying || session->busy || session->phase < SESSION_LOGIN ||
	    session->phase == SESSION_CLOSED)
		return; /* whoever is at work goes on by itself */
	relay_client_input(session);
}

bool session_owes_nothing(const struct session *session)
{
	return replies_drained(&session->replies) && session->coordinator_left == 0;
}

void session_await_replies(struct session *session, void (*fn)(struct session *session))
{
	assert(session->busy && !session->on_replies_drained);
	session->on_replies_drained = fn;
	if (session_owes_nothing(session)) {
		session_replies_drained(session);
	} else if (session->replies.unsynced) {
		wire_put_bare(&session->coordinator.out, WIRE_FE_Flush);
		stream_flush(&session->coordinator);
	}
}

void session_replies_drained(struct session *session)
{
	void (*fn)(struct session *) = session->on_replies_drained;

	session->on_replies_drained = NULL;
	session->parses_confirmed = session->parses_sent;
	fn(session);
}

void session_start_inner(struct session *session, const struct session_inner *inner)
{
	assert(!session->inner && replies_drained(&session->replies) && !session->replies.touched);
	/* the hidden batch ends with Sync: whatever was parsed before it is synced too */
	session->replies.unsynced = false;
	session->inner = inner;
	if (!session->on_failed)
		iobuf_fini(&session->error);
	stream_flush(&session->coordinator);
}

/* ---- a statement fails ---- */

static void send_failure(struct session *session)
{
	void (*done)(struct session *) = session->on_failed;

	session->on_failed = NULL;
	iobuf_append(&session->client.out, iobuf_head(&session->error), iobuf_len(&session->error));
	iobuf_fini(&session->error);
	done(session);
}

static void ignore_message(struct session *session, uint8_t type, const uint8_t *body, size_t len)
{
	(void)session;
	(void)type;
	(void)body;
	(void)len;
}

static void fail_block(struct session *session)
{
	static const struct session_inner inner = {.on_message = ignore_message,
	                                           .on_ready = send_failure};

	hidden_put_failure(&session->coordinator.out);
	wire_put_bare(&session->coordinator.out, WIRE_FE_Sync);
	session_start_inner(session, &inner);
}

void session_fail(struct session *session, const struct wire_error *error,
                  void (*done)(struct session *session))
{
	assert(session->busy && !session->on_failed);
	session->on_failed = done;
	if (error) {
		iobuf_fini(&session->error);
		wire_put_error(&session->error, WIRE_BE_ErrorResponse, error);
	}
	if (session->status == 'T' && !session->replies.failed)
		session_await_replies(session, fail_block);
	else
		send_failure(session);
}

static void pause_if(struct stream *stream, bool pause)
{
	if (stream->fd < 0 || stream->paused == pause)
		return;
	if (pause)
		stream_pause(stream);
	else
		stream_resume(stream);
}

static bool is_full(const struct iobuf *buf)
{
	return iobuf_len(buf) >= STREAM_HIGH_WATER;
}

void session_balance(struct session *session)
{
	if (session->phase == SESSION_CLOSED)
		return;
	pause_if(&session->client, is_full(&session->coordinator.out) ||
	                               is_full(&session->client.out) ||
	                               (is_full(&session->client.in) &&
	                                (session->busy || session->phase < SESSION_LOGIN)));
	pause_if(&session->coordinator, is_full(&session->client.out));
}
