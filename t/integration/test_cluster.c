/*
 * Cluster: the shard maps that are read from a real coordinator, and whether a
 * check notices what changes there: native partitioning here, Citus in
 * test_citus.c.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdio.h>
#include <string.h>

#include "t/lib/back.h"
#include "t/lib/cluster.h"

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	(void)set;
	cluster_up();
}

/* A database of its own on the coordinator, so that no other test's tables are in the map. */
struct maps {
	struct back back;
	struct catalog *catalog;
	PGconn *conn;
};

static void maps_open(struct maps *maps, const char *name, const char *schema_sql)
{
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, NULL);

	cluster_run(conn, text("DROP DATABASE IF EXISTS %s", name));
	cluster_run(conn, text("CREATE DATABASE %s", name));
	PQfinish(conn);
	maps->conn = cluster_connect(CLUSTER_COORDINATOR, text("dbname=%s", name));
	cluster_run(maps->conn, "SET client_min_messages = warning; CREATE EXTENSION vector;"
	                        "CREATE EXTENSION postgres_fdw");
	for (int i = 1; i <= CLUSTER_WORKERS; i++)
		cluster_run(maps->conn,
		            text("CREATE SERVER w%d FOREIGN DATA WRAPPER postgres_fdw OPTIONS"
		                 " (host '127.0.0.1', port '%d', dbname 'postgres')",
		                 i, cluster_port((enum cluster_node)i)));
	cluster_run(maps->conn, schema_sql);
	back_open(&maps->back, NULL);
	maps->catalog = catalogs_get(maps->back.catalogs, name);
	cr_assert_null(back_load(&maps->back, maps->catalog));
}

static void maps_close(struct maps *maps, const char *name)
{
	PGconn *conn;

	back_close(&maps->back);
	PQfinish(maps->conn);
	conn = cluster_connect(CLUSTER_COORDINATOR, NULL);
	cluster_run(conn, text("DROP DATABASE %s WITH (FORCE)", name));
	PQfinish(conn);
}

/* "schema.name@port schema.name@coordinator", by name. */
static const char *shards_of(const struct maps *maps, const struct shardmap_table *table)
{
	const char *all = "";

	for (unsigned i = 0; i < table->nshards; i++) {
		const struct shardmap_shard *shard = &table->shards[i];
		const struct shardmap_node *node =
		    shardmap_node(catalog_map(maps->catalog), shard->node);
		int worker = node->port - cluster_port(CLUSTER_COORDINATOR);

		all = node->coordinator
		          ? text("%s%s%s.%s@c", all, *all ? " " : "", shard->schema, shard->name)
		          : text("%s%s%s.%s@w%d", all, *all ? " " : "", shard->schema, shard->name,
		                 worker);
	}
	return all;
}

static const char *columns_of(const struct shardmap_table *table)
{
	static const char types[] = "obBvhs"; /* by enum shardmap_type */
	const char *all = "";

	for (unsigned i = 0; i < table->ncolumns; i++)
		all = text("%s%s%s:%c", all, *all ? " " : "", table->columns[i].name,
		           types[table->columns[i].type]);
	return all;
}

static const struct shardmap_table *table_of(const struct maps *maps, const char *name)
{
	return back_table(maps->catalog, "public", name);
}

/* The check must notice the change; then the map is loaded anew and holds. */
static void notices(struct maps *maps, const char *table, const char *sql)
{
	const char *why;

	cr_assert_null(back_check(&maps->back, maps->catalog, "public", table), "before %s", sql);
	cluster_run(maps->conn, sql);
	why = back_check(&maps->back, maps->catalog, "public", table);
	cr_assert(why, "not noticed: %s", sql);
	cr_assert_str_eq(why, "changed", "%s: %s", sql, why);
	cr_assert_null(back_load(&maps->back, maps->catalog), "%s", sql);
	cr_assert_null(back_check(&maps->back, maps->catalog, "public", table), "after %s", sql);
}

