/*
 * Pool: connections shared, limited, waited for, timed out; how nodes are reached
 * (node_map, TLS) and what happens if they are not.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/address.h"
#include "t/lib/back.h"
#include "t/lib/cluster.h"

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	(void)set;
	cluster_up();
}

static struct pool *worker1(struct back *back)
{
	return back_pool(back, cluster_port(CLUSTER_WORKER1));
}

static const char *stats(const struct pool *pool)
{
	struct pool_stats now = pool_stats(pool);

	return text("idle=%u busy=%u connecting=%u waiting=%u", now.idle, now.busy, now.connecting,
	            now.waiting);
}

struct waiting {
	struct back *back;
	struct pool_waiter waiter;
	struct worker *worker;
	const char *why;
	bool done;
	unsigned place; /* in which turn it was served */
	unsigned *served;
};

static void on_served(void *owner, struct worker *worker, const char *why)
{
	struct waiting *waiting = owner;

	waiting->worker = worker;
	waiting->why = why ? text("%s", why) : NULL;
	waiting->done = true;
	waiting->place = ++*waiting->served;
	loop_stop(waiting->back->loop);
}

static void wait_for(struct waiting *waiting, struct back *back, struct pool *pool,
                     unsigned *served)
{
	*waiting = (struct waiting){.back = back, .served = served};
	waiting->waiter.fn = on_served;
	waiting->waiter.owner = waiting;
	cr_assert_null(pool_take(pool, &waiting->waiter));
}

Test(pool, limit_and_queue)
{
	static const char *const options[] = {"pool_size", "2", NULL};
	struct back back;
	struct pool *pool;
	struct worker *first, *second;
	struct waiting waiting[3];
	unsigned served = 0;

	back_open(&back, options);
	pool = worker1(&back);
	first = back_take(&back, pool, NULL);
	second = back_take(&back, pool, NULL);
	cr_assert_null(pool_take_idle(pool));
	for (int i = 0; i < 3; i++)
		wait_for(&waiting[i], &back, pool, &served);
	back_idle(&back, 50);
	cr_assert_str_eq(stats(pool), "idle=0 busy=2 connecting=0 waiting=3");
	pool_cancel(&waiting[1].waiter);
	pool_cancel(&waiting[1].waiter);
	pool_give(pool, first);
	cr_assert_null(pool_take_idle(pool), "somebody waits");
	pool_give(pool, second);
	back_wait(&back, &waiting[2].done);
	cr_assert(waiting[0].place == 1 && waiting[2].place == 2 && !waiting[1].done);
	cr_assert_str_eq(stats(pool), "idle=0 busy=2 connecting=0 waiting=0");
	pool_give(pool, waiting[0].worker);
	pool_give(pool, waiting[2].worker);
	cr_assert_str_eq(stats(pool), "idle=2 busy=0 connecting=0 waiting=0");
	back_close(&back);
}

Test(pool, used_last_is_used_next)
{
	struct back back;
	struct pool *pool;
	struct worker *a, *b;

	back_open(&back, NULL);
	pool = worker1(&back);
	a = back_take(&back, pool, NULL);
	b = back_take(&back, pool, NULL);
	pool_give(pool, a);
	pool_give(pool, b);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(pool_take_idle(pool), b);
		pool_give(pool, b);
	}
	back_close(&back);
}

Test(pool, one_per_node_database_and_user)
{
	struct back back;
	struct pools *pools;
	int port = cluster_port(CLUSTER_WORKER1);

	back_open(&back, NULL);
	pools = back.pools;
	cr_assert_eq(pools_get(pools, "a", port, "d", "u"), pools_get(pools, "a", port, "d", "u"));
	cr_assert_neq(pools_get(pools, "a", port, "d", "u"), pools_get(pools, "b", port, "d", "u"));
	cr_assert_neq(pools_get(pools, "a", port, "d", "u"),
	              pools_get(pools, "a", port + 1, "d", "u"));
	cr_assert_neq(pools_get(pools, "a", port, "d", "u"), pools_get(pools, "a", port, "e", "u"));
	cr_assert_neq(pools_get(pools, "a", port, "d", "u"), pools_get(pools, "a", port, "d", "v"));
	cr_assert_neq(pools_get(pools, NULL, 0, "d", "u"), pools_get(pools, NULL, 0, "d", NULL));
	back_close(&back);
}

Test(pool, warm)
{
	struct back back;
	struct pool *pool;

	back_open(&back, NULL);
	pool = worker1(&back);
	pool_warm(pool);
	pool_warm(pool);
	cr_assert_str_eq(stats(pool), "idle=0 busy=0 connecting=1 waiting=0");
	back_idle(&back, 300);
	cr_assert_str_eq(stats(pool), "idle=1 busy=0 connecting=0 waiting=0");
	pool_warm(pool);
	cr_assert_str_eq(stats(pool), "idle=1 busy=0 connecting=0 waiting=0");
	back_close(&back);
}

