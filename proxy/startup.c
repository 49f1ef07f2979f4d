/*
 * Startup: see startup.h.
 *
 * Everything here is said by somebody unknown: lengths are checked before bytes
 * are waited for, nothing is kept but the one message (WIRE_STARTUP_MAX), and
 * login_timeout runs. Plain bytes behind an SSLRequest would be taken for
 * encrypted ones: refused, as PostgreSQL does (CVE-2021-23214).
 */
#include "proxy/startup.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "proxy/cancel.h"
#include "proxy/census.h"
#include "proxy/config.h"
#include "proxy/log.h"
#include "proxy/pool.h"
#include "proxy/session.h"
#include "proxy/tls.h"

#define TLS_FIRST_BYTE 0x16 /* a handshake record */
#define NAME_SIZE 256
#define NAME_MAX_LEN 63 /* PostgreSQL cuts longer names */

/* ---- who is there ---- */

static bool is_local(const struct session *session)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);

	return getsockname(session->client.fd, (struct sockaddr *)&address, &len) == 0 &&
	       address.ss_family == AF_UNIX;
}

/* The client's address without its port; "local" on a Unix socket. */
static void address_of(const struct session *session, char *out, size_t size)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
		struct sockaddr_storage storage;
	} address = {0};
	socklen_t len = sizeof(address);

	snprintf(out, size, "local");
	if (getpeername(session->client.fd, &address.any, &len) < 0)
		return;
	if (address.any.sa_family == AF_INET)
		inet_ntop(AF_INET, &address.in4.sin_addr, out, (socklen_t)size);
	else if (address.any.sa_family == AF_INET6)
		inet_ntop(AF_INET6, &address.in6.sin6_addr, out, (socklen_t)size);
}

static bool mode_is(const struct session *session, const char *mode)
{
	return strcmp(session->proxy->config->client_tls, mode) == 0;
}

static bool demands_tls(const struct session *session)
{
	return !mode_is(session, "off") && !mode_is(session, "allow") && !is_local(session);
}

/* ---- rules ---- */

/* A FATAL error with a name in it. Always false. */
__attribute__((format(printf, 4, 5))) static bool turn_away(struct session *session,
                                                            const char *sqlstate,
                                                            const char *reason, const char *format,
                                                            ...)
{
	char message[NAME_SIZE + 128];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	log_event(session->proxy->log, LOG_INFO, "client_refused",
	          "session=%" PRIu64 " reason=%s user=%s", session->id, reason,
	          log_quote(session->user ? session->user : ""));
	session_fatal(session, sqlstate, message, reason);
	return false;
}

static bool enter_census(struct session *session)
{
	struct proxy *proxy = session->proxy;
	const struct config *config = proxy->config;
	char address[INET6_ADDRSTRLEN];

	address_of(session, address, sizeof(address));
	session->of_address = census_enter(proxy->by_address, address);
	if (session->user) {
		session->of_user = census_enter(proxy->by_user, session->user);
		session->of_database = census_enter(proxy->by_database, session->database);
		if (census_count(session->of_database) == 1)
			pools_desert(proxy->pools, session->database, false);
	}
	if (proxy->session_count > (unsigned)config->max_clients)
		return turn_away(session, "53300", "max_clients",
		                 "sorry, too many clients already");
	if (config->max_clients_per_address > 0 &&
	    census_count(session->of_address) > (unsigned)config->max_clients_per_address)
		return turn_away(session, "53300", "max_clients_per_address",
		                 "too many connections from address %s", address);
	if (config->max_clients_per_user > 0 && session->of_user &&
	    census_count(session->of_user) > (unsigned)config->max_clients_per_user)
		return turn_away(session, "53300", "max_clients_per_user",
		                 "too many connections for role \"%s\"", session->user);
	if (config->log_connections)
		log_event(proxy->log, LOG_INFO, "client_connected",
		          "session=%" PRIu64 " client=%s user=%s database=%s tls=%s", session->id,
		          address, log_quote(session->user ? session->user : ""),
		          log_quote(session->database ? session->database : ""),
		          session->client_tls ? "yes" : "no");
	return true;
}

static bool is_peer(const struct session *session)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	struct passwd entry, *found = NULL;
	char buffer[4096];

	return session->user &&
	       getsockopt(session->client.fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       getpwuid_r(peer.uid, &entry, buffer, sizeof(buffer), &found) == 0 && found &&
	       strcmp(found->pw_name, session->user) == 0;
}

static bool check_rules(struct session *session)
{
	char name[NAME_SIZE];

	if (demands_tls(session) && !session->client_tls)
		return turn_away(session, "28000", "tls_required",
		                 "connections without TLS are not accepted");
	if (mode_is(session, "verify-full") && session->client_tls && session->user &&
	    (!tls_peer_common_name(session->client_tls, name, sizeof(name)) ||
	     strcmp(name, session->user) != 0))
		return turn_away(session, "28000", "certificate",
		                 "certificate authentication failed for user \"%s\"",
		                 session->user);
	if (session->proxy->config->client_peer && is_local(session) && !is_peer(session))
		return turn_away(session, "28000", "peer",
		                 "Peer authentication failed for user \"%s\"",
		                 session->user ? session->user : "");
	return true;
}

