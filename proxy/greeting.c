/*
 * Greeting: see greeting.h.
 *
 * array_in() looks up the input function of the type it is given, which loads the
 * library it is in; no other way works for every user and every schema. Types are
 * found through pg_depend: whose they are counts, not what they are called or
 * where they are.
 *
 * Iterative scans are there if both the extension and the library, which need not be
 * of the same version, are new enough. A server process keeps the library that it has
 * loaded: what is true now stays true for this connection, whatever is upgraded.
 */
#include "proxy/greeting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/wire.h"

#define COLUMNS 6
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
    " pg_catalog.current_setting('hnsw.iterative_scan', true)"
    " FROM (SELECT e.extversion, " TYPE_OID("vector") ", " TYPE_OID("halfvec") ", " TYPE_OID(
	"sparsevec") " FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'vector'::pg_catalog.name"
		     " OFFSET 0) facts";

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

static void on_row(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct greeting *greeting = owner;
	struct wire_reader values;
	char version[32], skipped[8], iterative_scan[16];
	int major = 0, minor = 0, patch = 0;

	(void)id;
	if (wire_read_data_row(body, len, &values) != COLUMNS)
		return;
	read_text(&values, version, sizeof(version));
	if (sscanf(version, "%4d.%4d.%4d", &major, &minor, &patch) < 2)
		return;
	greeting->facts.vector_version = major * 10000 + minor * 100 + patch;
	greeting->facts.vector_oid = read_oid(&values);
	greeting->facts.halfvec_oid = read_oid(&values);
	greeting->facts.sparsevec_oid = read_oid(&values);
	read_text(&values, skipped, sizeof(skipped));
	read_text(&values, iterative_scan, sizeof(iterative_scan));
	greeting->facts.iterative_scans =
	    greeting->facts.vector_version >= ITERATIVE_SCANS_VERSION && iterative_scan[0];
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
	struct worker_query query = {.sql = greeting_sql, .sql_len = strlen(greeting_sql)};

	*greeting = (struct greeting){.worker = worker, .done = done, .owner = owner};
	worker_begin(worker, &job, greeting);
	worker_query(worker, &query);
	worker_sync(worker);
}
