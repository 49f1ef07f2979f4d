/*
 * Binary: vectors as pgvector's receive functions want them, made from their texts.
 * A text that is none has no such form.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/iobuf.h"
#include "proxy/wire.h"
#include "t/torture/value.h"

#define DIMENSIONS_MAX 64

/* To the nearest, ties to even: what the text's reader does, too. */
static uint16_t half_of(float value)
{
	double size = fabs((double)value), unit, steps;
	uint16_t sign = signbit(value) ? 0x8000 : 0;
	int exponent = 0;

	if (size == 0)
		return sign;
	frexp(size, &exponent);
	if (exponent < -13)
		exponent = -13;
	unit = ldexp(1, exponent - 11);
	steps = rint(size / unit);
	if (steps < 1024) /* a denormal */
		return sign | (uint16_t)steps;
	if (steps >= 2048) {
		steps /= 2;
		exponent++;
	}
	return sign | (uint16_t)((uint16_t)((exponent + 14) << 10) | ((uint16_t)steps - 1024));
}

static void put_float(struct iobuf *out, float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	wire_put_u32(out, bits);
}

static unsigned read_dense(const char *text, float *values)
{
	unsigned count = 0;
	char *end;

	if (*text++ != '[')
		return 0;
	while (count < DIMENSIONS_MAX) {
		values[count] = strtof(text, &end);
		if (end == text)
			return 0;
		count++;
		if (*end == ']')
			return count;
		text = end + 1;
	}
	return 0;
}

static bool put_dense(struct iobuf *out, const char *text, bool half)
{
	float values[DIMENSIONS_MAX];
	unsigned count = read_dense(text, values);

	wire_put_u16(out, (uint16_t)count);
	wire_put_u16(out, 0);
	for (unsigned i = 0; i < count; i++) {
		if (half)
			wire_put_u16(out, half_of(values[i]));
		else
			put_float(out, values[i]);
	}
	return count > 0;
}

static bool put_sparse(struct iobuf *out, const char *text)
{
	uint32_t at[DIMENSIONS_MAX], count = 0;
	float values[DIMENSIONS_MAX];
	char *end;

	while (*text && *text != '}' && count < DIMENSIONS_MAX) {
		at[count] = (uint32_t)strtoul(text + 1, &end, 10);
		if (*end != ':')
			break; /* "{}/3" */
		values[count] = strtof(end + 1, &end);
		count += values[count] != 0;
		text = end;
	}
	text = strchr(text, '/');
	if (!text)
		return false;
	wire_put_u32(out, (uint32_t)strtoul(text + 1, NULL, 10));
	wire_put_u32(out, count);
	wire_put_u32(out, 0);
	for (uint32_t i = 0; i < count; i++)
		wire_put_u32(out, at[i] - 1);
	for (uint32_t i = 0; i < count; i++)
		put_float(out, values[i]);
	return true;
}

static bool put_bits(struct iobuf *out, const char *text)
{
	size_t count = strlen(text);

	if (strspn(text, "01") != count)
		return false;
	wire_put_u32(out, (uint32_t)count);
	for (size_t byte = 0; byte < (count + 7) / 8; byte++) {
		unsigned value = 0;

		for (size_t bit = 8 * byte; bit < 8 * byte + 8; bit++)
			value = 2 * value + (bit < count && text[bit] == '1');
		wire_put_u8(out, (uint8_t)value);
	}
	return true;
}

const uint8_t *value_vector_binary(struct arena *arena, enum value_vector kind, const char *text,
                                   unsigned *len)
{
	struct iobuf out;
	const uint8_t *copy = NULL;
	bool ok;

	iobuf_init(&out);
	switch (kind) {
	case VALUE_VECTOR:
	case VALUE_HALFVEC:
		ok = put_dense(&out, text, kind == VALUE_HALFVEC);
		break;
	case VALUE_SPARSEVEC:
		ok = put_sparse(&out, text);
		break;
	default:
		ok = put_bits(&out, text);
		break;
	}
	if (ok) {
		*len = (unsigned)iobuf_len(&out);
		copy = (const uint8_t *)arena_strndup(arena, (const char *)iobuf_head(&out), *len);
	}
	iobuf_fini(&out);
	return copy;
}