static const char leaves_sql[] =
    "CREATE TABLE t (id bigint, label text, gone int, e vector(3)) PARTITION BY HASH (id);"
    "ALTER TABLE t DROP COLUMN gone;"
    "CREATE FOREIGN TABLE t_0 PARTITION OF t FOR VALUES WITH (MODULUS 3, REMAINDER 0) SERVER w1"
    " OPTIONS (schema_name 'far', table_name 'away');"
    "CREATE FOREIGN TABLE t_1 PARTITION OF t FOR VALUES WITH (MODULUS 3, REMAINDER 1) SERVER w2;"
    "CREATE TABLE t_2 PARTITION OF t FOR VALUES WITH (MODULUS 3, REMAINDER 2);"
    "CREATE TABLE plain (id int, e vector(3));"
    "CREATE TABLE no_vector (id int) PARTITION BY HASH (id);";

Test(partitions, leaves)
{
	struct maps maps;
	const struct shardmap_table *t;

	maps_open(&maps, "map_leaves", leaves_sql);
	t = table_of(&maps, "t");
	cr_assert(t && t->routable);
	cr_assert_str_eq(shards_of(&maps, t), "far.away@w1 public.t_1@w2 public.t_2@c");
	cr_assert_str_eq(columns_of(t), "id:b label:b e:v");
	cr_assert_eq(shardmap_column(t, "e")->attnum, 4);
	cr_assert_str_eq(t->key, "id");
	cr_assert_null(table_of(&maps, "plain"));
	cr_assert_null(table_of(&maps, "no_vector"));
	cr_assert_str_eq(shardmap_vector_schema(catalog_map(maps.catalog)), "public");
	cr_assert_eq(shardmap_provider(catalog_map(maps.catalog)), SHARDMAP_PARTITIONS);
	cr_assert_str_eq(text("%lld", (long long)t->shards[2].id),
	                 cluster_value(maps.conn, "SELECT 't_2'::regclass::oid"));
	maps_close(&maps, "map_leaves");
}

Test(partitions, nested)
{
	struct maps maps;

	maps_open(
	    &maps, "map_nested",
	    "CREATE TABLE t (id int, day date, e halfvec(3)) PARTITION BY LIST (day);"
	    "CREATE TABLE t_a PARTITION OF t FOR VALUES IN ('2024-01-01') PARTITION BY HASH (id);"
	    "CREATE FOREIGN TABLE t_a0 PARTITION OF t_a FOR VALUES WITH (MODULUS 2, REMAINDER 0)"
	    " SERVER w1;"
	    "CREATE FOREIGN TABLE t_a1 PARTITION OF t_a FOR VALUES WITH (MODULUS 2, REMAINDER 1)"
	    " SERVER w2;"
	    "CREATE FOREIGN TABLE t_b PARTITION OF t DEFAULT SERVER w2;"
	    "CREATE TABLE empty (id int, e vector(3)) PARTITION BY RANGE (id);");
	cr_assert_str_eq(shards_of(&maps, table_of(&maps, "t")),
	                 "public.t_a0@w1 public.t_a1@w2 public.t_b@w2");
	cr_assert_str_eq(shards_of(&maps, table_of(&maps, "t_a")), "public.t_a0@w1 public.t_a1@w2");
	cr_assert_str_eq(table_of(&maps, "t")->key, "day");
	cr_assert(table_of(&maps, "empty")->routable);
	cr_assert_eq(table_of(&maps, "empty")->nshards, 0);
	cr_assert_null(table_of(&maps, "empty")->key);
	/* deep in the tree */
	notices(&maps, "t", "ALTER TABLE t_a DETACH PARTITION t_a1");
	cr_assert_str_eq(shards_of(&maps, table_of(&maps, "t")), "public.t_a0@w1 public.t_b@w2");
	notices(&maps, "empty",
	        "CREATE TABLE empty_0 PARTITION OF empty FOR VALUES FROM (0) TO (10)");
	maps_close(&maps, "map_nested");
}

Test(partitions, types)
{
	struct maps maps;

	maps_open(
	    &maps, "map_types",
	    "CREATE TYPE mood AS ENUM ('good'); CREATE DOMAIN small AS int;"
	    "CREATE TYPE pair AS (a int);"
	    "CREATE TABLE t (a int[], b mood, c small, d pair, e regclass, f regtype[], g numeric,"
	    " h aclitem, i int4range, j bit(3), k varbit, l halfvec(2), m sparsevec(9), n vector,"
	    " o vector[], p jsonb, q \"char\", r mood[], s information_schema.sql_identifier,"
	    " t pg_type, u name, v oid, w timestamptz) PARTITION BY HASH (g)");
	cr_assert_str_eq(columns_of(table_of(&maps, "t")),
	                 "a:b b:o c:o d:o e:o f:o g:b h:o i:b j:B k:b l:h m:s n:v o:o p:b q:b r:o "
	                 "s:o t:o u:b v:b w:b");
	maps_close(&maps, "map_types");
}

