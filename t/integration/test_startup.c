/*
 * Startup: a connection's first bytes, through pgtopk and to the coordinator itself.
 * What the coordinator is told, and what it answers, must be the same byte for byte,
 * whatever the version of either side: parameters, minor protocol versions and
 * protocol options that nobody knows, malformed packets, requests for encryption,
 * and cancel keys of whatever length.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "t/lib/raw.h"
#include "t/lib/suite.h"

#define V3(minor) ((uint32_t)3 << 16 | (minor))
#define PARAMETERS_MAX 12
#define SSL_REQUEST "\0\0\0\10\4\322\26\57"
#define GSS_REQUEST "\0\0\0\10\4\322\26\60"

/* What a session was made of. */
static const char who_sql[] =
    "SELECT session_user, current_database(), current_setting('application_name'),"
    " current_setting('DateStyle'), current_setting('work_mem'), current_setting('search_path'),"
    " current_setting('client_encoding'), current_setting('my.own', true)";

static void put_startup(struct iobuf *out, uint32_t version, const char *const *parameters)
{
	struct iobuf body;

	iobuf_init(&body);
	wire_put_u32(&body, version);
	for (; *parameters; parameters++)
		wire_put_string(&body, *parameters);
	wire_put_string(&body, "");
	wire_put_u32(out, (uint32_t)iobuf_len(&body) + 4);
	wire_put_bytes(out, iobuf_head(&body), iobuf_len(&body));
	iobuf_fini(&body);
}

/* Logs in with these bytes, asks who it is if that went well; all that was said. */
static char *log_in(struct raw *raw, int port, const struct iobuf *packet, size_t piece)
{
	char *said, *answer, *all;

	raw_open(raw, port);
	iobuf_append(&raw->out, iobuf_head(packet), iobuf_len(packet));
	raw_send(raw, piece);
	said = raw_read(raw, WIRE_BE_ReadyForQuery, 1);
	if (raw->ended)
		return said;
	wire_put_query(&raw->out, who_sql);
	raw_send(raw, 0);
	answer = raw_read(raw, WIRE_BE_ReadyForQuery, 1);
	all = strdup(text("%skey of %zu bytes\n%s", said, raw->key_len, answer));
	free(said);
	free(answer);
	return all;
}

/* The same through pgtopk and direct; as text(). */
static const char *same_login(const struct iobuf *packet, size_t piece)
{
	struct raw proxy, direct;
	char *wanted = log_in(&direct, cluster_port(CLUSTER_COORDINATOR), packet, 0);
	char *got = log_in(&proxy, instance_shared()->port, packet, piece);
	const char *said = text("%s", got);

	cr_assert_str_eq(got, wanted, "through pgtopk:\n%.3000s\ndirect:\n%.3000s", got, wanted);
	raw_close(&proxy);
	raw_close(&direct);
	free(got);
	free(wanted);
	return said;
}

static const char *same_startup(uint32_t version, const char *const *parameters)
{
	struct iobuf packet;
	const char *said;

	iobuf_init(&packet);
	put_startup(&packet, version, parameters);
	said = same_login(&packet, 0);
	iobuf_fini(&packet);
	return said;
}

/*
 * Bytes that end the connection, by themselves or, if they are not all that was announced,
 * once no more can come: all that comes back, as text().
 */
static const char *said_to(int port, const void *bytes, size_t len, bool incomplete)
{
	struct raw raw;
	char *bytes_said;
	const char *said;

	raw_open(&raw, port);
	iobuf_append(&raw.out, bytes, len);
	raw_send(&raw, 0);
	if (incomplete)
		shutdown(raw.fd, SHUT_WR);
	bytes_said = raw_read_bytes(&raw);
	said = text("%s", bytes_said);
	free(bytes_said);
	raw_close(&raw);
	return said;
}

static const char *same_end(const void *bytes, size_t len, bool incomplete)
{
	const char *wanted = said_to(cluster_port(CLUSTER_COORDINATOR), bytes, len, incomplete);
	const char *got = said_to(instance_shared()->port, bytes, len, incomplete);

	cr_assert_str_eq(got, wanted, "%zu bytes: through pgtopk:\n%s\ndirect:\n%s", len, got,
	                 wanted);
	return got;
}

