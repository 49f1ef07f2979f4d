/*
 * Wire: see wire.h.
 *
 * In three parts: framing, readers, writers. A reader that returns true has
 * checked the whole message, so what it points at can be walked afterwards
 * without looking at its lengths again.
 */
#include "proxy/wire.h"

#include <assert.h>
#include <string.h>

/* A backend's buffer holds less than 1 GB (MaxAllocSize); the length word adds itself. */
#define FRAME_LENGTH_MAX (0x3fffffffu + 4)
/* PG_MAX_AUTH_TOKEN_LENGTH: no password, SASL or GSS token is longer. */
#define PASSWORD_MESSAGE_MAX 65535

const char *wire_frontend_name(uint8_t type)
{
	switch (type) {
#define FRONTEND(name, byte)                                                                       \
	case byte:                                                                                 \
		return #name;
#define BACKEND(name, byte)
#include "proxy/messages.def"
#undef FRONTEND
#undef BACKEND
	}
	return "unknown";
}

const char *wire_backend_name(uint8_t type)
{
	switch (type) {
#define FRONTEND(name, byte)
#define BACKEND(name, byte)                                                                        \
	case byte:                                                                                 \
		return #name;
#include "proxy/messages.def"
#undef FRONTEND
#undef BACKEND
	}
	return "unknown";
}

uint16_t wire_u16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

uint32_t wire_u32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* ---- framing ---- */

enum wire_frame wire_frame(const uint8_t *data, size_t len, uint8_t *type, size_t *total)
{
	uint32_t length;

	if (len < WIRE_HEADER)
		return WIRE_FRAME_MORE;
	length = wire_u32(data + 1);
	if (length < 4 || length > FRAME_LENGTH_MAX)
		return WIRE_FRAME_BAD;
	*type = data[0];
	*total = 1 + (size_t)length;
	return WIRE_FRAME_OK;
}

bool wire_frontend_length_ok(uint8_t type, size_t total)
{
	size_t max;

	switch (type) {
	case WIRE_FE_Query:
	case WIRE_FE_FunctionCall:
	case WIRE_FE_Bind:
	case WIRE_FE_Parse:
	case WIRE_FE_CopyData:
		max = WIRE_LARGE_MESSAGE_MAX;
		break;
	case WIRE_FE_Close:
	case WIRE_FE_Describe:
	case WIRE_FE_Execute:
	case WIRE_FE_Flush:
	case WIRE_FE_Sync:
	case WIRE_FE_Terminate:
	case WIRE_FE_CopyDone:
	case WIRE_FE_CopyFail:
		max = WIRE_SMALL_MESSAGE_MAX;
		break;
	case WIRE_FE_Password:
		max = PASSWORD_MESSAGE_MAX;
		break;
	default:
		return false;
	}
	return total >= WIRE_HEADER && total - 1 <= max;
}

bool wire_backend_length_ok(uint8_t type, size_t total)
{
	switch (type) {
	case WIRE_BE_ReadyForQuery:
		return total == WIRE_HEADER + 1;
	case WIRE_BE_Authentication:
		return total >= WIRE_HEADER + 4 && total <= WIRE_AUTHENTICATION_MAX;
	case WIRE_BE_BackendKeyData:
		return total > WIRE_HEADER + 4 && total <= WIRE_HEADER + 4 + WIRE_KEY_MAX;
	case WIRE_BE_CommandComplete:
		return total <= WIRE_SMALL_MESSAGE_MAX;
	default:
		return true;
	}
}

enum wire_frame wire_frame_startup(const uint8_t *data, size_t len, uint32_t *code, size_t *total)
{
	uint32_t length;

	if (len < 4)
		return WIRE_FRAME_MORE;
	length = wire_u32(data);
	/* The limit is on what follows the length word, as in ProcessStartupPacket(). */
	if (length < 8 || length > WIRE_STARTUP_MAX + 4)
		return WIRE_FRAME_BAD;
	if (len < 8)
		return WIRE_FRAME_MORE;
	*code = wire_u32(data + 4);
	*total = length;
	return WIRE_FRAME_OK;
}

/* ---- reading ---- */

void wire_read_init(struct wire_reader *reader, const uint8_t *body, size_t len)
{
	reader->at = body;
	reader->end = len == 0 ? body : body + len;
	reader->bad = false;
}

static bool wire_read_has(struct wire_reader *reader, size_t len)
{
	if (!reader->bad && (size_t)(reader->end - reader->at) >= len)
		return true;
	reader->bad = true;
	return false;
}

