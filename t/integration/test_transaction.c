/*
 * Tests of routing inside transaction blocks: a READ COMMITTED block that has written
 * nothing is routed; what it has written itself, stricter isolation, locks, savepoints,
 * named portals and failed blocks are the coordinator's. An error or a cancel here fails
 * the block there.
 */
#include <string.h>
#include <unistd.h>

#include "proxy/loop.h"
#include "t/lib/oracle.h"
#include "t/lib/pair.h"
#include "t/lib/suite.h"

#define TOP "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 5"
#define TOP_WITH "SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 5"

TestSuite(transaction, .timeout = 120);

Test(transaction, a_block_that_has_only_read_is_routed)
{
	struct oracle oracle;

	oracle_open(&oracle);
	oracle_set(&oracle, "BEGIN");
	oracle_routed(&oracle, TOP);
	oracle_routed(&oracle, TOP);
	oracle_routed_with(&oracle, TOP_WITH, Q8, NULL);
	cluster_value(oracle.proxy, "SELECT count(*) FROM items");
	/* on Citus that has begun a distributed transaction, in which a worker may have written */
	oracle_check(&oracle, TOP, cluster_is_citus() ? "written" : "routed");
	oracle_set(&oracle, "COMMIT");
	oracle_set(&oracle, "BEGIN");
	oracle_set(&oracle, "SAVEPOINT s");
	oracle_routed(&oracle, TOP);
	oracle_set(&oracle, "ROLLBACK TO s");
	oracle_routed(&oracle, TOP);
	cr_assert_eq(PQtransactionStatus(oracle.proxy), PQTRANS_INTRANS);
	oracle_set(&oracle, "COMMIT");
	cr_assert_eq(PQtransactionStatus(oracle.proxy), PQTRANS_IDLE);
	oracle_set(&oracle, "BEGIN READ ONLY");
	oracle_routed(&oracle, TOP);
	oracle_set(&oracle, "ROLLBACK AND CHAIN");
	oracle_routed(&oracle, TOP);
	oracle_set(&oracle, "ROLLBACK");
	oracle_close(&oracle);
}

Test(transaction, settings_of_the_block_hold)
{
	struct oracle oracle;

	oracle_open(&oracle);
	oracle_set(&oracle, "SET DateStyle = 'ISO'");
	oracle_set(&oracle, "BEGIN");
	oracle_set(&oracle, "SET LOCAL extra_float_digits = -3");
	oracle_routed(&oracle, "SELECT id, embedding <-> '" Q8 "' FROM items ORDER BY embedding "
	                       "<-> '" Q8 "' LIMIT 5");
	oracle_set(&oracle, "SAVEPOINT s");
	oracle_set(&oracle, "SET LOCAL extra_float_digits = -9");
	oracle_routed(&oracle, "SELECT id, embedding <-> '" Q8 "' FROM items ORDER BY embedding "
	                       "<-> '" Q8 "' LIMIT 5");
	oracle_set(&oracle, "ROLLBACK TO s");
	oracle_routed(&oracle, "SELECT id, embedding <-> '" Q8 "' FROM items ORDER BY embedding "
	                       "<-> '" Q8 "' LIMIT 5");
	oracle_set(&oracle, "COMMIT");
	oracle_routed(&oracle, "SELECT id, embedding <-> '" Q8 "' FROM items ORDER BY embedding "
	                       "<-> '" Q8 "' LIMIT 5");
	oracle_close(&oracle);
}

/* Runs it in a block, after which the block's own vector query must not be routed. */
static void expect_written(struct instance *instance, const char *sql, const char *first)
{
	PGconn *conn = instance_connect(instance, NULL);

	cluster_run(conn, "BEGIN");
	instance_skip_log(instance);
	cluster_run(conn, TOP);
	instance_expect(instance, "routed", sql);
	cluster_run(conn, sql);
	instance_skip_log(instance);
	if (first)
		cr_assert_str_eq(cluster_value(conn, TOP), first, "%s", sql);
	else
		cluster_value(conn, TOP);
	instance_expect(instance, "written", sql);
	cluster_run(conn, "ROLLBACK");
	cluster_run(conn, TOP);
	instance_expect(instance, "routed", sql);
	PQfinish(conn);
}

#define INSERT "INSERT INTO items (id, embedding) VALUES (999999, '" Q8 "')"

