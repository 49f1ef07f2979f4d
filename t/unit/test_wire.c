/*
 * Wire, reading: framing and every message that has a reader; each truncated at
 * every byte, each with every length and count wrong, input cut at each byte.
 * Bytes are copied to allocations of their exact length, so that the sanitizer
 * sees any read behind the end.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/wire.h"

#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

static uint8_t *copy_of(const uint8_t *body, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	cr_assert_not_null(copy);
	memcpy(copy, body, len);
	return copy;
}

/* ---- readers, all seen as one kind of function ---- */

static bool read_parse(const uint8_t *body, size_t len)
{
	struct wire_parse parse;

	if (!wire_read_parse(body, len, &parse))
		return false;
	cr_assert_eq(strlen(parse.query), parse.query_len);
	for (unsigned i = 0; i < parse.ntypes; i++)
		(void)wire_u32(parse.types + 4 * i);
	return true;
}

static bool read_bind(const uint8_t *body, size_t len)
{
	struct wire_bind bind;

	if (!wire_read_bind(body, len, &bind))
		return false;
	for (unsigned i = 0; i < bind.nparameters; i++) {
		struct wire_value value = wire_bind_value(&bind, i);

		(void)wire_format(bind.parameter_formats, bind.nparameter_formats, i);
		cr_assert_eq(value.len == -1, value.data == NULL);
	}
	for (unsigned i = 0; i < bind.nresult_formats + 2; i++)
		(void)wire_format(bind.result_formats, bind.nresult_formats, i);
	return true;
}

static bool read_target(const uint8_t *body, size_t len)
{
	const char *name;
	uint8_t kind;

	return wire_read_target(body, len, &kind, &name);
}

static bool read_execute(const uint8_t *body, size_t len)
{
	const char *portal;
	uint32_t max_rows;

	return wire_read_execute(body, len, &portal, &max_rows);
}

static bool read_row_description(const uint8_t *body, size_t len)
{
	struct wire_reader fields;
	struct wire_field field;
	int count = wire_read_row_description(body, len, &fields);

	if (count < 0)
		return false;
	while (count-- > 0)
		cr_assert(wire_read_field(&fields, &field));
	cr_assert_not(wire_read_field(&fields, &field));
	return wire_read_done(&fields);
}

static bool read_parameter_description(const uint8_t *body, size_t len)
{
	const uint8_t *types;
	int count = wire_read_parameter_description(body, len, &types);

	for (int i = 0; i < count; i++)
		(void)wire_u32(types + 4 * i);
	return count >= 0;
}

static bool read_data_row(const uint8_t *body, size_t len)
{
	struct wire_reader values;
	struct wire_value value;
	int count = wire_read_data_row(body, len, &values);

	if (count < 0)
		return false;
	while (count-- > 0)
		cr_assert(wire_read_value(&values, &value));
	cr_assert_not(wire_read_value(&values, &value));
	return wire_read_done(&values);
}

