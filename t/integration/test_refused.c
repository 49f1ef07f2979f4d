/*
 * Refused: vector queries that must go to the coordinator: each for the reason that
 * is expected, with the coordinator's own rows or error.
 */
#include <stdlib.h>
#include <string.h>

#include "t/lib/oracle.h"
#include "t/lib/suite.h"

#define DISTANCE "ORDER BY embedding <-> '" Q8 "'"

struct refused {
	const char *reason, *sql;
};

static void all_refused(const struct refused *cases)
{
	struct oracle oracle;

	oracle_open(&oracle);
	for (; cases->sql; cases++) {
		/* Citus' own description of a query of one shard names no table */
		if (!cluster_is_citus() || strcmp(cases->reason, "single_shard") != 0)
			oracle_check(&oracle, cases->sql, cases->reason);
	}
	oracle_close(&oracle);
}

Test(refused, trap_10_clauses)
{
	static const struct refused cases[] = {
	    {"select_clause",
	     "SELECT DISTINCT id, embedding <-> '" Q8 "' FROM items ORDER BY 2, 1 LIMIT 5"},
	    {"select_clause", "WITH x AS (SELECT 1) SELECT id FROM items " DISTANCE " LIMIT 5"},
	    {"select_clause", "SELECT label, min(embedding <-> '" Q8 "') FROM items GROUP BY label "
	                      "ORDER BY avg(embedding) <-> '" Q8 "', 1 LIMIT 3"},
	    {"from_clause", "SELECT a.id FROM items a JOIN items b USING (id) "
	                    "ORDER BY a.embedding <-> '" Q8 "' LIMIT 5"},
	    {"from_clause",
	     "SELECT id FROM (SELECT * FROM items WHERE label = 1) x " DISTANCE " LIMIT 5"},
	    {"from_clause", "SELECT a.id FROM items a, items b WHERE a.id = b.id "
	                    "ORDER BY a.embedding <-> '" Q8 "' LIMIT 5"},
	    {"order_by", "SELECT id FROM items ORDER BY label, embedding <-> '" Q8 "', id LIMIT 5"},
	    {"order_by", "SELECT id FROM items ORDER BY (embedding <-> '" Q8 "') + 1 LIMIT 5"},
	    {"not_select", "CREATE TEMP TABLE x AS SELECT id FROM items " DISTANCE " LIMIT 5"},
	    {NULL, NULL},
	};
	struct oracle oracle;

	oracle_open(&oracle);
	for (size_t i = 0; cases[i].sql && strcmp(cases[i].reason, "not_select") != 0; i++)
		oracle_check(&oracle, cases[i].sql, cases[i].reason);
	for (size_t i = 0; cases[i].sql; i++) {
		if (strcmp(cases[i].reason, "not_select") == 0) {
			cluster_run(oracle.proxy, cases[i].sql);
			instance_expect(oracle.instance, "not_select", cases[i].sql);
		} else {
			instance_skip_log(oracle.instance);
		}
	}
	oracle_close(&oracle);
}

Test(refused, trap_14_subselect_and_volatile)
{
	static const struct refused cases[] = {
	    {"expression", "SELECT id FROM items ORDER BY embedding <-> "
	                   "(SELECT embedding FROM items WHERE id = 1) LIMIT 5"},
	    {"expression",
	     "SELECT id FROM items WHERE id IN (SELECT id FROM items WHERE label = 1) " DISTANCE
	     " LIMIT 5"},
	    {"function", "SELECT id FROM items WHERE random() >= 0 " DISTANCE " LIMIT 5"},
	    {"function",
	     "SELECT id, age(made, made) FROM items WHERE made < now() " DISTANCE " LIMIT 5"},
	    {"expression",
	     "SELECT id FROM items WHERE made < current_timestamp " DISTANCE " LIMIT 5"},
	    {"expression", "SELECT id FROM items WHERE made < 'tomorrow' " DISTANCE " LIMIT 5"},
	    {"function", "SELECT id, sum(label) OVER () FROM items " DISTANCE " LIMIT 5"},
	    {"column", "SELECT id, tableoid = 0 FROM items " DISTANCE " LIMIT 5"},
	    {"type", "SELECT id, 'items'::regclass IS NOT NULL FROM items " DISTANCE " LIMIT 5"},
	    {"single_shard", "SELECT id FROM items WHERE id = 77 " DISTANCE " LIMIT 5"},
	    {NULL, NULL},
	};

	all_refused(cases);
}

Test(refused, trap_09_operators_of_other_types)
{
	static const struct refused cases[] = {
	    {"order_by",
	     "SELECT id FROM items ORDER BY point(id, 1) <-> point '(3,3)', id LIMIT 5"},
	    {"order_by", "SELECT id FROM items WHERE 'a'::tsquery <-> 'b'::tsquery IS NOT NULL "
	                 "ORDER BY id LIMIT 5"},
	    {"not_sharded", "SELECT 1 FROM plain.items " DISTANCE " LIMIT 1"},
	    {"not_sharded", "SELECT 1 FROM no_such_table " DISTANCE " LIMIT 1"},
	    {"column", "SELECT no_such_column FROM items " DISTANCE " LIMIT 1"},
	    {"syntax", "SELECT id FROM items WHERE ORDER BY embedding <-> '" Q8 "' LIMIT 1"},
	    {NULL, NULL},
	};

	all_refused(cases);
}

