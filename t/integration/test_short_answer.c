/*
 * Short answers: a shard that gives fewer rows than it was asked for has no more, or
 * its index scan was cut short. pgtopk.short_answer says what then.
 *
 * The table: in shard 0 only a few rows match, and they are the nearest ones that do,
 * behind a thousand nearer ones that do not; the matching rows of the other shards are
 * far away. A capped scan of shard 0 finds none of its own, and the others have enough:
 * LIMIT is reached, with the wrong rows.
 */
#include <string.h>

#include "t/lib/suite.h"

#define SHARDS 4
#define PER_SHARD 1500
#define MATCHING "20"
#define NEAR                                                                                       \
	"CASE WHEN i < " MATCHING " THEN 10 + i / 10.0 ELSE i * 7919 % 1000 / 100.0 END,"          \
	"CASE WHEN i < " MATCHING " THEN 10 + i / 10.0 ELSE i * 4729 % 1000 / 100.0 END,"          \
	"CASE WHEN i < " MATCHING " THEN 10 + i / 10.0 ELSE i * 6133 % 1000 / 100.0 END"
#define FAR "1000 + i * 7919 % 1000, i * 4729 % 1000, i * 6133 % 1000"
#define TRIES 1000
#define NEAREST "SELECT id FROM depths WHERE matches ORDER BY embedding <-> '[0,0,0]' LIMIT 10"

static void make_depths(PGconn *conn)
{
	if (*cluster_value(conn, "SELECT to_regclass('depths')"))
		return;
	cluster_shard("depths", "id int, matches bool, embedding vector(3)", "RANGE (id)", SHARDS,
	              PER_SHARD);
	for (unsigned shard = 0; shard < SHARDS; shard++)
		cluster_run_on(
		    cluster_shard_node(shard),
		    text("INSERT INTO depths_%u SELECT i, %s, ARRAY[%s]::vector"
		         " FROM generate_series(%u, %u) i;"
		         "CREATE INDEX ON depths_%u USING hnsw (embedding vector_l2_ops);"
		         "ANALYZE depths_%u",
		         shard, shard ? "true" : "i < " MATCHING, shard ? FAR : NEAR,
		         shard * PER_SHARD, (shard + 1) * PER_SHARD - 1, shard, shard));
}

static PGconn *client(void)
{
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, NULL);

	make_depths(conn);
	PQfinish(conn);
	conn = instance_connect(instance_shared(), NULL);
	/* the planner would scan such small shards sequentially */
	cluster_run(conn, "SET enable_seqscan = off; SET hnsw.ef_search = 10;"
	                  "SET hnsw.max_scan_tuples = 100");
	return conn;
}

/* The ids of a routed query, by commas. */
static const char *routed(PGconn *conn, const char *sql)
{
	char list[1024] = "";
	PGresult *result = PQexec(conn, sql);

	cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s", PQerrorMessage(conn));
	for (int i = 0; i < PQntuples(result); i++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i ? "," : "",
		         PQgetvalue(result, i, 0));
	PQclear(result);
	return text("%s", list);
}

static const char *sqlstate(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);
	const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	code = text("%s", code ? code : "none");
	PQclear(result);
	return code;
}

/* Nearest first in shard 0, those that the capped scan did not reach. */
#define RIGHT "0,1,2,3,4,5,6,7,8,9"

Test(short_answer, trap_13_a_shard_that_is_cut_short_is_asked_again_exactly)
{
	struct instance *instance = instance_shared();
	PGconn *conn = client();
	const char *line;

	instance_skip_log(instance);
	cr_assert_str_eq(routed(conn, NEAREST), RIGHT);
	line = instance_expect(instance, "routed", NEAREST);
	cr_assert_eq(instance_number(line, "refilled"), 1, "%s", line);
	cr_assert_eq(instance_number(line, "received"), 10 * SHARDS, "%s", line);
	PQfinish(conn);
}

Test(short_answer, accepted_it_is_left_at_that)
{
	struct instance *instance = instance_shared();
	PGconn *conn = client();
	const char *line;

	cluster_run(conn, "SET pgtopk.short_answer = accept");
	instance_skip_log(instance);
	cr_assert_str_neq(routed(conn, NEAREST), RIGHT);
	line = instance_expect(instance, "routed", NEAREST);
	cr_assert_eq(instance_number(line, "refilled"), 0, "%s", line);
	cr_assert_eq(instance_number(line, "accepted"), 1, "%s", line);
	PQfinish(conn);
}

Test(short_answer, as_an_error_it_fails_the_statement_and_its_block)
{
	struct instance *instance = instance_shared();
	PGconn *conn = client();

	cluster_run(conn, "SET pgtopk.short_answer = error");
	instance_skip_log(instance);
	cr_assert_str_eq(sqlstate(conn, NEAREST), "54000");
	instance_expect(instance, "short_answer", NEAREST);
	cluster_run(conn, "BEGIN");
	cr_assert_str_eq(sqlstate(conn, NEAREST), "54000");
	cr_assert_eq(PQtransactionStatus(conn), PQTRANS_INERROR);
	cr_assert_str_eq(sqlstate(conn, "SELECT 1"), "25P02");
	cluster_run(conn, "ROLLBACK; SET hnsw.max_scan_tuples = 20000");
	instance_skip_log(instance);
	cr_assert_str_eq(routed(conn, NEAREST), RIGHT, "nothing is cut short now");
	instance_expect(instance, "routed", NEAREST);
	PQfinish(conn);
}

