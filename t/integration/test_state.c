/*
 * State: whatever a session's settings are, and however they came to be so, on the workers
 * they hold, or the coordinator answers. What the workers have set themselves does not
 * show, nor what a session before has left on their connections.
 */
#include <string.h>

#include "t/lib/oracle.h"
#include "t/lib/suite.h"

#define TOP10 "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 10"
#define EVERYTHING "SELECT * FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 30"

TestSuite(state, .timeout = 120);

/* Every way of setting one, each followed by a look at what all formats look like. */
Test(state, trap_02_ways_of_setting)
{
	static const char *const steps[] = {
	    "SET DateStyle = 'German'",
	    "BEGIN; SET LOCAL IntervalStyle = 'iso_8601'; COMMIT",
	    "BEGIN; SET TimeZone = 'Asia/Tokyo'; ROLLBACK",
	    "BEGIN; SET TimeZone = 'Asia/Tokyo'; SAVEPOINT s; SET extra_float_digits = -3;"
	    " ROLLBACK TO s; COMMIT",
	    "SELECT set_config('bytea_output', 'escape', false)",
	    "SELECT set_config('bytea_output', 'hex', true)",
	    "DO $$ BEGIN PERFORM set_config('extra_float_digits', '-7', false); END $$",
	    "RESET DateStyle",
	    "CREATE FUNCTION pg_temp.local() RETURNS void LANGUAGE plpgsql SET DateStyle = 'SQL'"
	    " AS 'BEGIN PERFORM set_config(''IntervalStyle'', ''sql_standard'', false); END'",
	    "SELECT pg_temp.local()",
	    "UPDATE pg_settings SET setting = 'Postgres, DMY' WHERE name = 'DateStyle'",
	    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
	    "DISCARD ALL",
	    NULL};
	struct oracle oracle;

	oracle_open(&oracle);
	for (const char *const *step = steps; *step; step++) {
		cluster_run(oracle.proxy, *step);
		cluster_run(oracle.plain, *step);
		if (strcmp(*step, "DISCARD ALL") == 0)
			cluster_run(oracle.plain, "SET search_path = plain, public");
		oracle_routed(&oracle, EVERYTHING);
	}
	oracle_close(&oracle);
}

static void run_on_all(PGconn *const *conns, const char *sql)
{
	PGresult *first = PQexec(conns[0], sql), *second = PQexec(conns[1], sql);
	const char *difference = oracle_difference(first, second);

	cr_assert(!difference, "%s: %s", sql, difference);
	PQclear(first);
	PQclear(second);
}

/* Of a session's start: the packet, the role, the database; later changes are for later sessions. */
Test(state, trap_02_defaults_of_a_session)
{
	static const char options[] = "options='-c DateStyle=German -c intervalstyle=iso_8601'";
	static const char *const changes[][2] = {
	    {"ALTER ROLE postgres SET TimeZone = 'Asia/Tokyo'",
	     "ALTER ROLE postgres RESET TimeZone"},
	    {"ALTER DATABASE postgres SET bytea_output = 'escape'",
	     "ALTER DATABASE postgres RESET bytea_output"},
	    {"ALTER ROLE postgres IN DATABASE postgres SET extra_float_digits = -4",
	     "ALTER ROLE postgres IN DATABASE postgres RESET extra_float_digits"},
	};
	struct instance *instance = instance_shared();
	PGconn *live[2] = {instance_connect(instance, options),
	                   cluster_connect(CLUSTER_COORDINATOR, options)};

	run_on_all(live, EVERYTHING);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		PGconn *later[2];

		cluster_run_on(CLUSTER_COORDINATOR, changes[i][0]);
		later[0] = instance_connect(instance, NULL);
		later[1] = cluster_connect(CLUSTER_COORDINATOR, NULL);
		cluster_run_on(CLUSTER_COORDINATOR, changes[i][1]);
		instance_skip_log(instance);
		run_on_all(live, EVERYTHING);
		instance_expect(instance, "routed", changes[i][0]);
		run_on_all(later, EVERYTHING);
		instance_expect(instance, "routed", changes[i][0]);
		PQfinish(later[0]);
		PQfinish(later[1]);
	}
	run_on_all(live, "RESET ALL");
	run_on_all(live, EVERYTHING);
	PQfinish(live[0]);
	PQfinish(live[1]);
}

