/*
 * Cut: each kind of conversation is sent cut at each byte, and byte by byte, and the
 * answer is the same; and it is broken off at each byte, by a close or a reset, and
 * nothing is left of it. Long ones are sampled; PGTOPK_CUT_ALL=1 leaves nothing out.
 *
 * The kinds: simple and extended statements, plain and routed, portals, COPY both ways,
 * FunctionCall, the StartupMessage, CancelRequest, a declined SSLRequest; and through a
 * meddler logins by password, MD5 and SCRAM, each with TLS and without.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "t/lib/certificates.h"
#include "t/lib/items.h"
#include "t/lib/meddler.h"
#include "t/lib/raw.h"
#include "t/lib/server.h"

#define SUITE_OPTIONS "--core-dumps", "on",
#include "t/lib/suite.h"

#define VECTOR "SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 4"
#define VECTOR_TEXT "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 4"
#define SAMPLES 24

static size_t step_of(size_t len)
{
	return getenv("PGTOPK_CUT_ALL") ? 1 : len / SAMPLES + 1;
}

/* ---- conversations of a session ---- */

static void simple_plain(struct iobuf *out)
{
	wire_put_query(out, "SELECT 1; SELECT 'x' WHERE false");
}

static void simple_routed(struct iobuf *out)
{
	wire_put_query(out, VECTOR_TEXT);
}

static void extended_plain(struct iobuf *out)
{
	const char *number = "41";

	raw_put_statement(out, "SELECT $1::int + 1", 1, &number);
	wire_put_bare(out, WIRE_FE_Sync);
}

static void extended_routed(struct iobuf *out)
{
	const char *vector = Q8;

	raw_put_statement(out, VECTOR, 1, &vector);
	wire_put_bare(out, WIRE_FE_Sync);
}

static void portals_routed(struct iobuf *out)
{
	static const struct raw_value vector[] = {{Q8, -2}};

	wire_put_parse(out, "s", VECTOR, strlen(VECTOR), 0, NULL);
	wire_put_describe(out, 'S', "s");
	raw_put_bind(out, "p", "s", vector, 1, 0, 0);
	wire_put_bare(out, WIRE_FE_Flush);
	wire_put_execute(out, "p", 3);
	wire_put_execute(out, "p", 3);
	wire_put_close(out, 'P', "p");
	wire_put_close(out, 'S', "s");
	wire_put_bare(out, WIRE_FE_Sync);
}

static void copy_in(struct iobuf *out)
{
	static const char rows[] = "1\n2\n3\n";
	size_t mark;

	wire_put_query(out, "COPY cut_rows FROM STDIN");
	mark = wire_begin(out, WIRE_FE_CopyData);
	wire_put_bytes(out, rows, sizeof(rows) - 1);
	wire_end(out, mark);
	wire_put_bare(out, WIRE_FE_CopyDone);
}

static void copy_out(struct iobuf *out)
{
	wire_put_query(out, "COPY (SELECT generate_series(1, 100)) TO STDOUT");
}

static void function_call(struct iobuf *out)
{
	size_t mark = wire_begin(out, WIRE_FE_FunctionCall);

	wire_put_u32(out, 1397); /* int4abs */
	wire_put_u16(out, 1);
	wire_put_u16(out, 0);
	wire_put_u16(out, 1);
	wire_put_u32(out, 2);
	wire_put_bytes(out, "-5", 2);
	wire_put_u16(out, 0);
	wire_end(out, mark);
}

static const struct {
	const char *name;
	void (*compose)(struct iobuf *out);
} conversations[] = {
    {"simple, plain", simple_plain},
    {"simple, routed", simple_routed},
    {"extended, plain", extended_plain},
    {"extended, routed", extended_routed},
    {"portals", portals_routed},
    {"COPY in", copy_in},
    {"COPY out", copy_out},
    {"FunctionCall", function_call},
};
#define CONVERSATIONS (sizeof(conversations) / sizeof(conversations[0]))

static void open_session(struct raw *raw, int port)
{
	raw_login(raw, port);
	wire_put_query(&raw->out, "CREATE TEMP TABLE cut_rows (a int)");
	raw_send(raw, 0);
	free(raw_read(raw, WIRE_BE_ReadyForQuery, 1));
}

