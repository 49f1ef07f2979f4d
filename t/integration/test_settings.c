/*
 * Settings: what a session has set holds on the workers, and in no other session;
 * pgtopk's own settings behave like PostgreSQL's.
 */
#include <stdlib.h>
#include <string.h>

#include "t/lib/oracle.h"
#include "t/lib/suite.h"

#define TOP10 "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 10"
#define EVERYTHING "SELECT * FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 30"

/* Runs the query on a connection and returns a number of the routed line. */
static long routed_number(struct instance *instance, PGconn *conn, const char *sql,
                          const char *name)
{
	instance_skip_log(instance);
	cluster_run(conn, sql);
	return instance_number(instance_expect(instance, "routed", sql), name);
}

static void ef_search_is(struct instance *instance, PGconn *conn, long wanted, const char *after)
{
	long found = routed_number(instance, conn, TOP10, "ef_search");

	if (instance->pid)
		cr_assert_eq(found, wanted, "ef_search is %ld, not %ld, after: %s", found, wanted,
		             after);
}

Test(settings, trap_02_ef_search)
{
	static const struct {
		const char *sql;
		long ef_search;
	} steps[] = {
	    {"SELECT 1", 40},
	    {"SET hnsw.ef_search = 200", 200},
	    {"RESET hnsw.ef_search", 40},
	    {"SELECT set_config('hnsw.ef_search', '77', false)", 77},
	    {"BEGIN; SET LOCAL hnsw.ef_search = 300; COMMIT", 77},
	    {"BEGIN; SET hnsw.ef_search = 301; ROLLBACK", 77},
	    {"BEGIN; SET hnsw.ef_search = 302; COMMIT", 302},
	    {"BEGIN; SAVEPOINT s; SET hnsw.ef_search = 1; ROLLBACK TO s; COMMIT", 302},
	    {"DO $$ BEGIN PERFORM set_config('hnsw.ef_search', '88', false); END $$", 88},
	    {"SET hnsw.ef_search TO DEFAULT", 40},
	    {"SET SESSION hnsw.ef_search = 1000", 1000},
	    {"RESET ALL", 40},
	    {"SET hnsw.ef_search = 123", 123},
	    {"DISCARD ALL", 40},
	    {"SET hnsw.ef_search = 5", 10}, /* not fewer than the rows asked for */
	};
	struct instance *instance = instance_shared();
	PGconn *conn = instance_connect(instance, NULL);

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		cluster_run(conn, steps[i].sql);
		ef_search_is(instance, conn, steps[i].ef_search, steps[i].sql);
	}
	PQfinish(conn);
}

Test(settings, trap_02_set_before_the_library_is_loaded)
{
	struct instance *instance = instance_shared();
	PGconn *conn = instance_connect(instance, NULL);

	cluster_run(conn, "SET hnsw.ef_search = 321");
	ef_search_is(instance, conn, 321, "SET as the first statement");
	PQfinish(conn);
	conn = instance_connect(instance, "options='-c hnsw.ef_search=322'");
	ef_search_is(instance, conn, 322, "startup options");
	cluster_run(conn, "SET hnsw.ef_search = 400");
	ef_search_is(instance, conn, 400, "SET over startup options");
	cluster_run(conn, "RESET hnsw.ef_search");
	ef_search_is(instance, conn, 322, "RESET to startup options");
	PQfinish(conn);
}

Test(settings, trap_02_of_role_and_database)
{
	struct instance *instance = instance_shared();
	PGconn *conn;

	cluster_run_everywhere("DO $$ BEGIN CREATE ROLE tuned LOGIN SUPERUSER; "
	                       "EXCEPTION WHEN duplicate_object THEN NULL; END $$");
	cluster_run_on(CLUSTER_COORDINATOR, "ALTER ROLE tuned IN DATABASE postgres RESET ALL;"
	                                    "ALTER ROLE tuned SET hnsw.ef_search = 150");
	conn = instance_connect(instance, "user=tuned");
	ef_search_is(instance, conn, 150, "ALTER ROLE");
	PQfinish(conn);
	cluster_run_on(CLUSTER_COORDINATOR,
	               "ALTER ROLE tuned IN DATABASE postgres SET hnsw.ef_search = 160");
	conn = instance_connect(instance, "user=tuned");
	ef_search_is(instance, conn, 160, "ALTER ROLE IN DATABASE");
	PQfinish(conn);
	cluster_run_on(CLUSTER_COORDINATOR, "ALTER DATABASE postgres SET hnsw.ef_search = 170");
	conn = instance_connect(instance, NULL);
	cluster_run_on(CLUSTER_COORDINATOR, "ALTER DATABASE postgres RESET hnsw.ef_search");
	ef_search_is(instance, conn, 170, "ALTER DATABASE");
	PQfinish(conn);
}

