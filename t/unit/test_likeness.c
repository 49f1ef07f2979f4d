/*
 * Likeness: what is said of two answers that differ in one way or another.
 */
#include "proxy/likeness.h"

#include <criterion/criterion.h>
#include <string.h>

#include "proxy/wire.h"

/* An answer of rows (id int4 as text of one letter; key float8), made of keys. */
static struct topk *topk;
static uint64_t available;

static size_t put_row(struct iobuf *out, char name, const double *key)
{
	uint64_t bits;

	iobuf_init(out);
	wire_put_u16(out, key ? 2 : 1);
	wire_put_u32(out, 1);
	wire_put_u8(out, (uint8_t)name);
	if (key) {
		memcpy(&bits, key, sizeof(bits));
		wire_put_u32(out, 8);
		wire_put_u32(out, (uint32_t)(bits >> 32));
		wire_put_u32(out, (uint32_t)bits);
	}
	return iobuf_len(out);
}

/* "abc" with keys 1, 2, 2 */
static void merged(const char *names, const double *keys, uint64_t limit)
{
	static const struct order_key key = {.type = ORDER_FLOAT8};
	struct topk_spec spec = {.keys = &key, .nkeys = 1, .visible = 1, .limit = limit + 1};
	struct iobuf row;

	topk_free(topk);
	topk = topk_new(&spec);
	for (size_t i = 0; names[i]; i++) {
		size_t len = put_row(&row, names[i], &keys[i]);

		cr_assert(topk_add(topk, (unsigned)i, iobuf_head(&row), len));
		iobuf_fini(&row);
	}
	available = topk_finish(topk);
}

static uint64_t hash_of(char name, size_t piece)
{
	struct likeness_hash hash;
	struct iobuf row, message;
	const uint8_t *at;
	size_t left, mark;
	uint64_t value;

	iobuf_init(&message);
	left = put_row(&row, name, NULL);
	mark = wire_begin(&message, WIRE_BE_DataRow);
	wire_put_bytes(&message, iobuf_head(&row), left);
	wire_end(&message, mark);
	likeness_hash_start(&hash);
	at = iobuf_head(&message);
	for (left = iobuf_len(&message); left > 0;) {
		size_t n = left < piece ? left : piece;

		likeness_hash_add(&hash, at, n);
		at += n;
		left -= n;
	}
	value = likeness_hash_end(&hash);
	iobuf_fini(&row);
	iobuf_fini(&message);
	return value;
}

static struct likeness compare(const char *names, uint64_t limit)
{
	uint64_t rows[32];
	uint64_t count = strlen(names);

	for (uint64_t i = 0; i < count; i++)
		rows[i] = hash_of(names[i], 3);
	return likeness_of(rows, count, topk, available, limit, 1);
}

static void teardown(void)
{
	topk_free(topk);
	topk = NULL;
}

TestSuite(likeness, .fini = teardown);

static const double one_to_five[] = {1, 2, 3, 4, 5};

Test(likeness, a_hash_does_not_depend_on_the_pieces)
{
	for (size_t piece = 1; piece < 16; piece++)
		cr_assert_eq(hash_of('x', piece), hash_of('x', 99));
	cr_assert_neq(hash_of('x', 1), hash_of('y', 1));
}

Test(likeness, the_same_rows)
{
	struct likeness likeness;

	merged("abcde", one_to_five, 4);
	likeness = compare("abcd", 4);
	cr_assert(likeness.same);
	cr_assert_eq(likeness.common, 4);
	cr_assert_eq(likeness.routed, 4);
	merged("ab", one_to_five, 4); /* fewer than LIMIT */
	cr_assert(compare("ab", 4).same);
	merged("", one_to_five, 4);
	cr_assert(compare("", 4).same);
}

Test(likeness, rows_are_missing_or_extra)
{
	struct likeness likeness;

	merged("abcde", one_to_five, 4);
	likeness = compare("abd", 4); /* the coordinator fell short */
	cr_assert(!likeness.same);
	cr_assert_eq(likeness.extra, 1);
	cr_assert_eq(likeness.missing, 0);
	likeness = compare("abdx", 4); /* it took a farther one instead */
	cr_assert(!likeness.same);
	cr_assert_eq(likeness.extra, 1);
	cr_assert_eq(likeness.missing, 1);
	cr_assert_eq(likeness.common, 3);
	likeness = compare("abce", 4); /* at the last rank, where nothing is tied */
	cr_assert(!likeness.same);
	cr_assert_eq(likeness.missing, 1);
	merged("ab", one_to_five, 4); /* we fell short */
	likeness = compare("abc", 4);
	cr_assert(!likeness.same);
	cr_assert_eq(likeness.missing, 1);
	cr_assert_eq(likeness.extra, 0);
}

Test(likeness, order_counts_but_not_among_ties)
{
	static const double tied[] = {1, 2, 2, 2, 5};
	struct likeness likeness;

	merged("abcde", one_to_five, 5);
	likeness = compare("abdce", 5);
	cr_assert(!likeness.same);
	cr_assert_eq(likeness.misordered, 1);
	merged("abcde", tied, 5);
	cr_assert(compare("adcbe", 5).same);
	cr_assert(!compare("badce", 5).same);
}

Test(likeness, rows_tied_with_the_last_one_may_be_others)
{
	static const double tied[] = {1, 2, 3, 3, 3};
	struct likeness likeness;

	merged("abcde", tied, 4);
	likeness = compare("abxe", 4);
	cr_assert(likeness.same);
	cr_assert_eq(likeness.common, 2);
	cr_assert(!compare("axcd", 4).same); /* b is nearer */
	cr_assert(!compare("abc", 4).same);  /* one less is not a tie */
	merged("abcd", tied, 4);             /* nobody knows of a fifth */
	cr_assert(!compare("abcx", 4).same);
}

Test(likeness, rows_that_look_the_same_are_counted)
{
	merged("aaab", one_to_five, 4);
	cr_assert(compare("aaab", 4).same);
	cr_assert_eq(compare("aabb", 4).common, 3);
	cr_assert_eq(compare("aaaab", 5).missing, 1);
}