uint8_t wire_read_u8(struct wire_reader *reader)
{
	if (!wire_read_has(reader, 1))
		return 0;
	return *reader->at++;
}

uint16_t wire_read_u16(struct wire_reader *reader)
{
	if (!wire_read_has(reader, 2))
		return 0;
	reader->at += 2;
	return wire_u16(reader->at - 2);
}

uint32_t wire_read_u32(struct wire_reader *reader)
{
	if (!wire_read_has(reader, 4))
		return 0;
	reader->at += 4;
	return wire_u32(reader->at - 4);
}

const char *wire_read_string(struct wire_reader *reader)
{
	const uint8_t *start = reader->at;
	const uint8_t *nul;

	if (!wire_read_has(reader, 1))
		return "";
	nul = memchr(start, 0, (size_t)(reader->end - start));
	if (nul == NULL) {
		reader->bad = true;
		return "";
	}
	reader->at = nul + 1;
	return (const char *)start;
}

const uint8_t *wire_read_bytes(struct wire_reader *reader, size_t len)
{
	const uint8_t *start = reader->at;

	if (!wire_read_has(reader, len))
		return NULL;
	if (len > 0)
		reader->at += len;
	return start;
}

bool wire_read_done(const struct wire_reader *reader)
{
	return !reader->bad && reader->at == reader->end;
}

bool wire_read_parse(const uint8_t *body, size_t len, struct wire_parse *parse)
{
	struct wire_reader reader;

	wire_read_init(&reader, body, len);
	parse->statement = wire_read_string(&reader);
	parse->query = wire_read_string(&reader);
	parse->query_len = reader.bad ? 0 : (size_t)(reader.at - (const uint8_t *)parse->query) - 1;
	parse->ntypes = wire_read_u16(&reader);
	parse->types = wire_read_bytes(&reader, (size_t)parse->ntypes * 4);
	return wire_read_done(&reader);
}

bool wire_read_bind(const uint8_t *body, size_t len, struct wire_bind *bind)
{
	struct wire_reader reader;
	struct wire_value value;

	wire_read_init(&reader, body, len);
	bind->portal = wire_read_string(&reader);
	bind->statement = wire_read_string(&reader);
	bind->middle = reader.at;
	bind->nparameter_formats = wire_read_u16(&reader);
	bind->parameter_formats = wire_read_bytes(&reader, (size_t)bind->nparameter_formats * 2);
	bind->nparameters = wire_read_u16(&reader);
	bind->parameters = reader.at;
	for (unsigned i = 0; i < bind->nparameters; i++)
		if (!wire_read_value(&reader, &value))
			return false;
	bind->parameters_len = (size_t)(reader.at - bind->parameters);
	bind->middle_len = (size_t)(reader.at - bind->middle);
	bind->nresult_formats = wire_read_u16(&reader);
	bind->result_formats = wire_read_bytes(&reader, (size_t)bind->nresult_formats * 2);
	/* exec_bind_message() refuses this too; how many result columns there are
	 * is not known here. */
	if (bind->nparameter_formats > 1 && bind->nparameter_formats != bind->nparameters)
		return false;
	return wire_read_done(&reader);
}

struct wire_value wire_bind_value(const struct wire_bind *bind, unsigned i)
{
	struct wire_reader reader;
	struct wire_value value = {0};

	assert(i < bind->nparameters);
	wire_read_init(&reader, bind->parameters, bind->parameters_len);
	do {
		bool ok = wire_read_value(&reader, &value);

		assert(ok); /* wire_read_bind() has been here */
	} while (i-- > 0);
	return value;
}

uint16_t wire_format(const uint8_t *formats, unsigned nformats, unsigned i)
{
	if (nformats == 1)
		return wire_u16(formats);
	/* More columns than codes is an error that PostgreSQL reports; text will do. */
	return i < nformats ? wire_u16(formats + 2 * (size_t)i) : 0;
}

bool wire_read_target(const uint8_t *body, size_t len, uint8_t *kind, const char **name)
{
	struct wire_reader reader;

	wire_read_init(&reader, body, len);
	*kind = wire_read_u8(&reader);
	*name = wire_read_string(&reader);
	return wire_read_done(&reader) && (*kind == 'S' || *kind == 'P');
}

