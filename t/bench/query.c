/*
 * The side that knows one connection string, as an application does: a prepared
 * statement, the query vector as its parameter, everything in binary.
 */
#include <assert.h>
#include <stdlib.h>

#include "t/bench/load.h"

struct query_client {
	const struct load *load;
	PGconn *conn;
};

static void *query_open(const struct load *load)
{
	struct query_client *client = calloc(1, sizeof(*client));
	char *sql = load_sql(load, "id", load->table);

	assert(client);
	client->load = load;
	client->conn = load_connect(load->conninfo);
	PQclear(load_result(client->conn, PQprepare(client->conn, "topk", sql, 0, NULL),
	                    PGRES_COMMAND_OK));
	free(sql);
	return client;
}

static size_t query_ask(void *arg, uint32_t query, int64_t ids[QUERIES_K])
{
	struct query_client *client = arg;
	struct load_parameters p;
	PGresult *result;
	int rows;

	load_parameters(client->load, query, &p);
	result = load_result(
	    client->conn,
	    PQexecPrepared(client->conn, "topk", p.count, p.values, p.lengths, p.formats, 1),
	    PGRES_TUPLES_OK);
	rows = PQntuples(result);
	assert(rows <= QUERIES_K);
	for (int i = 0; i < rows; i++)
		ids[i] = load_integer(result, i, 0);
	PQclear(result);
	return (size_t)rows;
}

static void query_close(void *arg)
{
	struct query_client *client = arg;

	PQfinish(client->conn);
	free(client);
}

const struct side query_side = {query_open, query_ask, query_close};
