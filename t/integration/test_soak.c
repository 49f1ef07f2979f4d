/*
 * Soak: some dozens of clients do random things for a while: plain and routed queries,
 * simple, extended and in pipelines, transactions, COPY, LISTEN and NOTIFY, cancels,
 * and leave in every way; with TLS, with SCRAM, with neither. Every answer must be
 * right. At the end nobody is left: descriptors and memory are as before, and pgtopk
 * ends well.
 *
 * PGTOPK_SOAK_SECONDS says how long (make soak TIME=...), PGTOPK_SOAK_SEED repeats one.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "t/lib/certificates.h"
#include "t/lib/cluster.h"
#include "t/lib/instance.h"
#include "t/lib/items.h"
#include "t/lib/server.h"

#define CLIENTS 24
#define SHORT_SECONDS 20
#define VECTOR "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 5"
#define VECTOR_PARAMETER "SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 5"
#define MEMORY_GROWTH_KB 12288

struct soak {
	struct instance instance;
	const char *auth_file;
	int port;
	time_t end;
	atomic_bool over;
	char expected[5][24]; /* ids of VECTOR */
	char ca[512];
};

struct client {
	struct soak *soak;
	pthread_t thread;
	unsigned random;
	unsigned connections, actions, cancelled;
	PGconn *conn;
	char complaint[512];
};

static unsigned draw(struct client *client, unsigned below)
{
	return (unsigned)rand_r(&client->random) % below;
}

static void complain(struct client *client, const char *what, const char *why)
{
	if (!client->complaint[0])
		snprintf(client->complaint, sizeof(client->complaint), "%.80s: %.400s", what, why);
}

/* ---- answers ---- */

static bool is_cancelled(const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	return state && strcmp(state, "57014") == 0;
}

/* Five ids, or a cancel that was sent before. */
static void check_vector(struct client *client, PGresult *result, bool may_be_cancelled)
{
	if (may_be_cancelled && is_cancelled(result)) {
		client->cancelled++;
	} else if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 5) {
		complain(client, "vector", PQresultErrorMessage(result));
	} else {
		for (int i = 0; i < 5; i++)
			if (strcmp(PQgetvalue(result, i, 0), client->soak->expected[i]) != 0)
				complain(client, "vector", "other rows");
	}
	PQclear(result);
}

static void check_value(struct client *client, PGresult *result, const char *value)
{
	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1 ||
	    strcmp(PQgetvalue(result, 0, 0), value) != 0)
		complain(client, value, PQresultErrorMessage(result));
	PQclear(result);
}

static void run(struct client *client, const char *sql, ExecStatusType status)
{
	PGresult *result = PQexec(client->conn, sql);

	if (PQresultStatus(result) != status)
		complain(client, sql, PQresultErrorMessage(result));
	PQclear(result);
}

/* ---- what a client does ---- */

static void plain(struct client *client)
{
	char sql[64], value[16];

	snprintf(value, sizeof(value), "%u", draw(client, 100000));
	snprintf(sql, sizeof(sql), "SELECT %s", value);
	check_value(client, PQexec(client->conn, sql), value);
}

static void large(struct client *client)
{
	PGresult *result =
	    PQexec(client->conn, "SELECT repeat('x', 200000) FROM generate_series(1, 5)");

	if (PQntuples(result) != 5 || PQgetlength(result, 4, 0) != 200000)
		complain(client, "large", PQresultErrorMessage(result));
	PQclear(result);
}

static void routed_simple(struct client *client)
{
	check_vector(client, PQexec(client->conn, VECTOR), false);
}

static void routed_extended(struct client *client)
{
	const char *vector = Q8;

	check_vector(client,
	             PQexecParams(client->conn, VECTOR_PARAMETER, 1, NULL, &vector, NULL, NULL, 0),
	             false);
}

static void routed_prepared(struct client *client)
{
	const char *vector = Q8;

	PQclear(PQprepare(client->conn, "p", VECTOR_PARAMETER, 0, NULL));
	for (unsigned i = draw(client, 3); i <= 2; i++)
		check_vector(client, PQexecPrepared(client->conn, "p", 1, &vector, NULL, NULL, 0),
		             false);
	run(client, "DEALLOCATE p", PGRES_COMMAND_OK);
}

static void transaction(struct client *client)
{
	run(client, "BEGIN", PGRES_COMMAND_OK);
	routed_simple(client);
	if (draw(client, 2)) {
		run(client, "SELECT 1/0", PGRES_FATAL_ERROR);
		run(client, VECTOR, PGRES_FATAL_ERROR);
	}
	run(client, "ROLLBACK", PGRES_COMMAND_OK);
}

