/*
 * Cluster: see cluster.h. etc/cluster does the work; its ports are handed to the
 * tests, which criterion runs in processes of their own, by the environment.
 */
#include "t/lib/cluster.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PORTS "PGTOPK_TEST_PORTS" /* set by cluster_up(): three numbers */

const char *text(const char *format, ...)
{
	static char *slots[16];
	static unsigned next;
	char **slot = &slots[next++ % 16];
	va_list args;

	free(*slot);
	va_start(args, format);
	cr_assert(vasprintf(slot, format, args) >= 0);
	va_end(args);
	return *slot;
}

static const char *setting(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value && *value ? value : otherwise;
}

static const char *directory(void)
{
	return setting("PGTOPK_TEST_DIR", text("%s/var/test", setting("PGTOPK_BUILDDIR", ".")));
}

/* Runs etc/cluster and returns what it says; *status is its exit status. */
static const char *run_script(const char *arguments, int *status)
{
	static char output[CLUSTER_TEXT_MAX];
	const char *script =
	    text("%s/etc/cluster %s 2>&1", setting("PGTOPK_SRCDIR", "."), arguments);
	FILE *pipe = popen(script, "r");
	size_t len;

	cr_assert_not_null(pipe);
	len = fread(output, 1, sizeof(output) - 1, pipe);
	output[len] = '\0';
	*status = pclose(pipe);
	return output;
}

/* Reads "coordinator host=… port=N … running" and so on. False: not all of it runs. */
static bool find_ports(int ports[CLUSTER_WORKERS + 1])
{
	int status;
	const char *at = run_script(text("status '%s'", directory()), &status);

	for (int i = 0; i <= CLUSTER_WORKERS; i++) {
		at = status == 0 ? strstr(at, " port=") : NULL;
		if (!at)
			return false;
		at += strlen(" port=");
		ports[i] = atoi(at);
	}
	return true;
}

/* No test may depend on the settings of whoever runs it. */
static void clear_environment(void)
{
	static const char *const names[] = {
	    "PGHOST",      "PGHOSTADDR", "PGPORT",          "PGDATABASE", "PGUSER",
	    "PGPASSWORD",  "PGOPTIONS",  "PGSERVICE",       "PGSSLMODE",  "PGTZ",
	    "PGDATESTYLE", "PGAPPNAME",  "PGCLIENTENCODING"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unsetenv(names[i]);
	setenv("PGPASSFILE", "/dev/null/none", 1);
	setenv("PSQLRC", "/dev/null/none", 1);
}

bool cluster_is_citus(void)
{
	return strcmp(setting("PGTOPK_CLUSTER", ""), "citus") == 0;
}

void cluster_up(void)
{
	int ports[CLUSTER_WORKERS + 1], status;
	const char *said = "";

	clear_environment();
	if (!find_ports(ports)) {
		said = run_script(
		    text("start '%s' %s", directory(), setting("PGTOPK_TEST_PORT", "54320")),
		    &status);
		if (status != 0 || !find_ports(ports)) {
			fprintf(stderr, "the cluster in %s does not start: %s\n", directory(),
			        said);
			exit(EXIT_FAILURE);
		}
	}
	setenv(PORTS, text("%d %d %d", ports[0], ports[1], ports[2]), 1);
}

void cluster_use(int coordinator, int worker1, int worker2)
{
	clear_environment();
	setenv(PORTS, text("%d %d %d", coordinator, worker1, worker2), 1);
}

int cluster_port(enum cluster_node node)
{
	const char *ports = getenv(PORTS);
	int port[CLUSTER_WORKERS + 1];

	cr_assert_not_null(ports, "cluster_up() was not called");
	cr_assert_eq(sscanf(ports, "%d %d %d", &port[0], &port[1], &port[2]), 3);
	return port[node];
}

/* ---- connections and statements ---- */

PGconn *cluster_connect_port(int port, const char *more)
{
	PGconn *conn = PQconnectdb(text("host=127.0.0.1 port=%d user=postgres dbname=postgres "
	                                "connect_timeout=10 %s",
	                                port, more ? more : ""));

	cr_assert_eq(PQstatus(conn), CONNECTION_OK, "%s", PQerrorMessage(conn));
	return conn;
}

PGconn *cluster_connect(enum cluster_node node, const char *more)
{
	return cluster_connect_port(cluster_port(node), more);
}

static void ignore_notice(void *context, const PGresult *result)
{
	(void)context;
	(void)result;
}

void cluster_run(PGconn *conn, const char *sql)
{
	PQnoticeReceiver before = PQsetNoticeReceiver(conn, ignore_notice, NULL);
	PGresult *result = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(result);

	PQsetNoticeReceiver(conn, before, NULL);
	cr_assert(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%.500s: %s", sql,
	          PQerrorMessage(conn));
	PQclear(result);
}

const char *cluster_value(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);
	const char *value;

	cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%.500s: %s", sql,
	             PQerrorMessage(conn));
	value = text("%s", PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
	PQclear(result);
	return value;
}

void cluster_run_on(enum cluster_node node, const char *sql)
{
	PGconn *conn = cluster_connect(node, NULL);

	cluster_run(conn, sql);
	PQfinish(conn);
}

