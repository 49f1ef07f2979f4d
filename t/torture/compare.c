/*
 * Compare: see compare.h. Messages are turned into texts that must be equal.
 */
#include "t/torture/compare.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_OWN_OID 16384

/* ---- OIDs ---- */

void compare_load(struct compare_oids *oids, PGconn *conn)
{
	oids->result =
	    PQexec(conn, "SELECT oid, oid::regtype::text FROM pg_type WHERE oid >= 16384");
	cr_assert_eq(PQresultStatus(oids->result), PGRES_TUPLES_OK, "%s", PQerrorMessage(conn));
	for (int i = 0; i < PQntuples(oids->result); i++) {
		for (unsigned kind = 0; kind < VALUE_VECTORS; kind++) {
			if (strcmp(PQgetvalue(oids->result, i, 1), value_vectors[kind].type) == 0)
				oids->vectors[kind] =
				    (uint32_t)strtoul(PQgetvalue(oids->result, i, 0), NULL, 10);
		}
	}
}

void compare_unload(struct compare_oids *oids)
{
	PQclear(oids->result);
	oids->result = NULL;
}

static void put_oid(FILE *to, uint32_t oid, const struct compare_oids *oids)
{
	for (int i = 0; oids && oid >= FIRST_OWN_OID && i < PQntuples(oids->result); i++) {
		if (strtoul(PQgetvalue(oids->result, i, 0), NULL, 10) == oid) {
			fputs(PQgetvalue(oids->result, i, 1), to);
			return;
		}
	}
	fprintf(to, "%u", oid);
}

/* ---- messages as text ---- */

static void put_bytes(FILE *to, const uint8_t *body, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (isprint(body[i]) && body[i] != '\\')
			fputc(body[i], to);
		else
			fprintf(to, "\\%x", body[i]);
	}
}

static void put_fields(FILE *to, const struct talk_message *message,
                       const struct compare_oids *oids)
{
	struct wire_reader reader;
	struct wire_field field;

	wire_read_row_description(message->body, message->len, &reader);
	while (wire_read_field(&reader, &field)) {
		fprintf(to, " [%s ", field.name);
		if (!oids || !oids->no_origin)
			fprintf(to, "%s attnum=%u ", field.table_oid ? "table" : "-", field.attnum);
		fputs("type=", to);
		put_oid(to, field.type_oid, oids);
		fprintf(to, " len=%d mod=%d format=%u]", field.type_len, field.type_mod,
		        field.format);
	}
}

static void put_parameters(FILE *to, const struct talk_message *message,
                           const struct compare_oids *oids)
{
	const uint8_t *types;
	int count = wire_read_parameter_description(message->body, message->len, &types);

	for (int i = 0; i < count; i++) {
		fputc(' ', to);
		put_oid(to, wire_u32(types + 4 * (size_t)i), oids);
	}
}

static void put_error(FILE *to, const struct talk_message *message)
{
	const char *state = wire_error_field(message->body, message->len, 'C');

	for (const char *code = "SVCMDHPpqWstdcn"; *code; code++) {
		const char *field = wire_error_field(message->body, message->len, *code);

		/* out of range, which names the value: of the row that came first */
		if (*code == 'M' && state && strcmp(state, "22003") == 0)
			continue;
		/* where foreign tables and Citus say what they have sent */
		if (field && strncmp(field, "remote SQL command", 18) != 0 &&
		    strncmp(field, "while executing command on", 26) != 0)
			fprintf(to, " %c=%s", *code, field);
	}
}

static void put_message(FILE *to, const struct talk_message *message,
                        const struct compare_oids *oids, bool rows)
{
	fputs(wire_backend_name(message->type), to);
	switch (message->type) {
	case WIRE_BE_RowDescription:
		put_fields(to, message, oids);
		break;
	case WIRE_BE_ParameterDescription:
		put_parameters(to, message, oids);
		break;
	case WIRE_BE_ErrorResponse:
	case WIRE_BE_NoticeResponse:
		put_error(to, message);
		break;
	case WIRE_BE_DataRow:
		if (!rows)
			break;
		/* fall through */
	default:
		fputc(' ', to);
		put_bytes(to, message->body, message->len);
		break;
	}
}

