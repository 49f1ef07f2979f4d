/*
 * Test map: the sharded tables that the parser's unit tests ask about. Header
 * only, so that a test links nothing but the parser.
 */
#ifndef T_UNIT_TESTMAP_H
#define T_UNIT_TESTMAP_H

#include <stdlib.h>
#include <string.h>

#include "parser/shardmap.h"

#define TESTMAP_ITEMS 1000
#define TESTMAP_ODD 1001
#define TESTMAP_UNROUTABLE 1002

static inline void testmap_add_items(struct shardmap *map)
{
	struct shardmap_table *table = shardmap_add_table(map, TESTMAP_ITEMS, "public", "items");

	table->key = strdup("id");
	shardmap_add_column(table, "id", 1, 20, SHARDMAP_TYPE_BUILTIN);
	shardmap_add_column(table, "name", 2, 25, SHARDMAP_TYPE_BUILTIN);
	shardmap_add_column(table, "n", 4, 23, SHARDMAP_TYPE_BUILTIN);
	shardmap_add_column(table, "e", 5, 90001, SHARDMAP_TYPE_VECTOR);
	shardmap_add_column(table, "h", 6, 90002, SHARDMAP_TYPE_HALFVEC);
	shardmap_add_column(table, "s", 7, 90003, SHARDMAP_TYPE_SPARSEVEC);
	shardmap_add_column(table, "b", 8, 1560, SHARDMAP_TYPE_BIT);
	shardmap_add_column(table, "tags", 9, 3802, SHARDMAP_TYPE_BUILTIN);
	shardmap_add_column(table, "at", 10, 1184, SHARDMAP_TYPE_BUILTIN);
	shardmap_add_shard(table, 102009, 0, "public", "items_102009");
	shardmap_add_shard(table, 102008, 0, "public", "items_102008");
}

/* Names that need quotes, a column of a user-defined type, no key. */
static inline void testmap_add_odd(struct shardmap *map)
{
	struct shardmap_table *table =
	    shardmap_add_table(map, TESTMAP_ODD, "My Schema", "Odd\"Table");

	shardmap_add_column(table, "select", 1, 20, SHARDMAP_TYPE_BUILTIN);
	shardmap_add_column(table, "E", 2, 90001, SHARDMAP_TYPE_VECTOR);
	shardmap_add_column(table, "geo", 3, 90100, SHARDMAP_TYPE_OTHER);
	shardmap_add_column(table, "system_user", 4, 25, SHARDMAP_TYPE_BUILTIN);
	shardmap_add_shard(table, 1, 0, "My Schema", "Odd\"Table_1");
}

/* Not sealed yet. */
static inline struct shardmap *testmap_building(uint64_t generation)
{
	static const struct {
		const char *name;
		unsigned nargs;
	} functions[] = {
	    {"abs", 1},         {"upper", 1},         {"lower", 1},       {"length", 1},
	    {"subvector", 3},   {"l2_normalize", 1},  {"l2_distance", 2}, {"binary_quantize", 1},
	    {"like_escape", 2}, {"inner_product", 2}, {"hashenum", 1},    {"hash_array", 1},
	};
	struct shardmap *map = shardmap_new(SHARDMAP_CITUS, generation);
	struct shardmap_table *table;

	shardmap_add_node(map, "worker1", 5432, NULL, false);
	testmap_add_items(map);
	testmap_add_odd(map);
	table = shardmap_add_table(map, TESTMAP_UNROUTABLE, "public", "unroutable");
	table->routable = false;
	shardmap_add_column(table, "e", 1, 90001, SHARDMAP_TYPE_VECTOR);
	shardmap_add_shard(table, 5, 0, "public", "unroutable_5");
	shardmap_set_vector_schema(map, "ext");
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		shardmap_add_function(map, functions[i].name, functions[i].nargs);
	shardmap_add_foreign_operator(map, "<+>");
	return map;
}

static inline struct shardmap *testmap_new(uint64_t generation)
{
	struct shardmap *map = testmap_building(generation);

	shardmap_seal(map);
	return map;
}

#endif
