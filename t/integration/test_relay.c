/*
 * Relay: everything that is no vector query passes untouched: COPY, notices,
 * notifications, large results in constant memory, long texts, transactions, errors,
 * the function call protocol, logins, hundreds of clients.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "t/lib/oracle.h"
#include "t/lib/pair.h"
#include "t/lib/suite.h"

#define MEMORY_MAX_KB 8192 /* more than this, and rows were piled up */

static void same(struct oracle *oracle, const char *sql)
{
	PGresult *got = PQexec(oracle->proxy, sql), *wanted = PQexec(oracle->direct, sql);
	const char *difference = oracle_difference(got, wanted);

	cr_assert(!difference, "%.300s: %s", sql, difference);
	cr_assert_eq(PQtransactionStatus(oracle->proxy), PQtransactionStatus(oracle->direct));
	PQclear(got);
	PQclear(wanted);
}

Test(relay, plain_statements)
{
	static const char *const statements[] = {
	    "SELECT 1 AS a, 'x' AS \"B\", NULL::int, now() > '2020-01-01'",
	    "",
	    ";",
	    "SELECT",
	    "SELECT * FROM no_such_table",
	    "SELECT 1/0",
	    "SELECT 'a' <-> 'b' LIMIT 1",
	    "SELECT 1; SELECT 2, 3",
	    "CREATE TEMP TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1000)",
	    "UPDATE t SET a = a + 1 WHERE a > 500",
	    "DELETE FROM t WHERE a > 900",
	    "BEGIN",
	    "INSERT INTO t VALUES (7) RETURNING a + 0",
	    "SAVEPOINT s",
	    "SELECT wrong",
	    "SELECT 1",
	    "ROLLBACK TO s",
	    "COMMIT",
	    "SELECT count(*) FROM t",
	    "COMMIT",
	    "EXPLAIN (COSTS OFF) SELECT * FROM t",
	    "SHOW server_version",
	    "VACUUM t",
	    NULL};
	struct oracle oracle;

	oracle_open(&oracle);
	for (const char *const *sql = statements; *sql; sql++)
		same(&oracle, *sql);
	oracle_close(&oracle);
}

Test(relay, parameter_status)
{
	static const char *const names[] = {"server_version",   "client_encoding",
	                                    "DateStyle",        "TimeZone",
	                                    "application_name", "session_authorization",
	                                    "is_superuser",     "standard_conforming_strings"};
	struct oracle oracle;

	oracle_open(&oracle);
	oracle_set(&oracle, "SET application_name = 'x y'; SET TimeZone = 'Asia/Tokyo'");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		cr_assert_str_eq(PQparameterStatus(oracle.proxy, names[i]),
		                 PQparameterStatus(oracle.direct, names[i]));
	cr_assert_str_eq(PQparameterStatus(oracle.proxy, "TimeZone"), "Asia/Tokyo");
	oracle_close(&oracle);
}

Test(relay, copy_in_and_out)
{
	struct oracle oracle;
	PGresult *result;
	char *row;
	int rows = 0;

	oracle_open(&oracle);
	cluster_run(oracle.proxy, "CREATE TEMP TABLE t (a int, b text)");
	result = PQexec(oracle.proxy, "COPY t FROM STDIN");
	cr_assert_eq(PQresultStatus(result), PGRES_COPY_IN);
	PQclear(result);
	for (int i = 0; i < 20000; i++) {
		const char *line = text("%d\tsome text to copy %d\n", i, i);

		cr_assert_eq(PQputCopyData(oracle.proxy, line, (int)strlen(line)), 1);
	}
	cr_assert_eq(PQputCopyEnd(oracle.proxy, NULL), 1);
	result = PQgetResult(oracle.proxy);
	cr_assert_str_eq(PQcmdStatus(result), "COPY 20000");
	PQclear(result);
	cr_assert_null(PQgetResult(oracle.proxy));
	result = PQexec(oracle.proxy, "COPY (SELECT * FROM t ORDER BY a) TO STDOUT");
	cr_assert_eq(PQresultStatus(result), PGRES_COPY_OUT);
	PQclear(result);
	while (PQgetCopyData(oracle.proxy, &row, 0) > 0) {
		cr_assert_str_eq(row, text("%d\tsome text to copy %d\n", rows, rows));
		PQfreemem(row);
		rows++;
	}
	cr_assert_eq(rows, 20000);
	PQclear(PQgetResult(oracle.proxy));
	cr_assert_null(PQgetResult(oracle.proxy));
	cr_assert_str_eq(cluster_value(oracle.proxy, "SELECT 5"), "5");
	oracle_close(&oracle);
}

