/*
 * Topk: against an oracle that keeps every row and sorts it; ties, NULL, NaN,
 * offset, rows that are malformed, huge limits, shards that are asked again.
 */
#include <criterion/criterion.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "merge/topk.h"

#define ROW_MAX 128

/* One row: a visible number (its identity), a visible text that is sometimes
 * NULL, and the hidden keys: a float8 and an int4. */
struct fact {
	uint32_t id;
	unsigned shard;
	bool distance_null;
	double distance;
	bool further_null;
	int32_t further;
};

static void put(uint8_t **at, uint64_t value, int bytes)
{
	while (bytes-- > 0)
		*(*at)++ = (uint8_t)(value >> (8 * bytes));
}

static void put_double(uint8_t **at, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	put(at, 8, 4);
	put(at, bits, 8);
}

static size_t build(uint8_t *body, const struct fact *fact, unsigned nkeys)
{
	uint8_t *at = body;

	put(&at, 2 + nkeys, 2);
	put(&at, 4, 4);
	put(&at, fact->id, 4);
	if (fact->id % 3 == 0) {
		put(&at, UINT32_MAX, 4);
	} else {
		put(&at, fact->id % 40, 4);
		memset(at, 'x', fact->id % 40);
		at += fact->id % 40;
	}
	if (fact->distance_null)
		put(&at, UINT32_MAX, 4);
	else
		put_double(&at, fact->distance);
	if (nkeys > 1 && fact->further_null) {
		put(&at, UINT32_MAX, 4);
	} else if (nkeys > 1) {
		put(&at, 4, 4);
		put(&at, (uint32_t)fact->further, 4);
	}
	return (size_t)(at - body);
}

/* Adds from an allocation of the exact length that is gone afterwards. */
static bool add_bytes(struct topk *topk, unsigned shard, const uint8_t *body, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);
	bool ok;

	cr_assert_not_null(copy);
	memcpy(copy, body, len);
	ok = topk_add(topk, shard, copy, len);
	memset(copy, 0xee, len);
	free(copy);
	return ok;
}

static void add(struct topk *topk, const struct fact *fact, unsigned nkeys)
{
	uint8_t body[ROW_MAX];
	size_t len = build(body, fact, nkeys);

	cr_assert(add_bytes(topk, fact->shard, body, len));
}

static void add_simple(struct topk *topk, unsigned shard, uint32_t id, double distance)
{
	struct fact fact = {.id = id, .shard = shard, .distance = distance};

	add(topk, &fact, 1);
}

static uint32_t id_at(const struct topk *topk, uint64_t i)
{
	const uint8_t *body;
	size_t len;

	topk_row(topk, i, &body, &len);
	cr_assert_geq(len, 12);
	return (uint32_t)body[4] << 24 | (uint32_t)body[5] << 16 | (uint32_t)body[6] << 8 | body[7];
}

static struct topk *make_keys(const struct order_key *keys, unsigned nkeys, uint64_t limit,
                              uint64_t offset)
{
	struct topk_spec spec = {
	    .keys = keys,
	    .nkeys = nkeys,
	    .visible = 2,
	    .limit = limit,
	    .offset = offset,
	};

	return topk_new(&spec);
}

static struct topk *make(uint64_t limit, uint64_t offset)
{
	struct order_key key = {.type = ORDER_FLOAT8};

	return make_keys(&key, 1, limit, offset);
}

/* ---- the oracle ---- */

static struct order_key oracle_keys[2];
static unsigned oracle_nkeys;

static int oracle_value(bool a_null, double a, bool b_null, double b, const struct order_key *key)
{
	int result;

	if (a_null || b_null)
		return a_null == b_null ? 0 : a_null == key->nulls_first ? -1 : 1;
	if (isnan(a) || isnan(b))
		result = isnan(a) - isnan(b);
	else
		result = (a > b) - (a < b);
	return key->descending ? -result : result;
}

static int oracle_compare(const void *a_void, const void *b_void)
{
	const struct fact *a = a_void;
	const struct fact *b = b_void;
	int result = oracle_value(a->distance_null, a->distance, b->distance_null, b->distance,
	                          &oracle_keys[0]);

	if (result == 0 && oracle_nkeys > 1)
		result = oracle_value(a->further_null, a->further, b->further_null, b->further,
		                      &oracle_keys[1]);
	if (result == 0)
		result = (a->shard > b->shard) - (a->shard < b->shard);
	return result != 0 ? result : (a->id > b->id) - (a->id < b->id); /* ids rise with arrival */
}

