/*
 * Explain: EXPLAIN of vector queries: what pgtopk says of those that it routes, in
 * TEXT and JSON, in both protocols, and the footnote under the coordinator's plan of
 * those that it does not.
 */
#include <stdlib.h>
#include <string.h>

#include "t/lib/raw.h"
#include "t/lib/suite.h"

#define TOPK "SELECT id FROM items ORDER BY embedding <-> '" Q8 "', id LIMIT 10"

/* All rows of the one column, each with a newline; as text(), but as long as need be. */
static char *lines_of(PGresult *result)
{
	char *all = calloc(1, 1);
	size_t len = 0;

	cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s", PQresultErrorMessage(result));
	cr_assert_eq(PQnfields(result), 1);
	cr_assert_str_eq(PQfname(result, 0), "QUERY PLAN");
	cr_assert_str_eq(PQcmdStatus(result), "EXPLAIN");
	for (int i = 0; i < PQntuples(result); i++) {
		const char *line = PQgetvalue(result, i, 0);

		all = realloc(all, len + strlen(line) + 2);
		len += (size_t)sprintf(all + len, "%s\n", line);
	}
	PQclear(result);
	return all;
}

static char *explain(PGconn *conn, const char *sql)
{
	return lines_of(PQexec(conn, sql));
}

static void has(const char *plan, const char *what)
{
	cr_assert(strstr(plan, what), "no \"%s\" in\n%s", what, plan);
}

static void has_not(const char *plan, const char *what)
{
	cr_assert(!strstr(plan, what), "\"%s\" in\n%s", what, plan);
}

static unsigned count(const char *plan, const char *what)
{
	unsigned n = 0;

	for (; (plan = strstr(plan, what)) != NULL; plan++)
		n++;
	return n;
}

/* What it says and that pgtopk's log agrees. */
static char *explained(PGconn *conn, const char *sql)
{
	struct instance *instance = instance_shared(); /* from here on */
	char *plan = explain(conn, sql);

	cr_assert_eq(instance_count(instance, "event=explained"), 1, "%s\n%s", sql, plan);
	cr_assert_eq(instance_count(instance, "event=refused"), 0, "%s", sql);
	return plan;
}

static PGconn *client(void)
{
	return instance_connect(instance_shared(), NULL);
}

Test(explain, says_what_would_be_done)
{
	PGconn *conn = client();
	char *plan = explained(conn, "EXPLAIN " TOPK);

	cr_assert_eq(strncmp(plan, "Top-K Merge on public.items  (cost=", 35), 0, "%s", plan);
	has(plan, " rows=10 width=");
	has(plan, "\n  Sort Key: items.embedding <-> '" Q8 "', items.id\n");
	has(plan, "\n  Shards: 8\n");
	has(plan, "\n  Nodes: 2\n");
	has(plan, "\n  Lanes: 2\n");
	has(plan, "\n  Limit per Shard: 10\n");
	has(plan, "\n  ef_search: 40\n");
	has(plan, "\n  Iterative Scan: relaxed_order\n");
	has(plan, "\n  Shards Shown: one of 8\n");
	cr_assert_eq(count(plan, "->  Shard "), 1);
	has(plan, " on 127.0.0.1:");
	has(plan, "\n        ->  Limit  (cost=");
	has(plan, "\n              ->  Sort  (cost=");
	has_not(plan, "actual");
	has_not(plan, "Time:");
	has_not(plan, "Query:");
	has_not(plan, "pgtopk:");
	free(plan);
	PQfinish(conn);
}