/* COPY by the extended protocol, ended well and badly, with messages behind it. */
Test(relay, copy_in_a_pipeline)
{
	const char *vector = Q8;
	struct pair pair;

	pair_open(&pair);
	wire_put_query(&pair.out, "CREATE TEMP TABLE t (a int)");
	pair_talk(&pair, WIRE_BE_ReadyForQuery, 1);
	for (int fail = 0; fail < 2; fail++) {
		size_t mark;

		raw_put_statement(&pair.out, "COPY t FROM STDIN", 0, NULL);
		wire_put_bare(&pair.out, WIRE_FE_Sync); /* ignored while it copies */
		mark = wire_begin(&pair.out, WIRE_FE_CopyData);
		wire_put_bytes(&pair.out, "1\n2\n3\n", 6);
		wire_end(&pair.out, mark);
		mark = wire_begin(&pair.out, fail ? WIRE_FE_CopyFail : WIRE_FE_CopyDone);
		if (fail)
			wire_put_string(&pair.out, "no more");
		wire_end(&pair.out, mark);
		pair_sync(&pair);
		wire_put_query(&pair.out, "SELECT count(*) FROM t");
		raw_put_statement(&pair.out,
		                  "SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 3", 1,
		                  &vector);
		wire_put_bare(&pair.out, WIRE_FE_Sync);
		pair_talk(&pair, WIRE_BE_ReadyForQuery, 2);
		pair_expect_routed(&pair, 1);
	}
	pair_close(&pair);
}

/*
 * COPY that fails before it reads anything: the Sync sent ahead of its data is not ignored.
 * Whether the client then ends its COPY or not, it is served on.
 */
Test(relay, copy_that_fails_at_once)
{
	const char *vector = Q8;
	struct pair pair;

	pair_open(&pair);
	wire_put_query(&pair.out, "CREATE TEMP TABLE t (a int)");
	pair_talk(&pair, WIRE_BE_ReadyForQuery, 1);
	for (int ends = 0; ends < 2; ends++) {
		raw_put_statement(&pair.out, "COPY t FROM STDIN (FREEZE)", 0, NULL);
		pair_sync(&pair);
		if (ends) {
			wire_put_bare(&pair.out, WIRE_FE_CopyDone);
			pair_sync(&pair);
		}
		raw_put_statement(&pair.out,
		                  "SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 3", 1,
		                  &vector);
		pair_sync(&pair);
		wire_put_query(&pair.out, "SELECT 'after it'");
		pair_talk(&pair, WIRE_BE_ReadyForQuery, 1);
		raw_put_statement(&pair.out,
		                  "SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 3", 1,
		                  &vector);
		pair_sync(&pair);
		pair_expect_routed(&pair, 2);
	}
	pair_close(&pair);
}

static void count_notice(void *context, const PGresult *result)
{
	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), "a notice");
	(*(int *)context)++;
}

Test(relay, notices)
{
	struct oracle oracle;
	PGresult *result;
	int notices = 0;

	oracle_open(&oracle);
	PQsetNoticeReceiver(oracle.proxy, count_notice, &notices);
	result = PQexec(oracle.proxy, "DO $$ BEGIN FOR i IN 1..100 LOOP RAISE NOTICE 'a notice'; "
	                              "END LOOP; END $$");
	cr_assert_str_eq(PQcmdStatus(result), "DO");
	cr_assert_eq(notices, 100);
	PQclear(result);
	oracle_close(&oracle);
}

static PGnotify *await_notification(PGconn *conn)
{
	PGnotify *notify = NULL;

	for (int i = 0; i < 200 && !notify; i++) {
		usleep(25 * 1000);
		PQconsumeInput(conn);
		notify = PQnotifies(conn);
	}
	return notify;
}

Test(relay, listen_and_notify)
{
	struct oracle oracle;
	PGnotify *notify;

	oracle_open(&oracle);
	cluster_run(oracle.proxy, "LISTEN bell");
	cluster_run(oracle.direct, "NOTIFY bell, 'from outside'"); /* the session is idle */
	notify = await_notification(oracle.proxy);
	cr_assert_not_null(notify);
	cr_assert_str_eq(notify->extra, "from outside");
	PQfreemem(notify);
	cluster_run(oracle.direct, "NOTIFY bell, 'before a vector query'");
	oracle_routed(&oracle, "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 5");
	notify = await_notification(oracle.proxy);
	cr_assert_not_null(notify);
	cr_assert_str_eq(notify->extra, "before a vector query");
	PQfreemem(notify);
	oracle_close(&oracle);
}

