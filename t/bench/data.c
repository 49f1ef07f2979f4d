/*
 * The data program's command line, its search by brute force, and the
 * Fashion-MNIST set: see data.h.
 */
#include "t/bench/data.h"

#include <assert.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/data/fashion.h"

enum { FASHION_QUERIES = 300, FASHION_STEP = 31 };

static const char usage[] =
    "usage: data fashion-copy     the rows of fashion (id, label, embedding)\n"
    "       data fashion DIR      DIR/fashion.l2, DIR/fashion.label: queries\n"
    "       data words DIR        DIR/words.copy, DIR/words.cosine, DIR/words.ip,\n"
    "                             of the package's JSON on standard input\n";

void nearest_add(struct nearest *nearest, double distance, uint32_t id)
{
	uint32_t at;

	if (nearest->count == QUERIES_ACCEPTED_MAX &&
	    distance >= nearest->distances[nearest->count - 1])
		return;
	at = nearest->count < QUERIES_ACCEPTED_MAX ? nearest->count++ : nearest->count - 1;
	for (; at > 0 && nearest->distances[at - 1] > distance; at--) {
		nearest->distances[at] = nearest->distances[at - 1];
		nearest->ids[at] = nearest->ids[at - 1];
	}
	nearest->distances[at] = distance;
	nearest->ids[at] = id;
}

void nearest_accept(const struct nearest *nearest, double slack, struct query *query)
{
	double last;

	assert(nearest->count >= QUERIES_K);
	last = nearest->distances[QUERIES_K - 1];
	last += slack * (last < 0 ? -last : last);
	query->accepted_count = 0;
	for (uint32_t i = 0; i < nearest->count; i++)
		if (nearest->distances[i] <= last)
			query->accepted[query->accepted_count++] = nearest->ids[i];
}

void data_new_queries(struct queries *queries, uint32_t count, const char *column, uint32_t dim)
{
	memset(queries, 0, sizeof(*queries));
	queries->count = count;
	queries->kind.dim = dim;
	snprintf(queries->kind.column, sizeof(queries->kind.column), "%s", column);
	queries->list = calloc(count, sizeof(*queries->list));
	queries->vectors = calloc(count, sizeof(float) * dim);
	assert(queries->list && queries->vectors);
}

static void open_set(struct fashion *set, enum fashion_set which)
{
	const char *error;

	if (!fashion_open(set, which, &error))
		errx(1, "%s", error);
}

static void fashion_copy(void)
{
	struct fashion set;

	open_set(&set, FASHION_TRAIN);
	for (size_t id = 0; id < set.count; id++) {
		char text[FASHION_TEXT_MAX + 1];

		fashion_text(set.pixels[id], text);
		if (printf("%zu\t%u\t%s\n", id, set.labels[id], text) < 0)
			err(1, "standard output");
	}
	fashion_close(&set);
}

static bool same_label(const struct fashion *set, uint32_t id, const void *label)
{
	return set->labels[id] == *(const uint32_t *)label;
}

/* Squared distances are exact, so nothing is as near as the last one by rounding. */
static void answer(const struct fashion *train, const uint32_t *distances, struct query *query,
                   fashion_keep_fn *keep)
{
	struct fashion_hit hits[QUERIES_ACCEPTED_MAX];
	size_t count = fashion_nearest(train, distances, keep, &query->filter_value, hits,
	                               QUERIES_ACCEPTED_MAX);
	struct nearest nearest = {.count = 0};

	for (size_t i = 0; i < count; i++)
		nearest_add(&nearest, hits[i].distance, hits[i].id);
	nearest_accept(&nearest, 0, query);
}

static void fashion_queries(const char *folder)
{
	struct fashion train, test;
	struct queries all, label;
	uint32_t *distances;
	char path[4096];

	open_set(&train, FASHION_TRAIN);
	open_set(&test, FASHION_TEST);
	data_new_queries(&all, FASHION_QUERIES, "embedding", FASHION_DIM);
	data_new_queries(&label, FASHION_QUERIES, "embedding", FASHION_DIM);
	strcpy(all.kind.operator, "<->");
	strcpy(label.kind.operator, "<->");
	strcpy(label.kind.filter, "label");
	distances = malloc(train.count * sizeof(*distances));
	assert(distances);
	for (uint32_t i = 0; i < FASHION_QUERIES; i++) {
		const uint8_t *pixels = test.pixels[i * FASHION_STEP % test.count];

		for (size_t j = 0; j < FASHION_DIM; j++)
			all.vectors[i * FASHION_DIM + j] = pixels[j];
		fashion_distances(&train, pixels, distances);
		answer(&train, distances, &all.list[i], NULL);
		/* any label: a filter has nothing to do with what is searched for */
		label.list[i].filter_value = i % FASHION_LABELS;
		answer(&train, distances, &label.list[i], same_label);
	}
	memcpy(label.vectors, all.vectors, sizeof(float) * FASHION_DIM * FASHION_QUERIES);
	snprintf(path, sizeof(path), "%s/fashion.label", folder);
	queries_write(&label, path);
	snprintf(path, sizeof(path), "%s/fashion.l2", folder);
	queries_write(&all, path);
	free(distances);
	queries_free(&label);
	queries_free(&all);
	fashion_close(&test);
	fashion_close(&train);
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "fashion-copy") == 0)
		fashion_copy();
	else if (argc == 3 && strcmp(argv[1], "fashion") == 0)
		fashion_queries(argv[2]);
	else if (argc == 3 && strcmp(argv[1], "words") == 0)
		words_import(argv[2]);
	else
		errx(2, "what?\n%s", usage);
	if (fflush(stdout) != 0)
		err(1, "standard output");
	return 0;
}