#define LITERALS                                                                                   \
	"SELECT id, made, span, data, weight, price, '2024-06-01 00:00 EST'::timestamptz, "        \
	"'02-03-2025'::date, 'a\\b' || '\\x', E'q\\'\\\\', (0.1::float4::float8)::text, "          \
	"'a'::bytea::text, '1-2'::interval FROM items WHERE name LIKE 'na\\me%' OR "               \
	"tags @> '{NULL}' OR price = NULL OR label > 2 ORDER BY embedding <-> '" Q8 "' LIMIT 20"

static void on_each_worker(const char *sql)
{
	cluster_run_on(CLUSTER_WORKER1, sql);
	cluster_run_on(CLUSTER_WORKER2, sql);
}

/* As "ALTER SYSTEM SET": one statement each. */
static void set_on_workers(const char *how, const char *const *settings)
{
	for (; *settings; settings++)
		on_each_worker(text("%s SET %s", how, *settings));
}

/* The worker's own settings, for connections that are there and for new ones. */
Test(state, trap_02_defaults_of_the_workers)
{
	static const char *const other[] = {"DateStyle TO 'German'",
	                                    "TimeZone TO 'Asia/Tokyo'",
	                                    "IntervalStyle TO 'iso_8601'",
	                                    "array_nulls TO off",
	                                    "extra_float_digits TO -8",
	                                    "bytea_output TO 'escape'",
	                                    "search_path TO 'public'",
	                                    "backslash_quote TO off",
	                                    "timezone_abbreviations TO 'Australia'",
	                                    "row_security TO off",
	                                    "transform_null_equals TO on",
	                                    "standard_conforming_strings TO off",
	                                    "work_mem TO '64kB'",
	                                    "client_encoding TO 'LATIN1'",
	                                    "default_transaction_isolation TO serializable",
	                                    "xmloption TO document",
	                                    "quote_all_identifiers TO on",
	                                    "default_transaction_read_only TO on",
	                                    "enable_seqscan TO off",
	                                    NULL};
	struct oracle pooled, fresh;

	oracle_open(&pooled);
	oracle_routed(&pooled, LITERALS);
	set_on_workers("ALTER SYSTEM", other);
	on_each_worker("SELECT pg_reload_conf()");
	oracle_routed(&pooled, LITERALS);
	oracle_open_fresh(&fresh);
	oracle_routed(&fresh, LITERALS);
	oracle_set(&fresh, "SET extra_float_digits = 2; SET transform_null_equals = on");
	oracle_routed(&fresh, LITERALS);
	oracle_routed(&pooled, LITERALS);
	for (int node = CLUSTER_WORKER1; node <= CLUSTER_WORKER2; node++) {
		PGconn *conn = cluster_connect((enum cluster_node)node, NULL);

		cluster_run(conn, "SET default_transaction_read_only = off");
		cluster_run(conn, "ALTER SYSTEM RESET ALL");
		cluster_run(conn, "SELECT pg_reload_conf()");
		PQfinish(conn);
	}
	oracle_routed(&fresh, LITERALS);
	oracle_routed(&pooled, LITERALS);
	oracle_close(&fresh);
	oracle_close(&pooled);
}

Test(state, trap_02_defaults_of_the_workers_roles)
{
	static const char *const other[] = {"DateStyle = 'German'",
	                                    "TimeZone = 'Asia/Tokyo'",
	                                    "timezone_abbreviations = 'Australia'",
	                                    "standard_conforming_strings = off",
	                                    "hnsw.ef_search = 1",
	                                    NULL};
	struct oracle fresh;

	if (cluster_is_citus()) /* where a role is altered everywhere */
		return;
	set_on_workers("ALTER ROLE postgres", other);
	oracle_open_fresh(&fresh);
	oracle_routed(&fresh, LITERALS);
	on_each_worker("ALTER ROLE postgres RESET ALL");
	oracle_close(&fresh);
}

