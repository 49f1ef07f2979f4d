/*
 * Keylogin: see keylogin.h. States are named by what is awaited. Nothing is believed
 * of a server before it has proved to know the user's verifier, but one that asks for
 * no login at all (trust, a client certificate) is taken, as libpq does.
 */
#include "proxy/keylogin.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/stream.h"
#include "proxy/tls.h"
#include "proxy/wire.h"

#define PROTOCOL_3_0 196608u
#define MESSAGE_MAX 30000 /* libpq's own limit for what comes during a login */
#define KEY_MAX 256

/* Authentication's Int32 */
enum { AUTH_OK = 0, AUTH_SASL = 10, AUTH_SASL_CONTINUE = 11, AUTH_SASL_FINAL = 12 };

enum keylogin_state {
	KEYLOGIN_DIAL,
	KEYLOGIN_REQUEST,      /* which login the server wants */
	KEYLOGIN_SERVER_FIRST, /* AuthenticationSASLContinue */
	KEYLOGIN_SERVER_FINAL, /* AuthenticationSASLFinal */
	KEYLOGIN_AUTH_OK,      /* AuthenticationOk */
	KEYLOGIN_READY,        /* ReadyForQuery */
	KEYLOGIN_OVER,
};

struct keylogin {
	enum keylogin_state state;
	struct loop *loop;
	struct pq_cancels *cancels;
	char *conninfo, *user, *database;
	struct scram_keys keys;
	keylogin_fn *fn;
	void *owner;

	char *application_name, *options, *channel_binding, *require_auth; /* the conninfo's */
	struct loop_timer *timer;
	uint64_t deadline_ms;
	struct pq_attempt *attempt;
	struct pq_link *link;
	struct tls *tls;
	struct stream stream;
	bool second_try; /* with the other sslmode */
	struct scram_client *client;
	struct iobuf key; /* BackendKeyData's body */

	enum keylogin_outcome outcome; /* KEYLOGIN_OVER: what the owner will be told */
	char error[256];
};

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

/* ---- the end ---- */

static void free_login(void *owner)
{
	struct keylogin *login = owner;

	scram_keys_wipe(&login->keys);
	free(login->conninfo);
	free(login->user);
	free(login->database);
	free(login->application_name);
	free(login->options);
	free(login->channel_binding);
	free(login->require_auth);
	free(login);
}

static void hang_up(struct keylogin *login)
{
	stream_close(&login->stream);
	tls_free(login->tls);
	login->tls = NULL;
	pq_link_free(login->link);
	login->link = NULL;
}

void keylogin_free(struct keylogin *login)
{
	if (!login)
		return;
	login->state = KEYLOGIN_OVER;
	login->fn = NULL;
	pq_attempt_free(login->attempt);
	login->attempt = NULL;
	hang_up(login);
	loop_timer_free(login->timer);
	scram_client_free(login->client);
	iobuf_fini(&login->key);
	loop_defer(login->loop, free_login, login); /* its stream may be calling us */
}

/* Decides; the owner is told when nobody looks at the stream's buffer any more. */
static void over(struct keylogin *login, enum keylogin_outcome outcome, const char *error)
{
	login->state = KEYLOGIN_OVER;
	login->outcome = outcome;
	snprintf(login->error, sizeof(login->error), "%s", error);
}

static void tell(struct keylogin *login)
{
	keylogin_fn *fn = login->fn;
	void *owner = login->owner;
	enum keylogin_outcome outcome = login->outcome;
	struct pq_link *link = NULL;
	char error[sizeof(login->error)];

	assert(login->state == KEYLOGIN_OVER && fn);
	snprintf(error, sizeof(error), "%s", login->error);
	if (outcome == KEYLOGIN_OK) {
		stream_close(&login->stream);
		link = login->link;
		login->link = NULL;
		if (iobuf_len(&login->key) > 0)
			pq_link_set_key(link, login->cancels, login->conninfo,
			                iobuf_head(&login->key), iobuf_len(&login->key));
	}
	keylogin_free(login);
	fn(owner, outcome, link, outcome == KEYLOGIN_OK ? NULL : error);
}

