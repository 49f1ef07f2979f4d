/*
 * Citus: the shard map of a real Citus cluster, and whether a check notices what
 * changes there. PGTOPK_TEST_CITUS is the conninfo of its coordinator, which needs
 * two workers; without it nothing is tested here.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/lib/back.h"
#include "t/lib/cluster.h"

#define SCHEMA "pgtopk_citus"

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	(void)set;
	cluster_up();
}

struct citus {
	struct back back;
	struct catalog *catalog;
	PGconn *conn;
};

/* False: skipped. */
static bool citus_open(struct citus *citus, const char *name, const char *sql)
{
	const char *conninfo = getenv("PGTOPK_TEST_CITUS");
	const char *options[] = {"coordinator", conninfo, NULL};

	if (!conninfo || !*conninfo) {
		printf("SKIP: citus.%s: no Citus\n", name);
		return false;
	}
	citus->conn = PQconnectdb(conninfo);
	cr_assert_eq(PQstatus(citus->conn), CONNECTION_OK, "%s", PQerrorMessage(citus->conn));
	cluster_run(citus->conn, "SET client_min_messages = error; DROP SCHEMA IF EXISTS " SCHEMA
	                         " CASCADE; CREATE SCHEMA " SCHEMA ";"
	                         "SET search_path = " SCHEMA ", public");
	cluster_run(citus->conn, sql);
	back_open(&citus->back, options);
	citus->catalog = catalogs_get(citus->back.catalogs, PQdb(citus->conn));
	cr_assert_null(back_load(&citus->back, citus->catalog));
	cr_assert_eq(shardmap_provider(catalog_map(citus->catalog)), SHARDMAP_CITUS);
	return true;
}

static void citus_close(struct citus *citus)
{
	back_close(&citus->back);
	cluster_run(citus->conn, "DROP SCHEMA " SCHEMA " CASCADE");
	PQfinish(citus->conn);
}

static const struct shardmap_table *table_of(const struct citus *citus, const char *name)
{
	return back_table(citus->catalog, SCHEMA, name);
}

static void notices(struct citus *citus, const char *table, const char *sql)
{
	const char *why;

	cr_assert_null(back_check(&citus->back, citus->catalog, SCHEMA, table), "before %s", sql);
	cluster_run(citus->conn, sql);
	why = back_check(&citus->back, citus->catalog, SCHEMA, table);
	cr_assert(why, "not noticed: %s", sql);
	cr_assert_str_eq(why, "changed", "%s: %s", sql, why);
	cr_assert_null(back_load(&citus->back, citus->catalog), "%s", sql);
	cr_assert_null(back_check(&citus->back, citus->catalog, SCHEMA, table), "after %s", sql);
}

/* Every shard of the table, asked where the map says it is: how many rows in all. */
static long count_rows(struct citus *citus, const struct shardmap_table *table)
{
	long rows = 0;

	for (unsigned i = 0; i < table->nshards; i++) {
		const struct shardmap_shard *shard = &table->shards[i];
		const struct shardmap_node *node =
		    shardmap_node(catalog_map(citus->catalog), shard->node);
		struct pool *pool =
		    pools_get(citus->back.pools, node->coordinator ? NULL : node->host, node->port,
		              PQdb(citus->conn), PQuser(citus->conn));
		struct worker *worker = back_take(&citus->back, pool, NULL);

		rows += atol(back_value(
		    &citus->back, worker,
		    text("SELECT count(*) FROM \"%s\".\"%s\"", shard->schema, shard->name)));
		pool_give(pool, worker);
	}
	return rows;
}

