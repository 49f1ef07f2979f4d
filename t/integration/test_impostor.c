/*
 * Impostor: ends of a login that do not keep to it, with SCRAM handled by pgtopk: clients
 * whose messages are none, a coordinator that wants to be believed without a proof. By
 * name what befell other proxies. And nothing of a login is ever in the log.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t/lib/cluster.h"
#include "t/lib/instance.h"
#include "t/lib/meddler.h"
#include "t/lib/raw.h"
#include "t/lib/server.h"

#define SHARED "PGTOPK_TEST_IMPOSTOR" /* hands the server to the tests' processes */
#define LITERAL(string) string, sizeof(string) - 1
#define PASSWORD "open-Sesame-4711"
#define HBA                                                                                        \
	"host all u_password 127.0.0.1/32 password\n"                                              \
	"host all u_md5 127.0.0.1/32 md5\n"                                                        \
	"host all postgres 127.0.0.1/32 trust\n"                                                   \
	"host all all 127.0.0.1/32 scram-sha-256\n"
#define ROLES                                                                                      \
	"CREATE ROLE u_password LOGIN PASSWORD '" PASSWORD "';"                                    \
	"CREATE ROLE u_scram LOGIN PASSWORD '" PASSWORD "';"                                       \
	"SET password_encryption = md5; CREATE ROLE u_md5 LOGIN PASSWORD '" PASSWORD "'"

static struct server server;

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	(void)set;
	cluster_up();
	server_start(&server, HBA, "max_connections = 50\n");
	server_run(&server, ROLES);
	setenv(SHARED "_PORT", text("%d", server.port), 1);
	setenv(SHARED "_SERVER", server.dir, 1);
}

static void recall(void)
{
	server.port = atoi(getenv(SHARED "_PORT"));
	snprintf(server.dir, sizeof(server.dir), "%s", getenv(SHARED "_SERVER"));
}

TestSuite(impostor, .init = recall, .timeout = 120);

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	server_stop(&server);
}

static void front_start(struct instance *instance, int port, const char *option, const char *value)
{
	const char *options[] = {"--coordinator",
	                         text("host=127.0.0.1 port=%d user=postgres dbname=postgres "
	                              "sslmode=disable gssencmode=disable",
	                              port),
	                         "--login-timeout",
	                         "2s",
	                         "--log-connections",
	                         "on",
	                         option,
	                         value,
	                         NULL};

	instance_start(instance, options);
}

static const char *conninfo(int port, const char *user, const char *password)
{
	return text("host=127.0.0.1 port=%d user=%s password=%s dbname=postgres sslmode=disable "
	            "connect_timeout=10",
	            port, user, password);
}

static bool comes_in(int port, const char *user, const char *password)
{
	PGconn *conn = PQconnectdb(conninfo(port, user, password));
	bool in = PQstatus(conn) == CONNECTION_OK;

	PQfinish(conn);
	return in;
}

/* ---- clients ---- */

static void begin(struct raw *raw, int port)
{
	static const char parameters[] = "user\0u_scram\0database\0postgres\0";

	raw_open(raw, port);
	wire_put_u32(&raw->out, 8 + sizeof(parameters));
	wire_put_u32(&raw->out, 3 << 16);
	wire_put_bytes(&raw->out, parameters, sizeof(parameters));
	raw_send(raw, 0);
	free(raw_read(raw, WIRE_BE_Authentication, 1));
}

/* The challenge has a nonce of the server's in it, and this server's salt or another. */
static void forget_challenges(char *said)
{
	char *from = said, *to = said;

	while (*from) {
		char *end = strchr(from, '\n');
		size_t len = end ? (size_t)(end - from) + 1 : strlen(from);

		if (strncmp(from, "Authentication ", 15) == 0 && strstr(from, "r=") &&
		    strstr(from, "r=") < end) {
			memcpy(to, "challenge\n", 10);
			to += 10;
		} else {
			memmove(to, from, len);
			to += len;
		}
		from += len;
	}
	*to = '\0';
}

struct words {
	const char *bytes;
	size_t len;
};