Test(transaction, trap_10_own_writes_are_seen)
{
	struct instance *instance = instance_shared();

	expect_written(instance, INSERT, "999999");
	expect_written(instance, "SAVEPOINT s; " INSERT "; RELEASE s", "999999");
	expect_written(instance, "DO $$BEGIN " INSERT "; END$$", "999999");
	expect_written(instance, "WITH new AS (" INSERT " RETURNING 1) SELECT * FROM new",
	               "999999");
	expect_written(instance, "PREPARE p AS " INSERT "; EXECUTE p", "999999");
	expect_written(instance, "UPDATE items SET embedding = NULL WHERE id = -1", NULL);
	expect_written(instance, "DELETE FROM items WHERE id = -1", NULL);
	expect_written(instance, "CREATE TEMP TABLE other (a int)", NULL);
	expect_written(instance, "LOCK TABLE items IN SHARE MODE", NULL);
	expect_written(instance, "GRANT SELECT ON items TO PUBLIC", NULL);
}

/* What a foreign table is read from may be a view that writes; it takes no lock to tell it. */
Test(transaction, trap_10_a_foreign_table_that_writes)
{
	PGconn *conn;

	if (cluster_is_citus())
		return;
	cluster_run_on(CLUSTER_WORKER1,
	               "CREATE OR REPLACE FUNCTION noting() RETURNS int LANGUAGE sql"
	               " SET search_path = public AS"
	               " $$INSERT INTO public.items_0 (id, embedding) VALUES (999999, '" Q8 "')"
	               " RETURNING id$$;"
	               "CREATE OR REPLACE VIEW noted AS SELECT public.noting() AS id");
	conn = cluster_connect(CLUSTER_COORDINATOR, NULL);
	cluster_run(conn, "DROP FOREIGN TABLE IF EXISTS noted;"
	                  "CREATE FOREIGN TABLE noted (id int) SERVER worker1"
	                  " OPTIONS (schema_name 'public')");
	PQfinish(conn);
	expect_written(instance_shared(), "SELECT * FROM noted", "999999");
}

Test(transaction, a_write_by_copy_is_seen)
{
	struct instance *instance = instance_shared();
	PGconn *conn = instance_connect(instance, NULL);
	PGresult *result;

	cluster_run(conn, "BEGIN");
	result = PQexec(conn, "COPY items (id, embedding) FROM STDIN");
	cr_assert_eq(PQresultStatus(result), PGRES_COPY_IN);
	PQclear(result);
	cr_assert_eq(PQputCopyData(conn, "999999\t" Q8 "\n", strlen("999999\t" Q8 "\n")), 1);
	cr_assert_eq(PQputCopyEnd(conn, NULL), 1);
	while ((result = PQgetResult(conn)))
		PQclear(result);
	instance_skip_log(instance);
	cr_assert_str_eq(cluster_value(conn, TOP), "999999");
	instance_expect(instance, "written", "COPY");
	cluster_run(conn, "ROLLBACK");
	PQfinish(conn);
}

