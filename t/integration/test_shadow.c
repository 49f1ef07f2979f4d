/*
 * Shadow: pgtopk.route = shadow: the client gets the coordinator's answer, whatever
 * becomes of the routed one, and the log says how they compare.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "t/lib/oracle.h"
#include "t/lib/raw.h"
#include "t/lib/suite.h"

#define TOPK "SELECT id, name FROM items ORDER BY embedding <-> '" Q8 "', id LIMIT 10"
#define WITH "SELECT id FROM items WHERE label < $2 ORDER BY embedding <-> $1, id LIMIT 7"

static const char *const shadow_options[] = {"--route", "shadow", NULL};

static void same_as_direct(PGconn *conn, const char *sql)
{
	PGconn *direct = cluster_connect(CLUSTER_COORDINATOR, NULL);
	PGresult *ours = PQexec(conn, sql), *theirs = PQexec(direct, sql);

	cr_assert_eq(PQresultStatus(theirs), PGRES_TUPLES_OK, "%s", PQerrorMessage(direct));
	cr_assert_null(oracle_difference(ours, theirs), "%s: %s", sql,
	               oracle_difference(ours, theirs));
	PQclear(ours);
	PQclear(theirs);
	PQfinish(direct);
}

Test(shadow, the_coordinator_answers_and_the_shards_agree)
{
	static const char *const values[] = {Q8, "5"};
	PGconn *conn = instance_connect(instance_shared(), NULL);
	struct instance *instance = instance_shared();
	PGresult *result;

	cluster_run(conn, "SET pgtopk.route = shadow");
	for (unsigned i = 1; i <= 3; i++) { /* before and after the mode is known */
		same_as_direct(conn, TOPK);
		instance_await(instance, "event=shadow_same");
		cr_assert_eq(instance_count(instance, "event=shadow_same"), 1);
		instance_skip_log(instance);
	}
	same_as_direct(conn, "SELECT id FROM items WHERE label = 3 "
	                     "ORDER BY embedding <=> '" Q8 "', id LIMIT 1000");
	instance_await(instance, "event=shadow_same");
	instance_skip_log(instance);
	result = PQexecParams(conn, WITH, 2, NULL, values, NULL, NULL, 0);
	cr_assert_eq(PQntuples(result), 7);
	PQclear(result);
	instance_await(instance, "event=shadow_same");
	instance_skip_log(instance);
	PQclear(PQprepare(conn, "named", WITH, 0, NULL));
	for (int format = 0; format < 2; format++) {
		result = PQexecPrepared(conn, "named", 2, values, NULL, NULL, format);
		cr_assert_eq(PQntuples(result), 7);
		PQclear(result);
		instance_await(instance, "event=shadow_same");
		instance_await(instance, " rows=7 routed_rows=7 common=7 missing=0 extra=0 "
		                         "misordered=0 recall=1.000 ");
		cr_assert_eq(instance_count(instance, "event=routed"), 0);
		cr_assert_eq(instance_count(instance, "event=shadow_differs"), 0);
		instance_skip_log(instance);
	}
	PQfinish(conn);
}

/* Which of them the coordinator took is its own business. */
Test(shadow, ties_are_no_difference)
{
	PGconn *conn = instance_connect(instance_shared(), NULL);
	struct instance *instance = instance_shared();

	cluster_run(conn, "SET pgtopk.route = shadow");
	for (int limit = 1; limit < 40; limit += 3) {
		cluster_run(
		    conn, text("SELECT id FROM items ORDER BY ties <-> '[1,2,3]' LIMIT %d", limit));
		instance_await(instance, text("event=shadow_same session="));
		cr_assert_eq(instance_count(instance, "event=shadow_differs"), 0);
		instance_skip_log(instance);
	}
	PQfinish(conn);
}