static char *hear(int port, const struct words *first, const struct words *second)
{
	struct raw raw;
	char *said;

	begin(&raw, port);
	wire_put_bytes(&raw.out, first->bytes, first->len);
	if (second) {
		raw_send(&raw, 0);
		free(raw_read(&raw, WIRE_BE_Authentication, 1));
		wire_put_bytes(&raw.out, second->bytes, second->len);
	}
	raw_send(&raw, 0);
	shutdown(raw.fd, SHUT_WR);
	said = raw_read(&raw, 0xff, 1);
	forget_challenges(said);
	raw_close(&raw);
	return said;
}

static void expect_same(const struct instance *instance, const struct words *first,
                        const struct words *second, size_t number)
{
	char *direct = hear(server.port, first, second);
	char *proxy = hear(instance->port, first, second);

	cr_expect_str_eq(proxy, direct, "case %zu\ndirect:\n%s\nthrough pgtopk:\n%s", number,
	                 direct, proxy);
	cr_expect_null(strstr(proxy, "ReadyForQuery"), "%s", proxy);
	free(direct);
	free(proxy);
}

#define FIRST(length, message) "p\0\0\0" length "SCRAM-SHA-256\0" message

/* CVE-2026-6664, CVE-2026-6665: lengths of SASL messages that PgBouncer believed. */
Test(impostor, cve_2026_6664_and_6665_lengths_in_sasl_messages)
{
	static const struct words first[] = {
	    {LITERAL(FIRST("\026", "\377\377\377\376"))},
	    {LITERAL(FIRST("\026", "\377\377\377\377"))},
	    {LITERAL(FIRST("\026", "\200\0\0\0"))},
	    {LITERAL(FIRST("\026", "\177\377\377\377"))},
	    {LITERAL(FIRST("\026", "\0\0\0\1"))},
	    {LITERAL(FIRST("\026", "\0\0\0\0"))},
	    {LITERAL(FIRST("\027", "\0\0\0\0x"))},
	    {LITERAL(FIRST("\031", "\0\0\0\3n,"))},
	    {LITERAL(FIRST("\031", "\0\0\0\3n,,"))},
	    {LITERAL(FIRST("\031", "\0\0\0\3y,,"))},
	    {LITERAL(FIRST("\031", "\0\0\0\3p=x"))},
	    {LITERAL(FIRST("\036", "\0\0\0\010n,,n=,r="))},
	    {LITERAL(FIRST("\037", "\0\0\0\011n,,n=,r=\0"))},
	    {LITERAL(FIRST("\041", "\0\0\0\013n,,m=x,n=,r"))},
	    {LITERAL("p\0\0\0\004")},
	    {LITERAL("p\0\0\0\005\0")},
	    {LITERAL("p\0\0\0\005S")},
	    {LITERAL("p\0\0\0\021SCRAM-SHA-256")},
	    {LITERAL("p\0\0\0\022SCRAM-SHA-256\0")},
	    {LITERAL("p\0\0\0\033SCRAM-SHA-256-PLUS\0\0\0\0\0")},
	    {LITERAL("p\0\0\0\015OTHER\0\0\0\0")},
	    {LITERAL("p\0\0\0\0")},
	    {LITERAL("p\0\0\0\3")},
	    {LITERAL("p\377\377\377\377")},
	    {LITERAL("p\177\377\377\377")},
	    {LITERAL("p\200\0\0\0")},
	    {LITERAL("p\0\1\0\1")},
	};
	static const struct words good = {LITERAL(FIRST("\043", "\0\0\0\015n,,n=,r=abcde"))};
	static const struct words second[] = {
	    {LITERAL("p\0\0\0\4")},
	    {LITERAL("p\0\0\0\5\0")},
	    {LITERAL("p\0\0\0\3")},
	    {LITERAL("p\377\377\377\377")},
	    {LITERAL("p\177\377\377\377")},
	    {LITERAL("p\0\0\0\012c=biws")},
	    {LITERAL("p\0\0\0\026c=biws,r=abcde,p=x")},
	    {LITERAL("p\0\0\0\005,")},
	    {LITERAL("p\0\0\0\012p=AAAA")},
	};
	struct instance instance;

	front_start(&instance, server.port, "--log-level", "info");
	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++)
		expect_same(&instance, &first[i], NULL, i);
	for (size_t i = 0; i < sizeof(second) / sizeof(second[0]); i++)
		expect_same(&instance, &good, &second[i], 100 + i);
	cr_assert(comes_in(instance.port, "u_scram", PASSWORD));
	instance_stop(&instance);
}

