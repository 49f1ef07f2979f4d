/*
 * What test_torture has found, each as small as it could be made.
 */
#include "t/lib/suite.h"

/* Rows of an answer that must have been routed. */
static int routed_rows(struct instance *instance, PGconn *conn, const char *sql)
{
	PGresult *result;
	int rows;

	result = PQexec(conn, sql);
	instance_expect(instance, "routed", sql);
	cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s", PQerrorMessage(conn));
	rows = PQntuples(result);
	PQclear(result);
	return rows;
}

/* No index holds NULLs; and a statement without parameters is planned but once. */
Test(torture_cases, the_second_pass_does_not_use_the_plan_of_the_first)
{
	struct instance instance;
	PGconn *conn;

	cluster_shard("case_bits", "id int, w bit(4)", "HASH (id)", 2, 0);
	cluster_run_shards("case_bits", 2, "CREATE INDEX ON @ USING hnsw (w bit_hamming_ops)");
	cluster_run_on(CLUSTER_COORDINATOR,
	               "INSERT INTO case_bits SELECT i, CASE WHEN i % 10 > 0 THEN (i % 16)::bit(4) "
	               "END FROM generate_series(1, 60) i");
	instance_start(&instance, NULL); /* which knows the table */
	conn = instance_connect(&instance, NULL);
	cluster_run(conn, "SET enable_seqscan = off");
	cr_assert_eq(
	    routed_rows(&instance, conn, "SELECT id FROM case_bits ORDER BY w <~> '1010' LIMIT 60"),
	    60);
	PQfinish(conn);
	instance_stop(&instance);
}

/* They are lifted as $1 and so on: which is the client's own, used or not. */
Test(torture_cases, declared_types_are_not_those_of_literals)
{
	static const char sql[] = "SELECT id FROM case_types ORDER BY v <-> '[1,2]' LIMIT 3";
	struct instance instance;
	PGconn *conn;
	Oid type = 0;
	const char *value = "7";
	PGresult *result;

	cluster_shard("case_types", "id int, v vector(2)", "HASH (id)", 2, 0);
	cluster_run_on(CLUSTER_COORDINATOR,
	               "INSERT INTO case_types SELECT i, '[1,2]' FROM generate_series(1, 9) i");
	instance_start(&instance, NULL);
	conn = instance_connect(&instance, NULL);
	result = PQprepare(conn, "", sql, 1, &type);
	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "42P18");
	PQclear(result);
	type = 20;
	PQclear(PQprepare(conn, "", sql, 1, &type));
	result = PQdescribePrepared(conn, "");
	cr_assert_eq(PQnparams(result), 1);
	cr_assert_eq(PQparamtype(result, 0), 20);
	PQclear(result);
	result = PQexecPrepared(conn, "", 1, &value, NULL, NULL, 0);
	cr_assert_eq(PQntuples(result), 3, "%s", PQerrorMessage(conn));
	PQclear(result);
	PQfinish(conn);
	instance_stop(&instance);
}
