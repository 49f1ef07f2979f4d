/*
 * Server: see server.h. Here: statements and portals.
 */
#include "t/fuzz/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utlist.h>

#include "proxy/scram.h"
#include "t/fuzz/server_state.h"

#define PATIENCE 12 /* messages until it leaves */

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

/* ---- what it says ---- */

void server_flush(struct server *server)
{
	iobuf_append(server->hearer, iobuf_head(&server->buffer), iobuf_len(&server->buffer));
	iobuf_consume(&server->buffer, iobuf_len(&server->buffer));
}

void server_error(struct server *server, const char *severity, const char *sqlstate)
{
	struct wire_error error = {
	    .severity = severity, .sqlstate = sqlstate, .message = "it went wrong"};

	wire_put_error(server->out, WIRE_BE_ErrorResponse, &error);
	server_flush(server);
	if (server->status == 'T')
		server->status = 'E';
}

static void fail(struct server *server, const char *sqlstate)
{
	server_error(server, "ERROR", sqlstate);
	server->failed = true;
}

/* ---- statements and portals ---- */

static void drop_portals(struct server *server, const char *name)
{
	struct portal *portal, *next;

	DL_FOREACH_SAFE (server->portals, portal, next) {
		if (name && strcmp(portal->name, name) != 0)
			continue;
		DL_DELETE(server->portals, portal);
		free(portal->name);
		free(portal->sql);
		free(portal);
	}
}

static void drop_prepared(struct server *server, const char *name)
{
	struct prepared *prepared, *next;

	DL_FOREACH_SAFE (server->prepared, prepared, next) {
		if (name && strcmp(prepared->name, name) != 0)
			continue;
		DL_DELETE(server->prepared, prepared);
		free(prepared->name);
		free(prepared->sql);
		free(prepared);
	}
}

static struct prepared *find_prepared(struct server *server, const char *name)
{
	struct prepared *prepared;

	DL_FOREACH (server->prepared, prepared)
		if (strcmp(prepared->name, name) == 0)
			return prepared;
	return NULL;
}

static struct portal *find_portal(struct server *server, const char *name)
{
	struct portal *portal;

	DL_FOREACH (server->portals, portal)
		if (strcmp(portal->name, name) == 0)
			return portal;
	return NULL;
}

/* ---- running ---- */

static bool begins(const char *sql, const char *word)
{
	return strncasecmp(sql, word, strlen(word)) == 0;
}

static const char *run_utility(struct server *server, const char *sql)
{
	if (begins(sql, "begin"))
		server->status = 'T';
	else if (begins(sql, "rollback to"))
		server->status = server->status == 'I' ? 'I' : 'T';
	else if (begins(sql, "commit") || begins(sql, "rollback"))
		server->status = 'I';
	else if (begins(sql, "deallocate"))
		drop_prepared(server, NULL);
	return begins(sql, "begin")        ? "BEGIN"
	       : begins(sql, "commit")     ? "COMMIT"
	       : begins(sql, "deallocate") ? "DEALLOCATE ALL"
	       : begins(sql, "discard")    ? "DISCARD ALL"
	                                   : "SET";
}

static void start_copy(struct server *server, bool in)
{
	size_t mark =
	    wire_begin(server->out, in ? WIRE_BE_CopyInResponse : WIRE_BE_CopyOutResponse);

	wire_put_u8(server->out, 0);
	wire_put_u16(server->out, 1);
	wire_put_u16(server->out, 0);
	wire_end(server->out, mark);
	if (in) {
		server_flush(server);
		server->copying = true;
		return;
	}
	mark = wire_begin(server->out, WIRE_BE_CopyData);
	wire_put_string(server->out, "a row");
	wire_end(server->out, mark);
	wire_put_bare(server->out, WIRE_BE_CopyDone);
	wire_put_command_complete(server->out, "COPY 1");
}

static bool is_shard_query(const char *sql)
{
	return strstr(sql, "items_10200") != NULL;
}

/* True if a fault or the text makes it an error, which was said. */
static bool is_error(struct server *server, const char *sql)
{
	bool second = is_shard_query(sql) && ++server->executes % 2 == 1;

	if (server->status == 'E' && !begins(sql, "rollback") && !begins(sql, "commit"))
		fail(server, "25P02");
	else if (strcasestr(sql, "1/0"))
		fail(server, "22012");
	else if (second && (server->faults & SERVER_FAILS))
		fail(server, "53200");
	else if (second && (server->faults & SERVER_STALE))
		fail(server, "42P01");
	else
		return false;
	return true;
}

