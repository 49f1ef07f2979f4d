/*
 * Order: see order.h.
 *
 * One function per kind of value, each after its model in PostgreSQL's
 * src/backend/utils/adt: float8_cmp_internal (float.h), cmp_numerics and
 * cmp_var_common (numeric.c), interval_cmp_value (timestamp.c), byteacmp
 * (varlena.c). Binary formats are those of the types' send functions.
 */
#include "merge/order.h"

#include <assert.h>
#include <string.h>

#define NUMERIC_HEADER 8 /* ndigits, weight, sign, dscale: Int16 each */
#define NUMERIC_BASE 10000
#define NUMERIC_POSITIVE 0x0000
#define NUMERIC_NEGATIVE 0x4000
#define NUMERIC_NAN 0xC000
#define NUMERIC_INFINITY 0xD000
#define NUMERIC_MINUS_INFINITY 0xF000

#define INTERVAL_LEN 16 /* Int64 microseconds, Int32 days, Int32 months */
#define INTERVAL_DAYS_PER_MONTH 30
#define INTERVAL_USECS_PER_DAY INT64_C(86400000000)

bool order_type_from_oid(uint32_t type_oid, enum order_type *type)
{
	switch (type_oid) {
	case 16: /* bool */
		*type = ORDER_BOOL;
		return true;
	case 21: /* int2 */
		*type = ORDER_INT2;
		return true;
	case 23:   /* int4 */
	case 1082: /* date */
		*type = ORDER_INT4;
		return true;
	case 20:   /* int8 */
	case 790:  /* money */
	case 1083: /* time */
	case 1114: /* timestamp */
	case 1184: /* timestamptz */
		*type = ORDER_INT8;
		return true;
	case 26: /* oid */
		*type = ORDER_UINT4;
		return true;
	case 700: /* float4 */
		*type = ORDER_FLOAT4;
		return true;
	case 701: /* float8 */
		*type = ORDER_FLOAT8;
		return true;
	case 17:   /* bytea */
	case 18:   /* "char": compared as an unsigned byte */
	case 774:  /* macaddr8 */
	case 829:  /* macaddr */
	case 2950: /* uuid */
	case 3220: /* pg_lsn: an unsigned 64-bit number, most significant byte first */
		*type = ORDER_BYTES;
		return true;
	case 1700: /* numeric */
		*type = ORDER_NUMERIC;
		return true;
	case 1186: /* interval */
		*type = ORDER_INTERVAL;
		return true;
	}
	return false;
}

static uint16_t order_u16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t order_u32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint64_t order_u64(const uint8_t *at)
{
	return (uint64_t)order_u32(at) << 32 | order_u32(at + 4);
}

static bool order_valid_numeric(const struct row_value *value)
{
	unsigned ndigits;

	if (value->len < NUMERIC_HEADER)
		return false;
	ndigits = order_u16(value->data);
	if ((uint32_t)value->len != NUMERIC_HEADER + 2 * ndigits)
		return false;
	switch (order_u16(value->data + 4)) {
	case NUMERIC_POSITIVE:
	case NUMERIC_NEGATIVE:
		break;
	case NUMERIC_NAN:
	case NUMERIC_INFINITY:
	case NUMERIC_MINUS_INFINITY:
		return ndigits == 0;
	default:
		return false;
	}
	for (unsigned i = 0; i < ndigits; i++)
		if (order_u16(value->data + NUMERIC_HEADER + 2 * i) >= NUMERIC_BASE)
			return false;
	return true;
}

bool order_valid(enum order_type type, const struct row_value *value)
{
	if (value->data == NULL)
		return value->len == -1;
	switch (type) {
	case ORDER_BOOL:
		return value->len == 1;
	case ORDER_INT2:
		return value->len == 2;
	case ORDER_INT4:
	case ORDER_UINT4:
	case ORDER_FLOAT4:
		return value->len == 4;
	case ORDER_INT8:
	case ORDER_FLOAT8:
		return value->len == 8;
	case ORDER_BYTES:
		return value->len >= 0;
	case ORDER_NUMERIC:
		return order_valid_numeric(value);
	case ORDER_INTERVAL:
		return value->len == INTERVAL_LEN;
	}
	return false;
}

