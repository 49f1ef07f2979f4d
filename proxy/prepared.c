/*
 * Prepared: see prepared.h. Names are never used twice on a connection, so a
 * late Close cannot hit another statement.
 */
#include "proxy/prepared.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "proxy/wire.h"
#include "proxy/worker.h"

struct prepared {
	unsigned count;
	size_t bytes; /* of all cached keys */
	uint32_t last_name;
	struct prepared_statement *by_key;
	struct prepared_statement *recent;
	struct prepared_statement *closing; /* linked by next; a reference each */
	uint8_t *scratch;                   /* a key under construction */
	size_t scratch_cap;
};

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

struct prepared *prepared_new(void)
{
	return must(calloc(1, sizeof(struct prepared)));
}

void prepared_ref(struct prepared_statement *statement)
{
	statement->refs++;
}

void prepared_unref(struct prepared_statement *statement)
{
	assert(statement->refs > 0);
	if (--statement->refs > 0)
		return;
	assert(!statement->cached);
	free(statement->results);
	free(statement->key);
	free(statement);
}

/* Takes it out of the cache, whose reference is the caller's then. */
static void uncache(struct prepared *prepared, struct prepared_statement *statement)
{
	assert(statement->cached);
	statement->cached = false;
	HASH_DEL(prepared->by_key, statement);
	DL_DELETE(prepared->recent, statement);
	prepared->count--;
	prepared->bytes -= statement->key_len;
}

void prepared_free(struct prepared *prepared)
{
	struct prepared_statement *statement;

	while ((statement = prepared_next_to_close(prepared)) != NULL)
		prepared_unref(statement);
	while ((statement = prepared->recent) != NULL) {
		uncache(prepared, statement);
		prepared_unref(statement);
	}
	free(prepared->scratch);
	free(prepared);
}

static uint8_t *put(uint8_t *at, const void *data, size_t len)
{
	if (len)
		memcpy(at, data, len);
	return at + len;
}

/*
 * Literals are read when a statement is parsed: '02-03-2025' stays the day it was then. And a plan
 * that does not depend on parameters is made once: enable_* must have been the same, and what
 * constants were turned into by float8out() and byteaout(), which count as immutable.
 */
static const char *const parsed_under[] = {
    "array_nulls",        "bytea_output",           "client_encoding",
    "datestyle",          "enable_bitmapscan",      "enable_incremental_sort",
    "enable_indexscan",   "enable_seqscan",         "enable_sort",
    "extra_float_digits", "intervalstyle",          "lc_monetary",
    "timezone",           "timezone_abbreviations", "transform_null_equals",
};
#define PARSED_UNDER (sizeof(parsed_under) / sizeof(parsed_under[0]))

/* Everything that makes two queries different statements, in prepared->scratch. */
static size_t make_key(struct prepared *prepared, const struct worker_query *query,
                       struct settings *settings)
{
	size_t values_len = 0;
	const char *values =
	    settings ? settings_values(settings, parsed_under, PARSED_UNDER, &values_len) : NULL;
	unsigned nresults = query->result_types ? query->nresult_types : UINT32_MAX;
	size_t types_len = query->ntypes * sizeof(*query->types);
	size_t results_len = query->result_types ? nresults * sizeof(*query->result_types) : 0;
	size_t len = 2 * sizeof(unsigned) + types_len + results_len + query->sql_len;
	uint8_t *at;

	len += values_len;
	if (len > prepared->scratch_cap) {
		prepared->scratch_cap = 2 * len;
		prepared->scratch = must(realloc(prepared->scratch, prepared->scratch_cap));
	}
	at = put(prepared->scratch, &query->ntypes, sizeof(query->ntypes));
	at = put(at, &nresults, sizeof(nresults));
	at = put(at, query->types, types_len);
	at = put(at, query->result_types, results_len);
	at = put(at, values, values_len);
	put(at, query->sql, query->sql_len);
	return len;
}

