/*
 * Wire, writing: every writer's bytes, that they frame and read back, and that a
 * stream of messages cut at each byte gives the same messages.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/wire.h"

#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

static void expect(struct iobuf *out, const uint8_t *bytes, size_t len)
{
	cr_assert_eq(iobuf_len(out), len);
	cr_assert_eq(memcmp(iobuf_head(out), bytes, len), 0);
	iobuf_consume(out, len);
}

/* The message at the head: its body, when it is there whole. */
static const uint8_t *body_of(const struct iobuf *out, uint8_t type, size_t *len)
{
	uint8_t found;
	size_t total;

	cr_assert_eq(wire_frame(iobuf_head(out), iobuf_len(out), &found, &total), WIRE_FRAME_OK);
	cr_assert_eq(found, type);
	cr_assert_leq(total, iobuf_len(out));
	*len = total - WIRE_HEADER;
	return iobuf_head(out) + WIRE_HEADER;
}

Test(wire_write, frontend_bytes)
{
	static const uint32_t types[] = {25, 701};
	struct iobuf out;

	iobuf_init(&out);
	wire_put_query(&out, "SELECT 1");
	expect(&out, BYTES("Q\0\0\0\x0dSELECT 1\0"));
	wire_put_parse(&out, "s", "SELECT $1 and more", 9, 2, types);
	expect(&out, BYTES("P\0\0\0\x1a"
	                   "s\0SELECT $1\0\0\2\0\0\0\x19\0\0\2\xbd"));
	wire_put_parse(&out, "", "", 0, 0, NULL);
	expect(&out, BYTES("P\0\0\0\x8\0\0\0\0"));
	wire_put_describe(&out, 'S', "s");
	expect(&out, BYTES("D\0\0\0\7Ss\0"));
	wire_put_close(&out, 'P', "");
	expect(&out, BYTES("C\0\0\0\6P\0"));
	wire_put_execute(&out, "", 258);
	expect(&out, BYTES("E\0\0\0\x9\0\0\0\1\2"));
	wire_put_bare(&out, WIRE_FE_Sync);
	expect(&out, BYTES("S\0\0\0\4"));
	wire_put_cancel(&out, 7, BYTES("\1\2\3\4"));
	expect(&out, BYTES("\0\0\0\x10\x4\xd2\x16\x2e\0\0\0\7\1\2\3\4"));
	iobuf_fini(&out);
}

Test(wire_write, backend_bytes)
{
	struct wire_error error = {"ERROR", "22023", "bad value", NULL, NULL};
	struct iobuf out;

	iobuf_init(&out);
	wire_put_ready_for_query(&out, 'T');
	expect(&out, BYTES("Z\0\0\0\5T"));
	wire_put_command_complete(&out, "SELECT 10");
	expect(&out, BYTES("C\0\0\0\x0eSELECT 10\0"));
	wire_put_bare(&out, WIRE_BE_ParseComplete);
	expect(&out, BYTES("1\0\0\0\4"));
	wire_put_error(&out, WIRE_BE_ErrorResponse, &error);
	expect(&out, BYTES("E\0\0\0\x25SERROR\0VERROR\0C22023\0Mbad value\0\0"));
	error.detail = "d";
	error.hint = "h";
	error.severity = "WARNING";
	wire_put_error(&out, WIRE_BE_NoticeResponse, &error);
	expect(&out, BYTES("N\0\0\0\x2fSWARNING\0VWARNING\0C22023\0Mbad value\0Dd\0Hh\0\0"));
	iobuf_fini(&out);
}

Test(wire_write, what_is_written_reads_back)
{
	static const uint32_t types[] = {UINT32_MAX, 0};
	struct wire_error error = {"FATAL", "57P01", "message", "detail", "hint"};
	struct wire_parse parse;
	struct iobuf out;
	const uint8_t *body;
	const char *name;
	uint32_t max_rows;
	uint8_t kind;
	size_t len;

	iobuf_init(&out);
	wire_put_parse(&out, "name", "SELECT 1", 8, 2, types);
	body = body_of(&out, WIRE_FE_Parse, &len);
	cr_assert(wire_read_parse(body, len, &parse));
	cr_assert_str_eq(parse.statement, "name");
	cr_assert_str_eq(parse.query, "SELECT 1");
	cr_assert_eq(wire_u32(parse.types), UINT32_MAX);
	iobuf_consume(&out, len + WIRE_HEADER);
	wire_put_close(&out, 'S', "name");
	body = body_of(&out, WIRE_FE_Close, &len);
	cr_assert(wire_read_target(body, len, &kind, &name));
	cr_assert_str_eq(name, "name");
	iobuf_consume(&out, len + WIRE_HEADER);
	wire_put_execute(&out, "portal", UINT32_MAX);
	body = body_of(&out, WIRE_FE_Execute, &len);
	cr_assert(wire_read_execute(body, len, &name, &max_rows));
	cr_assert_eq(max_rows, UINT32_MAX);
	iobuf_consume(&out, len + WIRE_HEADER);
	wire_put_error(&out, WIRE_BE_ErrorResponse, &error);
	body = body_of(&out, WIRE_BE_ErrorResponse, &len);
	cr_assert(wire_error_valid(body, len));
	cr_assert_str_eq(wire_error_field(body, len, 'V'), "FATAL");
	cr_assert_str_eq(wire_error_field(body, len, 'D'), "detail");
	cr_assert_str_eq(wire_error_field(body, len, 'H'), "hint");
	iobuf_fini(&out);
}

