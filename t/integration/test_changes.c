/*
 * Changes: tables and shards are locked and altered by others while vector queries
 * come. Nobody may wait for longer than through the coordinator alone, nor may a
 * routed query stand in another's way.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "t/lib/oracle.h"
#include "t/lib/suite.h"

#define ALL "SELECT id FROM items ORDER BY embedding <-> '" Q8 "', id LIMIT 10"
/* a text of its own for each test: the coordinator has to describe it first */
#define NEW(name) "SELECT id AS " name " FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 10"

/* The first and last shard of items on a worker, as its own names. */
static const char *shard_of(enum cluster_node node, bool last)
{
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, NULL);
	const char *name;

	if (!cluster_is_citus())
		name = text("items_%d", last ? 6 + (int)node - 1 : (int)node - 1);
	else
		name = cluster_value(
		    conn,
		    text("SELECT shard_name(s.logicalrelid, s.shardid) FROM pg_dist_shard s "
		         "JOIN pg_dist_placement USING (shardid) "
		         "JOIN pg_dist_node n USING (groupid) "
		         "WHERE s.logicalrelid = 'public.items'::regclass AND n.nodeport = %d "
		         "ORDER BY s.shardid %s LIMIT 1",
		         cluster_port(node), last ? "DESC" : "ASC"));
	PQfinish(conn);
	return name;
}

/* text() would not last as long as it may take. */
static void await(PGconn *conn, const char *sql)
{
	char copy[1024];

	snprintf(copy, sizeof(copy), "%s", sql);
	cr_assert(cluster_await(conn, copy, "t"), "%s", copy);
}

static PGconn *lock(enum cluster_node node, const char *table)
{
	PGconn *conn = cluster_connect(node, NULL);

	cluster_run(conn, text("SET citus.enable_manual_changes_to_shards = on;"
	                       "BEGIN; LOCK TABLE %s IN ACCESS EXCLUSIVE MODE",
	                       table));
	return conn;
}

static void unlock(PGconn *conn)
{
	cluster_run(conn, "COMMIT");
	PQfinish(conn);
}

static void has_rows(PGconn *conn, int wanted)
{
	PGresult *result = PQgetResult(conn);

	cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s", PQerrorMessage(conn));
	cr_assert_eq(PQntuples(result), wanted, "%d rows", PQntuples(result));
	PQclear(result);
	cr_assert_null(PQgetResult(conn));
}

/* A shard that is locked is waited for on the coordinator. */
Test(changes, a_locked_shard_is_left_to_the_coordinator)
{
	struct instance *instance = instance_shared();
	PGconn *conn = instance_connect(instance, NULL);
	PGconn *locked;

	cluster_run(conn, ALL);
	locked = lock(CLUSTER_WORKER1, shard_of(CLUSTER_WORKER1, false));
	instance_skip_log(instance);
	cr_assert(PQsendQuery(conn, ALL));
	instance_await(instance, "sqlstate 55P03");
	instance_await(instance, "reason=worker");
	cr_assert(PQconsumeInput(conn) && PQisBusy(conn));
	unlock(locked);
	has_rows(conn, 10);
	PQfinish(conn);
}

/*
 * One pipeline reads several shards. While it waits for one of them it must not keep
 * others locked for long: DDL has locked the one, waits for another, and the two would
 * be a deadlock.
 */
Test(changes, a_query_that_waits_for_a_shard_does_not_keep_others_locked)
{
	PGconn *conn = instance_connect(instance_shared(), NULL);
	PGconn *last, *first;

	cluster_run(conn, ALL);
	last = lock(CLUSTER_WORKER1, shard_of(CLUSTER_WORKER1, true));
	if (!cluster_is_citus()) /* or the coordinator itself, reading, would lock the first one */
		cluster_run(conn, "SET statement_timeout = '2s'");
	cr_assert(PQsendQuery(conn, ALL));
	first = cluster_connect(CLUSTER_WORKER1, NULL);
	await(first, text("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = "
	                  "'%s'::regclass",
	                  shard_of(CLUSTER_WORKER1, true)));
	cluster_run(first, text("SET citus.enable_manual_changes_to_shards = on; SET lock_timeout "
	                        "= '15s'; BEGIN; LOCK TABLE %s IN ACCESS EXCLUSIVE MODE; COMMIT",
	                        shard_of(CLUSTER_WORKER1, false)));
	unlock(last);
	PQclear(PQgetResult(conn));
	cr_assert_null(PQgetResult(conn));
	PQfinish(first);
	PQfinish(conn);
}

/* Not once for our question about the statement and once more for the statement. */
Test(changes, statement_timeout_counts_once_where_the_table_is_locked)
{
	PGconn *conn = instance_connect(instance_shared(), NULL);
	PGconn *direct = cluster_connect(CLUSTER_COORDINATOR, NULL);
	PGconn *locked;
	PGresult *result;
	const char *began;

	cluster_run(conn, ALL);
	cluster_run(conn, "SET statement_timeout = '3s'");
	locked = lock(CLUSTER_COORDINATOR, "public.items");
	began = cluster_value(direct, "SELECT clock_timestamp()");
	result = PQexec(conn, NEW("timed_out"));
	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "57014", "%s",
	                 PQerrorMessage(conn));
	PQclear(result);
	cr_assert_str_eq(cluster_value(direct, text("SELECT clock_timestamp() - '%s' < "
	                                            "interval '5 s'",
	                                            began)),
	                 "t");
	unlock(locked);
	PQfinish(direct);
	PQfinish(conn);
}