/* The block is failed at the coordinator by a statement that the client must not notice. */
Test(short_answer, a_failed_block_leaves_the_clients_unnamed_statement)
{
	PGconn *conn = client();
	PGresult *result;

	cluster_run(conn, "SET pgtopk.short_answer = error");
	PQclear(PQprepare(conn, "begin", "BEGIN", 0, NULL));
	PQclear(PQprepare(conn, "rollback", "ROLLBACK", 0, NULL));
	PQclear(PQprepare(conn, "nearest", NEAREST, 0, NULL));
	PQclear(PQexecPrepared(conn, "begin", 0, NULL, NULL, NULL, 0));
	PQclear(PQprepare(conn, "", "SELECT 7", 0, NULL));
	result = PQexecPrepared(conn, "nearest", 0, NULL, NULL, NULL, 0);
	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "54000");
	PQclear(result);
	cr_assert_eq(PQtransactionStatus(conn), PQTRANS_INERROR);
	PQclear(PQexecPrepared(conn, "rollback", 0, NULL, NULL, NULL, 0));
	result = PQexecPrepared(conn, "", 0, NULL, NULL, NULL, 0);
	cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s", PQerrorMessage(conn));
	cr_assert_str_eq(PQgetvalue(result, 0, 0), "7");
	PQclear(result);
	cr_assert_str_eq(
	    cluster_value(conn,
	                  "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'pgtopk%'"),
	    "0");
	PQfinish(conn);
}

Test(short_answer, shards_that_have_no_more_are_no_error)
{
	PGconn *conn = client();

	cluster_run(conn, "SET pgtopk.short_answer = error; SET hnsw.max_scan_tuples = 20000");
	cr_assert_str_eq(
	    routed(conn,
	           "SELECT id FROM depths WHERE id < 3 ORDER BY embedding <-> '[0,0,0]' LIMIT 10"),
	    "0,1,2");
	PQfinish(conn);
}

Test(short_answer, an_unknown_value_is_refused)
{
	PGconn *conn = instance_connect(instance_shared(), NULL);

	cr_assert_str_eq(sqlstate(conn, "SET pgtopk.short_answer = perhaps"), "22023");
	cr_assert_str_eq(sqlstate(conn, "SET pgtopk.short_answer = Accept"), "none");
	PQfinish(conn);
}

/* An index scan cannot be what was short where the session has forbidden it. */
Test(short_answer, nobody_asks_twice_without_an_index)
{
	struct instance *instance = instance_shared();
	PGconn *conn = client();
	const char *sql =
	    "SELECT id FROM depths WHERE id < 3 ORDER BY embedding <-> '[0,0,0]' LIMIT 10";
	const char *line;

	cluster_run(conn, "SET enable_indexscan = off");
	instance_skip_log(instance);
	cr_assert_str_eq(routed(conn, sql), "0,1,2");
	line = instance_expect(instance, "routed", sql);
	cr_assert_eq(instance_number(line, "received"), 3, "%s", line);
	PQfinish(conn);
}

/*
 * A row that is moved from one of the coordinator's own partitions to another and back is
 * there exactly once, at any time; in the second pass as well, which LIMIT 20 needs.
 */
Test(short_answer, a_row_that_moves_between_local_partitions_is_there_once)
{
	PGconn *writer = cluster_connect(CLUSTER_COORDINATOR, NULL);
	static const char *const options[] = {"--log-routed", "on", "--lanes", "4", NULL};
	PGcancel *cancel;
	struct instance instance;
	char error[256];
	PGconn *conn;

	cluster_run(writer, "SET statement_timeout = '30s'; DROP TABLE IF EXISTS flipping;"
	                    "CREATE TABLE flipping (id int, side int, embedding vector(3))"
	                    " PARTITION BY LIST (side);"
	                    "CREATE TABLE flipping_0 PARTITION OF flipping FOR VALUES IN (0);"
	                    "CREATE TABLE flipping_1 PARTITION OF flipping FOR VALUES IN (1);"
	                    "INSERT INTO flipping SELECT i, i % 2, ARRAY[i, i, i]::vector"
	                    " FROM generate_series(1, 10) i");
	instance_start(&instance, options);
	conn = instance_connect(&instance, NULL);
	cr_assert(PQsendQuery(writer, "DO $$ BEGIN FOR i IN 1..1000000 LOOP "
	                              "UPDATE flipping SET side = 1 - side WHERE id = 5;"
	                              "COMMIT; END LOOP; END $$"));
	for (int i = 0; i < TRIES; i++)
		cr_assert_str_eq(
		    routed(conn,
		           "SELECT id FROM flipping ORDER BY embedding <-> '[0,0,0]' LIMIT 20"),
		    "1,2,3,4,5,6,7,8,9,10", "try %d", i);
	cr_assert_eq(instance_count(&instance, "event=routed"), TRIES);
	cr_assert(PQconsumeInput(writer) && PQisBusy(writer), "it has moved all the time: %s",
	          PQresultErrorMessage(PQgetResult(writer)));
	cancel = PQgetCancel(writer);
	cr_assert(PQcancel(cancel, error, sizeof(error)));
	PQfreeCancel(cancel);
	PQfinish(writer);
	PQfinish(conn);
	instance_stop(&instance);
}
