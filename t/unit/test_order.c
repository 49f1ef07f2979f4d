/*
 * Order: every pair of values of order_golden.def, whose order and bytes come
 * from PostgreSQL itself, and what must never reach the comparison.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/order.h"

struct golden {
	uint32_t oid;
	int rank;
	const char *hex;
	const char *text;
};

#define GOLDEN(oid, rank, hex, text) {oid, rank, hex, text},
static const struct golden golden[] = {
#include "t/unit/order_golden.def"
};
#undef GOLDEN
#define NGOLDEN (sizeof(golden) / sizeof(golden[0]))

static int sign(int number)
{
	return (number > 0) - (number < 0);
}

/* An allocation of the exact length, for the sanitizer's sake. */
static struct row_value value_of(const char *hex)
{
	size_t len = strlen(hex) / 2;
	uint8_t *data = malloc(len > 0 ? len : 1);

	cr_assert_not_null(data);
	for (size_t i = 0; i < len; i++) {
		unsigned byte;

		cr_assert_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
		data[i] = (uint8_t)byte;
	}
	return (struct row_value){.data = data, .len = (int32_t)len};
}

static void value_free(struct row_value *value)
{
	free((uint8_t *)value->data);
}

static int compare_hex(enum order_type type, const char *a_hex, const char *b_hex)
{
	struct order_key key = {.type = type};
	struct row_value a = value_of(a_hex);
	struct row_value b = value_of(b_hex);
	int result;

	cr_assert(order_valid(type, &a), "%s", a_hex);
	cr_assert(order_valid(type, &b), "%s", b_hex);
	result = order_compare(&key, &a, &b);
	value_free(&a);
	value_free(&b);
	return result;
}

static bool valid_hex(enum order_type type, const char *hex)
{
	struct row_value value = value_of(hex);
	bool ok = order_valid(type, &value);

	value_free(&value);
	return ok;
}

/* Trap 4: numbers < NaN, -0.0 = 0.0, DESC: all as PostgreSQL sorts them. */
Test(order, trap_04_as_postgresql_sorts)
{
	for (size_t i = 0; i < NGOLDEN; i++) {
		struct row_value a = value_of(golden[i].hex);
		struct order_key key = {0};

		cr_assert(order_type_from_oid(golden[i].oid, &key.type));
		cr_assert(order_valid(key.type, &a), "%u %s", golden[i].oid, golden[i].text);
		for (size_t j = 0; j < NGOLDEN; j++) {
			struct row_value b;
			int expected = sign(golden[i].rank - golden[j].rank);

			if (golden[j].oid != golden[i].oid)
				continue;
			b = value_of(golden[j].hex);
			key.descending = false;
			cr_assert_eq(sign(order_compare(&key, &a, &b)), expected, "%u: %s, %s",
			             golden[i].oid, golden[i].text, golden[j].text);
			key.descending = true;
			cr_assert_eq(sign(order_compare(&key, &a, &b)), -expected, "%u: %s, %s",
			             golden[i].oid, golden[i].text, golden[j].text);
			value_free(&b);
		}
		value_free(&a);
	}
}

/* Trap 4: NULLS FIRST and LAST, with ASC and DESC. */
Test(order, trap_04_nulls)
{
	static const uint8_t nan[8] = {0x7f, 0xf8};
	struct row_value null = {.data = NULL, .len = -1};
	struct row_value number = {.data = nan, .len = 8};

	for (int descending = 0; descending <= 1; descending++) {
		struct order_key key = {.type = ORDER_FLOAT8, .descending = descending};

		key.nulls_first = false;
		cr_assert_gt(order_compare(&key, &null, &number), 0, "NaN < NULL");
		cr_assert_lt(order_compare(&key, &number, &null), 0);
		cr_assert_eq(order_compare(&key, &null, &null), 0);
		key.nulls_first = true;
		cr_assert_lt(order_compare(&key, &null, &number), 0);
		cr_assert_gt(order_compare(&key, &number, &null), 0);
		cr_assert_eq(order_compare(&key, &null, &null), 0);
	}
}

/* Trap 4: any NaN is the same, whatever its sign and payload. */
Test(order, trap_04_every_nan_is_equal)
{
	cr_assert_eq(compare_hex(ORDER_FLOAT8, "7ff8000000000000", "fff8000000000000"), 0);
	cr_assert_eq(compare_hex(ORDER_FLOAT8, "7ff0000000000001", "ffffffffffffffff"), 0);
	cr_assert_gt(compare_hex(ORDER_FLOAT8, "fff8000000000000", "7ff0000000000000"), 0);
	cr_assert_eq(compare_hex(ORDER_FLOAT4, "7fc00000", "ffc00000"), 0);
	cr_assert_gt(compare_hex(ORDER_FLOAT4, "ffc00000", "7f800000"), 0);
}