/* Errors of the query vector: the coordinator's own, with its SQLSTATE and words. */
Test(refused, trap_14_errors_of_the_query_vector)
{
	static const char *const vectors[] = {"'[1,2,3]'",
	                                      "'[1,2,3,4,5,6,7,8,9]'",
	                                      "'[]'",
	                                      "'[1,x]'",
	                                      "'not'",
	                                      "'[1e400]'",
	                                      "'[1,2'",
	                                      "'" Q8 "'::vector(3)",
	                                      "''",
	                                      "'[NaN,1,1,1,1,1,1,1]'",
	                                      "'" Q8 "'::bit(8)",
	                                      NULL};
	struct oracle oracle;

	oracle_open(&oracle);
	for (const char *const *vector = vectors; *vector; vector++) {
		const char *sql =
		    text("SELECT id FROM items ORDER BY embedding <-> %s LIMIT 5", *vector);
		PGresult *got = PQexec(oracle.proxy, sql), *wanted = PQexec(oracle.direct, sql);
		const char *difference = oracle_difference(got, wanted);

		cr_assert_eq(PQresultStatus(got), PGRES_FATAL_ERROR, "%s", sql);
		cr_assert(!difference, "%s: %s", sql, difference);
		PQclear(got);
		PQclear(wanted);
		oracle_routed(&oracle, "SELECT id FROM items " DISTANCE " LIMIT 5");
	}
	oracle_close(&oracle);
}

/* Errors that only a row shows: they happen on a shard. */
Test(refused, errors_of_a_row)
{
	static const char *const statements[] = {
	    "SELECT 1 / (label - 3) FROM items " DISTANCE " LIMIT 2000",
	    "SELECT id FROM items WHERE 1 / label > 0 " DISTANCE " LIMIT 5", NULL};
	struct oracle oracle;

	oracle_open(&oracle);
	for (const char *const *sql = statements; *sql; sql++)
		oracle_check(&oracle, *sql, "worker");
	oracle_close(&oracle);
}

static void count_notice(void *arg, const PGresult *notice)
{
	(void)notice;
	++*(int *)arg;
}

/* What a worker would say is said by the coordinator. */
Test(refused, notices_of_a_row)
{
	const char *sql =
	    "SELECT id FROM items WHERE 'fat' <> left(name, 0)::tsquery " DISTANCE " LIMIT 5";
	int notices[2] = {0, 0};
	struct oracle oracle;
	PGconn *conns[2];

	oracle_open(&oracle);
	conns[0] = oracle.direct;
	conns[1] = oracle.proxy;
	for (int i = 0; i < 2; i++) {
		PQsetNoticeReceiver(conns[i], count_notice, &notices[i]);
		PQclear(PQexec(conns[i], sql));
	}
	instance_expect(oracle.instance, "worker", sql);
	cr_assert_gt(notices[0], 0);
	cr_assert_eq(notices[1], notices[0]);
	oracle_close(&oracle);
}

Test(refused, several_statements)
{
	struct oracle oracle;
	const char *sql = "SELECT id FROM items " DISTANCE " LIMIT 5; SELECT 1";

	oracle_open(&oracle);
	cr_assert_str_eq(cluster_value(oracle.proxy, sql), "1");
	instance_expect(oracle.instance, "multiple_statements", sql);
	cluster_run(oracle.proxy, "BEGIN; SELECT id FROM items " DISTANCE " LIMIT 5; COMMIT");
	instance_expect(oracle.instance, "multiple_statements", sql);
	oracle_close(&oracle);
}

/* test_transaction has what goes on in blocks. */
Test(refused, trap_10_isolation)
{
	struct oracle oracle;

	oracle_open(&oracle);
	oracle_set(&oracle, "SET default_transaction_isolation = 'repeatable read'");
	oracle_check(&oracle, "SELECT id FROM items " DISTANCE " LIMIT 5", "isolation");
	oracle_set(&oracle, "RESET default_transaction_isolation");
	oracle_routed(&oracle, "SELECT id FROM items " DISTANCE " LIMIT 5");
	oracle_close(&oracle);
}

Test(refused, trap_10_cursor)
{
	struct oracle oracle;

	oracle_open(&oracle);
	cluster_run(oracle.proxy,
	            "BEGIN; DECLARE c CURSOR FOR SELECT id FROM items " DISTANCE " LIMIT 50");
	instance_expect(oracle.instance, "multiple_statements", "DECLARE");
	cluster_run(oracle.plain,
	            "BEGIN; DECLARE c CURSOR FOR SELECT id FROM items " DISTANCE " LIMIT 50");
	for (int i = 0; i < 5; i++) {
		const char *got = cluster_value(oracle.proxy, "FETCH 7 FROM c");

		cr_assert_str_eq(got, cluster_value(oracle.plain, "FETCH 7 FROM c"));
	}
	oracle_close(&oracle);
}

Test(refused, sql_prepare_and_execute)
{
	struct oracle oracle;

	oracle_open(&oracle);
	oracle_set(&oracle, "PREPARE p (vector, int) AS SELECT id FROM items "
	                    "ORDER BY embedding <-> $1 LIMIT $2");
	instance_skip_log(oracle.instance);
	oracle_check(&oracle, "EXECUTE p ('" Q8 "', 7)", NULL);
	oracle_set(&oracle, "DEALLOCATE p");
	oracle_check(&oracle, "EXECUTE p ('" Q8 "', 7)", NULL);
	oracle_close(&oracle);
}
