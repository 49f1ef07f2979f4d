/*
 * Cancelled: cancel requests at odd moments and in odd ways: while a query is planned or
 * waits for a connection, from somebody who does not wait, a thousand with wrong keys,
 * over TLS on either side, of COPY; and thousands of times never the next statement.
 */
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "t/lib/certificates.h"
#include "t/lib/items.h"
#include "t/lib/raw.h"
#include "t/lib/server.h"
#include "t/lib/suite.h"

#define TOP10 "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 10"

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void cancel(PGconn *conn)
{
	PGcancel *request = PQgetCancel(conn);
	char error[256];

	cr_assert(PQcancel(request, error, sizeof(error)), "%s", error);
	PQfreeCancel(request);
}

static void expect_cancelled(PGconn *conn)
{
	PGresult *result = PQgetResult(conn);

	cr_assert_eq(PQresultStatus(result), PGRES_FATAL_ERROR);
	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "57014");
	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY),
	                 "canceling statement due to user request");
	PQclear(result);
	cr_assert_null(PQgetResult(conn));
	cr_assert_str_eq(cluster_value(conn, "SELECT 'still here'"), "still here");
}

TestSuite(cancelled, .timeout = 60);

/* ---- requests that hit nobody ---- */

static unsigned connections_to(const struct server *server)
{
	char *log = strdup(server_log(server));
	unsigned count = 0;

	for (const char *at = log; (at = strstr(at, "connection received")) != NULL; at++)
		count++;
	free(log);
	return count;
}

Test(cancelled, a_thousand_wrong_keys_do_not_reach_the_coordinator)
{
	uint8_t key[4] = {1, 2, 3, 4};
	struct server server;
	struct instance instance;
	PGconn *conn;
	unsigned before;
	uint32_t pid;
	long begun;

	server_start(&server, "host all all 127.0.0.1/32 trust\n", "log_connections = on\n");
	instance_start(
	    &instance,
	    (const char *[]){"--coordinator", server_conninfo(&server, "sslmode=disable"), NULL});
	conn = instance_connect(&instance, NULL);
	pid = (uint32_t)PQbackendPID(conn);
	cr_assert(PQsendQuery(conn, "SELECT pg_sleep(0.5), 'slept'"));
	before = connections_to(&server);
	cr_assert_gt(before, 0);
	begun = now_ms();
	for (uint32_t i = 0; i < 1000; i++) { /* the right process, a guessed key, of any length */
		memcpy(key, &i, sizeof(key));
		raw_cancel(instance.port, i % 2 ? pid : i, key, 1 + i % 4);
	}
	cr_expect_lt(now_ms() - begun, 5000, "%ld ms", now_ms() - begun);
	cr_assert_eq(connections_to(&server), before);
	PQclear(PQgetResult(conn));
	cr_assert_str_empty(PQerrorMessage(conn), "%s", PQerrorMessage(conn));
	cr_assert_null(PQgetResult(conn));
	PQfinish(conn);
	instance_stop(&instance);
	server_stop(&server);
}

/* ---- at odd moments ---- */

static PGconn *lock_on(enum cluster_node node, const char *table)
{
	PGconn *conn = cluster_connect(node, NULL);

	cluster_run(conn, text("BEGIN; LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", table));
	return conn;
}

Test(cancelled, a_query_that_waits_for_a_worker)
{
	const char *options[] = {"--pool-size", "1", "--pool-wait-timeout", "60s", NULL};
	struct instance instance;
	PGconn *first, *second, *locker, *watcher;
	PGresult *result;

	instance_start(&instance, options);
	first = instance_connect(&instance, NULL);
	second = instance_connect(&instance, NULL);
	cluster_run(first, TOP10);
	cluster_run(second, TOP10);
	locker = lock_on(cluster_shard_node(0), "items_0");
	watcher = cluster_connect(cluster_shard_node(0), NULL);
	cr_assert(PQsendQuery(first, TOP10));
	cr_assert(cluster_await(
	    watcher, "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
	    "t"));
	for (int i = 0; i < 3; i++) {
		cr_assert(PQsendQuery(second, TOP10));
		usleep(50 * 1000);
		cancel(second);
		expect_cancelled(second);
	}
	cluster_run(locker, "ROLLBACK");
	result = PQgetResult(first);
	cr_assert_eq(PQntuples(result), 10, "%s", PQerrorMessage(first));
	PQclear(result);
	PQfinish(first);
	PQfinish(second);
	PQfinish(locker);
	PQfinish(watcher);
	instance_stop(&instance);
}