Test(transaction, stricter_isolation_is_the_coordinators)
{
	struct oracle oracle;

	oracle_open(&oracle);
	oracle_set(&oracle, "BEGIN ISOLATION LEVEL REPEATABLE READ");
	oracle_check(&oracle, TOP, "isolation");
	oracle_set(&oracle, "COMMIT");
	oracle_set(&oracle, "BEGIN");
	oracle_set(&oracle, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE");
	oracle_check(&oracle, TOP, "isolation");
	oracle_set(&oracle, "COMMIT");
	oracle_close(&oracle);
}

Test(transaction, what_others_commit_is_seen)
{
	struct instance *instance = instance_shared();
	PGconn *conn = instance_connect(instance, NULL),
	       *other = cluster_connect(CLUSTER_COORDINATOR, NULL);

	cluster_run(conn, "BEGIN");
	cluster_run(conn, TOP);
	cluster_run(other, INSERT);
	instance_skip_log(instance);
	cr_assert_str_eq(cluster_value(conn, TOP), "999999");
	instance_expect(instance, "routed", TOP);
	cluster_run(other, "DELETE FROM items WHERE id = 999999");
	cr_assert_str_neq(cluster_value(conn, TOP), "999999");
	cluster_run(conn, "COMMIT");
	PQfinish(other);
	PQfinish(conn);
}

/* By whom and where it was committed: before the query began. */
Test(transaction, a_committed_write_is_always_seen)
{
	struct instance *instance = instance_shared();
	PGconn *conn = instance_connect(instance, NULL);
	PGconn *writers[2] = {instance_connect(instance, "options='-c synchronous_commit=off'"),
	                      cluster_connect(CLUSTER_COORDINATOR, NULL)};

	for (int i = 0; i < 40; i++) {
		PGconn *writer = writers[i % 2];
		char id[16];

		snprintf(id, sizeof(id), "%d", 900000 + i);
		cluster_run(writer,
		            text("INSERT INTO items (id, embedding) VALUES (%s, '" Q8 "')", id));
		instance_skip_log(instance);
		cr_assert_str_eq(cluster_value(conn, TOP), id);
		instance_expect(instance, "routed", TOP);
		if (i % 4 < 2) {
			cluster_run(writer, text("DELETE FROM items WHERE id = %s", id));
		} else if (!cluster_is_citus()) { /* on the worker itself */
			for (unsigned shard = 0; shard < ITEMS_SHARDS; shard++)
				cluster_run_on(
				    cluster_shard_node(shard),
				    text("DELETE FROM items_%u WHERE id = %s", shard, id));
		} else {
			cluster_run_shards("items", ITEMS_SHARDS,
			                   text("DELETE FROM @ WHERE id = %s", id));
		}
		cr_assert_str_neq(cluster_value(conn, TOP), id);
	}
	PQfinish(writers[0]);
	PQfinish(writers[1]);
	PQfinish(conn);
}

/* 'now' is the block's begin, and not the worker's. */
Test(transaction, a_clock_in_a_parameter_is_the_blocks)
{
	static const char sql[] =
	    "SELECT $1::timestamptz FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 1";
	const char *values[] = {"now"};
	struct instance *instance = instance_shared();
	PGconn *conn = instance_connect(instance, NULL);
	const char *began;
	PGresult *result;

	cluster_run(conn, "BEGIN");
	began = cluster_value(conn, "SELECT now()");
	instance_skip_log(instance);
	result = PQexecParams(conn, sql, 1, NULL, values, NULL, NULL, 0);
	cr_assert_str_eq(PQgetvalue(result, 0, 0), began);
	PQclear(result);
	instance_expect(instance, "expression", sql);
	cluster_run(conn, "COMMIT");
	PQfinish(conn);
}

/* ---- the protocol, byte for byte ---- */

static void run(struct pair *pair, const char *sql)
{
	wire_put_query(&pair->out, sql);
	pair_talk(pair, WIRE_BE_ReadyForQuery, 1);
}

static void parse(struct pair *pair, const char *name, const char *sql)
{
	wire_put_parse(&pair->out, name, sql, strlen(sql), 0, NULL);
}

static void bind(struct pair *pair, const char *portal, const char *statement)
{
	raw_put_bind(&pair->out, portal, statement, NULL, 0, 0, 0);
}

Test(transaction, ready_for_query_says_where_we_are)
{
	struct pair pair;

	pair_open(&pair);
	run(&pair, "BEGIN");
	run(&pair, TOP);
	raw_put_statement(&pair.out, TOP, 0, NULL);
	pair_sync(&pair);
	run(&pair, "SELECT 1/0");
	run(&pair, TOP);
	raw_put_statement(&pair.out, TOP, 0, NULL);
	pair_sync(&pair);
	run(&pair, "ROLLBACK");
	run(&pair, TOP);
	pair_expect_routed(&pair, 3);
	pair_close(&pair);
}

Test(transaction, an_error_before_it_begins_is_the_clients_own)
{
	static const char *const wrong[] = {
	    "SELECT id FROM items ORDER BY embedding <-> 'no vector' LIMIT 5",
	    "SELECT id FROM items ORDER BY embedding <-> '[1,2]' LIMIT 5",
	    "SELECT no_such FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 5",
	    "SELECT id + embedding FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 5",
	    "SELECT id / 0 FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 5",
	    NULL,
	};
	struct pair pair;

	pair_open(&pair);
	for (const char *const *sql = wrong; *sql; sql++) {
		run(&pair, "BEGIN");
		run(&pair, "SAVEPOINT before");
		run(&pair, *sql);
		run(&pair, "SELECT 1");
		run(&pair, "ROLLBACK TO before");
		run(&pair, TOP);
		raw_put_statement(&pair.out, *sql, 0, NULL);
		pair_sync(&pair);
		run(&pair, "SELECT 1");
		run(&pair, "COMMIT");
	}
	pair_close(&pair);
}

Test(transaction, a_bad_setting_of_ours_fails_the_block)
{
	struct instance *instance = instance_shared();
	PGconn *conn = instance_connect(instance, NULL);

	if (!instance->pid)
		return;
	for (int extended = 0; extended < 2; extended++) {
		PGresult *result;

		cluster_run(conn, "BEGIN");
		result = extended ? PQexecParams(conn, "SET pgtopk.overfetch = 'much'", 0, NULL,
		                                 NULL, NULL, NULL, 0)
		                  : PQexec(conn, "SET pgtopk.overfetch = 'much'");
		cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "22023");
		PQclear(result);
		cr_assert_eq(PQtransactionStatus(conn), PQTRANS_INERROR);
		result = PQexec(conn, "SELECT 1");
		cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "25P02");
		PQclear(result);
		cluster_run(conn, "ROLLBACK");
	}
	PQfinish(conn);
}