Test(settings, trap_02_nothing_leaks_through_the_pool)
{
	struct instance *instance = instance_shared();
	PGconn *a = instance_connect(instance, NULL);
	struct oracle b;

	oracle_open(&b);
	for (int i = 0; i < 3; i++) {
		cluster_run(a, "SET hnsw.ef_search = 555; SET DateStyle = 'German'; "
		               "SET TimeZone = 'Asia/Tokyo'; SET bytea_output = 'escape'; "
		               "SET extra_float_digits = -3; SET IntervalStyle = 'iso_8601'; "
		               "SET client_encoding = 'LATIN1'");
		cluster_run(a, EVERYTHING);
		cr_assert_eq(instance->pid ? 555 : -1,
		             routed_number(instance, a, TOP10, "ef_search"));
		oracle_routed(&b, EVERYTHING);
		cr_assert_eq(instance->pid ? 40 : -1,
		             routed_number(instance, b.proxy, TOP10, "ef_search"));
		cluster_run(a, "RESET ALL");
	}
	PQfinish(a);
	oracle_close(&b);
}

Test(settings, trap_11_output_formats)
{
	static const char *const settings[] = {"SET DateStyle = 'German'",
	                                       "SET DateStyle = 'SQL, DMY'",
	                                       "SET DateStyle = 'Postgres, MDY'",
	                                       "SET DateStyle = 'ISO, DMY'",
	                                       "SET TimeZone = 'Asia/Tokyo'",
	                                       "SET TimeZone = 'America/New_York'",
	                                       "SET TIME ZONE INTERVAL '+05:30' HOUR TO MINUTE",
	                                       "SET TimeZone = '<A>-3'",
	                                       "SET IntervalStyle = 'iso_8601'",
	                                       "SET IntervalStyle = 'postgres_verbose'",
	                                       "SET IntervalStyle = 'sql_standard'",
	                                       "SET bytea_output = 'escape'",
	                                       "SET extra_float_digits = -5",
	                                       "SET extra_float_digits = 0",
	                                       "SET extra_float_digits = 3",
	                                       "SET client_encoding = 'LATIN1'",
	                                       "SET client_encoding = 'UTF8'",
	                                       "SET NAMES 'LATIN9'",
	                                       "RESET ALL",
	                                       NULL};
	struct oracle oracle;

	oracle_open(&oracle);
	for (const char *const *setting = settings; *setting; setting++) {
		struct oracle_call call = {.sql = EVERYTHING, .result_format = 1};

		oracle_set(&oracle, *setting);
		if (strcmp(*setting, "RESET ALL") == 0)
			cluster_run(oracle.plain, "SET search_path = plain, public");
		oracle_routed(&oracle, EVERYTHING);
		oracle_check_call(&oracle, &call, "routed");
		oracle_routed(&oracle,
		              "SELECT made::text || span::text || weight::text, embedding::text "
		              "FROM items WHERE made > '02-03-2025' ORDER BY embedding <-> '" Q8
		              "' LIMIT 10");
	}
	oracle_close(&oracle);
}

Test(settings, trap_11_settings_of_other_sorts)
{
	struct oracle oracle;

	oracle_open(&oracle);
	oracle_set(&oracle, "SET client_encoding = 'SJIS'");
	oracle_check(&oracle, TOP10, "settings");
	oracle_set(&oracle, "SET client_encoding = 'UTF8'");
	oracle_set(&oracle, "SET standard_conforming_strings = off");
	oracle_check(&oracle, TOP10, "settings");
	oracle_set(&oracle, "SET standard_conforming_strings = on");
	oracle_routed(&oracle, TOP10);
	cluster_run(oracle.proxy, "SET search_path = plain, public");
	cluster_run(oracle.direct, "SET search_path = plain, public");
	oracle_check(&oracle, TOP10, "not_sharded");
	oracle_set(&oracle, "SET search_path = ''");
	oracle_routed(&oracle,
	              "SELECT id FROM public.items ORDER BY embedding OPERATOR(public.<->) '" Q8
	              "' LIMIT 10");
	oracle_close(&oracle);
}

/* An operator that is not in the search path is an error on the coordinator, too. */
Test(settings, trap_09_search_path)
{
	struct oracle oracle;
	PGresult *result;

	oracle_open(&oracle);
	oracle_routed(&oracle, TOP10);
	cluster_run(oracle.proxy, "SET search_path = pg_catalog");
	result = PQexec(oracle.proxy,
	                "SELECT id FROM public.items ORDER BY embedding <-> '" Q8 "' LIMIT 10");
	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "42883");
	PQclear(result);
	oracle_close(&oracle);
}

/* ---- pgtopk's own ---- */