static const char *message_text(const struct talk_reply *reply, unsigned i,
                                const struct compare_oids *oids, bool rows, struct arena *arena)
{
	char *text;
	const char *copy;
	size_t size;
	FILE *to;

	if (i >= reply->count)
		return reply->hung ? "nothing more: hung" : reply->ended ? "end" : "nothing more";
	to = open_memstream(&text, &size);
	put_message(to, &reply->messages[i], oids, rows);
	fclose(to);
	copy = arena_strdup(arena, text);
	free(text);
	return copy;
}

const char *compare_text(const struct talk_reply *reply, struct arena *arena)
{
	const char *all = "";

	for (unsigned i = 0; i <= reply->count && i < 40; i++)
		all = arena_printf(arena, "%s    %.600s\n", all,
		                   message_text(reply, i, NULL, true, arena));
	return all;
}

/* ---- differences ---- */

static const char *difference(unsigned i, const char *got, const char *wanted, struct arena *arena)
{
	return arena_printf(arena, "message %u: got %.1500s\n  wanted %.1500s", i, got, wanted);
}

const char *compare_messages(const struct talk_reply *got, const struct compare_oids *got_oids,
                             const struct talk_reply *wanted,
                             const struct compare_oids *wanted_oids, struct arena *arena)
{
	for (unsigned i = 0; i <= got->count || i <= wanted->count; i++) {
		const char *a = message_text(got, i, got_oids, false, arena);
		const char *b = message_text(wanted, i, wanted_oids, false, arena);

		if (strcmp(a, b) != 0)
			return difference(i, a, b, arena);
	}
	return NULL;
}

static bool same_message(const struct talk_message *a, const struct talk_message *b)
{
	return a->type == b->type && a->len == b->len && memcmp(a->body, b->body, a->len) == 0;
}

const char *compare_bytes(const struct talk_reply *got, const struct talk_reply *wanted,
                          struct arena *arena)
{
	for (unsigned i = 0; i <= got->count || i <= wanted->count; i++) {
		if (i < got->count && i < wanted->count &&
		    same_message(&got->messages[i], &wanted->messages[i]))
			continue;
		if (i == got->count && i == wanted->count && got->ended == wanted->ended &&
		    !got->hung)
			continue;
		return difference(i, message_text(got, i, NULL, true, arena),
		                  message_text(wanted, i, NULL, true, arena), arena);
	}
	return NULL;
}

/* ---- rows ---- */

/* The call that comes first after so many ReadyForQuery. */
static unsigned call_after(const struct script_step *step, unsigned syncs)
{
	unsigned call = 0;

	for (; call < step->ncalls && syncs > 0; call++)
		syncs -= step->calls[call].sync;
	return call;
}

struct talk_reply compare_call(const struct talk_reply *reply, const struct script_step *step,
                               unsigned call, struct arena *arena)
{
	struct talk_reply part = *reply;
	unsigned syncs = 0, binds = 0, first = 0;

	part.count = 0;
	part.messages = arena_alloc(arena, (reply->count + 1) * sizeof(*part.messages));
	for (unsigned i = 0; i < reply->count; i++) {
		const struct talk_message *message = &reply->messages[i];
		unsigned of;

		binds += message->type == WIRE_BE_BindComplete;
		of = first + (binds > 0 ? binds - 1 : 0);
		if (step->simple || of == call || (of >= step->ncalls && call + 1 == step->ncalls))
			part.messages[part.count++] = *message;
		if (message->type == WIRE_BE_ReadyForQuery) {
			first = call_after(step, ++syncs);
			binds = 0;
		}
	}
	return part;
}

struct compare_rows compare_rows_of(const struct talk_reply *reply, struct arena *arena)
{
	struct compare_rows rows = {
	    .rows = arena_alloc(arena, (reply->count + 1) * sizeof(*rows.rows))};

	for (unsigned i = 0; i < reply->count; i++) {
		if (reply->messages[i].type == WIRE_BE_DataRow)
			rows.rows[rows.count++] = &reply->messages[i];
	}
	return rows;
}

bool compare_rows_same(const struct compare_rows *got, const struct compare_rows *wanted)
{
	if (got->count != wanted->count)
		return false;
	for (unsigned i = 0; i < got->count; i++) {
		if (!same_message(got->rows[i], wanted->rows[i]))
			return false;
	}
	return true;
}
