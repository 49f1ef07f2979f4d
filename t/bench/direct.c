/*
 * The limit: the side that asks the shards straight, as pgtopk does. Each client
 * has one connection per worker, in pipeline mode; for a query every shard's
 * prepared statement is sent at once, each with the whole LIMIT; the nearest of
 * all answers are kept. Nothing is validated, so nothing can be faster.
 */
#include <assert.h>
#include <err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/bench/load.h"

enum { WORKERS_MAX = 64, SHARDS_MAX = 1024 };

struct worker {
	PGconn *conn;
	char *conninfo;
	unsigned shards;
	char *names[SHARDS_MAX]; /* of the statements as well */
	bool done;
};

struct direct_client {
	const struct load *load;
	unsigned workers;
	struct worker worker[WORKERS_MAX];
	size_t count; /* of the nearest so far */
	double distances[QUERIES_K];
	int64_t *ids;
};

/* Columns: connection, shard. The same user everywhere. */
static const char partitions_sql[] =
    "SELECT format('host=%s port=%s dbname=%s', s.host, s.port, s.dbname),"
    " format('%I.%I', coalesce(t.schema_name, n.nspname), coalesce(t.table_name, c.relname))"
    " FROM pg_partition_tree($1::regclass) p JOIN pg_class c ON c.oid = p.relid"
    " JOIN pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_foreign_table f ON f.ftrelid = p.relid"
    " JOIN pg_foreign_server fs ON fs.oid = f.ftserver,"
    " LATERAL (SELECT max(option_value) FILTER (WHERE option_name = 'schema_name'),"
    " max(option_value) FILTER (WHERE option_name = 'table_name')"
    " FROM pg_options_to_table(ftoptions)) t(schema_name, table_name),"
    " LATERAL (SELECT max(option_value) FILTER (WHERE option_name = 'host'),"
    " coalesce(max(option_value) FILTER (WHERE option_name = 'port'), '5432'),"
    " coalesce(max(option_value) FILTER (WHERE option_name = 'dbname'), current_database())"
    " FROM pg_options_to_table(srvoptions)) s(host, port, dbname)"
    " WHERE p.isleaf ORDER BY p.relid";

static const char citus_sql[] =
    "SELECT format('host=%s port=%s dbname=%s', d.nodename, d.nodeport, current_database()),"
    " CASE n.nspname WHEN 'public' THEN 'public.' ELSE '' END"
    " || shard_name(s.logicalrelid, s.shardid)"
    " FROM pg_dist_shard s JOIN pg_class c ON c.oid = s.logicalrelid"
    " JOIN pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_dist_placement p ON p.shardid = s.shardid AND p.shardstate = 1"
    " JOIN pg_dist_node d ON d.groupid = p.groupid"
    " AND d.isactive AND d.noderole = 'primary'"
    " WHERE s.logicalrelid = $1::regclass ORDER BY s.shardid";

static PGresult *find_shards(PGconn *coordinator, const char *table)
{
	PGresult *result = load_result(
	    coordinator, PQexec(coordinator, "SELECT to_regclass('pg_catalog.pg_dist_shard')"),
	    PGRES_TUPLES_OK);
	bool citus = !PQgetisnull(result, 0, 0);

	PQclear(result);
	result = load_result(coordinator,
	                     PQexecParams(coordinator, citus ? citus_sql : partitions_sql, 1, NULL,
	                                  &table, NULL, NULL, 0),
	                     PGRES_TUPLES_OK);
	if (PQntuples(result) == 0)
		errx(1, "%s has no shards", table);
	return result;
}

static struct worker *get_worker(struct direct_client *client, const char *conninfo)
{
	struct worker *worker = client->worker;

	for (; worker < client->worker + client->workers; worker++)
		if (strcmp(worker->conninfo, conninfo) == 0)
			return worker;
	assert(client->workers < WORKERS_MAX);
	client->workers++;
	worker->conninfo = strdup(conninfo);
	assert(worker->conninfo);
	return worker;
}

static void learn_shards(struct direct_client *client)
{
	PGconn *coordinator = load_connect(client->load->conninfo);
	PGresult *result = find_shards(coordinator, client->load->table);

	for (int i = 0; i < PQntuples(result); i++) {
		char conninfo[1024];
		struct worker *worker;

		snprintf(conninfo, sizeof(conninfo), "%s user=%s", PQgetvalue(result, i, 0),
		         PQuser(coordinator));
		worker = get_worker(client, conninfo);
		assert(worker->shards < SHARDS_MAX);
		worker->names[worker->shards] = strdup(PQgetvalue(result, i, 1));
		assert(worker->names[worker->shards]);
		worker->shards++;
	}
	PQclear(result);
	PQfinish(coordinator);
}

