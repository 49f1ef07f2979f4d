/*
 * Hostile: what no client should send, at every moment of a session: lengths that cannot
 * be, types that are none, messages before their time. Through pgtopk and direct the
 * same is heard; a well-behaved session beside it notices nothing. By name what befell
 * other proxies.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "t/lib/items.h"
#include "t/lib/neighbour.h"
#include "t/lib/pair.h"
#include "t/lib/raw.h"

#define SUITE_OPTIONS "--core-dumps", "on", "--log-connections", "on",
#include "t/lib/suite.h"

#define VECTOR "SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 4"
#define VECTOR_TEXT "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 4"
#define NEVER 0xff /* no message has this type */

/* ---- bytes ---- */

static void put_startup(struct iobuf *out, const char *parameters, size_t len)
{
	wire_put_u32(out, (uint32_t)(8 + len));
	wire_put_u32(out, 3 << 16);
	wire_put_bytes(out, parameters, len);
}

#define PUT_STARTUP(out, parameters) put_startup(out, parameters, sizeof(parameters))

static void put_junk(struct iobuf *out, uint8_t type, uint32_t length, const char *body)
{
	wire_put_u8(out, type);
	wire_put_u32(out, length);
	wire_put_bytes(out, body, strlen(body));
}

/* ---- what is going on when the bad message comes ---- */

enum moment {
	READY,
	IN_TRANSACTION,
	FAILED_TRANSACTION,
	IN_PIPELINE,      /* a plain statement was parsed */
	PORTAL_OF_OURS,   /* a routed statement was bound and described here */
	PORTAL_SUSPENDED, /* and some of its rows were read */
	STATEMENT_OF_OURS,
	ROUTED_RUNNING,
	PLAIN_RUNNING,
	COPYING_IN,
	SKIPPING, /* an error in the pipeline, no Sync yet */
	MOMENTS,
};

static void await(struct raw *raw, uint8_t type)
{
	raw_send(raw, 0);
	free(raw_read(raw, type, 1));
}

static void ask(struct raw *raw, const char *sql, uint8_t type)
{
	wire_put_query(&raw->out, sql);
	await(raw, type);
}

static void bind_vector(struct raw *raw, const char *portal, uint8_t type)
{
	static const struct raw_value vector[] = {{Q8, -2}};

	wire_put_parse(&raw->out, "s", VECTOR, strlen(VECTOR), 0, NULL);
	raw_put_bind(&raw->out, portal, "s", vector, 1, 0, 0);
	wire_put_describe(&raw->out, 'P', portal);
	if (type == WIRE_BE_PortalSuspended)
		wire_put_execute(&raw->out, portal, 2);
	wire_put_bare(&raw->out, WIRE_FE_Flush);
	await(raw, type);
}

/* The last things are sent with what follows. */
static void come_to(struct raw *raw, enum moment moment)
{
	switch (moment) {
	case READY:
	case MOMENTS:
		break;
	case IN_TRANSACTION:
		ask(raw, "BEGIN", WIRE_BE_ReadyForQuery);
		break;
	case FAILED_TRANSACTION:
		ask(raw, "BEGIN; SELECT 1/0", WIRE_BE_ReadyForQuery);
		break;
	case IN_PIPELINE:
		raw_put_statement(&raw->out, "SELECT 1", 0, NULL);
		wire_put_bare(&raw->out, WIRE_FE_Flush);
		await(raw, WIRE_BE_CommandComplete);
		break;
	case PORTAL_OF_OURS:
		bind_vector(raw, "p", WIRE_BE_RowDescription);
		break;
	case PORTAL_SUSPENDED:
		bind_vector(raw, "p", WIRE_BE_PortalSuspended);
		break;
	case STATEMENT_OF_OURS:
		wire_put_parse(&raw->out, "", VECTOR, strlen(VECTOR), 0, NULL);
		break;
	case ROUTED_RUNNING:
		wire_put_query(&raw->out, VECTOR_TEXT);
		break;
	case PLAIN_RUNNING:
		wire_put_query(&raw->out, "SELECT count(*) FROM generate_series(1, 1000)");
		break;
	case COPYING_IN:
		ask(raw, "CREATE TEMP TABLE t (a int)", WIRE_BE_ReadyForQuery);
		ask(raw, "COPY t FROM STDIN", WIRE_BE_CopyInResponse);
		break;
	case SKIPPING:
		wire_put_parse(&raw->out, "", "SELECT wrong", 12, 0, NULL);
		wire_put_bare(&raw->out, WIRE_FE_Flush);
		await(raw, WIRE_BE_ErrorResponse);
		break;
	}
}

