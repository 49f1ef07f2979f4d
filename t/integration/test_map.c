/*
 * Map: the shard map changes under way: partitions come, go and move, servers change.
 * No answer may miss rows or have rows of what is gone, from the first query on.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "t/lib/oracle.h"
#include "t/lib/suite.h"

#define COLUMNS "id int, e vector(3)"
#define ALL "SELECT id FROM moving ORDER BY e <-> '[1,2,3]', id LIMIT 1000"
#define SHARDS 4
#define PER_SHARD 100

/* Each shard holds PER_SHARD rows, numbered from shard * PER_SHARD. */
static void make_moving(void)
{
	cluster_shard("moving", COLUMNS, "RANGE (id)", SHARDS, PER_SHARD);
	cluster_run_on(CLUSTER_COORDINATOR,
	               "INSERT INTO moving SELECT i, ARRAY[i % 7, i % 11, i]::vector "
	               "FROM generate_series(0, 399) i");
}

/* The query's rows are the coordinator's, and the shards gave them. */
static void same_and_routed(struct oracle *oracle, const char *sql)
{
	PGresult *got, *wanted = PQexec(oracle->direct, sql);
	const char *difference;

	instance_skip_log(oracle->instance);
	got = PQexec(oracle->proxy, sql);
	difference = oracle_difference(got, wanted);
	cr_assert(!difference, "%s: %s", sql, difference);
	instance_expect(oracle->instance, "routed", sql);
	PQclear(got);
	PQclear(wanted);
}

Test(map, trap_06_detach_and_attach)
{
	struct oracle oracle;

	make_moving();
	oracle_open_fresh(&oracle);
	for (int i = 0; i < 5; i++) {
		same_and_routed(&oracle, ALL);
		cluster_run(oracle.direct, "ALTER TABLE moving DETACH PARTITION moving_3");
		same_and_routed(&oracle, ALL);
		cr_assert_str_eq(cluster_value(oracle.proxy, "SELECT count(*) FROM moving"), "300");
		cluster_run(oracle.direct, "ALTER TABLE moving ATTACH PARTITION moving_3 "
		                           "FOR VALUES FROM (300) TO (400)");
	}
	oracle_close(&oracle);
}

Test(map, trap_06_a_new_partition)
{
	struct oracle oracle;

	make_moving();
	oracle_open_fresh(&oracle);
	same_and_routed(&oracle, ALL);
	cluster_run_on(CLUSTER_WORKER1,
	               "DROP TABLE IF EXISTS moving_4; CREATE TABLE moving_4 (" COLUMNS ");"
	               "INSERT INTO moving_4 VALUES (400, '[1,2,3]'), (401, NULL)");
	cluster_run(
	    oracle.direct,
	    "CREATE FOREIGN TABLE moving_4 PARTITION OF moving FOR VALUES FROM (400) TO (500) "
	    "SERVER worker1 OPTIONS (schema_name 'public', table_name 'moving_4')");
	same_and_routed(&oracle, ALL);
	cr_assert_str_eq(cluster_value(oracle.proxy, ALL), "400");
	cluster_run(oracle.direct, "DROP FOREIGN TABLE moving_4");
	same_and_routed(&oracle, ALL);
	oracle_close(&oracle);
}

/* ---- moving while queries run ---- */

#define CLIENTS 4

static void ask_all(PGconn *conns[CLIENTS])
{
	for (int i = 0; i < CLIENTS; i++)
		cr_assert(PQsendQuery(conns[i], ALL));
}

static void collect_all(PGconn *conns[CLIENTS])
{
	for (int i = 0; i < CLIENTS; i++) {
		PGresult *result = PQgetResult(conns[i]);

		cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s",
		             PQerrorMessage(conns[i]));
		cr_assert_eq(PQntuples(result), SHARDS * PER_SHARD, "%d rows", PQntuples(result));
		PQclear(result);
		cr_assert_null(PQgetResult(conns[i]));
	}
}