Test(cut, a_session_cut_at_any_byte)
{
	struct instance *instance = instance_shared();
	struct raw proxy, direct;

	open_session(&proxy, instance->port);
	open_session(&direct, cluster_port(CLUSTER_COORDINATOR));
	for (size_t i = 0; i < CONVERSATIONS; i++) {
		char *expected, *said;
		size_t len;

		conversations[i].compose(&direct.out);
		len = iobuf_len(&direct.out);
		raw_send(&direct, 0);
		expected = raw_read(&direct, WIRE_BE_ReadyForQuery, 1);
		for (size_t cut = 0; cut < len; cut += step_of(len)) {
			conversations[i].compose(&proxy.out);
			if (cut == 0)
				raw_send(&proxy, 1);
			else
				raw_send_cut(&proxy, cut);
			said = raw_read(&proxy, WIRE_BE_ReadyForQuery, 1);
			cr_assert_str_eq(said, expected, "%s cut at %zu", conversations[i].name,
			                 cut);
			free(said);
		}
		free(expected);
	}
	raw_close(&proxy);
	raw_close(&direct);
}

static void break_off(struct raw *raw, size_t at, bool reset)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 0};

	iobuf_truncate(&raw->out, at);
	raw_send(raw, 0);
	if (reset)
		setsockopt(raw->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	raw_close(raw);
}

/* All is as before: descriptors, sessions, pools. */
static void expect_nothing_left(struct instance *instance, unsigned descriptors)
{
	PGconn *conn;

	cr_assert(instance_await_descriptors(instance, descriptors + 4, 2000),
	          "%u descriptors, %u before", instance_descriptors(instance), descriptors);
	instance_skip_log(instance);
	conn = instance_connect(instance, NULL);
	cluster_run(conn, VECTOR_TEXT);
	if (instance->pid) /* queries of those who are gone may be among them */
		cr_assert_gt(instance_count(instance, " event=routed "), 0);
	PQfinish(conn);
}

static unsigned warm_up(struct instance *instance)
{
	PGconn *conn = instance_connect(instance, NULL);

	for (int i = 0; i < 3; i++)
		cluster_run(conn, VECTOR_TEXT);
	PQfinish(conn);
	usleep(100 * 1000);
	return instance_descriptors(instance);
}

Test(cut, a_session_broken_off_at_any_byte)
{
	struct instance *instance = instance_shared();
	unsigned descriptors = warm_up(instance);

	for (size_t i = 0; i < CONVERSATIONS; i++) {
		size_t len = 1;

		for (size_t at = 0; at < len; at += step_of(len)) {
			struct raw raw;

			open_session(&raw, instance->port);
			conversations[i].compose(&raw.out);
			len = iobuf_len(&raw.out) + 1;
			break_off(&raw, at, at % 2);
		}
		expect_nothing_left(instance, descriptors);
	}
}

/* ---- the first message ---- */

static void startup(struct iobuf *out)
{
	static const char parameters[] = "user\0postgres\0database\0postgres\0";

	wire_put_u32(out, 8 + sizeof(parameters));
	wire_put_u32(out, 3 << 16);
	wire_put_bytes(out, parameters, sizeof(parameters));
	wire_put_query(out, "SELECT 5");
	wire_put_bare(out, WIRE_FE_Terminate);
}

static void ssl_request(struct iobuf *out)
{
	wire_put_u32(out, 8);
	wire_put_u32(out, WIRE_CODE_SSL);
}

static void cancel_request(struct iobuf *out)
{
	static const uint8_t key[] = {1, 2, 3, 4};

	wire_put_cancel(out, 1, key, sizeof(key));
}

static const struct {
	void (*compose)(struct iobuf *out);
	const char *answer;
} beginnings[] = {
    {startup, "SELECT 1\\0Z\\0\\0\\0\\5I"},
    {ssl_request, "N"},
    {cancel_request, ""},
};

Test(cut, a_beginning_cut_or_broken_off_at_any_byte)
{
	struct instance *instance = instance_shared();
	unsigned descriptors = warm_up(instance);

	for (size_t i = 0; i < 3; i++) {
		size_t len = 1;

		for (size_t at = 0; at < len; at++) {
			struct raw raw;
			char *said;

			raw_open(&raw, instance->port);
			beginnings[i].compose(&raw.out);
			len = iobuf_len(&raw.out);
			if (at == 0)
				raw_send(&raw, 1);
			else
				raw_send_cut(&raw, at);
			shutdown(raw.fd, SHUT_WR);
			said = raw_read_bytes(&raw);
			cr_assert(*beginnings[i].answer ? strstr(said, beginnings[i].answer) != NULL
			                                : !*said,
			          "%zu at %zu: %s", i, at, said);
			free(said);
			raw_close(&raw);
			raw_open(&raw, instance->port);
			beginnings[i].compose(&raw.out);
			break_off(&raw, at, at % 2);
		}
		expect_nothing_left(instance, descriptors);
	}
}