Test(citus, kinds_of_tables)
{
	struct citus citus;
	const struct shardmap_table *table;

	if (!citus_open(
		&citus, "kinds_of_tables",
		"CREATE TABLE hashed (id bigint, e vector(3), \"Note\" text);"
		"SELECT create_distributed_table('hashed', 'id', shard_count := 6);"
		"INSERT INTO hashed SELECT i, '[1,2,3]' FROM generate_series(1, 600) i;"
		"CREATE TABLE ref (id int, e halfvec(3));"
		"SELECT create_reference_table('ref'); INSERT INTO ref VALUES (1, '[1,2,3]');"
		"CREATE TABLE single (id int, e vector(3));"
		"SELECT create_distributed_table('single', NULL, colocate_with := 'none');"
		"INSERT INTO single VALUES (1, '[1,2,3]'), (2, NULL);"
		"CREATE TABLE appended (id int, e vector(3));"
		"SELECT create_distributed_table('appended', 'id', 'append');"
		"CREATE TABLE parts (id int, d date, e vector(3)) PARTITION BY RANGE (d);"
		"CREATE TABLE parts_0 PARTITION OF parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');"
		"SELECT create_distributed_table('parts', 'id', shard_count := 2);"
		"CREATE TABLE plain (id int, e vector(3));"
		"CREATE TABLE no_vector (id int);"
		"SELECT create_distributed_table('no_vector', 'id')"))
		return;
	table = table_of(&citus, "hashed");
	cr_assert(table->routable && table->nshards == 6);
	cr_assert_str_eq(table->key, "id");
	cr_assert_eq(shardmap_column(table, "Note")->type, SHARDMAP_TYPE_BUILTIN);
	cr_assert_eq(shardmap_column(table, "e")->type, SHARDMAP_TYPE_VECTOR);
	cr_assert_eq(count_rows(&citus, table), 600);
	table = table_of(&citus, "ref");
	cr_assert(table->routable && table->nshards == 1 && !table->key);
	cr_assert_eq(count_rows(&citus, table), 1);
	table = table_of(&citus, "single");
	cr_assert(table->routable && table->nshards == 1);
	cr_assert_eq(count_rows(&citus, table), 2);
	cr_assert_not(table_of(&citus, "appended")->routable);
	cr_assert_not(table_of(&citus, "parts")->routable);
	cr_assert_not(table_of(&citus, "parts_0")->routable);
	cr_assert_null(table_of(&citus, "plain"));
	cr_assert_null(table_of(&citus, "no_vector"));
	citus_close(&citus);
}

/* Names that have to be quoted or that shard_name() shortens. */
Test(citus, awkward_names)
{
	struct citus citus;
	const struct shardmap_table *table;

	if (!citus_open(
		&citus, "awkward_names",
		"CREATE TABLE \"It's \"\"odd\"\".ß\" (\"I D\" int, e vector(3));"
		"SELECT create_distributed_table('\"It''s \"\"odd\"\".ß\"', 'I D', shard_count := 2);"
		"INSERT INTO \"It's \"\"odd\"\".ß\" SELECT i, NULL FROM generate_series(1, 20) i;"
		"CREATE TABLE a_name_that_is_so_long_that_no_shard_number_fits_behind_it_any (id int, e vector);"
		"SELECT create_distributed_table('a_name_that_is_so_long_that_no_shard_number_fits_behind_it_any', 'id', shard_count := 2)"))
		return;
	table = table_of(&citus, "It's \"odd\".ß");
	cr_assert(table && table->routable);
	cr_assert_str_eq(table->key, "I D");
	cr_assert_not_null(strstr(table->shards[0].name, "It's \"odd\".ß_"), "%s",
	                   table->shards[0].name);
	table = table_of(&citus, "a_name_that_is_so_long_that_no_shard_number_fits_behind_it_any");
	cr_assert_eq(count_rows(&citus, table), 0);
	citus_close(&citus);
}

/* A shard is on two nodes: one of them is asked, and not always the same. */
Test(citus, trap_07_replicated_placements)
{
	struct citus citus;
	const struct shardmap_table *table;
	bool seen[64] = {false};
	unsigned nodes = 0;

	if (!citus_open(
		&citus, "trap_07_replicated_placements",
		"SET citus.shard_replication_factor = 2; CREATE TABLE twice (id int, e vector(3));"
		"SELECT create_distributed_table('twice', 'id', shard_count := 8, colocate_with := 'none');"
		"RESET citus.shard_replication_factor;"
		"INSERT INTO twice SELECT i, NULL FROM generate_series(1, 100) i"))
		return;
	table = table_of(&citus, "twice");
	cr_assert(table->routable);
	cr_assert_eq(table->nshards, 8);
	cr_assert_eq(count_rows(&citus, table), 100);
	for (unsigned i = 0; i < table->nshards; i++) {
		nodes += !seen[table->shards[i].node];
		seen[table->shards[i].node] = true;
	}
	cr_assert_geq(nodes, 2);
	citus_close(&citus);
}