bool wire_read_execute(const uint8_t *body, size_t len, const char **portal, uint32_t *max_rows)
{
	struct wire_reader reader;

	wire_read_init(&reader, body, len);
	*portal = wire_read_string(&reader);
	*max_rows = wire_read_u32(&reader);
	return wire_read_done(&reader);
}

int wire_read_row_description(const uint8_t *body, size_t len, struct wire_reader *fields)
{
	struct wire_reader walk;
	struct wire_field field;
	unsigned count;

	wire_read_init(fields, body, len);
	count = wire_read_u16(fields);
	walk = *fields;
	for (unsigned i = 0; i < count; i++)
		if (!wire_read_field(&walk, &field))
			return -1;
	return wire_read_done(&walk) ? (int)count : -1;
}

bool wire_read_field(struct wire_reader *fields, struct wire_field *field)
{
	if (fields->bad || fields->at == fields->end)
		return false;
	field->name = wire_read_string(fields);
	field->table_oid = wire_read_u32(fields);
	field->attnum = wire_read_u16(fields);
	field->type_oid = wire_read_u32(fields);
	field->type_len = (int16_t)wire_read_u16(fields);
	field->type_mod = (int32_t)wire_read_u32(fields);
	field->format = wire_read_u16(fields);
	return !fields->bad;
}

int wire_read_parameter_description(const uint8_t *body, size_t len, const uint8_t **types)
{
	struct wire_reader reader;
	unsigned count;

	wire_read_init(&reader, body, len);
	count = wire_read_u16(&reader);
	*types = wire_read_bytes(&reader, (size_t)count * 4);
	return wire_read_done(&reader) ? (int)count : -1;
}

int wire_read_data_row(const uint8_t *body, size_t len, struct wire_reader *values)
{
	struct wire_reader walk;
	struct wire_value value;
	unsigned count;

	wire_read_init(values, body, len);
	count = wire_read_u16(values);
	walk = *values;
	for (unsigned i = 0; i < count; i++)
		if (!wire_read_value(&walk, &value))
			return -1;
	return wire_read_done(&walk) ? (int)count : -1;
}

bool wire_read_value(struct wire_reader *values, struct wire_value *value)
{
	int32_t len;

	if (values->bad || values->at == values->end)
		return false;
	len = (int32_t)wire_read_u32(values);
	if (len < -1)
		values->bad = true;
	value->len = len;
	value->data = len < 0 ? NULL : wire_read_bytes(values, (size_t)len);
	return !values->bad;
}

/*
 * Walks an error's fields. With code 0: the end of the last field if all is
 * well formed. Otherwise: that field's text.
 */
static const char *wire_error_walk(const uint8_t *body, size_t len, char code)
{
	struct wire_reader reader;

	wire_read_init(&reader, body, len);
	for (;;) {
		uint8_t found = wire_read_u8(&reader);
		const char *text;

		if (found == 0)
			return code == 0 && wire_read_done(&reader) ? "" : NULL;
		text = wire_read_string(&reader);
		if (reader.bad)
			return NULL;
		if (found == (uint8_t)code)
			return text;
	}
}

const char *wire_error_field(const uint8_t *body, size_t len, char code)
{
	assert(code != 0);
	return wire_error_walk(body, len, code);
}

bool wire_error_valid(const uint8_t *body, size_t len)
{
	return wire_error_walk(body, len, 0) != NULL;
}

bool wire_error_is_surprise(const uint8_t *body, size_t len)
{
	const char *sqlstate = wire_error_field(body, len, 'C');

	return sqlstate && (strncmp(sqlstate, "42", 2) == 0 || strncmp(sqlstate, "XX", 2) == 0);
}

/* ---- writing ---- */

static void wire_store_u32(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 24);
	at[1] = (uint8_t)(value >> 16);
	at[2] = (uint8_t)(value >> 8);
	at[3] = (uint8_t)value;
}

size_t wire_begin(struct iobuf *out, uint8_t type)
{
	size_t mark = iobuf_len(out);

	wire_put_u8(out, type);
	wire_put_u32(out, 0);
	return mark;
}

void wire_end(struct iobuf *out, size_t mark)
{
	size_t len = iobuf_len(out);

	assert(mark <= len && len - mark >= WIRE_HEADER);
	assert(len - mark - 1 <= FRAME_LENGTH_MAX);
	wire_store_u32(out->data + out->head + mark + 1, (uint32_t)(len - mark - 1));
}

void wire_put_u8(struct iobuf *out, uint8_t value)
{
	iobuf_append(out, &value, 1);
}

