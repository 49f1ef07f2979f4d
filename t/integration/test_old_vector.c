/*
 * Old pgvector: workers or a coordinator whose pgvector has no iterative scans, and
 * several versions in one cluster; what an upgrade changes for connections that are
 * open. Where the servers' pgvector is new, the version in the catalog is made an old
 * one in a database of these tests' own: pgtopk must believe it. on_versions runs them
 * on real old ones, too. Only the type vector is used: it has been there from the first.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "t/lib/cluster.h"
#include "t/lib/instance.h"

#define DATABASE "old_vector"
#define IN_IT "dbname=" DATABASE
#define SHARDS 4
#define PER_SHARD 1500
#define ROWS (SHARDS * PER_SHARD)
#define SKIP(name, reason) printf("SKIP: %s: %s\n", name, reason)

#define ON_COORDINATOR 1u
#define ON_WORKER1 2u
#define ON_WORKER2 4u

/* ---- the database ---- */

static void run_in(enum cluster_node node, const char *sql)
{
	PGconn *conn = cluster_connect(node, IN_IT);

	cluster_run(conn, sql);
	PQfinish(conn);
}

static void make_database(void)
{
	for (int node = 0; node <= CLUSTER_WORKERS; node++) {
		cluster_run_on((enum cluster_node)node,
		               "DROP DATABASE IF EXISTS " DATABASE " (FORCE)");
		cluster_run_on((enum cluster_node)node, "CREATE DATABASE " DATABASE);
		run_in((enum cluster_node)node, "CREATE EXTENSION vector");
	}
	run_in(CLUSTER_COORDINATOR, "CREATE EXTENSION postgres_fdw");
	for (int node = CLUSTER_WORKER1; node <= CLUSTER_WORKERS; node++)
		run_in(CLUSTER_COORDINATOR,
		       text("CREATE SERVER worker%d FOREIGN DATA WRAPPER postgres_fdw OPTIONS "
		            "(host '127.0.0.1', port '%d', dbname '" DATABASE
		            "', extensions 'vector'); CREATE USER MAPPING FOR PUBLIC SERVER "
		            "worker%d OPTIONS (user 'postgres', password_required 'false')",
		            node, cluster_port((enum cluster_node)node), node));
}

/* Points of the plane's grid, told apart by what they are near to; every shard has its
 * index, and the same rows are in `whole`. */
#define FILL                                                                                       \
	"SELECT setseed(0.5); INSERT INTO whole SELECT i, mod(i, 10), mod(i, 100), (SELECT "       \
	"array_agg(round(random()::numeric, 4)) FROM generate_series(1, 6 + 0 * i))::vector "      \
	"FROM generate_series(0, %d) i"
#define COLUMNS "id int, ten int, hundred int, e vector(6)"

static void make_shard(unsigned shard)
{
	enum cluster_node node = cluster_shard_node(shard);

	run_in(node,
	       text("DROP TABLE IF EXISTS t_%u; CREATE TABLE t_%u (" COLUMNS ")", shard, shard));
	run_in(CLUSTER_COORDINATOR,
	       text("CREATE FOREIGN TABLE t_%u PARTITION OF t FOR VALUES FROM (%u) TO (%u) "
	            "SERVER worker%d OPTIONS (schema_name 'public', table_name 't_%u'); "
	            "INSERT INTO t_%u SELECT * FROM whole WHERE id BETWEEN %u AND %u",
	            shard, shard * PER_SHARD, (shard + 1) * PER_SHARD, node, shard, shard,
	            shard * PER_SHARD, (shard + 1) * PER_SHARD - 1));
	run_in(node, text("CREATE INDEX ON t_%u USING hnsw (e vector_l2_ops); ANALYZE t_%u", shard,
	                  shard));
}

static void make_table(void)
{
	run_in(CLUSTER_COORDINATOR, "CREATE TABLE whole (" COLUMNS "); CREATE TABLE t (" COLUMNS
	                            ") PARTITION BY RANGE (id)");
	run_in(CLUSTER_COORDINATOR, text(FILL, ROWS - 1));
	for (unsigned i = 0; i < SHARDS; i++)
		make_shard(i);
}

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	static const char *const options[] = {NULL};

	(void)set;
	cluster_up();
	make_database();
	make_table();
	instance_start_shared(options);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	instance_stop_shared();
	cluster_run_everywhere("DROP DATABASE IF EXISTS " DATABASE " (FORCE)");
}

/* ---- versions ---- */

