/*
 * Faulty: a coordinator and workers that break off, stall, say what they should not or
 * say it in the wrong order, at each point of a login, of a plain and of a routed
 * statement. A routed query is then answered all the same; nobody is let in; nobody
 * else notices; pgtopk lives.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "t/lib/items.h"
#include "t/lib/meddler.h"
#include "t/lib/neighbour.h"
#include "t/lib/raw.h"
#include "t/lib/server.h"
#include "t/lib/suite.h"

#define TOP5 "SELECT id, name FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 5"
#define LITERAL(string) string, sizeof(string) - 1

/* What a server may say instead; "" in place of a message: it is left out. */
static const struct {
	const char *name, *bytes;
	size_t len;
} nonsense[] = {
    {"nothing", LITERAL("")},
    {"garbage", LITERAL("\x00\xff garbage garbage garbage garbage")},
    {"length 0", LITERAL("D\0\0\0\0")},
    {"length 3", LITERAL("Z\0\0\0\3")},
    {"length -1", LITERAL("D\377\377\377\377xxxx")},
    {"length 2^31-1", LITERAL("D\177\377\377\377xxxx")},
    {"an unknown type", LITERAL("!\0\0\0\4")},
    {"ReadyForQuery without a status", LITERAL("Z\0\0\0\4")},
    {"ReadyForQuery with two", LITERAL("Z\0\0\0\6II")},
    {"ReadyForQuery of no known status", LITERAL("Z\0\0\0\5?")},
    {"ReadyForQuery too soon", LITERAL("Z\0\0\0\5I")},
    {"CVE-2026-6666: an empty ErrorResponse", LITERAL("E\0\0\0\4")},
    {"CVE-2026-6666: an ErrorResponse without fields", LITERAL("E\0\0\0\5\0")},
    {"CVE-2026-6666: an ErrorResponse that does not end", LITERAL("E\0\0\0\7SERR")},
    {"CVE-2026-6666: an ErrorResponse without SQLSTATE",
     LITERAL("E\0\0\0\026SERROR\0Mno state\0\0\0")},
    {"an ErrorResponse of severity ERROR", LITERAL("E\0\0\0\035SERROR\0VERROR\0C42P01\0M?\0\0")},
    {"an ErrorResponse of severity FATAL", LITERAL("E\0\0\0\035SFATAL\0VFATAL\0C57P01\0M!\0\0")},
    {"an empty DataRow", LITERAL("D\0\0\0\4")},
    {"a DataRow of too many values", LITERAL("D\0\0\0\6\177\377")},
    {"a DataRow of a value that is too long", LITERAL("D\0\0\0\016\0\1\177\377\377\377abcd")},
    {"a DataRow of a negative length", LITERAL("D\0\0\0\012\0\1\200\0\0\0")},
    {"a RowDescription that does not end", LITERAL("T\0\0\0\010\0\3ab")},
    {"an empty RowDescription", LITERAL("T\0\0\0\4")},
    {"ParseComplete", LITERAL("1\0\0\0\4")},
    {"CopyInResponse", LITERAL("G\0\0\0\7\0\0\0")},
    {"an Authentication request", LITERAL("R\0\0\0\010\0\0\0\3")},
    {"a ParameterStatus that does not end", LITERAL("S\0\0\0\7abc")},
    {"a CommandComplete that does not end", LITERAL("C\0\0\0\7abc")},
    {"BackendKeyData of no bytes", LITERAL("K\0\0\0\4")},
    {"NegotiateProtocolVersion", LITERAL("v\0\0\0\014\0\0\0\0\0\0\0\0")},
};
#define NONSENSE (sizeof(nonsense) / sizeof(nonsense[0]))

/* ---- a worker ---- */

struct faulty {
	struct meddler meddler;
	struct instance instance;
	struct neighbour neighbour;
	PGconn *conn;
	PGresult *expected;
};

static PGresult *ask_direct(const char *sql)
{
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, NULL);
	PGresult *result = PQexec(conn, sql);

	cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK);
	PQfinish(conn);
	return result;
}

