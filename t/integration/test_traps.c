/*
 * Traps: tests of the traps of the design that nothing else shows on a whole cluster,
 * with HNSW indexes. Their numbers are the design's; t/lint sees that every one has a test.
 */
#include <stdlib.h>
#include <string.h>

#include "t/lib/oracle.h"
#include "t/lib/suite.h"

#define ROWS 8000
#define SHARDS 4
#define VERSION "traps 1"
#define COLUMNS "id int NOT NULL, label int, embedding vector(3)"
#define Q3 "[3,-1,2.5]"

/* Of rows with a distance; some embeddings are NULL and some zero, in no index of vectors. */
static const char *const fill_sql[] = {
    "CREATE SCHEMA IF NOT EXISTS plain",
    "DROP TABLE IF EXISTS plain.traps",
    "CREATE TABLE plain.traps (" COLUMNS ")",
    "SELECT setseed(0.5)",
    "INSERT INTO plain.traps SELECT i, i % 10, CASE WHEN i % 97 = 5 THEN NULL WHEN i % 101 = 7"
    " THEN '[0,0,0]' ELSE ARRAY[random() * 20 - 10, random() * 20 - 10, random() * 20 - 10]::vector"
    " END FROM generate_series(0, 7999) i",
    "INSERT INTO public.traps SELECT * FROM plain.traps",
};

static void make_traps(void)
{
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, NULL);
	const char *version =
	    cluster_value(conn, "SELECT obj_description(to_regclass('plain.traps'), 'pg_class')");

	if (strcmp(version, VERSION) != 0) {
		cluster_shard("traps", COLUMNS, "HASH (id)", SHARDS, 0);
		for (size_t i = 0; i < sizeof(fill_sql) / sizeof(fill_sql[0]); i++)
			cluster_run(conn, fill_sql[i]);
		cluster_run_shards("traps", SHARDS,
		                   "CREATE INDEX ON @ USING hnsw (embedding vector_l2_ops)");
		cluster_run_shards("traps", SHARDS,
		                   "CREATE INDEX ON @ USING hnsw (embedding vector_cosine_ops)");
		cluster_run_shards("traps", SHARDS, "ANALYZE @");
		cluster_run(conn, "COMMENT ON TABLE plain.traps IS '" VERSION "'");
	}
	PQfinish(conn);
}

static void open_traps(struct oracle *oracle)
{
	make_traps();
	oracle_open_fresh(oracle);
	/* the shards' planners would scan such small tables */
	cluster_run(oracle->proxy, "SET enable_seqscan = off");
}

static PGresult *rows_of(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);

	cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(conn));
	return result;
}

static double distance_at(const PGresult *result, int row)
{
	return atof(PQgetvalue(result, row, 1));
}

/* id, distance: none twice, in order, and as many as asked for; so many of them the nearest. */
static void as_many(struct oracle *oracle, const char *sql, int wanted, double recall)
{
	static bool seen[ROWS];
	PGresult *got, *exact = rows_of(oracle->plain, sql);
	double last = -1, farthest;
	int found = 0;

	instance_skip_log(oracle->instance);
	got = rows_of(oracle->proxy, sql);
	instance_expect(oracle->instance, "routed", sql);
	cr_assert_eq(PQntuples(exact), wanted, "%s: there are %d", sql, PQntuples(exact));
	cr_assert_eq(PQntuples(got), wanted, "%s: %d rows", sql, PQntuples(got));
	farthest = distance_at(exact, wanted - 1);
	memset(seen, 0, sizeof(seen));
	for (int row = 0; row < wanted; row++) {
		int id = atoi(PQgetvalue(got, row, 0));

		cr_assert(id >= 0 && id < ROWS && !seen[id], "%s: row %d twice", sql, id);
		cr_assert_geq(distance_at(got, row), last, "%s: row %d", sql, row);
		seen[id] = true;
		last = distance_at(got, row);
		found += last <= farthest;
	}
	cr_assert_geq(found, wanted * recall, "%s: %d of %d", sql, found, wanted);
	PQclear(got);
	PQclear(exact);
}

#define NEAREST(where) "SELECT id, embedding <-> '" Q3 "' FROM traps " where " ORDER BY 2"
#define WITH_DISTANCE "WHERE embedding IS NOT NULL"