/* Moves shard 0 to a worker, under a new name, queries being under way at each step. */
static void move_shard(PGconn *direct, PGconn *conns[CLIENTS], int generation)
{
	enum cluster_node from = generation % 2 ? CLUSTER_WORKER2 : CLUSTER_WORKER1;
	enum cluster_node to = generation % 2 ? CLUSTER_WORKER1 : CLUSTER_WORKER2;
	const char *old_name = generation ? text("moving_0_%d", generation) : "moving_0";

	ask_all(conns);
	cluster_run_on(
	    to, text("DROP TABLE IF EXISTS moving_0_%d; CREATE TABLE moving_0_%d (" COLUMNS ");"
	             "INSERT INTO moving_0_%d SELECT i, ARRAY[i %% 7, i %% 11, i]::vector "
	             "FROM generate_series(0, 99) i",
	             generation + 1, generation + 1, generation + 1));
	collect_all(conns);
	ask_all(conns);
	cluster_run(direct,
	            text("BEGIN; DROP FOREIGN TABLE moving_0; CREATE FOREIGN TABLE moving_0 "
	                 "PARTITION OF moving FOR VALUES FROM (0) TO (100) SERVER worker%d "
	                 "OPTIONS (schema_name 'public', table_name 'moving_0_%d'); COMMIT",
	                 to, generation + 1));
	collect_all(conns);
	ask_all(conns);
	cluster_run_on(from, text("TRUNCATE %s", old_name)); /* who still reads it misses rows */
	collect_all(conns);
	cluster_run_on(from, text("DROP TABLE %s", old_name));
	ask_all(conns);
	collect_all(conns);
}

Test(map, trap_06_a_shard_moves)
{
	struct oracle oracle;
	PGconn *conns[CLIENTS];

	make_moving();
	oracle_open_fresh(&oracle);
	for (int i = 0; i < CLIENTS; i++)
		conns[i] = instance_connect(oracle.instance, NULL);
	for (int generation = 0; generation < 6; generation++)
		move_shard(oracle.direct, conns, generation);
	same_and_routed(&oracle, ALL);
	for (int i = 0; i < CLIENTS; i++)
		PQfinish(conns[i]);
	oracle_close(&oracle);
}

Test(map, trap_06_options_change)
{
	struct oracle oracle;

	make_moving();
	oracle_open_fresh(&oracle);
	same_and_routed(&oracle, ALL);
	cluster_run_on(CLUSTER_WORKER1,
	               "DROP TABLE IF EXISTS moving_x; CREATE TABLE moving_x (" COLUMNS ");"
	               "INSERT INTO moving_x VALUES (77, '[1,2,3]')");
	cluster_run(oracle.direct,
	            "ALTER FOREIGN TABLE moving_0 OPTIONS (SET table_name 'moving_x')");
	same_and_routed(&oracle, ALL);
	cr_assert_str_eq(cluster_value(oracle.proxy, ALL), "77");
	cluster_run(oracle.direct,
	            "ALTER FOREIGN TABLE moving_0 OPTIONS (SET table_name 'moving_0')");
	same_and_routed(&oracle, ALL);
	/* the server itself now is another one */
	cluster_run_on(CLUSTER_WORKER2,
	               "DROP TABLE IF EXISTS moving_0; CREATE TABLE moving_0 (" COLUMNS ");"
	               "INSERT INTO moving_0 VALUES (78, '[1,2,3]')");
	cluster_run(
	    oracle.direct,
	    text("DROP SERVER IF EXISTS elsewhere CASCADE; CREATE SERVER elsewhere "
	         "FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '%d', dbname "
	         "'postgres'); CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS "
	         "(user 'postgres', password_required 'false'); DROP FOREIGN TABLE moving_0; "
	         "CREATE FOREIGN TABLE moving_0 PARTITION OF moving FOR VALUES FROM (0) TO (100) "
	         "SERVER elsewhere",
	         cluster_port(CLUSTER_WORKER1)));
	same_and_routed(&oracle, ALL);
	cluster_run(oracle.direct, text("ALTER SERVER elsewhere OPTIONS (SET port '%d')",
	                                cluster_port(CLUSTER_WORKER2)));
	same_and_routed(&oracle, ALL);
	cr_assert_str_eq(cluster_value(oracle.proxy, ALL), "78");
	cluster_run(oracle.direct, "DROP SERVER elsewhere CASCADE");
	cluster_run_on(CLUSTER_WORKER2, "DROP TABLE moving_0");
	oracle_close(&oracle);
}