Test(partitions, not_routable)
{
	static const char *const names[] = {"renamed", "file",      "no_database", "service",
	                                    "hosts",   "addresses", "nowhere"};
	struct maps maps;
	const char *sql =
	    "CREATE EXTENSION file_fdw; CREATE SERVER s_file FOREIGN DATA WRAPPER file_fdw;";

	sql = text(
	    "%s CREATE SERVER s_no_database FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'a');"
	    " CREATE SERVER s_service FOREIGN DATA WRAPPER postgres_fdw OPTIONS"
	    " (service 'x', host 'a', dbname 'x');"
	    " CREATE SERVER s_hosts FOREIGN DATA WRAPPER postgres_fdw OPTIONS"
	    " (host 'a,b', dbname 'x');"
	    " CREATE SERVER s_addresses FOREIGN DATA WRAPPER postgres_fdw OPTIONS"
	    " (host 'a', hostaddr '10.0.0.1', dbname 'x');"
	    " CREATE SERVER s_nowhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (dbname 'x');"
	    " CREATE SERVER s_renamed FOREIGN DATA WRAPPER postgres_fdw OPTIONS"
	    " (hostaddr '10.0.0.1', dbname 'x');",
	    sql);
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		sql = text("%s CREATE TABLE %s (id int, e vector(3)) PARTITION BY HASH (id);"
		           " CREATE FOREIGN TABLE %s_0 PARTITION OF %s FOR VALUES WITH"
		           " (MODULUS 1, REMAINDER 0) SERVER s_%s %s;",
		           sql, names[i], names[i], names[i], names[i],
		           strcmp(names[i], "file") == 0 ? "OPTIONS (filename '/dev/null')" : "");
	sql =
	    text("%s ALTER FOREIGN TABLE renamed_0 ALTER COLUMN e OPTIONS (column_name 'e')", sql);
	maps_open(&maps, "map_not_routable", sql);
	for (unsigned i = 1; i < sizeof(names) / sizeof(*names); i++)
		cr_assert_not(table_of(&maps, names[i])->routable, "%s", names[i]);
	/* its own name is no other name; hostaddr alone is the host */
	cr_assert(table_of(&maps, "renamed")->routable);
	notices(&maps, "renamed",
	        "ALTER FOREIGN TABLE renamed_0 ALTER COLUMN e OPTIONS (SET column_name 'f')");
	cr_assert_not(table_of(&maps, "renamed")->routable);
	maps_close(&maps, "map_not_routable");
}

Test(partitions, functions_and_operators)
{
	struct maps maps;
	struct shardmap *map;

	maps_open(
	    &maps, "map_functions",
	    "CREATE TABLE t (e vector(2)) PARTITION BY RANGE (e);"
	    "CREATE FUNCTION upper(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';"
	    "CREATE FUNCTION mine(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';"
	    "CREATE FUNCTION op(vector, text) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT 1.0::float8';"
	    "CREATE OPERATOR <=> (LEFTARG = vector, RIGHTARG = text, FUNCTION = op)");
	map = catalog_map(maps.catalog);
	cr_assert(shardmap_has_function(map, "lower", 1));
	cr_assert(shardmap_has_function(map, "l2_distance", 2));
	cr_assert(shardmap_has_function(map, "binary_quantize", 1));
	cr_assert(shardmap_has_function(map, "abs", 1));
	cr_assert_not(shardmap_has_function(map, "upper", 1),
	              "has an overload that is not built in");
	cr_assert_not(shardmap_has_function(map, "mine", 1));
	cr_assert_not(shardmap_has_function(map, "random", 0), "volatile");
	cr_assert_not(shardmap_has_function(map, "now", 0), "stable");
	cr_assert_not(shardmap_has_function(map, "sum", 1), "aggregate");
	cr_assert_not(shardmap_has_function(map, "unnest", 1), "returns a set");
	cr_assert(shardmap_has_function(map, "length", 1));
	cr_assert_not(shardmap_has_function(map, "length", 2), "length(bytea, name) is stable");
	cr_assert(shardmap_has_function(map, "round", 2));
	cr_assert_not(shardmap_has_function(map, "format", 3), "variadic");
	cr_assert(shardmap_has_foreign_operator(map, "<=>"));
	cr_assert_not(shardmap_has_foreign_operator(map, "<->"), "of geometry types only");
	maps_close(&maps, "map_functions");
}

