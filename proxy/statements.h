/*
 * Statements: the session's prepared statements and portals that may be routed.
 * Those that cannot be are not here: they are the coordinator's alone.
 *
 * A named statement is always known to the coordinator too, so that EXECUTE,
 * DEALLOCATE and pg_prepared_statements work. The unnamed one is not sent there
 * (`here_only`) until it is needed: that saves a round trip per query.
 */
#ifndef PROXY_STATEMENTS_H
#define PROXY_STATEMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "merge/topk.h"
#include "proxy/description.h"
#include "proxy/settings.h"
#include "proxy/wire.h"

struct statement {
	char *name;     /* "" for the unnamed one */
	uint8_t *parse; /* the whole Parse message */
	size_t parse_len;
	struct wire_parse view; /* into parse */
	uint32_t *types;
	bool here_only;    /* the coordinator does not have it */
	bool journaled;    /* its Parse is in the session's journal: answered, but not sent yet */
	bool handed_over;  /* the coordinator has it by a hidden Parse */
	uint64_t sequence; /* of its Parse among those sent to the coordinator */
	struct description *described; /* what the client was told, NULL if nothing */
	struct settings *read_under;   /* the settings when it was parsed, NULL: not known */
	unsigned lifted;               /* literals lifted: parameters that are not the client's */
	UT_hash_handle hh;
};

struct portal {
	char *name;
	struct statement *statement; /* NULL: executed, and the statement is gone */
	uint8_t *bind;               /* the whole Bind message */
	size_t bind_len;
	struct wire_bind view;
	bool journaled;                /* as above */
	struct description *described; /* what its rows look like */
	bool executed;
	struct topk *topk; /* the answer, once executed */
	size_t answer_bytes;
	uint64_t rows;
	uint64_t taken;
	UT_hash_handle hh;
};

struct statements {
	struct statement *by_name;
	struct portal *portals;
	size_t bytes; /* messages and answers that are kept */
};

void statements_fini(struct statements *statements);
/* The parameter types of a Parse message: malloc'ed. */
uint32_t *statements_read_types(const struct wire_parse *parse);
bool statements_empty(const struct statements *statements);

/* Whether one more message of that length may be kept: a client decides how many come. */
bool statements_have_room(const struct statements *statements, size_t len, unsigned max_count,
                          size_t max_bytes);
/* Keeps a copy of the Parse message; replaces one of the same name. NULL if malformed. */
struct statement *statements_add(struct statements *statements, const uint8_t *message, size_t len);
/*
 * Literals are read when a statement is parsed: '02-03-2025' stays the day it was then, whatever
 * becomes of DateStyle. The first that is noted counts; NULL is not.
 */
void statements_note_settings(struct statement *statement, struct settings *settings);
struct statement *statements_find(struct statements *statements, const char *name);
void statements_drop(struct statements *statements, const char *name); /* and its portals */
void statements_drop_all(struct statements *statements);

struct portal *statements_add_portal(struct statements *statements, struct statement *statement,
                                     const uint8_t *message, size_t len);
struct portal *statements_find_portal(struct statements *statements, const char *name);
/* The portal's answer, which is its from now on. */
void statements_set_answer(struct statements *statements, struct portal *portal, struct topk *topk,
                           uint64_t rows);
void statements_drop_portal(struct statements *statements, const char *name);
void statements_drop_portals(struct statements *statements);
void statements_keep_executed(struct statements *statements); /* drops all other portals */

#endif