/* What our own questions set is gone when the client's next statement comes. */
Test(changes, a_block_keeps_its_lock_timeout)
{
	struct oracle oracle;
	static const char *const values[] = {"0", "7s"};

	oracle_open(&oracle);
	for (size_t i = 0; i < 2; i++) {
		oracle_set(&oracle, text("SET lock_timeout = '%s'", values[i]));
		oracle_set(&oracle, "BEGIN");
		oracle_routed(&oracle, i ? NEW("kept_7") : NEW("kept_0"));
		cr_assert_str_eq(cluster_value(oracle.proxy, "SHOW lock_timeout"), values[i]);
		oracle_set(&oracle, "COMMIT");
		oracle_routed(&oracle, i ? NEW("kept_8") : NEW("kept_1"));
		cr_assert_str_eq(cluster_value(oracle.proxy, "SHOW lock_timeout"), values[i]);
	}
	oracle_close(&oracle);
}

/* ---- a shard moved away and back ---- */

#define MOVED "SELECT id FROM moved ORDER BY e <-> '[1,2]' LIMIT 1000"

struct move {
	PGconn *direct, *back, *worker;
	int shard;
	char pids[256];
	char since[64];
};

static void move_open(struct move *move)
{
	move->direct = cluster_connect(CLUSTER_COORDINATOR, NULL);
	move->back = cluster_connect(CLUSTER_COORDINATOR, NULL);
	move->worker = cluster_connect(CLUSTER_WORKER1, NULL);
	cluster_shard("moved", "id int, e vector(2)", "HASH (id)", 4, 0);
	cluster_run(move->direct,
	            "INSERT INTO moved SELECT i, '[1,2]' FROM generate_series(1, 400) i");
	move->shard = atoi(cluster_value(
	    move->direct, text("SELECT s.shardid FROM pg_dist_shard s JOIN pg_dist_placement USING "
	                       "(shardid) JOIN pg_dist_node n USING (groupid) WHERE s.logicalrelid "
	                       "= 'moved'::regclass AND n.nodeport = %d LIMIT 1",
	                       cluster_port(CLUSTER_WORKER1))));
}

static void move_close(struct move *move)
{
	cluster_run(move->direct, "DROP TABLE moved");
	PQfinish(move->worker);
	PQfinish(move->back);
	PQfinish(move->direct);
}

static const char *move_sql(const struct move *move, enum cluster_node from, enum cluster_node to)
{
	return text("SELECT citus_move_shard_placement(%d, '127.0.0.1', %d, '127.0.0.1', %d, "
	            "'block_writes')",
	            move->shard, cluster_port(from), cluster_port(to));
}

/* Servers of connections that are just being closed may have ended. */
static void send_signal(const struct move *move, const char *name)
{
	cr_assert_neq(system(text("kill -%s %s 2>/dev/null", name, move->pids)), -1);
}

/* Stops the servers of pgtopk's connections to the worker. */
static void stop_servers(struct move *move)
{
	snprintf(move->pids, sizeof(move->pids), "%s",
	         cluster_value(move->worker, "SELECT string_agg(pid::text, ' ') FROM "
	                                     "pg_stat_activity WHERE application_name = 'pgtopk'"));
	snprintf(move->since, sizeof(move->since), "%s",
	         cluster_value(move->direct, "SELECT clock_timestamp()"));
	send_signal(move, "STOP");
}

/* The check of the map that a query has just asked for has been answered. */
static void await_check(const struct move *move)
{
	await(
	    move->direct,
	    text(
		"SELECT count(*) > 0 FROM pg_stat_activity WHERE state = 'idle' AND "
		"application_name = 'pgtopk' AND query LIKE '%%FROM pg_catalog.pg_dist_partition p "
		"WHERE p.logicalrelid%%' AND query_start > '%s'",
		move->since));
}

/* Begins the move back; Citus waits for our lock when it has made the table, before it copies. */
static void begin_move_back(const struct move *move)
{
	cluster_run(move->direct, "SELECT pg_advisory_lock(55152, 44000)");
	cluster_run(move->back, "SET citus.running_under_citus_test_suite = on");
	cr_assert(PQsendQuery(move->back, move_sql(move, CLUSTER_WORKER2, CLUSTER_WORKER1)));
	await(move->worker, text("SELECT to_regclass('moved_%d') IS NOT NULL", move->shard));
}

/*
 * A worker is so late that a shard has left it meanwhile and is on its way back: empty as
 * yet, under its old name, while the check of the map has long said that nothing changed.
 */
Test(changes, trap_06_a_shard_that_is_moved_away_and_back)
{
	struct move move;
	struct instance instance;
	PGconn *conn;

	if (!cluster_is_citus()) {
		SKIP("changes.trap_06_a_shard_that_is_moved_away_and_back", "no Citus");
		return;
	}
	move_open(&move);
	instance_start(&instance, NULL); /* the shared one has a map without that table */
	conn = instance_connect(&instance, NULL);
	cluster_run(conn, MOVED);
	instance_expect(&instance, "routed", MOVED);
	stop_servers(&move);
	cr_assert(PQsendQuery(conn, MOVED));
	await_check(&move);
	cluster_run(move.direct, move_sql(&move, CLUSTER_WORKER1, CLUSTER_WORKER2));
	cluster_run(move.direct, "CALL citus_cleanup_orphaned_resources()");
	begin_move_back(&move);
	send_signal(&move, "CONT");
	has_rows(conn, 400);
	cluster_run(move.direct, "SELECT pg_advisory_unlock(55152, 44000)");
	has_rows(move.back, 1);
	PQfinish(conn);
	instance_stop(&instance);
	move_close(&move);
}