Test(partitions, changes)
{
	struct maps maps;

	maps_open(&maps, "map_changes",
	          text("DROP ROLE IF EXISTS map_reader; DROP ROLE IF EXISTS map_group;"
	               "CREATE ROLE map_reader; CREATE ROLE map_group; %s"
	               "GRANT SELECT ON t TO map_reader;"
	               "CREATE FOREIGN TABLE spare (id bigint, label text, e vector(3)) SERVER w1;"
	               "CREATE TABLE r (id int, e vector(3)) PARTITION BY RANGE (id)",
	               leaves_sql));
	notices(&maps, "t", "ALTER TABLE t DETACH PARTITION t_1");
	cr_assert_str_eq(shards_of(&maps, table_of(&maps, "t")), "far.away@w1 public.t_2@c");
	notices(&maps, "t",
	        "ALTER TABLE t ATTACH PARTITION spare FOR VALUES WITH (MODULUS 3, REMAINDER 1)");
	cr_assert_str_eq(shards_of(&maps, table_of(&maps, "t")),
	                 "far.away@w1 public.spare@w1 public.t_2@c");
	notices(&maps, "t", "REVOKE SELECT ON t FROM map_reader");
	notices(&maps, "t", "GRANT SELECT (id) ON t TO map_reader");
	notices(&maps, "t", "GRANT map_group TO map_reader");
	notices(&maps, "t", "ALTER TABLE t ENABLE ROW LEVEL SECURITY");
	notices(&maps, "t", "CREATE POLICY p ON t USING (id > 0)");
	notices(&maps, "t", "ALTER SERVER w1 OPTIONS (SET port '1')");
	notices(&maps, "t", "ALTER FOREIGN TABLE t_0 OPTIONS (SET table_name 'elsewhere')");
	notices(&maps, "t", "ALTER FOREIGN TABLE t_0 ALTER COLUMN label OPTIONS (column_name 'x')");
	cr_assert_not(table_of(&maps, "t")->routable);
	notices(&maps, "t", "ALTER TABLE t RENAME COLUMN label TO tag");
	cr_assert_str_eq(columns_of(table_of(&maps, "t")), "id:b tag:b e:v");
	notices(&maps, "t", "ALTER TABLE t ADD COLUMN more int");
	notices(&maps, "t", "ALTER TABLE t DROP COLUMN more");
	notices(&maps, "t", "ALTER TABLE t OWNER TO map_group");
	notices(&maps, "r", "CREATE TABLE r_0 PARTITION OF r FOR VALUES FROM (0) TO (9)");
	/* what is none of t's business, and what goes on all the time */
	cluster_run(maps.conn, "CREATE TABLE r_1 PARTITION OF r FOR VALUES FROM (10) TO (19);"
	                       "INSERT INTO r VALUES (1, '[1,2,3]'); ANALYZE r");
	cr_assert_null(back_check(&maps.back, maps.catalog, "public", "t"));
	cluster_run(maps.conn, "VACUUM ANALYZE t_2");
	cr_assert_null(back_check(&maps.back, maps.catalog, "public", "t"));
	cluster_run(maps.conn,
	            "REVOKE map_group FROM map_reader; ALTER TABLE t OWNER TO postgres;"
	            "DROP OWNED BY map_reader; DROP ROLE map_reader; DROP ROLE map_group");
	maps_close(&maps, "map_changes");
}

Test(partitions, dropped_table)
{
	struct maps maps;

	maps_open(&maps, "map_dropped", leaves_sql);
	cr_assert_null(back_check(&maps.back, maps.catalog, "public", "t"));
	cluster_run(maps.conn, "DROP TABLE t");
	cr_assert_str_eq(back_check(&maps.back, maps.catalog, "public", "t"), "changed");
	cr_assert_null(back_load(&maps.back, maps.catalog));
	cr_assert_null(table_of(&maps, "t"));
	cluster_run(maps.conn, "DROP EXTENSION vector CASCADE");
	cr_assert_null(back_load(&maps.back, maps.catalog));
	cr_assert_null(shardmap_vector_schema(catalog_map(maps.catalog)));
	maps_close(&maps, "map_dropped");
}

