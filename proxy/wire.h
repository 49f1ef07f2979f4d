/*
 * Wire: PostgreSQL's frontend/backend protocol 3, as bytes. One codec for both
 * sides: clients and the servers behind us.
 *
 * Framing (how long is the message at the head of these bytes), readers that
 * check every length a peer wrote, and writers that append to an iobuf. No
 * sockets, no state. Message names are the manual's ("Message Formats").
 * Views returned by readers point into the input and are valid as long as it.
 */
#ifndef PROXY_WIRE_H
#define PROXY_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/iobuf.h"

/* Type bytes, from messages.def: WIRE_FE_Query = 'Q', WIRE_BE_DataRow = 'D'. */
enum wire_frontend {
#define FRONTEND(name, type) WIRE_FE_##name = type,
#define BACKEND(name, type)
#include "proxy/messages.def"
#undef FRONTEND
#undef BACKEND
};
enum wire_backend {
#define FRONTEND(name, type)
#define BACKEND(name, type) WIRE_BE_##name = type,
#include "proxy/messages.def"
#undef FRONTEND
#undef BACKEND
};

/* "Query", for logs; "unknown" for a byte that is none. */
const char *wire_frontend_name(uint8_t type);
const char *wire_backend_name(uint8_t type);

/* ---- framing ---- */

#define WIRE_HEADER 5 /* type byte and Int32 length (which counts itself) */
/* PostgreSQL's own limits (PQ_LARGE_MESSAGE_LIMIT, PQ_SMALL_MESSAGE_LIMIT). */
#define WIRE_LARGE_MESSAGE_MAX (0x3fffffff - 1)
#define WIRE_SMALL_MESSAGE_MAX 10000
#define WIRE_STARTUP_MAX 10000
#define WIRE_AUTHENTICATION_MAX 65536 /* PG_MAX_AUTH_TOKEN_LENGTH and the header */
#define WIRE_KEY_MAX 256              /* a cancel key of protocol 3.2 */

enum wire_frame {
	WIRE_FRAME_MORE, /* not enough bytes to tell */
	WIRE_FRAME_OK,   /* *total is known; the body may not be there yet */
	WIRE_FRAME_BAD,  /* a length that cannot be */
};

/* A typed message: *type, and *total = bytes of the whole message with header. */
enum wire_frame wire_frame(const uint8_t *data, size_t len, uint8_t *type, size_t *total);
/* True if a frontend may send a message of that type and total length (as
 * PostgreSQL's SocketBackend() checks it). */
bool wire_frontend_length_ok(uint8_t type, size_t total);
/* ... of a backend's, as far as they are ever waited for as a whole. */
bool wire_backend_length_ok(uint8_t type, size_t total);
/* StartupMessage, SSLRequest, GSSENCRequest or CancelRequest: Int32 length, Int32 code. */
enum wire_frame wire_frame_startup(const uint8_t *data, size_t len, uint32_t *code, size_t *total);

#define WIRE_CODE_CANCEL 80877102u
#define WIRE_CODE_SSL 80877103u
#define WIRE_CODE_GSSENC 80877104u
#define WIRE_PROTOCOL_MAJOR(code) ((code) >> 16)

/* ---- reading: a cursor that never runs past its end ---- */

struct wire_reader {
	const uint8_t *at;
	const uint8_t *end;
	bool bad; /* something was missing; every later read gives 0/NULL */
};

void wire_read_init(struct wire_reader *reader, const uint8_t *body, size_t len);
uint8_t wire_read_u8(struct wire_reader *reader);
uint16_t wire_read_u16(struct wire_reader *reader);
uint32_t wire_read_u32(struct wire_reader *reader);
const char *wire_read_string(struct wire_reader *reader); /* NUL-terminated in place, "" when bad */
const uint8_t *wire_read_bytes(struct wire_reader *reader, size_t len); /* NULL when bad */
/* True if all was there and nothing is left. */
bool wire_read_done(const struct wire_reader *reader);

/* Parse: statement, query text and the parameter types the client gave. */
struct wire_parse {
	const char *statement;
	const char *query;
	size_t query_len;
	unsigned ntypes;
	const uint8_t *types; /* ntypes Int32, network order: wire_u32() */
};
bool wire_read_parse(const uint8_t *body, size_t len, struct wire_parse *parse);

struct wire_value {
	const uint8_t *data; /* NULL for SQL NULL */
	int32_t len;         /* -1 for SQL NULL */
};

