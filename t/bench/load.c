/*
 * The load program's command line, its threads and what they sum up to: see
 * load.h. Clients connect, prepare and warm up first; then all start at once.
 */
#include "t/bench/load.h"

#include <arpa/inet.h>
#include <assert.h>
#include <err.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WARM_UP = 3, CLIENTS_MAX = 1000 };

static const char usage[] =
    "usage: load [OPTION]... QUERIES CONNINFO TABLE\n"
    "       load --idle CONNECTIONS --pid PID CONNINFO\n"
    "Asks the queries of the file QUERIES and prints how fast and how right the\n"
    "answers were; or what an idle connection costs a process.\n"
    "  --direct         ask the shards of the coordinator at CONNINFO straight\n"
    "  --ef-search N    hnsw.ef_search for that (40)\n"
    "  --clients N      (1)\n"
    "  --seconds S      (2)\n"
    "  --queries N      end after so many, if that is earlier\n"
    "  --pid PID        print the processor time of that process per query\n";

struct run {
	struct load load;
	const struct side *side;
	pthread_barrier_t ready, go;
	atomic_ulong asked;
	uint64_t end_us;
};

struct client {
	struct run *run;
	pthread_t thread;
	uint32_t first; /* query */
	uint32_t *latencies_us;
	size_t count, cap;
	uint64_t right, rows, end_us;
};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

PGconn *load_connect(const char *conninfo)
{
	PGconn *conn = PQconnectdb(conninfo);

	if (PQstatus(conn) != CONNECTION_OK)
		errx(1, "%s", PQerrorMessage(conn));
	return conn;
}

PGresult *load_result(PGconn *conn, PGresult *result, ExecStatusType expected)
{
	if (PQresultStatus(result) != expected)
		errx(1, "port %s: %s: %s", PQport(conn), PQresStatus(PQresultStatus(result)),
		     PQerrorMessage(conn));
	return result;
}

char *load_sql(const struct load *load, const char *target, const char *table)
{
	const struct queries_kind *kind = &load->queries.kind;
	char *sql = NULL;
	int len;

	if (*kind->filter)
		len =
		    asprintf(&sql, "SELECT %s FROM %s WHERE %s = $2 ORDER BY %s %s $1 LIMIT %d",
		             target, table, kind->filter, kind->column, kind->operator, QUERIES_K);
	else
		len = asprintf(&sql, "SELECT %s FROM %s ORDER BY %s %s $1 LIMIT %d", target, table,
		               kind->column, kind->operator, QUERIES_K);
	assert(len > 0);
	return sql;
}

void load_parameters(const struct load *load, uint32_t query, struct load_parameters *parameters)
{
	const struct queries *queries = &load->queries;

	*parameters = (struct load_parameters){
	    .filter = htons((uint16_t)queries->list[query].filter_value),
	    .count = *queries->kind.filter ? 2 : 1,
	    .lengths = {(int)queries->wire_len, 2},
	    .formats = {1, 1},
	};
	parameters->values[0] = queries->wire + query * queries->wire_len;
	parameters->values[1] = (const char *)&parameters->filter;
}

int64_t load_integer(const PGresult *result, int row, int column)
{
	const unsigned char *at = (const unsigned char *)PQgetvalue(result, row, column);
	uint64_t value = 0;
	int len = PQgetlength(result, row, column);

	assert(len == 4 || len == 8);
	for (int i = 0; i < len; i++)
		value = value << 8 | at[i];
	return (int64_t)value;
}

static void note(struct client *client, uint32_t query, uint64_t us, const int64_t *ids,
                 size_t count)
{
	if (client->count == client->cap) {
		client->cap = client->cap ? client->cap * 2 : 1024;
		client->latencies_us =
		    realloc(client->latencies_us, client->cap * sizeof(*client->latencies_us));
		assert(client->latencies_us);
	}
	client->latencies_us[client->count++] = (uint32_t)us;
	client->rows += count;
	client->right += queries_right(&client->run->load.queries.list[query], ids, count);
}

static void *client_main(void *arg)
{
	struct client *client = arg;
	struct run *run = client->run;
	const struct load *load = &run->load;
	void *connected = run->side->open(load);
	uint32_t query = client->first;
	int64_t ids[QUERIES_K];

	for (uint32_t i = 0; i < WARM_UP; i++)
		run->side->ask(connected, (query + i) % load->queries.count, ids);
	pthread_barrier_wait(&run->ready);
	pthread_barrier_wait(&run->go);
	for (client->end_us = now_us(); client->end_us < run->end_us;) {
		uint64_t start = client->end_us;
		size_t count;

		if (load->limit && atomic_fetch_add(&run->asked, 1) >= load->limit)
			break;
		count = run->side->ask(connected, query, ids);
		client->end_us = now_us();
		note(client, query, client->end_us - start, ids, count);
		query = (query + 1) % load->queries.count;
	}
	run->side->close(connected);
	return NULL;
}