Test(pool, wait_time_out)
{
	static const char *const options[] = {"pool_size", "1", "pool_wait_timeout", "500ms", NULL};
	struct back back;
	struct pool *pool;
	struct worker *busy;
	const char *why = NULL;
	uint64_t started;

	back_open(&back, options);
	pool = worker1(&back);
	busy = back_take(&back, pool, NULL);
	started = loop_clock_us();
	cr_assert_null(back_take(&back, pool, &why));
	cr_assert_not_null(strstr(why, "in time"), "%s", why);
	cr_assert(loop_clock_us() - started > 450000 && loop_clock_us() - started < 5000000);
	pool_give(pool, busy);
	back_close(&back);
}

Test(pool, idle_time_out)
{
	static const char *const options[] = {"pool_idle_timeout", "1s", NULL};
	struct back back;
	struct pool *pool;
	struct worker *a, *b;

	back_open(&back, options);
	pool = worker1(&back);
	a = back_take(&back, pool, NULL);
	b = back_take(&back, pool, NULL);
	pool_give(pool, a);
	back_idle(&back, 700);
	pool_give(pool, b);
	back_idle(&back, 600);
	cr_assert_str_eq(stats(pool), "idle=1 busy=0 connecting=0 waiting=0");
	back_idle(&back, 700);
	cr_assert_str_eq(stats(pool), "idle=0 busy=0 connecting=0 waiting=0");
	back_close(&back);
}

/* A dead worker fails everybody who waits, and at once for a second. */
Test(pool, dead_worker)
{
	struct back back;
	struct pool *pool;
	struct waiting waiting[3];
	unsigned served = 0;
	const char *why = NULL;
	uint64_t started;

	back_open(&back, NULL);
	pool = back_pool(&back, 1);
	for (int i = 0; i < 3; i++)
		wait_for(&waiting[i], &back, pool, &served);
	back_wait(&back, &waiting[2].done);
	for (int i = 0; i < 3; i++) {
		cr_assert(waiting[i].done && !waiting[i].worker);
		cr_assert_not_null(strstr(waiting[i].why, "refused"), "%s", waiting[i].why);
		cr_assert_null(strchr(waiting[i].why, '\n'));
	}
	pool_warm(pool);
	cr_assert_str_eq(stats(pool), "idle=0 busy=0 connecting=0 waiting=0", "not again so soon");
	started = loop_clock_us();
	cr_assert_null(back_take(&back, pool, &why));
	cr_assert_not_null(strstr(why, "refused"));
	cr_assert_lt(loop_clock_us() - started, 50000);
	back_idle(&back, 1100);
	pool_warm(pool);
	cr_assert_str_eq(stats(pool), "idle=0 busy=0 connecting=1 waiting=0");
	back_close(&back);
}

Test(pool, bad_conninfo)
{
	static const char *const options[] = {"worker", "no_such_keyword=1", NULL};
	struct back back;
	const char *why = NULL;

	back_open(&back, options);
	cr_assert_null(back_take(&back, worker1(&back), &why));
	cr_assert_not_null(strstr(why, "no_such_keyword"), "%s", why);
	back_close(&back);
}

/* Nobody answers: 192.0.2.0/24 is for documentation. Or there is no route: as good. */
Test(pool, connect_time_out)
{
	static const char *const options[] = {"connect_timeout", "200ms", NULL};
	struct back back;
	const char *why = NULL;
	uint64_t started = loop_clock_us();

	back_open(&back, options);
	cr_assert_null(back_take(
	    &back, pools_get(back.pools, "192.0.2.1", 5432, "postgres", "postgres"), &why));
	cr_assert_lt(loop_clock_us() - started, 3000000);
	cr_assert(why && *why);
	back_close(&back);
}

/* Busy connections may come back although no new one can be had. */
Test(pool, no_new_connection_but_a_busy_one)
{
	struct back back;
	struct pool *pool;
	struct worker *busy;
	struct waiting waiting;
	unsigned served = 0;

	cluster_run_on(CLUSTER_WORKER1,
	               "DROP ROLE IF EXISTS lonely; CREATE ROLE lonely LOGIN CONNECTION LIMIT 1");
	back_open(&back, NULL);
	pool =
	    pools_get(back.pools, "127.0.0.1", cluster_port(CLUSTER_WORKER1), "postgres", "lonely");
	busy = back_take(&back, pool, NULL);
	wait_for(&waiting, &back, pool, &served);
	back_idle(&back, 300);
	cr_assert_not(waiting.done, "%s", waiting.why);
	pool_give(pool, busy);
	back_wait(&back, &waiting.done);
	cr_assert_eq(waiting.worker, busy);
	pool_give(pool, busy);
	back_close(&back);
	cluster_run_on(CLUSTER_WORKER1, "DROP ROLE lonely");
}