/* CVE-2026-107350: PgBouncer took a second StartupMessage in the midst of SCRAM. */
Test(impostor, cve_2026_107350_a_second_startup_message_during_scram)
{
	static const struct words other[] = {
	    {LITERAL("\0\0\0\027\0\3\0\0user\0postgres\0\0")},
	    {LITERAL("\0\0\0\010\4\322\026/")}, /* SSLRequest */
	    {LITERAL("\0\0\0\020\4\322\026.\0\0\0\1\0\0\0\1")},
	    {LITERAL("Q\0\0\0\015SELECT 1\0")},
	    {LITERAL("X\0\0\0\4")},
	    {LITERAL("S\0\0\0\4")},
	    {LITERAL("B\0\0\0\014\0\0\0\0\0\0\0\0")},
	    {LITERAL("E\0\0\0\011\0\0\0\0\0")},
	    {LITERAL("d\0\0\0\4")},
	    {LITERAL("!\0\0\0\4")},
	};
	static const struct words good = {LITERAL(FIRST("\043", "\0\0\0\015n,,n=,r=abcde"))};
	struct instance instance;

	front_start(&instance, server.port, "--log-level", "info");
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		expect_same(&instance, &other[i], NULL, i);
		expect_same(&instance, &good, &other[i], 100 + i);
	}
	cr_assert(comes_in(instance.port, "u_scram", PASSWORD));
	instance_stop(&instance);
}

/* ---- coordinators ---- */

#define OK "R\0\0\0\010\0\0\0\0"
#define READY "Z\0\0\0\5I"
#define SIGNED(text) "R\0\0\0\066\0\0\0\014v=" text
#define WRONG "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static const struct {
	unsigned nth; /* 2: the challenge, 3: the signature, 4: AuthenticationOk */
	const char *bytes;
	size_t len;
} lies[] = {
    {2, LITERAL(OK READY)},
    {2, LITERAL("")},
    {2, LITERAL(READY)},
    {2, LITERAL("S\0\0\0\010a\0b\0" READY)},
    {2, LITERAL("K\0\0\0\014\0\0\0\1\0\0\0\1" READY)},
    {2, LITERAL("R\0\0\0\010\0\0\0\3")},
    {2, LITERAL("R\0\0\0\014\0\0\0\5salt")},
    {2, LITERAL("R\0\0\0\010\0\0\0\7")},
    {2, LITERAL("R\0\0\0\010\0\0\0\013")},
    {2, LITERAL("R\0\0\0\013\0\0\0\013r=,")},
    {2, LITERAL("R\0\0\0\027\0\0\0\012SCRAM-SHA-256\0\0")},
    {2, LITERAL(SIGNED(WRONG) OK READY)},
    {2, LITERAL("R\0\0\0\7\0\0\0")},
    {2, LITERAL("R\177\377\377\377\0\0\0\0")},
    {2, LITERAL("R\0\0\0\010\377\377\377\377")},
    {3, LITERAL("")},
    {3, LITERAL(OK READY)},
    {3, LITERAL(READY)},
    {3, LITERAL(SIGNED(WRONG))},
    {3, LITERAL(SIGNED(WRONG) OK READY)},
    {3, LITERAL("R\0\0\0\010\0\0\0\014" OK READY)},
    {3, LITERAL("R\0\0\0\012\0\0\0\014v=" OK READY)},
    {3, LITERAL("R\0\0\0\017\0\0\0\014e=other" OK READY)},
    {3, LITERAL("R\0\0\0\013\0\0\0\013r=," OK READY)},
    {4, LITERAL("R\0\0\0\010\0\0\0\3")},
    {4, LITERAL(SIGNED(WRONG))},
    {4, LITERAL(READY)},
};

static const char *auth_file(void)
{
	const char *path =
	    text("%s/pgtopk-impostor-%d.users", instance_socket_dir(), (int)getpid());
	PGconn *conn = server_connect(&server);
	FILE *file = fopen(path, "w");

	cr_assert_not_null(file);
	fprintf(file, "\"u_scram\" \"%s\"\n",
	        cluster_value(conn, "SELECT rolpassword FROM pg_authid WHERE rolname = 'u_scram'"));
	cr_assert_eq(fclose(file), 0);
	chmod(path, 0600);
	PQfinish(conn);
	return path;
}

