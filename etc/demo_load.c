/*
 * The demo's loader. Rows go straight to the shards on the workers, by COPY
 * on one connection each; the coordinator itself is asked which row belongs
 * where. A shard is filled in one transaction and an index is there or not,
 * so that a load that was killed goes on where it stopped.
 */
#include "etc/demo.h"

#include <arpa/inet.h>
#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SHARDS_MAX = 64, WATCH_MS = 200, BAR_COLUMNS = 30 };

struct shard {
	char name[64];
	PGconn *conn;  /* COPY, CREATE INDEX */
	PGconn *watch; /* asks how far the index is */
	bool filled;   /* before we came */
	bool indexing;
	size_t rows, indexed;
};

struct load {
	PGconn *coordinator;
	struct fashion set;
	struct shard shards[SHARDS_MAX];
	uint8_t *shard_of; /* of each row */
	size_t count;
	bool complete; /* all of it was there before we came */
};

/* One line that is drawn over while it is on a terminal. */
static void progress(const char *name, const char *unit, size_t done, size_t all, double start_ms)
{
	static double last_ms;
	double now = demo_now_ms();
	size_t cells = done * BAR_COLUMNS / all;
	bool drawn = isatty(STDOUT_FILENO);

	if (done < all && (!drawn || now - last_ms < 50))
		return;
	last_ms = now;
	printf("%s  %-10s ", drawn ? "\r" : "", name);
	for (size_t i = 0; i < BAR_COLUMNS; i++)
		fputs(i < cells ? "█" : "░", stdout);
	printf("  %zu of %zu %s, %.1f s %s", done, all, unit, (now - start_ms) / 1000,
	       done < all ? "" : "\n");
	fflush(stdout);
}

static void find_shards(struct load *l)
{
	PGresult *r = demo_query(l->coordinator,
	                         "SELECT t.table_name, s.host, s.port, s.dbname"
	                         " FROM pg_partition_tree('fashion') p"
	                         " JOIN pg_foreign_table f ON f.ftrelid = p.relid"
	                         " JOIN pg_foreign_server fs ON fs.oid = f.ftserver,"
	                         " LATERAL (SELECT max(option_value) FILTER (WHERE option_name = "
	                         "'table_name') FROM pg_options_to_table(ftoptions)) t(table_name),"
	                         " LATERAL (SELECT"
	                         " max(option_value) FILTER (WHERE option_name = 'host'),"
	                         " max(option_value) FILTER (WHERE option_name = 'port'),"
	                         " max(option_value) FILTER (WHERE option_name = 'dbname')"
	                         " FROM pg_options_to_table(srvoptions)) s(host, port, dbname)"
	                         " ORDER BY p.relid");

	l->count = (size_t)PQntuples(r);
	if (l->count == 0 || l->count > SHARDS_MAX)
		demo_fail("the table fashion has %zu shards", l->count);
	l->complete = true;
	for (size_t i = 0; i < l->count; i++) {
		struct shard *s = &l->shards[i];
		char conninfo[512];
		int at = (int)i;
		PGresult *state;

		snprintf(s->name, sizeof s->name, "%s", PQgetvalue(r, at, 0));
		snprintf(conninfo, sizeof conninfo, "host='%s' port='%s' dbname='%s' user='%s'",
		         PQgetvalue(r, at, 1), PQgetvalue(r, at, 2), PQgetvalue(r, at, 3),
		         PQuser(l->coordinator));
		s->conn = demo_connect(conninfo);
		s->watch = demo_connect(conninfo);
		state = demo_query(s->conn,
		                   "SELECT EXISTS (SELECT FROM %s),"
		                   " to_regclass('%s_embedding_idx') IS NOT NULL",
		                   s->name, s->name);
		s->filled = PQgetvalue(state, 0, 0)[0] == 't';
		l->complete = l->complete && s->filled && PQgetvalue(state, 0, 1)[0] == 't';
		PQclear(state);
	}
	PQclear(r);
}

