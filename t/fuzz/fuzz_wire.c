/*
 * Fuzz wire: every reader of messages on the same body, and what replies.c makes of any
 * order of messages. First byte: the reader, or that it is a conversation: pairs of what
 * is sent or comes, and its kind.
 */
#include <assert.h>

#include "proxy/replies.h"
#include "proxy/wire.h"
#include "t/fuzz/fuzz.h"

static unsigned sum; /* so that every byte is read */

static void touch(const void *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += ((const uint8_t *)data)[i];
}

static void read_frame(const uint8_t *body, size_t len)
{
	uint8_t type;
	uint32_t code;
	size_t total;

	if (wire_frame(body, len, &type, &total) == WIRE_FRAME_OK) {
		assert(total >= WIRE_HEADER && type == body[0]);
		assert(!wire_frontend_length_ok(type, total) ||
		       total <= WIRE_LARGE_MESSAGE_MAX + 1);
		touch(wire_frontend_name(type), 1);
		touch(wire_backend_name(type), 1);
	}
	if (wire_frame_startup(body, len, &code, &total) == WIRE_FRAME_OK)
		assert(total >= 8 && total <= WIRE_STARTUP_MAX + 4);
}

static void read_parse(const uint8_t *body, size_t len)
{
	struct wire_parse parse;

	if (!wire_read_parse(body, len, &parse))
		return;
	assert(strlen(parse.query) == parse.query_len);
	touch(parse.statement, strlen(parse.statement));
	touch(parse.types, 4 * (size_t)parse.ntypes);
}

static void read_bind(const uint8_t *body, size_t len)
{
	struct wire_bind bind;

	if (!wire_read_bind(body, len, &bind))
		return;
	touch(bind.portal, strlen(bind.portal));
	touch(bind.statement, strlen(bind.statement));
	touch(bind.middle, bind.middle_len);
	touch(bind.parameters, bind.parameters_len);
	for (unsigned i = 0; i < bind.nparameters; i++) {
		struct wire_value value = wire_bind_value(&bind, i);

		assert(value.len >= -1 && !value.data == (value.len < 0));
		if (value.len > 0)
			touch(value.data, (size_t)value.len);
		if (bind.nparameter_formats <= 1 || i < bind.nparameter_formats)
			sum += wire_format(bind.parameter_formats, bind.nparameter_formats, i);
	}
	touch(bind.result_formats, 2 * (size_t)bind.nresult_formats);
}

static void read_names(const uint8_t *body, size_t len)
{
	const char *name;
	uint32_t rows;
	uint8_t kind;

	if (wire_read_target(body, len, &kind, &name))
		touch(name, strlen(name));
	if (wire_read_execute(body, len, &name, &rows))
		touch(name, strlen(name));
}

static void read_row_description(const uint8_t *body, size_t len)
{
	struct wire_reader fields;
	struct wire_field field;
	int count = wire_read_row_description(body, len, &fields), n = 0;

	while (count >= 0 && wire_read_field(&fields, &field)) {
		touch(field.name, strlen(field.name));
		n++;
	}
	assert(count < 0 || n <= count);
}

static void read_parameters(const uint8_t *body, size_t len)
{
	const uint8_t *types;
	int count = wire_read_parameter_description(body, len, &types);

	if (count > 0)
		touch(types, 4 * (size_t)count);
}

static void read_data_row(const uint8_t *body, size_t len)
{
	struct wire_reader values;
	struct wire_value value;
	int count = wire_read_data_row(body, len, &values), n = 0;

	while (count >= 0 && wire_read_value(&values, &value)) {
		if (value.len > 0)
			touch(value.data, (size_t)value.len);
		n++;
	}
	assert(count < 0 || n <= count);
}

static void read_error(const uint8_t *body, size_t len)
{
	static const char codes[] = "SVCMDHPW";
	bool valid = wire_error_valid(body, len);

	for (size_t i = 0; i < sizeof(codes) - 1; i++) {
		const char *text = wire_error_field(body, len, codes[i]);

		if (text)
			touch(text, strlen(text));
		assert(valid || !text || (const uint8_t *)text < body + len);
	}
}

/* The same entries are popped as were put in, and drained means drained. */
static void converse(const uint8_t *data, size_t size)
{
	struct replies replies;
	enum reply answered;

	replies_init(&replies);
	for (size_t i = 0; i + 1 < size; i += 2) {
		if (data[i] & 1)
			replies_arrived(&replies, data[i + 1], &answered);
		else if (data[i] & 2)
			replies_copy_ended(&replies);
		else
			replies_expect(&replies, (enum reply)(1 + data[i + 1] % REPLY_QUERY),
			               data[i] & 4);
		assert(replies.syncs <= replies.count && replies.count <= replies.cap);
		assert(replies_drained(&replies) == (replies.count == 0));
		assert(!replies_idle(&replies) || replies_drained(&replies));
	}
	replies_fini(&replies);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[])(const uint8_t *, size_t) = {
	    read_frame,      read_parse,    read_bind,  read_names, read_row_description,
	    read_parameters, read_data_row, read_error, converse,
	};
	uint8_t *body;

	if (size == 0)
		return 0;
	body = fuzz_copy(data + 1, size - 1);
	readers[data[0] % (sizeof(readers) / sizeof(readers[0]))](body, size - 1);
	free(body);
	return 0;
}