Test(settings, route)
{
	static const struct {
		const char *sql, *event;
	} steps[] = {
	    {"SET pgtopk.route = off", "route_off"},
	    {"SET pgtopk.route = on", "routed"},
	    {"SET pgtopk.route TO 'false'", "route_off"},
	    {"RESET pgtopk.route", "routed"},
	    {"SET pgtopk.route = 0", "route_off"},
	    {"SET pgtopk.route = yes", "routed"},
	    {"BEGIN; SET LOCAL pgtopk.route = off; COMMIT", "routed"},
	    {"BEGIN; SET pgtopk.route = off; COMMIT", "route_off"},
	    {"SELECT set_config('pgtopk.route', 'on', false)", "routed"},
	    {"SET pgtopk.route = off", "route_off"},
	    {"DISCARD ALL", "routed"},
	};
	struct oracle oracle;
	PGconn *conn;

	oracle_open(&oracle);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		cluster_run(oracle.proxy, steps[i].sql);
		oracle_check(&oracle, TOP10, steps[i].event);
	}
	conn = instance_connect(oracle.instance, "options='-c pgtopk.route=off'");
	instance_skip_log(oracle.instance);
	cluster_run(conn, TOP10);
	instance_expect(oracle.instance, "route_off", "startup options");
	PQfinish(conn);
	oracle_close(&oracle);
}

Test(settings, overfetch)
{
	struct instance *instance = instance_shared();
	PGconn *conn = instance_connect(instance, NULL);

	if (instance->pid) {
		cr_assert_eq(routed_number(instance, conn, TOP10, "asked"), 80);
		cluster_run(conn, "SET pgtopk.overfetch = 2.5");
		cr_assert_eq(routed_number(instance, conn, TOP10, "asked"), 200);
		cluster_run(conn, "SET pgtopk.overfetch = '10'");
		cr_assert_eq(routed_number(instance, conn, TOP10, "asked"), 800);
		cr_assert_eq(routed_number(instance, conn, TOP10, "rows"), 10);
		cluster_run(conn, "RESET pgtopk.overfetch");
		cr_assert_eq(routed_number(instance, conn, TOP10, "asked"), 80);
	}
	PQfinish(conn);
}

Test(settings, bad_values)
{
	static const struct {
		const char *sql, *sqlstate, *message;
	} cases[] = {
	    {"SET pgtopk.route = maybe", "22023",
	     "invalid value for parameter \"pgtopk.route\": \"maybe\""},
	    {"SET pgtopk.route TO '2'", "22023",
	     "invalid value for parameter \"pgtopk.route\": \"2\""},
	    {"SET pgtopk.overfetch = 0.5", "22023",
	     "0.5 is outside the valid range for parameter \"pgtopk.overfetch\" (1 .. 100)"},
	    {"SET pgtopk.overfetch = 101", "22023",
	     "101 is outside the valid range for parameter \"pgtopk.overfetch\" (1 .. 100)"},
	    {"SET pgtopk.overfetch = 'much'", "22023",
	     "invalid value for parameter \"pgtopk.overfetch\": \"much\""},
	    {"SET LOCAL pgtopk.overfetch TO 0", "22023",
	     "0 is outside the valid range for parameter \"pgtopk.overfetch\" (1 .. 100)"},
	};
	struct oracle oracle;

	oracle_open(&oracle);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]) && oracle.instance->pid; i++) {
		PGresult *results[2] = {
		    PQexec(oracle.proxy, cases[i].sql),
		    PQexecParams(oracle.proxy, cases[i].sql, 0, NULL, NULL, NULL, NULL, 0)};

		for (int j = 0; j < 2; j++) {
			cr_assert_eq(PQresultStatus(results[j]), PGRES_FATAL_ERROR, "%s",
			             cases[i].sql);
			cr_assert_str_eq(PQresultErrorField(results[j], PG_DIAG_SQLSTATE),
			                 cases[i].sqlstate);
			cr_assert_str_eq(PQresultErrorField(results[j], PG_DIAG_MESSAGE_PRIMARY),
			                 cases[i].message);
			PQclear(results[j]);
		}
		oracle_routed(&oracle, TOP10);
	}
	oracle_close(&oracle);
}

Test(settings, bad_value_fails_the_transaction)
{
	struct instance *instance = instance_shared();
	PGconn *conn = instance_connect(instance, NULL);
	PGresult *result;

	if (instance->pid) {
		cluster_run(conn, "BEGIN");
		result = PQexec(conn, "SET pgtopk.route = maybe");
		cr_assert_eq(PQresultStatus(result), PGRES_FATAL_ERROR);
		cr_assert_eq(PQtransactionStatus(conn), PQTRANS_INERROR);
		PQclear(result);
		result = PQexec(conn, "SELECT 1");
		cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "25P02");
		PQclear(result);
		cluster_run(conn, "ROLLBACK");
		instance_skip_log(instance);
		cluster_run(conn, TOP10);
		instance_expect(instance, "routed", TOP10);
	}
	PQfinish(conn);
}

/* A statement that needs pgvector loads it, wherever it is run. */
Test(settings, pgvectors_settings_are_there_after_a_routed_query)
{
	PGconn *conn = instance_connect(instance_shared(), NULL);
	PGresult *result;

	cluster_run(conn, "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 1");
	cr_assert_str_eq(cluster_value(conn, "SHOW hnsw.ef_search"), "40");
	result = PQexec(conn, "SET hnsw.ef_search = 'many'");
	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "22023");
	PQclear(result);
	PQfinish(conn);
}