struct wire_bind {
	const char *portal;
	const char *statement;
	unsigned nparameter_formats;
	const uint8_t *parameter_formats; /* Int16 each */
	unsigned nparameters;
	const uint8_t *parameters; /* per value Int32 length and bytes; wire_bind_value() */
	size_t parameters_len;
	unsigned nresult_formats;
	const uint8_t *result_formats; /* Int16 each */
	const uint8_t *middle;         /* from the number of parameter formats to the last value */
	size_t middle_len;
};
bool wire_read_bind(const uint8_t *body, size_t len, struct wire_bind *bind);
/* Value number i (0-based, < nparameters); walks from the start. */
struct wire_value wire_bind_value(const struct wire_bind *bind, unsigned i);
/* Format code of parameter or result column i under the 0 / 1 / n rule. */
uint16_t wire_format(const uint8_t *formats, unsigned nformats, unsigned i);

/* Describe and Close: kind is 'S' or 'P'. */
bool wire_read_target(const uint8_t *body, size_t len, uint8_t *kind, const char **name);
bool wire_read_execute(const uint8_t *body, size_t len, const char **portal, uint32_t *max_rows);

/* RowDescription: one field. */
struct wire_field {
	const char *name;
	uint32_t table_oid;
	uint16_t attnum;
	uint32_t type_oid;
	int16_t type_len;
	int32_t type_mod;
	uint16_t format;
};
/* Number of fields, or -1 if malformed. */
int wire_read_row_description(const uint8_t *body, size_t len, struct wire_reader *fields);
/* The next field; false at the end or if malformed. */
bool wire_read_field(struct wire_reader *fields, struct wire_field *field);

/* ParameterDescription: number of types, or -1; *types as in struct wire_parse. */
int wire_read_parameter_description(const uint8_t *body, size_t len, const uint8_t **types);

/* DataRow: number of values, or -1; then values one by one. */
int wire_read_data_row(const uint8_t *body, size_t len, struct wire_reader *values);
bool wire_read_value(struct wire_reader *values, struct wire_value *value);

/* ErrorResponse and NoticeResponse: a field by its code ('S','V','C','M','D','H'…), NULL if absent. */
const char *wire_error_field(const uint8_t *body, size_t len, char code);
/* True if it is well formed: code, string, …, NUL. */
bool wire_error_valid(const uint8_t *body, size_t len);
/* Something is not as the statement's sender believed: SQLSTATEs 42… (not known, not allowed)
 * and XX… (inconsistent). */
bool wire_error_is_surprise(const uint8_t *body, size_t len);

uint16_t wire_u16(const uint8_t *at);
uint32_t wire_u32(const uint8_t *at);

/* ---- writing: appended to an iobuf ---- */

/* A message whose length is filled in by wire_end(), so it cannot be got wrong.
 * Mark is an offset, so the iobuf may move meanwhile. Blocks do not nest. */
size_t wire_begin(struct iobuf *out, uint8_t type);
void wire_end(struct iobuf *out, size_t mark);
void wire_put_u8(struct iobuf *out, uint8_t value);
void wire_put_u16(struct iobuf *out, uint16_t value);
void wire_put_u32(struct iobuf *out, uint32_t value);
void wire_put_string(struct iobuf *out, const char *text); /* with its NUL */
void wire_put_bytes(struct iobuf *out, const void *data, size_t len);

/* frontend */
void wire_put_query(struct iobuf *out, const char *sql);
void wire_put_parse(struct iobuf *out, const char *statement, const char *sql, size_t sql_len,
                    unsigned ntypes, const uint32_t *types);
void wire_put_describe(struct iobuf *out, uint8_t kind, const char *name);
void wire_put_close(struct iobuf *out, uint8_t kind, const char *name);
void wire_put_execute(struct iobuf *out, const char *portal, uint32_t max_rows);
/* Sync, Flush, Terminate; backend's ParseComplete, BindComplete, CloseComplete,
 * NoData, EmptyQueryResponse, PortalSuspended: a message without a body. */
void wire_put_bare(struct iobuf *out, uint8_t type);
void wire_put_cancel(struct iobuf *out, uint32_t pid, const uint8_t *key, size_t key_len);

/* backend */
void wire_put_ready_for_query(struct iobuf *out, char status);
void wire_put_command_complete(struct iobuf *out, const char *tag);
/* An ErrorResponse (severity "ERROR", "FATAL") or NoticeResponse ("WARNING",
 * "NOTICE") in PostgreSQL's form; detail and hint may be NULL. */
struct wire_error {
	const char *severity;
	const char *sqlstate;
	const char *message;
	const char *detail;
	const char *hint;
};
void wire_put_error(struct iobuf *out, uint8_t type, const struct wire_error *error);

#endif