static void faulty_worker(struct faulty *faulty, const struct meddler_rule *rule)
{
	const char *options[] = {"--node-map",
	                         NULL,
	                         "--worker",
	                         "sslmode=disable gssencmode=disable",
	                         "--worker-timeout",
	                         "1s",
	                         "--connect-timeout",
	                         "1s",
	                         NULL};
	int port = cluster_port(CLUSTER_WORKER1);

	memset(faulty, 0, sizeof(*faulty));
	meddler_start(&faulty->meddler, port);
	if (rule)
		meddler_set(&faulty->meddler, rule);
	options[1] = text("127.0.0.1:%d=127.0.0.1:%d", port, faulty->meddler.port);
	instance_start(&faulty->instance, options);
	faulty->conn = instance_connect(&faulty->instance, NULL);
	faulty->expected = ask_direct(TOP5);
	neighbour_start(&faulty->neighbour, &faulty->instance, NULL);
}

static void faulty_worker_end(struct faulty *faulty)
{
	neighbour_stop(&faulty->neighbour);
	PQclear(faulty->expected);
	PQfinish(faulty->conn);
	instance_stop(&faulty->instance);
	meddler_stop(&faulty->meddler);
}

/* By whom ever it is answered. */
static void expect_answer(struct faulty *faulty, const char *what)
{
	PGresult *result = PQexec(faulty->conn, TOP5);

	cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s: %s", what,
	             PQerrorMessage(faulty->conn));
	cr_assert_eq(PQntuples(result), 5, "%s", what);
	for (int i = 0; i < 10; i++)
		cr_assert_str_eq(PQgetvalue(result, i / 2, i % 2),
		                 PQgetvalue(faulty->expected, i / 2, i % 2), "%s", what);
	PQclear(result);
}

/* The query is routed, its nth message from the worker is bad, and it is answered. */
static void strike_worker(struct faulty *faulty, const struct meddler_rule *rule, const char *what)
{
	static const struct meddler_rule peace;

	meddler_set(&faulty->meddler, rule);
	for (int i = 0; i < 50 && meddler_struck(&faulty->meddler) == 0; i++)
		expect_answer(faulty, what);
	cr_assert_gt(meddler_struck(&faulty->meddler), 0, "%s: the worker was not asked", what);
	meddler_set(&faulty->meddler, &peace);
	instance_skip_log(&faulty->instance);
	for (int i = 0; i < 200 && instance_count(&faulty->instance, " event=routed ") == 0; i++) {
		expect_answer(faulty, what);
		usleep(10 * 1000);
	}
	cr_assert_gt(instance_count(&faulty->instance, " event=routed "), 0,
	             "%s: not routed any more", what);
}

Test(faulty, a_worker_that_talks_nonsense)
{
	struct faulty faulty;

	faulty_worker(&faulty, NULL);
	for (size_t i = 0; i < NONSENSE; i++) {
		for (unsigned nth = 1; nth <= 4; nth += i % 4 == 0 ? 1 : 3) {
			struct meddler_rule rule = {.what = MEDDLER_END,
			                            .of_server = true,
			                            .type = nth > 2 ? WIRE_BE_DataRow : 0,
			                            .nth = nth,
			                            .bytes = nonsense[i].bytes,
			                            .len = nonsense[i].len};

			strike_worker(&faulty, &rule, nonsense[i].name);
		}
	}
	faulty_worker_end(&faulty);
}

/* The connection stays: a worker of which no more is heard is given up by worker_timeout. */
Test(faulty, a_worker_that_talks_nonsense_and_goes_on)
{
	struct faulty faulty;

	faulty_worker(&faulty, NULL);
	for (size_t i = 0; i < NONSENSE; i++) {
		struct meddler_rule rule = {.what = MEDDLER_FLOOD,
		                            .of_server = true,
		                            .type = WIRE_BE_DataRow,
		                            .nth = 1 + i % 3,
		                            .bytes = nonsense[i].bytes,
		                            .len = nonsense[i].len,
		                            .times = 1};

		if (nonsense[i].bytes[0] != 'D' || nonsense[i].bytes[1] != 0x7f)
			strike_worker(&faulty, &rule, nonsense[i].name);
	}
	faulty_worker_end(&faulty);
}

Test(faulty, trap_12_a_worker_that_breaks_off_anywhere)
{
	static const enum meddler_what ways[] = {MEDDLER_CLOSE, MEDDLER_RESET};
	struct faulty faulty;

	faulty_worker(&faulty, NULL);
	for (size_t i = 0; i < 2; i++) {
		for (unsigned nth = 1; nth <= 12; nth++) {
			struct meddler_rule rule = {.what = ways[i], .of_server = true, .nth = nth};

			strike_worker(&faulty, &rule, text("way %zu message %u", i, nth));
		}
	}
	faulty_worker_end(&faulty);
}