/* A block's mark is an offset among the unread bytes: the buffer may move or
 * grow while the block is open. */
Test(wire_write, blocks_survive_a_move_of_the_buffer)
{
	struct iobuf out;
	size_t mark;
	size_t len;

	iobuf_init(&out);
	for (int i = 0; i < 1000; i++)
		wire_put_u8(&out, 'x');
	iobuf_consume(&out, 999);
	mark = wire_begin(&out, WIRE_FE_CopyData);
	for (uint32_t i = 0; i < 10000; i++)
		wire_put_u32(&out, i);
	wire_end(&out, mark);
	cr_assert_eq(*iobuf_head(&out), 'x');
	iobuf_consume(&out, 1);
	cr_assert_eq(wire_u32(body_of(&out, WIRE_FE_CopyData, &len) + 4 * 9999), 9999);
	cr_assert_eq(len, 40000);
	iobuf_fini(&out);
}

static void put_stream(struct iobuf *out)
{
	struct wire_error error = {"ERROR", "XX000", "text", "detail", NULL};

	wire_put_bare(out, WIRE_BE_ParseComplete);
	wire_put_bare(out, WIRE_BE_BindComplete);
	for (int i = 0; i < 5; i++) {
		size_t mark = wire_begin(out, WIRE_BE_DataRow);

		wire_put_u16(out, 1);
		wire_put_u32(out, (uint32_t)(i * 10));
		for (int j = 0; j < i * 10; j++)
			wire_put_u8(out, (uint8_t)j);
		wire_end(out, mark);
	}
	wire_put_command_complete(out, "SELECT 5");
	wire_put_error(out, WIRE_BE_ErrorResponse, &error);
	wire_put_ready_for_query(out, 'E');
}

/* Takes every whole message off the head of in; their bytes go to out. */
static unsigned take_messages(struct iobuf *in, struct iobuf *out)
{
	unsigned count = 0;

	for (;;) {
		uint8_t type;
		size_t total;

		if (wire_frame(iobuf_head(in), iobuf_len(in), &type, &total) != WIRE_FRAME_OK ||
		    total > iobuf_len(in))
			return count;
		wire_put_bytes(out, iobuf_head(in), total);
		iobuf_consume(in, total);
		count++;
	}
}

Test(wire_write, a_stream_cut_at_each_byte)
{
	struct iobuf stream;

	iobuf_init(&stream);
	put_stream(&stream);
	for (size_t cut = 0; cut <= iobuf_len(&stream); cut++) {
		struct iobuf in;
		struct iobuf out;
		unsigned count;

		iobuf_init(&in);
		iobuf_init(&out);
		wire_put_bytes(&in, iobuf_head(&stream), cut);
		count = take_messages(&in, &out);
		wire_put_bytes(&in, iobuf_head(&stream) + cut, iobuf_len(&stream) - cut);
		count += take_messages(&in, &out);
		cr_assert_eq(count, 10);
		cr_assert_eq(iobuf_len(&in), 0);
		expect(&out, iobuf_head(&stream), iobuf_len(&stream));
		iobuf_fini(&in);
		iobuf_fini(&out);
	}
	iobuf_fini(&stream);
}

Test(wire_write, a_stream_byte_by_byte)
{
	struct iobuf stream;
	struct iobuf in;
	struct iobuf out;
	unsigned count = 0;

	iobuf_init(&stream);
	iobuf_init(&in);
	iobuf_init(&out);
	put_stream(&stream);
	for (size_t i = 0; i < iobuf_len(&stream); i++) {
		wire_put_u8(&in, iobuf_head(&stream)[i]);
		count += take_messages(&in, &out);
	}
	cr_assert_eq(count, 10);
	expect(&out, iobuf_head(&stream), iobuf_len(&stream));
	iobuf_fini(&stream);
	iobuf_fini(&in);
	iobuf_fini(&out);
}
