/*
 * Cancel: a cancel request or a time-out stops the shard queries on the workers as
 * well as the coordinator's statement, never another one, and the session goes on.
 * A shard is made slow by a lock that somebody else holds on it.
 */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "t/lib/oracle.h"
#include "t/lib/raw.h"
#include "t/lib/suite.h"

#define TOP10 "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 10"
#define WAITING                                                                                    \
	"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%items_%'"

struct locked {
	struct instance *instance;
	PGconn *client;
	PGconn *locker;  /* holds the lock on shard 0 */
	PGconn *watcher; /* on the same worker */
};

static void lock_shard(struct locked *locked)
{
	locked->instance = instance_shared();
	locked->client = instance_connect(locked->instance, NULL);
	cluster_run(locked->client, TOP10);
	locked->locker = cluster_connect(cluster_shard_node(0), NULL);
	locked->watcher = cluster_connect(cluster_shard_node(0), NULL);
	cluster_run(locked->locker, "BEGIN; LOCK TABLE items_0 IN ACCESS EXCLUSIVE MODE");
	instance_skip_log(locked->instance);
}

static void unlock_shard(struct locked *locked)
{
	PQfinish(locked->locker);
	PQfinish(locked->watcher);
	PQfinish(locked->client);
}

static void send_and_wait(struct locked *locked, const char *sql)
{
	cr_assert(PQsendQuery(locked->client, sql));
	cr_assert(cluster_await(locked->watcher, WAITING, "1"), "nothing waits on the worker");
}

static void cancel(PGconn *conn)
{
	PGcancel *request = PQgetCancel(conn);
	char error[256];

	cr_assert(PQcancel(request, error, sizeof(error)), "%s", error);
	PQfreeCancel(request);
}

static void expect_error(PGconn *conn, const char *sqlstate, const char *message)
{
	PGresult *result, *next;

	result = PQgetResult(conn);
	cr_assert_eq(PQresultStatus(result), PGRES_FATAL_ERROR);
	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), sqlstate);
	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), message);
	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SEVERITY), "ERROR");
	PQclear(result);
	while ((next = PQgetResult(conn)) != NULL)
		PQclear(next);
	cr_assert_str_eq(cluster_value(conn, "SELECT 'still here'"), "still here");
}

static void stopped_everywhere(struct locked *locked)
{
	if (locked->instance->pid)
		cr_assert(cluster_await(locked->watcher, WAITING, "0"),
		          "the shard query still waits on the worker");
}

/* Nothing waits any more and the lock is gone: routed again. */
static void routed_again(struct locked *locked)
{
	cluster_run(locked->locker, "ROLLBACK");
	instance_skip_log(locked->instance);
	cluster_run(locked->client, TOP10);
	instance_expect(locked->instance, "routed", TOP10);
}

Test(cancel, trap_15_simple_protocol)
{
	struct locked locked;

	lock_shard(&locked);
	for (int i = 0; i < 3; i++) {
		send_and_wait(&locked, TOP10);
		cancel(locked.client);
		expect_error(locked.client, "57014", "canceling statement due to user request");
		stopped_everywhere(&locked);
	}
	routed_again(&locked);
	unlock_shard(&locked);
}

Test(cancel, trap_15_extended_protocol)
{
	const char *vector = Q8;
	struct locked locked;

	lock_shard(&locked);
	for (int i = 0; i < 3; i++) {
		cr_assert(PQsendQueryParams(
		    locked.client, "SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 10", 1,
		    NULL, &vector, NULL, NULL, 1));
		cr_assert(cluster_await(locked.watcher, WAITING, "1"));
		cancel(locked.client);
		expect_error(locked.client, "57014", "canceling statement due to user request");
		stopped_everywhere(&locked);
	}
	routed_again(&locked);
	unlock_shard(&locked);
}

