/*
 * Large: one field of nearly a gigabyte, as many columns and parameters as PostgreSQL
 * has, long statements, results, COPY and pipelines. All of it must be right, and
 * pgtopk's memory must not grow with it.
 *
 * PGTOPK_TEST_LARGE=full sends fields as large as PostgreSQL takes instead of 500 MB.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "t/lib/raw.h"
#include "t/lib/suite.h"

#define MB (1024 * 1024)
#define FIELD_FULL 1073741000 /* PostgreSQL's limit for a message is 1 GB less one */
#define FIELD_USUAL (500 * MB)
#define GROWTH_MAX_KB 4096
#define CHUNK 65536

/* pgtopk's memory before; 0 where it cannot be told: with sanitizers it says nothing. */
static long memory(const struct instance *instance)
{
#ifdef __SANITIZE_ADDRESS__
	(void)instance;
	return 0;
#else
	return instance->pid ? instance_memory_kb(instance, "VmHWM") : 0;
#endif
}

static void expect_no_growth(const struct instance *instance, long before)
{
	long grown = memory(instance) - before;

	printf("pgtopk's memory grew by %ld kB\n", grown);
	cr_assert_lt(grown, GROWTH_MAX_KB, "by %ld kB", grown);
}

/* A session that has been served before: its buffers are there. */
static PGconn *begin(struct instance *instance, long *before)
{
	PGconn *conn = instance_connect(instance, NULL);

	cluster_run(conn, "SELECT repeat('x', 1000000) FROM generate_series(1, 10)");
	*before = memory(instance);
	return conn;
}

/* ---- one field ---- */

static size_t field_len(void)
{
	const char *wish = getenv("PGTOPK_TEST_LARGE");

	return wish && strcmp(wish, "full") == 0 ? FIELD_FULL : FIELD_USUAL;
}

/* Letters in an order that no buffer of ours has: what stands at `at` of the field. */
static void fill(uint8_t *chunk, size_t at, size_t len)
{
	static uint8_t letters[2 * CHUNK];

	if (!letters[0]) {
		for (size_t i = 0; i < sizeof(letters); i++)
			letters[i] = (uint8_t)('a' + (i ^ i >> 7) % 26);
	}
	memcpy(chunk, letters + at / CHUNK * 7919 % CHUNK, len);
}

static void send_all(int fd, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		cr_assert_gt(n, 0, "%s", strerror(errno));
		data += n;
		len -= (size_t)n;
	}
}

static void receive_all(int fd, uint8_t *data, size_t len)
{
	while (len > 0) {
		struct pollfd pollfd = {.fd = fd, .events = POLLIN};
		ssize_t n;

		cr_assert_gt(poll(&pollfd, 1, 120 * 1000), 0, "time is up");
		n = recv(fd, data, len, 0);
		cr_assert_gt(n, 0, "%s", n < 0 ? strerror(errno) : "the connection was closed");
		data += n;
		len -= (size_t)n;
	}
}

/* Parse, Bind with one text parameter of that length, Execute, Sync. */
static void send_field(struct raw *raw, const char *sql, size_t len)
{
	static uint8_t chunk[CHUNK];
	const uint32_t message = (uint32_t)(4 + 1 + 1 + 2 + 2 + 4 + len + 2);

	wire_put_parse(&raw->out, "", sql, strlen(sql), 0, NULL);
	wire_put_u8(&raw->out, WIRE_FE_Bind);
	wire_put_u32(&raw->out, message);
	wire_put_string(&raw->out, "");
	wire_put_string(&raw->out, "");
	wire_put_u16(&raw->out, 0);
	wire_put_u16(&raw->out, 1);
	wire_put_u32(&raw->out, (uint32_t)len);
	raw_send(raw, 0);
	for (size_t at = 0; at < len; at += CHUNK) {
		size_t n = len - at < CHUNK ? len - at : CHUNK;

		fill(chunk, at, n);
		send_all(raw->fd, chunk, n);
	}
	wire_put_u16(&raw->out, 0);
	wire_put_execute(&raw->out, "", 0);
	wire_put_bare(&raw->out, WIRE_FE_Sync);
	raw_send(raw, 0);
}

/* The body of a DataRow whose one field is what send_field() sent. */
static void receive_field(struct raw *raw, size_t body, size_t len)
{
	static uint8_t chunk[CHUNK], wanted[CHUNK];

	cr_assert_eq(body, 2 + 4 + len);
	receive_all(raw->fd, chunk, 6);
	cr_assert_eq(wire_u32(chunk + 2), len);
	for (size_t at = 0; at < len; at += CHUNK) {
		size_t n = len - at < CHUNK ? len - at : CHUNK;

		fill(wanted, at, n);
		receive_all(raw->fd, chunk, n);
		cr_assert_eq(memcmp(chunk, wanted, n), 0, "within 64 kB from %zu", at);
	}
}