/* A worker's plan has its constants made already. */
Test(state, trap_11_constants)
{
	static const char *const settings[] = {"SET extra_float_digits = 1",
	                                       "SET extra_float_digits = -6",
	                                       "SET bytea_output = 'escape'",
	                                       "SET timezone_abbreviations = 'Australia'",
	                                       "SET plan_cache_mode = 'force_generic_plan'",
	                                       "SET extra_float_digits = 3",
	                                       "SET bytea_output = 'hex'",
	                                       "SET timezone_abbreviations = 'Default'",
	                                       "SET lc_monetary = 'POSIX'",
	                                       "SET transform_null_equals = on",
	                                       "SET enable_incremental_sort = off",
	                                       NULL};
	struct oracle oracle, other;

	oracle_open(&oracle);
	oracle_open(&other);
	for (const char *const *setting = settings; *setting; setting++) {
		oracle_set(&oracle, *setting);
		oracle_routed(&oracle, LITERALS);
		oracle_routed(&other, LITERALS);
	}
	oracle_close(&other);
	oracle_close(&oracle);
}

/* The coordinator reads a statement's literals when it is prepared. */
Test(state, trap_11_a_statement_means_what_it_meant_when_it_was_parsed)
{
	static const struct {
		const char *before, *after;
	} cases[] = {
	    {"SET DateStyle = 'ISO, DMY'", "SET DateStyle = 'ISO, MDY'"},
	    {"SET TimeZone = 'Asia/Tokyo'", "SET TimeZone = 'UTC'"},
	    {"SET IntervalStyle = 'sql_standard'", "SET IntervalStyle = 'postgres'"},
	    {"SET transform_null_equals = on", "SET transform_null_equals = off"},
	    {"SET array_nulls = off", "SET array_nulls = on"},
	    {"SET timezone_abbreviations = 'Australia'", "SET timezone_abbreviations = 'Default'"},
	    {"SET client_encoding = 'LATIN1'", "SET client_encoding = 'UTF8'"},
	};
	struct instance *instance = instance_shared();
	PGconn *conns[2] = {instance_connect(instance, NULL),
	                    cluster_connect(CLUSTER_COORDINATOR, NULL)};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (int step = 0; step < 4; step++) {
			PGresult *results[2];
			const char *difference;

			run_on_all(conns, step % 2 ? cases[i].after : cases[i].before);
			instance_skip_log(instance);
			for (int j = 0; j < 2; j++) {
				if (step == 0)
					PQclear(PQprepare(conns[j], text("s%zu", i), LITERALS, 0,
					                  NULL));
				results[j] = PQexecPrepared(conns[j], text("s%zu", i), 0, NULL,
				                            NULL, NULL, 0);
			}
			difference = oracle_difference(results[0], results[1]);
			cr_assert(!difference, "%s, %d: %s", cases[i].before, step, difference);
			instance_expect(instance, step % 2 ? "settings" : "routed",
			                cases[i].before);
			PQclear(results[0]);
			PQclear(results[1]);
		}
	}
	PQfinish(conns[0]);
	PQfinish(conns[1]);
}

/* Those that let the coordinator refuse or say more than the shards would. */
Test(state, trap_11_settings_that_are_not_routed)
{
	static const char *const settings[] = {
	    "SET backslash_quote = off",
	    "SET client_min_messages = 'debug1'",
	    "SET client_min_messages = 'log'",
	    "SET exit_on_error = on",
	    "SET restrict_nonsystem_relation_kind = 'foreign-table'",
	    "SET backslash_quote = off; SET client_encoding = 'SQL_ASCII'",
	    NULL};
	struct instance *instance = instance_shared();

	for (const char *const *setting = settings; *setting; setting++) {
		PGconn *conns[2] = {instance_connect(instance, NULL),
		                    cluster_connect(CLUSTER_COORDINATOR, NULL)};

		if (strstr(*setting, "restrict") && /* since 13.16, 14.13, 15.8, 16.4 */
		    !*cluster_value(conns[1], "SELECT 1 FROM pg_settings WHERE name ="
		                              " 'restrict_nonsystem_relation_kind'"))
			continue;
		run_on_all(conns, *setting);
		instance_skip_log(instance);
		run_on_all(conns, "SELECT id FROM items WHERE name <> E'it\\'s' ORDER BY embedding"
		                  " <-> '" Q8 "' LIMIT 10");
		instance_expect(instance, "settings", *setting);
		PQfinish(conns[0]);
		PQfinish(conns[1]);
	}
}

/* ---- names ---- */

