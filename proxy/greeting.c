/*
 * Greeting: see greeting.h.
 *
 * array_in() looks up the input function of the type it is given, which loads the
 * library it is in; no other way works for every user and every schema. Types are
 * found through pg_depend: whose they are counts, not what they are called or
 * where they are. The connection's transactions are REPEATABLE READ from then on, so
 * that a pipeline reads all its shards in one snapshot.
 *
 * Iterative scans are there if both the extension and the library, which need not be
 * of the same version, are new enough. A server process keeps the library that it has
 * loaded: what is true now stays true for this connection, whatever is upgraded.
 */
#include "proxy/greeting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/budget.h"
#include "proxy/wire.h"

#define COLUMNS 12
#define ITERATIVE_SCANS_VERSION 800 /* pgvector 0.8.0 */

#define TYPE_OID(name)                                                                              \
	"(SELECT t.oid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_type t"                       \
	" ON t.oid OPERATOR(pg_catalog.=) d.objid"                                                  \
	" WHERE d.classid OPERATOR(pg_catalog.=) 1247 AND d.refclassid OPERATOR(pg_catalog.=) 3079" \
	" AND d.refobjid OPERATOR(pg_catalog.=) e.oid"                                              \
	" AND t.typname OPERATOR(pg_catalog.=) '" name "'::pg_catalog.name) AS " name

static const char greeting_sql[] =
    "SELECT extversion, vector, halfvec, sparsevec,"
    " pg_catalog.array_in('{}'::pg_catalog.cstring, vector, -1) IS NULL,"
    " pg_catalog.set_config('default_transaction_isolation', 'repeatable read', false),"
    " pg_catalog.current_setting('hnsw.iterative_scan', true),"
    " pg_catalog.current_setting('hnsw.ef_search', true),"
    " pg_catalog.current_setting('ivfflat.probes', true),"
    " pg_catalog.current_setting('hnsw.max_scan_tuples', true),"
    " pg_catalog.current_setting('hnsw.scan_mem_multiplier', true),"
    " pg_catalog.current_setting('ivfflat.max_probes', true)"
    " FROM (SELECT e.extversion, " TYPE_OID("vector") ", " TYPE_OID("halfvec") ", " TYPE_OID(
	"sparsevec") " FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'vector'::pg_catalog.name"
		     " OFFSET 0) facts";

/*
 * Built-in names that mean something else here as well, which the coordinator cannot tell:
 * functions of a name that is built in or pgvector's; operators made by hand for known types
 * (built in or pgvector's), or other ones for pgvector's; types, as "::name"; casts between known
 * types by somebody's function, or by none, as "::type", and as "::" if they happen unasked.
 * For search_path = pg_catalog. 1255: pg_proc, 1247: pg_type, 2617: pg_operator, 2605: pg_cast.
 */
static const char strangers_sql[] =
    "WITH v AS (SELECT oid FROM pg_extension WHERE extname = 'vector'), member AS MATERIALIZED"
    " (SELECT d.classid, d.objid, d.refobjid = v.oid AS ours FROM v, pg_depend d"
    " WHERE d.refclassid = 3079 AND d.deptype = 'e'), known AS MATERIALIZED"
    " (SELECT t.oid FROM pg_type t WHERE t.oid < 16384 UNION ALL SELECT 0::oid"
    " UNION ALL SELECT m.objid FROM member m WHERE m.ours AND m.classid = 1247)"
    " SELECT p.proname::text FROM v, pg_proc p"
    " LEFT JOIN member m ON m.classid = 1255 AND m.objid = p.oid"
    " WHERE p.oid >= 16384 AND p.prokind = 'f' AND m.ours IS NOT TRUE AND (m.ours IS NULL"
    " OR NOT EXISTS (SELECT FROM unnest(p.proargtypes) a WHERE a NOT IN (SELECT oid FROM known)))"
    " AND EXISTS (SELECT FROM pg_proc b WHERE b.proname = p.proname AND b.provolatile = 'i'"
    " AND (b.oid < 16384 OR b.oid IN (SELECT o.objid FROM member o"
    " WHERE o.ours AND o.classid = 1255)))"
    " UNION SELECT o.oprname::text FROM v, pg_operator o"
    " LEFT JOIN member m ON m.classid = 2617 AND m.objid = o.oid"
    " WHERE o.oid >= 16384 AND m.ours IS NOT TRUE"
    " AND o.oprleft IN (SELECT oid FROM known) AND o.oprright IN (SELECT oid FROM known)"
    " AND (m.ours IS NULL OR EXISTS (SELECT FROM member t WHERE t.ours AND t.classid = 1247"
    " AND t.objid IN (o.oprleft, o.oprright)))"
    " UNION SELECT '::' || t.typname FROM v, pg_type t JOIN pg_type b ON b.typname = t.typname"
    " WHERE t.oid >= 16384 AND b.oid < 16384"
    " UNION SELECT CASE n WHEN 1 THEN '::' ELSE '::' || t.typname END"
    " FROM v, generate_series(1, 2) n, pg_cast c JOIN pg_type t ON t.oid = c.casttarget"
    " WHERE c.oid >= 16384 AND c.castmethod <> 'i' AND (n = 2 OR c.castcontext = 'i')"
    " AND c.castsource IN (SELECT oid FROM known) AND c.casttarget IN (SELECT oid FROM known)"
    " AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 2605 AND m.objid = c.oid)";

