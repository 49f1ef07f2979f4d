/*
 * The demo's show: a few pictures of the test set beside their neighbours
 * found through pgtopk, then the same queries to the coordinator alone and
 * through pgtopk, in turns, judged by exact search. All numbers are measured
 * while it runs.
 */
#include "etc/demo.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	NEIGHBOURS = 5,
	QUERIES = 100,     /* measured */
	QUERIES_LONG = 20, /* of those with a long answer */
	QUERIES_WARM_UP = 3,
	QUERY_STEP = 97, /* through the test set */
	LIMIT_MAX = 1000
};

static const unsigned shown[] = {0, 1, 18}; /* of the test set */

enum filter { FILTER_NONE, FILTER_LABEL, FILTER_LABEL_DIGIT };

struct question {
	const char *title;
	const char *where;
	enum filter filter;
	size_t limit, queries;
};

static const struct question questions[] = {
    {"LIMIT 10, all rows", "", FILTER_NONE, 10, QUERIES},
    {"LIMIT 10, 10 % of the rows match", "WHERE label = $2", FILTER_LABEL, 10, QUERIES},
    {"LIMIT 10, 1 % of the rows match", "WHERE label = $2 AND id % 10 = $3", FILTER_LABEL_DIGIT, 10,
     QUERIES},
    {"LIMIT 1000, all rows", "", FILTER_NONE, 1000, QUERIES_LONG},
};

/* Values of $2 and $3 for one query; they have nothing to do with the picture
 * searched for, as a shop's "in stock" has nothing to do with the colour. */
struct condition {
	enum filter filter;
	unsigned label, digit;
};

struct side {
	PGconn *conn;
	size_t rows;
	double recall; /* summed */
	double ms[QUERIES];
};

static bool keep(const struct fashion *set, uint32_t id, const void *arg)
{
	const struct condition *c = arg;

	return (c->filter < FILTER_LABEL || set->labels[id] == c->label) &&
	       (c->filter < FILTER_LABEL_DIGIT || id % 10 == c->digit);
}

static void prepare(PGconn *conn, const struct question *q)
{
	char sql[512];

	snprintf(sql, sizeof sql, "SELECT id FROM fashion %s ORDER BY embedding <-> $1 LIMIT %zu",
	         q->where, q->limit);
	PQclear(demo_result(conn, PQprepare(conn, "", sql, 0, NULL), sql));
}

static PGresult *ask(PGconn *conn, const struct condition *c, const uint8_t *pixels)
{
	static const int parameters[] = {1, 2, 3};
	char text[FASHION_TEXT_MAX + 1], label[12], digit[12];
	const char *values[] = {text, label, digit};

	fashion_text(pixels, text);
	snprintf(label, sizeof label, "%u", c->label);
	snprintf(digit, sizeof digit, "%u", c->digit);
	return demo_result(conn,
	                   PQexecPrepared(conn, "", parameters[c->filter], values, NULL, NULL, 0),
	                   "a prepared query");
}

static uint32_t id_at(const struct fashion *set, PGresult *r, int row)
{
	unsigned long id = strtoul(PQgetvalue(r, row, 0), NULL, 10);

	if (id >= set->count)
		demo_fail("the table fashion has rows that are not the data "
		          "set's: ./quickstart stop, then rm -r var");
	return (uint32_t)id;
}

/* The part of the k nearest that is there. Equal distances are equally good;
 * a row that is there twice counts once, one that should not be there not. */
