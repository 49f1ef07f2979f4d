/*
 * Facts: see facts.h. One statement asks for everything in one row of text:
 * first what the table name means, then who the session is, then the settings,
 * in the order of the lists below.
 */
#include "proxy/facts.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uthash.h>

#include "proxy/config.h"
#include "proxy/facts_sql.h"
#include "proxy/hidden.h"
#include "proxy/session.h"

/* Settings that change an answer, its format or how long it may take; a worker takes them
 * over as they are. */
static const char *const worker_settings[] = {
    "search_path",
    "client_encoding",
    "datestyle",
    "intervalstyle",
    "timezone",
    "timezone_abbreviations",
    "extra_float_digits",
    "bytea_output",
    "lc_monetary",
    "transform_null_equals",
    "array_nulls",
    "standard_conforming_strings",
    "client_min_messages",
    "statement_timeout",
    "lock_timeout",
    "work_mem",
    "jit",
    "plan_cache_mode",
    "enable_seqscan",
    "enable_indexscan",
    "enable_bitmapscan",
    "enable_sort",
    "enable_incremental_sort",
};

/* Those that pgtopk itself works with; without a value where pgvector was not loaded or nothing
 * was set. */
static const char *const own_settings[] = {
    "transaction_isolation",
    "backslash_quote",
    "restrict_nonsystem_relation_kind",
    "exit_on_error",
    "pgtopk.route",
    "pgtopk.overfetch",
    "pgtopk.short_answer",
    "pgtopk.notices",
    "hnsw.ef_search",
    "hnsw.iterative_scan",
    "hnsw.max_scan_tuples",
    "hnsw.scan_mem_multiplier",
    "ivfflat.probes",
    "ivfflat.iterative_scan",
    "idle_session_timeout",
    "idle_in_transaction_session_timeout",
    "ivfflat.max_probes",
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * Whether the open transaction may have written: it has an xid; or it holds a lock that a reader
 * does not need, because foreign tables and distributed tables are written to without one. What
 * a foreign table is read from may write as well: a view over there that calls a function.
 */
static const char wrote_sql[] =
    "pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL OR EXISTS (SELECT FROM"
    " pg_catalog.pg_locks l WHERE l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()"
    " AND l.locktype OPERATOR(pg_catalog.=) 'relation'::pg_catalog.text"
    " AND (l.mode OPERATOR(pg_catalog.<>) ALL"
    " (ARRAY['AccessShareLock', 'RowShareLock']::pg_catalog.text[])"
    " OR EXISTS (SELECT FROM pg_catalog.pg_class c"
    " WHERE c.oid OPERATOR(pg_catalog.=) l.relation AND NOT c.relispartition"
    " AND c.relkind OPERATOR(pg_catalog.=) 'f'::pg_catalog.\"char\")))";
/* Functions that Citus runs on a worker lock nothing here, but begin a distributed transaction. */
static const char citus_wrote_sql[] =
    " OR (SELECT d.transaction_number FROM pg_catalog.get_current_transaction_id() d)"
    " OPERATOR(pg_catalog.<>) 0::pg_catalog.int8";

struct known_table {
	char *name;
	struct facts_table table;
	UT_hash_handle hh;
};

struct facts {
	bool known;
	uint64_t asked_ms;
	struct known_table *tables;
	char *session_user;
	char *current_user;
	char *login_user;
	uint64_t generation; /* of the map that was there when they were asked for */
	bool hides_types;
	bool look_closely; /* at types: something is searched before pg_catalog */
	bool may_use;      /* pgvector's schema */
	bool loaded;       /* the session's server process has loaded pgvector */
	bool wrote;        /* the open transaction, perhaps */
	struct settings *worker;
	struct settings *own;
	enum config_route route_default;
	bool route_known; /* what `own` says of it may still be so */
	double overfetch_default;
	enum config_short_answer short_answer_default;

	/* a question under way */
	char *asking;
	bool answered;
	void (*done)(struct session *session, bool ok);
};

static char *text_dup(const char *text, size_t len)
{
	char *copy = malloc(len + 1);

	if (!copy)
		abort();
	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

struct facts *facts_new(void)
{
	struct facts *facts = calloc(1, sizeof(*facts));

	if (!facts)
		abort();
	return facts;
}

static void forget(struct facts *facts)
{
	struct known_table *known, *next;

	HASH_ITER (hh, facts->tables, known, next) {
		HASH_DEL(facts->tables, known);
		free(known->name);
		free(known);
	}
	facts->known = false;
}

void facts_free(struct facts *facts)
{
	if (!facts)
		return;
	forget(facts);
	settings_unref(facts->worker);
	settings_unref(facts->own);
	free(facts->session_user);
	free(facts->current_user);
	free(facts->login_user);
	free(facts->asking);
	free(facts);
}

void facts_expire(struct facts *facts)
{
	if (facts->known)
		forget(facts);
}

bool facts_fresh(const struct facts *facts, uint64_t generation, uint64_t now_ms, uint64_t ttl_ms)
{
	return facts->known && facts->generation == generation &&
	       now_ms - facts->asked_ms <= ttl_ms;
}

const struct facts_table *facts_table(const struct facts *facts, const char *name)
{
	struct known_table *known;

	HASH_FIND_STR(facts->tables, name, known);
	return known ? &known->table : NULL;
}

static void put_text(struct iobuf *sql, const char *text)
{
	wire_put_bytes(sql, text, strlen(text));
}

static void put_settings(struct iobuf *sql, const char *const *names, size_t count)
{
	char column[96];

	for (size_t i = 0; i < count; i++) {
		int len = snprintf(column, sizeof(column),
		                   ", pg_catalog.current_setting('%s', true)", names[i]);

		wire_put_bytes(sql, column, (size_t)len);
	}
}

/*
 * A routed statement would have loaded pgvector, and with it the session's hnsw.* settings. The
 * input function of the type is looked up, which loads its library; the value is false.
 */
static void put_load(struct session *session, struct iobuf *sql, uint32_t vector_oid)
{
	char text[96];
	int len;

	if (session->facts->loaded || vector_oid == 0)
		return;
	len = snprintf(text, sizeof(text),
	               " OR pg_catalog.array_in('{}'::pg_catalog.cstring, %u, -1) IS NULL",
	               (unsigned)vector_oid);
	wire_put_bytes(sql, text, (size_t)len);
}

/* Without USAGE the names of pgvector's schema cannot be used, whoever may read the table. */
static void put_usage(struct iobuf *sql, uint32_t vector_oid)
{
	char text[224];
	int len = snprintf(text, sizeof(text),
	                   ", pg_catalog.has_schema_privilege((SELECT t.typnamespace FROM"
	                   " pg_catalog.pg_type t WHERE t.oid OPERATOR(pg_catalog.=)"
	                   " %u::pg_catalog.oid), 'USAGE')",
	                   (unsigned)vector_oid);

	wire_put_bytes(sql, text, (size_t)len);
}

static void put_question(struct session *session, const char *table_name,
                         const struct shardmap *map)
{
	uint32_t vector_oid = shardmap_vector_oid(map);
	struct iobuf *out = &session->coordinator.out;
	struct iobuf sql;

	iobuf_init(&sql);
	put_text(&sql, ask_sql);
	put_text(&sql, session->facts->look_closely ? look_closely_sql : hides_sql);
	if (session->status == 'T') {
		put_text(&sql, wrote_sql);
		if (shardmap_provider(map) == SHARDMAP_CITUS)
			put_text(&sql, citus_wrote_sql);
	} else {
		put_text(&sql, "false");
	}
	put_load(session, &sql, vector_oid);
	put_usage(&sql, vector_oid);
	put_settings(&sql, worker_settings, COUNT(worker_settings));
	put_settings(&sql, own_settings, COUNT(own_settings));
	put_text(&sql, strchr(table_name, '.') ? qualified_from_sql : from_sql);
	hidden_put(out, (const char *)iobuf_head(&sql), iobuf_len(&sql), table_name);
	wire_put_bare(out, WIRE_FE_Sync);
	iobuf_fini(&sql);
}

static bool is_char(const struct wire_value *value, char c)
{
	return value->len == 1 && value->data[0] == (uint8_t)c;
}

static bool is_true(const struct wire_value *value)
{
	return is_char(value, 't');
}

static void read_table(struct facts *facts, const struct wire_value *values)
{
	struct known_table *known = calloc(1, sizeof(*known));
	char *oid;

	if (!known)
		abort();
	known->name = text_dup(facts->asking, strlen(facts->asking));
	if (values[TABLE_OID].len > 0) {
		oid = text_dup((const char *)values[TABLE_OID].data, (size_t)values[TABLE_OID].len);
		known->table.oid = (uint32_t)strtoul(oid, NULL, 10);
		free(oid);
	}
	known->table.may_select = is_true(&values[MAY_SELECT]);
	known->table.row_security = is_true(&values[ROW_SECURITY]);
	HASH_ADD_KEYPTR(hh, facts->tables, known->name, strlen(known->name), known);
}

static void replace(char **text, const struct wire_value *value)
{
	free(*text);
	*text = value->len < 0 ? NULL : text_dup((const char *)value->data, (size_t)value->len);
}

static struct settings *read_settings(const char *const *names, size_t count,
                                      const struct wire_value *values)
{
	struct settings *settings = settings_new();

	for (size_t i = 0; i < count; i++) {
		char *value;

		if (values[i].len < 0)
			continue;
		value = text_dup((const char *)values[i].data, (size_t)values[i].len);
		settings_put(settings, names[i], value);
		free(value);
	}
	settings_seal(settings);
	return settings;
}

/* Keeps the object when nothing changed, so that comparing pointers goes on working. */
static void adopt(struct settings **slot, struct settings *fresh)
{
	if (*slot && settings_equal(*slot, fresh)) {
		settings_unref(fresh);
		return;
	}
	settings_unref(*slot);
	*slot = fresh;
}

static bool read_row(struct facts *facts, const uint8_t *body, size_t len)
{
	struct wire_value values[FIRST_SETTING + COUNT(worker_settings) + COUNT(own_settings)];
	struct wire_reader reader;
	const struct wire_value *settings = values + FIRST_SETTING;

	if (wire_read_data_row(body, len, &reader) != (int)COUNT(values))
		return false;
	for (size_t i = 0; i < COUNT(values); i++)
		if (!wire_read_value(&reader, &values[i]))
			return false;
	facts->look_closely = !is_char(&values[HIDES_TYPES], 'n');
	facts->hides_types = is_true(&values[HIDES_TYPES]);
	if (!is_char(&values[HIDES_TYPES], '?')) /* else it will be asked for again */
		read_table(facts, values);
	replace(&facts->session_user, &values[SESSION_USER]);
	replace(&facts->current_user, &values[CURRENT_USER]);
	facts->wrote = is_true(&values[WROTE]);
	facts->may_use = is_true(&values[MAY_USE]);
	facts->route_known = true;
	facts->loaded = true;
	adopt(&facts->worker, read_settings(worker_settings, COUNT(worker_settings), settings));
	adopt(&facts->own,
	      read_settings(own_settings, COUNT(own_settings), settings + COUNT(worker_settings)));
	return true;
}

static void on_message(struct session *session, uint8_t type, const uint8_t *body, size_t len)
{
	struct facts *facts = session->facts;

	if (type == WIRE_BE_DataRow)
		facts->answered = read_row(facts, body, len);
	else if (type == WIRE_BE_ErrorResponse)
		facts->answered = false;
}

static void on_ready(struct session *session)
{
	struct facts *facts = session->facts;

	if (!facts->answered)
		forget(facts);
	else if (!facts->known) /* else another table's name was asked for */
		facts->asked_ms = loop_now_ms(session->proxy->loop);
	facts->known = facts->answered;
	free(facts->asking);
	facts->asking = NULL;
	facts->done(session, facts->answered);
}

void facts_ask(struct session *session, const char *table_name, const struct shardmap *map,
               void (*done)(struct session *session, bool ok))
{
	static const struct session_inner inner = {.on_message = on_message, .on_ready = on_ready};
	struct facts *facts = session->facts;

	assert(!facts->asking);
	if (!facts_fresh(facts, shardmap_generation(map), loop_now_ms(session->proxy->loop),
	                 (uint64_t)session->proxy->config->settings_ttl))
		forget(facts);
	facts->generation = shardmap_generation(map);
	facts->asking = text_dup(table_name, strlen(table_name));
	facts->answered = false;
	facts->done = done;
	config_parse_route(session->proxy->config->route, &facts->route_default);
	facts->overfetch_default = session->proxy->config->overfetch;
	config_parse_short_answer(session->proxy->config->short_answer,
	                          &facts->short_answer_default);
	free(facts->login_user);
	facts->login_user = text_dup(session->user, strlen(session->user));
	put_question(session, table_name, map);
	session_start_inner(session, &inner);
}

const char *facts_value(const struct facts *facts, const char *name)
{
	const char *value = facts->own ? settings_get(facts->own, name) : NULL;

	return value && value[0] ? value : NULL;
}

struct settings *facts_settings(const struct facts *facts)
{
	return facts->worker;
}

struct settings *facts_own_settings(const struct facts *facts)
{
	return facts->own;
}

/*
 * Settings under which a statement is read otherwise than here, refused, or talked about: it is
 * routed only if they have one of these values, or do not exist there.
 */
static bool settings_are_usual(const struct facts *facts)
{
	static const struct {
		const char *name, *values[3];
	} usual[] = {
	    {"backslash_quote", {"safe_encoding", "on"}},
	    {"client_min_messages", {"notice", "warning", "error"}},
	    {"restrict_nonsystem_relation_kind", {NULL}},
	    {"exit_on_error", {"off"}},
	};

	for (size_t i = 0; i < COUNT(usual); i++) {
		const char *of_worker = settings_get(facts->worker, usual[i].name);
		const char *value = of_worker ? of_worker : facts_value(facts, usual[i].name);
		bool found = value == NULL;

		for (size_t j = 0; j < COUNT(usual[i].values) && !found; j++)
			found = usual[i].values[j] && strcmp(value, usual[i].values[j]) == 0;
		if (!found)
			return false;
	}
	return true;
}

/* Texts are read as standard_conforming_strings has them, and in an encoding whose
 * multibyte characters hold no ASCII bytes. */
static bool text_is_readable(const struct facts *facts)
{
	static const char *const unsafe[] = {"BIG5",           "GBK", "GB18030", "JOHAB", "SJIS",
	                                     "SHIFT_JIS_2004", "UHC"};
	const char *conforming = settings_get(facts->worker, "standard_conforming_strings");
	const char *encoding = settings_get(facts->worker, "client_encoding");

	if (!conforming || strcmp(conforming, "on") != 0 || !encoding)
		return false;
	for (size_t i = 0; i < COUNT(unsafe); i++)
		if (strcasecmp(encoding, unsafe[i]) == 0)
			return false;
	return true;
}

bool facts_read_alike(const struct facts *facts, const struct settings *then)
{
	static const char *const names[] = {"array_nulls",
	                                    "client_encoding",
	                                    "datestyle",
	                                    "intervalstyle",
	                                    "lc_monetary",
	                                    "standard_conforming_strings",
	                                    "timezone",
	                                    "timezone_abbreviations",
	                                    "transform_null_equals"};

	for (size_t i = 0; i < COUNT(names) && then != facts->worker; i++) {
		const char *was = settings_get(then, names[i]);
		const char *is = settings_get(facts->worker, names[i]);

		if (was && is ? strcmp(was, is) != 0 : was != is)
			return false;
	}
	return true;
}

static enum config_route read_route(const struct facts *facts)
{
	const char *text = facts_value(facts, "pgtopk.route");
	enum config_route route;

	return text && config_parse_route(text, &route) ? route : facts->route_default;
}

bool facts_shadowed(const struct facts *facts)
{
	return facts->route_known && read_route(facts) == CONFIG_ROUTE_SHADOW;
}

void facts_forget_route(struct facts *facts)
{
	facts->route_known = false;
}

enum refusal facts_check(const struct facts *facts)
{
	const char *isolation = facts_value(facts, "transaction_isolation");
	enum config_route route = read_route(facts);

	if (route == CONFIG_ROUTE_OFF)
		return REFUSAL_route_off;
	if (!facts->session_user || !facts->current_user ||
	    strcmp(facts->session_user, facts->current_user) != 0 ||
	    strcmp(facts->session_user, facts->login_user) != 0)
		return REFUSAL_role;
	if (!text_is_readable(facts) || !settings_are_usual(facts) || facts->hides_types)
		return REFUSAL_settings;
	if (!facts->may_use)
		return REFUSAL_permission;
	if (!isolation || strcmp(isolation, "read committed") != 0)
		return REFUSAL_isolation;
	if (facts->wrote)
		return REFUSAL_written;
	return route == CONFIG_ROUTE_SHADOW ? REFUSAL_shadow : REFUSAL_none;
}

double facts_overfetch(const struct facts *facts)
{
	const char *text = facts_value(facts, "pgtopk.overfetch");
	double value;

	if (text && config_parse_real(text, 1.0, 100.0, &value))
		return value;
	return facts->overfetch_default;
}

enum config_short_answer facts_short_answer(const struct facts *facts)
{
	const char *text = facts_value(facts, "pgtopk.short_answer");
	enum config_short_answer answer;

	return text && config_parse_short_answer(text, &answer) ? answer
	                                                        : facts->short_answer_default;
}

/* As current_setting() writes it: a number and ms, s, min, h or d, or 0. */
static uint64_t read_duration(const char *text)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}};
	char *end;
	uint64_t number;

	if (!text)
		return 0;
	number = strtoull(text, &end, 10);
	for (size_t i = 0; i < COUNT(units); i++)
		if (strcmp(end, units[i].unit) == 0)
			return number * units[i].ms;
	return 0;
}

uint64_t facts_statement_timeout_ms(const struct facts *facts)
{
	return read_duration(settings_get(facts->worker, "statement_timeout"));
}

uint64_t facts_lock_timeout_ms(const struct facts *facts)
{
	return read_duration(settings_get(facts->worker, "lock_timeout"));
}

uint64_t facts_idle_timeout_ms(const struct facts *facts, char status)
{
	return read_duration(facts_value(
	    facts, status == 'I' ? "idle_session_timeout" : "idle_in_transaction_session_timeout"));
}