static double random_distance(void)
{
	static const double special[] = {NAN, INFINITY, -INFINITY, 0.0, -0.0, 5e-324, -NAN};

	switch (rand() % 4) {
	case 0:
		return special[rand() % 7];
	case 1:
		return rand() % 20; /* many ties */
	default:
		return (double)rand() / RAND_MAX * 4 - 2;
	}
}

static void check_random(unsigned nrows, uint64_t limit, uint64_t offset)
{
	struct fact *facts = calloc(nrows + 1, sizeof(*facts));
	struct topk *topk = make_keys(oracle_keys, oracle_nkeys, limit, offset);
	uint64_t expected;
	size_t bytes = 0;

	cr_assert_not_null(facts);
	for (uint32_t i = 0; i < nrows; i++) {
		facts[i] = (struct fact){
		    .id = i,
		    .shard = (unsigned)rand() % 8,
		    .distance_null = rand() % 20 == 0,
		    .distance = random_distance(),
		    .further_null = rand() % 5 == 0,
		    .further = rand() % 7 - 3,
		};
		add(topk, &facts[i], oracle_nkeys);
		if (topk_bytes(topk) > bytes)
			bytes = topk_bytes(topk);
	}
	cr_assert_leq(bytes, (limit + offset) * 400 + 1000);
	qsort(facts, nrows, sizeof(*facts), oracle_compare);
	expected = limit == 0 || nrows < offset ? 0
	           : nrows - offset < limit     ? nrows - offset
	                                        : limit;
	cr_assert_eq(topk_finish(topk), expected);
	for (uint64_t i = 0; i < expected; i++) {
		const uint8_t *row;
		uint8_t body[ROW_MAX];
		size_t len;

		build(body, &facts[offset + i], oracle_nkeys);
		topk_row(topk, i, &row, &len);
		cr_assert_eq(id_at(topk, i), facts[offset + i].id, "row %d", (int)i);
		cr_assert_eq(memcmp(row, body + 2, len), 0);
		cr_assert_eq(len, facts[offset + i].id % 3 ? 12 + facts[offset + i].id % 40 : 12);
	}
	topk_free(topk);
	free(facts);
}

static void check_many(unsigned nkeys)
{
	oracle_nkeys = nkeys;
	srand(7);
	for (int variant = 0; variant < 16; variant++) {
		oracle_keys[0] = (struct order_key){ORDER_FLOAT8, variant & 1, variant & 2};
		oracle_keys[1] = (struct order_key){ORDER_INT4, variant & 4, variant & 8};
		for (int round = 0; round < 20; round++)
			check_random((unsigned)rand() % 400, (uint64_t)rand() % 50,
			             (uint64_t)rand() % 20);
		check_random(3000, 1000, 10);
		check_random(100, 100, 0);
		check_random(100, 1, 99);
		check_random(100, 10, 100);
		check_random(0, 10, 0);
	}
}

Test(topk, random_one_key)
{
	check_many(1);
}

Test(topk, random_two_keys)
{
	check_many(2);
}

/* Without a rank: the first key's type has none. */
Test(topk, random_first_key_is_no_float)
{
	struct order_key key = {.type = ORDER_INT8, .descending = true};
	struct topk *topk = make_keys(&key, 1, 50, 0);

	/* The bits of positive doubles sort as int8 the way the doubles do. */
	for (uint32_t i = 0; i < 1000; i++)
		add_simple(topk, 0, i, 1 + (double)(i * 7919 % 1000));
	cr_assert_eq(topk_finish(topk), 50);
	for (uint32_t i = 0; i < 50; i++)
		cr_assert_eq(id_at(topk, i) * 7919 % 1000, 999 - i);
	topk_free(topk);
}