/* The catalog's statements do not care what somebody put in front of pg_catalog. */
Test(partitions, hostile_search_path)
{
	struct maps maps;

	maps_open(
	    &maps, "map_hostile",
	    text("%s CREATE SCHEMA evil; CREATE VIEW evil.pg_class AS SELECT 1 AS oid;"
	         "CREATE FUNCTION evil.eq(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT false';"
	         "CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.eq);"
	         "ALTER DATABASE map_hostile SET search_path = evil, pg_catalog, public",
	         leaves_sql));
	cr_assert_str_eq(shards_of(&maps, table_of(&maps, "t")),
	                 "far.away@w1 public.t_1@w2 public.t_2@c");
	notices(&maps, "t", "ALTER TABLE public.t DETACH PARTITION public.t_2");
	maps_close(&maps, "map_hostile");
}

/* ---- waiting ---- */

struct waiting {
	struct back *back;
	struct catalog_waiter waiter;
	unsigned *order;
	unsigned told; /* in which turn */
	bool ok;
	bool done;
};

static void on_told(void *owner, bool ok, const char *why)
{
	struct waiting *waiting = owner;

	(void)why;
	waiting->ok = ok;
	waiting->done = true;
	waiting->told = ++*waiting->order;
	loop_stop(waiting->back->loop);
}

static void wait_for(struct waiting *waiting, struct maps *maps, unsigned *order)
{
	*waiting = (struct waiting){.back = &maps->back, .order = order};
	waiting->waiter.fn = on_told;
	waiting->waiter.owner = waiting;
}

static void check_t(struct waiting *waiting, struct maps *maps)
{
	catalog_check(maps->catalog, catalog_map(maps->catalog), table_of(maps, "t"),
	              &waiting->waiter);
}

Test(waiting, one_check_serves_all_that_began_before)
{
	struct maps maps;
	struct waiting waiting[4];
	unsigned order = 0;

	maps_open(&maps, "map_shared", leaves_sql);
	for (int i = 0; i < 4; i++)
		wait_for(&waiting[i], &maps, &order);
	check_t(&waiting[0], &maps); /* in flight at once */
	cluster_run(maps.conn, "ALTER TABLE t ADD COLUMN more int");
	check_t(&waiting[1], &maps);
	check_t(&waiting[2], &maps);
	check_t(&waiting[3], &maps);
	catalog_cancel(&waiting[2].waiter);
	back_wait(&maps.back, &waiting[3].done);
	cr_assert(waiting[0].told == 1 && waiting[1].told == 2 && waiting[3].told == 3);
	cr_assert_not(waiting[2].done, "cancelled");
	cr_assert_not(waiting[1].ok, "must not be served by the check that began before it");
	cr_assert_not(waiting[3].ok);
	maps_close(&maps, "map_shared");
}

Test(waiting, expire_while_checking)
{
	struct maps maps;
	struct waiting waiting[2];
	unsigned order = 0;
	struct shardmap *old;

	maps_open(&maps, "map_expire", leaves_sql);
	old = shardmap_ref(catalog_map(maps.catalog));
	wait_for(&waiting[0], &maps, &order);
	wait_for(&waiting[1], &maps, &order);
	check_t(&waiting[0], &maps);
	catalog_expire(maps.catalog, shardmap_generation(old) + 1);
	cr_assert(catalog_map(maps.catalog), "another generation");
	catalog_expire(maps.catalog, shardmap_generation(old));
	cr_assert_null(catalog_map(maps.catalog));
	back_wait(&maps.back, &waiting[0].done);
	cr_assert(waiting[0].ok, "its map did hold");
	catalog_check(maps.catalog, old, shardmap_table_at(old, 0), &waiting[1].waiter);
	back_wait(&maps.back, &waiting[1].done);
	cr_assert_not(waiting[1].ok, "nobody knows any more");
	cr_assert_null(back_load(&maps.back, maps.catalog));
	cr_assert_gt(shardmap_generation(catalog_map(maps.catalog)), shardmap_generation(old));
	shardmap_unref(old);
	maps_close(&maps, "map_expire");
}

