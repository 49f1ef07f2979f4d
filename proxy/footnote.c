/*
 * Footnote: see footnote.h.
 */
#include "proxy/footnote.h"

#include <stdio.h>
#include <string.h>

#include "proxy/session.h"
#include "proxy/verdict.h"

#define NOTE_MAX 256

void footnote_arm(struct session *session, enum refusal reason, bool json)
{
	struct footnote *footnote = &session->footnote;

	if (reason == REFUSAL_route_off || reason == REFUSAL_shadow || verdict_fails(reason) ||
	    reason == REFUSAL_failed)
		return;
	footnote->reason = reason;
	footnote->json = json;
	switch (iobuf_head(&session->message)[0]) {
	case WIRE_FE_Parse:
		footnote->awaits = FOOTNOTE_PARSE;
		break;
	case WIRE_FE_Bind:
		footnote->awaits = FOOTNOTE_BIND;
		break;
	default:
		footnote->awaits = FOOTNOTE_ANSWER;
	}
}

bool footnote_wants(const struct footnote *footnote, uint8_t type)
{
	return footnote->awaits == FOOTNOTE_ANSWER && footnote->json && type == WIRE_BE_DataRow;
}

static int write_note(const struct footnote *footnote, char note[NOTE_MAX])
{
	return snprintf(
	    note, NOTE_MAX, "%snot routed (%s): %s%s",
	    footnote->json ? "    \"pgtopk\": \"" : "pgtopk: ", refusal_name(footnote->reason),
	    refusal_text(footnote->reason), footnote->json ? "\",\n" : "");
}

/* One column of text in two pieces, with the note between them. */
static void put_row(struct session *session, const char *before, size_t before_len,
                    const char *after, size_t after_len)
{
	struct iobuf *out = &session->client.out;
	char note[NOTE_MAX];
	size_t len = (size_t)write_note(&session->footnote, note);
	size_t mark = wire_begin(out, WIRE_BE_DataRow);

	wire_put_u16(out, 1);
	wire_put_u32(out, (uint32_t)(before_len + len + after_len));
	wire_put_bytes(out, before, before_len);
	wire_put_bytes(out, note, len);
	wire_put_bytes(out, after, after_len);
	wire_end(out, mark);
}

/* The note becomes the first key of [{"Plan": ...}]. */
static bool change_row(struct session *session, const uint8_t *body, size_t len)
{
	static const char opening[] = "[\n  {\n";
	struct wire_reader reader;
	struct wire_value value;
	const char *json;

	if (wire_read_data_row(body, len, &reader) != 1 || !wire_read_value(&reader, &value) ||
	    value.len < (int32_t)strlen(opening) ||
	    memcmp(value.data, opening, strlen(opening)) != 0)
		return false;
	json = (const char *)value.data;
	put_row(session, json, strlen(opening), json + strlen(opening),
	        (size_t)value.len - strlen(opening));
	session->footnote.awaits = FOOTNOTE_NONE;
	return true;
}

static bool is_explain(const uint8_t *tag, size_t len)
{
	return len == sizeof("EXPLAIN") && memcmp(tag, "EXPLAIN", len) == 0;
}

bool footnote_reply(struct session *session, uint8_t type, const uint8_t *body, size_t len)
{
	struct footnote *footnote = &session->footnote;

	switch (type) {
	case WIRE_BE_ParseComplete:
		if (footnote->awaits == FOOTNOTE_PARSE)
			footnote->awaits = FOOTNOTE_BIND;
		else if (footnote->awaits == FOOTNOTE_BIND) /* another statement */
			footnote->awaits = FOOTNOTE_NONE;
		break;
	case WIRE_BE_BindComplete:
		if (footnote->awaits == FOOTNOTE_BIND)
			footnote->awaits = FOOTNOTE_ANSWER;
		break;
	case WIRE_BE_DataRow:
		return footnote_wants(footnote, type) && change_row(session, body, len);
	case WIRE_BE_CommandComplete:
		if (footnote->awaits == FOOTNOTE_ANSWER && !footnote->json && is_explain(body, len))
			put_row(session, "", 0, "", 0);
		footnote->awaits = FOOTNOTE_NONE;
		break;
	case WIRE_BE_ErrorResponse:
		footnote->awaits = FOOTNOTE_NONE;
		break;
	case WIRE_BE_ReadyForQuery:
		if (footnote->awaits == FOOTNOTE_ANSWER)
			footnote->awaits = FOOTNOTE_NONE;
		break;
	default:
		break;
	}
	return false;
}
