/*
 * Recall on word vectors: 100,000 words, 100 dimensions, in two shards, which makes
 * each of them matter: cosine by HNSW, inner product by IVFFlat. They are harder than
 * pictures: what the index misses shows. make bench fetches them; where it has not
 * been run these tests are skipped.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "t/bench/queries.h"
#include "t/lib/recall.h"
#include "t/lib/suite.h"

#define ROWS 100000
#define SHARDS 2
#define PER_SHARD (ROWS / SHARDS)
#define VERSION "words 2"
#define COLUMNS "id int, in_10 int, in_100 int, in_1000 int, e vector(100)"

static const char *path_of(const char *name)
{
	const char *build = getenv("PGTOPK_BUILDDIR");

	return text("%s/var/bench/%s", build ? build : ".", name);
}

/* ---- the table ---- */

/* "rank TAB word TAB vector NEWLINE" becomes a row; ranks go to the shards in turn. The
 * columns of filters have nothing to do with what is near. */
static unsigned row_of(char *line, char *row, size_t size)
{
	unsigned rank = (unsigned)strtoul(line, NULL, 10);
	const char *vector = strrchr(line, '\t');
	unsigned hash = (unsigned)((uint64_t)rank * 2654435761u >> 16 & 0xffffff);

	cr_assert(vector && rank < ROWS, "%.100s", line);
	snprintf(row, size, "%u\t%u\t%u\t%u\t%s", rank % SHARDS * PER_SHARD + rank / SHARDS,
	         hash % 10, hash % 100, hash % 1000, vector + 1);
	return rank % SHARDS;
}

static PGconn *copy_to(enum cluster_node node, const char *table)
{
	PGconn *conn = cluster_connect(node, NULL);
	PGresult *result = PQexec(conn, text("COPY %s FROM STDIN", table));

	cr_assert_eq(PQresultStatus(result), PGRES_COPY_IN, "%s", PQerrorMessage(conn));
	PQclear(result);
	return conn;
}

static void load(FILE *file)
{
	static char line[4096], row[4096];
	PGconn *conns[SHARDS + 1];

	for (unsigned i = 0; i < SHARDS; i++)
		conns[i] = copy_to(cluster_shard_node(i), text("words_%u", i));
	conns[SHARDS] = copy_to(CLUSTER_COORDINATOR, "plain.words");
	while (fgets(line, sizeof(line), file)) {
		unsigned shard = row_of(line, row, sizeof(row));
		int len = (int)strlen(row);

		cr_assert_eq(PQputCopyData(conns[shard], row, len), 1);
		cr_assert_eq(PQputCopyData(conns[SHARDS], row, len), 1);
	}
	for (unsigned i = 0; i <= SHARDS; i++) {
		cr_assert_eq(PQputCopyEnd(conns[i], NULL), 1);
		cluster_run(conns[i], "SELECT 1");
		PQfinish(conns[i]);
	}
}