/* What is said after the bad message, up to the end; the client closes its side. */
static char *last_words(int port, enum moment moment, const struct iobuf *bad)
{
	struct raw raw;
	char *said;

	raw_login(&raw, port);
	come_to(&raw, moment);
	wire_put_bytes(&raw.out, iobuf_head(bad), iobuf_len(bad));
	raw_send(&raw, 0);
	shutdown(raw.fd, SHUT_WR);
	said = raw_read(&raw, NEVER, 1);
	raw_close(&raw);
	return said;
}

static void expect_same_end(struct instance *instance, enum moment moment, const struct iobuf *bad,
                            const char *what)
{
	char *direct = last_words(cluster_port(CLUSTER_COORDINATOR), moment, bad);
	char *proxy = last_words(instance->port, moment, bad);

	cr_expect(strcmp(direct, proxy) == 0, "%s at moment %d\ndirect:\n%s\nthrough pgtopk:\n%s",
	          what, (int)moment, direct, proxy);
	free(direct);
	free(proxy);
}

struct company {
	struct instance *instance;
	struct neighbour neighbour;
	unsigned descriptors;
};

static void company_begin(struct company *company)
{
	PGconn *conn;

	company->instance = instance_shared();
	conn = instance_connect(company->instance, NULL); /* catalog and pools are there now */
	cluster_run(conn, VECTOR_TEXT);
	PQfinish(conn);
	neighbour_start(&company->neighbour, company->instance, NULL);
	usleep(20 * 1000);
	company->descriptors = instance_descriptors(company->instance);
}

/* A few pooled connections may have been added. */
static void company_end(struct company *company)
{
	if (company->instance->pid)
		cr_expect(
		    instance_await_descriptors(company->instance, company->descriptors + 8, 2000),
		    "%u descriptors, %u before", instance_descriptors(company->instance),
		    company->descriptors);
	neighbour_stop(&company->neighbour);
}

/* ---- messages that are not well formed ---- */

static const uint8_t types[] = {'Q', 'P', 'B', 'D', 'E', 'C', 'S', 'H', 'F',
                                'd', 'c', 'f', 'X', 'p', 'R', 'Z', 0,   255};

/* Who says goodbye while his vector query runs is not served on. */
static bool is_goodbye(enum moment moment, uint8_t type, uint32_t length)
{
	return moment == ROUTED_RUNNING && type == 'X' && length == 4;
}

/* Every type with lengths that are wrong for most. */
static void bad_lengths(enum moment from, enum moment to, unsigned nlengths)
{
	static const uint32_t lengths[] = {3, 5,          0xffffffff, 0,         1,
	                                   4, 0x40000005, 0x7fffffff, 0x80000000};
	struct company company;
	struct iobuf bad;

	company_begin(&company);
	iobuf_init(&bad);
	for (enum moment moment = from; moment < to; moment++) {
		for (size_t i = 0; i < sizeof(types); i++) {
			for (size_t j = 0; j < nlengths; j++) {
				if (is_goodbye(moment, types[i], lengths[j]))
					continue;
				put_junk(&bad, types[i], lengths[j], lengths[j] == 5 ? "S" : "");
				expect_same_end(company.instance, moment, &bad,
				                text("type %d length %u", types[i], lengths[j]));
				iobuf_consume(&bad, iobuf_len(&bad));
			}
		}
	}
	iobuf_fini(&bad);
	company_end(&company);
}