/* What a portal gives, at most `rows` (0: all). */
static void run(struct server *server, struct portal *portal, uint32_t rows)
{
	uint64_t sent = 0;
	char tag[32];

	if (is_error(server, portal->sql))
		return;
	for (unsigned i = 0; portal->rows && i < portal->nformats; i++)
		if (wire_u16(portal->formats + 2 * i) > 1) {
			fail(server, "22023");
			return;
		}
	if (!portal->sql[strspn(portal->sql, " ;")]) {
		wire_put_bare(server->out, WIRE_BE_EmptyQueryResponse);
	} else if (begins(portal->sql, "copy")) {
		start_copy(server, strcasestr(portal->sql, "stdin") != NULL);
	} else if (!portal->rows) {
		wire_put_command_complete(server->out, run_utility(server, portal->sql));
	} else {
		while (portal->at < portal->shape.end && !(rows > 0 && sent == rows)) {
			answers_put_row(&portal->shape, portal->at, portal->formats,
			                portal->nformats, server->out);
			portal->at += portal->shape.step;
			sent++;
		}
		if (rows > 0 && sent == rows) {
			wire_put_bare(server->out, WIRE_BE_PortalSuspended);
			return;
		}
		snprintf(tag, sizeof(tag), "SELECT %u", (unsigned)sent);
		wire_put_command_complete(server->out, tag);
	}
}

static void open_portal(struct server *server, struct portal *portal)
{
	portal->rows = answers_shape(portal->sql, portal->parameter, server->user, &portal->shape);
	portal->at = portal->shape.first;
	if (strstr(portal->sql, "hashtextextended") && (server->faults & SERVER_CHANGES) &&
	    ++server->executes % 2 == 0)
		portal->shape.text[0] = 'x';
}

static void finish_query(struct server *server)
{
	server->failed = false;
	wire_put_ready_for_query(server->out, server->status);
	server_flush(server);
}

static void on_query(struct server *server, const char *sql)
{
	struct portal portal = {.sql = (char *)(uintptr_t)sql};

	drop_prepared(server, "");
	drop_portals(server, "");
	open_portal(server, &portal);
	if (portal.rows && server->status != 'E' && !strcasestr(sql, "1/0"))
		answers_put_description(&portal.shape, NULL, 0, server->out);
	run(server, &portal, 0);
	if (server->copying) {
		server->copying_by_query = true;
		return;
	}
	if (server->status == 'I')
		drop_portals(server, NULL);
	finish_query(server);
}

/* ---- the extended protocol ---- */

static void on_parse(struct server *server, const uint8_t *body, size_t len)
{
	struct wire_parse parse;
	struct prepared *prepared;

	if (!wire_read_parse(body, len, &parse) || parse.ntypes > 64) {
		fail(server, "08P01");
		return;
	}
	if (parse.statement[0] && find_prepared(server, parse.statement)) {
		fail(server, "42P05");
		return;
	}
	if (strcasestr(parse.query, "syntax")) {
		fail(server, "42601");
		return;
	}
	if (strcasestr(parse.query, "pgtopk: the statement before")) {
		fail(server, "22P02");
		return;
	}
	if (!parse.statement[0])
		drop_prepared(server, "");
	prepared = must(calloc(1, sizeof(*prepared)));
	prepared->name = must(strdup(parse.statement));
	prepared->sql = must(strndup(parse.query, parse.query_len));
	prepared->ntypes = parse.ntypes;
	for (unsigned i = 0; i < parse.ntypes; i++)
		prepared->types[i] = wire_u32(parse.types + 4 * i);
	DL_APPEND(server->prepared, prepared);
	wire_put_bare(server->out, WIRE_BE_ParseComplete);
}

static void set_parameter(struct portal *portal, const struct wire_bind *bind)
{
	struct wire_value value;

	if (bind->nparameters == 0)
		return;
	value = wire_bind_value(bind, 0);
	if (value.len > 0 && (size_t)value.len < sizeof(portal->parameter))
		memcpy(portal->parameter, value.data, (size_t)value.len);
}