/* What pgtopk says is cut off as well, and each time in a new connection. */
Test(faulty, a_worker_that_breaks_off_as_it_is_connected)
{
	for (unsigned i = 0; i < 32; i++) {
		struct meddler_rule rule = {.what = i % 2 ? MEDDLER_CLOSE : MEDDLER_RESET,
		                            .of_server = i < 18,
		                            .nth = i / 2 + 1,
		                            .at = (i - 18) * 23};
		struct faulty faulty;

		faulty_worker(&faulty, &rule);
		expect_answer(&faulty, text("case %u", i));
		faulty_worker_end(&faulty);
	}
}

Test(faulty, trap_12_a_worker_that_falls_silent)
{
	struct faulty faulty;

	faulty_worker(&faulty, NULL);
	for (unsigned nth = 1; nth <= 9; nth += 4) {
		struct meddler_rule rule = {.what = MEDDLER_STALL, .of_server = true, .nth = nth};

		strike_worker(&faulty, &rule, text("message %u", nth));
	}
	faulty_worker_end(&faulty);
}

/* ---- a coordinator ---- */

static void faulty_coordinator(struct faulty *faulty, int port, const char *const *more)
{
	const char *options[16] = {"--coordinator",   NULL, "--connect-timeout", "1s",
	                           "--login-timeout", "1s", "--auth-query",      ""};
	size_t n = 8;

	memset(faulty, 0, sizeof(*faulty));
	meddler_start(&faulty->meddler, port);
	options[1] = text("host=127.0.0.1 port=%d user=postgres dbname=postgres sslmode=disable "
	                  "gssencmode=disable",
	                  faulty->meddler.port);
	while (more && *more && n < 15)
		options[n++] = *more++;
	instance_start(&faulty->instance, options);
}

/* Waits a second at most; true if it came to ReadyForQuery. */
static bool try_to_log_in(struct faulty *faulty, const char *user)
{
	PGconn *conn = PQconnectdb(text("host=127.0.0.1 port=%d user=%s password=right "
	                                "dbname=postgres sslmode=disable connect_timeout=10",
	                                faulty->instance.port, user));
	bool in = PQstatus(conn) == CONNECTION_OK;

	PQfinish(conn);
	return in;
}

static void expect_alive(struct faulty *faulty, const char *user, const char *what)
{
	static const struct meddler_rule peace;

	meddler_set(&faulty->meddler, &peace);
	cr_assert(try_to_log_in(faulty, user), "%s: nobody gets in any more", what);
	cr_assert(instance_await_descriptors(&faulty->instance, 40, 2000), "%s: %u descriptors",
	          what, instance_descriptors(&faulty->instance));
}

Test(faulty, a_coordinator_that_talks_nonsense_during_login)
{
	struct faulty faulty;

	faulty_coordinator(&faulty, cluster_port(CLUSTER_COORDINATOR), NULL);
	for (size_t i = 0; i < NONSENSE; i++) {
		for (unsigned nth = 1; nth <= 16; nth += nth < 3 ? 1 : 12) {
			struct meddler_rule rule = {.what = MEDDLER_END,
			                            .of_server = true,
			                            .nth = nth,
			                            .bytes = nonsense[i].bytes,
			                            .len = nonsense[i].len};

			meddler_set(&faulty.meddler, &rule);
			try_to_log_in(&faulty, "postgres");
			expect_alive(&faulty, "postgres", nonsense[i].name);
		}
	}
	instance_stop(&faulty.instance);
	meddler_stop(&faulty.meddler);
}

Test(faulty, a_coordinator_that_talks_nonsense_in_a_session)
{
	static const char *const queries[] = {"SELECT 1, repeat('x', 100)", TOP5,
	                                      "COPY (SELECT 1) TO STDOUT", "SELECT 1/0"};
	struct faulty faulty;

	faulty_coordinator(&faulty, cluster_port(CLUSTER_COORDINATOR), NULL);
	for (size_t i = 0; i < 4 * NONSENSE; i++) {
		struct meddler_rule rule = {.what = MEDDLER_END,
		                            .of_server = true,
		                            .nth = 1 + (unsigned)i % 3,
		                            .bytes = nonsense[i / 4].bytes,
		                            .len = nonsense[i / 4].len};
		struct raw raw;

		raw_login(&raw, faulty.instance.port);
		meddler_set(&faulty.meddler, &rule);
		wire_put_query(&raw.out, queries[i % 4]);
		wire_put_bare(&raw.out, WIRE_FE_Terminate);
		raw_send(&raw, 0);
		free(raw_read_bytes(&raw)); /* up to the end */
		raw_close(&raw);
		expect_alive(&faulty, "postgres", nonsense[i / 4].name);
	}
	instance_stop(&faulty.instance);
	meddler_stop(&faulty.meddler);
}