static double recall(const struct fashion *set, PGresult *r, const struct condition *c,
                     const uint32_t *distances, const struct fashion_hit *truth, size_t k)
{
	bool *seen = calloc(set->count, sizeof *seen);
	size_t good = 0;

	assert(seen != NULL);
	for (int row = 0; row < PQntuples(r); row++) {
		uint32_t id = id_at(set, r, row);

		if (!seen[id] && keep(set, id, c) && distances[id] <= truth[k - 1].distance)
			good++;
		seen[id] = true;
	}
	free(seen);
	return (double)(good < k ? good : k) / (double)k;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
	qsort(values, count, sizeof *values, by_value);
	return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

/* Asks both sides the same, the one and the other first in turns. */
static void measure(const struct question *q, struct side sides[2], const struct fashion *train,
                    const struct fashion *test)
{
	uint32_t *distances = malloc(train->count * sizeof *distances);
	struct fashion_hit truth[LIMIT_MAX];

	assert(distances != NULL && q->limit <= LIMIT_MAX);
	for (size_t i = 0; i < QUERIES_WARM_UP + q->queries; i++) {
		const uint8_t *pixels = test->pixels[i * QUERY_STEP % test->count];
		struct condition c = {q->filter, (unsigned)i % FASHION_LABELS,
		                      (unsigned)(i / FASHION_LABELS) % 10};
		size_t k;

		fashion_distances(train, pixels, distances);
		k = fashion_nearest(train, distances, keep, &c, truth, q->limit);
		assert(k == q->limit);
		for (size_t turn = 0; turn < 2; turn++) {
			struct side *s = &sides[(i + turn) % 2];
			double start = demo_now_ms();
			PGresult *r = ask(s->conn, &c, pixels);
			double ms = demo_now_ms() - start;

			if (i >= QUERIES_WARM_UP) {
				s->ms[i - QUERIES_WARM_UP] = ms;
				s->rows += (size_t)PQntuples(r);
				s->recall += recall(train, r, &c, distances, truth, k);
			}
			PQclear(r);
		}
	}
	free(distances);
}

/* A share is shown rounded down: 1.000 means all. */
static void print_side(struct side *s, size_t queries)
{
	double n = (double)queries;

	printf("   %6.4g   %.3f %7.1f ms", (double)s->rows / n,
	       floor(s->recall / n * 1000 + 1e-6) / 1000, median(s->ms, queries));
}

static void compare(PGconn *direct, PGconn *proxy, const struct fashion *train,
                    const struct fashion *test)
{
	printf("  %-32s   %-27s   %s\n", "", "coordinator alone", "through pgtopk");
	printf("  %-32s   %6s  %6s %10s   %6s  %6s %10s\n", "nearest of 60,000 by <->", "rows",
	       "recall", "median", "rows", "recall", "median");
	for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
		const struct question *q = &questions[i];
		struct side sides[2] = {{.conn = direct}, {.conn = proxy}};

		prepare(direct, q);
		prepare(proxy, q);
		measure(q, sides, train, test);
		printf("  %-32s", q->title);
		print_side(&sides[0], q->queries);
		print_side(&sides[1], q->queries);
		putchar('\n');
		fflush(stdout);
	}
	printf("  Averages of %d queries each (%d with LIMIT 1000), pictures of "
	       "the test set;\n  recall: the part of the true nearest that "
	       "came, by exact search.\n",
	       QUERIES, QUERIES_LONG);
}

static void show_picture(PGconn *proxy, const struct fashion *train, const struct fashion *test,
                         unsigned id)
{
	const uint8_t *pixels[1 + NEIGHBOURS] = {test->pixels[id]};
	const char *labels[1 + NEIGHBOURS] = {fashion_label(test->labels[id])};
	struct condition none = {FILTER_NONE, 0, 0};
	PGresult *r = ask(proxy, &none, test->pixels[id]);
	size_t count = 1;

	for (int row = 0; row < PQntuples(r) && row < NEIGHBOURS; row++) {
		uint32_t found = id_at(train, r, row);

		labels[count] = fashion_label(train->labels[found]);
		pixels[count++] = train->pixels[found];
	}
	PQclear(r);
	picture_print(pixels, count);
	printf("  ");
	for (size_t i = 0; i < count; i++)
		printf("%-*s", (int)picture_columns(count), labels[i]);
	printf("\n\n");
}

void demo_show(const char *direct, const char *proxy)
{
	static const struct question neighbours = {"", "", FILTER_NONE, NEIGHBOURS, 0};
	PGconn *coordinator = demo_connect(direct);
	PGconn *pgtopk = demo_connect(proxy);
	struct fashion train = demo_open(FASHION_TRAIN);
	struct fashion test = demo_open(FASHION_TEST);

	puts("\n  Searched for, and the five nearest found through pgtopk:\n");
	prepare(pgtopk, &neighbours);
	for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
		show_picture(pgtopk, &train, &test, shown[i]);
	compare(coordinator, pgtopk, &train, &test);
	PQfinish(coordinator);
	PQfinish(pgtopk);
	fashion_close(&train);
	fashion_close(&test);
}