static const struct message {
	const char *name;
	bool (*read)(const uint8_t *body, size_t len);
	const uint8_t *body;
	size_t len;
	size_t lengths[8]; /* offsets of words that say how much follows, up to a 0 */
	size_t width[8];
} messages[] = {
    {"Parse", read_parse, BYTES("s1\0SELECT $1\0\0\2\0\0\0\x19\0\0\2\xbd"), {13}, {2}},
    {"Parse unnamed", read_parse, BYTES("\0\0\0\0"), {2}, {2}},
    {"Bind",
     read_bind,
     BYTES("p\0s\0\0\2\0\0\0\1\0\2\0\0\0\2[]\xff\xff\xff\xff\0\3\0\0\0\1\0\0"),
     {4, 10, 12, 22},
     {2, 2, 4, 2}},
    {"Bind empty", read_bind, BYTES("\0\0\0\0\0\0\0\0"), {2, 4, 6}, {2, 2, 2}},
    {"Bind one format",
     read_bind,
     BYTES("\0\0\0\1\0\1\0\1\0\0\0\0\0\1\0\1"),
     {6, 8, 12},
     {2, 4, 2}},
    {"Describe", read_target, BYTES("Sname\0"), {0}, {0}},
    {"Close", read_target, BYTES("P\0"), {0}, {0}},
    {"Execute", read_execute, BYTES("portal\0\0\0\0\x64"), {0}, {0}},
    {"RowDescription",
     read_row_description,
     BYTES("\0\2id\0\0\0\x40\0\0\1\0\0\0\x14\0\x8\xff\xff\xff\xff\0\0"
           "\0\0\0\0\0\0\0\0\0\2\xbd\xff\xff\0\0\0\x64\0\1"),
     {0},
     {0}},
    {"ParameterDescription", read_parameter_description, BYTES("\0\1\0\0\2\xbd"), {0}, {0}},
    {"DataRow", read_data_row, BYTES("\0\3\0\0\0\1x\xff\xff\xff\xff\0\0\0\0"), {2, 11}, {4, 4}},
    {"DataRow without fields", read_data_row, BYTES("\0\0"), {0}, {0}},
    {"ErrorResponse", wire_error_valid, BYTES("SERROR\0C42P01\0Mno\0\0"), {0}, {0}},
    {"NoticeResponse empty", wire_error_valid, BYTES("\0"), {0}, {0}},
};
#define NMESSAGES (sizeof(messages) / sizeof(messages[0]))

static bool accepts(const struct message *message, const uint8_t *body, size_t len)
{
	uint8_t *copy = copy_of(body, len);
	bool ok = message->read(copy, len);

	free(copy);
	return ok;
}

Test(wire, every_message_is_read)
{
	for (size_t i = 0; i < NMESSAGES; i++)
		cr_assert(accepts(&messages[i], messages[i].body, messages[i].len), "%s",
		          messages[i].name);
}

Test(wire, every_truncation_is_refused)
{
	for (size_t i = 0; i < NMESSAGES; i++)
		for (size_t len = 0; len < messages[i].len; len++)
			cr_assert_not(accepts(&messages[i], messages[i].body, len), "%s at %zu",
			              messages[i].name, len);
}

Test(wire, bytes_left_over_are_refused)
{
	for (size_t i = 0; i < NMESSAGES; i++) {
		uint8_t longer[256] = {0};

		for (int byte = 0; byte <= 0xff; byte++) {
			memcpy(longer, messages[i].body, messages[i].len);
			longer[messages[i].len] = (uint8_t)byte;
			cr_assert_not(accepts(&messages[i], longer, messages[i].len + 1), "%s %x",
			              messages[i].name, byte);
		}
	}
}

static void check_lengths(const struct message *message, size_t at, size_t width)
{
	static const uint32_t wrong[] = {
	    0,          1,          2,          3,          4,          5,       7,
	    8,          100,        0x7fff,     0x8000,     0xffff,     0x10000, 0x3fffffff,
	    0x7fffffff, 0x80000000, 0xfffffffe, 0xfffffffd, 0xffff0000,
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		uint8_t body[256];

		memcpy(body, message->body, message->len);
		for (size_t byte = 0; byte < width; byte++)
			body[at + byte] = (uint8_t)(wrong[i] >> (8 * (width - 1 - byte)));
		if (memcmp(body, message->body, message->len) == 0)
			continue;
		cr_assert_not(accepts(message, body, message->len), "%s at %zu: %x", message->name,
		              at, wrong[i]);
	}
}

Test(wire, every_bad_length_and_count_is_refused)
{
	for (size_t i = 0; i < NMESSAGES; i++)
		for (int j = 0; j < 8 && messages[i].width[j] > 0; j++)
			check_lengths(&messages[i], messages[i].lengths[j], messages[i].width[j]);
	/* Counts that open the message. */
	for (size_t i = 0; i < NMESSAGES; i++) {
		if (strstr(messages[i].name, "Description") || strstr(messages[i].name, "DataRow"))
			check_lengths(&messages[i], 0, 2);
	}
}