/* Both workers build at the same time. */
static void build_indexes(void)
{
	PGconn *conns[SHARDS];

	for (unsigned i = 0; i < SHARDS; i++) {
		conns[i] = cluster_connect(cluster_shard_node(i), NULL);
		cr_assert(PQsendQuery(
		    conns[i], text("CREATE INDEX ON words_%u USING hnsw (e vector_cosine_ops); "
		                   "CREATE INDEX ON words_%u USING ivfflat (e vector_ip_ops) "
		                   "WITH (lists = 200); ANALYZE words_%u",
		                   i, i, i)));
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

static void make_words(void)
{
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, NULL);
	FILE *file = fopen(path_of("words.copy"), "r");

	cr_assert_not_null(file);
	if (strcmp(cluster_value(conn, "SELECT obj_description(to_regclass('words'), 'pg_class')"),
	           VERSION) != 0) {
		cluster_shard("words", COLUMNS, "RANGE (id)", SHARDS, PER_SHARD);
		cluster_run(conn, "DROP TABLE IF EXISTS plain.words; "
		                  "CREATE TABLE plain.words (" COLUMNS ")");
		load(file);
		build_indexes();
		cluster_run(conn, "ANALYZE plain.words; COMMENT ON TABLE words IS '" VERSION "'");
	}
	fclose(file);
	PQfinish(conn);
}

/* Words that are rarer than those in the table. False: skipped. */
static bool open_words(struct queries *queries, const char *name)
{
	if (access(path_of("words.copy"), R_OK) != 0 ||
	    access(path_of("words.cosine"), R_OK) != 0) {
		SKIP(name, "make bench fetches the word vectors");
		return false;
	}
	queries_read(queries, path_of("words.cosine"));
	make_words();
	return true;
}

static const char *vector(const void *owner, unsigned query)
{
	static char written[100 * 20];
	const struct queries *queries = owner;
	const float *values = &queries->vectors[query * 7 % queries->count * queries->kind.dim];
	size_t len = 0;

	for (uint32_t i = 0; i < queries->kind.dim; i++)
		len += (size_t)snprintf(written + len, sizeof(written) - len, "%c%.9g",
		                        i ? ',' : '[', values[i]);
	snprintf(written + len, sizeof(written) - len, "]");
	return written;
}

static struct recall_kind of_words(const struct queries *queries, const char *name, unsigned k,
                                   unsigned count)
{
	return (struct recall_kind){
	    .name = name,
	    .table = "words",
	    .plain = "plain.words",
	    .distance = "e <=>",
	    .k = k,
	    .queries = count,
	    .vector = vector,
	    .owner = queries,
	};
}

/* ---- HNSW ---- */

static void filtered(const char *test, const char *column, unsigned k, unsigned count)
{
	struct queries queries;
	struct recall_kind kind;

	if (!open_words(&queries, test))
		return;
	kind = of_words(&queries, column, k, count);
	kind.column = column;
	kind.modulus = (unsigned)atoi(column + strlen("in_"));
	recall_expect(&kind, 0.99);
	queries_free(&queries);
}

Test(recall_words, filter_of_ten_percent)
{
	filtered("filter_of_ten_percent", "in_10", 10, 60);
}

Test(recall_words, filter_of_one_percent)
{
	filtered("filter_of_one_percent", "in_100", 10, 60);
}

Test(recall_words, filter_of_a_tenth_of_a_percent)
{
	filtered("filter_of_a_tenth_of_a_percent", "in_1000", 10, 30);
}

Test(recall_words, filter_of_ten_percent_and_limit_1)
{
	filtered("filter_of_ten_percent_and_limit_1", "in_10", 1, 100);
}

Test(recall_words, filter_of_ten_percent_and_limit_100)
{
	filtered("filter_of_ten_percent_and_limit_100", "in_10", 100, 10);
}

Test(recall_words, filter_of_one_percent_and_limit_100)
{
	filtered("filter_of_one_percent_and_limit_100", "in_100", 100, 10);
}

Test(recall_words, filter_of_ten_percent_and_limit_1000)
{
	filtered("filter_of_ten_percent_and_limit_1000", "in_10", 1000, 5);
}

/* Both sides scan the same indexes by the same settings: not one query may find less. */
static void not_below(const char *test, const struct recall_kind *of, double most)
{
	struct recall_kind kind = *of;
	struct recall_pair pair;

	recall_measure(&kind, &pair);
	if (!instance_shared()->pid)
		return;
	cr_assert_eq(pair.proxy.rows, pair.proxy.wanted);
	cr_assert_eq(pair.worse, 0, "%s: %u queries found less than the coordinator", test,
	             pair.worse);
	/* else a loss would not be seen */
	cr_assert_lt(pair.direct.found, pair.direct.wanted * most, "%s", test);
}

Test(recall_words, not_below_the_coordinator)
{
	struct queries queries;
	struct recall_kind kind;

	if (!open_words(&queries, "not_below_the_coordinator"))
		return;
	kind = of_words(&queries, "words", 10, 100);
	not_below("default", &kind, 0.96);
	kind.setting = "hnsw.ef_search";
	kind.value = "15";
	kind.name = "words, ef_search 15";
	not_below("ef_search 15", &kind, 0.85);
	queries_free(&queries);
}

/* ---- IVFFlat ---- */

Test(recall_words, ivfflat_is_not_below_the_coordinator)
{
	struct queries queries;
	struct recall_kind kind;

	if (!open_words(&queries, "ivfflat_is_not_below_the_coordinator"))
		return;
	kind = of_words(&queries, "words, ivfflat", 10, 60);
	kind.distance = "e <#>";
	not_below("one probe", &kind, 0.5);
	kind.setting = "ivfflat.probes";
	kind.value = "8";
	kind.name = "words, ivfflat, 8 probes";
	not_below("eight probes", &kind, 0.9);
	queries_free(&queries);
}

/* Rows that match are not lost where few do: the scan goes on to further lists. */
Test(recall_words, ivfflat_with_a_filter)
{
	struct queries queries;
	struct recall_kind kind;
	struct recall_pair pair;

	if (!open_words(&queries, "ivfflat_with_a_filter"))
		return;
	kind = of_words(&queries, "words, ivfflat, 8 probes, 1 of 100", 10, 60);
	kind.distance = "e <#>";
	kind.setting = "ivfflat.probes";
	kind.value = "8";
	kind.column = "in_100";
	kind.modulus = 100;
	recall_measure(&kind, &pair);
	if (instance_shared()->pid) {
		cr_assert_eq(pair.proxy.rows, pair.proxy.wanted);
		cr_assert_eq(pair.worse, 0);
		cr_assert_gt(pair.proxy.found, pair.direct.found * 1.2);
	}
	queries_free(&queries);
}

/* A scan that may look into few lists only ends early; what it leaves out is not lost. */
Test(recall_words, ivfflat_with_few_probes_allowed)
{
	struct queries queries;
	struct recall_kind kind;

	if (!open_words(&queries, "ivfflat_with_few_probes_allowed"))
		return;
	kind = of_words(&queries, "words, ivfflat, max_probes 2, 1 of 1000", 10, 20);
	kind.distance = "e <#>";
	kind.setting = "ivfflat.max_probes";
	kind.value = "2";
	kind.column = "in_1000";
	kind.modulus = 1000;
	recall_expect(&kind, 0.99);
	queries_free(&queries);
}