Test(explain, the_session_s_settings_are_seen)
{
	PGconn *conn = client();
	char *plan;

	cluster_run(conn, "LOAD 'vector'; SET hnsw.ef_search = 123; SET ivfflat.probes = 7; "
	                  "SET pgtopk.overfetch = 2.5; SET enable_sort = off");
	plan = explained(conn, "EXPLAIN (COSTS OFF) " TOPK " OFFSET 2");
	has(plan, "Top-K Merge on public.items\n");
	has(plan, "\n  Limit per Shard: 30\n");
	has(plan, "\n  ef_search: 123\n");
	has(plan, "\n  Probes: 7\n");
	has_not(plan, "cost=");
	free(plan);
	plan = explained(conn, "EXPLAIN (SETTINGS) " TOPK);
	has(plan, "\n        Settings: ");
	has(plan, "enable_sort = 'off'");
	free(plan);
	PQfinish(conn);
}

Test(explain, verbose_shows_all_shards_and_their_queries)
{
	PGconn *conn = client();
	char *plan = explained(conn, "EXPLAIN VERBOSE " TOPK);

	cr_assert_eq(count(plan, "->  Shard "), 8, "%s", plan);
	cr_assert_eq(count(plan, "\n        Query: SELECT "), 8, "%s", plan);
	cr_assert_eq(count(plan, " LIMIT 10\n"), 8, "%s", plan);
	has(plan, "Output: ");
	has_not(plan, "Shards Shown");
	free(plan);
	PQfinish(conn);
}

Test(explain, analyze_runs_the_query)
{
	PGconn *conn = client();
	char *plan = explained(conn, "/* a /* nested */ comment */ EXPLAIN ANALYZE " TOPK);

	has(plan, " (actual time=");
	has(plan, " rows=10 loops=1)\n");
	has(plan, "\n  Refills: 0\n");
	has(plan, "\n  Rows from Shards: 80\n");
	has(plan, "\n  Rows per Shard: 10..10\n");
	has(plan, "\n  Time per Shard: ");
	has(plan, "\n  Merge Time: ");
	has(plan, ", the slowest\n");
	cr_assert_eq(count(plan, "->  Shard "), 1);
	has(plan, "\n        Execution Time: ");
	has(plan, "\nPlanning Time: ");
	has(plan, "\nExecution Time: ");
	free(plan);

	plan = explained(conn,
	                 "EXPLAIN (ANALYZE, VERBOSE, TIMING OFF, SUMMARY OFF, BUFFERS, SETTINGS, "
	                 "COSTS 0) SELECT id FROM items WHERE label = 3 AND id < 60 "
	                 "ORDER BY embedding <-> '" Q8 "' LIMIT 20");
	has(plan, "Top-K Merge on public.items  (actual rows=6 loops=1)\n");
	has(plan, "\n  Refills: 8\n");
	has(plan, "\n  Rows from Shards: 6\n");
	cr_assert_eq(count(plan, "->  Shard "), 8, "%s", plan);
	has(plan, "Buffers: shared hit=");
	has(plan, "enable_indexscan = 'off'"); /* as the second time, not as the first */
	has_not(plan, "Time");
	free(plan);
	PQfinish(conn);
}

/* The server's own parser has to like it. */
static const char *in_json(PGconn *direct, const char *json, const char *path)
{
	const char *const values[] = {json, path};
	PGresult *result =
	    PQexecParams(direct, "SELECT $1::jsonb #>> $2::text[]", 2, NULL, values, NULL, NULL, 0);
	const char *value;

	cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s\n%s",
	             PQresultErrorMessage(result), json);
	value = text("%s", PQgetisnull(result, 0, 0) ? "(null)" : PQgetvalue(result, 0, 0));
	PQclear(result);
	return value;
}

#define IN_JSON(path, wanted) cr_assert_str_eq(in_json(direct, json, path), wanted, "%s", json)