/* Whatever single byte is wrong: refused or read, never out of bounds. */
Test(wire, any_byte_changed)
{
	for (size_t i = 0; i < NMESSAGES; i++) {
		uint8_t body[256];

		for (size_t at = 0; at < messages[i].len; at++) {
			memcpy(body, messages[i].body, messages[i].len);
			for (int byte = 0; byte <= 0xff; byte++) {
				body[at] = (uint8_t)byte;
				(void)accepts(&messages[i], body, messages[i].len);
			}
		}
	}
}

Test(wire, random_bytes, .timeout = 30)
{
	srand(11);
	for (int round = 0; round < 100000; round++) {
		uint8_t body[64];
		size_t len = (size_t)rand() % sizeof(body);

		/* Small numbers and NULs often: those get further. */
		for (size_t i = 0; i < len; i++)
			body[i] = (uint8_t)(rand() % 3 ? rand() % 3 : rand());
		(void)accepts(&messages[rand() % (int)NMESSAGES], body, len);
	}
}

/* ---- what is read ---- */

Test(wire, parse_fields)
{
	struct wire_parse parse;

	cr_assert(wire_read_parse(messages[0].body, messages[0].len, &parse));
	cr_assert_str_eq(parse.statement, "s1");
	cr_assert_str_eq(parse.query, "SELECT $1");
	cr_assert_eq(parse.query_len, 9);
	cr_assert_eq(parse.ntypes, 2);
	cr_assert_eq(wire_u32(parse.types), 25);
	cr_assert_eq(wire_u32(parse.types + 4), 701);
}

Test(wire, bind_fields)
{
	struct wire_bind bind;
	struct wire_value value;

	cr_assert(wire_read_bind(messages[2].body, messages[2].len, &bind));
	cr_assert_str_eq(bind.portal, "p");
	cr_assert_str_eq(bind.statement, "s");
	cr_assert_eq(bind.nparameters, 2);
	cr_assert_eq(bind.parameters_len, 10);
	value = wire_bind_value(&bind, 0);
	cr_assert_eq(value.len, 2);
	cr_assert_eq(memcmp(value.data, "[]", 2), 0);
	value = wire_bind_value(&bind, 1);
	cr_assert_eq(value.len, -1);
	cr_assert_null(value.data);
	cr_assert_eq(wire_format(bind.parameter_formats, bind.nparameter_formats, 0), 0);
	cr_assert_eq(wire_format(bind.parameter_formats, bind.nparameter_formats, 1), 1);
	cr_assert_eq(bind.nresult_formats, 3);
	cr_assert_eq(wire_format(bind.result_formats, 3, 1), 1);
	cr_assert_eq(wire_format(bind.result_formats, 3, 2), 0);
	cr_assert_eq(wire_format(bind.result_formats, 3, 3), 0);
}

Test(wire, formats_none_one_or_each)
{
	static const uint8_t formats[] = {0, 1, 0, 0};

	cr_assert_eq(wire_format(NULL, 0, 0), 0);
	cr_assert_eq(wire_format(NULL, 0, 7), 0);
	cr_assert_eq(wire_format(formats, 1, 0), 1);
	cr_assert_eq(wire_format(formats, 1, 7), 1);
	cr_assert_eq(wire_format(formats, 2, 0), 1);
	cr_assert_eq(wire_format(formats, 2, 1), 0);
}

Test(wire, bind_with_formats_that_do_not_match_its_parameters)
{
	struct wire_bind bind;

	cr_assert_not(wire_read_bind(BYTES("\0\0\0\2\0\1\0\1\0\0\0\0"), &bind));
	cr_assert(wire_read_bind(BYTES("\0\0\0\1\0\1\0\0\0\0"), &bind));
}

Test(wire, target_kinds)
{
	for (int kind = 0; kind <= 0xff; kind++) {
		uint8_t body[] = {(uint8_t)kind, 'n', 0};

		cr_assert_eq(read_target(body, sizeof(body)), kind == 'S' || kind == 'P');
	}
}