/* An SSLRequest with bytes behind it, or before them: what follows the N, as text(). */
static const char *said_after_ssl(int port, const void *bytes, size_t len, bool at_once)
{
	struct raw raw;
	char *messages;
	const char *said;

	raw_open(&raw, port);
	iobuf_append(&raw.out, SSL_REQUEST, 8);
	if (!at_once) {
		raw_send(&raw, 0);
		cr_assert_eq(raw_read_byte(&raw), 'N');
	}
	iobuf_append(&raw.out, bytes, len);
	raw_send(&raw, 0);
	if (at_once)
		cr_assert_eq(raw_read_byte(&raw), 'N');
	messages = raw_read(&raw, WIRE_BE_ReadyForQuery, 1);
	said = text("%s", messages);
	free(messages);
	raw_close(&raw);
	return said;
}

static int server_version(void)
{
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, NULL);
	int version = PQserverVersion(conn);

	PQfinish(conn);
	return version;
}

/* ---- versions and protocol options ---- */

Test(startup, minor_versions_are_the_coordinators_to_judge)
{
	static const char *const parameters[] = {"user", "postgres", NULL};
	static const uint32_t minors[] = {0, 1, 2, 3, 4, 999, 9999, 65535};

	for (size_t i = 0; i < sizeof(minors) / sizeof(minors[0]); i++) {
		const char *said = same_startup(V3(minors[i]), parameters);

		cr_assert_not_null(strstr(said, "ReadyForQuery"), "3.%u: %s", minors[i], said);
		if (minors[i] == 0 || minors[i] > 2)
			cr_assert_eq(minors[i] > 0,
			             strstr(said, "NegotiateProtocolVersion") != NULL, "3.%u: %s",
			             minors[i], said);
	}
}

Test(startup, unknown_protocol_options_are_named)
{
	static const char *const lists[][PARAMETERS_MAX] = {
	    {"user", "postgres", "_pq_.nobody_knows", "on"},
	    {"_pq_.a", "1", "user", "postgres", "_pq_.b", "", "_pq_.a", "2"},
	    {"user", "postgres", "_pq_.", "x", "_pq_", "y"},
	};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		const char *said = same_startup(V3(0), lists[i]);

		cr_assert_not_null(strstr(said, "NegotiateProtocolVersion"), "%s", said);
		same_startup(V3(2), lists[i]);
		same_startup(V3(9), lists[i]);
	}
}

Test(startup, other_major_versions_are_refused)
{
	static const char *const parameters[] = {"user", "postgres", NULL};
	static const uint32_t versions[] = {0, 1 << 16, 4 << 16, 4 << 16 | 1, UINT32_MAX};
	struct iobuf packet;

	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		iobuf_init(&packet);
		put_startup(&packet, versions[i], parameters);
		cr_assert_not_null(strstr(same_end(iobuf_head(&packet), iobuf_len(&packet), false),
		                          "unsupported frontend protocol"));
		iobuf_fini(&packet);
	}
}

/* ---- parameters ---- */

Test(startup, parameters_pass_untouched)
{
	static const char *const lists[][PARAMETERS_MAX] = {
	    {"user", "postgres"},
	    {"database", "postgres", "user", "postgres"},
	    {"user", "postgres", "database", ""},
	    {"user", "postgres", "options", "-c work_mem=5MB -c search_path=a,b -c my.own=x\\ y"},
	    {"user", "postgres", "options", "--work_mem=6MB"},
	    {"user", "postgres", "options", ""},
	    {"user", "postgres", "options", "-c work_mem=much"},
	    {"user", "postgres", "options", "-c no_such_setting=1"},
	    {"user", "postgres", "application_name", "n\303\244me \1 \t \"';"},
	    {"user", "postgres", "application_name", ""},
	    {"user", "postgres", "DateStyle", "German, DMY", "work_mem", "7MB"},
	    {"user", "postgres", "client_encoding", "LATIN1", "my.own", "value"},
	    {"user", "postgres", "client_encoding", "EBCDIC"},
	    {"user", "postgres", "search_path", "pg_temp, \"odd name\", public"},
	    {"user", "postgres", "no_such_setting", "1"},
	    {"user", "postgres", "DateStyle", "SQL", "DateStyle", "ISO"},
	    {"user", "no_such_role", "user", "postgres"},
	    {"user", "postgres", "user", "no_such_role"},
	    {"user", "postgres", "database", "no_such_database", "database", "postgres"},
	    {"user", "postgres", "database", "postgres", "database", ""},
	    {"user", "postgres", "options", "-c work_mem=5MB", "options", "-c my.own=1"},
	    {"user", ""},
	    {"database", "postgres"},
	    {"user", "postgres", "User", "x"},
	};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		same_startup(V3(0), lists[i]);
	/* its own message, not a parameter's */
	cr_assert_not_null(strstr(same_startup(V3(0), lists[3]), "x y"));
}

