/*
 * Fashion: the Fashion-MNIST pictures of Debian's package
 * dataset-fashion-mnist (60,000 to search in, 10,000 to search with, 28 x 28
 * grey levels each), and exact search over them.
 *
 * Pixels are bytes, so squared distances are exact integers and the order of
 * two neighbours is never a matter of rounding. For the demo, the tests and
 * the bench.
 */
#ifndef T_DATA_FASHION_H
#define T_DATA_FASHION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	FASHION_SIDE = 28,
	FASHION_DIM = FASHION_SIDE * FASHION_SIDE,
	FASHION_LABELS = 10,
	/* room for the text of any picture as a vector: "[255,255,...]" */
	FASHION_TEXT_MAX = FASHION_DIM * 4 + 2
};

enum fashion_set { FASHION_TRAIN, FASHION_TEST };

/* A picture's id is its place in the set, from 0. */
struct fashion {
	size_t count;
	uint8_t (*pixels)[FASHION_DIM];
	uint8_t *labels;
};

/* A neighbour: the nearer comes first, and of two as near the lower id. */
struct fashion_hit {
	uint32_t distance; /* squared */
	uint32_t id;
};

/* Which pictures count; NULL for all. */
typedef bool fashion_keep_fn(const struct fashion *set, uint32_t id, const void *arg);

/* Reads a set. False, with a sentence in *error, if it is not installed or
 * damaged. FASHION_MNIST_DIR in the environment names another folder. */
bool fashion_open(struct fashion *set, enum fashion_set which, const char **error)
    __attribute__((warn_unused_result));
void fashion_close(struct fashion *set);

/* "Sneaker" */
const char *fashion_label(unsigned label);

/* Writes a picture as pgvector's text form; returns the length. */
size_t fashion_text(const uint8_t *pixels, char text[FASHION_TEXT_MAX + 1]);

/* The squared L2 distance of two pictures. */
uint32_t fashion_distance(const uint8_t *a, const uint8_t *b);

/* The distances of a picture to every picture of the set. */
void fashion_distances(const struct fashion *set, const uint8_t *pixels, uint32_t *distances);

/* The k nearest of those kept, in order, given fashion_distances(); returns
 * how many there are. */
size_t fashion_nearest(const struct fashion *set, const uint32_t *distances, fashion_keep_fn *keep,
                       const void *arg, struct fashion_hit *hits, size_t k);

#endif