/* ---- logins ---- */

struct front {
	struct server server;
	struct certificates certificates;
	struct instance instance;
	struct meddler meddler;
};

static void front_open(struct front *front)
{
	char cert[512], key[512];
	const char *options[] = {"--coordinator",
	                         NULL,
	                         "--client-tls",
	                         "allow",
	                         "--client-tls-cert",
	                         cert,
	                         "--client-tls-key",
	                         key,
	                         "--core-dumps",
	                         "on",
	                         NULL};

	certificates_open(&front->certificates);
	certificates_make_usual(&front->certificates, "postgres");
	snprintf(cert, sizeof(cert), "%s", certificates_file(&front->certificates, "server.crt"));
	snprintf(key, sizeof(key), "%s", certificates_file(&front->certificates, "server.key"));
	server_start(&front->server,
	             "host all u_password 127.0.0.1/32 password\n"
	             "host all u_md5 127.0.0.1/32 md5\nhost all postgres 127.0.0.1/32 trust\n"
	             "host all all 127.0.0.1/32 scram-sha-256\n",
	             "max_connections = 200\n");
	server_run(&front->server, "CREATE ROLE u_password LOGIN PASSWORD 'right';"
	                           "CREATE ROLE u_scram LOGIN PASSWORD 'right';"
	                           "SET password_encryption = md5;"
	                           "CREATE ROLE u_md5 LOGIN PASSWORD 'right'");
	options[1] = server_conninfo(&front->server, "sslmode=disable");
	instance_start(&front->instance, options);
	meddler_start(&front->meddler, front->instance.port);
}

static void front_close(struct front *front)
{
	meddler_stop(&front->meddler);
	instance_stop(&front->instance);
	server_stop(&front->server);
	certificates_close(&front->certificates);
}

static bool comes_in(struct front *front, const char *user, bool tls)
{
	PGconn *conn = PQconnectdb(text("host=127.0.0.1 port=%d user=%s password=right "
	                                "dbname=postgres gssencmode=disable sslmode=%s",
	                                front->meddler.port, user, tls ? "require" : "disable"));
	bool in = PQstatus(conn) == CONNECTION_OK &&
	          strcmp(cluster_value(conn, "SELECT current_user"), user) == 0;

	PQfinish(conn);
	return in;
}

static void meddle_with_login(struct front *front, const char *user, bool tls)
{
	static const enum meddler_what ways[] = {MEDDLER_PAUSE, MEDDLER_CLOSE, MEDDLER_RESET};
	struct meddler_rule rule = {.what = MEDDLER_NOTHING};
	size_t len;

	meddler_set(&front->meddler, &rule);
	cr_assert(comes_in(front, user, tls), "%s", user);
	len = meddler_heard(&front->meddler) - 40; /* the query and Terminate are no login */
	rule.piece = tls ? 16 : 1;
	meddler_set(&front->meddler, &rule);
	cr_assert(comes_in(front, user, tls), "%s", user);
	rule.piece = 0;
	for (size_t at = 0; at < len; at += step_of(len)) {
		for (size_t i = 0; i < 3; i++) {
			rule.what = ways[i];
			rule.at = at;
			meddler_set(&front->meddler, &rule);
			if (ways[i] == MEDDLER_PAUSE)
				cr_assert(comes_in(front, user, tls), "%s, %zu", user, at);
			else
				PQfinish(PQconnectdb(
				    text("host=127.0.0.1 port=%d user=%s password=right sslmode=%s "
				         "gssencmode=disable",
				         front->meddler.port, user, tls ? "require" : "disable")));
		}
	}
}

Test(cut, a_login_cut_or_broken_off_at_any_byte)
{
	static const char *const users[] = {"u_password", "u_md5", "u_scram"};
	struct front front;
	unsigned descriptors;

	front_open(&front);
	cr_assert(comes_in(&front, "u_scram", true));
	descriptors = instance_descriptors(&front.instance);
	for (int tls = 0; tls < 2; tls++)
		for (size_t i = 0; i < 3; i++)
			meddle_with_login(&front, users[i], tls);
	cr_assert(instance_await_descriptors(&front.instance, descriptors + 2, 3000),
	          "%u descriptors, %u before", instance_descriptors(&front.instance), descriptors);
	front_close(&front);
}
