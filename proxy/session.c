/*
 * Session: see session.h. Here: birth, login, death, and the streams' events.
 */
#include "proxy/session.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "proxy/cancel.h"
#include "proxy/config.h"
#include "proxy/log.h"

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

const struct wire_error session_cancelled = {
    .severity = "ERROR",
    .sqlstate = "57014",
    .message = "canceling statement due to user request",
};

/* ---- birth ---- */

static void on_timeout(void *owner)
{
	struct session *session = owner;

	if (session->phase == SESSION_CONNECTING)
		session_fatal(session, "08006",
		              "the coordinator did not accept the connection in time",
		              "connect_timeout");
	else
		session_close(session, "startup_timeout");
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
	DL_APPEND(proxy->sessions, session);
	proxy->session_count++;
	proxy->counters.clients++;
	stream_open(&session->client, proxy->loop, fd, true, NULL, &client_ops, session);
	session->timer = loop_timer_new(proxy->loop, on_timeout, session);
	loop_timer_start(session->timer, (uint64_t)proxy->config->connect_timeout);
}

/* ---- death ---- */

static void free_session(void *owner)
{
	struct session *session = owner;

	statements_fini(&session->statements);
	replies_fini(&session->replies);
	iobuf_fini(&session->startup);
	iobuf_fini(&session->journal);
	iobuf_fini(&session->held);
	iobuf_fini(&session->message);
	facts_free(session->facts);
	shard_settings_fini(&session->shard_settings);
	free(session->user);
	free(session->database);
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
	loop_timer_free(session->timer);
	session->timer = NULL;
	stream_close(&session->client);
	if (session->coordinator.fd >= 0)
		stream_close(&session->coordinator);
	DL_DELETE(proxy->sessions, session);
	proxy->session_count--;
	loop_defer(proxy->loop, free_session, session);
}

void session_fatal(struct session *session, const char *sqlstate, const char *message,
                   const char *reason)
{
	struct wire_error error = {.severity = "FATAL", .sqlstate = sqlstate, .message = message};

	if (session->phase == SESSION_CLOSED)
		return;
	wire_put_error(&session->client.out, WIRE_BE_ErrorResponse, &error);
	stream_flush(&session->client);
	session_close(session, reason);
}

void session_error(struct session *session, const struct wire_error *error)
{
	wire_put_error(&session->client.out, WIRE_BE_ErrorResponse, error);
}

/* ---- login ---- */

/*
 * Reads user and database for our own use; the message itself is passed on as it is.
 * False: it is none that pgtopk understands (another protocol, no user, malformed).
 */
static bool read_startup(struct session *session, const uint8_t *message, size_t len)
{
	struct wire_reader reader;
	const char *name, *value;

	if (WIRE_PROTOCOL_MAJOR(wire_u32(message + 4)) != 3)
		return false;
	wire_read_init(&reader, message + 8, len - 8);
	while ((name = wire_read_string(&reader))[0]) {
		value = wire_read_string(&reader);
		if (strcmp(name, "user") == 0 && !session->user)
			session->user = strdup(value);
		else if (strcmp(name, "database") == 0 && !session->database)
			session->database = strdup(value);
		else if (strcmp(name, "replication") == 0)
			session->replication =
			    strcmp(value, "false") != 0 && strcmp(value, "off") != 0;
	}
	if (!wire_read_done(&reader) || !session->user || !session->user[0])
		return false;
	if (!session->database || !session->database[0]) {
		free(session->database);
		session->database = strdup(session->user);
	}
	return session->database != NULL;
}

static void on_connected(void *owner)
{
	struct session *session = owner;
	int error = stream_connect_error(session->coordinator.fd);

	if (error) {
		log_event(session->proxy->log, LOG_ERROR, "coordinator_unreachable",
		          "session=%" PRIu64 " error=%s", session->id, log_quote(strerror(error)));
		session_fatal(session, "08006", "could not connect to the coordinator",
		              "coordinator_unreachable");
		return;
	}
	session->phase = SESSION_LOGIN;
	loop_timer_stop(
	    session->timer); /* from here on the coordinator's authentication_timeout holds */
	replies_expect(&session->replies, REPLY_QUERY,
	               false); /* the login ends with ReadyForQuery */
	iobuf_append(&session->coordinator.out, iobuf_head(&session->startup),
	             iobuf_len(&session->startup));
	iobuf_fini(&session->startup);
	stream_flush(&session->coordinator);
	relay_client_input(session);
}

