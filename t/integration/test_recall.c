/*
 * Recall: real data under HNSW indexes: pgtopk's answers against exact search, and
 * against the coordinator's own. The first 20,000 pictures of Fashion-MNIST, 784
 * dimensions, eight shards: L2 by HNSW, cosine by IVFFlat and, as halfvec, by HNSW on
 * an expression. See also test_recall_words.
 */
#include <stdlib.h>
#include <string.h>

#include "t/data/fashion.h"
#include "t/lib/recall.h"
#include "t/lib/suite.h"

#define ROWS 20000
#define SHARDS 8
#define PER_SHARD (ROWS / SHARDS)
#define QUERIES 40
#define K 10
#define VERSION "pictures 6"
#define COLUMNS "id int, label int, bucket int, rare int, embedding vector(784)"

/* One row in so many, for the filters; a power of two. */
static unsigned bucket(uint32_t id, unsigned of)
{
	return id * 2654435761u >> 12 & (of - 1);
}

/* ---- the table ---- */

static PGconn *begin_copy(enum cluster_node node, const char *table)
{
	PGconn *conn = cluster_connect(node, NULL);

	PQclear(PQexec(conn, text("COPY %s FROM STDIN", table)));
	return conn;
}

static void end_copy(PGconn *conn)
{
	cr_assert_eq(PQputCopyEnd(conn, NULL), 1);
	cluster_run(conn, "SELECT 1");
	PQfinish(conn);
}

static void copy_shard(const struct fashion *set, unsigned shard, PGconn *plain)
{
	static char line[FASHION_TEXT_MAX + 100], vector[FASHION_TEXT_MAX + 1];
	PGconn *conn = begin_copy(cluster_shard_node(shard), text("pictures_%u", shard));

	for (uint32_t id = shard * PER_SHARD; id < (shard + 1) * PER_SHARD; id++) {
		int len;

		fashion_text(set->pixels[id], vector);
		len = snprintf(line, sizeof(line), "%u\t%u\t%u\t%u\t%s\n", id, set->labels[id],
		               bucket(id, 128), bucket(id, 1024), vector);
		cr_assert_eq(PQputCopyData(conn, line, len), 1);
		cr_assert_eq(PQputCopyData(plain, line, len), 1);
	}
	end_copy(conn);
}

/* Both workers build at the same time. */
static void build_indexes(void)
{
	PGconn *conns[SHARDS];

	for (unsigned i = 0; i < SHARDS; i++) {
		conns[i] = cluster_connect(cluster_shard_node(i), NULL);
		cr_assert(
		    PQsendQuery(conns[i], text("CREATE INDEX ON pictures_%u USING hnsw "
		                               "(embedding vector_l2_ops) WITH (m = 8, "
		                               "ef_construction = 32); "
		                               "CREATE INDEX ON pictures_%u USING ivfflat "
		                               "(embedding vector_cosine_ops) WITH (lists = 50); "
		                               "CREATE INDEX ON pictures_%u USING hnsw "
		                               "((embedding::halfvec(784)) halfvec_cosine_ops); "
		                               "ANALYZE pictures_%u",
		                               i, i, i, i)));
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
		PGconn *plain;

		cluster_shard("pictures", COLUMNS, "RANGE (id)", SHARDS, PER_SHARD);
		cluster_run(conn, "DROP TABLE IF EXISTS plain.pictures; "
		                  "CREATE TABLE plain.pictures (" COLUMNS "); "
		                  "ALTER TABLE plain.pictures "
		                  "ALTER embedding SET STORAGE plain");
		plain = begin_copy(CLUSTER_COORDINATOR, "plain.pictures");
		for (unsigned i = 0; i < SHARDS; i++)
			copy_shard(set, i, plain);
		end_copy(plain);
		build_indexes();
		cluster_run(conn, "COMMENT ON TABLE pictures IS '" VERSION "'");
	}
	PQfinish(conn);
}

/* ---- queries ---- */

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

static void close_sets(struct sets *sets)
{
	fashion_close(&sets->train);
	fashion_close(&sets->test);
}

static const char *picture(const void *owner, unsigned query)
{
	static char vector[FASHION_TEXT_MAX + 1];
	const struct sets *sets = owner;

	fashion_text(sets->test.pixels[query], vector);
	return vector;
}

static struct recall_kind of_pictures(const struct sets *sets, const char *name)
{
	return (struct recall_kind){
	    .name = name,
	    .table = "pictures",
	    .plain = "plain.pictures",
	    .distance = "embedding <->",
	    .k = K,
	    .queries = QUERIES,
	    .vector = picture,
	    .owner = sets,
	};
}

