/*
 * Shard map: building, sealing, look-ups, counting.
 */
#include "parser/shardmap.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parser/refusal.h"
#include "t/unit/testmap.h"

Test(shardmap, nodes_are_told_apart)
{
	struct shardmap *map = shardmap_new(SHARDMAP_PARTITIONS, 7);

	cr_expect_eq(shardmap_add_node(map, "a", 1, NULL, false), 0);
	cr_expect_eq(shardmap_add_node(map, "a", 2, NULL, false), 1);
	cr_expect_eq(shardmap_add_node(map, "b", 1, NULL, false), 2);
	cr_expect_eq(shardmap_add_node(map, "a", 1, "db", false), 3);
	cr_expect_eq(shardmap_add_node(map, "a", 1, NULL, true), 4);
	cr_expect_eq(shardmap_add_node(map, NULL, 0, NULL, true), 5);
	cr_expect_eq(shardmap_add_node(map, "a", 1, NULL, false), 0);
	cr_expect_eq(shardmap_add_node(map, "a", 1, "db", false), 3);
	cr_expect_eq(shardmap_add_node(map, NULL, 0, NULL, true), 5);
	shardmap_seal(map);
	cr_expect_eq(shardmap_node_count(map), 6);
	cr_expect_str_eq(shardmap_node(map, 3)->database, "db");
	cr_expect(shardmap_node(map, 4)->coordinator);
	cr_expect_eq(shardmap_provider(map), SHARDMAP_PARTITIONS);
	cr_expect_eq(shardmap_generation(map), 7);
	shardmap_unref(map);
}

Test(shardmap, tables_are_found)
{
	struct shardmap *map = testmap_new(1);
	const struct shardmap_table *table = shardmap_table_by_oid(map, TESTMAP_ITEMS);

	cr_assert_not_null(table);
	cr_expect_str_eq(table->name, "items");
	cr_expect_eq(table, shardmap_table_at(map, 0));
	cr_expect_eq(shardmap_table_count(map), 3);
	cr_expect_null(shardmap_table_by_oid(map, 4711));
	cr_expect_eq(shardmap_column(table, "e")->attnum, 5);
	cr_expect_null(shardmap_column(table, "E"));
	cr_expect_null(shardmap_column(table, "ctid"));
	shardmap_unref(map);
}

Test(shardmap, same_oid_same_table)
{
	struct shardmap *map = shardmap_new(SHARDMAP_CITUS, 1);
	struct shardmap_table *first = shardmap_add_table(map, 5, "s", "t");

	for (uint32_t oid = 6; oid < 200; oid++)
		shardmap_add_table(map, oid, "s", "other");
	cr_expect_eq(shardmap_add_table(map, 5, "s", "t"), first);
	cr_expect(first->routable);
	cr_expect_null(first->key);
	shardmap_seal(map);
	cr_expect_eq(shardmap_table_count(map), 195);
	cr_expect_eq(shardmap_table_by_oid(map, 5), first);
	cr_expect_eq(shardmap_table_by_oid(map, 199)->oid, 199);
	shardmap_unref(map);
}

Test(shardmap, seal_sorts)
{
	struct shardmap *map = shardmap_new(SHARDMAP_CITUS, 1);
	struct shardmap_table *table = shardmap_add_table(map, 5, "s", "t");
	char name[16];

	shardmap_add_node(map, "a", 1, NULL, false);
	shardmap_add_node(map, "b", 1, NULL, false);
	for (int i = 99; i >= 0; i--) {
		snprintf(name, sizeof(name), "t_%d", i);
		shardmap_add_shard(table, i, (unsigned)i % 2, "s", name);
		shardmap_add_column(table, name, i + 1, 23, SHARDMAP_TYPE_BUILTIN);
	}
	shardmap_seal(map);
	for (unsigned i = 0; i < 100; i++) {
		unsigned id = i < 50 ? i * 2 : (i - 50) * 2 + 1;

		cr_expect_eq(table->shards[i].node, i / 50);
		cr_expect_eq(table->shards[i].id, id);
		cr_expect_eq(table->columns[i].attnum, (int)i + 1);
	}
	shardmap_unref(map);
}

Test(shardmap, names)
{
	struct shardmap *map = testmap_new(1);

	cr_expect(shardmap_has_function(map, "abs", 1));
	cr_expect_not(shardmap_has_function(map, "abs", 2));
	cr_expect_not(shardmap_has_function(map, "ab", 1));
	cr_expect_not(shardmap_has_function(map, "", 1));
	cr_expect(shardmap_has_foreign_operator(map, "<+>"));
	cr_expect_not(shardmap_has_foreign_operator(map, "<->"));
	cr_expect_str_eq(shardmap_vector_schema(map), "ext");
	shardmap_unref(map);
}

Test(shardmap, empty)
{
	struct shardmap *map = shardmap_new(SHARDMAP_CITUS, 1);

	shardmap_add_function(map, "f", 1);
	shardmap_add_function(map, "f", 1);
	shardmap_set_vector_schema(map, "a");
	shardmap_set_vector_schema(map, NULL);
	shardmap_seal(map);
	cr_expect_null(shardmap_vector_schema(map));
	cr_expect_null(shardmap_table_by_oid(map, 1));
	cr_expect_eq(shardmap_node_count(map), 0);
	shardmap_unref(map);
	shardmap_unref(NULL);
}

Test(shardmap, counted)
{
	struct shardmap *map = testmap_new(1);

	cr_expect_eq(shardmap_ref(map), map);
	shardmap_unref(map);
	cr_expect_eq(shardmap_table_count(map), 3);
	shardmap_unref(map);
}

Test(refusal, every_reason_has_name_and_text)
{
	for (int i = 0; i < REFUSAL_COUNT; i++) {
		cr_assert_not_null(refusal_name((enum refusal)i));
		cr_expect(strlen(refusal_name((enum refusal)i)) > 0);
		cr_expect(strlen(refusal_text((enum refusal)i)) > 0);
	}
	cr_expect_str_eq(refusal_name(REFUSAL_none), "none");
	cr_expect_str_eq(refusal_name(REFUSAL_order_by), "order_by");
}
