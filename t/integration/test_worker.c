/*
 * Worker: one connection to a real server: pipelines, prepared statements,
 * settings, errors, cancelling, losing it. Pools are in test_pool.c.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/prepared.h"
#include "t/lib/back.h"
#include "t/lib/cluster.h"

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	(void)set;
	cluster_up();
}

struct one {
	struct back back;
	struct pool *pool;
	struct worker *worker;
};

static void one_open(struct one *one)
{
	back_open(&one->back, NULL);
	one->pool = back_pool(&one->back, cluster_port(CLUSTER_WORKER1));
	one->worker = back_take(&one->back, one->pool, NULL);
}

static void one_close(struct one *one)
{
	if (one->worker)
		pool_give(one->pool, one->worker);
	back_close(&one->back);
}

/* Several statements without parameters, split at ';', as one pipeline; what was heard. */
static const char *run(struct one *one, const char *statements)
{
	struct back_job job;
	const char *heard, *end;

	back_begin(&job, &one->back, one->worker);
	for (unsigned id = 0; *statements; id++) {
		end = strchrnul(statements, ';');
		back_ask(&job, id, text("%.*s", (int)(end - statements), statements), NULL);
		statements = *end ? end + 1 : end;
	}
	heard = back_end(&job);
	back_fini(&job);
	return heard;
}

static void hears(struct one *one, const char *statements, const char *expected)
{
	const char *heard = run(one, statements);

	cr_assert_str_eq(heard, expected, "%s: %s", statements, heard);
}

static const char *value(struct one *one, const char *sql)
{
	return back_value(&one->back, one->worker, sql);
}

#define PREPARED "SELECT count(*) FROM pg_prepared_statements"

Test(worker, pipeline_in_order)
{
	struct one one;

	one_open(&one);
	hears(
	    &one, "SELECT 1, 'a', NULL;SELECT generate_series(1, 3);;SELECT WHERE false",
	    "row 0=1|a|NULL,complete 0,row 1=1,row 1=2,row 1=3,complete 1,complete 2,complete 3,ready");
	hears(&one, "", "ready");
	one_close(&one);
}

Test(worker, prepared_once)
{
	struct one one;

	one_open(&one);
	for (int i = 0; i < 3; i++)
		hears(&one, "SELECT 1;SELECT 2;SELECT 1",
		      "row 0=1,complete 0,row 1=2,complete 1,row 2=1,complete 2,ready");
	cr_assert_str_eq(value(&one, "SELECT count(*) FROM pg_prepared_statements"
	                             " WHERE statement IN ('SELECT 1', 'SELECT 2')"),
	                 "2");
	one_close(&one);
}

Test(worker, parameters_and_formats)
{
	static const uint16_t formats[] = {1, 0};
	static const uint32_t types[] = {20};
	static const uint8_t parameters[] = {0, 1, 0, 1, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7};
	struct worker_query query = {
	    .id = 5,
	    .sql = "SELECT $1::int8, $1",
	    .sql_len = strlen("SELECT $1::int8, $1"),
	    .ntypes = 1,
	    .types = types,
	    .parameters = parameters,
	    .parameters_len = sizeof(parameters),
	    .nresult_formats = 2,
	    .result_formats = formats,
	};
	struct one one;
	struct back_job job;

	one_open(&one);
	back_begin(&job, &one.back, one.worker);
	worker_query(one.worker, &query);
	job.quiet = true;
	cr_assert_str_eq(back_end(&job), "complete 5,ready");
	cr_assert_eq(job.bytes, 2 + 4 + 8 + 4 + 1);
	back_fini(&job);
	one_close(&one);
}