/* The coordinator's index scans give 40 rows of each shard. */
Test(shadow, what_differs_is_logged_and_counted)
{
	struct instance own;
	PGconn *conn;

	if (cluster_is_citus()) {
		SKIP("what_differs_is_logged_and_counted", "shards are made by hand here");
		return;
	}
	cluster_shard("shadowed", "id int, e vector(3)", "HASH (id)", 4, 0);
	conn = cluster_connect(CLUSTER_COORDINATOR, NULL);
	cluster_run(conn, "INSERT INTO shadowed SELECT i, ARRAY[i, i % 7, i % 11]::vector "
	                  "FROM generate_series(1, 1000) i");
	PQfinish(conn);
	cluster_run_shards("shadowed", 4, "CREATE INDEX ON @ USING hnsw (e vector_l2_ops)");
	cluster_run_everywhere("ALTER DATABASE postgres SET enable_seqscan = off");
	instance_start(&own, shadow_options);
	conn = instance_connect(&own, NULL);
	cluster_run(conn, "SET enable_seqscan = on");
	cluster_run(conn, "SELECT id FROM shadowed ORDER BY e <-> '[1,2,3]' LIMIT 300");
	instance_await(&own, "event=shadow_differs");
	instance_await(&own, " table=shadowed limit=300 rows=160 routed_rows=300 common=160 "
	                     "missing=0 extra=140 misordered=0 recall=0.533 ");
	kill(own.pid, SIGUSR1);
	instance_await(&own, "shadow_same=0 shadow_differs=1 shadow_failed=0 shadow_skipped=0");
	PQfinish(conn);
	instance_stop(&own);
	cluster_run_everywhere("ALTER DATABASE postgres RESET enable_seqscan");
	cluster_run_on(CLUSTER_COORDINATOR, "DROP TABLE shadowed");
}

Test(shadow, a_failure_never_reaches_the_client)
{
	static const char *const options[] = {"--route",  "shadow",          "--log-level", "debug",
	                                      "--worker", "sslmode=require", NULL};
	struct instance own;
	PGconn *conn;

	instance_start(&own, options);
	conn = instance_connect(&own, NULL);
	same_as_direct(conn, TOPK);
	instance_await(&own, "level=debug event=shadow_failed");
	same_as_direct(conn, TOPK);
	cr_assert_eq(instance_count(&own, "event=shadow_differs"), 0);
	PQfinish(conn);
	instance_stop(&own);
}

/* Nothing of what runs beside may be seen. */
Test(shadow, the_session_s_state_is_its_own)
{
	PGconn *conn = instance_connect(instance_shared(), NULL);
	struct instance *instance = instance_shared();

	cluster_run(conn, "SET pgtopk.route = shadow; CREATE TEMP SEQUENCE s; "
	                  "SELECT nextval('s')");
	PQclear(PQprepare(conn, "", "SELECT 'unnamed'", 0, NULL));
	PQclear(PQexec(conn, "SELECT 1"));
	cluster_run(conn, TOPK);
	instance_await(instance, "event=shadow_same");
	cr_assert_str_eq(cluster_value(conn, "SELECT currval('s')"), "1");
	cr_assert_str_eq(cluster_value(conn, "SHOW pgtopk.route"), "shadow");
	cr_assert_str_eq(cluster_value(conn, "SELECT count(*) FROM pg_prepared_statements"), "0");
	cr_assert_eq(PQtransactionStatus(conn), PQTRANS_IDLE);
	instance_skip_log(instance);
	cluster_run(conn, "BEGIN");
	cluster_run(conn, TOPK);
	cr_assert_eq(PQtransactionStatus(conn), PQTRANS_INTRANS);
	cluster_run(conn, "COMMIT");
	cr_assert_eq(instance_count(instance, "event=shadow_same"), 0);
	PQfinish(conn);
}

Test(shadow, on_and_off_hold_at_once)
{
	PGconn *conn = instance_connect(instance_shared(), NULL);
	struct instance *instance = instance_shared();

	cluster_run(conn, "SET pgtopk.route = shadow");
	cluster_run(conn, TOPK);
	instance_await(instance, "event=shadow_same");
	cluster_run(conn, "SET pgtopk.route = on");
	instance_skip_log(instance);
	cluster_run(conn, TOPK);
	instance_expect(instance, "routed", TOPK);
	cluster_run(conn, "SET pgtopk.route = shadow");
	cluster_run(conn, TOPK);
	instance_await(instance, "event=shadow_same");
	cluster_run(conn, "SET pgtopk.route = off");
	instance_skip_log(instance);
	cluster_run(conn, TOPK);
	instance_expect(instance, "route_off", TOPK);
	PQfinish(conn);
}