/* ---- memory ---- */

/* True, with the reason, where the numbers mean nothing. */
static bool memory_is_not_measured(const char *name)
{
#ifdef __SANITIZE_ADDRESS__
	SKIP(name, "the sanitizer keeps memory that was freed");
	return true;
#else
	(void)name;
	return instance_shared()->pid == 0;
#endif
}

static void read_many(PGconn *conn, const char *sql, int wanted)
{
	PGresult *result;
	int rows = 0;

	cr_assert(PQsendQuery(conn, sql) && PQsetSingleRowMode(conn));
	usleep(500 * 1000); /* a client that reads late */
	while ((result = PQgetResult(conn)) != NULL) {
		rows += PQntuples(result);
		PQclear(result);
	}
	cr_assert_eq(rows, wanted, "%d rows", rows);
}

Test(relay, large_result_in_constant_memory)
{
	struct instance *instance = instance_shared();
	PGconn *conn;
	long before;

	if (memory_is_not_measured("large_result_in_constant_memory"))
		return;
	conn = instance_connect(instance, NULL);
	read_many(conn, "SELECT repeat('x', 100), i FROM generate_series(1, 10000) i", 10000);
	before = instance_memory_kb(instance, "VmHWM");
	read_many(conn, "SELECT repeat('x', 100), i FROM generate_series(1, 500000) i", 500000);
	read_many(conn, "SELECT repeat('x', 20000000) FROM generate_series(1, 3)", 3);
	cr_assert_lt(instance_memory_kb(instance, "VmHWM") - before, MEMORY_MAX_KB,
	             "from %ld to %ld kB", before, instance_memory_kb(instance, "VmHWM"));
	PQfinish(conn);
}

Test(relay, large_copy_in_constant_memory)
{
	struct instance *instance = instance_shared();
	PGconn *conn;
	char line[1024];
	long before;

	if (memory_is_not_measured("large_copy_in_constant_memory"))
		return;
	conn = instance_connect(instance, NULL);
	before = instance_memory_kb(instance, "VmHWM");
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	cluster_run(conn, "CREATE TEMP TABLE t (a text)");
	PQclear(PQexec(conn, "COPY t FROM STDIN"));
	for (int i = 0; i < 50000; i++)
		cr_assert_eq(PQputCopyData(conn, line, sizeof(line)), 1);
	cr_assert_eq(PQputCopyEnd(conn, NULL), 1);
	PQclear(PQgetResult(conn));
	PQclear(PQgetResult(conn));
	cr_assert_str_eq(cluster_value(conn, "SELECT count(*) FROM t"), "50000");
	cr_assert_lt(instance_memory_kb(instance, "VmHWM") - before, MEMORY_MAX_KB);
	PQfinish(conn);
}

Test(relay, long_text)
{
	enum { LEN = 5 * 1024 * 1024 };
	char *sql = malloc(LEN + 100), *vector = malloc(LEN + 200);
	struct oracle oracle;

	cr_assert(sql && vector);
	strcpy(sql, "SELECT length('");
	memset(sql + strlen(sql), 'x', LEN);
	strcpy(sql + strlen("SELECT length('") + LEN, "')");
	oracle_open(&oracle);
	same(&oracle, sql);
	/* a vector query longer than inspect_limit is not looked into */
	strcpy(vector, "SELECT id, length('");
	memset(vector + strlen("SELECT id, length('"), 'x', LEN);
	strcpy(vector + strlen("SELECT id, length('") + LEN,
	       "') FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 5");
	same(&oracle, vector);
	oracle_routed(&oracle, "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 5");
	oracle_close(&oracle);
	free(sql);
	free(vector);
}

/* ---- protocol ---- */

