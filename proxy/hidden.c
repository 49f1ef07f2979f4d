/*
 * Hidden: see hidden.h.
 */
#include "proxy/hidden.h"

#include <string.h>

#include "proxy/wire.h"

#define TEXT_OID 25

static void put_bind(struct iobuf *out, const char *value)
{
	size_t mark = wire_begin(out, WIRE_FE_Bind);

	wire_put_string(out, HIDDEN_NAME);
	wire_put_string(out, HIDDEN_NAME);
	wire_put_u16(out, 0);
	wire_put_u16(out, value ? 1 : 0);
	if (value) {
		wire_put_u32(out, (uint32_t)strlen(value));
		wire_put_bytes(out, value, strlen(value));
	}
	wire_put_u16(out, 0);
	wire_end(out, mark);
}

void hidden_put_clear(struct iobuf *out)
{
	wire_put_close(out, 'S', HIDDEN_NAME);
}

void hidden_put_failure(struct iobuf *out)
{
	static const char sql[] =
	    "SELECT 'pgtopk: the statement before this one failed'::pg_catalog.int4";

	wire_put_parse(out, HIDDEN_NAME, sql, strlen(sql), 0, NULL);
}

void hidden_put(struct iobuf *out, const char *sql, size_t sql_len, const char *value)
{
	static const uint32_t types[] = {TEXT_OID};

	hidden_put_clear(out);
	wire_put_parse(out, HIDDEN_NAME, sql, sql_len, value ? 1 : 0, types);
	put_bind(out, value);
	wire_put_execute(out, HIDDEN_NAME, 0);
	wire_put_close(out, 'P', HIDDEN_NAME);
	wire_put_close(out, 'S', HIDDEN_NAME);
}