Test(explain, format_json)
{
	PGconn *conn = client(), *direct = cluster_connect(CLUSTER_COORDINATOR, NULL);
	PGresult *result = PQexec(conn, "EXPLAIN (FORMAT JSON) " TOPK);
	char *json;

	cr_assert_eq(PQftype(result, 0), 114);
	cr_assert_eq(PQntuples(result), 1);
	json = lines_of(result);
	IN_JSON("{0,Plan,Node Type}", "Top-K Merge");
	IN_JSON("{0,Plan,Relation Name}", "items");
	IN_JSON("{0,Plan,Shards}", "8");
	IN_JSON("{0,Plan,Limit per Shard}", "10");
	IN_JSON("{0,Plan,ef_search}", "40");
	IN_JSON("{0,Plan,Plan Rows}", "10");
	IN_JSON("{0,Plan,Plans,0,Node Type}", "Shard");
	IN_JSON("{0,Plan,Plans,0,Plans,0,Node Type}", "Limit");
	IN_JSON("{0,Plan,Plans,1}", "(null)");
	IN_JSON("{0,Plan,Refills}", "(null)");
	IN_JSON("{0,Execution Time}", "(null)");
	free(json);
	json = explained(conn, "EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) SELECT id, name FROM items "
	                       "WHERE name <> 'a \"{b\\' ORDER BY embedding <-> '" Q8 "' LIMIT 3");
	IN_JSON("{0,Plan,Actual Rows}", "3");
	IN_JSON("{0,Plan,Rows from Shards}", "104"); /* 13 of each: there is a filter */
	IN_JSON("{0,Plan,Refills}", "0");
	IN_JSON("{0,Plan,Plans,7,Plans,0,Actual Rows}", "13");
	IN_JSON("{0,Plan,Plans,8}", "(null)");
	has(in_json(direct, json, "{0,Plan,Plans,7,Query}"), "E'a \"{b\\\\'");
	cr_assert(atof(in_json(direct, json, "{0,Execution Time}")) > 0);
	cr_assert_str_neq(in_json(direct, json, "{0,Plan,Merge Time}"),
	                  "(null)"); /* perhaps 0.000 */
	cr_assert(atof(in_json(direct, json, "{0,Plan,Plans,0,Execution Time}")) > 0);
	free(json);
	PQfinish(direct);
	PQfinish(conn);
}

/* Parameters, an unnamed and a named statement; the latter by EXECUTE, too. */
Test(explain, extended_protocol)
{
	static const char sql[] =
	    "EXPLAIN (VERBOSE) SELECT id FROM items ORDER BY embedding <-> $1 LIMIT $2";
	static const char *const values[] = {Q8, "7"};
	PGconn *conn = client();
	struct instance *instance = instance_shared();
	PGresult *result;
	char *plan;

	plan = lines_of(PQexecParams(conn, sql, 2, NULL, values, NULL, NULL, 0));
	has(plan, "\n  Limit per Shard: 7\n");
	has(plan, "\n  Sort Key: items.embedding <-> $1\n");
	has(plan, "<-> '" Q8 "'::vector"); /* in the shards' plans */
	free(plan);
	PQclear(PQprepare(conn, "named", sql, 0, NULL));
	result = PQdescribePrepared(conn, "named");
	cr_assert_str_eq(PQfname(result, 0), "QUERY PLAN");
	cr_assert_eq(PQftype(result, 0), 25);
	PQclear(result);
	for (int format = 0; format < 2; format++) {
		plan = lines_of(PQexecPrepared(conn, "named", 2, values, NULL, NULL, format));
		has(plan, "\n  Limit per Shard: 7\n");
		free(plan);
	}
	cr_assert_eq(instance_count(instance, "event=explained"), 3);
	PQfinish(conn);
}