Test(pool, closed_while_connecting)
{
	struct back back;

	for (int i = 0; i < 5; i++) {
		back_open(&back, NULL);
		pool_warm(worker1(&back));
		if (i)
			back_idle(&back, (unsigned)i * 3);
		back_close(&back);
	}
}

/* ---- the greeting ---- */

Test(pool, facts_of_a_node)
{
	struct back back;
	struct pool *pool;
	struct worker *worker;
	const struct worker_facts *facts;

	back_open(&back, NULL);
	pool = worker1(&back);
	worker = back_take(&back, pool, NULL);
	facts = worker_facts(worker);
	cr_assert_geq(facts->vector_version, 700);
	cr_assert_str_eq(
	    text("%u %u %u", facts->vector_oid, facts->halfvec_oid, facts->sparsevec_oid),
	    back_value(&back, worker,
	               "SELECT 'vector'::regtype::oid || ' ' || 'halfvec'::regtype::oid"
	               " || ' ' || 'sparsevec'::regtype::oid"));
	cr_assert_str_eq(back_value(&back, worker, "SELECT current_setting('application_name')"),
	                 "pgtopk");
	pool_give(pool, worker);
	/* and one without pgvector */
	pool = pools_get(back.pools, "127.0.0.1", cluster_port(CLUSTER_WORKER2), "template1",
	                 "postgres");
	worker = back_take(&back, pool, NULL);
	cr_assert_eq(worker_facts(worker)->vector_version, 0);
	pool_give(pool, worker);
	back_close(&back);
}

/* ---- addresses ---- */

static const char *resolved(const char *map, const char *coordinator, const char *host, int port)
{
	struct config *config = config_new();
	struct address address;
	char error[256];
	const char *result;

	if (map)
		cr_assert(config_set(config, "test", "node_map", map, error, sizeof(error)), "%s",
		          error);
	address_resolve(&address, &config->node_map, coordinator, host, port);
	result = text("%s", address.text);
	address_fini(&address);
	config_free(config);
	return result;
}

Test(address, node_map)
{
	cr_assert_str_eq(resolved(NULL, NULL, "w1", 5432), "w1:5432");
	cr_assert_str_eq(resolved("w1:5432=10.0.0.1:6000", NULL, "w1", 5432), "10.0.0.1:6000");
	cr_assert_str_eq(resolved("w1:5432=10.0.0.1:6000", NULL, "W1", 5432), "10.0.0.1:6000");
	cr_assert_str_eq(resolved("w1:5432=10.0.0.1:6000", NULL, "w1", 5433), "w1:5433");
	cr_assert_str_eq(resolved("w1=10.0.0.1", NULL, "w1", 5433), "10.0.0.1:5433");
	cr_assert_str_eq(resolved("w1=10.0.0.1:7", NULL, "w1", 5433), "10.0.0.1:7");
	cr_assert_str_eq(resolved("[fd00::1]:5=[fd00::2]:6", NULL, "fd00::1", 5), "[fd00::2]:6");
	cr_assert_str_eq(resolved("w1=[fd00::2]", NULL, "w1", 5), "[fd00::2]:5");
	cr_assert_str_eq(resolved("w1=/run/pg", NULL, "w1", 5), "/run/pg:5");
}

/* What the coordinator calls localhost is the coordinator's machine. */
Test(address, localhost)
{
	cr_assert_str_eq(resolved(NULL, "db.example", "localhost", 5), "db.example:5");
	cr_assert_str_eq(resolved(NULL, "db.example", "127.0.0.1", 5), "db.example:5");
	cr_assert_str_eq(resolved("localhost=w1", "db.example", "localhost", 5), "w1:5");
	cr_assert_str_eq(resolved(NULL, "127.0.0.1", "localhost", 5), "localhost:5");
	cr_assert_str_eq(resolved(NULL, "/run/pg", "localhost", 5), "localhost:5");
	cr_assert_str_eq(resolved(NULL, NULL, "::1", 5), "[::1]:5");
	cr_assert_str_eq(resolved(NULL, "a,b", "localhost", 5), "localhost:5");
}

