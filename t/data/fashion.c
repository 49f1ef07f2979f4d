/*
 * Fashion: reading the set's four idx files (zlib's door) and searching them
 * by brute force. An idx file is a big-endian header (a magic number, then one
 * size per dimension) and the bytes.
 */
#include "t/data/fashion.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define FASHION_DIR "/usr/share/datasets/fashion-mnist"

enum {
	IDX_LABELS = 0x0801, /* bytes, one dimension */
	IDX_IMAGES = 0x0803, /* bytes, three dimensions */
	FASHION_MAX = 1000 * 1000
};

static bool read_exactly(gzFile file, void *to, size_t len)
{
	return gzread(file, to, (unsigned)len) == (int)len;
}

static bool read_number(gzFile file, uint32_t *number)
{
	uint8_t b[4];

	if (!read_exactly(file, b, sizeof b))
		return false;
	*number = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
	return true;
}

/* The bytes of an idx file, count records of size bytes each. */
static void *read_records(gzFile file, uint32_t magic, size_t size, size_t *count)
{
	uint32_t found, records, side;
	uint8_t *bytes;

	if (!read_number(file, &found) || found != magic || !read_number(file, &records) ||
	    records == 0 || records > FASHION_MAX)
		return NULL;
	for (unsigned i = 1; i < (magic & 0xff); i++)
		if (!read_number(file, &side) || side != FASHION_SIDE)
			return NULL;
	bytes = malloc(records * size);
	if (bytes != NULL && !read_exactly(file, bytes, records * size)) {
		free(bytes);
		return NULL;
	}
	*count = records;
	return bytes;
}

static void *read_file(const char *name, uint32_t magic, size_t size, size_t *count,
                       const char **error)
{
	const char *dir = getenv("FASHION_MNIST_DIR");
	char path[4096];
	gzFile file;
	void *bytes;

	snprintf(path, sizeof path, "%s/%s", dir != NULL ? dir : FASHION_DIR, name);
	file = gzopen(path, "rb");
	if (file == NULL) {
		*error = "the data set is not there: install Debian's package "
			 "dataset-fashion-mnist, or name its folder in "
			 "FASHION_MNIST_DIR";
		return NULL;
	}
	bytes = read_records(file, magic, size, count);
	gzclose(file);
	if (bytes == NULL)
		*error = "the data set is damaged: reinstall the package "
			 "dataset-fashion-mnist";
	return bytes;
}

bool fashion_open(struct fashion *set, enum fashion_set which, const char **error)
{
	static const char *const images[] = {"train-images-idx3-ubyte.gz",
	                                     "t10k-images-idx3-ubyte.gz"};
	static const char *const labels[] = {"train-labels-idx1-ubyte.gz",
	                                     "t10k-labels-idx1-ubyte.gz"};
	size_t labelled = 0;

	memset(set, 0, sizeof *set);
	set->pixels = read_file(images[which], IDX_IMAGES, FASHION_DIM, &set->count, error);
	if (set->pixels == NULL)
		return false;
	set->labels = read_file(labels[which], IDX_LABELS, 1, &labelled, error);
	if (set->labels != NULL && labelled == set->count)
		return true;
	if (set->labels != NULL)
		*error = "the data set has not one label for each picture";
	fashion_close(set);
	return false;
}

void fashion_close(struct fashion *set)
{
	free(set->pixels);
	free(set->labels);
	memset(set, 0, sizeof *set);
}

const char *fashion_label(unsigned label)
{
	static const char *const names[FASHION_LABELS] = {
	    "T-shirt", "Trouser", "Pullover", "Dress", "Coat",
	    "Sandal",  "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};

	return label < FASHION_LABELS ? names[label] : "?";
}

size_t fashion_text(const uint8_t *pixels, char text[FASHION_TEXT_MAX + 1])
{
	char *p = text;

	for (size_t i = 0; i < FASHION_DIM; i++) {
		unsigned v = pixels[i];

		*p++ = i == 0 ? '[' : ',';
		if (v >= 100)
			*p++ = (char)('0' + v / 100);
		if (v >= 10)
			*p++ = (char)('0' + v / 10 % 10);
		*p++ = (char)('0' + v % 10);
	}
	*p++ = ']';
	*p = '\0';
	assert(p - text <= FASHION_TEXT_MAX);
	return (size_t)(p - text);
}

uint32_t fashion_distance(const uint8_t *a, const uint8_t *b)
{
	int32_t sum = 0; /* at most 784 * 255 * 255, about 51 million */

	for (size_t i = 0; i < FASHION_DIM; i++) {
		int32_t d = a[i] - b[i];

		sum += d * d;
	}
	return (uint32_t)sum;
}

void fashion_distances(const struct fashion *set, const uint8_t *pixels, uint32_t *distances)
{
	for (size_t id = 0; id < set->count; id++)
		distances[id] = fashion_distance(set->pixels[id], pixels);
}

size_t fashion_nearest(const struct fashion *set, const uint32_t *distances, fashion_keep_fn *keep,
                       const void *arg, struct fashion_hit *hits, size_t k)
{
	size_t n = 0;

	/* Insertion into a sorted list: ids come in ascending order, so that
	 * an equal distance belongs behind, and most are beyond the last. */
	for (uint32_t id = 0; id < set->count; id++) {
		struct fashion_hit hit = {distances[id], id};
		size_t at;

		if (k == 0 || (n == k && hit.distance >= hits[n - 1].distance))
			continue;
		if (keep != NULL && !keep(set, id, arg))
			continue;
		at = n < k ? n++ : n - 1;
		for (; at > 0 && hits[at - 1].distance > hit.distance; at--)
			hits[at] = hits[at - 1];
		hits[at] = hit;
	}
	return n;
}
