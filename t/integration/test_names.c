/*
 * Names: functions, operators, casts and types that users have made, on the workers
 * alone or on the coordinator alone, in the place of a built-in one. The answer is
 * what the coordinator's own definitions give.
 */
#include <stdlib.h>
#include <string.h>

#include "t/lib/oracle.h"
#include "t/lib/suite.h"

#define ORDER " FROM named ORDER BY e <-> '[1,2,3]', id LIMIT 3"

static void make_named(void)
{
	cluster_shard("named", "id int, e vector(3), word varchar, at timestamp", "HASH (id)", 4,
	              0);
	cluster_run_on(
	    CLUSTER_COORDINATOR,
	    "INSERT INTO named SELECT i, ARRAY[i % 7, i % 11, i]::vector, 'Word' || i,"
	    " '2025-01-01'::timestamp + i * interval '1 day' FROM generate_series(1, 40) i");
}

/* The coordinator's definitions are not to be sent to the workers, nor the workers' refused. */
static void define_on(enum cluster_node node, const char *sql)
{
	PGconn *conn = cluster_connect(node, NULL);

	cluster_run(conn, "SET client_min_messages = warning");
	if (cluster_is_citus())
		cluster_run(conn, "SET citus.enable_ddl_propagation = off");
	cluster_run(conn, sql);
	PQfinish(conn);
}

static void define_on_workers(const char *sql)
{
	define_on(CLUSTER_WORKER1, sql);
	define_on(CLUSTER_WORKER2, sql);
}

/* By connections that are made now, which see what was defined before. */
static void same(const char *sql, const char *event)
{
	struct oracle oracle;
	const char *difference;
	PGresult *got, *wanted;

	oracle_open_fresh(&oracle);
	instance_skip_log(oracle.instance);
	got = PQexec(oracle.proxy, sql);
	instance_expect(oracle.instance, event, sql);
	wanted = PQexec(oracle.direct, sql);
	difference = oracle_difference(got, wanted);
	cr_expect_eq(PQresultStatus(got), PGRES_TUPLES_OK, "%s", PQresultErrorMessage(got));
	cr_expect_null(difference, "%s: %s", sql, difference);
	PQclear(got);
	PQclear(wanted);
	oracle_close(&oracle);
}

Test(names, a_function_that_only_workers_have)
{
	make_named();
	same("SELECT id, lower(word)" ORDER, "routed");
	define_on_workers("CREATE OR REPLACE FUNCTION public.lower(varchar) RETURNS text"
	                  " LANGUAGE sql IMMUTABLE AS $$SELECT 'another'$$");
	same("SELECT id, lower(word)" ORDER, "worker");
	same("SELECT id FROM named WHERE lower(word) < 'b' ORDER BY e <-> '[1,2,3]', id LIMIT 3",
	     "worker");
	same("SELECT id, abs(id)" ORDER, "routed");
	define_on_workers("DROP FUNCTION public.lower(varchar)");
	same("SELECT id, lower(word)" ORDER, "routed");
}

/* Also where the operator is not written: IN, CASE. */
Test(names, an_operator_that_only_workers_have)
{
	make_named();
	define_on_workers(
	    "DROP FUNCTION IF EXISTS public.never CASCADE;"
	    "CREATE FUNCTION public.never(varchar, varchar) RETURNS bool"
	    " LANGUAGE sql IMMUTABLE AS 'SELECT false';"
	    "CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = never)");
	same("SELECT id, word = 'Word3'" ORDER, "worker");
	same("SELECT id, word IN ('Word3', 'Word4')" ORDER, "worker");
	same("SELECT id, CASE word WHEN 'Word3' THEN 1 ELSE 2 END" ORDER, "worker");
	same("SELECT id, word <> 'Word3'" ORDER, "routed");
	define_on_workers("DROP FUNCTION public.never CASCADE");
	same("SELECT id, word = 'Word3'" ORDER, "routed");
}