/* User and system time of a process, in clock ticks. */
static unsigned long cpu_ticks(int pid)
{
	unsigned long user, kernel;
	char path[64], line[1024], *at;
	FILE *file;

	if (pid == 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (!file || !fgets(line, sizeof(line), file))
		err(1, "%s", path);
	fclose(file);
	at = strrchr(line, ')'); /* the name before it can have anything in it */
	if (!at || sscanf(at + 1, " %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %lu", &user,
	                  &kernel) != 2)
		errx(1, "%s: not understood", path);
	return user + kernel;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void report(const struct run *run, const struct client *clients, uint64_t start_us,
                   unsigned long ticks)
{
	uint64_t right = 0, rows = 0, end_us = start_us;
	uint32_t *all;
	size_t count = 0;
	double seconds;

	for (unsigned i = 0; i < run->load.clients; i++)
		count += clients[i].count;
	if (count == 0)
		errx(1, "not one query was answered in time");
	all = malloc(count * sizeof(*all));
	assert(all);
	count = 0;
	for (unsigned i = 0; i < run->load.clients; i++) {
		memcpy(all + count, clients[i].latencies_us, clients[i].count * sizeof(*all));
		count += clients[i].count;
		right += clients[i].right;
		rows += clients[i].rows;
		if (clients[i].end_us > end_us)
			end_us = clients[i].end_us;
	}
	qsort(all, count, sizeof(*all), compare);
	seconds = (double)(end_us - start_us) / 1e6;
	printf("queries=%zu seconds=%.3f qps=%.1f p50_ms=%.3f p99_ms=%.3f recall=%.4f rows=%.2f",
	       count, seconds, (double)count / seconds, all[count / 2] / 1e3,
	       all[count * 99 / 100] / 1e3, (double)right / (double)(count * QUERIES_K),
	       (double)rows / (double)count);
	if (run->load.pid)
		printf(" cpu_us=%.1f",
		       (double)ticks * 1e6 / (double)sysconf(_SC_CLK_TCK) / (double)count);
	putchar('\n');
	free(all);
}

static void run_load(struct run *run)
{
	struct load *load = &run->load;
	struct client *clients = calloc(load->clients, sizeof(*clients));
	uint64_t start_us;
	unsigned long ticks;

	assert(clients);
	pthread_barrier_init(&run->ready, NULL, load->clients + 1);
	pthread_barrier_init(&run->go, NULL, load->clients + 1);
	for (unsigned i = 0; i < load->clients; i++) {
		clients[i].run = run;
		clients[i].first = (uint32_t)((uint64_t)load->queries.count * i / load->clients);
		if (pthread_create(&clients[i].thread, NULL, client_main, &clients[i]) != 0)
			errx(1, "no thread for client %u", i);
	}
	pthread_barrier_wait(&run->ready);
	ticks = cpu_ticks(load->pid);
	start_us = now_us();
	run->end_us = start_us + (uint64_t)(load->seconds * 1e6);
	pthread_barrier_wait(&run->go);
	for (unsigned i = 0; i < load->clients; i++)
		pthread_join(clients[i].thread, NULL);
	report(run, clients, start_us, cpu_ticks(load->pid) - ticks);
	for (unsigned i = 0; i < load->clients; i++)
		free(clients[i].latencies_us);
	free(clients);
}

static void bad_usage(void)
{
	fputs(usage, stderr);
	exit(2);
}

static unsigned number(const char *text, unsigned max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || end == text || value == 0 || value > max)
		errx(2, "'%s': a number from 1 to %u is expected", text, max);
	return (unsigned)value;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"direct", no_argument, NULL, 'd'},        {"ef-search", required_argument, NULL, 'e'},
	    {"clients", required_argument, NULL, 'c'}, {"seconds", required_argument, NULL, 's'},
	    {"queries", required_argument, NULL, 'q'}, {"pid", required_argument, NULL, 'p'},
	    {"idle", required_argument, NULL, 'i'},    {NULL, 0, NULL, 0},
	};
	struct run run = {
	    .load = {.clients = 1, .seconds = 2, .ef_search = 40},
	    .side = &query_side,
	};
	struct load *load = &run.load;
	unsigned idle = 0;

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 'd')
			run.side = &direct_side;
		else if (c == 'e')
			load->ef_search = (int)number(optarg, 1000);
		else if (c == 'c')
			load->clients = number(optarg, CLIENTS_MAX);
		else if (c == 's')
			load->seconds = strtod(optarg, NULL);
		else if (c == 'q')
			load->limit = number(optarg, UINT32_MAX);
		else if (c == 'p')
			load->pid = (int)number(optarg, INT32_MAX);
		else if (c == 'i')
			idle = number(optarg, 100000);
		else
			bad_usage();
	}
	if (argc - optind != (idle ? 1 : 3))
		bad_usage();
	if (idle) {
		idle_run(argv[optind], idle, load->pid);
		return 0;
	}
	queries_read(&load->queries, argv[optind]);
	load->conninfo = argv[optind + 1];
	load->table = argv[optind + 2];
	run_load(&run);
	queries_free(&load->queries);
	return 0;
}