Test(waiting, load_is_shared_and_cancelled)
{
	struct maps maps;
	struct waiting waiting[3];
	unsigned order = 0;
	uint64_t generation;

	maps_open(&maps, "map_load", leaves_sql);
	generation = shardmap_generation(catalog_map(maps.catalog));
	catalog_expire(maps.catalog, generation);
	for (int i = 0; i < 3; i++) {
		wait_for(&waiting[i], &maps, &order);
		catalog_load(maps.catalog, &waiting[i].waiter);
	}
	catalog_cancel(&waiting[1].waiter);
	back_wait(&maps.back, &waiting[2].done);
	cr_assert(waiting[0].ok && waiting[2].ok && !waiting[1].done);
	cr_assert_eq(shardmap_generation(catalog_map(maps.catalog)), generation + 1);
	catalog_missed(maps.catalog, 1);
	back_idle(&maps.back, 100);
	cr_assert_eq(shardmap_generation(catalog_map(maps.catalog)), generation + 1, "too new");
	maps_close(&maps, "map_load");
}

Test(waiting, coordinator_without_the_database)
{
	struct back back;
	struct catalog *catalog;
	const char *why;

	back_open(&back, NULL);
	catalog = catalogs_get(back.catalogs, "map_no_such_database");
	why = back_load(&back, catalog);
	cr_assert(why && strstr(why, "does not exist"), "%s", why ? why : "loaded");
	why = back_load(&back, catalog);
	cr_assert(why && strstr(why, "does not exist"), "remembered");
	back_close(&back);
}

/* A connection that died between two checks costs nothing. */
Test(waiting, check_after_restart_of_its_connection)
{
	struct maps maps;

	maps_open(&maps, "map_killed", leaves_sql);
	cr_assert_null(back_check(&maps.back, maps.catalog, "public", "t"));
	cluster_run(maps.conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
	                       " WHERE datname = 'map_killed' AND application_name = 'pgtopk'");
	back_idle(&maps.back, 200);
	cr_assert_null(back_check(&maps.back, maps.catalog, "public", "t"));
	maps_close(&maps, "map_killed");
}

/* Somebody holds a lock that the check needs: it must not wait for ever. */
Test(waiting, check_and_load_time_out)
{
	static const char *const options[] = {"worker_timeout", "300ms", NULL};
	struct maps maps;
	const char *why;

	maps_open(&maps, "map_locked", leaves_sql);
	back_close(&maps.back);
	back_open(&maps.back, options);
	maps.catalog = catalogs_get(maps.back.catalogs, "map_locked");
	cr_assert_null(back_load(&maps.back, maps.catalog));
	cluster_run(maps.conn, "BEGIN; LOCK TABLE pg_policy");
	why = back_check(&maps.back, maps.catalog, "public", "t");
	cr_assert(why && strstr(why, "in time"), "%s", why ? why : "held");
	why = back_load(&maps.back, maps.catalog);
	cr_assert(why && strstr(why, "in time"), "%s", why ? why : "loaded");
	cluster_run(maps.conn, "ROLLBACK");
	back_idle(&maps.back, 1100);
	cr_assert_null(back_load(&maps.back, maps.catalog));
	cr_assert_null(back_check(&maps.back, maps.catalog, "public", "t"));
	maps_close(&maps, "map_locked");
}

/* The coordinator was restarted: its connections are all dead. */
Test(waiting, lost_in_flight)
{
	struct maps maps;
	struct waiting waiting;
	unsigned order = 0;

	maps_open(&maps, "map_lost", leaves_sql);
	wait_for(&waiting, &maps, &order);
	cluster_run(maps.conn, "BEGIN; LOCK TABLE pg_policy");
	check_t(&waiting, &maps);
	back_idle(&maps.back, 100);
	cr_assert_not(waiting.done);
	cluster_run(maps.conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
	                       " WHERE datname = 'map_lost' AND application_name = 'pgtopk'");
	cluster_run(maps.conn, "ROLLBACK");
	back_wait(&maps.back, &waiting.done);
	cr_assert(waiting.ok, "asked again on a new connection");
	maps_close(&maps, "map_lost");
}
