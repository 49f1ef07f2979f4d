/*
 * Recall: real data under HNSW indexes: pgtopk's answers against exact search by
 * brute force, and against the coordinator's own. The first 20,000 pictures of
 * Fashion-MNIST, 784 dimensions, L2, eight shards.
 */
#include <stdlib.h>
#include <string.h>

#include "t/data/fashion.h"
#include "t/lib/suite.h"

#define ROWS 20000
#define SHARDS 8
#define PER_SHARD (ROWS / SHARDS)
#define QUERIES 40
#define K 10
#define VERSION "pictures 2"

/* One row in a hundred, for the filter. */
static unsigned bucket(uint32_t id)
{
	return id * 2654435761u >> 16 & 127;
}

/* ---- the table ---- */

static void copy_shard(const struct fashion *set, unsigned shard)
{
	static char line[FASHION_TEXT_MAX + 100], vector[FASHION_TEXT_MAX + 1];
	PGconn *conn = cluster_connect(cluster_shard_node(shard), NULL);

	PQclear(PQexec(conn, text("COPY pictures_%u FROM STDIN", shard)));
	for (uint32_t id = shard * PER_SHARD; id < (shard + 1) * PER_SHARD; id++) {
		int len;

		fashion_text(set->pixels[id], vector);
		len = snprintf(line, sizeof(line), "%u\t%u\t%u\t%s\n", id, set->labels[id],
		               bucket(id), vector);
		cr_assert_eq(PQputCopyData(conn, line, len), 1);
	}
	cr_assert_eq(PQputCopyEnd(conn, NULL), 1);
	cluster_run(conn, "SELECT 1");
	PQfinish(conn);
}

/* Both workers build at the same time. */
static void build_indexes(void)
{
	PGconn *conns[SHARDS];

	for (unsigned i = 0; i < SHARDS; i++) {
		conns[i] = cluster_connect(cluster_shard_node(i), NULL);
		cr_assert(
		    PQsendQuery(conns[i], text("CREATE INDEX ON pictures_%u USING hnsw "
		                               "(embedding vector_l2_ops); ANALYZE pictures_%u",
		                               i, i)));
	}
	for (unsigned i = 0; i < SHARDS; i++) {
		PGresult *result;

		while ((result = PQgetResult(conns[i])) != NULL) {
			cr_assert_eq(PQresultStatus(result), PGRES_COMMAND_OK, "%s",
			             PQerrorMessage(conns[i]));
			PQclear(result);
		}
		PQfinish(conns[i]);
	}
}

static void make_pictures(const struct fashion *set)
{
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, NULL);

	if (strcmp(
		cluster_value(conn, "SELECT obj_description(to_regclass('pictures'), 'pg_class')"),
		VERSION) != 0) {
		cluster_shard("pictures", "id int, label int, bucket int, embedding vector(784)",
		              "RANGE (id)", SHARDS, PER_SHARD);
		for (unsigned i = 0; i < SHARDS; i++)
			copy_shard(set, i);
		build_indexes();
		cluster_run(conn, "COMMENT ON TABLE pictures IS '" VERSION "'");
	}
	PQfinish(conn);
}

/* ---- one kind of query ---- */

struct kind {
	const char *name;
	fashion_keep_fn *keep;
};

static bool keep_label(const struct fashion *set, uint32_t id, const void *arg)
{
	return id < ROWS && set->labels[id] == *(const unsigned *)arg % 10;
}

static bool keep_bucket(const struct fashion *set, uint32_t id, const void *arg)
{
	(void)set;
	return id < ROWS && bucket(id) == *(const unsigned *)arg % 128;
}

static bool keep_loaded(const struct fashion *set, uint32_t id, const void *arg)
{
	(void)set;
	(void)arg;
	return id < ROWS;
}

static const struct kind unfiltered = {"unfiltered", keep_loaded};
static const struct kind ten_percent = {"10 %", keep_label};
static const struct kind one_percent = {"1 %", keep_bucket};

struct recall {
	unsigned found, wanted, rows;
};