/* More statements than are kept: the oldest are closed, and prepared anew when needed. */
Test(worker, prepared_statements_are_limited)
{
	struct one one;
	struct back_job job;

	one_open(&one);
	for (int round = 0; round < 2; round++) {
		back_begin(&job, &one.back, one.worker);
		for (int i = 0; i < PREPARED_MAX + 50; i++)
			back_ask(&job, (unsigned)i, text("SELECT %d", i), NULL);
		job.quiet = true;
		back_end(&job);
		cr_assert_eq(job.rows, PREPARED_MAX + 50);
		cr_assert_str_eq(job.sqlstate, "");
		back_fini(&job);
	}
	cr_assert_leq(atoi(value(&one, PREPARED)), PREPARED_MAX);
	one_close(&one);
}

Test(worker, large_statements_are_not_kept)
{
	struct one one;
	char *padding = malloc(100001);

	memset(padding, ' ', 100000);
	padding[100000] = '\0';
	one_open(&one);
	for (int i = 0; i < 30; i++) {
		char *sql;
		struct back_job job;

		cr_assert(asprintf(&sql, "SELECT %d%s", i, padding) > 0);
		back_begin(&job, &one.back, one.worker);
		back_ask(&job, 0, sql, NULL);
		cr_assert_str_eq(back_end(&job), text("row 0=%d,complete 0,ready", i));
		back_fini(&job);
		free(sql);
	}
	cr_assert_leq(atoi(value(&one, PREPARED)), 11);
	free(padding);
	one_close(&one);
}

Test(worker, error_in_mid_pipeline)
{
	struct one one;

	one_open(&one);
	hears(&one, "SELECT 1;SELECT 1/0;SELECT 3", "row 0=1,complete 0,error 1 22012,ready");
	hears(&one, "SELECT 3;SELECT 1;SELECT 1/1",
	      "row 0=3,complete 0,row 1=1,complete 1,row 2=1,complete 2,ready");
	hears(&one, "SELECT nonsense;SELECT 3", "error 0 42703,ready");
	hears(&one, "SELECT nonsense;SELECT 3", "error 0 42703,ready");
	hears(&one, "SELECT 3;SELECT 4", "row 0=3,complete 0,row 1=4,complete 1,ready");
	/* rows before the error came, and what was to follow is skipped */
	hears(&one, "SELECT 1 / (3 - i) FROM generate_series(1, 5) i;SELECT 5",
	      "row 0=0,row 0=1,error 0 22012,ready");
	one_close(&one);
}

/* Closing is skipped by the server after an error, too: it must be made good. */
Test(worker, eviction_survives_errors)
{
	struct one one;
	struct back_job job;

	one_open(&one);
	for (int round = 0; round < 5; round++) {
		back_begin(&job, &one.back, one.worker);
		back_ask(&job, 0, round % 2 ? "SELECT 1" : "SELECT 1/0", NULL);
		for (int i = 0; i < PREPARED_MAX; i++)
			back_ask(&job, 1, text("SELECT %d", round * 1000 + i), NULL);
		job.quiet = true;
		back_end(&job);
		cr_assert_str_eq(job.sqlstate, round % 2 ? "" : "22012");
		back_fini(&job);
	}
	cr_assert_leq(atoi(value(&one, PREPARED)), PREPARED_MAX);
	one_close(&one);
}

/* A statement whose table has changed must not fail for ever. */
Test(worker, changed_table)
{
	struct one one;

	one_open(&one);
	cluster_run_on(CLUSTER_WORKER1,
	               "DROP TABLE IF EXISTS changing; CREATE TABLE changing (a int);"
	               "INSERT INTO changing VALUES (1)");
	hears(&one, "SELECT * FROM public.changing", "row 0=1,complete 0,ready");
	cluster_run_on(CLUSTER_WORKER1, "ALTER TABLE changing ADD COLUMN b int DEFAULT 2");
	hears(&one, "SELECT * FROM public.changing", "error 0 0A000,ready");
	hears(&one, "SELECT * FROM public.changing", "row 0=1|2,complete 0,ready");
	cluster_run_on(CLUSTER_WORKER1, "DROP TABLE changing");
	hears(&one, "SELECT * FROM public.changing", "error 0 42P01,ready");
	one_close(&one);
}