Test(cancel, only_the_one_that_is_meant)
{
	struct locked locked;
	PGconn *other;
	PGresult *result;

	lock_shard(&locked);
	other = instance_connect(locked.instance, NULL);
	cr_assert(PQsendQuery(other, TOP10));
	cr_assert(cluster_await(locked.watcher, WAITING, "1"));
	cr_assert(PQsendQuery(locked.client, TOP10));
	cr_assert(cluster_await(locked.watcher, WAITING, "2"));
	cancel(locked.client);
	expect_error(locked.client, "57014", "canceling statement due to user request");
	cluster_run(locked.locker, "ROLLBACK");
	result = PQgetResult(other);
	cr_assert_eq(PQntuples(result), 10, "%s", PQerrorMessage(other));
	PQclear(result);
	PQfinish(other);
	unlock_shard(&locked);
}

Test(cancel, statement_timeout)
{
	struct locked locked;
	PGresult *result;

	lock_shard(&locked);
	cluster_run(locked.client, "SET statement_timeout = 300");
	result = PQexec(locked.client, TOP10);
	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "57014");
	PQclear(result);
	stopped_everywhere(&locked);
	cluster_run(locked.client, "RESET statement_timeout");
	routed_again(&locked);
	unlock_shard(&locked);
}

Test(cancel, client_disconnects)
{
	struct locked locked;

	lock_shard(&locked);
	send_and_wait(&locked, TOP10);
	if (locked.instance->pid) {
		PQfinish(locked.client);
		stopped_everywhere(&locked);
		locked.client = instance_connect(locked.instance, NULL);
		routed_again(&locked);
	}
	unlock_shard(&locked);
}

Test(cancel, relayed_statement)
{
	PGconn *conn = instance_connect(instance_shared(), NULL);

	for (int i = 0; i < 3; i++) {
		cr_assert(PQsendQuery(conn, "SELECT pg_sleep(60)"));
		usleep(100 * 1000);
		cancel(conn);
		expect_error(conn, "57014", "canceling statement due to user request");
	}
	PQfinish(conn);
}

Test(cancel, idle_session)
{
	PGconn *conn = instance_connect(instance_shared(), NULL);

	for (int i = 0; i < 50; i++) {
		cancel(conn);
		cluster_run(conn, i % 2 ? TOP10 : "SELECT 1");
	}
	PQfinish(conn);
}

/* At any moment: it stops this statement or comes too late, but never hits the next. */
Test(cancel, trap_15_never_the_next_statement)
{
	PGconn *conn = instance_connect(instance_shared(), NULL);
	int cancelled = 0;

	cluster_run(conn, TOP10);
	for (int i = 0; i < 150; i++) {
		PGresult *result, *next;

		cr_assert(PQsendQuery(conn, i % 3 ? TOP10 : "SELECT pg_sleep(0.003)"));
		usleep((unsigned)(i * 37 % 5000));
		cancel(conn);
		result = PQgetResult(conn);
		if (PQresultStatus(result) != PGRES_TUPLES_OK) {
			cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "57014");
			cancelled++;
		}
		PQclear(result);
		while ((next = PQgetResult(conn)) != NULL)
			PQclear(next);
		cr_assert_str_eq(cluster_value(conn, "SELECT 7"), "7");
		cr_assert_str_neq(cluster_value(conn, TOP10), "");
	}
	cr_assert_gt(cancelled, 0);
	PQfinish(conn);
}

Test(cancel, wrong_key)
{
	static const uint8_t wrong[] = {1, 2, 3, 4};
	struct raw raw;
	struct instance *instance = instance_shared();
	char *said;

	raw_login(&raw, instance->port);
	wire_put_query(&raw.out, "SELECT pg_sleep(1)");
	raw_send(&raw, 0);
	raw_cancel(instance->port, raw.pid, wrong, sizeof(wrong));
	raw_cancel(instance->port, raw.pid + 1, raw.key, raw.key_len);
	raw_cancel(instance->port, 0, wrong, sizeof(wrong));
	said = raw_read(&raw, WIRE_BE_ReadyForQuery, 1);
	cr_assert_not_null(strstr(said, "SELECT 1"), "%s", said);
	free(said);
	raw_close(&raw);
}