static const char *check_bind(const struct wire_bind *bind, const struct prepared *prepared)
{
	struct answer_shape shape;
	unsigned n = answers_parameters(prepared->sql);

	if (bind->nparameters != (n > prepared->ntypes ? n : prepared->ntypes) ||
	    (bind->nparameter_formats > 1 && bind->nparameter_formats != bind->nparameters))
		return "08P01";
	if (bind->nresult_formats > ANSWERS_FIELDS ||
	    (bind->nresult_formats > 1 && answers_shape(prepared->sql, "", "", &shape) &&
	     bind->nresult_formats != shape.nfields))
		return "08P01";
	return NULL;
}

static void on_bind(struct server *server, const uint8_t *body, size_t len)
{
	struct wire_bind bind;
	struct prepared *prepared;
	struct portal *portal;
	const char *sqlstate;

	if (!wire_read_bind(body, len, &bind)) {
		fail(server, "08P01");
		return;
	}
	prepared = find_prepared(server, bind.statement);
	sqlstate = !prepared ? "26000" : check_bind(&bind, prepared);
	if (!sqlstate && bind.portal[0] && find_portal(server, bind.portal))
		sqlstate = "42P03";
	if (sqlstate) {
		fail(server, sqlstate);
		return;
	}
	drop_portals(server, bind.portal);
	portal = must(calloc(1, sizeof(*portal)));
	portal->name = must(strdup(bind.portal));
	portal->sql = must(strdup(prepared->sql));
	portal->nformats = bind.nresult_formats;
	memcpy(portal->formats, bind.result_formats, 2 * (size_t)bind.nresult_formats);
	set_parameter(portal, &bind);
	open_portal(server, portal);
	DL_APPEND(server->portals, portal);
	wire_put_bare(server->out, WIRE_BE_BindComplete);
}

static void put_parameters(struct server *server, const struct prepared *prepared)
{
	unsigned n = answers_parameters(prepared->sql);
	size_t mark = wire_begin(server->out, WIRE_BE_ParameterDescription);

	if (n < prepared->ntypes)
		n = prepared->ntypes;
	wire_put_u16(server->out, (uint16_t)n);
	for (unsigned i = 0; i < n; i++)
		wire_put_u32(server->out, i < prepared->ntypes && prepared->types[i]
		                              ? prepared->types[i]
		                              : answers_parameter_type(prepared->sql, i + 1));
	wire_end(server->out, mark);
}

static void on_describe(struct server *server, const uint8_t *body, size_t len)
{
	struct prepared *prepared = NULL;
	struct portal *portal = NULL;
	struct answer_shape shape;
	const char *name;
	uint8_t kind;

	if (!wire_read_target(body, len, &kind, &name)) {
		fail(server, "08P01");
		return;
	}
	if (kind == 'S')
		prepared = find_prepared(server, name);
	else
		portal = find_portal(server, name);
	if (!prepared && !portal) {
		fail(server, kind == 'S' ? "26000" : "34000");
		return;
	}
	if (prepared)
		put_parameters(server, prepared);
	if (answers_shape(prepared ? prepared->sql : portal->sql, "", "", &shape))
		answers_put_description(&shape, portal ? portal->formats : NULL,
		                        portal ? portal->nformats : 0, server->out);
	else
		wire_put_bare(server->out, WIRE_BE_NoData);
}

static void on_execute(struct server *server, const uint8_t *body, size_t len)
{
	struct portal *portal;
	const char *name;
	uint32_t rows;

	if (!wire_read_execute(body, len, &name, &rows))
		fail(server, "08P01");
	else if (!(portal = find_portal(server, name)))
		fail(server, "34000");
	else
		run(server, portal, rows > INT32_MAX ? 0 : rows);
}

static void on_close(struct server *server, const uint8_t *body, size_t len)
{
	const char *name;
	uint8_t kind;

	if (!wire_read_target(body, len, &kind, &name)) {
		fail(server, "08P01");
		return;
	}
	if (kind == 'S')
		drop_prepared(server, name);
	else
		drop_portals(server, name);
	wire_put_bare(server->out, WIRE_BE_CloseComplete);
}

static void on_sync(struct server *server)
{
	if (server->status == 'I')
		drop_portals(server, NULL);
	finish_query(server);
}

/* ---- COPY ---- */