static void pipeline(struct client *client)
{
	const char *vector = Q8;
	unsigned n = 1 + draw(client, 8);
	unsigned failing = draw(client, 2) ? draw(client, n) : n;
	PGresult *result;

	PQenterPipelineMode(client->conn);
	for (unsigned i = 0; i < n; i++) {
		if (i == failing)
			PQsendQueryParams(client->conn, "SELECT 1/0", 0, NULL, NULL, NULL, NULL, 0);
		PQsendQueryParams(client->conn, VECTOR_PARAMETER, 1, NULL, &vector, NULL, NULL, 0);
	}
	PQpipelineSync(client->conn);
	for (unsigned i = 0; i < n; i++) {
		if (i == failing) {
			PQclear(PQgetResult(client->conn));
			PQclear(PQgetResult(client->conn));
		}
		result = PQgetResult(client->conn);
		if (i < failing) {
			check_vector(client, result, false);
		} else {
			if (PQresultStatus(result) != PGRES_PIPELINE_ABORTED)
				complain(client, "pipeline", "not aborted");
			PQclear(result);
		}
		PQclear(PQgetResult(client->conn));
	}
	result = PQgetResult(client->conn);
	if (PQresultStatus(result) != PGRES_PIPELINE_SYNC)
		complain(client, "pipeline", "no end");
	PQclear(result);
	PQexitPipelineMode(client->conn);
}

static void copy(struct client *client)
{
	static const char line[] = "1\tsome text\n";
	unsigned lines = draw(client, 3000);
	char value[16];

	run(client, "CREATE TEMP TABLE IF NOT EXISTS t (a int, b text)", PGRES_COMMAND_OK);
	run(client, "TRUNCATE t", PGRES_COMMAND_OK);
	run(client, "COPY t FROM STDIN", PGRES_COPY_IN);
	for (unsigned i = 0; i < lines; i++)
		PQputCopyData(client->conn, line, sizeof(line) - 1);
	PQputCopyEnd(client->conn, NULL);
	PQclear(PQgetResult(client->conn));
	PQclear(PQgetResult(client->conn));
	snprintf(value, sizeof(value), "%u", lines);
	check_value(client, PQexec(client->conn, "SELECT count(*) FROM t"), value);
}

static void listen_notify(struct client *client)
{
	PGnotify *notify = NULL;

	run(client, "LISTEN soak", PGRES_COMMAND_OK);
	run(client, "NOTIFY soak", PGRES_COMMAND_OK);
	routed_simple(client);
	for (int i = 0; i < 100 && !(notify = PQnotifies(client->conn)); i++)
		run(client, "SELECT 1", PGRES_TUPLES_OK);
	if (!notify)
		complain(client, "notify", "none came");
	while (notify) {
		PQfreemem(notify);
		notify = PQnotifies(client->conn);
	}
	run(client, "UNLISTEN *", PGRES_COMMAND_OK);
}

/* A cancel hits the statement that runs, or nothing; never the next one. */
static void cancel(struct client *client)
{
	PGcancel *request = PQgetCancel(client->conn);
	PGresult *result;
	char error[256];
	bool routed = draw(client, 2);

	PQsendQuery(client->conn, routed ? VECTOR : "SELECT pg_sleep(0.02)");
	usleep(draw(client, 3000));
	PQcancel(request, error, sizeof(error));
	PQfreeCancel(request);
	result = PQgetResult(client->conn);
	if (routed) {
		check_vector(client, result, true);
	} else {
		client->cancelled += is_cancelled(result);
		if (!is_cancelled(result) && PQresultStatus(result) != PGRES_TUPLES_OK)
			complain(client, "cancel", PQresultErrorMessage(result));
		PQclear(result);
	}
	PQclear(PQgetResult(client->conn));
	plain(client);
}

/* ---- coming and going ---- */

static void come(struct client *client)
{
	static const char *const users[] = {"postgres", "soak_scram", "soak_md5"};
	struct soak *soak = client->soak;
	char conninfo[1024];

	snprintf(conninfo, sizeof(conninfo),
	         "host=127.0.0.1 port=%d dbname=postgres user=%s password=right sslmode=%s "
	         "sslrootcert=%s connect_timeout=20 options='-c client_min_messages=warning'",
	         soak->port, users[draw(client, 3)], draw(client, 3) ? "disable" : "verify-full",
	         soak->ca);
	client->conn = PQconnectdb(conninfo);
	client->connections++;
	if (PQstatus(client->conn) != CONNECTION_OK)
		complain(client, conninfo, PQerrorMessage(client->conn));
}

