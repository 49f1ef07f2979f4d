/*
 * Unlike: a foreign partition whose table over there is not what the coordinator takes
 * it for. The coordinator asks a worker for columns and works with them by its own
 * types and collations, as the user of the user mapping; a shard would be asked for
 * the answer itself. Where that could differ the coordinator answers.
 */
#include <string.h>

#include "t/lib/oracle.h"
#include "t/lib/suite.h"

#define NEAREST "ORDER BY e <-> '[0,0,0]' LIMIT 5"

/* A table of one foreign partition that is made by `remote` on its worker. */
static void make(const char *columns, const char *remote)
{
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, NULL);

	cluster_shard("unlike", columns, "HASH (id)", 1, 0);
	cluster_run_on(cluster_shard_node(0), remote);
	PQfinish(conn);
}

static void check(const char *sql, const char *event)
{
	struct oracle oracle;
	PGresult *got, *wanted;
	const char *difference;

	oracle_open_fresh(&oracle);
	for (int i = 0; i < 2; i++) { /* found out by the first one, remembered for the second */
		wanted = PQexec(oracle.direct, sql);
		got = PQexec(oracle.proxy, sql);
		difference = oracle_difference(got, wanted);
		cr_assert(!difference, "%s: %s", sql, difference);
		instance_expect(oracle.instance, event, sql);
		PQclear(got);
		PQclear(wanted);
	}
	oracle_close(&oracle);
}

#define FILL                                                                                       \
	"INSERT INTO unlike_0 SELECT i, 'x' || i, ARRAY[i, i, i]::vector FROM generate_series(1, 9) i"

Test(unlike, what_is_alike_is_routed)
{
	make("id int, t text, e vector(3)", FILL);
	check("SELECT id, length(t) FROM unlike " NEAREST, "routed");
}

/* More columns, another order, another length of the vector: nothing that matters. */
Test(unlike, what_does_not_matter_is_routed)
{
	make("id int, t text, e vector(3)",
	     "DROP TABLE unlike_0;"
	     "CREATE TABLE unlike_0 (extra date, t text, gone int, id int, e vector);"
	     "ALTER TABLE unlike_0 DROP COLUMN gone;"
	     "INSERT INTO unlike_0 (id, t, e) SELECT i, 'x' || i, ARRAY[i, i, i]::vector"
	     " FROM generate_series(1, 9) i");
	check("SELECT id, length(t) FROM unlike " NEAREST, "routed");
}

Test(unlike, a_column_of_another_type)
{
	make("id int, t text, e vector(3)",
	     "DROP TABLE unlike_0; CREATE TABLE unlike_0 (id int, t char(5), e vector(3));" FILL);
	check("SELECT id, length(t), t || '.' FROM unlike " NEAREST, "unlike");
}

Test(unlike, a_column_of_another_collation)
{
	make("id int, t text, e vector(3)",
	     "DROP TABLE unlike_0;"
	     "CREATE COLLATION IF NOT EXISTS caseless (provider = icu, locale = 'und-u-ks-level2',"
	     " deterministic = false);"
	     "CREATE TABLE unlike_0 (id int, t text COLLATE caseless, e vector(3));" FILL);
	check("SELECT id, t = 'X3' FROM unlike " NEAREST, "unlike");
}

/* Whoever asks, the view says who the mapping's user is. */
Test(unlike, a_view)
{
	make("id int, t text, e vector(3)",
	     "DROP TABLE unlike_0; DROP TABLE IF EXISTS unlike_base CASCADE;"
	     "CREATE TABLE unlike_base (id int, t text, e vector(3));"
	     "CREATE VIEW unlike_0 AS SELECT * FROM unlike_base;" FILL);
	check("SELECT id, t FROM unlike " NEAREST, "unlike");
	cluster_run_on(cluster_shard_node(0), "DROP VIEW unlike_0");
}

Test(unlike, row_level_security)
{
	make("id int, t text, e vector(3)",
	     FILL ";ALTER TABLE unlike_0 ENABLE ROW LEVEL SECURITY;"
	          "CREATE POLICY odd ON unlike_0 USING (id % 2 = 1)");
	check("SELECT id, t FROM unlike " NEAREST, "unlike");
}

/* Names in an encoding that is not the session's. */
Test(unlike, names_are_compared_as_they_are)
{
	struct oracle oracle;

	make("id int, \"täxt\" text, e vector(3)",
	     "INSERT INTO unlike_0 SELECT i, 'x' || i, ARRAY[i, i, i]::vector"
	     " FROM generate_series(1, 9) i");
	oracle_open_fresh(&oracle);
	cluster_run(oracle.proxy, "SET client_encoding = LATIN1");
	cr_assert_str_eq(cluster_value(oracle.proxy, "SELECT id FROM unlike " NEAREST), "1");
	instance_expect(oracle.instance, "routed", "in LATIN1");
	oracle_close(&oracle);
}