/* A shard's rows are asked for once: of one node, active, primary and of this cluster. */
Test(citus, trap_07_placements_and_nodes_that_do_not_count)
{
	struct citus citus;
	const char *group, *shard;

	if (!citus_open(
		&citus, "trap_07_placements_and_nodes_that_do_not_count",
		"CREATE TABLE t (id int, e vector(3));"
		"SELECT create_distributed_table('t', 'id', shard_count := 4, colocate_with := 'none');"
		"INSERT INTO t SELECT i, NULL FROM generate_series(1, 100) i"))
		return;
	group = cluster_value(citus.conn, "SELECT groupid FROM pg_dist_node WHERE groupid > 0"
	                                  " ORDER BY groupid LIMIT 1");
	shard = cluster_value(citus.conn,
	                      text("SELECT shardid FROM pg_dist_shard JOIN pg_dist_placement USING"
	                           " (shardid) WHERE logicalrelid = 't'::regclass AND groupid = %s"
	                           " LIMIT 1",
	                           group));
	/* nobody listens at these; one placement was given up, others are on nodes that do not count */
	cluster_run(
	    citus.conn,
	    text(
		"INSERT INTO pg_dist_node (nodeid, groupid, nodename, nodeport, isactive, noderole,"
		" nodecluster) VALUES (9001, %s, '127.0.0.1', 1, true, 'secondary', 'default'),"
		" (9002, %s, '127.0.0.1', 2, true, 'secondary', 'another'),"
		" (9003, 9003, '127.0.0.1', 3, false, 'primary', 'default'),"
		" (9004, 9004, '127.0.0.1', 4, true, 'primary', 'default');"
		"INSERT INTO pg_dist_placement SELECT 900001, %s, 3, 0, 9004;"
		"INSERT INTO pg_dist_placement SELECT 900001 + row_number() OVER (), shardid, 1, 0,"
		" 9003 FROM pg_dist_shard WHERE logicalrelid = 't'::regclass",
		group, group, shard));
	cr_expect_null(back_load(&citus.back, citus.catalog));
	cr_expect(table_of(&citus, "t")->routable);
	cr_expect_eq(table_of(&citus, "t")->nshards, 4);
	for (unsigned i = 0; i < 4; i++) {
		unsigned node = table_of(&citus, "t")->shards[i].node;

		cr_expect_gt(shardmap_node(catalog_map(citus.catalog), node)->port, 4);
	}
	cr_expect_eq(count_rows(&citus, table_of(&citus, "t")), 100);
	cluster_run(citus.conn, "DELETE FROM pg_dist_placement WHERE groupid > 9000;"
	                        "DELETE FROM pg_dist_node WHERE nodeid > 9000");
	citus_close(&citus);
}

/* The coordinator is registered by a name that means another machine elsewhere. */
Test(citus, trap_07_a_coordinator_registered_as_localhost)
{
	struct citus citus;
	char *host;
	const struct shardmap_table *table;
	unsigned own = 0;

	if (!citus_open(&citus, "trap_07_a_coordinator_registered_as_localhost", "SELECT 1"))
		return;
	host = strdup(
	    cluster_value(citus.conn, "SELECT nodename FROM pg_dist_node WHERE groupid = 0"));
	cr_assert_not_null(host);
	cluster_run(
	    citus.conn,
	    "SELECT citus_set_coordinator_host('localhost', current_setting('port')::int);"
	    "SELECT citus_set_node_property('localhost', current_setting('port')::int,"
	    " 'shouldhaveshards', true);"
	    "CREATE TABLE t (id int, e vector(3));"
	    "SELECT create_distributed_table('t', 'id', shard_count := 6, colocate_with := 'none');"
	    "INSERT INTO t SELECT i, NULL FROM generate_series(1, 100) i;"
	    "CREATE TABLE ref (id int, e vector(3)); SELECT create_reference_table('ref');"
	    "INSERT INTO ref VALUES (1, NULL), (2, NULL)");
	cr_expect_null(back_load(&citus.back, citus.catalog));
	table = table_of(&citus, "t");
	cr_expect(table->routable);
	cr_expect_eq(table->nshards, 6);
	for (unsigned i = 0; i < table->nshards; i++)
		own +=
		    shardmap_node(catalog_map(citus.catalog), table->shards[i].node)->coordinator;
	cr_expect_eq(own, 2, "%u shards of the coordinator's", own);
	cr_expect_eq(count_rows(&citus, table), 100);
	cr_expect_eq(count_rows(&citus, table_of(&citus, "ref")), 2);
	cluster_run(citus.conn,
	            text("DROP TABLE t, ref;"
	                 "SELECT citus_set_node_property('localhost', current_setting('port')::int,"
	                 " 'shouldhaveshards', false);"
	                 "SELECT citus_set_coordinator_host('%s', current_setting('port')::int)",
	                 host));
	free(host);
	citus_close(&citus);
}