Test(topk, float4_key)
{
	static const uint32_t bits[] = {0x7fc00000, 0x7f800000, 0x3f800000, 0x80000000,
	                                0x00000000, 0xbf800000, 0xff800000};
	static const uint32_t expected[] = {6, 5, 3, 4, 2, 1, 0};
	struct order_key key = {.type = ORDER_FLOAT4};
	struct topk_spec spec = {.keys = &key, .nkeys = 1, .visible = 1, .limit = 100};
	struct topk *topk = topk_new(&spec);

	for (uint32_t i = 0; i < 7; i++) {
		uint8_t body[18];
		uint8_t *at = body;

		put(&at, 2, 2);
		put(&at, 4, 4);
		put(&at, i, 4);
		put(&at, 4, 4);
		put(&at, bits[i], 4);
		cr_assert(add_bytes(topk, 0, body, sizeof(body)));
	}
	cr_assert_eq(topk_finish(topk), 7);
	for (uint64_t i = 0; i < 7; i++) {
		const uint8_t *body;
		size_t len;

		topk_row(topk, i, &body, &len);
		cr_assert_eq(len, 8);
		cr_assert_eq(body[7], expected[i]);
	}
	topk_free(topk);
}

/* Trap 3: a shard's order (relaxed_order has none) is not trusted. */
Test(topk, trap_03_order_within_a_shard_is_not_trusted)
{
	struct topk *topk = make(3, 0);

	for (uint32_t i = 0; i < 100; i++)
		add_simple(topk, i % 2, i, 100.0 - i); /* the best come last */
	cr_assert_eq(topk_finish(topk), 3);
	cr_assert_eq(id_at(topk, 0), 99);
	cr_assert_eq(id_at(topk, 1), 98);
	cr_assert_eq(id_at(topk, 2), 97);
	topk_free(topk);
}

/* Trap 4: <#> is negative; numbers < NaN < NULL; DESC and NULLS FIRST. */
Test(topk, trap_04_negative_nan_null_desc)
{
	static const uint32_t expected[4][4] = {
	    {0, 1, 2, 3}, /* ASC NULLS LAST: -2, 1, NaN, NULL */
	    {2, 1, 0, 3}, /* DESC NULLS LAST */
	    {3, 0, 1, 2}, /* ASC NULLS FIRST */
	    {3, 2, 1, 0}, /* DESC NULLS FIRST */
	};
	static const struct fact facts[] = {
	    {.id = 1, .distance = 1},
	    {.id = 3, .distance_null = true},
	    {.id = 0, .distance = -2},
	    {.id = 2, .distance = NAN},
	};

	for (int variant = 0; variant < 4; variant++) {
		struct order_key key = {ORDER_FLOAT8, variant & 1, variant & 2};
		struct topk *topk = make_keys(&key, 1, 4, 0);
		struct topk *first = make_keys(&key, 1, 1, 0);

		for (int i = 0; i < 4; i++) {
			add(topk, &facts[i], 1);
			add(first, &facts[i], 1);
		}
		cr_assert_eq(topk_finish(topk), 4);
		cr_assert_eq(topk_finish(first), 1);
		for (uint64_t i = 0; i < 4; i++)
			cr_assert_eq(id_at(topk, i), expected[variant][i]);
		cr_assert_eq(id_at(first, 0), expected[variant][0]);
		topk_free(topk);
		topk_free(first);
	}
}

/* Trap 4: distances that their text would round to the same are told apart. */
Test(topk, trap_04_distances_are_not_rounded)
{
	struct topk *topk = make(1, 0);

	add_simple(topk, 0, 1, 0.1 + 0.2);
	add_simple(topk, 1, 2, 0.3);
	cr_assert_eq(topk_finish(topk), 1);
	cr_assert_eq(id_at(topk, 0), 2);
	topk_free(topk);
}

/* Trap 5: OFFSET is cut once, from the merged rows. */
Test(topk, trap_05_offset_is_cut_after_the_merge)
{
	struct topk *topk = make(3, 5);

	for (uint32_t i = 0; i < 40; i++)
		add_simple(topk, i % 4, i, (double)i);
	cr_assert_eq(topk_finish(topk), 3);
	for (uint32_t i = 0; i < 3; i++)
		cr_assert_eq(id_at(topk, i), 5 + i);
	topk_free(topk);
}

