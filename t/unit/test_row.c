/*
 * Row: views of DataRow bodies, and every way in which one does not add up.
 * Bodies are copied to allocations of their exact length, so that the sanitizer
 * sees any read behind the end.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "merge/row.h"

/* 4 fields: "ab", NULL, "", "xyz" */
static const uint8_t sample[] = {
    0, 4, 0, 0, 0, 2, 'a', 'b', 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 3, 'x', 'y', 'z',
};

static bool accepted(const uint8_t *body, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);
	struct row row;
	bool ok;

	cr_assert_not_null(copy);
	memcpy(copy, body, len);
	ok = row_init(&row, copy, len);
	free(copy);
	return ok;
}

Test(row, fields_and_values)
{
	struct row_value values[4];
	struct row row;

	cr_assert(row_init(&row, sample, sizeof(sample)));
	cr_assert_eq(row.fields, 4);
	row_values(&row, 0, 4, values);
	cr_assert_eq(values[0].len, 2);
	cr_assert_eq(memcmp(values[0].data, "ab", 2), 0);
	cr_assert_eq(values[1].len, -1);
	cr_assert_null(values[1].data);
	cr_assert_eq(values[2].len, 0);
	cr_assert_not_null(values[2].data, "an empty value is not NULL");
	cr_assert_eq(values[3].len, 3);
	cr_assert_eq(memcmp(values[3].data, "xyz", 3), 0);
}

Test(row, part_of_the_values)
{
	struct row_value values[2];
	struct row row;

	cr_assert(row_init(&row, sample, sizeof(sample)));
	row_values(&row, 2, 2, values);
	cr_assert_eq(values[0].len, 0);
	cr_assert_eq(values[1].len, 3);
	row_values(&row, 4, 0, values);
}

Test(row, offsets)
{
	struct row row;

	cr_assert(row_init(&row, sample, sizeof(sample)));
	cr_assert_eq(row_offset(&row, 0), 2);
	cr_assert_eq(row_offset(&row, 1), 8);
	cr_assert_eq(row_offset(&row, 2), 12);
	cr_assert_eq(row_offset(&row, 3), 16);
	cr_assert_eq(row_offset(&row, 4), sizeof(sample));
}

Test(row, no_fields)
{
	const uint8_t body[] = {0, 0};
	struct row row;

	cr_assert(row_init(&row, body, sizeof(body)));
	cr_assert_eq(row.fields, 0);
	cr_assert_eq(row_offset(&row, 0), 2);
}

Test(row, every_truncation_is_refused)
{
	for (size_t len = 0; len < sizeof(sample); len++)
		cr_assert_not(accepted(sample, len), "%zu bytes", len);
	cr_assert(accepted(sample, sizeof(sample)));
}

Test(row, bytes_left_over_are_refused)
{
	uint8_t longer[sizeof(sample) + 1] = {0};

	memcpy(longer, sample, sizeof(sample));
	cr_assert_not(accepted(longer, sizeof(longer)));
}

Test(row, every_bad_length_is_refused)
{
	static const size_t words[] = {2, 8, 12, 16};
	static const uint32_t lengths[] = {
	    1, 4, 5, 100, 0x7fffffff, 0x80000000, 0xfffffffe, 0xfffffffd, 0xffffff00,
	};

	for (size_t w = 0; w < 4; w++) {
		for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
			uint8_t body[sizeof(sample)];

			memcpy(body, sample, sizeof(sample));
			for (int byte = 0; byte < 4; byte++)
				body[words[w] + (size_t)byte] =
				    (uint8_t)(lengths[i] >> (24 - 8 * byte));
			cr_assert_not(accepted(body, sizeof(body)), "field %zu, %x", w, lengths[i]);
		}
	}
}

Test(row, a_wrong_count_is_refused)
{
	uint8_t body[sizeof(sample)];

	memcpy(body, sample, sizeof(sample));
	for (unsigned count = 0; count <= 0xffff; count++) {
		body[0] = (uint8_t)(count >> 8);
		body[1] = (uint8_t)count;
		cr_assert_eq(accepted(body, sizeof(body)), count == 4);
	}
}
