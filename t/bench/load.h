/*
 * Load: the same vector queries, again and again, from N clients, and how fast
 * they were. A side is a way to have them answered: query.c through one
 * connection string (the coordinator or pgtopk), direct.c straight from the
 * shards. load.c is the command line, the threads and the sums.
 */
#ifndef T_BENCH_LOAD_H
#define T_BENCH_LOAD_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "t/bench/queries.h"

struct load {
	struct queries queries;
	const char *conninfo; /* direct: of the coordinator, who knows the shards */
	const char *table;
	int ef_search; /* direct: what the shards are told */
	unsigned clients;
	double seconds;
	unsigned long limit; /* queries; 0: as many as there is time for */
	int pid;             /* whose processor time is of interest, or 0 */
};

/* A client asks one query at a time. Any failure ends the program. */
struct side {
	void *(*open)(const struct load *load);
	/* The ids of the answer, at most QUERIES_K; returns their number. */
	size_t (*ask)(void *client, uint32_t query, int64_t ids[QUERIES_K]);
	void (*close)(void *client);
};

extern const struct side query_side, direct_side;

/* Opens so many connections, uses each once, and prints what each of them
 * costs the process in memory while idle. */
void idle_run(const char *conninfo, unsigned connections, int pid);

/* Both end the program with the server's words if they fail. */
PGconn *load_connect(const char *conninfo);
PGresult *load_result(PGconn *conn, PGresult *result, ExecStatusType expected);

/* "SELECT target FROM table [WHERE …] ORDER BY … LIMIT k", to be freed */
char *load_sql(const struct load *load, const char *target, const char *table);

/* The parameters of a query, for binary. */
struct load_parameters {
	uint16_t filter; /* a smallint, as it goes over the wire */
	int count;
	const char *values[2];
	int lengths[2];
	int formats[2];
};
void load_parameters(const struct load *load, uint32_t query, struct load_parameters *parameters);

/* An int4 or int8 in binary. */
int64_t load_integer(const PGresult *result, int row, int column);

#endif