/* Bytes that end in the midst of a message; not with TLS. */
static void leave_amid_message(struct client *client)
{
	static const char *const halves[] = {"Q\0\0\1\0SELECT", "P\0\0\0\30\0SELECT", "d\0\0\0\20a",
	                                     "X\0", "Q\0\0\0"};
	static const size_t lens[] = {11, 12, 6, 2, 4};
	unsigned i = draw(client, 5);

	if (!PQsslInUse(client->conn) &&
	    send(PQsocket(client->conn), halves[i], lens[i], MSG_NOSIGNAL) < 0)
		complain(client, "send", "failed");
}

static void leave(struct client *client)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 0};
	unsigned way = draw(client, 6);
	int fd = PQsocket(client->conn);

	if (way == 0)
		leave_amid_message(client);
	if (way == 1) /* with an answer on its way */
		PQsendQuery(client->conn,
		            draw(client, 2) ? VECTOR : "SELECT repeat('x', 10000000)");
	if (way == 2)
		PQsendQuery(client->conn, "COPY items FROM STDIN");
	if (way <= 3 && draw(client, 2))
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	if (way <= 3)
		shutdown(fd,
		         draw(client, 2) ? SHUT_RDWR : SHUT_WR); /* no Terminate from PQfinish */
	PQfinish(client->conn);
	client->conn = NULL;
}

static void *live(void *argument)
{
	static void (*const actions[])(struct client *) = {
	    plain,    large, routed_simple, routed_extended, routed_prepared, transaction,
	    pipeline, copy,  listen_notify, cancel,          plain,           routed_simple,
	};
	struct client *client = argument;

	while (time(NULL) < client->soak->end && !client->complaint[0]) {
		come(client);
		for (unsigned i = draw(client, 20); i > 0 && !client->complaint[0]; i--) {
			actions[draw(client, sizeof(actions) / sizeof(actions[0]))](client);
			client->actions++;
		}
		leave(client);
	}
	return NULL;
}

/* ---- all of them ---- */

/* Users with passwords, and a coordinator that asks for them. */
static struct server server;
static struct certificates certificates;

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	(void)set;
	cluster_up();
	items_up();
}

#define ROLES                                                                                      \
	"CREATE ROLE soak_scram SUPERUSER LOGIN PASSWORD 'right';"                                 \
	"SET password_encryption = md5;"                                                           \
	"CREATE ROLE soak_md5 SUPERUSER LOGIN PASSWORD 'right';"

/* A coordinator of our own, that asks for passwords, before the cluster's workers. */
static void server_up(void)
{
	server_start(&server,
	             "host all postgres 127.0.0.1/32 trust\n"
	             "host all soak_md5 127.0.0.1/32 md5\n"
	             "host all all 127.0.0.1/32 scram-sha-256\n",
	             "max_connections = 200\n");
	server_copy_schema(&server, cluster_port(CLUSTER_COORDINATOR));
	server_run(&server, ROLES "DO $$ DECLARE s name; BEGIN FOR s IN SELECT srvname FROM"
	                          " pg_foreign_server LOOP EXECUTE format('CREATE USER MAPPING FOR"
	                          " soak_scram SERVER %I OPTIONS (user %L)', s, 'postgres');"
	                          " EXECUTE format('CREATE USER MAPPING FOR"
	                          " soak_md5 SERVER %I OPTIONS (user %L)', s, 'postgres');"
	                          " END LOOP; END $$");
	for (int i = 0; i < CLUSTER_WORKERS; i++) {
		enum cluster_node node = i == 0 ? CLUSTER_WORKER1 : CLUSTER_WORKER2;

		cluster_run_on(node, "DROP ROLE IF EXISTS soak_scram, soak_md5;" ROLES);
	}
	certificates_open(&certificates);
	certificates_make_usual(&certificates, "postgres");
}

static void server_down(void)
{
	for (int i = 0; i < CLUSTER_WORKERS; i++)
		cluster_run_on(i == 0 ? CLUSTER_WORKER1 : CLUSTER_WORKER2,
		               "DROP ROLE soak_scram, soak_md5");
	certificates_close(&certificates);
	server_stop(&server);
}