/* ---- the StartupMessage ---- */

static bool is_replication(const char *value)
{
	bool flag;

	return strcmp(value, "database") == 0 || !config_parse_bool(value, &flag) || flag;
}

/*
 * Reads user and database for our own use; of a parameter given twice the last counts, as
 * in PostgreSQL. False: the message is none that pgtopk understands.
 */
static bool read_startup(struct session *session, const uint8_t *message, size_t len)
{
	struct wire_reader reader;
	const char *name, *value, *user = "", *database = "";

	if (WIRE_PROTOCOL_MAJOR(wire_u32(message + 4)) != 3)
		return false;
	wire_read_init(&reader, message + 8, len - 8);
	while ((name = wire_read_string(&reader))[0]) {
		value = wire_read_string(&reader);
		if (strcmp(name, "user") == 0)
			user = value;
		else if (strcmp(name, "database") == 0)
			database = value;
		else if (strcmp(name, "replication") == 0)
			session->replication = is_replication(value);
	}
	if (!wire_read_done(&reader) || !user[0])
		return false;
	session->user = strndup(user, NAME_MAX_LEN);
	session->database = strndup(database[0] ? database : user, NAME_MAX_LEN);
	if (!session->user || !session->database)
		abort();
	return true;
}

static void start_session(struct session *session, const uint8_t *message, size_t len)
{
	/* the coordinator says what is wrong with it, in bytes that need not be protocol 3 */
	if (!read_startup(session, message, len))
		session->client_left = session->coordinator_left = SIZE_MAX;
	if (!check_rules(session) || !enter_census(session))
		return;
	iobuf_append(&session->startup, message, len);
	iobuf_consume(&session->client.in, len);
	session_dial(session, NULL);
}

/* ---- encryption ---- */

static void start_tls(struct session *session, bool direct)
{
	session->client_tls = tls_accept(session->proxy->tls, session->client.fd, direct);
	stream_start_tls(&session->client, session->client_tls);
}

/* Bytes sent before the answer; PostgreSQL refuses them even where it declines. */
static bool refuse_behind(struct session *session, uint32_t code)
{
	struct wire_error error = {
	    .severity = "FATAL",
	    .sqlstate = "08P01",
	    .message = code == WIRE_CODE_SSL
	                   ? "received unencrypted data after SSL request"
	                   : "received unencrypted data after GSSAPI encryption request",
	    .detail = "This could be either a client-software bug or evidence of an "
		      "attempted man-in-the-middle attack.",
	};

	session_end(session, &error, "protocol_violation");
	return false;
}

/* SSLRequest and GSSENCRequest, each once; false: the session has moved on. */
static bool answer_encryption_request(struct session *session, uint32_t code, size_t total)
{
	struct iobuf *in = &session->client.in;
	bool *asked = code == WIRE_CODE_SSL ? &session->asked_tls : &session->asked_gss;
	bool tls = code == WIRE_CODE_SSL && session->proxy->tls && !is_local(session);
	bool behind;

	if (*asked || session->client_tls)
		return turn_away(session, "0A000", "bad_startup",
		                 "unsupported frontend protocol %u.%u: server supports 3.0 to 3.0",
		                 code >> 16, code & 0xffff);
	*asked = true;
	behind = iobuf_len(in) > total;
	if (behind && tls)
		return refuse_behind(session, code);
	iobuf_consume(in, total);
	stream_write(&session->client, tls ? "S" : "N", 1);
	if (iobuf_len(&session->client.out) > 0) { /* one byte, and not even that is taken */
		session_close(session, "client_lost");
		return false;
	}
	if (behind)
		return refuse_behind(session, code);
	if (tls) {
		iobuf_release(in);
		start_tls(session, false);
	}
	return !tls;
}

/* One message without a type byte. False when more bytes are needed or the session has
 * moved on. */
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
		return answer_encryption_request(session, code, total);
	case WIRE_CODE_CANCEL:
		cancel_request(session, iobuf_head(in), total);
		return false;
	default:
		start_session(session, iobuf_head(in), total);
		return false;
	}
}

/* TLS without an SSLRequest before it. */
static void on_first_byte(void *owner, uint8_t first)
{
	struct session *session = owner;

	if (first == TLS_FIRST_BYTE)
		start_tls(session, true);
}

void startup_open(struct session *session)
{
	if (session->proxy->tls && !is_local(session))
		stream_peek(&session->client, on_first_byte);
}

void startup_input(struct session *session)
{
	while (session->phase == SESSION_STARTUP && startup_message(session))
		;
}