Test(wire, execute_fields)
{
	const char *portal;
	uint32_t max_rows;

	cr_assert(wire_read_execute(BYTES("c1\0\0\0\1\2"), &portal, &max_rows));
	cr_assert_str_eq(portal, "c1");
	cr_assert_eq(max_rows, 258);
}

Test(wire, row_description_fields)
{
	struct wire_reader fields;
	struct wire_field field;

	cr_assert_eq(wire_read_row_description(messages[8].body, messages[8].len, &fields), 2);
	cr_assert(wire_read_field(&fields, &field));
	cr_assert_str_eq(field.name, "id");
	cr_assert_eq(field.table_oid, 16384);
	cr_assert_eq(field.attnum, 1);
	cr_assert_eq(field.type_oid, 20);
	cr_assert_eq(field.type_len, 8);
	cr_assert_eq(field.type_mod, -1);
	cr_assert_eq(field.format, 0);
	cr_assert(wire_read_field(&fields, &field));
	cr_assert_str_eq(field.name, "");
	cr_assert_eq(field.type_len, -1);
	cr_assert_eq(field.type_mod, 100);
	cr_assert_eq(field.format, 1);
	cr_assert_not(wire_read_field(&fields, &field));
}

Test(wire, error_fields)
{
	const uint8_t *body = messages[12].body;
	size_t len = messages[12].len;

	cr_assert_str_eq(wire_error_field(body, len, 'S'), "ERROR");
	cr_assert_str_eq(wire_error_field(body, len, 'C'), "42P01");
	cr_assert_str_eq(wire_error_field(body, len, 'M'), "no");
	cr_assert_null(wire_error_field(body, len, 'D'));
	cr_assert_null(wire_error_field(body, 4, 'S'), "a field without its NUL");
	cr_assert_null(wire_error_field(body, 0, 'S'));
	cr_assert_null(wire_error_field(NULL, 0, 'S'));
}

Test(wire, a_reader_that_went_bad_stays_so)
{
	struct wire_reader reader;

	wire_read_init(&reader, BYTES("\1\2\3"));
	cr_assert_eq(wire_read_u32(&reader), 0);
	cr_assert(reader.bad);
	cr_assert_eq(wire_read_u8(&reader), 0);
	cr_assert_eq(wire_read_u16(&reader), 0);
	cr_assert_str_eq(wire_read_string(&reader), "");
	cr_assert_null(wire_read_bytes(&reader, 0));
	cr_assert_not(wire_read_done(&reader));
	wire_read_init(&reader, NULL, 0);
	cr_assert(wire_read_done(&reader));
	cr_assert_str_eq(wire_read_string(&reader), "");
	cr_assert_not(wire_read_done(&reader));
	wire_read_init(&reader, BYTES("ab"));
	cr_assert_null(wire_read_bytes(&reader, SIZE_MAX));
}

Test(wire, names)
{
	cr_assert_str_eq(wire_frontend_name('Q'), "Query");
	cr_assert_str_eq(wire_frontend_name('D'), "Describe");
	cr_assert_str_eq(wire_backend_name('D'), "DataRow");
	cr_assert_str_eq(wire_backend_name('Z'), "ReadyForQuery");
	cr_assert_str_eq(wire_frontend_name('Z'), "unknown");
	cr_assert_str_eq(wire_backend_name(0), "unknown");
}

/* ---- framing ---- */

Test(wire, frame_needs_its_header)
{
	uint8_t type;
	size_t total;

	for (size_t len = 0; len < 5; len++) {
		uint8_t *copy = copy_of((const uint8_t *)"Q\0\0\0\4", len);

		cr_assert_eq(wire_frame(copy, len, &type, &total), WIRE_FRAME_MORE);
		free(copy);
	}
	cr_assert_eq(wire_frame(BYTES("Q\0\0\0\4"), &type, &total), WIRE_FRAME_OK);
	cr_assert_eq(type, 'Q');
	cr_assert_eq(total, 5);
	cr_assert_eq(wire_frame(BYTES("D\0\1\0\0abc"), &type, &total), WIRE_FRAME_OK);
	cr_assert_eq(total, 65537);
}