Test(hostile, lengths_that_cannot_be_in_a_quiet_session)
{
	bad_lengths(READY, READY + 1, 9);
}

Test(hostile, lengths_that_cannot_be_in_transactions)
{
	bad_lengths(IN_TRANSACTION, IN_PIPELINE, 2);
}

Test(hostile, lengths_that_cannot_be_in_pipelines)
{
	bad_lengths(IN_PIPELINE, ROUTED_RUNNING, 2);
}

Test(hostile, lengths_that_cannot_be_while_something_runs)
{
	bad_lengths(ROUTED_RUNNING, MOMENTS, 3);
}

/* Types that are none, or the server's, or of a login, with a body and more behind them. */
Test(hostile, unknown_types_at_every_moment)
{
	struct company company;
	struct iobuf bad;

	company_begin(&company);
	iobuf_init(&bad);
	for (enum moment moment = READY; moment < MOMENTS; moment++) {
		for (size_t i = 0; i < sizeof(types); i++) {
			put_junk(&bad, types[i], 8, "abcd");
			wire_put_bare(&bad, WIRE_FE_Sync);
			wire_put_query(&bad, "SELECT 2");
			expect_same_end(company.instance, moment, &bad,
			                text("type %d and more", types[i]));
			iobuf_consume(&bad, iobuf_len(&bad));
		}
	}
	iobuf_fini(&bad);
	company_end(&company);
}

/* A message whose end never comes: the server waits, and so does pgtopk, with bounded memory. */
Test(hostile, cve_2026_107348_a_message_that_is_declared_longer_than_it_is)
{
	static const uint32_t lengths[] = {10000, 0x3fffffff, 0x40000003};
	struct company company;
	long before;

	company_begin(&company);
	before = instance_memory_kb(company.instance, "VmRSS");
	for (enum moment moment = READY; moment < MOMENTS; moment++) {
		for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
			struct iobuf bad;

			iobuf_init(&bad);
			put_junk(&bad, i % 2 ? 'Q' : 'P', lengths[i], "SELECT <-> limit ");
			expect_same_end(company.instance, moment, &bad,
			                text("declared %u", lengths[i]));
			iobuf_fini(&bad);
		}
	}
	if (company.instance->pid && !instance_is_sanitized())
		cr_assert_lt(instance_memory_kb(company.instance, "VmRSS"), before + 8192);
	company_end(&company);
}

/* ---- before and during a login ---- */

static char *startup_words(int port, const struct iobuf *bytes)
{
	struct raw raw;
	char *said;

	raw_open(&raw, port);
	wire_put_bytes(&raw.out, iobuf_head(bytes), iobuf_len(bytes));
	raw_send(&raw, 0);
	shutdown(raw.fd, SHUT_WR);
	said = raw_read_bytes(&raw);
	raw_close(&raw);
	return said;
}

/* The process id and key are each session's own, and where an error arose depends on the version. */
static void blank(char *said)
{
	char *key = strstr(said, "K\\0\\0\\0");

	if (key)
		*key = '\0';
}

static void expect_same_startup(struct instance *instance, const struct iobuf *bytes,
                                const char *what)
{
	char *direct = startup_words(cluster_port(CLUSTER_COORDINATOR), bytes);
	char *proxy = startup_words(instance->port, bytes);

	blank(direct);
	blank(proxy);
	cr_expect(strcmp(direct, proxy) == 0, "%s\ndirect:\n%s\nthrough pgtopk:\n%s", what, direct,
	          proxy);
	free(direct);
	free(proxy);
}