static void on_timeout(void *owner)
{
	struct keylogin *login = owner;

	over(login, KEYLOGIN_FAILED, "timeout expired");
	tell(login);
}

/* ---- messages ---- */

static void put_parameter(struct iobuf *out, const char *name, const char *value)
{
	if (!value)
		return;
	wire_put_string(out, name);
	wire_put_string(out, value);
}

static void send_startup(struct keylogin *login)
{
	struct iobuf *out = &login->stream.out, body;

	iobuf_init(&body);
	wire_put_u32(&body, PROTOCOL_3_0);
	put_parameter(&body, "user", login->user);
	put_parameter(&body, "database", login->database);
	put_parameter(&body, "application_name",
	              login->application_name ? login->application_name : "pgtopk");
	put_parameter(&body, "options", login->options);
	wire_put_string(&body, "");
	wire_put_u32(out, (uint32_t)iobuf_len(&body) + 4);
	wire_put_bytes(out, iobuf_head(&body), iobuf_len(&body));
	iobuf_fini(&body);
	login->state = KEYLOGIN_REQUEST;
	stream_flush(&login->stream);
}

static void send_sasl(struct keylogin *login, const struct iobuf *body)
{
	struct iobuf *out = &login->stream.out;
	size_t mark = wire_begin(out, WIRE_FE_Password);

	wire_put_bytes(out, iobuf_head(body), iobuf_len(body));
	wire_end(out, mark);
	stream_flush(&login->stream);
}

static bool is(const char *value, const char *expected)
{
	return value && strcmp(value, expected) == 0;
}

/* The exchange has failed: perhaps a password does better. */
static void broken(struct keylogin *login, const struct scram_failure *failure)
{
	char error[sizeof(login->error)];

	snprintf(error, sizeof(error), "%s%s%s", failure->message, failure->detail ? ": " : "",
	         failure->detail ? failure->detail : "");
	over(login, KEYLOGIN_CANNOT, error);
}

static void start_scram(struct keylogin *login, const uint8_t *mechanisms, size_t len)
{
	struct scram_binding binding = {.len = 0};
	struct scram_failure failure;
	struct iobuf body;

	if (login->tls && !is(login->channel_binding, "disable"))
		binding.len = tls_peer_end_point(login->tls, binding.data);
	login->client = scram_client_new(&login->keys, &binding);
	iobuf_init(&body);
	if (scram_client_first(login->client, mechanisms, len, &body, &failure) != SCRAM_OK) {
		broken(login, &failure);
	} else if (is(login->channel_binding, "require") &&
	           strcmp((const char *)iobuf_head(&body), SCRAM_MECHANISM_PLUS) != 0) {
		over(login, KEYLOGIN_CANNOT, "channel binding is required, but not offered");
	} else {
		login->state = KEYLOGIN_SERVER_FIRST;
		send_sasl(login, &body);
	}
	iobuf_fini(&body);
}

static void request(struct keylogin *login, uint32_t code, const uint8_t *body, size_t len)
{
	bool proof = login->require_auth || is(login->channel_binding, "require");
	char error[64];

	if (login->require_auth && !is(login->require_auth, "scram-sha-256")) {
		over(login, KEYLOGIN_CANNOT, "require_auth is for libpq to keep");
	} else if (code == AUTH_SASL) {
		start_scram(login, body, len);
	} else if (code == AUTH_OK && !proof) {
		login->state = KEYLOGIN_READY;
	} else {
		snprintf(error, sizeof(error), "the server wants another login (%u)",
		         (unsigned)code);
		over(login, KEYLOGIN_CANNOT, error);
	}
}

static void server_first(struct keylogin *login, const uint8_t *body, size_t len)
{
	struct scram_failure failure;
	struct iobuf out;

	iobuf_init(&out);
	if (scram_client_final(login->client, body, len, &out, &failure) != SCRAM_OK) {
		broken(login, &failure);
	} else {
		login->state = KEYLOGIN_SERVER_FINAL;
		send_sasl(login, &out);
	}
	iobuf_fini(&out);
}

