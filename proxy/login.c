/*
 * Login: see login.h. States are named by what is awaited.
 */
#include "proxy/login.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/keyring.h"
#include "proxy/log.h"
#include "proxy/scram.h"
#include "proxy/pq.h"
#include "proxy/session.h"
#include "proxy/tls.h"
#include "proxy/verifiers.h"

/* Authentication's Int32 */
enum { AUTH_OK = 0, AUTH_SASL = 10, AUTH_SASL_CONTINUE = 11, AUTH_SASL_FINAL = 12 };

enum login_state {
	LOGIN_REQUEST,      /* the coordinator's first Authentication message */
	LOGIN_VERIFIER,     /* the user's verifier */
	LOGIN_RELAY,        /* nothing: client and coordinator do it between them */
	LOGIN_GS2,          /* relayed SCRAM: the client's first message, for a look */
	LOGIN_CLIENT_FIRST, /* the client's SASLInitialResponse */
	LOGIN_CLIENT_FINAL, /* the client's SASLResponse */
	LOGIN_SERVER_FIRST, /* the coordinator's AuthenticationSASLContinue */
	LOGIN_SERVER_FINAL, /* the coordinator's AuthenticationSASLFinal */
	LOGIN_OK,           /* the coordinator's AuthenticationOk */
};

struct login {
	enum login_state state;
	struct iobuf mechanisms; /* the coordinator's list */
	struct verifier_query *query;
	struct scram_server *server;
	struct scram_client *client;
	struct iobuf final; /* our server-final-message, shown when the coordinator agrees */
	struct scram_keys keys;
};

struct login *login_new(struct session *session)
{
	struct login *login = calloc(1, sizeof(*login));

	(void)session;
	if (!login)
		abort();
	iobuf_init(&login->mechanisms);
	iobuf_init(&login->final);
	return login;
}

void login_free(struct login *login)
{
	if (!login)
		return;
	verifier_query_free(login->query);
	scram_server_free(login->server);
	scram_client_free(login->client);
	iobuf_fini(&login->mechanisms);
	iobuf_fini(&login->final);
	scram_keys_wipe(&login->keys);
	free(login);
}

bool login_holds(const struct session *session)
{
	const struct login *login = session->login;

	return login && (login->state == LOGIN_REQUEST || login->state == LOGIN_VERIFIER);
}

bool login_keeps(const struct session *session)
{
	const struct login *login = session->login;

	return login && login->state >= LOGIN_GS2;
}

/* ---- refusals ---- */

static void refuse(struct session *session, const struct scram_failure *failure)
{
	struct wire_error error = {
	    .severity = "FATAL",
	    .sqlstate = failure->sqlstate,
	    .message = failure->message,
	    .detail = failure->detail,
	};

	session_end(session, &error, "login_failed");
}

static void refuse_password(struct session *session)
{
	char message[320];

	snprintf(message, sizeof(message), "password authentication failed for user \"%.250s\"",
	         session->user);
	log_event(session->proxy->log, LOG_INFO, "login_failed",
	          "session=%" PRIu64 " user=%s reason=password", session->id,
	          log_quote(session->user));
	session_fatal(session, "28P01", message, "login_failed");
}

static void refuse_relay(struct session *session)
{
	struct wire_error error = {
	    .severity = "FATAL",
	    .sqlstate = "28000",
	    .message = "SCRAM authentication cannot be relayed between two TLS connections",
	    .hint = "Let pgtopk read the user's SCRAM verifier (auth_query, auth_file), or "
		    "connect with channel_binding=disable.",
	};

	log_event(session->proxy->log, LOG_WARNING, "login_failed",
	          "session=%" PRIu64 " user=%s reason=no_verifier", session->id,
	          log_quote(session->user));
	session_end(session, &error, "login_failed");
}

/* ---- messages ---- */

static void put_authentication(struct iobuf *out, uint32_t code, const struct iobuf *body)
{
	size_t mark = wire_begin(out, WIRE_BE_Authentication);

	wire_put_u32(out, code);
	wire_put_bytes(out, iobuf_head(body), iobuf_len(body));
	wire_end(out, mark);
}

static void tell_client(struct session *session, uint32_t code, const struct iobuf *body)
{
	put_authentication(&session->client.out, code, body);
	stream_flush(&session->client);
}