void wire_put_u16(struct iobuf *out, uint16_t value)
{
	uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value};

	iobuf_append(out, bytes, sizeof(bytes));
}

void wire_put_u32(struct iobuf *out, uint32_t value)
{
	uint8_t bytes[4];

	wire_store_u32(bytes, value);
	iobuf_append(out, bytes, sizeof(bytes));
}

void wire_put_string(struct iobuf *out, const char *text)
{
	iobuf_append(out, text, strlen(text) + 1);
}

void wire_put_bytes(struct iobuf *out, const void *data, size_t len)
{
	iobuf_append(out, data, len);
}

void wire_put_query(struct iobuf *out, const char *sql)
{
	size_t mark = wire_begin(out, WIRE_FE_Query);

	wire_put_string(out, sql);
	wire_end(out, mark);
}

void wire_put_parse(struct iobuf *out, const char *statement, const char *sql, size_t sql_len,
                    unsigned ntypes, const uint32_t *types)
{
	size_t mark = wire_begin(out, WIRE_FE_Parse);

	assert(ntypes <= UINT16_MAX);
	assert(memchr(sql, 0, sql_len) == NULL);
	wire_put_string(out, statement);
	wire_put_bytes(out, sql, sql_len);
	wire_put_u8(out, 0);
	wire_put_u16(out, (uint16_t)ntypes);
	for (unsigned i = 0; i < ntypes; i++)
		wire_put_u32(out, types[i]);
	wire_end(out, mark);
}

static void wire_put_target(struct iobuf *out, uint8_t type, uint8_t kind, const char *name)
{
	size_t mark = wire_begin(out, type);

	assert(kind == 'S' || kind == 'P');
	wire_put_u8(out, kind);
	wire_put_string(out, name);
	wire_end(out, mark);
}

void wire_put_describe(struct iobuf *out, uint8_t kind, const char *name)
{
	wire_put_target(out, WIRE_FE_Describe, kind, name);
}

void wire_put_close(struct iobuf *out, uint8_t kind, const char *name)
{
	wire_put_target(out, WIRE_FE_Close, kind, name);
}

void wire_put_execute(struct iobuf *out, const char *portal, uint32_t max_rows)
{
	size_t mark = wire_begin(out, WIRE_FE_Execute);

	wire_put_string(out, portal);
	wire_put_u32(out, max_rows);
	wire_end(out, mark);
}

void wire_put_bare(struct iobuf *out, uint8_t type)
{
	wire_end(out, wire_begin(out, type));
}

void wire_put_cancel(struct iobuf *out, uint32_t pid, const uint8_t *key, size_t key_len)
{
	assert(key_len <= WIRE_STARTUP_MAX - 8);
	wire_put_u32(out, (uint32_t)(12 + key_len));
	wire_put_u32(out, WIRE_CODE_CANCEL);
	wire_put_u32(out, pid);
	wire_put_bytes(out, key, key_len);
}

void wire_put_ready_for_query(struct iobuf *out, char status)
{
	size_t mark = wire_begin(out, WIRE_BE_ReadyForQuery);

	assert(status == 'I' || status == 'T' || status == 'E');
	wire_put_u8(out, (uint8_t)status);
	wire_end(out, mark);
}

void wire_put_command_complete(struct iobuf *out, const char *tag)
{
	size_t mark = wire_begin(out, WIRE_BE_CommandComplete);

	wire_put_string(out, tag);
	wire_end(out, mark);
}

static void wire_put_error_field(struct iobuf *out, char code, const char *text)
{
	if (text == NULL)
		return;
	wire_put_u8(out, (uint8_t)code);
	wire_put_string(out, text);
}

void wire_put_error(struct iobuf *out, uint8_t type, const struct wire_error *error)
{
	size_t mark = wire_begin(out, type);

	assert(type == WIRE_BE_ErrorResponse || type == WIRE_BE_NoticeResponse);
	assert(strlen(error->sqlstate) == 5);
	/* 'S' may be translated, 'V' never is; clients look at 'V' since 9.6. */
	wire_put_error_field(out, 'S', error->severity);
	wire_put_error_field(out, 'V', error->severity);
	wire_put_error_field(out, 'C', error->sqlstate);
	wire_put_error_field(out, 'M', error->message);
	wire_put_error_field(out, 'D', error->detail);
	wire_put_error_field(out, 'H', error->hint);
	wire_put_u8(out, 0);
	wire_end(out, mark);
}
