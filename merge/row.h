/*
 * Row: a view of one DataRow message's body as a shard wrote it.
 *
 * Owns nothing: the bytes stay where they are. Every access checks the lengths
 * that the peer wrote; a body that does not add up is refused by row_init().
 * Format: PostgreSQL manual, "Message Formats", DataRow.
 */
#ifndef MERGE_ROW_H
#define MERGE_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct row {
	const uint8_t *body; /* Int16 count, then per field Int32 length and bytes */
	size_t len;
	unsigned fields;
};

/* One field's value; len is -1 and data NULL for SQL NULL. */
struct row_value {
	const uint8_t *data;
	int32_t len;
};

/* False if the body is malformed: lengths that do not add up exactly. */
bool row_init(struct row *row, const uint8_t *body, size_t len);

/*
 * Reads `count` fields from field number `first` (0-based) on into values.
 * Needs first + count <= row->fields.
 */
void row_values(const struct row *row, unsigned first, unsigned count, struct row_value *values);

/* Offset in body of the first byte of field number `field`'s length word
 * (== len when field == fields). The visible part of a row that carries hidden
 * last columns is body[2 .. row_offset(visible)). */
size_t row_offset(const struct row *row, unsigned field);

#endif