Test(pool, node_map)
{
	struct back back;
	const char *options[] = {
	    "node_map", text("far.example:5432=127.0.0.1:%d", cluster_port(CLUSTER_WORKER2)), NULL};
	struct pool *pool;
	struct worker *worker;

	back_open(&back, options);
	pool = pools_get(back.pools, "far.example", 5432, "postgres", "postgres");
	worker = back_take(&back, pool, NULL);
	cr_assert_str_eq(back_value(&back, worker, "SELECT current_setting('port')"),
	                 text("%d", cluster_port(CLUSTER_WORKER2)));
	pool_give(pool, worker);
	back_close(&back);
}

/* ---- TLS ---- */

/* A self-made certificate for localhost on worker 2; its path on our side. */
static const char *switch_tls_on(void)
{
	PGconn *conn = cluster_connect(CLUSTER_WORKER2, NULL);
	const char *path = text("/tmp/pgtopk_test_%d.crt", (int)getpid());
	FILE *file;

	cluster_run(conn, "COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; umask 077; openssl req -x509"
	                  " -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
	                  " -addext subjectAltName=DNS:localhost -keyout server.key -out server.crt"
	                  " 2>/dev/null'");
	cluster_run(conn, "ALTER SYSTEM SET ssl = on");
	cluster_run(conn, "SELECT pg_reload_conf()");
	cr_assert(cluster_await(conn, "SHOW ssl", "on"));
	file = fopen(path, "w");
	cr_assert_not_null(file);
	fputs(cluster_value(conn, "SELECT pg_read_file('server.crt')"), file);
	fclose(file);
	PQfinish(conn);
	return path;
}

static void switch_tls_off(const char *path)
{
	PGconn *conn = cluster_connect(CLUSTER_WORKER2, NULL);

	cluster_run(conn, "ALTER SYSTEM RESET ssl");
	cluster_run(conn, "SELECT pg_reload_conf()");
	PQfinish(conn);
	unlink(path);
}

static void large_over_tls(struct back *back, struct worker *worker)
{
	struct back_job job;
	char *large = malloc(5000001);

	memset(large, 'z', 5000000);
	large[5000000] = '\0';
	back_begin(&job, back, worker);
	job.quiet = true;
	back_ask(&job, 0, "SELECT i, repeat('x', 100) FROM generate_series(1, 100000) i", NULL);
	back_ask(&job, 1, "SELECT repeat('y', 20000000)", NULL);
	back_ask(&job, 2, "SELECT length($1)", large, NULL); /* and large the other way */
	cr_assert_str_eq(back_end(&job), "complete 0,complete 1,complete 2,ready");
	cr_assert_eq(job.rows, 100002);
	cr_assert_gt(job.bytes, 30000000);
	back_fini(&job);
	free(large);
}

Test(pool, tls_verify_full)
{
	const char *path = switch_tls_on();
	const char *options[] = {"worker", text("sslmode=verify-full sslrootcert=%s", path), NULL};
	int port = cluster_port(CLUSTER_WORKER2);
	struct back back;
	struct pool *pool;
	struct worker *worker;
	const char *why = NULL;

	back_open(&back, options);
	pool = pools_get(back.pools, "localhost", port, "postgres", "postgres");
	worker = back_take(&back, pool, NULL);
	cr_assert_str_eq(back_value(&back, worker,
	                            "SELECT ssl || ' ' || version FROM pg_stat_ssl"
	                            " WHERE pid = pg_backend_pid()"),
	                 "true TLSv1.3");
	large_over_tls(&back, worker);
	pool_give(pool, worker);
	/* the certificate is not for this name */
	cr_assert_null(back_take(&back, back_pool(&back, port), &why));
	cr_assert(why && *why);
	back_close(&back);
	switch_tls_off(path);
}

Test(pool, tls_lost_and_cancelled)
{
	const char *path = switch_tls_on();
	const char *options[] = {"worker", text("sslmode=verify-full sslrootcert=%s", path), NULL};
	struct back back;
	struct pool *pool;
	struct worker *worker;
	struct back_job job;

	back_open(&back, options);
	pool = pools_get(back.pools, "localhost", cluster_port(CLUSTER_WORKER2), "postgres",
	                 "postgres");
	worker = back_take(&back, pool, NULL);
	back_begin(&job, &back, worker);
	back_ask(&job, 0, "SELECT pg_sleep(20)", NULL);
	worker_sync(worker);
	back_idle(&back, 100);
	worker_cancel(worker);
	back_wait(&back, &job.over);
	cr_assert_str_eq(job.sqlstate, "57014");
	back_fini(&job);
	back_begin(&job, &back, worker);
	back_ask(&job, 0, "SELECT pg_terminate_backend(pg_backend_pid())", NULL);
	back_end(&job);
	cr_assert(job.lost);
	cr_assert_not_null(strstr(job.why, "57P01"), "%s", job.why);
	back_fini(&job);
	pool_give(pool, worker);
	back_close(&back);
	switch_tls_off(path);
}