/* Messages of the protocol instead of a StartupMessage, and behind it before anyone asked. */
Test(hostile, messages_before_the_login)
{
	struct company company;
	struct iobuf bytes;

	company_begin(&company);
	iobuf_init(&bytes);
	for (int startup = 0; startup < 2; startup++) {
		for (int i = 0; i < 6; i++) {
			static const struct raw_value none[1];

			if (startup)
				PUT_STARTUP(&bytes, "user\0postgres\0database\0postgres\0");
			if (i == 0)
				raw_put_bind(&bytes, "", "", none, 0, 0, 0);
			else if (i == 1)
				wire_put_execute(&bytes, "", 0);
			else if (i == 2)
				wire_put_bare(&bytes, WIRE_FE_Sync);
			else if (i == 3)
				wire_put_query(&bytes, VECTOR_TEXT);
			else if (i == 4)
				wire_put_describe(&bytes, 'S', "");
			else
				put_junk(&bytes, 'p', 4, "");
			expect_same_startup(company.instance, &bytes,
			                    text("message %d, startup %d", i, startup));
			iobuf_consume(&bytes, iobuf_len(&bytes));
		}
	}
	iobuf_fini(&bytes);
	company_end(&company);
}

Test(hostile, lengths_that_cannot_be_instead_of_a_startup_message)
{
	static const uint32_t lengths[] = {0,     1,          3,          4,          7,         8,
	                                   10001, 0x3fffffff, 0x7fffffff, 0x80000000, 0xffffffff};
	static const uint32_t codes[] = {3 << 16,  (3 << 16) + 2, (3 << 16) + 99, 2 << 16,  4 << 16,
	                                 80877102, 80877103,      80877104,       80877105, 0};
	struct company company;
	struct iobuf bytes;

	company_begin(&company);
	iobuf_init(&bytes);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		for (size_t j = 0; j < sizeof(codes) / sizeof(codes[0]); j++) {
			if (lengths[i] == 8 && codes[j] == WIRE_CODE_GSSENC)
				continue; /* answered here, with N */
			wire_put_u32(&bytes, lengths[i]);
			wire_put_u32(&bytes, codes[j]);
			expect_same_startup(company.instance, &bytes,
			                    text("length %u code %u", lengths[i], codes[j]));
			iobuf_consume(&bytes, iobuf_len(&bytes));
		}
	}
	iobuf_fini(&bytes);
	company_end(&company);
}

#define OPTION_CASE(text)                                                                          \
	{                                                                                          \
		text, sizeof(text)                                                                 \
	}

/* CVE-2026-107349: options that PgBouncer read past their end. */
Test(hostile, cve_2026_107349_options_without_names)
{
	static const struct {
		const char *parameters;
		size_t len;
	} cases[] = {
	    OPTION_CASE("user\0postgres\0options\0-c=\0"),
	    OPTION_CASE("user\0postgres\0options\0-c =\0"),
	    OPTION_CASE("user\0postgres\0options\0-c\0"),
	    OPTION_CASE("user\0postgres\0options\0-c \0"),
	    OPTION_CASE("user\0postgres\0options\0--\0"),
	    OPTION_CASE("user\0postgres\0options\0--=\0"),
	    OPTION_CASE("user\0postgres\0options\0-\0"),
	    OPTION_CASE("user\0postgres\0options\0\\\0"),
	    OPTION_CASE("user\0postgres\0options\0-c work_mem=\0"),
	    OPTION_CASE("user\0postgres\0options\0-c =x -c work_mem=1MB\0"),
	    OPTION_CASE("user\0postgres\0=\0x\0"),
	    OPTION_CASE("user\0postgres\0options\0\0"),
	    OPTION_CASE("user\0"),
	    OPTION_CASE("user"),
	    OPTION_CASE("user\0\0"),
	    OPTION_CASE("\0\0\0\0"),
	    OPTION_CASE("user\0postgres\0database\0"),
	    OPTION_CASE("user\0postgres\0database\0\0x"),
	    OPTION_CASE("user\0postgres\0_pq_.\0x\0"),
	    OPTION_CASE("user\0postgres\0replication\0x\0"),
	    OPTION_CASE("user\0postgres\0client_encoding\0\xff\0"),
	};
	struct company company;
	struct iobuf bytes;

	company_begin(&company);
	iobuf_init(&bytes);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		put_startup(&bytes, cases[i].parameters, cases[i].len);
		expect_same_startup(company.instance, &bytes, text("case %zu", i));
		iobuf_consume(&bytes, iobuf_len(&bytes));
	}
	iobuf_fini(&bytes);
	company_end(&company);
}