/* Trap 5: LIMIT 0, and an OFFSET that is beyond the last row. */
Test(topk, trap_05_nothing_to_deliver)
{
	struct topk *none = make(0, 5);
	struct topk *beyond = make(10, 5);

	for (uint32_t i = 0; i < 5; i++) {
		add_simple(none, 0, i, (double)i);
		add_simple(beyond, 0, i, (double)i);
	}
	cr_assert_eq(topk_bytes(none), 0);
	topk_drop(none, 0);
	cr_assert(topk_settled(none));
	cr_assert_eq(topk_finish(none), 0);
	cr_assert_eq(topk_finish(beyond), 0);
	topk_free(none);
	topk_free(beyond);
}

/* Trap 5: a limit near 2^63 costs what the rows cost. */
Test(topk, trap_05_huge_limit)
{
	struct topk *topk = make(INT64_MAX, INT64_MAX);
	struct topk *all = make(INT64_MAX, 2);

	for (uint32_t i = 0; i < 100; i++) {
		add_simple(topk, 0, i, (double)i);
		add_simple(all, 0, i, (double)i);
	}
	cr_assert_leq(topk_bytes(topk), 100 * 200);
	cr_assert_eq(topk_finish(topk), 0);
	cr_assert_eq(topk_finish(all), 98);
	cr_assert_eq(id_at(all, 0), 2);
	topk_free(topk);
	topk_free(all);
}

Test(topk, ties_go_by_shard_and_arrival_whatever_comes_first)
{
	for (int order = 0; order < 2; order++) {
		struct topk *topk = make(4, 0);

		for (unsigned s = 0; s < 3; s++) {
			unsigned shard = order == 0 ? s : 2 - s;

			for (uint32_t i = 0; i < 3; i++)
				add_simple(topk, shard, 10 * shard + i, 1.0);
		}
		cr_assert_eq(topk_finish(topk), 4);
		cr_assert_eq(id_at(topk, 0), 0);
		cr_assert_eq(id_at(topk, 1), 1);
		cr_assert_eq(id_at(topk, 2), 2);
		cr_assert_eq(id_at(topk, 3), 10);
		topk_free(topk);
	}
}

/* The same row twice is two rows: the merge knows no identity. */
Test(topk, duplicates_are_kept)
{
	struct topk *topk = make(10, 0);

	for (int i = 0; i < 3; i++)
		add_simple(topk, 0, 7, 0.5);
	cr_assert_eq(topk_finish(topk), 3);
	topk_free(topk);
}

Test(topk, malformed_rows_are_refused_and_change_nothing)
{
	struct fact fact = {.id = 1, .distance = 1};
	struct topk *topk = make(10, 0);
	uint8_t body[ROW_MAX];
	size_t len = build(body, &fact, 1);
	size_t bytes;

	add_simple(topk, 0, 5, 2.0);
	bytes = topk_bytes(topk);
	for (size_t cut = 0; cut < len; cut++)
		cr_assert_not(add_bytes(topk, 0, body, cut), "%zu", cut);
	cr_assert_not(add_bytes(topk, 0, body, len + 1), "a byte too many");
	cr_assert_not(add_bytes(topk, 0, body, build(body, &fact, 2)), "a field too many");
	body[1] = 2;
	cr_assert_not(add_bytes(topk, 0, body, len - 12), "a field too few");
	build(body, &fact, 1);
	body[len - 9] = 7;
	cr_assert_not(add_bytes(topk, 0, body, len - 1), "a float8 of 7 bytes");
	body[len - 9] = 0;
	cr_assert_not(add_bytes(topk, 0, body, len - 8), "an empty float8");
	cr_assert_eq(topk_bytes(topk), bytes);
	cr_assert_eq(topk_finish(topk), 1);
	cr_assert_eq(id_at(topk, 0), 5);
	topk_free(topk);
}

Test(topk, no_visible_field)
{
	struct order_key key = {.type = ORDER_FLOAT8};
	struct topk_spec spec = {.keys = &key, .nkeys = 1, .visible = 0, .limit = 2};
	struct topk *topk = topk_new(&spec);
	const uint8_t body[] = {0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0};
	const uint8_t *row;
	size_t len;

	for (int i = 0; i < 5; i++)
		cr_assert(add_bytes(topk, 0, body, sizeof(body)));
	cr_assert_eq(topk_finish(topk), 2);
	topk_row(topk, 1, &row, &len);
	cr_assert_eq(len, 0);
	topk_free(topk);
}