static void server_final(struct keylogin *login, const uint8_t *body, size_t len)
{
	struct scram_failure failure;

	switch (scram_client_verify(login->client, body, len, &failure)) {
	case SCRAM_OK:
		login->state = KEYLOGIN_AUTH_OK;
		break;
	case SCRAM_REFUSED:
		over(login, KEYLOGIN_CANNOT, "the server refused the proof");
		break;
	case SCRAM_BROKEN:
		broken(login, &failure);
		break;
	}
}

/* False: not what is awaited. */
static bool on_authentication(struct keylogin *login, const uint8_t *body, size_t len)
{
	uint32_t code;

	if (len < 4)
		return false;
	code = wire_u32(body);
	body += 4;
	len -= 4;
	switch (login->state) {
	case KEYLOGIN_REQUEST:
		request(login, code, body, len);
		return true;
	case KEYLOGIN_SERVER_FIRST:
		if (code == AUTH_SASL_CONTINUE)
			server_first(login, body, len);
		return code == AUTH_SASL_CONTINUE;
	case KEYLOGIN_SERVER_FINAL:
		if (code == AUTH_SASL_FINAL)
			server_final(login, body, len);
		return code == AUTH_SASL_FINAL;
	case KEYLOGIN_AUTH_OK:
		login->state = KEYLOGIN_READY;
		return code == AUTH_OK;
	default:
		return false;
	}
}

static void dial_again(struct keylogin *login, const char *sslmode);

/* Class 28 is of logins: libpq may know a password that does better than our keys. */
static void on_error(struct keylogin *login, const uint8_t *body, size_t len)
{
	const char *sqlstate, *message, *other;
	char error[sizeof(login->error)];

	if (!wire_error_valid(body, len)) {
		over(login, KEYLOGIN_FAILED, "protocol error: malformed ErrorResponse");
		return;
	}
	sqlstate = wire_error_field(body, len, 'C');
	message = wire_error_field(body, len, 'M');
	other = pq_link_other_sslmode(login->link);
	if (sqlstate && strcmp(sqlstate, "28000") == 0 && login->state == KEYLOGIN_REQUEST &&
	    other && !login->second_try) {
		dial_again(login, other);
		return;
	}
	snprintf(error, sizeof(error), "%.5s: %s", sqlstate ? sqlstate : "?????",
	         message ? message : "");
	over(login, sqlstate && strncmp(sqlstate, "28", 2) == 0 ? KEYLOGIN_CANNOT : KEYLOGIN_FAILED,
	     error);
}

/* False: out of order or malformed. */
static bool on_message(struct keylogin *login, uint8_t type, const uint8_t *body, size_t len)
{
	switch (type) {
	case WIRE_BE_Authentication:
		return on_authentication(login, body, len);
	case WIRE_BE_ErrorResponse:
		on_error(login, body, len);
		return true;
	case WIRE_BE_NoticeResponse:
		return true;
	case WIRE_BE_ParameterStatus:
		return login->state == KEYLOGIN_READY;
	case WIRE_BE_BackendKeyData:
		if (login->state != KEYLOGIN_READY || len < 8 || len > 4 + KEY_MAX ||
		    iobuf_len(&login->key) > 0)
			return false;
		iobuf_append(&login->key, body, len);
		return true;
	case WIRE_BE_ReadyForQuery:
		if (login->state != KEYLOGIN_READY)
			return false;
		over(login, KEYLOGIN_OK, "");
		return true;
	default:
		return false;
	}
}

/* ---- the stream ---- */

static void on_input(void *owner)
{
	struct keylogin *login = owner;
	struct iobuf *in = &login->stream.in;
	char error[96];

	while (login->state != KEYLOGIN_OVER && login->state != KEYLOGIN_DIAL) {
		const uint8_t *message = iobuf_head(in);
		size_t have = iobuf_len(in), total = 0;
		enum wire_frame frame = WIRE_FRAME_MORE;
		uint8_t type = 0;

		if (have >= WIRE_HEADER)
			frame = wire_frame(message, have, &type, &total);
		if (frame == WIRE_FRAME_BAD || total > MESSAGE_MAX) {
			over(login, KEYLOGIN_FAILED,
			     "protocol error: a message of impossible length");
			break;
		}
		if (frame == WIRE_FRAME_MORE || total > have)
			return;
		if (!on_message(login, type, message + WIRE_HEADER, total - WIRE_HEADER)) {
			snprintf(error, sizeof(error), "protocol error: unexpected %s",
			         wire_backend_name(type));
			over(login, KEYLOGIN_FAILED, error);
		}
		if (login->state != KEYLOGIN_DIAL) /* else it has no buffer any more */
			iobuf_consume(in, total);
	}
	if (login->state != KEYLOGIN_OVER)
		return;
	if (login->outcome == KEYLOGIN_OK && iobuf_len(in) > 0) /* it would be lost */
		over(login, KEYLOGIN_FAILED, "protocol error: more than ReadyForQuery");
	tell(login);
}