/* The coordinator, asked about the statement, waits for a lock on the table. */
Test(cancelled, a_query_that_is_being_planned)
{
	for (int extended = 0; extended < 2; extended++) {
		const char *vector = Q8;
		struct instance instance;
		PGconn *conn, *locker;

		instance_start(&instance, NULL);
		conn = instance_connect(&instance, NULL);
		cluster_run(conn, "SET pgtopk.route = on");
		locker = lock_on(CLUSTER_COORDINATOR, "items");
		if (extended)
			cr_assert(PQsendQueryParams(
			    conn, "SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 10", 1,
			    NULL, &vector, NULL, NULL, 0));
		else
			cr_assert(PQsendQuery(conn, TOP10));
		cr_assert(cluster_await(
		    locker, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted", "t"));
		cancel(conn);
		expect_cancelled(conn);
		cluster_run(locker, "ROLLBACK");
		instance_skip_log(&instance);
		cluster_run(conn, TOP10);
		instance_expect(&instance, "routed", TOP10);
		PQfinish(locker);
		PQfinish(conn);
		instance_stop(&instance);
	}
}

/* A question of ours that was cancelled amid leaves its statement behind. */
Test(cancelled, a_hidden_statement_that_was_left_behind)
{
	struct instance *instance = instance_shared();
	PGconn *conn = instance_connect(instance, NULL);

	for (int block = 0; block < 2; block++) {
		cluster_run(conn, block ? "BEGIN" : "SELECT 1");
		cluster_run(conn, "PREPARE \"pgtopk hidden 9e1f37\" AS SELECT 1");
		instance_skip_log(instance);
		cluster_run(conn, TOP10);
		instance_expect(instance, "routed", TOP10);
	}
	cluster_run(conn, "COMMIT");
	PQfinish(conn);
}

#define STUBBORN "DO $$BEGIN PERFORM pg_sleep(5); EXCEPTION WHEN query_canceled THEN NULL; END$$"

/* The request is about the statement that runs, and that one takes no notice. */
Test(cancelled, a_query_that_has_not_begun_is_not_meant)
{
	int port = instance_shared()->port;
	struct raw raw;
	char *answers;

	raw_login(&raw, port);
	wire_put_parse(&raw.out, "s", TOP10, strlen(TOP10), 0, NULL);
	wire_put_query(&raw.out, "BEGIN");
	raw_put_statement(&raw.out, STUBBORN, 0, NULL);
	raw_put_bind(&raw.out, "", "s", NULL, 0, 0, 0);
	wire_put_execute(&raw.out, "", 0);
	wire_put_bare(&raw.out, WIRE_FE_Sync);
	raw_send(&raw, 0);
	usleep(500 * 1000);
	raw_cancel(port, raw.pid, raw.key, raw.key_len);
	answers = raw_read(&raw, WIRE_BE_ReadyForQuery, 2);
	cr_assert_null(strstr(answers, "57014"), "%s", answers);
	cr_assert_not_null(strstr(answers, "SELECT 10"), "%s", answers);
	free(answers);
	raw_close(&raw);
}

Test(cancelled, the_carrier_does_not_wait)
{
	struct instance *instance = instance_shared();
	PGconn *watcher = cluster_connect(CLUSTER_COORDINATOR, NULL);
	struct raw raw;

	raw_login(&raw, instance->port);
	for (int i = 0; i < 30; i++) {
		struct raw carrier;
		char *said;

		wire_put_query(&raw.out, "SELECT pg_sleep(21)");
		raw_send(&raw, 0);
		cr_assert(cluster_await(watcher,
		                        "SELECT count(*) FROM pg_stat_activity WHERE state = "
		                        "'active' AND query = 'SELECT pg_sleep(21)'",
		                        "1"));
		raw_open(&carrier, instance->port);
		wire_put_cancel(&carrier.out, raw.pid, raw.key, raw.key_len);
		raw_send(&carrier, i % 3 == 2 ? 1 : 0);
		if (i % 3 == 1)
			shutdown(carrier.fd, SHUT_WR);
		raw_close(&carrier);
		said = raw_read(&raw, WIRE_BE_ReadyForQuery, 1);
		cr_assert_not_null(strstr(said, "57014"), "%d: %s", i, said);
		free(said);
	}
	raw_close(&raw);
	PQfinish(watcher);
}

Test(cancelled, a_copy)
{
	PGconn *conn = instance_connect(instance_shared(), NULL);

	for (int i = 0; i < 3; i++) {
		PGresult *result;
		char *row;

		cr_assert(PQsendQuery(conn,
		                      "COPY (SELECT a, repeat('x', 100) FROM generate_series(1, 3)"
		                      " a, pg_sleep(20)) TO STDOUT"));
		usleep(100 * 1000);
		cancel(conn);
		result = PQgetResult(conn);
		if (PQresultStatus(result) == PGRES_COPY_OUT) {
			while (PQgetCopyData(conn, &row, 0) > 0)
				PQfreemem(row);
			PQclear(result);
			result = PQgetResult(conn);
		}
		cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "57014");
		PQclear(result);
		cr_assert_null(PQgetResult(conn));
	}
	PQfinish(conn);
}

/* ---- never the next ---- */

static void *cancel_thread(void *conn)
{
	PGcancel *request = PQgetCancel(conn);
	char error[256];

	usleep((unsigned)rand() % 3000);
	PQcancel(request, error, sizeof(error));
	PQfreeCancel(request);
	return NULL;
}

Test(cancelled, two_thousand_times_never_the_next_statement, .timeout = 120)
{
	PGconn *conn = instance_connect(instance_shared(), NULL);
	unsigned cancelled = 0;

	cluster_run(conn, TOP10);
	for (int i = 0; i < 2000; i++) {
		pthread_t thread;
		PGresult *result;

		cr_assert(PQsendQuery(conn, i % 4 ? "SELECT pg_sleep(0.001)" : TOP10));
		cr_assert_eq(pthread_create(&thread, NULL, cancel_thread, conn), 0);
		result = PQgetResult(conn);
		if (PQresultStatus(result) != PGRES_TUPLES_OK) {
			cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "57014");
			cancelled++;
		}
		PQclear(result);
		PQclear(PQgetResult(conn));
		pthread_join(thread, NULL);
		result = PQexec(conn, i % 3 ? "SELECT 1" : TOP10);
		cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%d: %s", i,
		             PQerrorMessage(conn));
		PQclear(result);
	}
	cr_assert_gt(cancelled, 20);
	PQfinish(conn);
}