Test(worker, unexpected_types_are_an_error)
{
	static const uint32_t expected[] = {20, 0};
	struct worker_query query = {.id = 1, .nresult_types = 2, .result_types = expected};
	static const struct {
		const char *sql, *heard;
	} cases[] = {
	    {"SELECT 1::int8, 'a'::name", "row 1=1|a,complete 1,row 2=2,complete 2,ready"},
	    {"SELECT 1::int4, 'a'", "error 1 42804,ready"},
	    {"SELECT 1::int8", "error 1 42804,ready"},
	    {"SELECT 1::int8, 2, 3", "error 1 42804,ready"},
	    {"SET work_mem = '5MB'", "error 1 42804,ready"},
	    {"SELECT nonsense", "error 1 42703,ready"},
	};
	struct one one;
	struct back_job job;

	one_open(&one);
	for (unsigned i = 0; i < 2 * sizeof(cases) / sizeof(*cases); i++) {
		unsigned at = i % (sizeof(cases) / sizeof(*cases));
		const char *heard;

		query.sql = cases[at].sql;
		query.sql_len = strlen(query.sql);
		back_begin(&job, &one.back, one.worker);
		worker_query(one.worker, &query);
		back_ask(&job, 2, "SELECT 2", NULL);
		heard = back_end(&job);
		cr_assert_str_eq(heard, cases[at].heard, "%s: %s", query.sql, heard);
		back_fini(&job);
	}
	one_close(&one);
}

/* ---- settings ---- */

static struct settings *settings(const char *ef, const char *work_mem)
{
	struct settings *made = settings_new();

	settings_put(made, "hnsw.ef_search", ef);
	settings_put(made, "work_mem", work_mem);
	settings_seal(made);
	return made;
}

/* Applies, runs the statement, unrefs. */
static const char *run_with(struct one *one, struct settings *wanted, const char *sql)
{
	struct back_job job;
	const char *heard;

	back_begin(&job, &one->back, one->worker);
	worker_apply(one->worker, wanted);
	back_ask(&job, 0, sql, NULL);
	heard = back_end(&job);
	back_fini(&job);
	settings_unref(wanted);
	return heard;
}

#define NOW "SELECT current_setting('hnsw.ef_search'), current_setting('work_mem')"

Test(worker, settings_are_applied_when_they_differ)
{
	struct one one;
	const char *calls =
	    "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%set_config(%'"
	    " AND statement NOT LIKE '%count%' AND statement NOT LIKE '%pg_extension%'"
	    " AND statement NOT LIKE '%search_path%'";

	one_open(&one);
	cr_assert_str_eq(run_with(&one, settings("77", "3MB"), NOW),
	                 "row 0=77|3MB,complete 0,ready");
	cr_assert_str_eq(run_with(&one, settings("77", "3MB"), NOW),
	                 "row 0=77|3MB,complete 0,ready");
	cr_assert_str_eq(value(&one, calls), "1");
	cr_assert_str_eq(run_with(&one, settings("78", "3MB"), NOW),
	                 "row 0=78|3MB,complete 0,ready");
	cr_assert_str_eq(run_with(&one, settings("79", "3MB"), NOW),
	                 "row 0=79|3MB,complete 0,ready");
	cr_assert_str_eq(value(&one, calls), "2", "both changes of one value are one statement");
	one_close(&one);
}

/* set_config() is undone with its transaction: what holds is not known then. */
Test(worker, settings_after_an_error)
{
	struct one one;

	one_open(&one);
	cr_assert_str_eq(run_with(&one, settings("50", "3MB"), NOW),
	                 "row 0=50|3MB,complete 0,ready");
	cr_assert_str_eq(run_with(&one, settings("60", "3MB"), "SELECT 1/0"),
	                 "error 0 22012,ready");
	cr_assert_str_eq(value(&one, NOW), "50|3MB");
	cr_assert_str_eq(run_with(&one, settings("60", "3MB"), NOW),
	                 "row 0=60|3MB,complete 0,ready");
	/* an error of a pipeline that changed nothing leaves them known */
	cr_assert_str_eq(run_with(&one, settings("60", "3MB"), "SELECT 1/0"),
	                 "error 0 22012,ready");
	cr_assert_str_eq(run_with(&one, settings("60", "3MB"), NOW),
	                 "row 0=60|3MB,complete 0,ready");
	one_close(&one);
}