/* Until the end of the pipeline, which is one transaction. */
static const char search_path_sql[] =
    "SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)";

enum question { ASK_VERSION, ASK_SEARCH_PATH, ASK_STRANGERS };

static void read_text(struct wire_reader *values, char *text, size_t size)
{
	struct wire_value value;

	text[0] = '\0';
	if (wire_read_value(values, &value) && value.len > 0 && (size_t)value.len < size) {
		memcpy(text, value.data, (size_t)value.len);
		text[value.len] = '\0';
	}
}

static uint32_t read_oid(struct wire_reader *values)
{
	char text[16];

	read_text(values, text, sizeof(text));
	return (uint32_t)strtoul(text, NULL, 10);
}

/* A setting; 0: it is not there, or as pgvector has it. */
static double read_configured(struct wire_reader *values, double otherwise)
{
	char text[32];
	double value;

	read_text(values, text, sizeof(text));
	value = strtod(text, NULL);
	return value == otherwise ? 0 : value;
}

static void read_index(struct worker_facts *facts, struct wire_reader *values)
{
	struct worker_index *index = &facts->index;
	char iterative_scan[16];

	read_text(values, iterative_scan, sizeof(iterative_scan));
	index->iterative_scans =
	    facts->vector_version >= ITERATIVE_SCANS_VERSION && iterative_scan[0];
	index->ef_search = (int)read_configured(values, BUDGET_EF_SEARCH_DEFAULT);
	index->probes = (int)read_configured(values, 1);
	index->max_scan_tuples = (int)read_configured(values, WORKER_MAX_SCAN_TUPLES);
	index->scan_mem_multiplier = read_configured(values, 1);
	index->max_probes = (int)read_configured(values, WORKER_MAX_PROBES);
}

static void read_stranger(struct greeting *greeting, const uint8_t *body, size_t len)
{
	struct wire_reader values;
	struct wire_value value;

	if (wire_read_data_row(body, len, &values) == 1 && wire_read_value(&values, &value) &&
	    value.len >= 0)
		names_add(&greeting->facts.strangers, (const char *)value.data, (size_t)value.len);
}

static void on_row(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct greeting *greeting = owner;
	struct wire_reader values;
	char version[32], skipped[32];
	int major = 0, minor = 0, patch = 0;

	if (id == ASK_STRANGERS) {
		read_stranger(greeting, body, len);
		return;
	}
	if (id != ASK_VERSION || wire_read_data_row(body, len, &values) != COLUMNS)
		return;
	read_text(&values, version, sizeof(version));
	if (sscanf(version, "%4d.%4d.%4d", &major, &minor, &patch) < 2)
		return;
	greeting->facts.vector_version = major * 10000 + minor * 100 + patch;
	greeting->facts.vector_oid = read_oid(&values);
	greeting->facts.halfvec_oid = read_oid(&values);
	greeting->facts.sparsevec_oid = read_oid(&values);
	read_text(&values, skipped, sizeof(skipped));
	read_text(&values, skipped, sizeof(skipped));
	read_index(&greeting->facts, &values);
}

static void on_error(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct greeting *greeting = owner;
	const char *sqlstate = wire_error_field(body, len, 'C');

	(void)id;
	snprintf(greeting->error, sizeof(greeting->error),
	         "pgvector's version could not be read (sqlstate %.5s)", sqlstate ? sqlstate : "?");
}

static void on_ready(void *owner)
{
	struct greeting *greeting = owner;

	if (!greeting->error[0])
		worker_set_facts(greeting->worker, &greeting->facts);
	greeting->done(greeting->owner, greeting->error[0] ? greeting->error : NULL);
}

static void on_lost(void *owner, const char *why)
{
	struct greeting *greeting = owner;

	greeting->done(greeting->owner, why);
}

static const struct worker_job job = {
    .on_row = on_row,
    .on_error = on_error,
    .on_ready = on_ready,
    .on_lost = on_lost,
};

void greeting_run(struct greeting *greeting, struct worker *worker,
                  void (*done)(void *owner, const char *error), void *owner)
{
	struct worker_query version = {
	    .id = ASK_VERSION, .sql = greeting_sql, .sql_len = strlen(greeting_sql)};
	struct worker_query strangers = {
	    .id = ASK_STRANGERS, .sql = strangers_sql, .sql_len = strlen(strangers_sql)};
	struct worker_query search_path = {
	    .id = ASK_SEARCH_PATH, .sql = search_path_sql, .sql_len = strlen(search_path_sql)};

	*greeting = (struct greeting){.worker = worker, .done = done, .owner = owner};
	worker_begin(worker, &job, greeting);
	worker_query(worker, &version);
	worker_query(worker, &search_path);
	worker_query(worker, &strangers);
	worker_sync(worker);
}