/* All messages up to ReadyForQuery; their types. */
static const char *receive_answer(struct raw *raw, size_t len)
{
	static char types[32];
	uint8_t head[WIRE_HEADER], rest[1024];
	size_t n = 0, body;

	do {
		receive_all(raw->fd, head, WIRE_HEADER);
		cr_assert_lt(n, sizeof(types) - 1);
		types[n++] = (char)head[0];
		body = wire_u32(head + 1) - 4;
		if (head[0] == WIRE_BE_DataRow) {
			receive_field(raw, body, len);
			continue;
		}
		cr_assert_leq(body, sizeof(rest));
		receive_all(raw->fd, rest, body);
	} while (head[0] != WIRE_BE_ReadyForQuery);
	types[n] = '\0';
	return types;
}

Test(large, field_both_ways, .timeout = 600)
{
	struct instance *instance = instance_shared();
	size_t len = field_len();
	struct raw raw;
	PGconn *conn;
	long before;

	conn = begin(instance, &before);
	PQfinish(conn);
	raw_login(&raw, instance->port);
	send_field(&raw, "SELECT $1::text", len);
	cr_assert_str_eq(receive_answer(&raw, len), "12DCZ");
	expect_no_growth(instance, before);
	raw_close(&raw);
}

/* ---- as many as there may be ---- */

Test(large, columns)
{
	struct instance *instance = instance_shared();
	char *sql = calloc(1, MB), *at = sql;
	PGresult *result;
	PGconn *conn;
	long before;

	at += sprintf(at, "CREATE TEMP TABLE wide (");
	for (int i = 1; i <= 1600; i++)
		at += sprintf(at, "c%d int%s", i, i < 1600 ? "," : ")");
	conn = begin(instance, &before);
	cluster_run(conn, sql);
	at = sql + sprintf(sql, "INSERT INTO wide VALUES (");
	for (int i = 1; i <= 1600; i++)
		at += sprintf(at, "%d%s", i, i < 1600 ? "," : ")");
	cluster_run(conn, sql);
	result = PQexecParams(conn, "SELECT * FROM wide", 0, NULL, NULL, NULL, NULL, 0);
	cr_assert_eq(PQnfields(result), 1600, "%s", PQerrorMessage(conn));
	for (int i = 0; i < 1600; i++) {
		cr_assert_str_eq(PQfname(result, i), text("c%d", i + 1));
		cr_assert_str_eq(PQgetvalue(result, 0, i), text("%d", i + 1));
	}
	PQclear(result);
	expect_no_growth(instance, before);
	PQfinish(conn);
	free(sql);
}

/* As many as fit into the message's 16 bits; beside a vector query, too. */
Test(large, parameters)
{
	enum { COUNT = 65535 };
	struct instance *instance = instance_shared();
	const char **values = calloc(COUNT, sizeof(*values));
	char *sql = calloc(1, 16 * COUNT), *at = sql;
	PGresult *result;
	PGconn *conn;
	long before;

	for (int i = 0; i < COUNT; i++)
		values[i] = i % 3 ? "12345" : "-7";
	at += sprintf(at, "SELECT count(*), sum(v) FROM (VALUES ");
	for (int i = 1; i <= COUNT; i++)
		at += sprintf(at, "($%d::int)%s", i, i < COUNT ? "," : ") AS t (v)");
	conn = begin(instance, &before);
	result = PQexecParams(conn, sql, COUNT, NULL, values, NULL, NULL, 0);
	cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s", PQerrorMessage(conn));
	cr_assert_str_eq(PQgetvalue(result, 0, 0), "65535");
	cr_assert_str_eq(PQgetvalue(result, 0, 1), text("%ld", 43690L * 12345 - 21845L * 7));
	PQclear(result);
	expect_no_growth(instance, before);
	PQfinish(conn);
	free(values);
	free(sql);
}

/* ---- long statements and results ---- */