Test(startup, values_of_replication)
{
	static const char *const values[] = {"false", "off", "0", "f", "no",
	                                     "n",     "OFF", "",  "2", "maybe"};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		const char *parameters[] = {"user", "postgres", "replication", values[i], NULL};

		same_startup(V3(0), parameters);
	}
}

/* A session is no replication's if the last word is that it is not: its queries are routed. */
Test(startup, no_replication_after_all)
{
	static const char *const parameters[] = {
	    "replication", "database", "user", "postgres", "replication", "f", "my.own", "x", NULL};
	struct instance *instance = instance_shared();
	struct raw raw;
	struct iobuf packet;

	iobuf_init(&packet);
	put_startup(&packet, V3(0), parameters);
	free(log_in(&raw, instance->port, &packet, 0));
	cr_assert_not(raw.ended);
	wire_put_query(&raw.out, "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 3");
	raw_send(&raw, 0);
	free(raw_read(&raw, WIRE_BE_ReadyForQuery, 1));
	instance_expect(instance, "routed", "after replication=f");
	raw_close(&raw);
	iobuf_fini(&packet);
}

static void make_role_and_database(const char *role, const char *database)
{
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, NULL);
	char *name = PQescapeLiteral(conn, database, strlen(database));
	char *identifier = PQescapeIdentifier(conn, database, strlen(database));

	if (!*cluster_value(conn, text("SELECT 1 FROM pg_roles WHERE rolname = '%s'", role)))
		cluster_run(conn, text("CREATE ROLE \"%s\" LOGIN", role));
	if (!*cluster_value(conn, text("SELECT 1 FROM pg_database WHERE datname = %s", name)))
		cluster_run(conn, text("CREATE DATABASE %s", identifier));
	PQfreemem(name);
	PQfreemem(identifier);
	PQfinish(conn);
}

#define UMLAUTS "N\303\244me \342\202\254"
#define ODD "d \303\266 ' \" \\ =x"
#define FIFTY "a_name_of_fifty_bytes_exactly_that_goes_on_for_lon"
#define LONGEST FIFTY "g_and_no_more" /* 63 bytes: as long as a name can be */

Test(startup, names_that_are_not_ascii)
{
	static const char *const parameters[][PARAMETERS_MAX] = {
	    {"user", UMLAUTS, "database", ODD},
	    {"user", UMLAUTS},
	    {"user", UMLAUTS, "database", "d \303\266"},
	    {"user", "n\344me \377", "database", "postgres"},
	};

	make_role_and_database(UMLAUTS, UMLAUTS);
	make_role_and_database(UMLAUTS, ODD);
	for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++)
		same_startup(V3(0), parameters[i]);
	cr_assert_not_null(strstr(same_startup(V3(0), parameters[1]), "ReadyForQuery"));
}

/* PostgreSQL cuts names that are too long, and so must we where we use them. */
Test(startup, names_that_are_too_long)
{
	static const char *const parameters[] = {"user", LONGEST "r", "database",
	                                         LONGEST "r and more", NULL};
	const char *said;

	make_role_and_database(LONGEST, LONGEST);
	said = same_startup(V3(0), parameters);
	cr_assert_not_null(strstr(said, "ReadyForQuery"), "%s", said);
}

Test(startup, a_name_that_is_too_long_is_routed)
{
	struct instance *instance = instance_shared();
	PGconn *conn;

	cluster_run_everywhere("DROP ROLE IF EXISTS \"s" LONGEST "\"; "
	                       "CREATE ROLE \"s" LONGEST "\" LOGIN SUPERUSER");
	conn = instance_connect(instance, "user=s" LONGEST);
	instance_skip_log(instance);
	cluster_run(conn, "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 3");
	instance_expect(instance, "routed", "as a user of 64 bytes");
	PQfinish(conn);
}

Test(startup, long_values)
{
	static const size_t lengths[] = {1000, 9900, 9957, 9958,  9959,
	                                 9960, 9961, 9962, 12000, 70000};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		const char *value = text("%0*d", (int)lengths[i], 1);
		const char *parameters[] = {"user", "postgres", "application_name", value, NULL};

		bool logged_in = strstr(same_startup(V3(0), parameters), "ReadyForQuery") != NULL;

		if (lengths[i] < 9950 || lengths[i] > 9970) /* the limit is between these */
			cr_assert_eq(logged_in, lengths[i] < 9960, "%zu", lengths[i]);
	}
}