static double order_float8(const uint8_t *at)
{
	uint64_t bits = order_u64(at);
	double value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static double order_float4(const uint8_t *at)
{
	uint32_t bits = order_u32(at);
	float value;

	memcpy(&value, &bits, sizeof(value));
	return (double)value;
}

static int order_compare_i64(int64_t a, int64_t b)
{
	return (a > b) - (a < b);
}

static int order_compare_double(double a, double b)
{
	bool a_nan = a != a;
	bool b_nan = b != b;

	if (a_nan || b_nan)
		return a_nan - b_nan;
	return (a > b) - (a < b);
}

static int order_compare_bytes(const struct row_value *a, const struct row_value *b)
{
	size_t shorter = (size_t)(a->len < b->len ? a->len : b->len);
	int result = shorter == 0 ? 0 : memcmp(a->data, b->data, shorter);

	if (result == 0)
		result = order_compare_i64(a->len, b->len);
	return result;
}

struct order_numeric {
	const uint8_t *digits;
	int ndigits;
	int weight; /* of the first digit, in powers of NUMERIC_BASE */
	uint16_t sign;
};

static struct order_numeric order_numeric(const uint8_t *at)
{
	return (struct order_numeric){
	    .digits = at + NUMERIC_HEADER,
	    .ndigits = order_u16(at),
	    .weight = (int16_t)order_u16(at + 2),
	    .sign = order_u16(at + 4),
	};
}

static int order_digit(const struct order_numeric *value, int i)
{
	return order_u16(value->digits + 2 * i);
}

/*
 * Absolute values. Leading zero digits are legal on the wire, if never written,
 * so weights alone do not decide.
 */
static int order_compare_numeric_abs(const struct order_numeric *a, const struct order_numeric *b)
{
	int a_weight = a->weight;
	int b_weight = b->weight;
	int i = 0;
	int j = 0;

	for (; a_weight > b_weight && i < a->ndigits; i++, a_weight--)
		if (order_digit(a, i) != 0)
			return 1;
	for (; b_weight > a_weight && j < b->ndigits; j++, b_weight--)
		if (order_digit(b, j) != 0)
			return -1;
	if (a_weight == b_weight)
		for (; i < a->ndigits && j < b->ndigits; i++, j++)
			if (order_digit(a, i) != order_digit(b, j))
				return order_digit(a, i) < order_digit(b, j) ? -1 : 1;
	/* Equal so far: whichever still has a digit that is not zero is greater. */
	for (; i < a->ndigits; i++)
		if (order_digit(a, i) != 0)
			return 1;
	for (; j < b->ndigits; j++)
		if (order_digit(b, j) != 0)
			return -1;
	return 0;
}

/* NaN above Infinity above all numbers above -Infinity. */
static int order_numeric_class(uint16_t sign)
{
	switch (sign) {
	case NUMERIC_NAN:
		return 2;
	case NUMERIC_INFINITY:
		return 1;
	case NUMERIC_MINUS_INFINITY:
		return -1;
	}
	return 0;
}

static int order_compare_numeric(const uint8_t *a_data, const uint8_t *b_data)
{
	struct order_numeric a = order_numeric(a_data);
	struct order_numeric b = order_numeric(b_data);
	int a_class = order_numeric_class(a.sign);
	int b_class = order_numeric_class(b.sign);

	if (a_class != 0 || b_class != 0)
		return order_compare_i64(a_class, b_class);
	if (a.ndigits == 0 && b.ndigits == 0)
		return 0;
	if (a.ndigits == 0)
		return b.sign == NUMERIC_NEGATIVE ? 1 : -1;
	if (b.ndigits == 0)
		return a.sign == NUMERIC_NEGATIVE ? -1 : 1;
	if (a.sign != b.sign)
		return a.sign == NUMERIC_NEGATIVE ? -1 : 1;
	if (a.sign == NUMERIC_NEGATIVE)
		return order_compare_numeric_abs(&b, &a);
	return order_compare_numeric_abs(&a, &b);
}

/* A month counts 30 days and a day 24 hours; the sum does not fit in 64 bits. */
static __int128 order_interval(const uint8_t *at)
{
	int64_t time = (int64_t)order_u64(at);
	int64_t days = (int32_t)order_u32(at + 8);
	int64_t months = (int32_t)order_u32(at + 12);

	days += months * INTERVAL_DAYS_PER_MONTH;
	return (__int128)days * INTERVAL_USECS_PER_DAY + time;
}

static int order_compare_interval(const uint8_t *a_data, const uint8_t *b_data)
{
	__int128 a = order_interval(a_data);
	__int128 b = order_interval(b_data);

	return (a > b) - (a < b);
}

static int order_compare_values(enum order_type type, const struct row_value *a,
                                const struct row_value *b)
{
	switch (type) {
	case ORDER_BOOL:
		return (a->data[0] != 0) - (b->data[0] != 0);
	case ORDER_INT2:
		return order_compare_i64((int16_t)order_u16(a->data), (int16_t)order_u16(b->data));
	case ORDER_INT4:
		return order_compare_i64((int32_t)order_u32(a->data), (int32_t)order_u32(b->data));
	case ORDER_INT8:
		return order_compare_i64((int64_t)order_u64(a->data), (int64_t)order_u64(b->data));
	case ORDER_UINT4:
		return order_compare_i64(order_u32(a->data), order_u32(b->data));
	case ORDER_FLOAT4:
		return order_compare_double(order_float4(a->data), order_float4(b->data));
	case ORDER_FLOAT8:
		return order_compare_double(order_float8(a->data), order_float8(b->data));
	case ORDER_BYTES:
		return order_compare_bytes(a, b);
	case ORDER_NUMERIC:
		return order_compare_numeric(a->data, b->data);
	case ORDER_INTERVAL:
		return order_compare_interval(a->data, b->data);
	}
	assert(!"an order_type that is none");
	return 0;
}

int order_compare(const struct order_key *key, const struct row_value *a, const struct row_value *b)
{
	int result;

	if (a->data == NULL || b->data == NULL) {
		if (a->data == b->data)
			return 0;
		/* NULL's place does not depend on DESC. */
		return (a->data == NULL) == key->nulls_first ? -1 : 1;
	}
	result = order_compare_values(key->type, a, b);
	return key->descending ? -result : result;
}