/* Legal on the wire, though numeric_send() strips zero digits. */
Test(order, numeric_with_zero_digits)
{
	/* 1 as 0001, as 0000 0001 (weight 1), as 0001 0000 */
	cr_assert_eq(compare_hex(ORDER_NUMERIC, "00010000000000000001", "000200010000000000000001"),
	             0);
	cr_assert_eq(compare_hex(ORDER_NUMERIC, "00010000000000000001", "000200000000000000010000"),
	             0);
	cr_assert_lt(compare_hex(ORDER_NUMERIC, "000200010000000000000001", "00010000000000000002"),
	             0);
	/* all zeros of a high weight against 1 */
	cr_assert_lt(compare_hex(ORDER_NUMERIC, "00010005000000000000", "00010000000000000001"), 0);
	cr_assert_gt(compare_hex(ORDER_NUMERIC, "00010000000000000001", "00010005000000000000"), 0);
	/* the display scale alone makes no difference */
	cr_assert_eq(compare_hex(ORDER_NUMERIC, "00010000000000000001", "00010000000000050001"), 0);
}

Test(order, null_is_valid_for_every_type)
{
	struct row_value null = {.data = NULL, .len = -1};

	for (int type = ORDER_BOOL; type <= ORDER_INTERVAL; type++)
		cr_assert(order_valid((enum order_type)type, &null));
}

Test(order, every_wrong_length_is_refused)
{
	static const struct {
		enum order_type type;
		int32_t len;
	} fixed[] = {
	    {ORDER_BOOL, 1},  {ORDER_INT2, 2},   {ORDER_INT4, 4},   {ORDER_INT8, 8},
	    {ORDER_UINT4, 4}, {ORDER_FLOAT4, 4}, {ORDER_FLOAT8, 8}, {ORDER_INTERVAL, 16},
	};
	static const uint8_t zeros[64];

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		for (int32_t len = 0; len <= 64; len++) {
			struct row_value value = {.data = zeros, .len = len};

			cr_assert_eq(order_valid(fixed[i].type, &value), len == fixed[i].len);
		}
	}
}

Test(order, malformed_numerics_are_refused)
{
	cr_assert(valid_hex(ORDER_NUMERIC, "0000000000000000"));
	cr_assert(valid_hex(ORDER_NUMERIC, "0001000040000002270f"));
	cr_assert_not(valid_hex(ORDER_NUMERIC, ""));
	cr_assert_not(valid_hex(ORDER_NUMERIC, "00000000000000"), "no header");
	cr_assert_not(valid_hex(ORDER_NUMERIC, "0001000000000000"), "no digit");
	cr_assert_not(valid_hex(ORDER_NUMERIC, "000100000000000001"), "half a digit");
	cr_assert_not(valid_hex(ORDER_NUMERIC, "000000000000000001"), "one byte too many");
	cr_assert_not(valid_hex(ORDER_NUMERIC, "00000000000000000001"), "a digit too many");
	cr_assert_not(valid_hex(ORDER_NUMERIC, "00010000000000002710"), "a digit of 10000");
	cr_assert_not(valid_hex(ORDER_NUMERIC, "00010000800000000001"), "no such sign");
	cr_assert_not(valid_hex(ORDER_NUMERIC, "00010000c00000000001"), "NaN with a digit");
	cr_assert_not(valid_hex(ORDER_NUMERIC, "ffff0000000000000001"), "65535 digits");
}

Test(order, types_that_are_refused)
{
	static const uint32_t oids[] = {
	    0,
	    19 /* name */,
	    25 /* text */,
	    27 /* tid */,
	    114 /* json */,
	    650 /* cidr */,
	    869 /* inet */,
	    1009 /* text[] */,
	    1042 /* bpchar */,
	    1043 /* varchar */,
	    1266 /* timetz */,
	    1560 /* bit */,
	    1562 /* varbit */,
	    2205 /* regclass */,
	    2249 /* record */,
	    3802 /* jsonb */,
	    3904 /* int4range */,
	    16384,
	    UINT32_MAX,
	};
	enum order_type type;

	for (size_t i = 0; i < sizeof(oids) / sizeof(oids[0]); i++)
		cr_assert_not(order_type_from_oid(oids[i], &type), "%u", oids[i]);
}