Test(traps, trap_01_as_many_rows_as_asked_for)
{
	static const int limits[] = {41, 200, 1000, 1001, 3000};
	struct oracle oracle;

	open_traps(&oracle);
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		as_many(&oracle, text(NEAREST(WITH_DISTANCE) " LIMIT %d", limits[i]), limits[i],
		        0.98);
	as_many(&oracle, NEAREST(WITH_DISTANCE) " LIMIT 10 OFFSET 2990", 10, 0.9);
	as_many(&oracle, NEAREST("WHERE label = 3") " LIMIT 300", 300, 0.98);
	oracle_close(&oracle);
}

/* The same rows under an index that finds its way badly. */
static void make_muddle(PGconn *conn)
{
	if (*cluster_value(conn, "SELECT to_regclass('plain.muddle')"))
		return;
	cluster_shard("muddle", COLUMNS, "HASH (id)", SHARDS, 0);
	cluster_run(conn, "INSERT INTO public.muddle SELECT * FROM plain.traps");
	cluster_run_shards("muddle", SHARDS,
	                   "CREATE INDEX ON @ USING hnsw (embedding vector_l2_ops)"
	                   " WITH (m = 2, ef_construction = 4)");
	cluster_run_shards("muddle", SHARDS, "ANALYZE @");
	cluster_run(conn, "CREATE TABLE plain.muddle AS SELECT * FROM plain.traps");
}

#define MUDDLE "SELECT id, embedding <-> '" Q3 "' FROM muddle WHERE label = 3 ORDER BY 2"

/* How often a row of the shard's own answer is nearer than the one before it. */
static int disorder(enum cluster_node node, const char *shard)
{
	PGconn *conn = cluster_connect(node, NULL);
	PGresult *result;
	int count = 0;

	cluster_run(conn, "SET enable_seqscan = off; SET hnsw.ef_search = 40;"
	                  "SET hnsw.iterative_scan = relaxed_order");
	result = rows_of(conn, text("SELECT id, embedding <-> '" Q3 "' FROM %s WHERE label = 3"
	                            " ORDER BY embedding <-> '" Q3 "' LIMIT 40",
	                            shard));
	for (int row = 1; row < PQntuples(result); row++)
		count += distance_at(result, row) < distance_at(result, row - 1);
	PQclear(result);
	PQfinish(conn);
	return count;
}

Test(traps, trap_03_shards_whose_rows_are_out_of_order)
{
	struct oracle oracle;
	PGconn *conn;
	bool old;

	make_traps();
	conn = cluster_connect(CLUSTER_COORDINATOR, NULL);
	make_muddle(conn);
	PQfinish(conn);
	open_traps(&oracle);
	conn = cluster_connect(CLUSTER_WORKER1, NULL);
	old = *cluster_value(conn, "SELECT 1 FROM pg_extension WHERE extname = 'vector'"
	                           " AND extversion < '0.8'");
	PQfinish(conn);
	if (old) {
		SKIP("trap_03_shards_whose_rows_are_out_of_order", "pgvector before 0.8");
	} else {
		if (!cluster_is_citus())
			cr_assert_gt(disorder(cluster_shard_node(0), "muddle_0"), 0,
			             "there is nothing to see");
		as_many(&oracle, MUDDLE " LIMIT 40", 40, 0.5);
		as_many(&oracle, MUDDLE " LIMIT 300", 300, 0.5);
	}
	oracle_close(&oracle);
}

/* Distances that look alike as text are told apart. */
Test(traps, trap_04_distances_as_rounded_text)
{
	struct oracle oracle;

	oracle_open(&oracle);
	oracle_set(&oracle, "SET extra_float_digits = -14");
	oracle_routed(&oracle, "SELECT id, embedding <-> '" Q8 "' FROM items ORDER BY 2 LIMIT 300");
	oracle_routed(&oracle, "SELECT id, embedding <#> '" Q8
	                       "' FROM items ORDER BY 2 DESC NULLS LAST LIMIT 300");
	oracle_routed(&oracle, "SELECT embedding <=> '" Q8 "' FROM items ORDER BY 1 LIMIT 1");
	oracle_close(&oracle);
}