static void expect_ids(struct soak *soak)
{
	PGconn *conn = server_connect(&server);
	PGresult *result = PQexec(conn, VECTOR);

	cr_assert_eq(PQntuples(result), 5, "%s", PQerrorMessage(conn));
	for (int i = 0; i < 5; i++)
		snprintf(soak->expected[i], sizeof(soak->expected[i]), "%s",
		         PQgetvalue(result, i, 0));
	PQclear(result);
	PQfinish(conn);
}

static void soak_open(struct soak *soak)
{
	char cert[512], key[512];
	const char *options[] = {"--coordinator",
	                         server_conninfo(&server, "sslmode=disable"),
	                         "--client-tls",
	                         "allow",
	                         "--client-tls-cert",
	                         cert,
	                         "--client-tls-key",
	                         key,
	                         "--pool-size",
	                         "6",

	                         "--core-dumps",
	                         "on",
	                         NULL};

	memset(soak, 0, sizeof(*soak));
	snprintf(cert, sizeof(cert), "%s", certificates_file(&certificates, "server.crt"));
	snprintf(key, sizeof(key), "%s", certificates_file(&certificates, "server.key"));
	snprintf(soak->ca, sizeof(soak->ca), "%s", certificates_file(&certificates, "ca.crt"));
	expect_ids(soak);
	instance_start(&soak->instance, options);
	soak->port = soak->instance.port;
}

/* The clients' answers are right, and all of them come to an end. */
static void soak_run(struct soak *soak, unsigned seed, unsigned seconds)
{
	struct client clients[CLIENTS];
	unsigned connections = 0, actions = 0, cancelled = 0;

	soak->end = time(NULL) + seconds;
	for (unsigned i = 0; i < CLIENTS; i++) {
		clients[i] = (struct client){.soak = soak, .random = seed * 1000 + i};
		cr_assert_eq(pthread_create(&clients[i].thread, NULL, live, &clients[i]), 0);
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		pthread_join(clients[i].thread, NULL);
		connections += clients[i].connections;
		actions += clients[i].actions;
		cancelled += clients[i].cancelled;
	}
	printf("soak: seed %u, %u s: %u connections, %u actions, %u cancelled, VmRSS %ld kB\n",
	       seed, seconds, connections, actions, cancelled,
	       instance_memory_kb(&soak->instance, "VmRSS"));
	for (unsigned i = 0; i < CLIENTS; i++)
		cr_expect_str_empty(clients[i].complaint, "client %u: %s", i, clients[i].complaint);
}

static bool nobody_is_left(void)
{
	PGconn *conn = server_connect(&server);
	bool gone = cluster_await(conn,
	                          "SELECT count(*) FROM pg_stat_activity WHERE backend_type = "
	                          "'client backend' AND application_name NOT LIKE 'pgtopk%'",
	                          "1");

	PQfinish(conn);
	return gone;
}

Test(soak, random_clients, .timeout = 86400)
{
	const char *seconds = getenv("PGTOPK_SOAK_SECONDS"), *seed = getenv("PGTOPK_SOAK_SEED");
	unsigned total = seconds && *seconds ? (unsigned)atoi(seconds) : SHORT_SECONDS;
	unsigned random = seed && *seed ? (unsigned)atoi(seed) : (unsigned)time(NULL);
	bool sanitized = instance_is_sanitized();
	struct soak soak;
	unsigned descriptors;
	long memory;

	server_up();
	soak_open(&soak);
	descriptors = instance_descriptors(&soak.instance);
	soak_run(&soak, random, total / 4 + 1);
	memory = instance_memory_kb(&soak.instance, "VmRSS");
	soak_run(&soak, random + 1, total - total / 4);
	/* three users' pools of six to each worker, the catalog's and the verifiers' connections */
	cr_expect(instance_await_descriptors(&soak.instance, descriptors + 3 * 2 * 6 + 8, 5000),
	          "%u descriptors, %u at first", instance_descriptors(&soak.instance), descriptors);
	cr_expect(nobody_is_left());
	cr_expect_gt(instance_count(&soak.instance, " event=routed "), 0);
	if (!sanitized)
		cr_expect_lt(instance_memory_kb(&soak.instance, "VmRSS"), memory + MEMORY_GROWTH_KB,
		             "%ld kB, %ld kB after the first quarter",
		             instance_memory_kb(&soak.instance, "VmRSS"), memory);
	instance_stop(&soak.instance);
	server_down();
}