/* A distance: the vector's type is as exact a match as it gets. */
Test(names, a_distance_that_only_workers_have)
{
	make_named();
	define_on_workers(
	    "DROP FUNCTION IF EXISTS public.nowhere CASCADE;"
	    "CREATE FUNCTION public.nowhere(vector, text) RETURNS float8"
	    " LANGUAGE sql IMMUTABLE AS 'SELECT 0::float8';"
	    "CREATE OPERATOR public.<-> (LEFTARG = vector, RIGHTARG = text, FUNCTION = nowhere)");
	same("SELECT id" ORDER, "worker");
	same("SELECT id FROM named ORDER BY e <=> '[1,2,3]', id LIMIT 3", "routed");
	define_on_workers("DROP FUNCTION public.nowhere CASCADE");
	same("SELECT id" ORDER, "routed");
}

#define CAST                                                                                       \
	"DROP FUNCTION IF EXISTS public.answer CASCADE;"                                           \
	"CREATE FUNCTION public.answer(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 42';"   \
	"CREATE CAST (text AS int) WITH FUNCTION public.answer(text)"

Test(names, a_cast_on_one_side)
{
	make_named();
	define_on(CLUSTER_COORDINATOR, CAST);
	same("SELECT id, id::text::int AS n" ORDER, "type");
	same("SELECT id, id::text::int8 AS n" ORDER, "routed");
	define_on(CLUSTER_COORDINATOR, "DROP FUNCTION public.answer CASCADE");
	define_on_workers(CAST);
	same("SELECT id, id::text::int AS n" ORDER, "worker");
	same("SELECT id, id::text::int8 AS n" ORDER, "routed");
	define_on_workers("DROP FUNCTION public.answer CASCADE");
	same("SELECT id, id::text::int AS n" ORDER, "routed");
}

/* One that happens unasked may be part of anything. */
Test(names, an_implicit_cast_on_one_side)
{
	make_named();
	define_on(CLUSTER_COORDINATOR, CAST " AS IMPLICIT");
	same("SELECT id" ORDER, "type");
	define_on(CLUSTER_COORDINATOR, "DROP FUNCTION public.answer CASCADE");
	define_on_workers(CAST " AS IMPLICIT");
	same("SELECT id" ORDER, "worker");
	define_on_workers("DROP FUNCTION public.answer CASCADE");
	same("SELECT id" ORDER, "routed");
}

/* search_path may have others' types before the built-in ones. */
Test(names, a_type_that_only_workers_have)
{
	make_named();
	define_on_workers(
	    "DROP DOMAIN IF EXISTS public.date; CREATE DOMAIN public.date AS varchar(4)");
	same("SELECT id, at::date::text" ORDER, "worker");
	same("SELECT id, at::text" ORDER, "routed");
	define_on_workers("DROP DOMAIN public.date");
	same("SELECT id, at::date::text" ORDER, "routed");
}

/* What is stored as a node's own OID: an enum's values, roles. */
Test(names, values_that_differ_per_node)
{
	define_on_workers("DROP TYPE IF EXISTS public.unlike CASCADE; CREATE TYPE public.unlike AS"
	                  " ENUM ('x'); DROP TYPE public.unlike");
	for (int node = CLUSTER_COORDINATOR; node <= CLUSTER_WORKER2; node++)
		define_on(
		    (enum cluster_node)node,
		    "DROP TABLE IF EXISTS moody CASCADE; DROP TYPE IF EXISTS public.mood CASCADE;"
		    "CREATE TYPE public.mood AS ENUM ('sad', 'ok', 'happy')");
	cluster_shard("moody", "id int, e vector(3), m public.mood", "HASH (id)", 4, 0);
	cluster_run_on(
	    CLUSTER_COORDINATOR,
	    "INSERT INTO moody SELECT i, ARRAY[i % 7, i % 11, i]::vector,"
	    " (ARRAY['sad', 'ok', 'happy'])[1 + i % 3]::mood FROM generate_series(1, 99) i");
#define MOODY(where) "SELECT id FROM moody WHERE " where " ORDER BY e <-> '[1,2,3]', id LIMIT 99"
	same(MOODY("m > 'sad'"), "routed");
	same(MOODY("m::text = 'ok'"), "routed");
	same(MOODY("hashenum(m) > 0"), "function");
	same(MOODY("hashenumextended(m, 1) > 0"), "function");
	same(MOODY("hash_array(ARRAY[m]) > 0"), "function");
	make_named();
	same("SELECT id, acldefault('r', 10)" ORDER, "function");
	same("SELECT id, makeaclitem(10, 10, 'SELECT', false)::text" ORDER, "function");
}