static bool has_iterative_scans(enum cluster_node node)
{
	PGconn *conn = cluster_connect(node, IN_IT);
	const char *value =
	    cluster_value(conn, "SELECT '[1]'::vector IS NOT NULL AND "
	                        "current_setting('hnsw.iterative_scan', true) IS NOT NULL");

	PQfinish(conn);
	return strcmp(value, "t") == 0;
}

/* What the catalog says where pgvector is new: an old version, or the true one again. */
static void set_versions(unsigned old)
{
	for (int node = 0; node <= CLUSTER_WORKERS; node++)
		if (has_iterative_scans((enum cluster_node)node))
			run_in((enum cluster_node)node,
			       text("UPDATE pg_extension SET extversion = '%s' "
			            "WHERE extname = 'vector'",
			            old >> node & 1 ? "0.7.4" : "0.8.0"));
}

/* As the catalog has it now: "0.8.0" is new. */
static bool is_old(enum cluster_node node)
{
	PGconn *conn = cluster_connect(node, IN_IT);
	bool old = !has_iterative_scans(node) ||
	           strcmp(cluster_value(conn, "SELECT extversion FROM pg_extension "
	                                      "WHERE extname = 'vector'"),
	                  "0.8.0") < 0;

	PQfinish(conn);
	return old;
}

/* ---- questions ---- */

/* A setting of pgvector's is known, by some of its versions at least. */
static PGconn *client(const struct instance *instance)
{
	return instance_connect(instance, IN_IT " options='-c enable_seqscan=off'");
}

static PGresult *ask(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);

	cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(conn));
	return result;
}

#define QUESTION                                                                                   \
	"SELECT id, e <-> '[0.2,0.4,0.6,0.8,0.5,0.3]' AS d FROM %s %s ORDER BY e <-> "             \
	"'[0.2,0.4,0.6,0.8,0.5,0.3]' %s"

/* All rows that there are, and of the nearest at least so many of a hundred. */
static void check(PGconn *conn, const char *where, const char *limit, unsigned percent)
{
	PGconn *plain = cluster_connect(CLUSTER_COORDINATOR, IN_IT);
	PGresult *wanted = ask(plain, text(QUESTION, "whole", where, limit));
	PGresult *got = ask(conn, text(QUESTION, "t", where, limit));
	int n = PQntuples(wanted), found = 0;

	cr_assert_eq(PQntuples(got), n, "%s %s: %d rows of %d", where, limit, PQntuples(got), n);
	for (int i = 0; i < n; i++)
		found += atof(PQgetvalue(got, i, 1)) <=
		         atof(PQgetvalue(wanted, n - 1, 1)) + 1e-6; /* builds differ in digits */
	cr_assert_geq(found * 100, n * (int)percent, "%s %s: %d of %d", where, limit, found, n);
	PQclear(got);
	PQclear(wanted);
	PQfinish(plain);
}

static void check_all(struct instance *instance)
{
	PGconn *conn = client(instance);

	instance_skip_log(instance);
	check(conn, "", "LIMIT 10", 90);
	check(conn, "", "LIMIT 100", 95);           /* beyond ef_search */
	check(conn, "", "LIMIT 1200", 95);          /* beyond its maximum */
	check(conn, "", "OFFSET 1300 LIMIT 20", 0); /* the same by OFFSET */
	check(conn, "", "LIMIT 7000", 100);         /* all that there are */
	check(conn, "WHERE hundred = 7", "LIMIT 10", 99);
	check(conn, "WHERE ten = 7", "LIMIT 10", 99);
	check(conn, "WHERE ten = 7", "LIMIT 1000", 100);
	check(conn, "WHERE hundred = 7", "LIMIT 10 OFFSET 55", 100);
	check(conn, "WHERE id = 4711", "LIMIT 3", 100);
	check(conn, "WHERE ten < 5", "LIMIT 10", 90);
	if (instance->pid)
		cr_assert_eq(instance_count(instance, " event=routed "), 11);
	PQfinish(conn);
}

static void with_versions(unsigned old)
{
	struct instance own; /* new connections: what a node has is learnt when they are made */

	set_versions(old);
	instance_start(&own, NULL);
	check_all(&own);
	instance_stop(&own);
	set_versions(0);
}

Test(old_vector, every_short_answer_is_completed)
{
	with_versions(ON_COORDINATOR | ON_WORKER1 | ON_WORKER2);
}

Test(old_vector, every_short_answer_is_completed_where_one_worker_is_old)
{
	with_versions(ON_WORKER1);
}