Test(citus, changes)
{
	struct citus citus;
	const char *move;

	if (!citus_open(
		&citus, "changes",
		"CREATE TABLE t (id int, e vector(3));"
		"SELECT create_distributed_table('t', 'id', shard_count := 4, colocate_with := 'none');"
		"INSERT INTO t SELECT i, NULL FROM generate_series(1, 100) i;"
		"CREATE TABLE other (id int, e vector(3));"
		"SELECT create_distributed_table('other', 'id', shard_count := 2, colocate_with := 'none')"))
		return;
	move = cluster_value(
	    citus.conn,
	    "SELECT format('SELECT citus_move_shard_placement(%s, %L, %s, %L, %s,"
	    " ''block_writes'')', s.shardid, n.nodename, n.nodeport, o.nodename, o.nodeport)"
	    " FROM pg_dist_shard s JOIN pg_dist_placement p USING (shardid)"
	    " JOIN pg_dist_node n ON n.groupid = p.groupid"
	    " JOIN pg_dist_node o ON o.groupid <> p.groupid AND o.groupid <> 0"
	    " WHERE s.logicalrelid = 't'::regclass ORDER BY 1 LIMIT 1");
	notices(&citus, "t", move);
	cr_assert_eq(count_rows(&citus, table_of(&citus, "t")), 100);
	notices(
	    &citus, "t",
	    cluster_value(citus.conn,
	                  "SELECT format('SELECT citus_split_shard_by_split_points(%s, ARRAY[%L],"
	                  " ARRAY[%s, %s], ''block_writes'')', s.shardid,"
	                  " (s.shardminvalue::int8 + 1000)::text, n.nodeid, n.nodeid)"
	                  " FROM pg_dist_shard s JOIN pg_dist_placement p USING (shardid)"
	                  " JOIN pg_dist_node n ON n.groupid = p.groupid"
	                  " WHERE s.logicalrelid = 't'::regclass ORDER BY s.shardid LIMIT 1"));
	cr_assert_eq(table_of(&citus, "t")->nshards, 5);
	cr_assert(table_of(&citus, "t")->routable);
	cr_assert_eq(count_rows(&citus, table_of(&citus, "t")), 100);
	notices(&citus, "t", "ALTER TABLE t ADD COLUMN more int");
	notices(&citus, "t", "REVOKE SELECT ON t FROM PUBLIC; GRANT SELECT ON t TO PUBLIC");
	notices(&citus, "t", "ALTER TABLE t ENABLE ROW LEVEL SECURITY");
	notices(&citus, "t", "SELECT alter_distributed_table('t', shard_count := 3)");
	cr_assert_eq(table_of(&citus, "t")->nshards, 3);
	cluster_run(citus.conn, "ALTER TABLE other ADD COLUMN more int; ANALYZE t");
	cr_assert_null(back_check(&citus.back, citus.catalog, SCHEMA, "t"));
	cluster_run(citus.conn, "DROP TABLE t");
	cr_assert_not_null(back_check(&citus.back, citus.catalog, SCHEMA, "t"));
	citus_close(&citus);
}