/* Every row comes once, by whatever name the table is called: Citus' workers know it, too. */
Test(traps, trap_08_no_row_comes_twice)
{
	static const char *const targets[] = {
	    "id, embedding <-> '" Q3 "' AS d FROM traps",
	    "traps.id, traps.embedding <-> '" Q3 "' AS d FROM public.traps",
	    "public.traps.id, public.traps.embedding <-> '" Q3 "' AS d FROM public.traps",
	    "t.id, t.embedding <-> '" Q3 "' AS d FROM traps AS t",
	    "\"a b\".id, \"a b\".embedding <-> '" Q3 "' AS d FROM traps \"a b\"",
	    "label.id, label.embedding <-> '" Q3 "' AS d FROM traps label",
	};
	struct oracle oracle;

	open_traps(&oracle);
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		const char *sql = text("SELECT %s ORDER BY d LIMIT 9000", targets[i]);
		PGresult *result;
		static bool seen[ROWS];

		instance_skip_log(oracle.instance);
		result = rows_of(oracle.proxy, sql);
		instance_expect(oracle.instance, "routed", sql);
		cr_assert_eq(PQntuples(result), ROWS, "%s: %d rows", sql, PQntuples(result));
		memset(seen, 0, sizeof(seen));
		for (int row = 0; row < ROWS; row++) {
			int id = atoi(PQgetvalue(result, row, 0));

			cr_assert(!seen[id], "%s: row %d twice", sql, id);
			seen[id] = true;
		}
		PQclear(result);
	}
	oracle_close(&oracle);
}

/* Same symbols, other meanings: pg_trgm's <-> and %, cube's <->. */
Test(traps, trap_09_extensions_with_the_same_operators)
{
	struct oracle oracle;
	PGresult *made;

	oracle_open_fresh(&oracle);
	cluster_run(oracle.direct, "SET client_min_messages = warning");
	made = PQexec(oracle.direct, "CREATE EXTENSION IF NOT EXISTS pg_trgm;"
	                             "CREATE EXTENSION IF NOT EXISTS cube");
	if (PQresultStatus(made) != PGRES_COMMAND_OK) {
		SKIP("trap_09_extensions_with_the_same_operators", PQresultErrorMessage(made));
	} else {
		oracle_routed(&oracle,
		              "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 5");
		oracle_check(&oracle,
		             "SELECT id FROM items ORDER BY name <-> 'name 12', id LIMIT 5",
		             "order_by");
		oracle_check(&oracle,
		             "SELECT id FROM items ORDER BY cube(weight) <-> cube(7.5), id LIMIT 5",
		             "function");
		oracle_check(
		    &oracle,
		    "SELECT id FROM items WHERE name % 'name 12' ORDER BY embedding <-> '" Q8
		    "' LIMIT 5",
		    "operator");
		oracle_check(&oracle, "SELECT id FROM items ORDER BY '" Q8 "' <=> id LIMIT 5",
		             "order_by");
		cluster_run(oracle.direct, "DROP EXTENSION pg_trgm; DROP EXTENSION cube");
	}
	PQclear(made);
	oracle_close(&oracle);
}

/* ---- a database in which every node has other OIDs ---- */

#define OIDS_DATABASE "trap_11"

static PGconn *make_oids_database(enum cluster_node node, unsigned waste)
{
	PGconn *conn = cluster_connect(node, NULL);

	cluster_run(conn, "SET client_min_messages = warning");
	cluster_run(conn, "DROP DATABASE IF EXISTS " OIDS_DATABASE);
	cluster_run(conn, "CREATE DATABASE " OIDS_DATABASE);
	PQfinish(conn);
	conn = cluster_connect(node, "dbname=" OIDS_DATABASE);
	for (unsigned i = 0; i < waste; i++)
		cluster_run(conn, text("CREATE TYPE waste_%u AS ENUM ('a', 'b')", i));
	cluster_run(conn, "CREATE EXTENSION vector");
	return conn;
}

static void make_oids_shard(PGconn *coordinator, enum cluster_node node)
{
	PGconn *conn = make_oids_database(node, 10 * (unsigned)node);
	int shard = node - CLUSTER_WORKER1;

	cr_assert_str_neq(cluster_value(conn, "SELECT 'vector'::regtype::oid"),
	                  cluster_value(coordinator, "SELECT 'vector'::regtype::oid"));
	cluster_run(conn, text("CREATE TABLE apart_%d (h halfvec(2), id int, e vector(2));"
	                       "INSERT INTO apart_%d SELECT '[1,2]', i, ARRAY[i, 1]::vector"
	                       " FROM generate_series(%d, %d) i",
	                       shard, shard, shard * 100, shard * 100 + 99));
	PQfinish(conn);
	cluster_run(coordinator,
	            text("CREATE SERVER s%d FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host"
	                 " '127.0.0.1', port '%d', dbname '" OIDS_DATABASE "');"
	                 "CREATE USER MAPPING FOR PUBLIC SERVER s%d OPTIONS (user 'postgres');"
	                 "CREATE FOREIGN TABLE apart_%d PARTITION OF apart FOR VALUES FROM (%d)"
	                 " TO (%d) SERVER s%d OPTIONS (schema_name 'public')",
	                 shard, cluster_port(node), shard, shard, shard * 100, shard * 100 + 100,
	                 shard));
}