Test(old_vector, every_short_answer_is_completed_where_all_workers_are_old)
{
	with_versions(ON_WORKER1 | ON_WORKER2);
}

Test(old_vector, every_short_answer_is_completed_where_the_coordinator_is_old)
{
	with_versions(ON_COORDINATOR);
}

Test(old_vector, every_short_answer_is_completed_where_all_are_new)
{
	with_versions(0);
}

/* What the session has set for scans that one node does not know. */
Test(old_vector, settings_of_iterative_scans_are_no_error_on_an_old_worker)
{
	struct instance own;
	PGconn *conn;

	set_versions(ON_WORKER2);
	instance_start(&own, NULL);
	conn = client(&own);
	if (has_iterative_scans(CLUSTER_COORDINATOR))
		cluster_run(conn, "SET hnsw.iterative_scan = strict_order; "
		                  "SET hnsw.max_scan_tuples = 500");
	instance_skip_log(&own);
	check(conn, "WHERE hundred = 7", "LIMIT 10", 99);
	if (own.pid)
		cr_assert_eq(instance_count(&own, " event=routed "), 1);
	PQfinish(conn);
	instance_stop(&own);
	set_versions(0);
}

/* ---- upgrades ---- */

/* Waits until a query is answered by connections that know what is so. */
static void upgraded(unsigned before, unsigned after)
{
	static const char *const options[] = {"--pool-idle-timeout", "1s", "--log-level", "debug",
	                                      NULL};
	struct instance own;
	PGconn *conn;

	set_versions(before);
	instance_start(&own, options);
	conn = client(&own);
	check(conn, "WHERE hundred = 7", "LIMIT 10", 99);
	check(conn, "", "LIMIT 1200", 95);
	set_versions(after);
	instance_skip_log(&own);
	for (int i = 0; i < 30; i++) { /* more often than a connection becomes idle */
		check(conn, "WHERE hundred = 7", "LIMIT 10", 99);
		check(conn, "", "LIMIT 1200", 95);
		usleep(50 * 1000);
	}
	if (own.pid && before && !is_old(CLUSTER_WORKER1))
		instance_await(&own,
		               text("address=127.0.0.1:%d database=" DATABASE " vector_version=800",
		                    cluster_port(CLUSTER_WORKER1)));
	PQfinish(conn);
	instance_stop(&own);
	set_versions(0);
}

Test(old_vector, an_upgrade_is_noticed_by_connections_that_are_never_idle)
{
	upgraded(ON_WORKER1 | ON_WORKER2, 0);
}

Test(old_vector, a_downgrade_in_the_catalog_does_no_harm)
{
	upgraded(0, ON_WORKER1 | ON_WORKER2);
}

/* The extension is newer than the library that the servers have (a replica's, say): what
 * counts is the settings that are there. */
Test(old_vector, a_library_older_than_the_extension)
{
	struct instance own;
	PGconn *conn;
	char was[32];

	if (has_iterative_scans(CLUSTER_WORKER1)) {
		SKIP("a_library_older_than_the_extension", "the library is new");
		return;
	}
	conn = cluster_connect(CLUSTER_WORKER1, IN_IT);
	snprintf(
	    was, sizeof(was), "%s",
	    cluster_value(conn, "SELECT extversion FROM pg_extension WHERE extname = 'vector'"));
	cluster_run(conn, "UPDATE pg_extension SET extversion = '0.8.0' WHERE extname = 'vector'");
	instance_start(&own, NULL);
	check_all(&own);
	instance_stop(&own);
	cluster_run(
	    conn, text("UPDATE pg_extension SET extversion = '%s' WHERE extname = 'vector'", was));
	PQfinish(conn);
}