/* By pgtopk, sooner or later: the log is written behind the client's back. */
static bool was_refused(const struct instance *instance)
{
	for (int i = 0; i < 200; i++) {
		if (instance_count(instance, " reason=protocol_violation") +
		        instance_count(instance, " reason=login_failed") +
		        instance_count(instance, " reason=login_timeout") >
		    0)
			return true;
		usleep(5 * 1000);
	}
	return false;
}

/* It must know the server key; AuthenticationOk alone is not believed. */
Test(impostor, a_coordinator_without_the_proof_lets_nobody_in)
{
	struct meddler meddler;
	struct instance instance;

	meddler_start(&meddler, server.port);
	front_start(&instance, meddler.port, "--auth-file", auth_file());
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct meddler_rule rule = {.what = MEDDLER_REPLACE,
		                            .of_server = true,
		                            .type = WIRE_BE_Authentication,
		                            .nth = lies[i].nth,
		                            .bytes = lies[i].bytes,
		                            .len = lies[i].len};
		static const struct meddler_rule peace;

		instance_skip_log(&instance);
		meddler_set(&meddler, &rule);
		cr_expect_not(comes_in(instance.port, "u_scram", PASSWORD), "case %zu", i);
		cr_expect_eq(meddler_struck(&meddler), 1, "case %zu", i);
		cr_expect(was_refused(&instance), "case %zu: %s", i, instance_read_log(&instance));
		meddler_set(&meddler, &peace);
		cr_expect(comes_in(instance.port, "u_scram", PASSWORD), "case %zu", i);
	}
	instance_stop(&instance);
	meddler_stop(&meddler);
}

/* ---- the log ---- */

static void add_secret(const char **secrets, size_t *n, const char *secret)
{
	cr_assert_gt(strlen(secret), 6, "\"%s\"", secret);
	secrets[(*n)++] = strdup(secret);
}

/* Whatever is logged, at its most talkative. */
Test(impostor, no_secret_is_ever_logged)
{
	static const char *const users[] = {"u_password", "u_md5", "u_scram"};
	const char *parameter[] = {"parameter-4711"};
	const char *secrets[16];
	size_t n = 0;
	struct instance instance;
	PGconn *conn = server_connect(&server);
	char *log, *verifier;

	verifier = strdup(
	    cluster_value(conn, "SELECT rolpassword FROM pg_authid WHERE rolname = 'u_scram'"));
	add_secret(secrets, &n, PASSWORD);
	add_secret(secrets, &n, parameter[0]);
	add_secret(
	    secrets, &n,
	    cluster_value(conn, "SELECT rolpassword FROM pg_authid WHERE rolname = 'u_md5'"));
	for (char *part = strtok(verifier, "$:"); part; part = strtok(NULL, "$:"))
		if (strlen(part) > 7 && strcmp(part, "SCRAM-SHA-256") != 0)
			add_secret(secrets, &n, part);
	cr_assert_eq(n, 6); /* salt, stored key, server key */
	add_secret(secrets, &n, "SCRAM-SHA-256");
	add_secret(secrets, &n, "biws,r=");
	front_start(&instance, server.port, "--log-level", "debug");
	for (size_t i = 0; i < 3; i++) {
		PGconn *client = PQconnectdb(conninfo(instance.port, users[i], PASSWORD));

		cr_assert_eq(PQstatus(client), CONNECTION_OK, "%s", PQerrorMessage(client));
		PQclear(PQexecParams(client, "SELECT $1 ORDER BY $1 <-> 'x' LIMIT 1", 1, NULL,
		                     parameter, NULL, NULL, 0));
		PQfinish(client);
		comes_in(instance.port, users[i], "wrong-" PASSWORD);
		comes_in(instance.port, "nobody", PASSWORD);
	}
	log = instance_read_log(&instance);
	cr_assert_not_null(strstr(log, "client_connected"));
	for (size_t i = 0; i < n; i++)
		cr_expect_null(strstr(log, secrets[i]), "%s is in the log", secrets[i]);
	free(log);
	free(verifier);
	PQfinish(conn);
	instance_stop(&instance);
}
