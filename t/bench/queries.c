/*
 * Queries: see queries.h. The file is the kind, the number of queries, all
 * answers, all vectors; it appears under its name when it is complete.
 */
#include "t/bench/queries.h"

#include <arpa/inet.h>
#include <assert.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT_MAX = 100 * 1000 };

static const char magic[8] = "bench-1";

void queries_write(const struct queries *queries, const char *path)
{
	char new[4096];
	FILE *file;

	snprintf(new, sizeof(new), "%s.new", path);
	file = fopen(new, "wb");
	if (!file)
		err(1, "%s", new);
	fwrite(magic, sizeof(magic), 1, file);
	fwrite(&queries->kind, sizeof(queries->kind), 1, file);
	fwrite(&queries->count, sizeof(queries->count), 1, file);
	fwrite(queries->list, sizeof(*queries->list), queries->count, file);
	fwrite(queries->vectors, sizeof(float) * queries->kind.dim, queries->count, file);
	if (ferror(file) || fclose(file) != 0 || rename(new, path) != 0)
		err(1, "%s", path);
}

/* pgvector's binary form: the dimension, zero, the numbers; all big-endian. */
static void make_wire(struct queries *queries)
{
	uint32_t dim = queries->kind.dim;
	uint16_t head[2] = {htons((uint16_t)dim), 0};

	queries->wire_len = sizeof(head) + dim * sizeof(float);
	queries->wire = malloc(queries->count * queries->wire_len);
	assert(queries->wire);
	for (uint32_t i = 0; i < queries->count; i++) {
		char *at = queries->wire + i * queries->wire_len;

		memcpy(at, head, sizeof(head));
		at += sizeof(head);
		for (uint32_t j = 0; j < dim; j++, at += sizeof(float)) {
			uint32_t bits;

			memcpy(&bits, &queries->vectors[(size_t)i * dim + j], sizeof(bits));
			bits = htonl(bits);
			memcpy(at, &bits, sizeof(bits));
		}
	}
}

static void read_exactly(void *to, size_t size, size_t count, FILE *file, const char *path)
{
	if (fread(to, size, count, file) != count)
		errx(1, "%s: not a whole file of queries; delete it and run the bench again", path);
}

void queries_read(struct queries *queries, const char *path)
{
	FILE *file = fopen(path, "rb");
	char found[sizeof(magic)];

	memset(queries, 0, sizeof(*queries));
	if (!file)
		err(1, "%s", path);
	read_exactly(found, sizeof(found), 1, file, path);
	read_exactly(&queries->kind, sizeof(queries->kind), 1, file, path);
	read_exactly(&queries->count, sizeof(queries->count), 1, file, path);
	if (memcmp(found, magic, sizeof(magic)) != 0 || queries->kind.dim > QUERIES_DIM_MAX ||
	    queries->count == 0 || queries->count > COUNT_MAX)
		errx(1, "%s: not a file of queries; delete it and run the bench again", path);
	queries->list = calloc(queries->count, sizeof(*queries->list));
	queries->vectors = calloc(queries->count, sizeof(float) * queries->kind.dim);
	assert(queries->list && queries->vectors);
	read_exactly(queries->list, sizeof(*queries->list), queries->count, file, path);
	read_exactly(queries->vectors, sizeof(float) * queries->kind.dim, queries->count, file,
	             path);
	fclose(file);
	make_wire(queries);
}

void queries_free(struct queries *queries)
{
	free(queries->list);
	free(queries->vectors);
	free(queries->wire);
	memset(queries, 0, sizeof(*queries));
}

unsigned queries_right(const struct query *query, const int64_t *ids, size_t count)
{
	unsigned right = 0;

	for (uint32_t i = 0; i < query->accepted_count; i++)
		for (size_t j = 0; j < count; j++)
			if (ids[j] == query->accepted[i]) {
				right++;
				break;
			}
	return right < QUERIES_K ? right : QUERIES_K;
}