/* From shadow mode to on and back in the middle of named statements and unnamed ones. */
Test(shadow, statements_outlive_the_mode)
{
	static const char *const values[] = {Q8, "5"};
	static const char *const modes[] = {"on", "shadow", "off", "shadow", "on"};
	PGconn *conn = instance_connect(instance_shared(), NULL);

	for (size_t i = 0; i < 5; i++) {
		PGresult *result;

		PQclear(PQprepare(conn, "", WITH, 0, NULL));
		if (i == 0)
			PQclear(PQprepare(conn, "named", WITH, 0, NULL));
		for (int named = 0; named < 2; named++) {
			result =
			    PQexecPrepared(conn, named ? "named" : "", 2, values, NULL, NULL, 0);
			cr_assert_eq(PQntuples(result), 7, "%s", PQerrorMessage(conn));
			PQclear(result);
			if (!named) /* by the extended protocol: the unnamed statement stays */
				PQclear(PQexecParams(conn,
				                     "SELECT set_config('pgtopk.route', $1, false)",
				                     1, NULL, &modes[i], NULL, NULL, 0));
		}
	}
	PQfinish(conn);
}

Test(shadow, explain_is_the_coordinator_s)
{
	PGconn *conn = instance_connect(instance_shared(), NULL);

	cluster_run(conn, "SET pgtopk.route = shadow");
	for (int i = 0; i < 2; i++)
		same_as_direct(conn, "EXPLAIN (COSTS OFF) " TOPK);
	PQfinish(conn);
}

/* Many at once, and different ones: replies keep their order, at most one is shadowed. */
Test(shadow, pipelines_keep_their_order)
{
	struct raw raw;
	char *said;
	const char *at;

	raw_login(&raw, instance_shared()->port);
	wire_put_query(&raw.out, "SET pgtopk.route = shadow");
	wire_put_query(&raw.out, TOPK);
	raw_send(&raw, 0);
	free(raw_read(&raw, WIRE_BE_ReadyForQuery, 2));
	for (int i = 0; i < 20; i++) {
		wire_put_query(&raw.out, TOPK);
		wire_put_query(&raw.out, text("SELECT 'between %d'", i));
		raw_put_statement(&raw.out, TOPK, 0, NULL);
		raw_put_statement(&raw.out, text("SELECT 'after %d'", i), 0, NULL);
		wire_put_bare(&raw.out, WIRE_FE_Sync);
	}
	raw_send(&raw, 0);
	said = raw_read(&raw, WIRE_BE_ReadyForQuery, 60);
	at = said;
	for (int i = 0; i < 20; i++) {
		at = strstr(at, "CommandComplete SELECT 10");
		cr_assert_not_null(at);
		at = strstr(at, text("between %d", i));
		cr_assert_not_null(at);
		at = strstr(at, "CommandComplete SELECT 10");
		cr_assert_not_null(at);
		at = strstr(at, text("after %d", i));
		cr_assert_not_null(at, "%s", said);
	}
	free(said);
	raw_close(&raw);
}

Test(shadow, a_bad_value_is_an_error)
{
	PGconn *conn = instance_connect(instance_shared(), NULL);
	PGresult *result = PQexec(conn, "SET pgtopk.route = shadw");

	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "22023");
	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY),
	                 "invalid value for parameter \"pgtopk.route\": \"shadw\"");
	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_MESSAGE_HINT),
	                 "Available values: off, on, shadow.");
	PQclear(result);
	PQfinish(conn);
}

/* What comes at once after it may change what it means: it has no shadow then. */
Test(shadow, a_statement_that_is_overtaken_has_none)
{
	static const char *const options[] = {"--route", "shadow", "--log-level", "debug", NULL};
	struct instance own;
	struct raw raw;

	instance_start(&own, options);
	raw_login(&raw, own.port);
	wire_put_query(&raw.out, TOPK);
	raw_send(&raw, 0);
	free(raw_read(&raw, WIRE_BE_ReadyForQuery, 1));
	instance_await(&own, "event=shadow_same");
	wire_put_query(&raw.out, TOPK);
	wire_put_query(&raw.out, "SET search_path = nowhere");
	raw_send(&raw, 0);
	free(raw_read(&raw, WIRE_BE_ReadyForQuery, 2));
	instance_await(&own, " why=\"another statement follows\"");
	cr_assert_eq(instance_count(&own, "event=shadow_same"), 1);
	raw_close(&raw);
	instance_stop(&own);
}