Test(state, trap_09_types_that_hide_built_in_ones)
{
	static const struct {
		const char *set, *sql;
	} cases[] = {
	    {"CREATE DOMAIN pg_temp.text AS varchar(6)",
	     "SELECT id, 'name 912345'::text FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 5"},
	    {"CREATE TEMP TABLE date (a int)",
	     "SELECT id, '2024-01-01'::date FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 5"},
	    {"SET search_path = hiding, public, pg_catalog",
	     "SELECT id FROM items WHERE name = 'name 912345'::text ORDER BY embedding <-> '" Q8
	     "' LIMIT 5"},
	};
	struct instance *instance = instance_shared();

	cluster_run_on(CLUSTER_COORDINATOR, "DROP SCHEMA IF EXISTS hiding CASCADE;"
	                                    "CREATE SCHEMA hiding");
	cluster_run_on(CLUSTER_COORDINATOR, "CREATE DOMAIN hiding.text AS varchar(6)");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		PGconn *conns[2] = {instance_connect(instance, NULL),
		                    cluster_connect(CLUSTER_COORDINATOR, NULL)};

		cluster_run(conns[0], TOP10);
		run_on_all(conns, cases[i].set);
		instance_skip_log(instance);
		run_on_all(conns, cases[i].sql);
		instance_expect(instance, "settings", cases[i].set);
		PQfinish(conns[0]);
		PQfinish(conns[1]);
	}
	cluster_run_on(CLUSTER_COORDINATOR, "DROP SCHEMA hiding CASCADE");
}

/* What has a function of a user's behind it may mean anything, and is not the same on the shards. */
Test(state, trap_09_operators_made_by_users)
{
	static const char *const operators[] = {
	    "CREATE OPERATOR hiding.~~ (leftarg = text, rightarg = text, function = hiding.never)",
	    "CREATE OPERATOR hiding.= (leftarg = int, rightarg = int, function = hiding.no)",
	    "CREATE OPERATOR hiding.< (leftarg = int, rightarg = int, function = hiding.no)", NULL};
	static const char *const queries[] = {"name LIKE '%a%'", "label IN (3, 4)", "label < 3"};
	struct instance *instance = instance_shared();
	PGconn *conns[2] = {instance_connect(instance, NULL),
	                    cluster_connect(CLUSTER_COORDINATOR, NULL)};

	cluster_run_on(CLUSTER_COORDINATOR, "DROP SCHEMA IF EXISTS hiding CASCADE;"
	                                    "CREATE SCHEMA hiding");
	cluster_run_on(CLUSTER_COORDINATOR, "CREATE FUNCTION hiding.no(int, int) RETURNS bool"
	                                    " LANGUAGE sql IMMUTABLE AS 'SELECT false'");
	cluster_run_on(CLUSTER_COORDINATOR, "CREATE FUNCTION hiding.never(text, text) RETURNS bool"
	                                    " LANGUAGE sql IMMUTABLE AS 'SELECT false'");
	run_on_all(conns, "SET search_path = hiding, public, pg_catalog");
	for (size_t i = 0; operators[i]; i++) {
		const char *sql =
		    text("SELECT id FROM items WHERE %s ORDER BY embedding <-> '" Q8 "' LIMIT 10",
		         queries[i]);

		instance_skip_log(instance);
		run_on_all(conns, sql);
		instance_expect(instance, "routed", sql);
		cluster_run_on(CLUSTER_COORDINATOR, operators[i]);
		if (!cluster_is_citus()) { /* whose workers do not know of it */
			run_on_all(conns, sql);
			instance_expect(instance, "operator", sql);
		}
	}
	cluster_run_on(CLUSTER_COORDINATOR, "DROP SCHEMA hiding CASCADE");
	PQfinish(conns[0]);
	PQfinish(conns[1]);
}

/* ---- what goes wrong while settings are changed ---- */

/* The settings of one session and the query that fails leave in one batch. */
Test(state, trap_02_nothing_leaks_after_an_error)
{
	static const char fails[] =
	    "SELECT id, label / (label - label) FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 5";
	struct instance *instance = instance_shared();
	struct oracle oracle;

	oracle_open(&oracle);
	for (int i = 0; i < 4; i++) {
		PGconn *conn = instance_connect(
		    instance, "options='-c DateStyle=German -c extra_float_digits=-6'");
		PGresult *result;

		if (i % 2) /* its connections end in the midst of that batch */
			on_each_worker("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
			               " WHERE application_name = 'pgtopk'");
		result = PQexec(conn, fails);
		cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "22012");
		PQclear(result);
		oracle_routed(&oracle, EVERYTHING);
		PQclear(PQexec(conn, fails));
		cluster_run(conn, EVERYTHING);
		oracle_routed(&oracle, EVERYTHING);
		PQfinish(conn);
	}
	oracle_close(&oracle);
}