/* ---- over TLS ---- */

/* As PQcancelBlocking() of newer libpqs does. */
static void cancel_by_tls(int port, const struct raw *target)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(context);
	struct iobuf message;
	struct raw raw;
	char answer;

	raw_open(&raw, port);
	wire_put_u32(&raw.out, 8);
	wire_put_u32(&raw.out, WIRE_CODE_SSL);
	raw_send(&raw, 0);
	cr_assert_eq(recv(raw.fd, &answer, 1, 0), 1);
	cr_assert_eq(answer, 'S');
	SSL_set_fd(ssl, raw.fd);
	cr_assert_eq(SSL_connect(ssl), 1);
	iobuf_init(&message);
	wire_put_cancel(&message, target->pid, target->key, target->key_len);
	cr_assert_gt(SSL_write(ssl, iobuf_head(&message), (int)iobuf_len(&message)), 0);
	cr_assert_leq(SSL_read(ssl, &answer, 1), 0);
	iobuf_fini(&message);
	SSL_free(ssl);
	SSL_CTX_free(context);
	raw_close(&raw);
}

Test(cancelled, over_tls_on_both_sides)
{
	struct certificates certificates;
	struct server server;
	struct instance instance;
	char cert[512], key[512];
	struct raw raw;

	certificates_open(&certificates);
	certificates_make_usual(&certificates, "postgres");
	snprintf(cert, sizeof(cert), "%s", certificates_file(&certificates, "server.crt"));
	snprintf(key, sizeof(key), "%s", certificates_file(&certificates, "server.key"));
	server_start(&server, "hostssl all all 127.0.0.1/32 trust\n", "");
	server_install(&server, cert, "server.crt");
	server_install(&server, key, "server.key");
	server_restart(&server, "ssl = on");
	instance_start(&instance, (const char *[]){"--coordinator",
	                                           server_conninfo(&server, "sslmode=require"),
	                                           "--client-tls", "allow", "--client-tls-cert",
	                                           cert, "--client-tls-key", key, NULL});
	raw_login(&raw, instance.port);
	for (int i = 0; i < 10; i++) {
		char *said;

		wire_put_query(&raw.out, "SELECT pg_sleep(20)");
		raw_send(&raw, 0);
		usleep(50 * 1000);
		if (i % 2)
			cancel_by_tls(instance.port, &raw);
		else
			raw_cancel(instance.port, raw.pid, raw.key, raw.key_len);
		said = raw_read(&raw, WIRE_BE_ReadyForQuery, 1);
		cr_assert_not_null(strstr(said, "57014"), "%d: %s", i, said);
		free(said);
	}
	raw_close(&raw);
	instance_stop(&instance);
	server_stop(&server);
	certificates_close(&certificates);
}