/* PostgreSQL's own word on the shard of each row. */
static void place_rows(struct load *l)
{
	PGresult *r = demo_query(l->coordinator,
	                         "WITH part AS (SELECT row_number() OVER (ORDER BY c.oid) - 1 AS n,"
	                         " regexp_match(pg_get_expr(c.relpartbound, c.oid),"
	                         " 'modulus (\\d+), remainder (\\d+)') AS bound"
	                         " FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid"
	                         " WHERE i.inhparent = 'fashion'::regclass)"
	                         " SELECT n FROM generate_series(0, %zu - 1) id JOIN part"
	                         " ON satisfies_hash_partition('fashion'::regclass,"
	                         " bound[1]::int, bound[2]::int, id) ORDER BY id",
	                         l->set.count);

	if ((size_t)PQntuples(r) != l->set.count)
		demo_fail("fashion is not hash-partitioned by id");
	l->shard_of = malloc(l->set.count);
	assert(l->shard_of != NULL);
	for (size_t id = 0; id < l->set.count; id++) {
		int n = atoi(PQgetvalue(r, (int)id, 0));

		assert(n >= 0 && (size_t)n < l->count);
		l->shard_of[id] = (uint8_t)n;
		l->shards[n].rows++;
	}
	PQclear(r);
}

static char *put16(char *p, uint16_t v)
{
	v = htons(v);
	return (char *)memcpy(p, &v, sizeof v) + sizeof v;
}

static char *put32(char *p, uint32_t v)
{
	v = htonl(v);
	return (char *)memcpy(p, &v, sizeof v) + sizeof v;
}

static void put(struct shard *s, const char *bytes, size_t len)
{
	if (PQputCopyData(s->conn, bytes, (int)len) != 1)
		demo_fail("%s: %s", s->name, PQerrorMessage(s->conn));
}

/* A row (id int, label smallint, embedding vector) as binary COPY has it. */
static void put_row(struct load *l, size_t id)
{
	char row[64 + FASHION_DIM * sizeof(float)], *p = row;

	p = put16(p, 3);
	p = put32(p, 4);
	p = put32(p, (uint32_t)id);
	p = put32(p, 2);
	p = put16(p, l->set.labels[id]);
	p = put32(p, 4 + FASHION_DIM * sizeof(float));
	p = put16(p, FASHION_DIM);
	p = put16(p, 0);
	for (size_t i = 0; i < FASHION_DIM; i++) {
		float v = l->set.pixels[id][i];
		uint32_t bits;

		memcpy(&bits, &v, sizeof bits);
		p = put32(p, bits);
	}
	put(&l->shards[l->shard_of[id]], row, (size_t)(p - row));
}

/* TRUNCATE first: rows of a table emptied in the same transaction need no log
 * and can be frozen at once. Vectors stay in the rows, as pgvector advises: the
 * planner does not count what lies outside, and would read all rows instead of
 * using the index. */
static void begin_fill(struct shard *s)
{
	static const char header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0";

	demo_command(s->conn, "BEGIN");
	demo_command(s->conn, "TRUNCATE %s", s->name);
	demo_command(s->conn, "ALTER TABLE %s ALTER COLUMN embedding SET STORAGE PLAIN", s->name);
	demo_command(s->conn,
	             "COPY %s (id, label, embedding) FROM STDIN"
	             " (FORMAT binary, FREEZE)",
	             s->name);
	put(s, header, sizeof header);
}

static void end_fill(struct shard *s)
{
	put(s, "\377\377", 2);
	if (PQputCopyEnd(s->conn, NULL) != 1)
		demo_fail("%s: %s", s->name, PQerrorMessage(s->conn));
	PQclear(demo_result(s->conn, PQgetResult(s->conn), "COPY"));
	PQclear(PQgetResult(s->conn));
	demo_command(s->conn, "ALTER TABLE %s ADD PRIMARY KEY (id)", s->name);
	demo_command(s->conn, "COMMIT");
	demo_command(s->conn, "ANALYZE %s", s->name);
}

static void fill(struct load *l)
{
	double start = demo_now_ms();

	for (size_t i = 0; i < l->count; i++)
		if (!l->shards[i].filled)
			begin_fill(&l->shards[i]);
	for (size_t id = 0; id < l->set.count; id++) {
		if (!l->shards[l->shard_of[id]].filled)
			put_row(l, id);
		progress("load", "rows", id, l->set.count, start);
	}
	for (size_t i = 0; i < l->count; i++)
		if (!l->shards[i].filled)
			end_fill(&l->shards[i]);
	progress("load", "rows", l->set.count, l->set.count, start);
}