/* Its types have other OIDs then, which open connections do not know. */
Test(old_vector, an_extension_made_anew_is_routed_to_again)
{
	static const char *const options[] = {"--log-level", "debug", NULL};
	static const char shard[] =
	    "DROP EXTENSION vector CASCADE; CREATE EXTENSION vector; "
	    "ALTER TABLE t_1 ADD e vector(6); UPDATE t_1 SET e = ('[' || id || ',0,0,0,0,0]')::vector;"
	    "ALTER TABLE t_3 ADD e vector(6); UPDATE t_3 SET e = ('[' || id || ',0,0,0,0,0]')::vector";
	static const char *const parameters[] = {"[1,2,3,4,5,6]"};
	struct instance own;
	PGconn *conn;
	unsigned tries = 0;

	instance_start(&own, options);
	conn = client(&own);
	PQclear(ask(conn, text(QUESTION, "t", "", "LIMIT 5")));
	run_in(CLUSTER_WORKER2, shard);
	usleep(1100 * 1000); /* a connection so young is not doubted */
	for (;;) {
		PGresult *result = PQexecParams(conn, "SELECT id FROM t ORDER BY e <-> $1 LIMIT 5",
		                                1, NULL, parameters, NULL, NULL, 0);

		cr_assert_eq(PQntuples(result), 5, "%s", PQerrorMessage(conn));
		PQclear(result);
		instance_skip_log(&own);
		PQclear(ask(conn, text(QUESTION, "t", "", "LIMIT 5")));
		if (!own.pid || instance_count(&own, " event=routed ") == 1)
			break;
		cr_assert_lt(++tries, 5, "it is not routed to any more");
	}
	PQfinish(conn);
	instance_stop(&own);
	run_in(CLUSTER_COORDINATOR, "DROP TABLE t, whole");
	make_table();
}

/* ---- what is said of it ---- */

static const char *all_of(PGconn *conn, const char *sql)
{
	static char lines[CLUSTER_TEXT_MAX];
	PGresult *result = ask(conn, sql);

	lines[0] = '\0';
	for (int i = 0; i < PQntuples(result); i++)
		strncat(lines, text("%s\n", PQgetvalue(result, i, 0)),
		        sizeof(lines) - strlen(lines) - 1);
	PQclear(result);
	return lines;
}

static void explained(unsigned old, const char *expected)
{
	struct instance own;
	PGconn *conn;
	const char *plan;

	set_versions(old);
	instance_start(&own, NULL);
	conn = client(&own);
	plan = all_of(conn, text("EXPLAIN VERBOSE " QUESTION, "t", "", "LIMIT 5"));
	if (own.pid)
		cr_assert(strstr(plan, expected), "no \"%s\" in\n%s", expected, plan);
	PQfinish(conn);
	instance_stop(&own);
	set_versions(0);
}

Test(old_vector, explain_says_what_scans_there_are)
{
	bool old1, old2;

	explained(ON_WORKER1 | ON_WORKER2, "Iterative Scan: not known to this pgvector\n");
	old1 = is_old(CLUSTER_WORKER1);
	old2 = is_old(CLUSTER_WORKER2);
	if (!old2)
		explained(ON_WORKER1, "Iterative Scan: not known to each node's pgvector\n");
	if (!old1)
		explained(ON_WORKER2, "Iterative Scan: not known to each node's pgvector\n");
	if (!old1 && !old2)
		explained(ON_COORDINATOR, "Iterative Scan: relaxed_order\n");
}

Test(old_vector, check_and_notices_name_the_versions)
{
	static char said[CLUSTER_TEXT_MAX], wanted[200];
	const char *folder = getenv("PGTOPK_BUILDDIR");
	struct instance own;
	PGconn *conn;
	FILE *pipe;

	if (!has_iterative_scans(CLUSTER_WORKER1) || !has_iterative_scans(CLUSTER_WORKER2)) {
		SKIP("check_and_notices_name_the_versions", "the versions are what they are");
		return;
	}
	set_versions(ON_WORKER1);
	snprintf(wanted, sizeof(wanted),
	         "pgvector is not the same on all nodes: 0.7.4 on 127.0.0.1:%d, 0.8.0",
	         cluster_port(CLUSTER_WORKER1));
	pipe = popen(text("timeout 30 %s/pgtopk --check --log-level error --coordinator "
	                  "'host=127.0.0.1 port=%d user=postgres " IN_IT "' 2>&1",
	                  folder ? folder : ".", cluster_port(CLUSTER_COORDINATOR)),
	             "r");
	cr_assert_not_null(pipe);
	said[fread(said, 1, sizeof(said) - 1, pipe)] = '\0';
	cr_assert_eq(pclose(pipe), 0, "%s", said);
	cr_assert(strstr(said, text("node 127.0.0.1:%d: ok, pgvector 0.7.4 without iterative scans",
	                            cluster_port(CLUSTER_WORKER1))),
	          "%s", said);
	cr_assert(strstr(said, wanted), "%s", said);
	instance_start(&own, NULL);
	conn = client(&own);
	PQclear(ask(conn, text(QUESTION, "t", "", "LIMIT 5")));
	if (own.pid)
		instance_await(&own, wanted);
	PQfinish(conn);
	instance_stop(&own);
	set_versions(0);
}