static struct prepared_statement *new_statement(struct prepared *prepared, size_t key_len,
                                                const struct worker_query *query)
{
	struct prepared_statement *statement = must(calloc(1, sizeof(*statement)));

	snprintf(statement->name, sizeof(statement->name), "s%" PRIu32, ++prepared->last_name);
	statement->refs = 1;
	statement->cached = true;
	statement->key = must(malloc(key_len));
	statement->key_len = key_len;
	memcpy(statement->key, prepared->scratch, key_len);
	if (query->result_types) {
		size_t len = query->nresult_types * sizeof(*statement->results);

		statement->nresults = query->nresult_types;
		statement->results = must(malloc(len ? len : 1));
		put((uint8_t *)statement->results, query->result_types, len);
	}
	return statement;
}

struct prepared_statement *prepared_get(struct prepared *prepared, const struct worker_query *query,
                                        struct settings *settings, bool *is_new)
{
	size_t len = make_key(prepared, query, settings);
	struct prepared_statement *statement;
	unsigned hash;

	HASH_VALUE(prepared->scratch, len, hash);
	HASH_FIND_BYHASHVALUE(hh, prepared->by_key, prepared->scratch, len, hash, statement);
	*is_new = statement == NULL;
	if (statement) {
		if (statement != prepared->recent) {
			DL_DELETE(prepared->recent, statement);
			DL_PREPEND(prepared->recent, statement);
		}
		return statement;
	}
	statement = new_statement(prepared, len, query);
	HASH_ADD_KEYPTR_BYHASHVALUE(hh, prepared->by_key, statement->key, len, hash, statement);
	DL_PREPEND(prepared->recent, statement);
	prepared->count++;
	prepared->bytes += len;
	return statement;
}

struct prepared_statement *prepared_evict(struct prepared *prepared,
                                          const struct prepared_statement *keep)
{
	struct prepared_statement *oldest;

	if (prepared->count <= PREPARED_MAX && prepared->bytes <= PREPARED_MAX_BYTES)
		return NULL;
	oldest = prepared->recent->prev; /* utlist: the head's prev is the tail */
	if (oldest == keep)
		return NULL;
	uncache(prepared, oldest);
	return oldest;
}

void prepared_close_later(struct prepared *prepared, struct prepared_statement *statement)
{
	assert(!statement->cached);
	if (!statement->known)
		return;
	prepared_ref(statement);
	LL_PREPEND(prepared->closing, statement);
}

void prepared_forget(struct prepared *prepared, struct prepared_statement *statement)
{
	if (!statement->cached)
		return; /* evicted: its Close is on its way */
	uncache(prepared, statement);
	prepared_close_later(prepared, statement);
	prepared_unref(statement);
}

void prepared_lost(struct prepared *prepared, struct prepared_statement *statement)
{
	statement->known = false;
	if (!statement->cached)
		return;
	uncache(prepared, statement);
	prepared_unref(statement);
}

struct prepared_statement *prepared_next_to_close(struct prepared *prepared)
{
	struct prepared_statement *first = prepared->closing;

	if (first)
		prepared->closing = first->next;
	return first;
}

unsigned prepared_count(const struct prepared *prepared)
{
	return prepared->count;
}

bool prepared_answers(const struct prepared_statement *statement, const uint8_t *body, size_t len)
{
	struct wire_reader fields;
	struct wire_field field;
	int count = len ? wire_read_row_description(body, len, &fields) : 0;

	if (count < 0 || (unsigned)count != statement->nresults)
		return false;
	for (unsigned i = 0; i < statement->nresults; i++)
		if (!wire_read_field(&fields, &field) ||
		    (statement->results[i] && field.type_oid != statement->results[i]))
			return false;
	return true;
}

void prepared_put_mismatch(struct iobuf *message)
{
	struct wire_error error = {
	    .severity = "ERROR",
	    .sqlstate = "42804",
	    .message = "the shard's columns are not of the table's types",
	};

	wire_put_error(message, WIRE_BE_ErrorResponse, &error);
}