Test(transaction, portals_in_a_block)
{
	struct pair pair;

	pair_open(&pair);
	run(&pair, "BEGIN");
	/* a named one may be fetched from by SQL */
	parse(&pair, "s", TOP);
	bind(&pair, "c", "s");
	wire_put_execute(&pair.out, "c", 2);
	pair_sync(&pair);
	wire_put_execute(&pair.out, "c", 2);
	pair_sync(&pair);
	run(&pair, "FETCH 1 FROM c");
	run(&pair, "CLOSE c");
	pair_expect_routed(&pair, 0);
	/* the unnamed one goes on after Sync, until the next statement */
	bind(&pair, "", "s");
	wire_put_execute(&pair.out, "", 2);
	pair_sync(&pair);
	wire_put_execute(&pair.out, "", 2);
	pair_sync(&pair);
	wire_put_execute(&pair.out, "", 2);
	pair_sync(&pair);
	pair_expect_routed(&pair, cluster_is_citus() ? 0 : 1);
	run(&pair, "SELECT 1");
	wire_put_execute(&pair.out, "", 2);
	pair_sync(&pair);
	run(&pair, "ROLLBACK");
	pair_close(&pair);
}

/* Ended by another portal: no Query drops it. */
Test(transaction, a_portal_ends_with_its_transaction)
{
	static const char *const ends[] = {"COMMIT", "ROLLBACK"};
	struct pair pair;

	pair_open(&pair);
	parse(&pair, "s", TOP);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		run(&pair, "BEGIN");
		parse(&pair, "end", ends[i]);
		bind(&pair, "", "s");
		wire_put_execute(&pair.out, "", 2);
		bind(&pair, "c", "end");
		wire_put_execute(&pair.out, "c", 0);
		wire_put_execute(&pair.out, "", 2);
		wire_put_close(&pair.out, 'S', "end");
		pair_sync(&pair);
		wire_put_close(&pair.out, 'S', "end");
		pair_sync(&pair);
	}
	pair_expect_routed(&pair, 2);
	pair_close(&pair);
}

/* What the client has open on the coordinator is not touched by what we ask there. */
Test(transaction, the_clients_unnamed_portal_lives_on)
{
	struct pair pair;

	pair_open(&pair);
	run(&pair, "BEGIN");
	parse(&pair, "plain", "SELECT generate_series(1, 5)");
	bind(&pair, "", "plain");
	wire_put_execute(&pair.out, "", 2);
	pair_sync(&pair);
	parse(&pair, "", TOP);
	wire_put_describe(&pair.out, 'S', "");
	pair_sync(&pair);
	wire_put_execute(&pair.out, "", 2);
	pair_sync(&pair);
	run(&pair, "COMMIT");
	pair_close(&pair);
}

/* ---- cancel and time-out ---- */

static enum cluster_node shard_node(void)
{
	return cluster_is_citus() ? CLUSTER_WORKER1 : cluster_shard_node(0);
}

static void lock_a_shard(PGconn *locker)
{
	const char *shard = "items_0";

	if (cluster_is_citus()) {
		cluster_run(locker, "SET citus.override_table_visibility = off;"
		                    "SET citus.enable_manual_changes_to_shards = on");
		shard = cluster_value(locker, "SELECT relname FROM pg_class WHERE relkind = 'r'"
		                              " AND relname ~ '^items_[0-9]+$' LIMIT 1");
	}
	cluster_run(locker, "BEGIN");
	cluster_run(locker, text("LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", shard));
}