/* The library is loaded by the greeting, so a bad value is refused where it is set. */
Test(worker, settings_that_are_refused)
{
	struct one one;

	one_open(&one);
	cr_assert_str_eq(run_with(&one, settings("5000", "3MB"), NOW), "error - 22023,ready");
	cr_assert_str_eq(run_with(&one, settings("41", "3MB"), NOW),
	                 "row 0=41|3MB,complete 0,ready");
	one_close(&one);
}

/* ---- rows ---- */

Test(worker, many_and_large_rows)
{
	struct one one;
	struct back_job job;

	one_open(&one);
	back_begin(&job, &one.back, one.worker);
	job.quiet = true;
	back_ask(&job, 0, "SELECT i, repeat('x', 100) FROM generate_series(1, 200000) i", NULL);
	back_ask(&job, 1, "SELECT repeat('y', 30000000)", NULL);
	cr_assert_str_eq(back_end(&job), "complete 0,complete 1,ready");
	cr_assert_eq(job.rows, 200001);
	cr_assert_gt(job.bytes, 50000000);
	back_fini(&job);
	one_close(&one);
}

static struct pool *give_pool;

static void give_back(struct back_job *job)
{
	if (job->rows == 10) {
		pool_give(give_pool, job->worker); /* in the midst of it: closed */
		job->over = true;
		loop_stop(job->back->loop);
	}
}

Test(worker, given_back_within_a_row)
{
	struct one one;
	struct back_job job;

	one_open(&one);
	give_pool = one.pool;
	back_begin(&job, &one.back, one.worker);
	job.quiet = true;
	job.hook = give_back;
	back_ask(&job, 0, "SELECT i FROM generate_series(1, 50000) i", NULL);
	worker_sync(one.worker);
	back_wait(&one.back, &job.over);
	back_idle(&one.back, 50);
	cr_assert_eq(job.rows, 10);
	cr_assert_eq(pool_stats(one.pool).idle + pool_stats(one.pool).busy, 0);
	back_fini(&job);
	one.worker = back_take(&one.back, one.pool, NULL);
	cr_assert_str_eq(value(&one, "SELECT 1"), "1");
	one_close(&one);
}

/* ---- losing it ---- */

static void kill_backend(const char *pid)
{
	PGconn *conn = cluster_connect(CLUSTER_WORKER1, NULL);

	cluster_run(conn, text("SELECT pg_terminate_backend(%s)", pid));
	PQfinish(conn);
}

Test(worker, killed_while_busy)
{
	struct one one;
	struct back_job job;
	const char *pid;

	one_open(&one);
	pid = value(&one, "SELECT pg_backend_pid()");
	back_begin(&job, &one.back, one.worker);
	back_ask(&job, 0, "SELECT 1", NULL);
	back_ask(&job, 1, "SELECT pg_sleep(20)", NULL);
	worker_sync(one.worker);
	back_idle(&one.back, 100);
	kill_backend(pid);
	back_wait(&one.back, &job.over);
	cr_assert(job.lost);
	cr_assert_not_null(strstr(job.why, "57P01"), "%s", job.why);
	cr_assert(worker_is_lost(one.worker));
	back_fini(&job);
	pool_give(one.pool, one.worker);
	one.worker = back_take(&one.back, one.pool, NULL);
	cr_assert_str_neq(value(&one, "SELECT pg_backend_pid()"), pid);
	one_close(&one);
}