Test(relay, function_call)
{
	struct oracle oracle;
	int value = 0, len = 0;
	PQArgBlock arguments[2] = {{.len = 4, .isint = 1, .u.integer = 40},
	                           {.len = 4, .isint = 1, .u.integer = 2}};
	PGresult *result;

	oracle_open(&oracle);
	result = PQfn(oracle.proxy, 177 /* int4pl */, &value, &len, 1, arguments, 2);
	cr_assert_eq(PQresultStatus(result), PGRES_COMMAND_OK, "%s", PQerrorMessage(oracle.proxy));
	cr_assert_eq(value, 42);
	PQclear(result);
	result = PQfn(oracle.proxy, 4000000000u, &value, &len, 1, arguments, 2);
	cr_assert_eq(PQresultStatus(result), PGRES_FATAL_ERROR);
	PQclear(result);
	oracle_routed(&oracle, "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 5");
	oracle_close(&oracle);
}

Test(relay, session_killed_on_the_coordinator)
{
	struct oracle oracle;
	PGresult *result;

	oracle_open(&oracle);
	result = PQexec(oracle.proxy, "SELECT pg_terminate_backend(pg_backend_pid())");
	cr_assert_not_null(strstr(PQerrorMessage(oracle.proxy),
	                          "terminating connection due to administrator command"));
	cr_assert_eq(PQstatus(oracle.proxy), CONNECTION_BAD);
	PQclear(result);
	oracle_close(&oracle);
}

static char *first_answer(int port, const void *bytes, size_t len)
{
	struct raw raw;
	char *said;

	raw_open(&raw, port);
	iobuf_append(&raw.out, bytes, len);
	raw_send(&raw, 0);
	said = raw_read(&raw, WIRE_BE_ErrorResponse, 1);
	raw_close(&raw);
	return said;
}

Test(relay, bad_startup)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
	    {"\0\0\0\11\0\3\0\0\0", 9},                            /* no user */
	    {"\0\0\0\26\0\3\0\0user\0postgres", 22},               /* no end */
	    {"\0\0\0\37\0\3\0\0user\0postgres\0wrong\0x\0\0", 31}, /* unknown setting */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *got = first_answer(instance_shared()->port, cases[i].bytes, cases[i].len);
		char *wanted =
		    first_answer(cluster_port(CLUSTER_COORDINATOR), cases[i].bytes, cases[i].len);

		cr_assert_str_eq(got, wanted);
		cr_assert_not_null(strstr(got, "ErrorResponse S=FATAL"), "%s", got);
		free(got);
		free(wanted);
	}
}

/* The answer to another protocol is not framed as protocol 3 is: byte for byte. */
Test(relay, old_protocol)
{
	static const char packet[] = "\0\0\0\10\0\2\0\0";
	int ports[] = {instance_shared()->port, cluster_port(CLUSTER_COORDINATOR)};
	char *said[2];

	for (int i = 0; i < 2; i++) {
		struct raw raw;

		raw_open(&raw, ports[i]);
		iobuf_append(&raw.out, packet, sizeof(packet) - 1);
		raw_send(&raw, 0);
		said[i] = raw_read_bytes(&raw);
		raw_close(&raw);
	}
	cr_assert_str_eq(said[0], said[1]);
	cr_assert_eq(said[0][0], 'E', "%s",
	             said[0]); /* PostgreSQL 13 knows it, but misses a user */
	free(said[0]);
	free(said[1]);
}

/* Noise instead of a startup packet: pgtopk closes the connection and lives on. */
Test(relay, noise)
{
	static const char *const noises[] = {"\2\2\2\2\2\2\2\2", "GET / HTTP/1.1\r\n\r\n",
	                                     "\377\377\377\377\377\377\377\377",
	                                     "\1\1\1\1\1\1\1\1\1\1"};

	for (size_t i = 0; i < sizeof(noises) / sizeof(noises[0]); i++) {
		struct raw raw;

		raw_open(&raw, instance_shared()->port);
		iobuf_append(&raw.out, noises[i], strlen(noises[i]));
		raw_send(&raw, 0);
		free(raw_read(&raw, WIRE_BE_ErrorResponse, 1));
		raw_close(&raw);
	}
	PQfinish(instance_connect(instance_shared(), NULL));
}

/* ---- logins ---- */

/* The coordinator asks this role for its password. */
static void make_role_with_password(void)
{
	cluster_run_everywhere("SET password_encryption = 'scram-sha-256'; "
	                       "DO $$ BEGIN CREATE ROLE with_password LOGIN PASSWORD 'se cret'; "
	                       "EXCEPTION WHEN duplicate_object THEN NULL; END $$");
	cluster_run_on(CLUSTER_COORDINATOR, "GRANT SELECT ON items TO with_password");
	cluster_run_shards("items", ITEMS_SHARDS, "GRANT SELECT ON @ TO with_password");
	cluster_run_on(CLUSTER_COORDINATOR,
	               "DO $$ BEGIN EXECUTE format('COPY (SELECT unnest(ARRAY["
	               "''host all with_password all scram-sha-256'', ''local all all trust'', "
	               "''host all all 127.0.0.1/32 trust''])) TO %L', "
	               "current_setting('hba_file')); END $$; SELECT pg_reload_conf()");
	usleep(200 * 1000);
}