/* ---- the packet's shape ---- */

struct packet {
	const char *bytes;
	size_t len;
};

#define PACKET(bytes)                                                                              \
	{                                                                                          \
		bytes, sizeof(bytes) - 1                                                           \
	}

Test(startup, malformed_packets)
{
	static const struct packet packets[] = {
	    PACKET("\0\0\0\26\0\3\0\0user\0postgres\0"),         /* no terminator */
	    PACKET("\0\0\0\25\0\3\0\0user\0postgres"),           /* not even the value's */
	    PACKET("\0\0\0\34\0\3\0\0user\0postgres\0name\0\0"), /* a name without a value */
	    PACKET("\0\0\0\33\0\3\0\0user\0postgres\0name\0"),
	    PACKET("\0\0\0\30\0\3\0\0user\0postgres\0\0\0"), /* two terminators */
	    PACKET("\0\0\0\33\0\3\0\0user\0postgres\0\0more"),
	    PACKET("\0\0\0\11\0\3\0\0\0"), /* no user */
	    PACKET("\0\0\0\10\0\3\0\0"),
	    PACKET("\0\0\0\11\0\3\0\0x"),
	    PACKET("\0\0\0\15\0\3\0\0\0\0\0\0\0"),
	    PACKET("\0\0\0\0\0\3\0\0"),
	    PACKET("\0\0\0\4\0\3\0\0"),
	    PACKET("\0\0\0\7\0\3\0\0"),
	    PACKET("\377\377\377\377\0\3\0\0user\0postgres\0\0"), /* -1 */
	    PACKET("\200\0\0\0\0\3\0\0user\0postgres\0\0"),
	    PACKET("\177\377\377\377\0\3\0\0user\0postgres\0\0"),
	    PACKET("\0\0\47\31\0\3\0\0user\0postgres\0\0"),
	    PACKET("GET / HTTP/1.1\r\n\r\n"),
	    PACKET("Q\0\0\0\15SELECT 1\0"),
	    PACKET("\26\3\1\2\0\1\0\1\374\3\3"), /* a TLS handshake */
	};

	for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++)
		same_end(packets[i].bytes, packets[i].len, false);
	cr_assert_not_null(strstr(same_end(packets[0].bytes, packets[0].len, false), "08P01"));
}

Test(startup, incomplete_packets)
{
	static const struct packet packets[] = {
	    PACKET(""),
	    PACKET("\0"),
	    PACKET("\0\0\0"),
	    PACKET("\0\0\0\10"),
	    PACKET("\0\0\0\50\0\3\0"),
	    PACKET("\0\0\0\50\0\3\0\0user\0postgres\0\0"),
	    PACKET("\0\0\47\30\0\3\0\0user\0postgres\0\0"),
	    PACKET("\0\0\0\20\4\322\26\56\0\0\0\1"), /* a CancelRequest */
	    PACKET("\0\0\0\10\4\322\26"),
	};

	for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++)
		cr_assert_str_empty(same_end(packets[i].bytes, packets[i].len, true));
}

Test(startup, cut_anywhere)
{
	static const char *const parameters[] = {
	    "user", "postgres", "database", "postgres", "my.own", "x", "_pq_.no_one", "y", NULL};
	struct iobuf packet;

	iobuf_init(&packet);
	put_startup(&packet, V3(2), parameters);
	for (size_t piece = 1; piece < 12; piece++)
		same_login(&packet, piece);
	iobuf_fini(&packet);
}

/* ---- encryption requests ---- */

/* Each may be asked for once, and both are declined here; then the login begins. (The
 * coordinator may well speak GSSAPI; pgtopk does not.) */
Test(startup, encryption_is_declined)
{
	static const char *const parameters[] = {"user", "postgres", NULL};
	static const char *const orders[] = {"S", "G", "SG", "GS"};

	if (!instance_shared()->pid)
		return;
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		struct raw raw;
		char *said;

		raw_open(&raw, instance_shared()->port);
		for (const char *which = orders[i]; *which; which++) {
			iobuf_append(&raw.out, *which == 'S' ? SSL_REQUEST : GSS_REQUEST, 8);
			raw_send(&raw, 0);
			cr_assert_eq(raw_read_byte(&raw), 'N');
		}
		put_startup(&raw.out, V3(0), parameters);
		raw_send(&raw, 0);
		said = raw_read(&raw, WIRE_BE_ReadyForQuery, 1);
		cr_assert_not_null(strstr(said, "ReadyForQuery I"), "%s: %s", orders[i], said);
		free(said);
		raw_close(&raw);
	}
}