Test(worker, killed_while_idle)
{
	struct one one;
	const char *pid;

	one_open(&one);
	pid = value(&one, "SELECT pg_backend_pid()");
	pool_give(one.pool, one.worker);
	kill_backend(pid);
	back_idle(&one.back, 200);
	cr_assert_eq(pool_stats(one.pool).idle, 0, "dropped silently");
	one.worker = back_take(&one.back, one.pool, NULL);
	cr_assert_str_neq(value(&one, "SELECT pg_backend_pid()"), pid);
	one_close(&one);
}

/* Taken, and lost before its job began. */
Test(worker, killed_while_taken)
{
	struct one one;
	struct back_job job;

	one_open(&one);
	kill_backend(value(&one, "SELECT pg_backend_pid()"));
	back_idle(&one.back, 200);
	cr_assert(worker_is_lost(one.worker));
	back_begin(&job, &one.back, one.worker);
	back_ask(&job, 0, "SELECT 1", NULL);
	cr_assert_str_eq(back_end(&job), "lost");
	cr_assert_not_null(strstr(job.why, "57P01"), "%s", job.why);
	back_fini(&job);
	one_close(&one);
}

Test(worker, left_in_a_transaction)
{
	struct one one;

	one_open(&one);
	hears(&one, "BEGIN;SELECT 1", "complete 0,row 1=1,complete 1,ready");
	hears(&one, "SELECT 2", "row 0=2,complete 0,ready");
	cr_assert_not(worker_is_idle(one.worker));
	pool_give(one.pool, one.worker);
	cr_assert_eq(pool_stats(one.pool).idle, 0, "closed, as nobody else may have it");
	one.worker = NULL;
	one_close(&one);
}

/* ---- cancelling ---- */

Test(worker, cancel)
{
	struct one one;
	struct back_job job;

	one_open(&one);
	back_begin(&job, &one.back, one.worker);
	back_ask(&job, 0, "SELECT 1", NULL);
	back_ask(&job, 1, "SELECT pg_sleep(20)", NULL);
	back_ask(&job, 2, "SELECT 2", NULL);
	worker_sync(one.worker);
	back_idle(&one.back, 100);
	worker_cancel(one.worker);
	worker_cancel(one.worker);
	back_wait(&one.back, &job.over);
	cr_assert_str_eq(job.sqlstate, "57014");
	cr_assert_not(job.lost);
	back_fini(&job);
	hears(&one, "SELECT 1", "row 0=1,complete 0,ready");
	one_close(&one);
}

/* Trap 15: a request that comes late must not hit the next query. */
Test(worker, cancel_never_hits_the_next_query)
{
	struct one one;
	struct back_job job;
	unsigned hit = 0;

	one_open(&one);
	for (int i = 0; i < 300; i++) {
		back_begin(&job, &one.back, one.worker);
		back_ask(&job, 0, "SELECT pg_sleep($1::float8)", i % 3 ? "0" : "0.001", NULL);
		worker_sync(one.worker);
		worker_cancel(one.worker);
		back_wait(&one.back, &job.over);
		hit += job.sqlstate[0] != '\0';
		cr_assert_not(job.lost, "%s", job.why);
		back_fini(&job);
		hears(&one, "SELECT 1;SELECT pg_sleep(0.001)",
		      "row 0=1,complete 0,row 1=,complete 1,ready");
	}
	fprintf(stderr, "%u of 300 cancelled\n", hit);
	one_close(&one);
}

/* The connection goes away while its request is on the way. */
Test(worker, freed_while_cancelling)
{
	struct one one;
	struct back_job job;

	for (int i = 0; i < 20; i++) {
		one_open(&one);
		back_begin(&job, &one.back, one.worker);
		back_ask(&job, 0, "SELECT pg_sleep(20)", NULL);
		worker_sync(one.worker);
		worker_cancel(one.worker);
		pool_give(one.pool, one.worker);
		if (i % 2)
			back_idle(&one.back, 20);
		back_fini(&job);
		back_close(&one.back);
	}
}