static void prepare(struct direct_client *client, struct worker *worker)
{
	const struct queries_kind *kind = &client->load->queries.kind;
	char settings[160], target[128];

	/* the first statement loads the library, which knows the settings */
	snprintf(settings, sizeof(settings),
	         "SELECT '[1]'::vector; SET hnsw.ef_search = %d;"
	         "SET hnsw.iterative_scan = relaxed_order",
	         client->load->ef_search);
	snprintf(target, sizeof(target), "id, %s %s $1", kind->column, kind->operator);
	worker->conn = load_connect(worker->conninfo);
	PQclear(load_result(worker->conn, PQexec(worker->conn, settings), PGRES_COMMAND_OK));
	for (unsigned i = 0; i < worker->shards; i++) {
		char *sql = load_sql(client->load, target, worker->names[i]);

		PQclear(load_result(worker->conn,
		                    PQprepare(worker->conn, worker->names[i], sql, 0, NULL),
		                    PGRES_COMMAND_OK));
		free(sql);
	}
	if (PQsetnonblocking(worker->conn, 1) != 0 || PQenterPipelineMode(worker->conn) != 1)
		errx(1, "%s", PQerrorMessage(worker->conn));
}

static void *direct_open(const struct load *load)
{
	struct direct_client *client = calloc(1, sizeof(*client));

	assert(client);
	client->load = load;
	learn_shards(client);
	for (unsigned i = 0; i < client->workers; i++)
		prepare(client, &client->worker[i]);
	return client;
}

static void merge(struct direct_client *client, double distance, int64_t id)
{
	size_t at;

	if (client->count == QUERIES_K && distance >= client->distances[QUERIES_K - 1])
		return;
	at = client->count < QUERIES_K ? client->count++ : QUERIES_K - 1;
	for (; at > 0 && client->distances[at - 1] > distance; at--) {
		client->distances[at] = client->distances[at - 1];
		client->ids[at] = client->ids[at - 1];
	}
	client->distances[at] = distance;
	client->ids[at] = id;
}

static void merge_rows(struct direct_client *client, const PGresult *result)
{
	for (int i = 0; i < PQntuples(result); i++) {
		uint64_t bits = (uint64_t)load_integer(result, i, 1);
		double distance;

		memcpy(&distance, &bits, sizeof(distance));
		merge(client, distance, load_integer(result, i, 0));
	}
}

static void send_queries(struct worker *worker, const struct load_parameters *p)
{
	for (unsigned i = 0; i < worker->shards; i++)
		if (PQsendQueryPrepared(worker->conn, worker->names[i], p->count, p->values,
		                        p->lengths, p->formats, 1) != 1)
			errx(1, "%s", PQerrorMessage(worker->conn));
	if (PQpipelineSync(worker->conn) != 1)
		errx(1, "%s", PQerrorMessage(worker->conn));
	worker->done = false;
}

/* Takes what is there; NULL results stand between those of the statements. */
static void take_results(struct direct_client *client, struct worker *worker)
{
	if (PQconsumeInput(worker->conn) != 1)
		errx(1, "%s", PQerrorMessage(worker->conn));
	while (!worker->done && !PQisBusy(worker->conn)) {
		PGresult *result = PQgetResult(worker->conn);

		if (!result)
			continue;
		if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
			worker->done = true;
		else
			merge_rows(client, load_result(worker->conn, result, PGRES_TUPLES_OK));
		PQclear(result);
	}
}

static void wait_for_workers(struct direct_client *client)
{
	for (;;) {
		struct pollfd fds[WORKERS_MAX];
		struct worker *waiting[WORKERS_MAX];
		nfds_t count = 0;

		for (unsigned i = 0; i < client->workers; i++) {
			struct worker *worker = &client->worker[i];
			int unsent;

			if (worker->done)
				continue;
			unsent = PQflush(worker->conn);
			if (unsent < 0)
				errx(1, "%s", PQerrorMessage(worker->conn));
			waiting[count] = worker;
			fds[count++] = (struct pollfd){
			    .fd = PQsocket(worker->conn),
			    .events = (short)(unsent ? POLLIN | POLLOUT : POLLIN),
			};
		}
		if (count == 0)
			return;
		if (poll(fds, count, -1) < 0)
			err(1, "poll");
		for (nfds_t i = 0; i < count; i++)
			if (fds[i].revents & ~POLLOUT)
				take_results(client, waiting[i]);
	}
}

static size_t direct_ask(void *arg, uint32_t query, int64_t ids[QUERIES_K])
{
	struct direct_client *client = arg;
	struct load_parameters p;

	load_parameters(client->load, query, &p);
	client->count = 0;
	client->ids = ids;
	for (unsigned i = 0; i < client->workers; i++) {
		send_queries(&client->worker[i], &p);
		if (PQflush(client->worker[i].conn) < 0)
			errx(1, "%s", PQerrorMessage(client->worker[i].conn));
	}
	wait_for_workers(client);
	return client->count;
}

static void direct_close(void *arg)
{
	struct direct_client *client = arg;

	for (unsigned i = 0; i < client->workers; i++) {
		struct worker *worker = &client->worker[i];

		PQfinish(worker->conn);
		free(worker->conninfo);
		for (unsigned j = 0; j < worker->shards; j++)
			free(worker->names[j]);
	}
	free(client);
}

const struct side direct_side = {direct_open, direct_ask, direct_close};
