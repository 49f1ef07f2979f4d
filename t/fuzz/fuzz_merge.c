/*
 * Fuzz merge: DataRow bodies of several shards. The input: number and kinds of keys, how
 * many visible fields, limit, offset; then rows, each after the byte of its shard, 255 for
 * a shard that is asked again. What comes out is in order, and is what went in.
 */
#include <assert.h>
#include <limits.h>

#include "merge/row.h"
#include "merge/topk.h"
#include "t/fuzz/fuzz.h"

#define KEYS_MAX 3

struct merge {
	struct order_key keys[KEYS_MAX];
	struct topk_spec spec;
	struct topk *topk;
};

static struct merge begin(const uint8_t head[8])
{
	struct merge merge = {0};

	merge.spec.nkeys = 1 + head[0] % KEYS_MAX;
	merge.spec.visible = head[1] % 4;
	merge.spec.limit = head[2] < 0xf0 ? head[2] : UINT64_MAX / 2;
	merge.spec.offset = head[3] < 0xf0 ? head[3] : UINT64_MAX / 2;
	for (unsigned i = 0; i < merge.spec.nkeys; i++) {
		merge.keys[i].type = (enum order_type)(head[4 + i] % (ORDER_INTERVAL + 1));
		merge.keys[i].descending = head[7] >> (2 * i) & 1;
		merge.keys[i].nulls_first = head[7] >> (2 * i + 1) & 1;
	}
	return merge;
}

/* A row that the merge takes is one that row.c takes, whose keys are each before themselves
 * and after nothing. */
static void check_row(const struct merge *merge, const uint8_t *body, size_t len)
{
	struct row row;
	struct row_value values[KEYS_MAX];

	assert(row_init(&row, body, len) && row.fields == merge->spec.visible + merge->spec.nkeys);
	row_values(&row, merge->spec.visible, merge->spec.nkeys, values);
	for (unsigned i = 0; i < merge->spec.nkeys; i++) {
		assert(order_valid(merge->keys[i].type, &values[i]));
		assert(order_compare(&merge->keys[i], &values[i], &values[i]) == 0);
	}
}

static void add(struct merge *merge, unsigned shard, const uint8_t *data, size_t len)
{
	uint8_t *body = fuzz_copy(data, len);

	if (shard == 255)
		topk_drop(merge->topk, len ? data[0] : UINT_MAX);
	else if (topk_add(merge->topk, shard, body, len))
		check_row(merge, body, len);
	free(body);
}

/* The visible fields alone are a row, too, once they are counted. */
static void check_answer(const struct merge *merge, uint64_t count)
{
	assert(count <= merge->spec.limit);
	for (uint64_t i = 0; i < count; i++) {
		const uint8_t *body;
		uint8_t *copy;
		size_t len;
		struct row row;

		topk_row(merge->topk, i, &body, &len);
		copy = malloc(len + 2);
		if (!copy)
			abort();
		copy[0] = 0;
		copy[1] = (uint8_t)merge->spec.visible;
		if (len)
			memcpy(copy + 2, body, len);
		assert(row_init(&row, copy, len + 2));
		free(copy);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_parts parts = {.at = data + 8, .end = data + size};
	struct merge merge;
	const uint8_t *part;
	size_t len;

	if (size < 8)
		return 0;
	merge = begin(data);
	merge.spec.keys = merge.keys;
	merge.topk = topk_new(&merge.spec);
	while (fuzz_next(&parts, &part, &len))
		if (len > 0)
			add(&merge, part[0], part + 1, len - 1);
	check_answer(&merge, topk_finish(merge.topk));
	topk_free(merge.topk);
	return 0;
}