/* Columns come, go and change their name. */
Test(map, trap_11_columns_change)
{
	struct oracle oracle;
	const char *sql = "SELECT * FROM moving ORDER BY e <-> '[1,2,3]', id LIMIT 7";

	make_moving();
	oracle_open_fresh(&oracle);
	same_and_routed(&oracle, sql);
	cluster_run_shards("moving", SHARDS, "ALTER TABLE @ ADD COLUMN extra text DEFAULT 'x'");
	cluster_run(oracle.direct, "ALTER TABLE moving ADD COLUMN extra text");
	same_and_routed(&oracle, sql);
	cluster_run(oracle.direct, "ALTER TABLE moving DROP COLUMN extra");
	same_and_routed(&oracle, sql);
	cluster_run_shards("moving", SHARDS, "ALTER TABLE @ RENAME COLUMN id TO number");
	for (int i = 0; i < SHARDS; i++)
		cluster_run(oracle.direct,
		            text("ALTER FOREIGN TABLE moving_%d ALTER COLUMN id OPTIONS "
		                 "(column_name 'number')",
		                 i));
	{
		PGresult *got = PQexec(oracle.proxy, sql), *wanted = PQexec(oracle.direct, sql);
		const char *difference = oracle_difference(got, wanted);

		cr_assert(!difference, "%s", difference);
		PQclear(got);
		PQclear(wanted);
	}
	oracle_close(&oracle);
}

/* ---- kinds of partitioned tables ---- */

Test(map, trap_08_names)
{
	struct oracle oracle;

	oracle_open_fresh(&oracle);
	cluster_run_everywhere("CREATE SCHEMA IF NOT EXISTS \"Odd one\"");
	cluster_run_everywhere("DROP TABLE IF EXISTS \"Odd one\".\"Select\" CASCADE");
	for (int i = 0; i < 2; i++)
		cluster_run_on(
		    cluster_shard_node((unsigned)i),
		    text(
			"DROP TABLE IF EXISTS \"Odd one\".\"p \"\"%d\"\"\"; CREATE TABLE "
			"\"Odd one\".\"p \"\"%d\"\"\" (\"Id\" int, \"or\"\"der\" vector(2)); INSERT INTO "
			"\"Odd one\".\"p \"\"%d\"\"\" SELECT i, ARRAY[i, 1]::vector FROM "
			"generate_series(%d, %d) i",
			i, i, i, i * 10, i * 10 + 9));
	cluster_run(oracle.direct,
	            "CREATE TABLE \"Odd one\".\"Select\" (\"Id\" int, \"or\"\"der\" vector(2)) "
	            "PARTITION BY RANGE (\"Id\")");
	for (int i = 0; i < 2; i++)
		cluster_run(
		    oracle.direct,
		    text(
			"CREATE FOREIGN TABLE \"Odd one\".\"part %d\" PARTITION OF \"Odd one\".\"Select\" "
			"FOR VALUES FROM (%d) TO (%d) SERVER worker%d OPTIONS (schema_name 'Odd one', "
			"table_name 'p \"%d\"')",
			i, i * 10, i * 10 + 10, cluster_shard_node((unsigned)i), i));
	same_and_routed(
	    &oracle,
	    "SELECT * FROM \"Odd one\".\"Select\" ORDER BY \"or\"\"der\" <-> '[8.2,1]' LIMIT 9");
	same_and_routed(&oracle, "SELECT \"Select\".\"Id\" FROM \"Odd one\".\"Select\" ORDER BY "
	                         "\"Select\".\"or\"\"der\" <-> '[8.2,1]' LIMIT 9");
	oracle_close(&oracle);
}