/* False: the message is no part of it. */
static bool on_copy_message(struct server *server, uint8_t type)
{
	bool by_query = server->copying_by_query;

	if (type == WIRE_FE_CopyData || type == WIRE_FE_Sync || type == WIRE_FE_Flush)
		return true;
	server->copying = server->copying_by_query = false;
	if (type == WIRE_FE_CopyDone)
		wire_put_command_complete(server->out, "COPY 1");
	else
		fail(server, "57014");
	if (by_query)
		finish_query(server);
	return true;
}

/* ---- messages ---- */

static bool on_message(struct server *server, uint8_t type, const uint8_t *body, size_t len)
{
	if ((server->faults & SERVER_LEAVES) && ++server->messages > PATIENCE)
		return false;
	if (type == WIRE_FE_Terminate)
		return false;
	if (server->copying)
		return on_copy_message(server, type);
	if (server->failed && type != WIRE_FE_Sync)
		return true;
	switch (type) {
	case WIRE_FE_Query:
		if (len == 0 || memchr(body, 0, len) != body + len - 1) {
			server_error(server, "ERROR", "08P01");
			finish_query(server);
		} else {
			on_query(server, (const char *)body);
		}
		break;
	case WIRE_FE_FunctionCall:
		server_error(server, "ERROR", "42883");
		finish_query(server);
		break;
	case WIRE_FE_Parse:
		on_parse(server, body, len);
		break;
	case WIRE_FE_Bind:
		on_bind(server, body, len);
		break;
	case WIRE_FE_Describe:
		on_describe(server, body, len);
		break;
	case WIRE_FE_Execute:
		on_execute(server, body, len);
		break;
	case WIRE_FE_Close:
		on_close(server, body, len);
		break;
	case WIRE_FE_Sync:
		on_sync(server);
		break;
	case WIRE_FE_Flush:
		server_flush(server);
		break;
	case WIRE_FE_CopyData:
	case WIRE_FE_CopyDone:
	case WIRE_FE_CopyFail:
		break;
	default:
		server_error(server, "FATAL", "08P01");
		return false;
	}
	return true;
}

/* ---- bytes ---- */

/* One message of the input. False: it hangs up. */
static bool take_message(struct server *server, bool *more)
{
	const uint8_t *head = iobuf_head(&server->in);
	size_t have = iobuf_len(&server->in), total;
	uint32_t code;
	uint8_t type;
	enum wire_frame frame = server->started ? wire_frame(head, have, &type, &total)
	                                        : wire_frame_startup(head, have, &code, &total);
	bool goes_on;

	*more = frame == WIRE_FRAME_OK && total <= have;
	if (frame == WIRE_FRAME_BAD)
		return false;
	if (!*more)
		return true;
	if (server->started && server->ready && !wire_frontend_length_ok(type, total)) {
		server_error(server, "FATAL", "08P01");
		return false;
	}
	if (!server->started)
		goes_on = server_startup(server, code, head + 8, total - 8);
	else if (!server->ready)
		goes_on = server_password(server, type, head + WIRE_HEADER, total - WIRE_HEADER);
	else
		goes_on = on_message(server, type, head + WIRE_HEADER, total - WIRE_HEADER);
	iobuf_consume(&server->in, total);
	return goes_on;
}

bool server_hear(struct server *server, const uint8_t *data, size_t len, struct iobuf *out)
{
	bool more = true, goes_on = true;

	iobuf_append(&server->in, data, len);
	server->hearer = out;
	while (goes_on && more)
		goes_on = take_message(server, &more);
	return goes_on;
}

const struct iobuf *server_unsaid(const struct server *server)
{
	return &server->buffer;
}

struct server *server_new(const char *user, unsigned faults)
{
	struct server *server = must(calloc(1, sizeof(*server)));

	server->started = server->ready = user != NULL;
	snprintf(server->user, sizeof(server->user), "%s", user ? user : "");
	server->faults = faults;
	server->status = 'I';
	server->out = &server->buffer;
	iobuf_init(&server->in);
	iobuf_init(&server->buffer);
	return server;
}

void server_free(struct server *server)
{
	if (!server)
		return;
	drop_prepared(server, NULL);
	drop_portals(server, NULL);
	scram_server_free(server->scram);
	iobuf_fini(&server->in);
	iobuf_fini(&server->buffer);
	free(server);
}