static void begin_index(struct shard *s)
{
	char sql[256];

	snprintf(sql, sizeof sql,
	         "CREATE INDEX IF NOT EXISTS %s_embedding_idx ON %s"
	         " USING hnsw (embedding vector_l2_ops)",
	         s->name, s->name);
	if (PQsendQuery(s->conn, sql) != 1)
		demo_fail("%s: %s", s->name, PQerrorMessage(s->conn));
	s->indexing = true;
}

/* Takes what has arrived; true when the index is there. */
static bool take_index(struct shard *s)
{
	PGresult *r;

	if (PQconsumeInput(s->conn) != 1)
		demo_fail("%s: %s", s->name, PQerrorMessage(s->conn));
	if (PQisBusy(s->conn))
		return false;
	while ((r = PQgetResult(s->conn)) != NULL)
		PQclear(demo_result(s->conn, r, "CREATE INDEX"));
	s->indexing = false;
	s->indexed = s->rows;
	return true;
}

static void watch_index(struct shard *s)
{
	PGresult *r = demo_query(s->watch,
	                         "SELECT coalesce(sum(tuples_done), 0)"
	                         " FROM pg_stat_progress_create_index"
	                         " WHERE relid = '%s'::regclass",
	                         s->name);
	size_t rows = strtoul(PQgetvalue(r, 0, 0), NULL, 10);

	s->indexed = rows < s->rows ? rows : s->rows - 1;
	PQclear(r);
}

/* Builds one index per processor at a time, at least one on each of two
 * workers: neighbouring shards are on different workers. */
static void build_indexes(struct load *l)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	size_t most = processors > 2 ? (size_t)processors : 2;
	size_t next = 0, done = 0, running = 0;
	double start = demo_now_ms();

	while (done < l->count) {
		struct pollfd fds[SHARDS_MAX];
		size_t rows = 0;
		nfds_t n = 0;

		for (; running < most && next < l->count; running++)
			begin_index(&l->shards[next++]);
		for (size_t i = 0; i < next; i++)
			if (l->shards[i].indexing)
				fds[n++] = (struct pollfd){.fd = PQsocket(l->shards[i].conn),
				                           .events = POLLIN};
		poll(fds, n, WATCH_MS);
		for (size_t i = 0; i < next; i++) {
			struct shard *s = &l->shards[i];

			if (s->indexing && take_index(s)) {
				running--;
				done++;
			} else if (s->indexing) {
				watch_index(s);
			}
			rows += s->indexed;
		}
		if (done < l->count)
			progress("index", "rows", rows, l->set.count, start);
	}
	progress("index", "rows", l->set.count, l->set.count, start);
}

/* The coordinator's planner needs statistics, and nothing gathers those of
 * foreign tables by itself. Takes seconds, so it runs beside the indexes. */
static bool begin_analyze(struct load *l)
{
	PGresult *r = demo_query(l->coordinator, "SELECT FROM pg_stats WHERE inherited"
	                                         " AND tablename = 'fashion' LIMIT 1");
	bool known = PQntuples(r) > 0;

	PQclear(r);
	if (!known && PQsendQuery(l->coordinator, "ANALYZE fashion") != 1)
		demo_fail("%s", PQerrorMessage(l->coordinator));
	return !known;
}

static void end_analyze(struct load *l)
{
	PGresult *r;

	while ((r = PQgetResult(l->coordinator)) != NULL)
		PQclear(demo_result(l->coordinator, r, "ANALYZE"));
}

void demo_load(const char *coordinator)
{
	struct load l = {.coordinator = demo_connect(coordinator)};
	bool analyzing;

	l.set = demo_open(FASHION_TRAIN);
	find_shards(&l);
	if (l.complete) {
		printf("  %-10s %zu rows in %zu shards with their indexes, there already\n", "data",
		       l.set.count, l.count);
	} else {
		place_rows(&l);
		fill(&l);
	}
	analyzing = begin_analyze(&l);
	if (!l.complete)
		build_indexes(&l);
	if (analyzing)
		end_analyze(&l);
	for (size_t i = 0; i < l.count; i++) {
		PQfinish(l.shards[i].conn);
		PQfinish(l.shards[i].watch);
	}
	PQfinish(l.coordinator);
	free(l.shard_of);
	fashion_close(&l.set);
}