static const char *login_error(int port, const char *more)
{
	PGconn *conn = PQconnectdb(text("host=127.0.0.1 port=%d %s", port, more));
	const char *error = text("%s", PQerrorMessage(conn));

	cr_assert_eq(PQstatus(conn), CONNECTION_BAD, "%s", more);
	PQfinish(conn);
	return strstr(error, "FATAL:") ? strstr(error, "FATAL:") : error;
}

Test(relay, login_with_password)
{
	struct instance *instance = instance_shared();
	PGconn *conn;

	make_role_with_password();
	conn = PQconnectdb(text("host=127.0.0.1 port=%d user=with_password password='se cret' "
	                        "dbname=postgres",
	                        instance->port));
	cr_assert_eq(PQstatus(conn), CONNECTION_OK, "%s", PQerrorMessage(conn));
	cr_assert(PQconnectionUsedPassword(conn));
	cr_assert_str_eq(cluster_value(conn, "SELECT session_user"), "with_password");
	instance_skip_log(instance);
	cluster_run(conn, "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 5");
	instance_expect(instance, "routed", "as with_password");
	PQfinish(conn);
}

Test(relay, login_refused)
{
	static const char *const logins[] = {
	    "user=with_password password=wrong dbname=postgres",
	    "user=postgres dbname=no_such_database", "user=no_such_user dbname=postgres",
	    "user=postgres dbname=postgres options='-c no.such=1 -c work_mem=x'", NULL};

	make_role_with_password();
	for (const char *const *login = logins; *login; login++)
		cr_assert_str_eq(login_error(instance_shared()->port, *login),
		                 login_error(cluster_port(CLUSTER_COORDINATOR), *login));
}

Test(relay, two_hundred_clients)
{
	enum { CLIENTS = 200 };
	struct instance *instance = instance_shared();
	static PGconn *conns[CLIENTS];

	for (int i = 0; i < CLIENTS; i++)
		conns[i] = instance_connect(instance, NULL);
	instance_skip_log(instance);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < CLIENTS; i++)
			cr_assert(PQsendQuery(conns[i], i % 2 ? "SELECT 2000"
			                                      : "SELECT id FROM items ORDER BY "
			                                        "embedding <-> '" Q8 "' LIMIT 20"));
		for (int i = 0; i < CLIENTS; i++) {
			PGresult *result = PQgetResult(conns[i]);

			cr_assert_eq(PQntuples(result), i % 2 ? 1 : 20, "%s",
			             PQerrorMessage(conns[i]));
			PQclear(result);
			cr_assert_null(PQgetResult(conns[i]));
		}
	}
	if (instance->pid)
		cr_assert_eq(instance_count(instance, " event=routed "), 3 * CLIENTS / 2);
	for (int i = 0; i < CLIENTS; i++)
		PQfinish(conns[i]);
}

/* pgtopk's own connections, of which nobody knows, go when a database's last client has gone. */
Test(relay, a_database_can_be_dropped_when_its_clients_have_left)
{
	PGconn *direct = cluster_connect(CLUSTER_COORDINATOR, NULL);
	PGconn *conn;

	cluster_run(direct, "DROP DATABASE IF EXISTS left_behind");
	cluster_run(direct, "CREATE DATABASE left_behind");
	conn = instance_connect(instance_shared(), "dbname=left_behind");
	cluster_run(conn, "CREATE TABLE t (a point); SELECT a FROM t ORDER BY a <-> '1,1' LIMIT 1");
	cluster_run(conn, "SELECT a FROM t ORDER BY a <-> '1,1' LIMIT 1");
	if (instance_shared()->pid)
		cr_assert_str_eq(cluster_value(direct, "SELECT count(*) > 1 FROM pg_stat_activity "
		                                       "WHERE datname = 'left_behind'"),
		                 "t");
	PQfinish(conn);
	cluster_run(direct, "DROP DATABASE left_behind");
	PQfinish(direct);
}