static const char *statement(const struct kind *kind, const char *vector, unsigned i,
                             unsigned limit)
{
	char where[100] = "";

	if (kind == &ten_percent)
		snprintf(where, sizeof(where), "WHERE label = %u", i % 10);
	else if (kind == &one_percent)
		snprintf(where, sizeof(where), "WHERE bucket = %u", i % 128);
	return text("SELECT id FROM pictures %s ORDER BY embedding <-> '%s' LIMIT %u", where,
	            vector, limit);
}

static void count_hits(PGconn *conn, const char *sql, const struct fashion_hit *hits, size_t nhits,
                       const uint32_t *distances, struct recall *recall)
{
	PGresult *result = PQexec(conn, sql);

	cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s", PQerrorMessage(conn));
	for (int row = 0; row < PQntuples(result); row++) {
		uint32_t id = (uint32_t)atoi(PQgetvalue(result, row, 0));

		recall->found += nhits > 0 && distances[id] <= hits[nhits - 1].distance;
	}
	recall->rows += (unsigned)PQntuples(result);
	recall->wanted += (unsigned)nhits;
	PQclear(result);
}

struct sets {
	struct fashion train, test;
};

/* False if the data is not installed. */
static bool open_sets(struct sets *sets, const char *name)
{
	const char *error;

	if (!fashion_open(&sets->train, FASHION_TRAIN, &error)) {
		SKIP(name, error);
		return false;
	}
	cr_assert(fashion_open(&sets->test, FASHION_TEST, &error), "%s", error);
	make_pictures(&sets->train);
	return true;
}

/* So little data would be sorted, not searched in the index: for pgtopk as a setting of the
 * session, for the coordinator's own connections as a default of the workers. */
static void make_workers_use_the_index(bool on)
{
	const char *sql = on ? "ALTER DATABASE postgres SET enable_seqscan = off"
	                     : "ALTER DATABASE postgres RESET enable_seqscan";

	cluster_run_on(CLUSTER_WORKER1, sql);
	cluster_run_on(CLUSTER_WORKER2, sql);
}

static void measure(const struct sets *sets, const struct kind *kind, struct recall *proxy,
                    struct recall *direct)
{
	struct instance *instance = instance_shared();
	PGconn *conns[2];
	uint32_t *distances = malloc(sets->train.count * sizeof(*distances));
	char vector[FASHION_TEXT_MAX + 1];

	cr_assert_not_null(distances);
	make_workers_use_the_index(true);
	conns[0] = instance_connect(instance, "options='-c enable_seqscan=off'");
	conns[1] = cluster_connect(CLUSTER_COORDINATOR, NULL);
	memset(proxy, 0, sizeof(*proxy));
	memset(direct, 0, sizeof(*direct));
	for (unsigned i = 0; i < QUERIES; i++) {
		struct fashion_hit hits[K];
		size_t nhits;

		fashion_text(sets->test.pixels[i], vector);
		fashion_distances(&sets->train, sets->test.pixels[i], distances);
		nhits = fashion_nearest(&sets->train, distances, kind->keep, &i, hits, K);
		count_hits(conns[0], statement(kind, vector, i, K), hits, nhits, distances, proxy);
		instance_expect(instance, "routed", kind->name);
		count_hits(conns[1], statement(kind, vector, i, K), hits, nhits, distances, direct);
	}
	printf("recall@%d %s: pgtopk %.4f, coordinator %.4f; rows %u and %u of %u\n", K, kind->name,
	       (double)proxy->found / proxy->wanted, (double)direct->found / direct->wanted,
	       proxy->rows, direct->rows, proxy->wanted);
	free(distances);
	make_workers_use_the_index(false);
	PQfinish(conns[0]);
	PQfinish(conns[1]);
}

static void filtered(const struct kind *kind, const char *name)
{
	struct recall proxy, direct;
	struct sets sets;

	if (!open_sets(&sets, name))
		return;
	measure(&sets, kind, &proxy, &direct);
	if (instance_shared()->pid) {
		cr_assert_eq(proxy.rows, proxy.wanted, "%u rows of %u", proxy.rows, proxy.wanted);
		cr_assert_geq(proxy.found, proxy.wanted * 0.99, "%u of %u", proxy.found,
		              proxy.wanted);
	}
	fashion_close(&sets.train);
	fashion_close(&sets.test);
}