/* A few rows at a time, as JDBC asks for them. */
Test(explain, a_portal_can_be_read_in_parts)
{
	struct raw raw;
	char *said;

	raw_login(&raw, instance_shared()->port);
	wire_put_parse(&raw.out, "", "EXPLAIN " TOPK, strlen("EXPLAIN " TOPK), 0, NULL);
	raw_put_bind(&raw.out, "p", "", NULL, 0, 0, 0);
	wire_put_execute(&raw.out, "p", 3);
	wire_put_execute(&raw.out, "p", 0);
	wire_put_bare(&raw.out, WIRE_FE_Sync);
	raw_send(&raw, 0);
	said = raw_read(&raw, WIRE_BE_ReadyForQuery, 1);
	cr_assert_eq(count(said, "Top-K Merge"), 1, "%s", said);
	cr_assert_eq(count(said, "DataRow"), 14, "%s", said);
	cr_assert(strstr(said, "PortalSuspended") > strstr(said, "Sort Key"), "%s", said);
	has(said, "CommandComplete EXPLAIN");
	free(said);
	raw_close(&raw);
}

struct refused {
	const char *sql, *note;
};

static const struct refused refusals[] = {
    {"EXPLAIN (COSTS OFF) SELECT id FROM plain.items ORDER BY embedding <-> '" Q8 "' LIMIT 5",
     "pgtopk: not routed (not_sharded): the table is not sharded\n"},
    {"EXPLAIN SELECT DISTINCT id, embedding <-> '" Q8 "' FROM items ORDER BY 2 LIMIT 5",
     "pgtopk: not routed (select_clause): "},
    {"EXPLAIN ANALYZE SELECT id FROM items ORDER BY label, embedding <-> '" Q8 "' LIMIT 5",
     "pgtopk: not routed (order_by): "},
};
#define REFUSALS (sizeof(refusals) / sizeof(refusals[0]))

/* The coordinator's own lines, then ours, once. */
static void check_note(const char *plan, const char *note)
{
	const char *last = plan + strlen(plan) - 1;

	while (last > plan && last[-1] != '\n')
		last--;
	cr_assert_eq(strncmp(last, note, strlen(note)), 0, "%s", plan);
	cr_assert_eq(count(plan, "pgtopk:"), 1, "%s", plan);
	cr_assert(last > plan);
}

Test(explain, of_a_refused_one_has_the_reason_in_its_last_line)
{
	PGconn *conn = client();

	for (size_t i = 0; i < REFUSALS; i++) {
		char *plan = explain(conn, refusals[i].sql);

		check_note(plan, refusals[i].note);
		free(plan);
		plan = lines_of(PQexecParams(conn, refusals[i].sql, 0, NULL, NULL, NULL, NULL, 0));
		check_note(plan, refusals[i].note);
		free(plan);
		PQclear(PQprepare(conn, "r", refusals[i].sql, 0, NULL));
		for (int again = 0; again < 2; again++) {
			plan = lines_of(PQexecPrepared(conn, "r", 0, NULL, NULL, NULL, 0));
			check_note(plan, refusals[i].note);
			free(plan);
		}
		PQclear(PQexec(conn, "DEALLOCATE r"));
	}
	PQfinish(conn);
}

Test(explain, of_a_refused_one_in_json_has_a_key_with_the_reason)
{
	PGconn *conn = client(), *direct = cluster_connect(CLUSTER_COORDINATOR, NULL);
	static const char sql[] = "EXPLAIN (FORMAT JSON) SELECT id FROM plain.items "
				  "ORDER BY embedding <-> '" Q8 "' LIMIT 5";
	char *json = explain(conn, sql);

	IN_JSON("{0,pgtopk}", "not routed (not_sharded): the table is not sharded");
	IN_JSON("{0,Plan,Node Type}", "Limit");
	free(json);
	json = lines_of(PQexecParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0));
	IN_JSON("{0,pgtopk}", "not routed (not_sharded): the table is not sharded");
	free(json);
	PQfinish(direct);
	PQfinish(conn);
}

static void check_untouched(PGconn *conn, PGconn *direct, const char *sql)
{
	char *ours = explain(conn, sql), *theirs = explain(direct, sql);

	cr_assert_str_eq(ours, theirs, "%s", sql);
	free(ours);
	free(theirs);
}

