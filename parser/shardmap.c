/*
 * Shard map: growing arrays while it is built, hash tables beside them for the
 * look-ups. Tables keep their addresses, so callers may hold them while they
 * add others.
 */
#include "parser/shardmap.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#define FUNCTION_KEY 96 /* NAMEDATALEN is 64 */

struct name {
	UT_hash_handle hh;
	char text[];
};

struct entry {
	struct shardmap_table table;
	UT_hash_handle hh; /* by table.oid */
};

struct shardmap {
	unsigned refs;
	bool sealed;
	enum shardmap_provider provider;
	uint64_t generation;
	char *vector_schema;
	uint32_t vector_types[SHARDMAP_TYPE_SPARSEVEC + 1]; /* by enum shardmap_type */
	unsigned nnodes;
	struct shardmap_node *nodes;
	unsigned ntables;
	struct entry **tables; /* in the order they were added */
	struct entry *by_oid;
	struct name *functions;
	struct name *foreign_operators;
};

static void *must(void *memory)
{
	if (memory == NULL)
		abort();
	return memory;
}

static char *copy(const char *text)
{
	return text == NULL ? NULL : must(strdup(text));
}

/* Room for one more item in an array of count; it grows at powers of two. */
static void *grown(void *array, unsigned count, size_t size)
{
	if (count != 0 && (count & (count - 1)) != 0)
		return array;
	return must(realloc(array, (count == 0 ? 1 : (size_t)count * 2) * size));
}

static void names_add(struct name **names, const char *text)
{
	size_t len = strlen(text);
	struct name *name;

	HASH_FIND(hh, *names, text, len, name);
	if (name != NULL)
		return;
	name = must(malloc(sizeof(*name) + len + 1));
	memcpy(name->text, text, len + 1);
	HASH_ADD_KEYPTR(hh, *names, name->text, len, name);
}

static bool names_have(struct name *names, const char *text)
{
	struct name *name;

	HASH_FIND(hh, names, text, strlen(text), name);
	return name != NULL;
}

static void names_free(struct name **names)
{
	struct name *name, *next;

	HASH_ITER (hh, *names, name, next) {
		HASH_DEL(*names, name);
		free(name);
	}
}

/* ---- building ---- */

struct shardmap *shardmap_new(enum shardmap_provider provider, uint64_t generation)
{
	struct shardmap *map = must(calloc(1, sizeof(*map)));

	map->refs = 1;
	map->provider = provider;
	map->generation = generation;
	return map;
}

static bool same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

unsigned shardmap_add_node(struct shardmap *map, const char *host, int port, const char *database,
                           bool coordinator)
{
	struct shardmap_node *node;

	assert(!map->sealed);
	for (unsigned i = 0; i < map->nnodes; i++) {
		node = &map->nodes[i];
		if (same(node->host, host) && node->port == port &&
		    same(node->database, database) && node->coordinator == coordinator)
			return i;
	}
	map->nodes = grown(map->nodes, map->nnodes, sizeof(*map->nodes));
	node = &map->nodes[map->nnodes];
	node->host = copy(host);
	node->port = port;
	node->database = copy(database);
	node->coordinator = coordinator;
	return map->nnodes++;
}

struct shardmap_table *shardmap_add_table(struct shardmap *map, uint32_t oid, const char *schema,
                                          const char *name)
{
	struct entry *entry;

	assert(!map->sealed);
	assert(oid != 0 && schema != NULL && name != NULL);
	HASH_FIND(hh, map->by_oid, &oid, sizeof(oid), entry);
	if (entry != NULL)
		return &entry->table;
	entry = must(calloc(1, sizeof(*entry)));
	entry->table.oid = oid;
	entry->table.schema = copy(schema);
	entry->table.name = copy(name);
	entry->table.routable = true;
	HASH_ADD(hh, map->by_oid, table.oid, sizeof(entry->table.oid), entry);
	map->tables = grown(map->tables, map->ntables, sizeof(struct entry *));
	map->tables[map->ntables++] = entry;
	return &entry->table;
}

void shardmap_add_column(struct shardmap_table *table, const char *name, int attnum,
                         uint32_t type_oid, enum shardmap_type type)
{
	struct shardmap_column *column;

	assert(name != NULL);
	table->columns = grown(table->columns, table->ncolumns, sizeof(*table->columns));
	column = &table->columns[table->ncolumns++];
	column->name = copy(name);
	column->attnum = attnum;
	column->type_oid = type_oid;
	column->type = type;
}

void shardmap_add_shard(struct shardmap_table *table, int64_t id, unsigned node, const char *schema,
                        const char *name)
{
	struct shardmap_shard *shard;

	assert(schema != NULL && name != NULL);
	table->shards = grown(table->shards, table->nshards, sizeof(*table->shards));
	shard = &table->shards[table->nshards++];
	shard->id = id;
	shard->node = node;
	shard->schema = copy(schema);
	shard->name = copy(name);
}

/* "length/1" */
static void function_key(char *key, size_t size, const char *name, unsigned nargs)
{
	snprintf(key, size, "%s/%u", name, nargs);
}

void shardmap_add_function(struct shardmap *map, const char *name, unsigned nargs)
{
	char key[FUNCTION_KEY];

	assert(!map->sealed);
	function_key(key, sizeof(key), name, nargs);
	names_add(&map->functions, key);
}