static void same_in_format(struct instance *instance, PGconn *coordinator, Oid vector, int format)
{
	const char *value = "[120,1]", *difference;
	const char *sql =
	    "SELECT e, h, id, e::halfvec, ARRAY[e] IS NULL FROM apart ORDER BY e <-> $1, id"
	    " LIMIT 30";
	PGconn *conn = instance_connect(instance, "dbname=" OIDS_DATABASE);
	PGresult *got, *wanted;

	instance_skip_log(instance);
	got = PQexecParams(conn, sql, 1, &vector, &value, NULL, NULL, format);
	instance_expect(instance, "routed", sql);
	wanted = PQexecParams(coordinator, sql, 1, &vector, &value, NULL, NULL, format);
	difference = oracle_difference(got, wanted);
	cr_assert(!difference, "%s", difference);
	cr_assert_eq(PQntuples(got), 30);
	PQclear(got);
	PQclear(wanted);
	PQfinish(conn);
}

Test(traps, trap_11_oids_that_differ_per_node)
{
	PGconn *coordinator;
	Oid vector;

	if (cluster_is_citus()) { /* whose nodes are of one database */
		SKIP("trap_11_oids_that_differ_per_node", "a cluster of partitions is needed");
		return;
	}
	coordinator = make_oids_database(CLUSTER_COORDINATOR, 0);
	cluster_run(coordinator, "CREATE EXTENSION postgres_fdw;"
	                         "CREATE TABLE apart (gone int, id int, e vector(2), h halfvec(2))"
	                         " PARTITION BY RANGE (id);"
	                         "ALTER TABLE apart DROP COLUMN gone");
	make_oids_shard(coordinator, CLUSTER_WORKER1);
	make_oids_shard(coordinator, CLUSTER_WORKER2);
	vector = (Oid)atol(cluster_value(coordinator, "SELECT 'vector'::regtype::oid"));
	for (int format = 0; format <= 1; format++) {
		same_in_format(instance_shared(), coordinator, vector, format);
		same_in_format(instance_shared(), coordinator, 0, format);
	}
	PQfinish(coordinator);
}

/* ---- query vectors, and rows that no index has ---- */

Test(traps, trap_14_query_vectors_of_every_form)
{
	static const char *const vectors[] = {
	    "'" Q8 "'",
	    "'" Q8 "'::vector",
	    "'" Q8 "'::vector(8)",
	    "ARRAY[1.5,-2.25,3,0.5,-1,4.75,2,-3.5]::vector",
	    "ARRAY[1.5,-2.25,3,0.5,-1,4.75,2,-3.5]::float8[]::vector(8)",
	    "'{1.5,-2.25,3,0.5,-1,4.75,2,-3.5}'::real[]::vector",
	    "NULL",
	    "'[0,0,0,0,0,0,0,0]'",
	    "l2_normalize('" Q8 "'::vector)",
	};
	struct oracle oracle;

	oracle_open(&oracle);
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		oracle_routed(&oracle, text("SELECT id, embedding <=> %s FROM items ORDER BY 2, id"
		                            " LIMIT 30",
		                            vectors[i]));
		oracle_routed(&oracle, text("SELECT id FROM items ORDER BY embedding <-> %s, id"
		                            " LIMIT 30",
		                            vectors[i]));
	}
	oracle_check(&oracle,
	             "SELECT id FROM items ORDER BY embedding <-> (SELECT '" Q8
	             "'::vector), id LIMIT 30",
	             "expression");
	oracle_close(&oracle);
}

Test(traps, trap_14_null_and_zero_vectors_are_in_no_index)
{
	struct oracle oracle;

	open_traps(&oracle);
	oracle_routed(&oracle, "SELECT id, embedding <=> '" Q3 "' FROM traps ORDER BY 2, id"
	                       " LIMIT 8000");
	oracle_routed(&oracle, "SELECT id, embedding <=> '" Q3 "' FROM traps ORDER BY 2, id"
	                       " LIMIT 100 OFFSET 7880");
	oracle_routed(&oracle, "SELECT id, embedding <-> '" Q3 "' FROM traps WHERE label = 5"
	                       " ORDER BY 2 DESC, id LIMIT 50");
	oracle.no_rows = true; /* which of those that are tied is not said */
	oracle_routed(&oracle,
	              "SELECT id, embedding <=> '" Q3 "' FROM traps ORDER BY 2 LIMIT 8000");
	oracle_close(&oracle);
}
