/*
 * Statements: see statements.h. Two small hash tables by name; messages are
 * kept whole, because that is what has to be sent when the coordinator needs
 * them after all.
 */
#include "proxy/statements.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void *copy(const void *data, size_t len)
{
	void *memory = malloc(len ? len : 1);

	if (!memory)
		abort();
	memcpy(memory, data, len);
	return memory;
}

static void *zeroed(size_t size)
{
	void *memory = calloc(1, size);

	if (!memory)
		abort();
	return memory;
}

static size_t portal_bytes(const struct portal *portal)
{
	return portal->bind_len + portal->answer_bytes;
}

static void free_portal(struct portal *portal)
{
	topk_free(portal->topk);
	description_unref(portal->described);
	free(portal->name);
	free(portal->bind);
	free(portal);
}

static void free_statement(struct statement *statement)
{
	description_unref(statement->described);
	settings_unref(statement->read_under);
	free(statement->name);
	free(statement->parse);
	free(statement->types);
	free(statement);
}

void statements_fini(struct statements *statements)
{
	statements_drop_all(statements);
}

bool statements_empty(const struct statements *statements)
{
	return !statements->by_name && !statements->portals;
}

uint32_t *statements_read_types(const struct wire_parse *parse)
{
	uint32_t *types = zeroed((parse->ntypes + 1) * sizeof(*types));

	for (unsigned i = 0; i < parse->ntypes; i++)
		types[i] = wire_u32(parse->types + 4 * (size_t)i);
	return types;
}

struct statement *statements_add(struct statements *statements, const uint8_t *message, size_t len)
{
	struct statement *statement = zeroed(sizeof(*statement));

	statement->parse = copy(message, len);
	statement->parse_len = len;
	if (!wire_read_parse(statement->parse + WIRE_HEADER, len - WIRE_HEADER, &statement->view)) {
		free_statement(statement);
		return NULL;
	}
	statement->types = statements_read_types(&statement->view);
	statement->name = copy(statement->view.statement, strlen(statement->view.statement) + 1);
	statements_drop(statements, statement->name);
	HASH_ADD_KEYPTR(hh, statements->by_name, statement->name, strlen(statement->name),
	                statement);
	statements->bytes += len;
	return statement;
}

bool statements_have_room(const struct statements *statements, size_t len, unsigned max_count,
                          size_t max_bytes)
{
	return HASH_COUNT(statements->by_name) + HASH_COUNT(statements->portals) < max_count &&
	       statements->bytes + len <= max_bytes;
}

void statements_note_settings(struct statement *statement, struct settings *settings)
{
	if (!statement->read_under && settings)
		statement->read_under = settings_ref(settings);
}

struct statement *statements_find(struct statements *statements, const char *name)
{
	struct statement *found;

	HASH_FIND(hh, statements->by_name, name, strlen(name), found);
	return found;
}

/* A portal that has its answer lives on without its statement. */
static void drop_portals_of(struct statements *statements, const struct statement *statement)
{
	struct portal *portal, *next;

	HASH_ITER (hh, statements->portals, portal, next) {
		if (portal->statement != statement)
			continue;
		portal->statement = NULL;
		if (!portal->executed)
			statements_drop_portal(statements, portal->name);
	}
}

void statements_drop(struct statements *statements, const char *name)
{
	struct statement *statement = statements_find(statements, name);

	if (!statement)
		return;
	drop_portals_of(statements, statement);
	HASH_DEL(statements->by_name, statement);
	statements->bytes -= statement->parse_len;
	free_statement(statement);
}

void statements_drop_all(struct statements *statements)
{
	struct statement *statement, *next;

	statements_drop_portals(statements);
	HASH_ITER (hh, statements->by_name, statement, next)
		statements_drop(statements, statement->name);
	assert(statements->bytes == 0);
}

struct portal *statements_add_portal(struct statements *statements, struct statement *statement,
                                     const uint8_t *message, size_t len)
{
	struct portal *portal = zeroed(sizeof(*portal));

	portal->statement = statement;
	portal->bind = copy(message, len);
	portal->bind_len = len;
	if (!wire_read_bind(portal->bind + WIRE_HEADER, len - WIRE_HEADER, &portal->view)) {
		free_portal(portal);
		return NULL;
	}
	portal->name = copy(portal->view.portal, strlen(portal->view.portal) + 1);
	statements_drop_portal(statements, portal->name);
	HASH_ADD_KEYPTR(hh, statements->portals, portal->name, strlen(portal->name), portal);
	statements->bytes += portal_bytes(portal);
	return portal;
}

struct portal *statements_find_portal(struct statements *statements, const char *name)
{
	struct portal *found;

	HASH_FIND(hh, statements->portals, name, strlen(name), found);
	return found;
}

void statements_set_answer(struct statements *statements, struct portal *portal, struct topk *topk,
                           uint64_t rows)
{
	assert(!portal->topk);
	statements->bytes -= portal_bytes(portal);
	portal->executed = true;
	portal->topk = topk;
	portal->rows = rows;
	portal->answer_bytes = topk_bytes(topk);
	statements->bytes += portal_bytes(portal);
}

static void drop_portal(struct statements *statements, struct portal *portal)
{
	HASH_DEL(statements->portals, portal);
	statements->bytes -= portal_bytes(portal);
	free_portal(portal);
}

void statements_drop_portal(struct statements *statements, const char *name)
{
	struct portal *portal = statements_find_portal(statements, name);

	if (portal)
		drop_portal(statements, portal);
}

void statements_drop_portals(struct statements *statements)
{
	struct portal *portal, *next;

	HASH_ITER (hh, statements->portals, portal, next)
		drop_portal(statements, portal);
}

void statements_keep_executed(struct statements *statements)
{
	struct portal *portal, *next;

	HASH_ITER (hh, statements->portals, portal, next) {
		if (!portal->executed)
			drop_portal(statements, portal);
	}
}