Test(faulty, a_coordinator_that_breaks_off_anywhere)
{
	static const enum meddler_what ways[] = {MEDDLER_CLOSE, MEDDLER_RESET, MEDDLER_STALL};
	struct faulty faulty;

	faulty_coordinator(&faulty, cluster_port(CLUSTER_COORDINATOR), NULL);
	for (size_t i = 0; i < 3; i++) {
		for (unsigned nth = 1; nth <= 18; nth += i == 2 ? 8 : 1) {
			struct meddler_rule rule = {.what = ways[i], .of_server = true, .nth = nth};

			meddler_set(&faulty.meddler, &rule);
			try_to_log_in(&faulty, "postgres");
			expect_alive(&faulty, "postgres", text("way %zu message %u", i, nth));
		}
		for (size_t at = 0; at < 36; at += i == 2 ? 30 : 5) {
			struct meddler_rule rule = {.what = ways[i], .at = at};

			meddler_set(&faulty.meddler, &rule);
			cr_assert_not(try_to_log_in(&faulty, "postgres"));
			expect_alive(&faulty, "postgres", text("way %zu byte %zu", i, at));
		}
	}
	instance_stop(&faulty.instance);
	meddler_stop(&faulty.meddler);
}

/* Messages that never end, and an endless row of them: login_timeout and bounded memory. */
Test(faulty, a_coordinator_whose_login_never_ends)
{
	static const char status[] = "S\0\0\0\010a\0b\0";
	static const char notice[] = "N\0\0\0\022SNOTICE\0Mhello\0\0";
	static const char huge[64 * 1024] = "E\077\377\377\377SFATAL\0";
	static const char notice_huge[64 * 1024] = "N\077\377\377\377SNOTICE\0";
	static const struct meddler_rule rules[] = {
	    {.what = MEDDLER_FLOOD, .bytes = status, .len = sizeof(status) - 1, .times = 200000},
	    {.what = MEDDLER_FLOOD, .bytes = notice, .len = sizeof(notice) - 1, .times = 200000},
	    {.what = MEDDLER_FLOOD, .bytes = huge, .len = sizeof(huge), .times = 2000},
	    {.what = MEDDLER_FLOOD, .bytes = notice_huge, .len = sizeof(huge), .times = 2000},
	};
	struct faulty faulty;

	faulty_coordinator(&faulty, cluster_port(CLUSTER_COORDINATOR), NULL);
	expect_alive(&faulty, "postgres", "the beginning");
	for (size_t i = 0; i < 8; i++) {
		struct meddler_rule rule = rules[i / 2];
		long before = instance_memory_kb(&faulty.instance, "VmRSS");

		rule.of_server = true;
		rule.nth = i % 2 ? 3 : 1;
		meddler_set(&faulty.meddler, &rule);
		try_to_log_in(&faulty, "postgres");
		cr_expect(instance_is_sanitized() ||
		              instance_memory_kb(&faulty.instance, "VmHWM") < before + 4096,
		          "case %zu: %ld kB", i, instance_memory_kb(&faulty.instance, "VmHWM"));
		expect_alive(&faulty, "postgres", text("flood %zu", i));
	}
	instance_stop(&faulty.instance);
	meddler_stop(&faulty.meddler);
}

/* A postmaster that cannot fork says so in protocol 2. */
Test(faulty, a_coordinator_that_cannot_fork)
{
	static const char words[] = "Ecould not fork new process for connection: try again\n";
	struct meddler_rule rule = {
	    .what = MEDDLER_END, .of_server = true, .nth = 1, .bytes = words, .len = sizeof(words)};
	struct faulty faulty;
	PGconn *conn;

	faulty_coordinator(&faulty, cluster_port(CLUSTER_COORDINATOR), NULL);
	meddler_set(&faulty.meddler, &rule);
	conn = PQconnectdb(
	    text("host=127.0.0.1 port=%d user=postgres sslmode=disable", faulty.instance.port));
	cr_assert(strstr(PQerrorMessage(conn), "could not fork new process"), "%s",
	          PQerrorMessage(conn));
	PQfinish(conn);
	instance_stop(&faulty.instance);
	meddler_stop(&faulty.meddler);
}