Test(wire, frame_lengths_that_cannot_be)
{
	static const uint8_t bad[][5] = {
	    {'D', 0, 0, 0, 0},    {'D', 0, 0, 0, 3},
	    {'D', 0x40, 0, 0, 4}, {'D', 0x7f, 0xff, 0xff, 0xff},
	    {'D', 0x80, 0, 0, 0}, {'D', 0xff, 0xff, 0xff, 0xff},
	};
	static const uint8_t largest[] = {'D', 0x40, 0, 0, 3};
	uint8_t type;
	size_t total;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(wire_frame(bad[i], 5, &type, &total), WIRE_FRAME_BAD);
	cr_assert_eq(wire_frame(largest, 5, &type, &total), WIRE_FRAME_OK);
	cr_assert_eq(total, 0x40000004u);
}

Test(wire, frontend_lengths_are_those_of_postgresql)
{
	for (int type = 0; type <= 0xff; type++) {
		uint8_t byte = (uint8_t)type;
		size_t max = 0;

		if (type != 0 && strchr("QFBPd", type))
			max = WIRE_LARGE_MESSAGE_MAX;
		else if (type != 0 && strchr("CDEHSXcf", type))
			max = WIRE_SMALL_MESSAGE_MAX;
		else if (type == 'p')
			max = 65535;
		cr_assert_not(wire_frontend_length_ok(byte, 4));
		cr_assert_eq(wire_frontend_length_ok(byte, 5), max > 0, "%x", byte);
		cr_assert_eq(wire_frontend_length_ok(byte, max + 1), max > 0);
		cr_assert_not(wire_frontend_length_ok(byte, max + 2));
		cr_assert_not(wire_frontend_length_ok(byte, SIZE_MAX));
	}
}

Test(wire, startup_frames)
{
	static const uint8_t startup[] = "\0\0\0\x10\0\3\0\0user\0x\0";
	uint32_t code;
	size_t total;

	for (size_t len = 0; len < 8; len++) {
		uint8_t *copy = copy_of(startup, len);

		cr_assert_eq(wire_frame_startup(copy, len, &code, &total), WIRE_FRAME_MORE);
		free(copy);
	}
	cr_assert_eq(wire_frame_startup(startup, 8, &code, &total), WIRE_FRAME_OK);
	cr_assert_eq(total, 16);
	cr_assert_eq(WIRE_PROTOCOL_MAJOR(code), 3);
	cr_assert_eq(wire_frame_startup(BYTES("\0\0\0\x8\x4\xd2\x16\x2f"), &code, &total),
	             WIRE_FRAME_OK);
	cr_assert_eq(code, WIRE_CODE_SSL);
	/* Told from four bytes: too short, too long, a TLS hello, an HTTP request. */
	cr_assert_eq(wire_frame_startup(BYTES("\0\0\0\7"), &code, &total), WIRE_FRAME_BAD);
	cr_assert_eq(wire_frame_startup(BYTES("\0\0\x27\x15"), &code, &total), WIRE_FRAME_BAD);
	cr_assert_eq(wire_frame_startup(BYTES("\x16\3\1\2"), &code, &total), WIRE_FRAME_BAD);
	cr_assert_eq(wire_frame_startup(BYTES("GET "), &code, &total), WIRE_FRAME_BAD);
	cr_assert_eq(wire_frame_startup(BYTES("\xff\xff\xff\xff"), &code, &total), WIRE_FRAME_BAD);
	cr_assert_eq(wire_frame_startup(BYTES("\0\0\x27\x14\0\3\0\0"), &code, &total),
	             WIRE_FRAME_OK, "10000 bytes after the length word are allowed");
}
