/*
 * Indexes: what a table is warned of, by the indexes that its shards have.
 */
#include "proxy/indexes.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define SHARDS 5

static struct shardmap *map;
static struct shardmap_table *table;
static struct indexes *indexes;
static char said[4096];

static const struct indexes_row usual = {"hnsw", "e", "", "vector_l2_ops", "m=16", true};

static void setup(void)
{
	unsigned nodes[2];
	char name[8];

	map = shardmap_new(SHARDMAP_PARTITIONS, 1);
	nodes[0] = shardmap_add_node(map, "a", 1, NULL, false);
	nodes[1] = shardmap_add_node(map, "", 0, NULL, true);
	table = shardmap_add_table(map, 1, "s", "t");
	for (int i = 0; i < SHARDS; i++) {
		snprintf(name, sizeof(name), "t_%d", i);
		shardmap_add_shard(table, i, nodes[i == SHARDS - 1], "s", name);
	}
	shardmap_seal(map);
	indexes = indexes_new(map, table);
	said[0] = '\0';
}

static void teardown(void)
{
	indexes_free(indexes);
	shardmap_unref(map);
}

TestSuite(indexes, .init = setup, .fini = teardown);

static void hear(void *owner, const char *text)
{
	cr_assert_eq(owner, said);
	strcat(said, text);
	strcat(said, "\n");
}

static void expect(const char *wanted)
{
	indexes_judge(indexes, hear, said);
	cr_expect_str_eq(said, wanted);
}

static void add_to(unsigned first, unsigned end, struct indexes_row row)
{
	for (unsigned i = first; i < end; i++)
		indexes_add(indexes, i, &row);
}

Test(indexes, all_alike_or_none_at_all_is_well)
{
	indexes_set_version(indexes, 0, 800);
	indexes_set_version(indexes, SHARDS - 1, 800);
	expect("");
	add_to(0, SHARDS, usual);
	expect("");
}

Test(indexes, one_is_missing)
{
	add_to(0, 3, usual);
	add_to(4, SHARDS, usual);
	expect("1 of 5 shards has no index hnsw (e) and is scanned sequentially: s.t_3 on a:1\n");
}

Test(indexes, many_are_missing)
{
	struct indexes_row partial = usual;

	partial.predicate = "secret = 1";
	add_to(0, 1, partial);
	expect("4 of 5 shards have no index partial hnsw (e) and are scanned sequentially: "
	       "s.t_1 on a:1, s.t_2 on a:1, s.t_3 on a:1 and 1 more\n");
}

Test(indexes, an_invalid_one_counts_only_without_a_valid_one)
{
	struct indexes_row invalid = usual;

	invalid.valid = false;
	add_to(0, 4, usual);
	add_to(3, SHARDS, invalid); /* shard 3 has both */
	expect("1 of 5 shards has an invalid index hnsw (e) and is scanned sequentially: "
	       "s.t_4 on the coordinator\n");
}

Test(indexes, parameters_and_operator_classes_differ)
{
	struct indexes_row other = usual, third = usual;

	other.parameters = "m=8";
	third.opclass = "vector_ip_ops";
	add_to(0, 3, usual);
	add_to(3, 4, other);
	add_to(4, 5, third);
	expect("the index hnsw (e) is not the same on all shards: vector_l2_ops, m=16 on s.t_0 on "
	       "a:1, s.t_1 on a:1, s.t_2 on a:1; vector_l2_ops, m=8 on s.t_3 on a:1; "
	       "vector_ip_ops, m=16 on s.t_4 on the coordinator\n");
}

Test(indexes, two_operator_classes_on_one_column_are_two_indexes)
{
	struct indexes_row other = usual;

	other.opclass = "vector_ip_ops";
	add_to(0, SHARDS, usual);
	add_to(0, SHARDS - 1, other);
	expect("1 of 5 shards has no index hnsw (e vector_ip_ops) and is scanned sequentially: "
	       "s.t_4 on the coordinator\n");
}

Test(indexes, another_method_or_column_is_another_index)
{
	struct indexes_row other = usual;

	add_to(0, SHARDS, usual);
	other.method = "ivfflat";
	add_to(0, SHARDS, other);
	other.column = "f";
	add_to(0, SHARDS, other);
	expect("");
}

Test(indexes, versions_differ)
{
	indexes_set_version(indexes, 0, 800);
	indexes_set_version(indexes, SHARDS - 1, 704);
	expect("pgvector is not the same on all nodes: 0.8.0 on a:1, 0.7.4 on the coordinator\n");
}
