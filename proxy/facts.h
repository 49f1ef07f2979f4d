/*
 * Facts: what pgtopk must know of a session's state before it may route: the
 * settings that change an answer, role, isolation level, and what a table name
 * means to this session (search_path, temporary tables, privileges, row-level
 * security).
 *
 * pgtopk does not guess these from the SQL that passes: any function or DO block
 * may change them. It asks the coordinator on the session's own connection
 * whenever something was run since it last asked, unseen by the client.
 */
#ifndef PROXY_FACTS_H
#define PROXY_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "parser/refusal.h"
#include "parser/shardmap.h"
#include "proxy/config.h"
#include "proxy/settings.h"

struct session;
struct facts;

/* What a table name means to the session. */
struct facts_table {
	uint32_t oid;    /* 0: no such table */
	bool may_select; /* SELECT on the whole table */
	bool row_security;
};

struct facts *facts_new(void);
void facts_free(struct facts *facts); /* NULL is allowed */

/* Something ran on the coordinator: everything has to be asked again. */
void facts_expire(struct facts *facts);
/*
 * Known, not older than ttl_ms, and asked for while that map was the current one: what was granted
 * or created before a map was made is noticed by no check of it.
 */
bool facts_fresh(const struct facts *facts, uint64_t generation, uint64_t now_ms, uint64_t ttl_ms);
/* NULL: not asked yet. `name` as query_table() writes it. */
const struct facts_table *facts_table(const struct facts *facts, const char *name);

/* Asks by a hidden batch; done() is called when the answer is there or has failed
 * (ok: false). Needs what session_start_inner() needs. */
void facts_ask(struct session *session, const char *table_name, const struct shardmap *map,
               void (*done)(struct session *session, bool ok));

/*
 * pgtopk.route was shadow when it was last asked for. Not fresh, perhaps; good for waiting no
 * longer than the coordinator takes, and for nothing else.
 */
bool facts_shadowed(const struct facts *facts);
void facts_forget_route(struct facts *facts); /* it is about to be SET */

/* REFUSAL_none, or why a fresh session's state forbids routing; REFUSAL_shadow if nothing else
 * does. */
enum refusal facts_check(const struct facts *facts);
/* What must hold on the workers, without the budget; and what pgtopk itself goes by. The
 * same objects as long as nothing in them changed. */
struct settings *facts_settings(const struct facts *facts);
struct settings *facts_own_settings(const struct facts *facts);
/* Does a text that was parsed under `then` (of facts_settings()) still mean the same? */
bool facts_read_alike(const struct facts *facts, const struct settings *then);
/* The session's own value of a setting, NULL if it has none. */
const char *facts_value(const struct facts *facts, const char *name);
/* 0: none */
uint64_t facts_statement_timeout_ms(const struct facts *facts);
uint64_t facts_lock_timeout_ms(const struct facts *facts);
/* After so long without a statement the coordinator ends a session of that status; 0: never. */
uint64_t facts_idle_timeout_ms(const struct facts *facts, char status);
double facts_overfetch(const struct facts *facts);
enum config_short_answer facts_short_answer(const struct facts *facts);

#endif