Test(explain, is_the_coordinator_s_where_pgtopk_has_nothing_to_say)
{
	PGconn *conn = client(), *direct = cluster_connect(CLUSTER_COORDINATOR, NULL);

	check_untouched(conn, direct, "EXPLAIN (COSTS OFF) SELECT 1 FROM plain.items");
	check_untouched(conn, direct, "EXPLAIN (COSTS OFF, FORMAT YAML) " TOPK);
	check_untouched(conn, direct, "EXPLAIN (COSTS OFF, FORMAT XML) " TOPK);
	cluster_run(conn, "SET pgtopk.route = off");
	check_untouched(conn, direct, "EXPLAIN (COSTS OFF) " TOPK);
	check_untouched(conn, direct, "EXPLAIN (COSTS OFF, FORMAT JSON) " TOPK);
	PQfinish(direct);
	PQfinish(conn);
}

/* What comes after a refused EXPLAIN, or instead of it, is left alone. */
Test(explain, the_note_is_under_its_own_statement_only)
{
	PGconn *conn = client(), *direct = cluster_connect(CLUSTER_COORDINATOR, NULL);
	PGresult *result;

	PQclear(PQprepare(conn, "", refusals[0].sql, 0, NULL));
	check_untouched(conn, direct, "EXPLAIN (COSTS OFF) SELECT 1 FROM plain.items");
	PQclear(PQprepare(conn, "p", "EXPLAIN (COSTS OFF) SELECT 1 FROM plain.items", 0, NULL));
	result = PQprepare(conn, "", refusals[0].sql, 0, NULL);
	cr_assert_eq(PQresultStatus(result), PGRES_COMMAND_OK);
	PQclear(result);
	result = PQexecParams(conn, "SELECT 'x'", 0, NULL, NULL, NULL, NULL, 0);
	cr_assert_eq(PQntuples(result), 1);
	PQclear(result);
	PQclear(
	    PQexec(conn, "EXPLAIN SELECT x FROM plain.items ORDER BY embedding <-> '' LIMIT 1"));
	check_untouched(conn, direct, "EXPLAIN (COSTS OFF) SELECT 1 FROM plain.items");
	PQfinish(direct);
	PQfinish(conn);
}

/* The same without a Sync in between: nothing was bound, so the answer is to the Query. */
Test(explain, the_note_needs_its_portal)
{
	struct raw raw;
	char *said;

	raw_login(&raw, instance_shared()->port);
	wire_put_parse(&raw.out, "", refusals[0].sql, strlen(refusals[0].sql), 0, NULL);
	wire_put_query(&raw.out, "EXPLAIN SELECT 1");
	wire_put_query(&raw.out, refusals[0].sql);
	raw_send(&raw, 0);
	said = raw_read(&raw, WIRE_BE_ReadyForQuery, 1);
	cr_assert_eq(count(said, "CommandComplete EXPLAIN"), 1, "%s", said);
	has_not(said, "pgtopk:");
	free(said);
	said = raw_read(&raw, WIRE_BE_ReadyForQuery, 1);
	has(said, "pgtopk: not routed");
	free(said);
	raw_close(&raw);
}

/* Errors are the coordinator's: of an option, of the statement, of the query vector. */
Test(explain, errors_are_the_coordinator_s)
{
	static const char *const statements[] = {
	    "EXPLAIN (TIMING) " TOPK,
	    "EXPLAIN (ANALYZE maybe) " TOPK,
	    "EXPLAIN (NO_SUCH) " TOPK,
	    "EXPLAIN (FORMAT 'JSON') " TOPK,
	    "EXPLAIN SELECT id FROM items ORDER BY embedding <-> '[1,2]' LIMIT 3",
	    "EXPLAIN SELECT nix FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 3",
	    "EXPLAIN SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 3",
	};
	PGconn *conn = client(), *direct = cluster_connect(CLUSTER_COORDINATOR, NULL);

	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
		PGresult *ours = PQexec(conn, statements[i]);
		PGresult *theirs = PQexec(direct, statements[i]);

		cr_assert_eq(PQresultStatus(ours), PQresultStatus(theirs), "%s", statements[i]);
		if (PQresultStatus(theirs) == PGRES_FATAL_ERROR)
			cr_assert_str_eq(PQresultErrorField(ours, PG_DIAG_MESSAGE_PRIMARY),
			                 PQresultErrorField(theirs, PG_DIAG_MESSAGE_PRIMARY));
		PQclear(ours);
		PQclear(theirs);
	}
	PQfinish(direct);
	PQfinish(conn);
}