void cluster_run_everywhere(const char *sql)
{
	for (int node = CLUSTER_COORDINATOR; node <= CLUSTER_WORKERS; node++)
		cluster_run_on((enum cluster_node)node, sql);
}

bool cluster_await(PGconn *conn, const char *sql, const char *value)
{
	for (int i = 0; i < 200; i++) {
		if (strcmp(cluster_value(conn, sql), value) == 0)
			return true;
		usleep(50 * 1000);
	}
	return false;
}

/* ---- workers ---- */

void cluster_stop_worker(enum cluster_node node)
{
	PGconn *conn = cluster_connect(node, NULL);
	const char *pid =
	    cluster_value(conn, "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)");
	const char *immediately = text("kill -QUIT %d", atoi(pid));

	PQfinish(conn);
	cr_assert_gt(atoi(pid), 1);
	cr_assert_eq(system(immediately), 0);
	for (int i = 0; i < 200; i++) {
		PGPing ping = PQping(text("host=127.0.0.1 port=%d user=postgres dbname=postgres",
		                          cluster_port(node)));

		if (ping == PQPING_NO_RESPONSE)
			return;
		usleep(50 * 1000);
	}
	cr_assert_fail("worker %d does not stop", node);
}

void cluster_start_worker(enum cluster_node node)
{
	int status;
	const char *said = run_script(
	    text("start '%s' %d", directory(), cluster_port(CLUSTER_COORDINATOR)), &status);

	cr_assert_eq(status, 0, "%s", said);
	PQfinish(cluster_connect(node, NULL));
}

/* ---- sharded tables ---- */

enum cluster_node cluster_shard_node(unsigned shard)
{
	return (enum cluster_node)(CLUSTER_WORKER1 + shard % CLUSTER_WORKERS);
}

static const char *bounds(const char *by, unsigned shards, unsigned shard, unsigned step)
{
	if (strncmp(by, "HASH", 4) == 0)
		return text("WITH (MODULUS %u, REMAINDER %u)", shards, shard);
	return text("FROM (%u) TO (%u)", shard * step, (shard + 1) * step);
}

static void distribute(const char *table, const char *columns, const char *by, unsigned shards)
{
	cr_assert_str_eq(by, "HASH (id)");
	cluster_run_on(CLUSTER_COORDINATOR,
	               text("DROP TABLE IF EXISTS %s CASCADE; CREATE TABLE %s (%s); SELECT "
	                    "create_distributed_table('%s', 'id', shard_count := %u)",
	                    table, table, columns, table, shards));
}

void cluster_shard(const char *table, const char *columns, const char *by, unsigned shards,
                   unsigned step)
{
	PGconn *conns[CLUSTER_WORKERS + 1];

	if (cluster_is_citus()) {
		distribute(table, columns, by, shards);
		return;
	}
	for (int node = 0; node <= CLUSTER_WORKERS; node++)
		conns[node] = cluster_connect((enum cluster_node)node, NULL);
	cluster_run(conns[0], text("DROP TABLE IF EXISTS %s CASCADE; "
	                           "CREATE TABLE %s (%s) PARTITION BY %s",
	                           table, table, columns, by));
	for (unsigned i = 0; i < shards; i++) {
		enum cluster_node node = cluster_shard_node(i);

		cluster_run(conns[node], text("DROP TABLE IF EXISTS %s_%u CASCADE; "
		                              "CREATE TABLE %s_%u (%s)",
		                              table, i, table, i, columns));
		cluster_run(conns[0],
		            text("CREATE FOREIGN TABLE %s_%u PARTITION OF %s FOR VALUES %s "
		                 "SERVER worker%d OPTIONS (schema_name 'public', "
		                 "table_name '%s_%u'%s)",
		                 table, i, table, bounds(by, shards, i, step), node, table, i,
		                 PQserverVersion(conns[0]) < 140000 ? "" : ", batch_size '200'"));
	}
	for (int node = 0; node <= CLUSTER_WORKERS; node++)
		PQfinish(conns[node]);
}

/* Citus does it itself; its place-holder is %s. */
static void run_on_citus_shards(const char *table, const char *sql)
{
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, NULL);
	const char *failed = cluster_value(
	    conn, text("SELECT string_agg(result, ';') FROM run_command_on_shards('%s', "
	               "replace($sql$%s$sql$, '@', '%%s')) WHERE NOT success",
	               table, sql));

	cr_assert_str_eq(failed, "", "%s: %s", sql, failed);
	PQfinish(conn);
}

void cluster_run_shards(const char *table, unsigned shards, const char *sql)
{
	if (cluster_is_citus()) {
		run_on_citus_shards(table, sql);
		return;
	}
	for (unsigned i = 0; i < shards; i++) {
		const char *name = text("%s_%u", table, i);
		char *statement = malloc(strlen(sql) * (strlen(name) + 1) + 1), *to = statement;

		cr_assert_not_null(statement);
		for (const char *from = sql; *from; from++) {
			if (*from == '@')
				to = stpcpy(to, name);
			else
				*to++ = *from;
		}
		*to = '\0';
		cluster_run_on(cluster_shard_node(i), statement);
		free(statement);
	}
}
