/*
 * Signature: see signature.h.
 */
#include "proxy/signature.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "proxy/wire.h"

#define KEPT_MAX 1000 /* tables */

/* $1: the signature that is wanted; $2, $3: schemas and names, as bytes of UTF-8 whatever the
 * session's encoding is. Shards that are missing make the query itself fail. */
#define TEXTS(parameter)                                                                           \
	"pg_catalog.convert_from(" parameter "::pg_catalog.bytea, 'UTF8')::pg_catalog.text[]"
static const char question[] =
    "SELECT pg_catalog.count(*) FROM ROWS FROM (pg_catalog.unnest(" TEXTS("$2") "), pg_catalog.unnest(" TEXTS(
	"$3") ")) s(schema, name)"
	      " JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) s.schema::pg_catalog.name"
	      " JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) n.oid"
	      " AND c.relname OPERATOR(pg_catalog.=) s.name::pg_catalog.name"
	      " WHERE c.relkind OPERATOR(pg_catalog.<>) ALL (ARRAY['r', 'p', 'm']::pg_catalog.\"char\"[])"
	      " OR c.relrowsecurity OR NOT (" TEXTS("$1") " OPERATOR(pg_catalog.<@) " SIGNATURE_SQL(
		  "c.oid") ")";

struct key {
	uint64_t generation;
	uint32_t catalog, table;
};

struct entry {
	struct key key;
	bool unlike;
	UT_hash_handle hh;
	unsigned nnodes;
	bool alike[];
};

struct signatures {
	struct entry *entries;
};

static void *zeroed(size_t size)
{
	void *memory = calloc(1, size);

	if (!memory)
		abort();
	return memory;
}

struct signatures *signatures_new(void)
{
	return zeroed(sizeof(struct signatures));
}

static void forget(struct signatures *signatures)
{
	struct entry *entry, *next;

	HASH_ITER (hh, signatures->entries, entry, next) {
		HASH_DEL(signatures->entries, entry);
		free(entry);
	}
}

void signatures_free(struct signatures *signatures)
{
	if (!signatures)
		return;
	forget(signatures);
	free(signatures);
}

static struct entry *find(const struct signatures *signatures, uint32_t catalog,
                          const struct shardmap *map, const struct shardmap_table *table)
{
	struct key key = {shardmap_generation(map), catalog, table->oid};
	struct entry *entry;

	HASH_FIND(hh, signatures->entries, &key, sizeof(key), entry);
	return entry;
}

bool signatures_unlike(const struct signatures *signatures, uint32_t catalog,
                       const struct shardmap *map, const struct shardmap_table *table)
{
	const struct entry *entry = table->signature ? find(signatures, catalog, map, table) : NULL;

	return entry && entry->unlike;
}

bool signatures_unknown(const struct signatures *signatures, uint32_t catalog,
                        const struct shardmap *map, const struct shardmap_table *table,
                        unsigned node)
{
	const struct entry *entry;

	if (!table->signature || shardmap_node(map, node)->coordinator)
		return false;
	entry = find(signatures, catalog, map, table);
	return !entry || !entry->alike[node];
}

bool signatures_learn(struct signatures *signatures, uint32_t catalog, const struct shardmap *map,
                      const struct shardmap_table *table, unsigned node, const uint8_t *body,
                      size_t len)
{
	struct entry *entry = find(signatures, catalog, map, table);
	struct wire_reader reader;
	struct wire_value count;

	if (!entry) {
		if (HASH_COUNT(signatures->entries) >= KEPT_MAX)
			forget(signatures);
		entry = zeroed(sizeof(*entry) + shardmap_node_count(map) * sizeof(entry->alike[0]));
		entry->key = (struct key){shardmap_generation(map), catalog, table->oid};
		entry->nnodes = shardmap_node_count(map);
		HASH_ADD(hh, signatures->entries, key, sizeof(entry->key), entry);
	}
	entry->alike[node] = wire_read_data_row(body, len, &reader) == 1 &&
	                     wire_read_value(&reader, &count) && count.len == 1 &&
	                     count.data[0] == '0';
	entry->unlike = entry->unlike || !entry->alike[node];
	return entry->alike[node];
}

/* ---- the question ---- */

/* An element of an array's text. */
static void put_element(struct iobuf *array, const char *text)
{
	iobuf_append(array, iobuf_len(array) ? ",\"" : "{\"", 2);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			iobuf_append(array, "\\", 1);
		iobuf_append(array, text, 1);
	}
	iobuf_append(array, "\"", 1);
}

static void put_parameter(struct iobuf *parameters, const void *data, size_t len)
{
	wire_put_u32(parameters, (uint32_t)len);
	wire_put_bytes(parameters, data, len);
}

void signature_ask(struct worker *worker, const struct shardmap_table *table, unsigned node)
{
	struct worker_query query = {
	    .id = SIGNATURE_QUERY, .sql = question, .sql_len = strlen(question)};
	struct iobuf parameters, schemas, names;

	iobuf_init(&parameters);
	iobuf_init(&schemas);
	iobuf_init(&names);
	for (unsigned i = 0; i < table->nshards; i++) {
		if (table->shards[i].node != node)
			continue;
		put_element(&schemas, table->shards[i].schema);
		put_element(&names, table->shards[i].name);
	}
	iobuf_append(&schemas, "}", 1);
	iobuf_append(&names, "}", 1);
	wire_put_u16(&parameters, 1); /* all binary */
	wire_put_u16(&parameters, 1);
	wire_put_u16(&parameters, 3);
	put_parameter(&parameters, table->signature, strlen(table->signature));
	put_parameter(&parameters, iobuf_head(&schemas), iobuf_len(&schemas));
	put_parameter(&parameters, iobuf_head(&names), iobuf_len(&names));
	query.parameters = iobuf_head(&parameters);
	query.parameters_len = iobuf_len(&parameters);
	worker_query(worker, &query);
	iobuf_fini(&parameters);
	iobuf_fini(&schemas);
	iobuf_fini(&names);
}