Test(map, local_and_nested_leaves)
{
	struct oracle oracle;

	make_moving();
	oracle_open_fresh(&oracle);
	cluster_run(
	    oracle.direct,
	    "CREATE TABLE moving_local PARTITION OF moving FOR VALUES FROM (400) TO (500);"
	    "CREATE TABLE moving_nested PARTITION OF moving FOR VALUES FROM (500) TO (700) PARTITION BY RANGE (id);"
	    "CREATE TABLE moving_nested_1 PARTITION OF moving_nested FOR VALUES FROM (500) TO (600);"
	    "CREATE TABLE moving_default PARTITION OF moving DEFAULT;"
	    "INSERT INTO moving SELECT i, ARRAY[i % 7, i % 11, i]::vector FROM generate_series(400, 599) i;"
	    "INSERT INTO moving VALUES (7777, '[1,2,3]')");
	same_and_routed(&oracle, ALL);
	cr_assert_str_eq(cluster_value(oracle.proxy, ALL), "7777");
	oracle_close(&oracle);
}

/* A leaf of which nobody knows how it is read: the coordinator answers. */
Test(map, other_leaves_are_refused)
{
	struct oracle oracle;

	make_moving();
	oracle_open_fresh(&oracle);
	cluster_run(oracle.direct,
	            "CREATE TABLE moving_local PARTITION OF moving FOR VALUES FROM (400) TO (500);"
	            "CREATE VIEW moving_view AS SELECT * FROM moving");
	oracle_set(&oracle, "SET enable_partition_pruning = on");
	oracle.no_rows = true;
	oracle_check(&oracle, "SELECT id FROM moving_view ORDER BY e <-> '[1,2,3]', id LIMIT 5",
	             "not_sharded");
	oracle_check(&oracle, "SELECT id FROM moving_0 ORDER BY e <-> '[1,2,3]', id LIMIT 5",
	             "not_sharded");
	oracle_check(&oracle, "SELECT id FROM ONLY moving ORDER BY e <-> '[1,2,3]', id LIMIT 5",
	             "from_clause");
	cluster_run(oracle.direct, "DROP VIEW moving_view");
	oracle_close(&oracle);
}

/* The coordinator reads it once where a partition's bounds exclude the other. */
Test(map, trap_07_one_table_attached_twice)
{
	struct oracle oracle;
	const char *sql = "SELECT id FROM moving WHERE id = 3 ORDER BY e <-> '[1,2,3]', id LIMIT 9";

	make_moving();
	oracle_open_fresh(&oracle);
	same_and_routed(&oracle, ALL);
	cluster_run(oracle.direct,
	            "ALTER FOREIGN TABLE moving_2 OPTIONS (SET table_name 'moving_0')");
	instance_skip_log(oracle.instance);
	cr_assert_str_eq(cluster_value(oracle.proxy, text("SELECT count(*) FROM (%s) x", sql)),
	                 "1");
	instance_skip_log(oracle.instance);
	cr_assert_str_eq(cluster_value(oracle.proxy, sql), "3");
	instance_expect(oracle.instance, "table_kind", sql);
	cluster_run(oracle.direct,
	            "ALTER FOREIGN TABLE moving_2 OPTIONS (SET table_name 'moving_2')");
	oracle_close(&oracle);
}

/* The names over there do not matter to the coordinator: it may be another column's. */
Test(map, columns_called_otherwise_are_refused)
{
	struct oracle oracle;

	make_moving();
	oracle_open_fresh(&oracle);
	same_and_routed(&oracle, ALL);
	cluster_run_on(CLUSTER_WORKER1, "ALTER TABLE moving_0 RENAME e TO f");
	cluster_run(oracle.direct,
	            "ALTER FOREIGN TABLE moving_0 ALTER e OPTIONS (ADD column_name 'f')");
	instance_skip_log(oracle.instance);
	cr_assert_str_eq(cluster_value(oracle.proxy, ALL), cluster_value(oracle.direct, ALL));
	instance_expect(oracle.instance, "table_kind", ALL);
	oracle_close(&oracle);
}