Test(topk, a_shard_can_be_asked_again_while_nothing_was_discarded)
{
	struct topk *topk = make(10, 0);

	for (uint32_t i = 0; i < 5; i++) {
		add_simple(topk, 0, i, (double)i);
		add_simple(topk, 1, 10 + i, (double)i + 0.5);
	}
	topk_drop(topk, 0);
	add_simple(topk, 0, 100, -1.0);
	cr_assert(topk_settled(topk));
	cr_assert_eq(topk_finish(topk), 6);
	cr_assert_eq(id_at(topk, 0), 100);
	cr_assert_eq(id_at(topk, 1), 10);
	cr_assert_eq(id_at(topk, 5), 14);
	topk_free(topk);
}

/*
 * Shard 0's first answer pushed a row of shard 1 out; its second is shorter, because a
 * row was deleted meanwhile. To go on without the row that was pushed out would be wrong.
 */
Test(topk, a_dropped_row_that_kept_another_out_leaves_it_unsettled)
{
	struct topk *topk = make(2, 0);

	add_simple(topk, 1, 10, 5.0);
	add_simple(topk, 1, 11, 6.0);
	add_simple(topk, 0, 1, 1.0);
	topk_drop(topk, 0);
	cr_assert_not(topk_settled(topk));
	add_simple(topk, 0, 2, 5.5);
	cr_assert_not(topk_settled(topk), "6.0 was worse than 5.0, but nobody knows it");
	topk_drop(topk, UINT_MAX);
	cr_assert(topk_settled(topk));
	cr_assert_leq(topk_bytes(topk), 16 * 16);
	add_simple(topk, 1, 10, 5.0);
	add_simple(topk, 1, 11, 6.0);
	cr_assert_eq(topk_finish(topk), 2);
	cr_assert_eq(id_at(topk, 0), 10);
	cr_assert_eq(id_at(topk, 1), 11);
	topk_free(topk);
}

Test(topk, a_second_answer_as_good_as_the_first_settles_it)
{
	struct topk *topk = make(2, 0);

	add_simple(topk, 1, 10, 5.0);
	add_simple(topk, 1, 11, 6.0);
	add_simple(topk, 0, 1, 1.0);
	topk_drop(topk, 0);
	add_simple(topk, 0, 2, 0.5);
	add_simple(topk, 0, 1, 1.0);
	cr_assert(topk_settled(topk));
	cr_assert_eq(topk_finish(topk), 2);
	cr_assert_eq(id_at(topk, 0), 2);
	cr_assert_eq(id_at(topk, 1), 1);
	topk_free(topk);
}

Test(topk, several_drops_remember_the_best_row_that_may_be_missing)
{
	struct topk *topk = make(2, 0);

	add_simple(topk, 0, 1, 1.0);
	add_simple(topk, 1, 10, 2.0);
	add_simple(topk, 2, 20, 3.0); /* kept out by 2.0 */
	topk_drop(topk, 0);
	add_simple(topk, 0, 2, 8.0);
	add_simple(topk, 2, 21, 9.0); /* kept out by 8.0 */
	topk_drop(topk, 0);
	add_simple(topk, 0, 3, 7.0);
	cr_assert_not(topk_settled(topk), "3.0 belongs there");
	topk_free(topk);
}

Test(topk, free_takes_null_and_what_was_never_finished)
{
	struct topk *topk = make(10, 0);

	add_simple(topk, 0, 1, 1.0);
	topk_free(topk);
	topk_free(make(10, 0));
	topk_free(NULL);
}

Test(topk, ties_are_told_whatever_the_shard)
{
	struct topk *topk = make(5, 1);

	add_simple(topk, 0, 1, 0.5); /* skipped: OFFSET */
	add_simple(topk, 0, 2, 1.0);
	add_simple(topk, 1, 3, 1.0);
	add_simple(topk, 2, 4, 2.0);
	add_simple(topk, 1, 5, -0.0 + 2.0);
	cr_assert_eq(topk_finish(topk), 4);
	cr_assert(topk_tied(topk, 0, 1) && topk_tied(topk, 2, 3) && topk_tied(topk, 1, 1));
	cr_assert(!topk_tied(topk, 1, 2) && !topk_tied(topk, 0, 3));
	topk_free(topk);
}