/* ---- encodings ---- */

#define IN_LATIN "dbname=latin"

static void make_latin(enum cluster_node node, const char *encoding)
{
	cluster_run_on(node, "DROP DATABASE IF EXISTS latin WITH (FORCE)");
	cluster_run_on(node, text("CREATE DATABASE latin TEMPLATE template0 ENCODING '%s'"
	                          " LC_COLLATE 'C' LC_CTYPE 'C'",
	                          encoding));
}

static void fill_latin(void)
{
	PGconn *coordinator = cluster_connect(CLUSTER_COORDINATOR, IN_LATIN);
	PGconn *worker = cluster_connect(CLUSTER_WORKER1, IN_LATIN);

	cluster_run(worker, "CREATE EXTENSION vector");
	cluster_run(worker, "CREATE TABLE t_0 (id int, name text, embedding vector(1))");
	cluster_run(coordinator, "CREATE EXTENSION vector");
	cluster_run(coordinator, "CREATE EXTENSION postgres_fdw");
	cluster_run(
	    coordinator,
	    text("CREATE SERVER w FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1',"
	         " port '%d', dbname 'latin')",
	         cluster_port(CLUSTER_WORKER1)));
	cluster_run(coordinator, "CREATE USER MAPPING FOR PUBLIC SERVER w"
	                         " OPTIONS (user 'postgres', password_required 'false')");
	cluster_run(coordinator, "CREATE TABLE t (id int, name text, embedding vector(1))"
	                         " PARTITION BY RANGE (id)");
	cluster_run(coordinator,
	            "CREATE FOREIGN TABLE t_0 PARTITION OF t FOR VALUES FROM (0) TO (9)"
	            " SERVER w");
	cluster_run(coordinator, "SET client_encoding = 'UTF8'");
	cluster_run(coordinator, "INSERT INTO t VALUES (1, 'caf\303\251', '[1]'), (2, 'b', '[2]')");
	PQfinish(coordinator);
	PQfinish(worker);
}

/* length() and its like count otherwise, and what a database cannot hold is an error there. */
Test(state, trap_11_databases_of_different_encodings)
{
	static const struct {
		const char *coordinator, *worker, *event;
	} cases[] = {
	    {"LATIN1", "LATIN1", "routed"},
	    {"LATIN1", "UTF8", "unlike"},
	    {"SQL_ASCII", "UTF8", "unlike"},
	    {"UTF8", "SQL_ASCII", "unlike"},
	};
	static const char *const encodings[] = {"UTF8", "LATIN1", "SQL_ASCII"};

	if (cluster_is_citus())
		return;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct instance own;

		make_latin(CLUSTER_COORDINATOR, cases[i].coordinator);
		make_latin(CLUSTER_WORKER1, cases[i].worker);
		fill_latin();
		instance_start(&own, NULL);
		for (size_t j = 0; j < sizeof(encodings) / sizeof(encodings[0]); j++) {
			PGconn *conns[2] = {instance_connect(&own, IN_LATIN),
			                    cluster_connect(CLUSTER_COORDINATOR, IN_LATIN)};

			run_on_all(conns, text("SET client_encoding = '%s'", encodings[j]));
			instance_skip_log(&own);
			run_on_all(conns, "SELECT name, length(name), upper(name) FROM t"
			                  " WHERE name < 'd' ORDER BY embedding <-> '[0]' LIMIT 5");
			instance_expect(&own, cases[i].event, encodings[j]);
			PQfinish(conns[0]);
			PQfinish(conns[1]);
		}
		instance_stop(&own);
	}
	cluster_run_on(CLUSTER_COORDINATOR, "DROP DATABASE latin WITH (FORCE)");
	cluster_run_on(CLUSTER_WORKER1, "DROP DATABASE latin WITH (FORCE)");
}