Test(large, simple_query)
{
	enum { LEN = 100 * MB };
	struct instance *instance = instance_shared();
	char *sql = malloc(LEN + 100);
	size_t head;
	PGconn *conn;
	long before;

	cr_assert_not_null(sql);
	/* words that the prefilter looks for, in front and at the end */
	head = (size_t)sprintf(sql, "SELECT 'a <-> LIMIT 1', length('");
	memset(sql + head, 'x', LEN);
	strcpy(sql + head + LEN, "')");
	conn = begin(instance, &before);
	for (int i = 0; i < 2; i++) {
		PGresult *result = PQexec(conn, sql);

		cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s", PQerrorMessage(conn));
		cr_assert_str_eq(PQgetvalue(result, 0, 1), text("%d", LEN));
		PQclear(result);
	}
	expect_no_growth(instance, before);
	PQfinish(conn);
	free(sql);
}

Test(large, million_rows)
{
	struct instance *instance = instance_shared();
	PGresult *result;
	PGconn *conn;
	long before, rows = 0;

	conn = begin(instance, &before);
	cr_assert(PQsendQueryParams(conn, "SELECT i, 'row ' || i FROM generate_series(0, 999999) i",
	                            0, NULL, NULL, NULL, NULL, 0));
	cr_assert(PQsetSingleRowMode(conn));
	while ((result = PQgetResult(conn)) != NULL) {
		if (PQntuples(result) == 1)
			cr_assert_eq(atol(PQgetvalue(result, 0, 0)), rows++);
		PQclear(result);
	}
	cr_assert_eq(rows, 1000000);
	expect_no_growth(instance, before);
	PQfinish(conn);
}

/* ---- COPY ---- */

#define COPY_LINE 1000
#define COPY_LINES (200 * MB / COPY_LINE)

static void copy_in(PGconn *conn)
{
	char line[COPY_LINE + 1];

	PQclear(PQexec(conn, "COPY copied FROM STDIN"));
	for (int i = 0; i < COPY_LINES; i++) {
		snprintf(line, sizeof(line), "%0*d\n", COPY_LINE - 1, i);
		cr_assert_eq(PQputCopyData(conn, line, COPY_LINE), 1, "%s", PQerrorMessage(conn));
	}
	cr_assert_eq(PQputCopyEnd(conn, NULL), 1);
	PQclear(PQgetResult(conn));
	PQclear(PQgetResult(conn));
}

static void copy_out(PGconn *conn)
{
	char *line;
	int n, count = 0;

	PQclear(PQexec(conn, "COPY copied TO STDOUT"));
	while ((n = PQgetCopyData(conn, &line, 0)) > 0) {
		cr_assert_eq(n, COPY_LINE);
		cr_assert_eq(atol(line + COPY_LINE - 1 - 9), count++);
		PQfreemem(line);
	}
	cr_assert_eq(n, -1);
	cr_assert_eq(count, COPY_LINES);
	PQclear(PQgetResult(conn));
	PQclear(PQgetResult(conn));
}

Test(large, copy_in_and_out)
{
	struct instance *instance = instance_shared();
	PGconn *conn;
	long before;

	conn = begin(instance, &before);
	cluster_run(conn, "CREATE TEMP TABLE copied (a text)");
	copy_in(conn);
	cr_assert_str_eq(cluster_value(conn, "SELECT count(*) FROM copied"),
	                 text("%d", COPY_LINES));
	copy_out(conn);
	expect_no_growth(instance, before);
	PQfinish(conn);
}

/* ---- a pipeline ---- */

/* 10,000 statements before the first Sync, with a vector query before and after them. */
Test(large, pipeline)
{
	enum { COUNT = 10000 };
	static const char near[] = "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 1";
	struct instance *instance = instance_shared();
	struct iobuf *out;
	struct raw raw;
	PGconn *conn;
	char *heard, *at;
	long before;

	conn = begin(instance, &before);
	PQfinish(conn);
	raw_login(&raw, instance->port);
	out = &raw.out;
	raw_put_statement(out, near, 0, NULL);
	for (int i = 0; i < COUNT; i++) {
		const char *value = text("%d", i);

		raw_put_statement(out, "SELECT 'number ' || $1", 1, &value);
	}
	wire_put_bare(out, WIRE_FE_Sync);
	raw_put_statement(out, near, 0, NULL);
	wire_put_bare(out, WIRE_FE_Sync);
	raw_send(&raw, 0);
	heard = at = raw_read(&raw, WIRE_BE_ReadyForQuery, 2);
	for (int i = 0; i < COUNT; i++) {
		at = strstr(at, text("number %d\n", i));
		cr_assert_not_null(at, "number %d is missing", i);
	}
	free(heard);
	raw_close(&raw);
	if (instance->pid)
		cr_assert_eq(instance_count(instance, " event=routed "), 2);
	expect_no_growth(instance, before);
}
