/*
 * Row: see row.h.
 *
 * row_init() walks the body once and checks it whole; the other functions walk
 * it again without checks, which costs less than keeping an index of fields.
 */
#include "merge/row.h"

#include <assert.h>

static int32_t row_i32(const uint8_t *at)
{
	return (int32_t)((uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 |
	                 at[3]);
}

bool row_init(struct row *row, const uint8_t *body, size_t len)
{
	const uint8_t *at;
	const uint8_t *end;
	unsigned fields;

	if (len < 2)
		return false;
	fields = (unsigned)body[0] << 8 | body[1];
	at = body + 2;
	end = body + len;
	for (unsigned i = 0; i < fields; i++) {
		int32_t field_len;

		if (end - at < 4)
			return false;
		field_len = row_i32(at);
		at += 4;
		if (field_len < -1 || field_len > end - at)
			return false;
		if (field_len > 0)
			at += field_len;
	}
	if (at != end)
		return false;
	*row = (struct row){.body = body, .len = len, .fields = fields};
	return true;
}

size_t row_offset(const struct row *row, unsigned field)
{
	size_t offset = 2;

	assert(field <= row->fields);
	while (field-- > 0) {
		int32_t field_len = row_i32(row->body + offset);

		offset += 4 + (field_len > 0 ? (size_t)field_len : 0);
	}
	assert(offset <= row->len);
	return offset;
}

void row_values(const struct row *row, unsigned first, unsigned count, struct row_value *values)
{
	const uint8_t *at = row->body + row_offset(row, first);

	assert(count <= row->fields - first);
	for (unsigned i = 0; i < count; i++) {
		int32_t len = row_i32(at);

		at += 4;
		values[i].len = len;
		values[i].data = len < 0 ? NULL : at;
		if (len > 0)
			at += len;
	}
	assert(at <= row->body + row->len);
}