/* Whoever may not read the table gets no plan of it either. */
Test(explain, needs_the_privilege_to_select)
{
	PGconn *conn;
	PGresult *result;

	cluster_run_everywhere("DO $$ BEGIN CREATE ROLE explain_nobody LOGIN; "
	                       "EXCEPTION WHEN duplicate_object THEN NULL; END $$");
	conn = instance_connect(instance_shared(), "user=explain_nobody");
	result = PQexec(conn, "EXPLAIN " TOPK);
	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "42501");
	PQclear(result);
	PQfinish(conn);
}

/* A new partition, say: what is shown is never the old map. */
Test(explain, the_map_is_checked)
{
	static const char sql[] =
	    "EXPLAIN (COSTS OFF) SELECT id FROM explained ORDER BY embedding <-> '[1,2,3]' LIMIT 3";
	PGconn *conn, *direct;
	struct instance own;
	char *plan;

	if (cluster_is_citus()) {
		SKIP("the_map_is_checked", "no partition to detach on Citus");
		return;
	}
	direct = cluster_connect(CLUSTER_COORDINATOR, NULL);
	cluster_shard("explained", "id int, embedding vector(3)", "HASH (id)", 4, 0);
	instance_start(&own, NULL);
	conn = instance_connect(&own, NULL);
	plan = explain(conn, sql);
	has(plan, "\n  Shards: 4\n");
	free(plan);
	cluster_run(direct, "ALTER TABLE explained DETACH PARTITION explained_1");
	plan = explain(conn, sql);
	has(plan, "\n  Shards: 3\n");
	free(plan);
	PQfinish(conn);
	instance_stop(&own);
	cluster_run(direct, "DROP TABLE explained; DROP FOREIGN TABLE explained_1");
	PQfinish(direct);
}

/* An EXPLAIN that was cancelled leaves no note behind for the next one. */
Test(explain, can_be_cancelled)
{
	PGconn *conn = client(), *locker, *direct;
	PGcancel *request = PQgetCancel(conn);
	PGresult *result;
	char error[256];

	if (cluster_is_citus()) {
		SKIP("can_be_cancelled", "the shards are not known by name");
		return;
	}
	locker = cluster_connect(cluster_shard_node(0), NULL);
	direct = cluster_connect(CLUSTER_COORDINATOR, NULL);
	free(explain(conn, "EXPLAIN " TOPK));
	cluster_run(locker, "BEGIN; LOCK TABLE items_0 IN ACCESS EXCLUSIVE MODE");
	for (int analyze = 0; analyze < 2; analyze++) {
		cr_assert(PQsendQuery(conn, analyze ? "EXPLAIN ANALYZE " TOPK : "EXPLAIN " TOPK));
		cr_assert(cluster_await(locker,
		                        "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted "
		                        "AND relation = 'items_0'::regclass",
		                        "t"));
		cr_assert(PQcancel(request, error, sizeof(error)), "%s", error);
		result = PQgetResult(conn);
		cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "57014");
		PQclear(result);
		cr_assert_null(PQgetResult(conn));
		check_untouched(conn, direct, "EXPLAIN (COSTS OFF) SELECT 1 FROM plain.items");
	}
	cluster_run(locker, "ROLLBACK");
	PQfreeCancel(request);
	PQfinish(locker);
	PQfinish(direct);
	PQfinish(conn);
}