void session_connect(struct session *session)
{
	struct proxy *proxy = session->proxy;
	int fd = stream_connect(proxy->coordinator_host, proxy->coordinator_port);

	if (fd < 0) {
		log_event(proxy->log, LOG_ERROR, "coordinator_unreachable",
		          "session=%" PRIu64 " error=%s", session->id, log_quote(strerror(errno)));
		session_fatal(session, "08006", "could not connect to the coordinator",
		              "coordinator_unreachable");
		return;
	}
	session->phase = SESSION_CONNECTING;
	loop_timer_start(session->timer, (uint64_t)proxy->config->connect_timeout);
	stream_open(&session->coordinator, proxy->loop, fd, true, NULL, &coordinator_ops, session);
	stream_await_connect(&session->coordinator, on_connected);
}

static void start_session(struct session *session, const uint8_t *message, size_t len)
{
	struct proxy *proxy = session->proxy;

	if (!read_startup(session, message, len)) {
		/* the coordinator says what is wrong with it, in bytes that need not be protocol 3 */
		session->client_left = session->coordinator_left = SIZE_MAX;
	}
	if (proxy->session_count > (unsigned)proxy->config->max_clients) {
		session_fatal(session, "53300", "sorry, too many clients already", "max_clients");
		return;
	}
	if (proxy->config->log_connections && session->user && session->database)
		log_event(proxy->log, LOG_INFO, "client_connected",
		          "session=%" PRIu64 " user=%s database=%s", session->id,
		          log_quote(session->user), log_quote(session->database));
	iobuf_append(&session->startup, message, len);
	iobuf_consume(&session->client.in, len);
	session_connect(session);
}

/* One message without a type byte: encryption requests, cancel, the StartupMessage.
 * False when more bytes are needed or the session has moved on. */
static bool startup_message(struct session *session)
{
	struct iobuf *in = &session->client.in;
	uint32_t code;
	size_t total;
	enum wire_frame frame = wire_frame_startup(iobuf_head(in), iobuf_len(in), &code, &total);

	if (frame == WIRE_FRAME_BAD) {
		session_close(session, "bad_startup");
		return false;
	}
	if (frame == WIRE_FRAME_MORE || total > iobuf_len(in))
		return false;
	switch (code) {
	case WIRE_CODE_SSL:
	case WIRE_CODE_GSSENC:
		iobuf_consume(in, total);
		stream_write(&session->client, "N", 1);
		return true;
	case WIRE_CODE_CANCEL:
		cancel_request(session, iobuf_head(in), total);
		return false;
	default:
		start_session(session, iobuf_head(in), total);
		return false;
	}
}

/* ---- events ---- */

static void on_client_input(void *owner)
{
	struct session *session = owner;

	if (session->phase == SESSION_STARTUP)
		while (session->phase == SESSION_STARTUP && startup_message(session))
			;
	else if (session->phase >= SESSION_LOGIN)
		relay_client_input(session);
	session_balance(session);
}

static void on_coordinator_input(void *owner)
{
	struct session *session = owner;

	relay_coordinator_input(session);
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

static void on_client_closed(void *owner, int error)
{
	struct session *session = owner;

	session_close(session, error ? "client_lost" : "client_left");
}

static void on_coordinator_closed(void *owner, int error)
{
	struct session *session = owner;

	stream_close(&session->coordinator);
	if (iobuf_len(&session->client.out) > 0 && !error)
		return; /* the client gets to read the rest: on_client_drained() */
	session_close(session, error ? "coordinator_lost" : "coordinator_closed");
}

/* ---- work and back-pressure ---- */

void session_begin_work(struct session *session)
{
	assert(!session->busy);
	session->busy = true;
}

void session_end_work(struct session *session)
{
	assert(session->busy);
	session->busy = false;
	route_reset(session);
	iobuf_consume(&session->message, iobuf_len(&session->message));
	iobuf_release(&session->message);
	session->retries = 0;
	if (!session->relaying) /* else the loop that called us goes on by itself */
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
	stream_flush(&session->coordinator);
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