static void filtered(const char *test, const char *column, unsigned modulus, const char *distance)
{
	struct sets sets;
	struct recall_kind kind;

	if (!open_sets(&sets, test))
		return;
	kind = of_pictures(&sets, test);
	kind.column = column;
	kind.modulus = modulus;
	kind.distance = distance;
	recall_expect(&kind, 0.99);
	close_sets(&sets);
}

Test(recall, trap_03_filter_of_ten_percent)
{
	filtered("trap_03_filter_of_ten_percent", "label", 10, "embedding <->");
}

Test(recall, trap_03_filter_of_one_percent)
{
	filtered("trap_03_filter_of_one_percent", "bucket", 128, "embedding <->");
}

Test(recall, trap_03_filter_of_a_tenth_of_a_percent)
{
	filtered("trap_03_filter_of_a_tenth_of_a_percent", "rare", 1024, "embedding <->");
}

Test(recall, trap_03_filter_of_ten_percent_on_an_indexed_expression)
{
	filtered("trap_03_filter_of_ten_percent_on_an_indexed_expression", "label", 10,
	         "embedding::halfvec(784) <=>");
}

Test(recall, trap_03_filter_of_one_percent_on_an_indexed_expression)
{
	filtered("trap_03_filter_of_one_percent_on_an_indexed_expression", "bucket", 128,
	         "embedding::halfvec(784) <=>");
}

/* Both sides scan the same indexes by the same settings, which let them miss rows: else a
 * loss would not be seen. Not one query may find less. */
static void not_below(const char *test, const char *distance, const char *setting,
                      const char *value, bool configured)
{
	struct sets sets;
	struct recall_kind kind;
	struct recall_pair pair;

	if (!open_sets(&sets, test))
		return;
	kind = of_pictures(&sets, test);
	kind.distance = distance;
	kind.setting = setting;
	kind.value = value;
	kind.configured = configured;
	kind.queries = 100;
	recall_measure(&kind, &pair);
	if (instance_shared()->pid) {
		cr_assert_eq(pair.proxy.rows, pair.proxy.wanted);
		cr_assert_eq(pair.worse, 0, "%u queries found less", pair.worse);
		cr_assert_lt(pair.direct.found, pair.direct.wanted);
	}
	close_sets(&sets);
}

Test(recall, not_below_the_coordinator)
{
	not_below("not_below_the_coordinator", "embedding <->", "hnsw.ef_search", "10", false);
}

Test(recall, not_below_the_coordinator_on_an_indexed_expression)
{
	not_below("not_below_the_coordinator_on_an_indexed_expression",
	          "embedding::halfvec(784) <=>", "hnsw.ef_search", "10", false);
}

Test(recall, not_below_the_coordinator_by_ivfflat)
{
	not_below("not_below_the_coordinator_by_ivfflat", "embedding <=>", "ivfflat.probes", "2",
	          false);
}

/* What the workers are configured to counts as it does for the coordinator's own queries. */
Test(recall, not_below_the_coordinator_by_the_workers_configuration)
{
	not_below("not_below_the_coordinator_by_the_workers_configuration", "embedding <=>",
	          "ivfflat.probes", "4", true);
}

/* As many rows as asked for, whatever ef_search is; in order, none twice. */
static void many_rows(const struct sets *sets, const char *where, unsigned limit, unsigned wanted)
{
	static bool seen[ROWS];
	PGconn *conn = instance_connect(instance_shared(), "options='-c enable_seqscan=off'");
	uint32_t *distances = malloc(sets->train.count * sizeof(*distances)), last = 0;
	PGresult *result;

	cr_assert_not_null(distances);
	fashion_distances(&sets->train, sets->test.pixels[7], distances);
	result =
	    PQexec(conn, text("SELECT id FROM pictures %s ORDER BY embedding <-> '%s' LIMIT %u",
	                      where, picture(sets, 7), limit));
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
		many_rows(&sets, "", limits[i], limits[i]);
	for (uint32_t id = 0; id < ROWS; id++)
		of_label += sets.train.labels[id] == 7;
	many_rows(&sets, "WHERE label = 7", 1000, 1000);
	many_rows(&sets, "WHERE label = 7", 5000, of_label); /* all that there are */
	many_rows(&sets, "", ROWS + 1, ROWS);
	close_sets(&sets);
}

/* A larger ef_search, set by the client, is used by the shards. */
Test(recall, trap_02_ef_search_reaches_the_workers)
{
	struct sets sets;
	struct recall_kind kind;

	if (!open_sets(&sets, "trap_02_ef_search_reaches_the_workers"))
		return;
	kind = of_pictures(&sets, "ef_search 800");
	kind.setting = "hnsw.ef_search";
	kind.value = "800";
	recall_expect(&kind, 0.995);
	close_sets(&sets);
}