static void tell_coordinator(struct session *session, const struct iobuf *body)
{
	struct iobuf *out = &session->coordinator.out;
	size_t mark = wire_begin(out, WIRE_FE_Password);

	wire_put_bytes(out, iobuf_head(body), iobuf_len(body));
	wire_end(out, mark);
	stream_flush(&session->coordinator);
}

/* ---- SCRAM relayed ---- */

/*
 * Without PLUS, which would tie the exchange to the wrong certificate: a client whose
 * connection has TLS does not know that the coordinator's has it too.
 */
static void offer_unbound(struct session *session)
{
	static const char list[] = SCRAM_MECHANISM "\0";
	struct iobuf body;

	session->login->state =
	    session->client_tls && session->coordinator_tls ? LOGIN_GS2 : LOGIN_RELAY;
	iobuf_init(&body);
	iobuf_append(&body, list, sizeof(list));
	tell_client(session, AUTH_SASL, &body);
	iobuf_fini(&body);
	relay_client_input(session);
}

/*
 * The flag in front of client-first-message: a client that could bind takes a server
 * with TLS that does not offer it for an attacker's, and so would the coordinator.
 */
static void check_gs2(struct session *session, const uint8_t *body, size_t len)
{
	struct wire_reader reader;
	const uint8_t *first;
	uint32_t n;

	wire_read_init(&reader, body, len);
	wire_read_string(&reader);
	n = wire_read_u32(&reader);
	first = n > 0 && n < len ? wire_read_bytes(&reader, 1) : NULL;
	if (first && first[0] == 'y') {
		refuse_relay(session);
		return;
	}
	session->login->state = LOGIN_RELAY;
	stream_write(&session->coordinator, body - WIRE_HEADER, len + WIRE_HEADER);
}

/* ---- SCRAM on both sides ---- */

static void serve(struct session *session, const struct scram_verifier *verifier)
{
	struct login *login = session->login;
	struct scram_binding binding = {.len = 0};
	struct iobuf body;

	if (session->client_tls)
		binding.len = tls_own_end_point(session->client_tls, binding.data);
	login->server = scram_server_new(verifier, &binding);
	login->state = LOGIN_CLIENT_FIRST;
	iobuf_init(&body);
	scram_server_mechanisms(login->server, &body);
	tell_client(session, AUTH_SASL, &body);
	iobuf_fini(&body);
	relay_client_input(session);
}

static void on_verifier(void *owner, const struct scram_verifier *verifier, bool answered)
{
	struct session *session = owner;
	struct scram_verifier mock;

	session->login->query = NULL;
	if (verifier) {
		serve(session, verifier);
	} else if (answered) { /* no telling such a user from others */
		scram_verifier_mock(session->proxy->secret, session->user, &mock);
		serve(session, &mock);
	} else {
		offer_unbound(session);
	}
}

static bool offers_scram(const struct iobuf *mechanisms)
{
	struct wire_reader reader;
	const char *name;

	wire_read_init(&reader, iobuf_head(mechanisms), iobuf_len(mechanisms));
	while ((name = wire_read_string(&reader))[0])
		if (strcmp(name, SCRAM_MECHANISM) == 0)
			return true;
	return false;
}

static void start_client(struct session *session)
{
	struct login *login = session->login;
	struct scram_binding binding = {.len = 0};
	struct scram_failure failure;
	struct iobuf body;

	if (session->coordinator_tls)
		binding.len = tls_peer_end_point(session->coordinator_tls, binding.data);
	login->client = scram_client_new(&login->keys, &binding);
	iobuf_init(&body);
	if (scram_client_first(login->client, iobuf_head(&login->mechanisms),
	                       iobuf_len(&login->mechanisms), &body, &failure) != SCRAM_OK) {
		refuse(session, &failure);
	} else {
		login->state = LOGIN_SERVER_FIRST;
		tell_coordinator(session, &body);
	}
	iobuf_fini(&body);
}

static void client_first(struct session *session, const uint8_t *body, size_t len)
{
	struct login *login = session->login;
	struct scram_failure failure;
	struct iobuf out;

	iobuf_init(&out);
	if (scram_server_first(login->server, body, len, &out, &failure) != SCRAM_OK) {
		refuse(session, &failure);
	} else {
		if (!scram_server_awaits_first(login->server))
			login->state = LOGIN_CLIENT_FINAL;
		tell_client(session, AUTH_SASL_CONTINUE, &out);
	}
	iobuf_fini(&out);
}