Test(map, trap_10_temporary_table_shadows_the_name)
{
	struct oracle oracle;

	make_moving();
	oracle_open_fresh(&oracle);
	same_and_routed(&oracle, ALL);
	cluster_run(oracle.proxy, "CREATE TEMP TABLE moving (" COLUMNS
	                          "); INSERT INTO moving VALUES (5, '[1,1,1]')");
	instance_skip_log(oracle.instance);
	cr_assert_str_eq(cluster_value(oracle.proxy, ALL), "5");
	instance_expect(oracle.instance, "not_sharded", ALL);
	same_and_routed(&oracle,
	                "SELECT id FROM public.moving ORDER BY e <-> '[1,2,3]', id LIMIT 10");
	cluster_run(oracle.proxy, "DROP TABLE pg_temp.moving");
	same_and_routed(&oracle, ALL);
	oracle_close(&oracle);
}

/* A table that was made after the map was read is known some seconds later. */
Test(map, trap_06_a_new_table)
{
	struct oracle oracle;
	bool routed = false;

	oracle_open_fresh(&oracle);
	oracle_routed(&oracle, "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 10");
	make_moving();
	for (int i = 0; i < 50 && oracle.instance->pid && !routed; i++) {
		instance_skip_log(oracle.instance);
		cluster_run(oracle.proxy, ALL);
		routed = instance_count(oracle.instance, " event=routed ") == 1;
		usleep(100 * 1000);
	}
	same_and_routed(&oracle, ALL);
	oracle_close(&oracle);
}

/* ---- a worker is away ---- */

Test(map, trap_12_worker_is_down)
{
	struct oracle oracle;
	PGresult *got, *wanted;
	const char *difference;
	char *log;

	oracle_open(&oracle);
	oracle_routed(&oracle, "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 10");
	cluster_stop_worker(CLUSTER_WORKER2);
	for (int i = 0; i < 3; i++) {
		const char *sql = "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 10";

		got = PQexec(oracle.proxy, sql);
		PQreset(oracle.direct); /* its connection to the worker is broken as well */
		wanted = PQexec(oracle.direct, sql);
		cr_assert_eq(PQresultStatus(got), PGRES_FATAL_ERROR);
		cr_assert_eq(PQresultStatus(wanted), PGRES_FATAL_ERROR);
		difference = i == 0 ? NULL : oracle_difference(got, wanted);
		cr_assert(!difference, "%s", difference);
		PQclear(got);
		PQclear(wanted);
	}
	cluster_start_worker(CLUSTER_WORKER2);
	oracle_close(&oracle);
	oracle_open(&oracle);
	for (int i = 0; i < 100; i++) {
		cluster_run(oracle.proxy,
		            "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 10");
		log = instance_read_log(oracle.instance);
		bool routed = strstr(log, " event=routed ") != NULL;

		free(log);
		if (routed)
			break;
		usleep(100 * 1000);
	}
	oracle_routed(&oracle, "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 10");
	oracle_close(&oracle);
}

/* Connections in the pool are dead, but the worker is back: no client may notice. */
Test(map, trap_12_worker_was_restarted)
{
	struct oracle oracle;
	const char *sql = "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 10";

	oracle_open(&oracle);
	oracle_routed(&oracle, sql);
	cluster_run(oracle.direct, sql);
	cluster_run_on(CLUSTER_WORKER1,
	               "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
	               "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
	usleep(100 * 1000);
	instance_skip_log(oracle.instance);
	cr_assert_str_eq(cluster_value(oracle.proxy, sql), cluster_value(oracle.plain, sql));
	oracle_routed(&oracle, sql);
	oracle_close(&oracle);
}