static void on_closed(void *owner, int error)
{
	struct keylogin *login = owner;

	over(login, KEYLOGIN_FAILED,
	     error ? strerror(error) : "the server closed the connection unexpectedly");
	tell(login);
}

static const struct stream_ops stream_ops = {.on_input = on_input, .on_closed = on_closed};

/* ---- dialling ---- */

static void on_dialled(void *owner, struct pq_link *link, const char *error)
{
	struct keylogin *login = owner;
	void *ssl;

	login->attempt = NULL;
	if (!link) {
		over(login, KEYLOGIN_FAILED, error);
		tell(login);
		return;
	}
	login->link = link;
	ssl = pq_link_ssl(link);
	login->tls = ssl ? tls_wrap(ssl) : NULL;
	stream_open(&login->stream, login->loop, pq_link_fd(link), false, login->tls, &stream_ops,
	            login);
	send_startup(login);
}

static void dial(struct keylogin *login, const char *host, const char *hostaddr, const char *port,
                 const char *sslmode)
{
	const char *const keywords[] = {"host", "hostaddr", "port", "sslmode", NULL};
	const char *const values[] = {host, hostaddr, port, sslmode, NULL};
	const struct pq_target target = {
	    .conninfo = login->conninfo, .keywords = keywords, .values = values};
	uint64_t now = loop_now_ms(login->loop);

	login->state = KEYLOGIN_DIAL;
	login->attempt =
	    pq_dial(login->loop, &target, login->deadline_ms > now ? login->deadline_ms - now : 0,
	            on_dialled, login);
}

/* The very same server. */
static void dial_again(struct keylogin *login, const char *sslmode)
{
	const struct pq_peer *peer = pq_link_peer(login->link);
	struct pq_link *link = login->link;

	login->second_try = true;
	dial(login, peer->host, peer->hostaddr, peer->port, sslmode);
	login->link = NULL;
	stream_close(&login->stream);
	tls_free(login->tls);
	login->tls = NULL;
	pq_link_free(link);
}

/* ---- starting ---- */

/* Malformed strings are for pq_dial() to complain of. */
static char *value_of(const char *conninfo, const char *keyword)
{
	char *error = NULL, *value = pq_conninfo_value(conninfo, keyword, &error);

	free(error);
	return value;
}

struct keylogin *keylogin_start(struct loop *loop, struct pq_cancels *cancels,
                                const struct keylogin_target *target, const struct scram_keys *keys,
                                uint64_t timeout_ms, keylogin_fn *fn, void *owner)
{
	struct keylogin *login = must(calloc(1, sizeof(*login)));

	login->loop = loop;
	login->cancels = cancels;
	login->conninfo = must(strdup(target->conninfo));
	login->user = must(strdup(target->user));
	login->database = must(strdup(target->database));
	login->keys = *keys;
	login->fn = fn;
	login->owner = owner;
	login->stream.fd = -1;
	login->application_name = value_of(target->conninfo, "application_name");
	login->options = value_of(target->conninfo, "options");
	login->channel_binding = value_of(target->conninfo, "channel_binding");
	login->require_auth = value_of(target->conninfo, "require_auth");
	login->deadline_ms = loop_now_ms(loop) + timeout_ms;
	login->timer = loop_timer_new(loop, on_timeout, login);
	dial(login, target->host, NULL, target->port, NULL);
	loop_timer_start(login->timer, timeout_ms);
	return login;
}
