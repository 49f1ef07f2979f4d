/*
 * Items: see items.h.
 */
#include "t/lib/items.h"

#include <string.h>

#include "t/lib/cluster.h"

/* Goes up when the table changes: an older one is made again. */
#define VERSION "items 6"

/* The coordinator's table has a dropped column in front, and the shards have the two
 * halves the other way round: attnums and the order of columns differ. */
#define FIRST                                                                                      \
	"id bigint NOT NULL, label int, embedding vector(8), half halfvec(8), bits bit(64), "      \
	"sparse sparsevec(16), ties vector(3)"
#define SECOND                                                                                        \
	"name text COLLATE \"C\", made timestamptz, price numeric(10,2), data bytea, weight float8, " \
	"tags text[], note jsonb, span interval"

/* Random arrays; `0 * i` makes them anew for each row. */
#define EMBEDDING                                                                                  \
	"(SELECT array_agg(round((random() * 20 - 10)::numeric, 3))"                               \
	" FROM generate_series(1, 8 + 0 * i))::vector"
#define HALF                                                                                       \
	"(SELECT array_agg(round((random() * 20 - 10)::numeric, 2))"                               \
	" FROM generate_series(1, 8 + 0 * i))::vector::halfvec"
#define SPARSE                                                                                     \
	"(SELECT array_agg(CASE WHEN random() < 0.4 THEN round((random() * 9)::numeric, 3) + 1"    \
	" ELSE 0 END) FROM generate_series(1, 16 + 0 * i))::vector::sparsevec"
#define TIES "(SELECT array_agg((random() * 3)::int) FROM generate_series(1, 3 + 0 * i))::vector"

static const char *const rows_sql[] = {
    "SELECT setseed(0.25)",
    "INSERT INTO plain.items SELECT i, i % 10, " EMBEDDING ", " HALF ","
    " (random() * 9.2e18)::bigint::bit(64), " SPARSE ", " TIES ","
    " 'name ' || md5(i::text) || E' \\303\\251',"
    " timestamptz '2024-02-29 12:34:56.789+00' + i * interval '7 h', (i % 997) / 7.0,"
    " sha224(i::text::bytea), i / 3.0::float8, ARRAY['t' || i % 7, NULL, 'a b'],"
    " jsonb_build_object('n', i, 'odd', i % 2 = 1), i * interval '1 day 3 min'"
    " FROM generate_series(0, current_setting('items.rows')::int - 1) i ORDER BY i",
    "UPDATE plain.items SET embedding = NULL, half = NULL WHERE id % 97 = 5",
    "UPDATE plain.items SET embedding = '[0,0,0,0,0,0,0,0]' WHERE id = 500",
    "UPDATE plain.items SET half = '[0,0,0,0,0,0,0,0]' WHERE id IN (500, 501, 502)",
    "UPDATE plain.items SET name = NULL, price = NULL WHERE id % 41 = 0",
    "UPDATE plain.items SET weight = 'NaN' WHERE id % 53 = 0",
    "INSERT INTO public.items SELECT * FROM plain.items",
};

static void fill(PGconn *conn)
{
	cluster_run(conn, text("SET items.rows = %d", ITEMS_ROWS));
	for (size_t i = 0; i < sizeof(rows_sql) / sizeof(rows_sql[0]); i++)
		cluster_run(conn, rows_sql[i]);
}

void items_up(void)
{
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, NULL);
	const char *version =
	    cluster_value(conn, "SELECT obj_description(to_regclass('plain.items'), 'pg_class')");

	if (strcmp(version, VERSION) != 0) {
		cluster_shard("items", "gone int, " FIRST ", " SECOND, "HASH (id)", ITEMS_SHARDS,
		              0);
		cluster_run(conn, "ALTER TABLE public.items DROP COLUMN gone");
		if (!cluster_is_citus()) /* which makes its shards itself */
			cluster_run_shards("items", ITEMS_SHARDS,
			                   "DROP TABLE @; CREATE TABLE @ (" SECOND ", " FIRST ")");
		cluster_run(conn, "CREATE SCHEMA IF NOT EXISTS plain;"
		                  "DROP TABLE IF EXISTS plain.items;"
		                  "CREATE TABLE plain.items (" FIRST ", " SECOND ")");
		fill(conn);
		cluster_run_shards("items", ITEMS_SHARDS, "ANALYZE @");
		cluster_run(conn, "ANALYZE plain.items;"
		                  "COMMENT ON TABLE plain.items IS '" VERSION "'");
	}
	PQfinish(conn);
}