static void client_final(struct session *session, const uint8_t *body, size_t len)
{
	struct login *login = session->login;
	struct scram_failure failure;

	switch (scram_server_final(login->server, body, len, &login->final, &failure)) {
	case SCRAM_OK:
		scram_server_keys(login->server, &login->keys);
		start_client(session);
		break;
	case SCRAM_REFUSED:
		refuse_password(session);
		break;
	case SCRAM_BROKEN:
		refuse(session, &failure);
		break;
	}
}

void login_client_message(struct session *session, uint8_t type, const uint8_t *body, size_t len)
{
	char message[80];

	assert(login_keeps(session));
	if (type != WIRE_FE_Password) {
		snprintf(message, sizeof(message), "expected SASL response, got message type %d",
		         type);
		session_fatal(session, "08P01", message, "protocol_violation");
		return;
	}
	switch (session->login->state) {
	case LOGIN_GS2:
		check_gs2(session, body, len);
		break;
	case LOGIN_CLIENT_FIRST:
		client_first(session, body, len);
		break;
	case LOGIN_CLIENT_FINAL:
		client_final(session, body, len);
		break;
	default: /* nobody asked for it; PostgreSQL would read it as the first statement */
		session_fatal(session, "08P01", "unexpected message during authentication",
		              "protocol_violation");
	}
}

/* ---- the coordinator's side ---- */

/* False: the coordinator does not keep to the exchange. */
static bool server_first(struct session *session, const uint8_t *body, size_t len)
{
	struct login *login = session->login;
	struct scram_failure failure;
	struct iobuf out;

	iobuf_init(&out);
	if (scram_client_final(login->client, body, len, &out, &failure) != SCRAM_OK) {
		refuse(session, &failure);
	} else {
		login->state = LOGIN_SERVER_FINAL;
		tell_coordinator(session, &out);
	}
	iobuf_fini(&out);
	return true;
}

static bool server_final(struct session *session, const uint8_t *body, size_t len)
{
	struct login *login = session->login;
	struct scram_failure failure;

	switch (scram_client_verify(login->client, body, len, &failure)) {
	case SCRAM_OK:
		login->state = LOGIN_OK;
		tell_client(session, AUTH_SASL_FINAL, &login->final);
		break;
	case SCRAM_REFUSED:
		refuse_password(session);
		break;
	case SCRAM_BROKEN:
		refuse(session, &failure);
		break;
	}
	return true;
}

static void request(struct session *session, uint32_t code, const uint8_t *body, size_t len)
{
	struct login *login = session->login;

	login->state = LOGIN_RELAY;
	if (code != AUTH_SASL)
		return;
	iobuf_append(&login->mechanisms, body, len);
	if (!offers_scram(&login->mechanisms)) /* PostgreSQL 18's OAUTHBEARER alone, say */
		return;
	login->state = LOGIN_VERIFIER;
	login->query =
	    verifiers_ask(session->proxy->verifiers, session->user, on_verifier, session);
}

bool login_authentication(struct session *session, const uint8_t *body, size_t len)
{
	struct login *login = session->login;
	uint32_t code = len >= 4 ? wire_u32(body) : UINT32_MAX;
	bool fits = true;

	switch (login->state) {
	case LOGIN_REQUEST:
		request(session, code, body + 4, len - 4);
		return login->state == LOGIN_RELAY;
	case LOGIN_RELAY:
		return true;
	case LOGIN_SERVER_FIRST:
		fits = code == AUTH_SASL_CONTINUE && server_first(session, body + 4, len - 4);
		break;
	case LOGIN_SERVER_FINAL:
		fits = code == AUTH_SASL_FINAL && server_final(session, body + 4, len - 4);
		break;
	case LOGIN_OK:
		if (code == AUTH_OK) {
			login->state = LOGIN_RELAY;
			keyring_put(session->proxy->keyring, session->user, &login->keys);
			return true;
		}
		fits = false;
		break;
	default:
		fits = false;
	}
	if (!fits)
		session_fatal(session, "08P01",
		              "the coordinator sent an unexpected authentication message",
		              "protocol_violation");
	return false;
}

bool login_refused(struct session *session, const uint8_t *body, size_t len)
{
	const char *sqlstate = wire_error_field(body, len, 'C');
	const char *other = pq_link_other_sslmode(session->link);

	if (!login_holds(session) || session->coordinator_left > 0 || !other || !sqlstate ||
	    strcmp(sqlstate, "28000") != 0)
		return false;
	session_dial(session, other);
	return true;
}