Test(recall, trap_03_filter_of_ten_percent)
{
	filtered(&ten_percent, "trap_03_filter_of_ten_percent");
}

Test(recall, trap_03_filter_of_one_percent)
{
	filtered(&one_percent, "trap_03_filter_of_one_percent");
}

Test(recall, not_below_the_coordinator)
{
	struct recall proxy, direct;
	struct sets sets;

	if (!open_sets(&sets, "not_below_the_coordinator"))
		return;
	measure(&sets, &unfiltered, &proxy, &direct);
	cr_assert_eq(proxy.rows, proxy.wanted);
	cr_assert_geq(proxy.found, direct.found, "%u against %u", proxy.found, direct.found);
	fashion_close(&sets.train);
	fashion_close(&sets.test);
}

/* As many rows as asked for, whatever ef_search is; in order, none twice. */
static void many_rows(const struct sets *sets, const struct kind *kind, unsigned limit,
                      unsigned wanted)
{
	static bool seen[ROWS];
	PGconn *conn = instance_connect(instance_shared(), "options='-c enable_seqscan=off'");
	char vector[FASHION_TEXT_MAX + 1];
	uint32_t *distances = malloc(sets->train.count * sizeof(*distances)), last = 0;
	PGresult *result;

	cr_assert_not_null(distances);
	fashion_text(sets->test.pixels[7], vector);
	fashion_distances(&sets->train, sets->test.pixels[7], distances);
	result = PQexec(conn, statement(kind, vector, 7, limit));
	if (instance_shared()->pid)
		cr_assert_eq((unsigned)PQntuples(result), wanted, "%d rows, not %u %s",
		             PQntuples(result), wanted, PQerrorMessage(conn));
	memset(seen, 0, sizeof(seen));
	for (int row = 0; row < PQntuples(result); row++) {
		uint32_t id = (uint32_t)atoi(PQgetvalue(result, row, 0));

		cr_assert(id < ROWS && !seen[id], "row %u comes twice", id);
		cr_assert_geq(distances[id], last, "row %d is out of order", row);
		seen[id] = true;
		last = distances[id];
	}
	PQclear(result);
	free(distances);
	PQfinish(conn);
}

Test(recall, trap_01_more_rows_than_ef_search)
{
	static const unsigned limits[] = {41, 500, 1000, 1001, 3000};
	unsigned of_label = 0;
	struct sets sets;

	if (!open_sets(&sets, "trap_01_more_rows_than_ef_search"))
		return;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		many_rows(&sets, &unfiltered, limits[i], limits[i]);
	for (uint32_t id = 0; id < ROWS; id++)
		of_label += sets.train.labels[id] == 7;
	many_rows(&sets, &ten_percent, 1000, 1000);
	many_rows(&sets, &ten_percent, 5000, of_label); /* all that there are */
	many_rows(&sets, &unfiltered, ROWS + 1, ROWS);
	fashion_close(&sets.train);
	fashion_close(&sets.test);
}

/* A larger ef_search, set by the client, is used by the shards. */
Test(recall, trap_02_ef_search_reaches_the_workers)
{
	struct recall proxy, direct;
	struct sets sets;

	if (!open_sets(&sets, "trap_02_ef_search_reaches_the_workers"))
		return;
	cluster_run_on(CLUSTER_COORDINATOR, "ALTER DATABASE postgres SET hnsw.ef_search = 800");
	measure(&sets, &unfiltered, &proxy, &direct);
	cluster_run_on(CLUSTER_COORDINATOR, "ALTER DATABASE postgres RESET hnsw.ef_search");
	if (instance_shared()->pid)
		cr_assert_geq(proxy.found, proxy.wanted * 0.995, "%u of %u", proxy.found,
		              proxy.wanted);
	fashion_close(&sets.train);
	fashion_close(&sets.test);
}