Test(transaction, a_time_out_fails_the_block)
{
	struct instance *instance = instance_shared();
	PGconn *conn = instance_connect(instance, NULL);
	PGconn *locker = cluster_connect(shard_node(), NULL);
	PGresult *result;

	lock_a_shard(locker);
	for (int extended = 0; extended < 2; extended++) {
		cluster_run(conn, "BEGIN; SET LOCAL statement_timeout = 300");
		result = extended ? PQexecParams(conn, TOP, 0, NULL, NULL, NULL, NULL, 0)
		                  : PQexec(conn, TOP);
		cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "57014");
		cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY),
		                 "canceling statement due to statement timeout");
		PQclear(result);
		cr_assert_eq(PQtransactionStatus(conn), PQTRANS_INERROR);
		result = PQexec(conn, TOP);
		cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "25P02");
		PQclear(result);
		cluster_run(conn, "ROLLBACK");
	}
	cluster_run(locker, "ROLLBACK");
	cluster_run(conn, TOP);
	PQfinish(locker);
	PQfinish(conn);
}

/* It holds for the whole statement, not for each try. */
Test(transaction, statement_timeout_is_not_started_twice)
{
	struct instance *instance = instance_shared();
	PGconn *conn = instance_connect(instance, "options='-c statement_timeout=1s'");
	PGconn *locker = cluster_connect(shard_node(), NULL);
	uint64_t began, took;
	PGresult *result;

	lock_a_shard(locker);
	began = loop_clock_us();
	result = PQexec(conn, TOP);
	took = (loop_clock_us() - began) / 1000;
	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "57014");
	cr_assert(took >= 900 && took < 1700, "%d ms", (int)took);
	PQclear(result);
	cluster_run(locker, "ROLLBACK");
	cr_assert_str_eq(cluster_value(conn, "SELECT 1"), "1");
	PQfinish(locker);
	PQfinish(conn);
}

Test(transaction, a_cancel_fails_the_block)
{
	struct instance *instance = instance_shared();
	PGconn *conn = instance_connect(instance, NULL);
	PGconn *locker = cluster_connect(shard_node(), NULL);
	PGconn *watcher = cluster_connect(shard_node(), NULL);
	PGcancel *cancel = PQgetCancel(conn);
	PGresult *result;
	char error[256];

	lock_a_shard(locker);
	cluster_run(conn, "BEGIN");
	cr_assert(PQsendQuery(conn, TOP));
	cr_assert(cluster_await(
	    watcher, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'", "1"));
	cr_assert(PQcancel(cancel, error, sizeof(error)), "%s", error);
	result = PQgetResult(conn);
	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "57014");
	PQclear(result);
	cr_assert_null(PQgetResult(conn));
	cr_assert_eq(PQtransactionStatus(conn), PQTRANS_INERROR);
	cluster_run(conn, "ROLLBACK");
	cluster_run(locker, "ROLLBACK");
	PQfreeCancel(cancel);
	PQfinish(watcher);
	PQfinish(locker);
	PQfinish(conn);
}

/* Routed statements do not reach the coordinator, which must not think that nobody is there. */
Test(transaction, a_busy_session_is_not_idle)
{
	PGconn *conn = instance_connect(instance_shared(), NULL);
	PGconn *locker = cluster_connect(shard_node(), NULL);

	cluster_run(conn, "SET idle_in_transaction_session_timeout = '400ms'");
	cluster_run(conn, "BEGIN");
	for (int i = 0; i < 12; i++) {
		cluster_run(conn, TOP);
		usleep(80 * 1000);
	}
	/* one that takes longer is the coordinator's in the end */
	lock_a_shard(locker);
	cr_assert(PQsendQuery(conn, TOP));
	usleep(1000 * 1000);
	cluster_run(locker, "ROLLBACK");
	for (PGresult *result; (result = PQgetResult(conn)) != NULL; PQclear(result))
		cr_assert_eq(PQntuples(result), 5, "%s", PQerrorMessage(conn));
	cluster_run(conn, "COMMIT");
	PQfinish(locker);
	PQfinish(conn);
}