/* CVE-2026-6667: there is no console; such names are databases like any other. */
Test(hostile, cve_2026_6667_there_is_no_console)
{
	static const char *const names[] = {"pgtopk",  "pgbouncer", "pgcat",
	                                    "odyssey", "console",   "admin"};
	struct company company;
	struct iobuf bytes;

	company_begin(&company);
	iobuf_init(&bytes);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *what = text("user postgres database %s", names[i]);
		char parameters[64];
		int len = snprintf(parameters, sizeof(parameters), "user%cpostgres%cdatabase%c%s",
		                   0, 0, 0, names[i]);

		parameters[len + 1] = '\0';
		put_startup(&bytes, parameters, (size_t)len + 2);
		expect_same_startup(company.instance, &bytes, what);
		iobuf_consume(&bytes, iobuf_len(&bytes));
	}
	PUT_STARTUP(&bytes, "user\0postgres\0database\0postgres\0");
	wire_put_query(&bytes, "SHOW POOLS");
	wire_put_query(&bytes, "SHUTDOWN");
	wire_put_query(&bytes, "RELOAD");
	wire_put_query(&bytes, "KILL postgres");
	expect_same_startup(company.instance, &bytes, "commands of a console");
	iobuf_fini(&bytes);
	company_end(&company);
}

/* What was asked before the client closed its side is answered, routed or not. */
Test(hostile, a_client_that_closes_its_side_is_still_answered)
{
	static const char *const queries[] = {"SELECT 1", VECTOR_TEXT, "SELECT pg_sleep(0.2)",
	                                      "SELECT repeat('x', 1000000)", "SELECT 1/0"};
	struct company company;

	company_begin(&company);
	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
		struct iobuf bytes;

		iobuf_init(&bytes);
		wire_put_query(&bytes, queries[i]);
		expect_same_end(company.instance, READY, &bytes, queries[i]);
		wire_put_query(&bytes, VECTOR_TEXT); /* two, and one that has only begun */
		put_junk(&bytes, 'Q', 100, "SELECT");
		expect_same_end(company.instance, READY, &bytes, queries[i]);
		iobuf_fini(&bytes);
	}
	company_end(&company);
}

/* The server ignores it, and nobody may wait for its answer. */
Test(hostile, a_sync_amid_copy)
{
	struct pair pair;

	pair_open(&pair);
	wire_put_query(&pair.out, "CREATE TEMP TABLE t (a int)");
	pair_talk(&pair, WIRE_BE_ReadyForQuery, 1);
	for (int i = 0; i < 4; i++) {
		wire_put_query(&pair.out, "COPY t FROM STDIN");
		if (i % 2)
			pair_talk(&pair, WIRE_BE_CopyInResponse, 1);
		wire_put_bare(&pair.out, WIRE_FE_Sync);
		wire_put_bare(&pair.out, i < 2 ? WIRE_FE_Sync : WIRE_FE_Flush);
		wire_put_bare(&pair.out, WIRE_FE_CopyDone);
		pair_talk(&pair, WIRE_BE_ReadyForQuery, 1);
		wire_put_query(&pair.out, VECTOR_TEXT);
		pair_talk(&pair, WIRE_BE_ReadyForQuery, 1);
		pair_expect_routed(&pair, 1);
	}
	pair_close(&pair);
}