void shardmap_set_vector_schema(struct shardmap *map, const char *schema)
{
	assert(!map->sealed);
	free(map->vector_schema);
	map->vector_schema = copy(schema);
}

void shardmap_set_vector_type(struct shardmap *map, enum shardmap_type type, uint32_t oid)
{
	assert(!map->sealed);
	assert(type >= SHARDMAP_TYPE_VECTOR && type <= SHARDMAP_TYPE_SPARSEVEC);
	map->vector_types[type] = oid;
}

void shardmap_add_foreign_operator(struct shardmap *map, const char *name)
{
	assert(!map->sealed);
	names_add(&map->foreign_operators, name);
}

static int compare_columns(const void *a, const void *b)
{
	const struct shardmap_column *x = a;
	const struct shardmap_column *y = b;

	return (x->attnum > y->attnum) - (x->attnum < y->attnum);
}

static int compare_shards(const void *a, const void *b)
{
	const struct shardmap_shard *x = a;
	const struct shardmap_shard *y = b;

	if (x->node != y->node)
		return x->node > y->node ? 1 : -1;
	return (x->id > y->id) - (x->id < y->id);
}

void shardmap_seal(struct shardmap *map)
{
	assert(!map->sealed);
	for (unsigned i = 0; i < map->ntables; i++) {
		struct shardmap_table *table = &map->tables[i]->table;

		for (unsigned j = 0; j < table->nshards; j++)
			assert(table->shards[j].node < map->nnodes);
		if (table->ncolumns > 1)
			qsort(table->columns, table->ncolumns, sizeof(*table->columns),
			      compare_columns);
		if (table->nshards > 1)
			qsort(table->shards, table->nshards, sizeof(*table->shards),
			      compare_shards);
	}
	map->sealed = true;
}

/* ---- reading ---- */

struct shardmap *shardmap_ref(struct shardmap *map)
{
	assert(map->refs > 0);
	map->refs++;
	return map;
}

static void table_free(struct entry *entry)
{
	struct shardmap_table *table = &entry->table;

	for (unsigned i = 0; i < table->ncolumns; i++)
		free(table->columns[i].name);
	for (unsigned i = 0; i < table->nshards; i++) {
		free(table->shards[i].schema);
		free(table->shards[i].name);
	}
	free(table->columns);
	free(table->shards);
	free(table->schema);
	free(table->name);
	free(table->key);
	free(table->signature);
	free(entry);
}

void shardmap_unref(struct shardmap *map)
{
	if (map == NULL)
		return;
	assert(map->refs > 0);
	if (--map->refs > 0)
		return;
	HASH_CLEAR(hh, map->by_oid);
	for (unsigned i = 0; i < map->ntables; i++)
		table_free(map->tables[i]);
	for (unsigned i = 0; i < map->nnodes; i++) {
		free(map->nodes[i].host);
		free(map->nodes[i].database);
	}
	names_free(&map->functions);
	names_free(&map->foreign_operators);
	free(map->tables);
	free(map->nodes);
	free(map->vector_schema);
	free(map);
}

enum shardmap_provider shardmap_provider(const struct shardmap *map)
{
	return map->provider;
}

uint64_t shardmap_generation(const struct shardmap *map)
{
	return map->generation;
}

unsigned shardmap_node_count(const struct shardmap *map)
{
	return map->nnodes;
}

const struct shardmap_node *shardmap_node(const struct shardmap *map, unsigned node)
{
	assert(node < map->nnodes);
	return &map->nodes[node];
}

unsigned shardmap_table_count(const struct shardmap *map)
{
	return map->ntables;
}

const struct shardmap_table *shardmap_table_at(const struct shardmap *map, unsigned i)
{
	assert(i < map->ntables);
	return &map->tables[i]->table;
}

const struct shardmap_table *shardmap_table_by_oid(const struct shardmap *map, uint32_t oid)
{
	struct entry *entry;

	assert(map->sealed);
	HASH_FIND(hh, map->by_oid, &oid, sizeof(oid), entry);
	return entry == NULL ? NULL : &entry->table;
}

const struct shardmap_column *shardmap_column(const struct shardmap_table *table, const char *name)
{
	for (unsigned i = 0; i < table->ncolumns; i++) {
		if (strcmp(table->columns[i].name, name) == 0)
			return &table->columns[i];
	}
	return NULL;
}

bool shardmap_has_function(const struct shardmap *map, const char *name, unsigned nargs)
{
	char key[FUNCTION_KEY];

	function_key(key, sizeof(key), name, nargs);
	return names_have(map->functions, key);
}

const char *shardmap_vector_schema(const struct shardmap *map)
{
	return map->vector_schema;
}

uint32_t shardmap_vector_oid(const struct shardmap *map)
{
	return map->vector_types[SHARDMAP_TYPE_VECTOR];
}

enum shardmap_type shardmap_vector_type(const struct shardmap *map, uint32_t oid)
{
	for (int type = SHARDMAP_TYPE_VECTOR; type <= SHARDMAP_TYPE_SPARSEVEC; type++)
		if (oid != 0 && map->vector_types[type] == oid)
			return (enum shardmap_type)type;
	return SHARDMAP_TYPE_OTHER;
}

bool shardmap_has_foreign_operator(const struct shardmap *map, const char *name)
{
	return names_have(map->foreign_operators, name);
}