/* Then the request's code is taken for a version. */
Test(startup, encryption_is_asked_for_once)
{
	const char *got = said_after_ssl(instance_shared()->port, SSL_REQUEST, 8, false);
	const char *wanted =
	    said_after_ssl(cluster_port(CLUSTER_COORDINATOR), SSL_REQUEST, 8, false);
	size_t len = strcspn(got, ":"); /* behind it: the versions that the server knows */

	cr_assert_not_null(strstr(got, "unsupported frontend protocol 1234.5679: "), "%s", got);
	cr_assert_eq(strncmp(got, wanted, len), 0, "%s%s", got, wanted);
}

/* Even where encryption is declined: somebody may have put them there. */
Test(startup, bytes_behind_an_ssl_request)
{
	static const char packet[] = "\0\0\0\27\0\3\0\0user\0postgres\0\0";
	const char *got = said_after_ssl(instance_shared()->port, packet, sizeof(packet) - 1, true);

	cr_assert_not_null(strstr(got, "received unencrypted data after SSL request"), "%s", got);
	if (server_version() < 140000)
		return; /* it says so in the words of protocol 2 */
	cr_assert_str_eq(got, said_after_ssl(cluster_port(CLUSTER_COORDINATOR), packet,
	                                     sizeof(packet) - 1, true));
}

/* ---- cancel keys ---- */

static uint32_t newest(void)
{
	return server_version() < 180000 ? V3(0) : V3(2);
}

static void open_newest(struct raw *raw, int port)
{
	static const char *const parameters[] = {"user", "postgres", NULL};
	struct iobuf packet;

	iobuf_init(&packet);
	put_startup(&packet, newest(), parameters);
	free(log_in(raw, port, &packet, 0));
	cr_assert_eq(raw->key_len, newest() == V3(0) ? 4 : 32, "%zu", raw->key_len);
	iobuf_fini(&packet);
}

static void await_sleeping(uint32_t pid)
{
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, NULL);

	cr_assert(cluster_await(
	    conn, text("SELECT wait_event FROM pg_stat_activity WHERE pid = %u", pid), "PgSleep"));
	PQfinish(conn);
}

Test(startup, a_key_cancels_and_no_part_of_it_does)
{
	struct instance *instance = instance_shared();
	uint8_t key[RAW_KEY_MAX + 1] = {0};
	struct raw raw;
	char *said;

	open_newest(&raw, instance->port);
	wire_put_query(&raw.out, "SELECT pg_sleep(30)");
	raw_send(&raw, 0);
	await_sleeping(raw.pid);
	memcpy(key, raw.key, raw.key_len);
	raw_cancel(instance->port, raw.pid, key, 0);
	raw_cancel(instance->port, raw.pid, key, raw.key_len - 1);
	raw_cancel(instance->port, raw.pid, key, raw.key_len + 1);
	raw_cancel(instance->port, raw.pid, key, RAW_KEY_MAX);
	raw_cancel(instance->port, raw.pid, key, RAW_KEY_MAX + 1);
	raw_cancel(instance->port, raw.pid + 1, key, raw.key_len);
	key[raw.key_len - 1] ^= 1;
	raw_cancel(instance->port, raw.pid, key, raw.key_len);
	cr_assert_not(raw_readable(&raw, 300));
	raw_cancel(instance->port, raw.pid, raw.key, raw.key_len);
	said = raw_read(&raw, WIRE_BE_ReadyForQuery, 1);
	cr_assert_not_null(strstr(said, "C=57014"), "%s", said);
	free(said);
	raw_close(&raw);
}

Test(startup, a_routed_query_of_the_newest_protocol)
{
	struct instance *instance = instance_shared();
	struct raw raw;
	char *said;

	open_newest(&raw, instance->port);
	wire_put_query(&raw.out, "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 3");
	raw_send(&raw, 0);
	said = raw_read(&raw, WIRE_BE_ReadyForQuery, 1);
	cr_assert_not_null(strstr(said, "SELECT 3"), "%s", said);
	instance_expect(instance, "routed", "protocol 3.2");
	free(said);
	raw_close(&raw);
}
