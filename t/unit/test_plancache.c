/*
 * Plan cache: what is found again, what is not, and that neither the number of
 * entries nor their bytes outgrow the limits.
 */
#include "parser/plancache.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/unit/testmap.h"

#define SQL "SELECT id FROM items ORDER BY e <-> $1 LIMIT 5"

static enum refusal ask(struct plancache *cache, const char *sql, struct query **query)
{
	return plancache_query(cache, sql, strlen(sql), query);
}

Test(plancache, same_text_same_query)
{
	struct plancache *cache = plancache_new(10, 1 << 20);
	struct query *first, *second, *other;

	cr_assert_eq(ask(cache, SQL, &first), REFUSAL_none);
	cr_assert_eq(ask(cache, SQL, &second), REFUSAL_none);
	cr_assert_eq(ask(cache, SQL " ", &other), REFUSAL_none);
	cr_expect_eq(first, second);
	cr_expect_neq(first, other);
	cr_expect_eq(plancache_stats(cache).hits, 1);
	cr_expect_eq(plancache_stats(cache).misses, 2);
	query_unref(first);
	query_unref(second);
	query_unref(other);
	plancache_free(cache);
}

Test(plancache, refusals_are_kept)
{
	struct plancache *cache = plancache_new(10, 1 << 20);
	struct query *query = (struct query *)&cache;

	cr_expect_eq(ask(cache, "SELEC", &query), REFUSAL_syntax);
	cr_expect_null(query);
	query = (struct query *)&cache;
	cr_expect_eq(ask(cache, "SELEC", &query), REFUSAL_syntax);
	cr_expect_null(query);
	cr_expect_eq(ask(cache, "", &query), REFUSAL_not_select);
	cr_expect_eq(ask(cache, "", &query), REFUSAL_not_select);
	cr_expect_eq(plancache_stats(cache).hits, 2);
	cr_expect_eq(plancache_stats(cache).entries, 2);
	plancache_free(cache);
}

Test(plancache, plans_by_query_database_table_generation)
{
	struct plancache *cache = plancache_new(10, 1 << 20);
	struct shardmap *map = testmap_new(1);
	struct shardmap *newer = testmap_new(2);
	const struct shardmap_table *items = shardmap_table_by_oid(map, TESTMAP_ITEMS);
	struct query *query;
	struct plan *plans[5];

	cr_assert_eq(ask(cache, SQL, &query), REFUSAL_none);
	cr_assert_eq(plancache_plan(cache, query, 1, map, items, &plans[0]), REFUSAL_none);
	cr_assert_eq(plancache_plan(cache, query, 1, map, items, &plans[1]), REFUSAL_none);
	cr_assert_eq(plancache_plan(cache, query, 2, map, items, &plans[2]), REFUSAL_none);
	cr_assert_eq(plancache_plan(cache, query, 1, newer,
	                            shardmap_table_by_oid(newer, TESTMAP_ITEMS), &plans[3]),
	             REFUSAL_none);
	cr_expect_eq(plans[0], plans[1]);
	cr_expect_neq(plans[0], plans[2]);
	cr_expect_neq(plans[0], plans[3]);
	cr_expect_eq(plancache_plan(cache, query, 1, map, shardmap_table_by_oid(map, TESTMAP_ODD),
	                            &plans[4]),
	             REFUSAL_from_clause);
	cr_expect_eq(plancache_plan(cache, query, 1, map, shardmap_table_by_oid(map, TESTMAP_ODD),
	                            &plans[4]),
	             REFUSAL_from_clause);
	cr_expect_null(plans[4]);
	cr_expect_eq(plancache_stats(cache).hits, 2);
	cr_expect_eq(plancache_stats(cache).entries, 5);
	plancache_forget(cache, 1);
	cr_expect_eq(plancache_stats(cache).entries, 2);
	plancache_free(cache);
	/* what was given out outlives the cache and the map */
	shardmap_unref(map);
	shardmap_unref(newer);
	query_unref(query);
	for (int i = 0; i < 4; i++) {
		cr_expect_eq(plans[i]->limit.value, 5);
		plan_unref(plans[i]);
	}
}

Test(plancache, oldest_goes_first)
{
	struct plancache *cache = plancache_new(3, 1 << 20);
	struct query *query;

	ask(cache, "a", &query);
	ask(cache, "b", &query);
	ask(cache, "c", &query);
	ask(cache, "a", &query); /* now b is the oldest */
	ask(cache, "d", &query);
	cr_expect_eq(plancache_stats(cache).entries, 3);
	cr_expect_eq(plancache_stats(cache).evictions, 1);
	cr_expect_eq(plancache_stats(cache).hits, 1);
	ask(cache, "a", &query);
	ask(cache, "c", &query);
	ask(cache, "d", &query);
	cr_expect_eq(plancache_stats(cache).hits, 4);
	ask(cache, "b", &query);
	cr_expect_eq(plancache_stats(cache).hits, 4);
	plancache_free(cache);
}

Test(plancache, bytes_are_bounded)
{
	size_t max = 1 << 16;
	struct plancache *cache = plancache_new(100000, max);
	char sql[600];
	struct query *query;

	for (int i = 0; i < 3000; i++) {
		snprintf(sql, sizeof(sql), "SELEC %0*d", 10 + i % 500, i);
		ask(cache, sql, &query);
		cr_assert_leq(plancache_stats(cache).bytes, max);
	}
	cr_expect_gt(plancache_stats(cache).entries, 10);
	for (int i = 0; i < 100; i++) {
		snprintf(sql, sizeof(sql), SQL "%d", i);
		cr_assert_eq(ask(cache, sql, &query), REFUSAL_none);
		query_unref(query);
		cr_assert_leq(plancache_stats(cache).bytes, max);
	}
	plancache_free(cache);
}

Test(plancache, large_entries_and_no_cache)
{
	struct plancache *cache = plancache_new(10, 1000);
	struct plancache *none = plancache_new(0, 1 << 20);
	struct query *query;

	cr_expect_eq(ask(cache, SQL, &query), REFUSAL_none);
	query_unref(query);
	cr_expect_eq(plancache_stats(cache).entries, 0);
	cr_expect_eq(ask(none, SQL, &query), REFUSAL_none);
	query_unref(query);
	cr_expect_eq(plancache_stats(none).entries, 0);
	plancache_free(cache);
	plancache_free(none);
	plancache_free(NULL);
}

/* A query whose text was evicted still finds its plan. */
Test(plancache, evicted_query_is_still_usable)
{
	struct plancache *cache = plancache_new(2, 1 << 20);
	struct shardmap *map = testmap_new(1);
	const struct shardmap_table *items = shardmap_table_by_oid(map, TESTMAP_ITEMS);
	struct query *query, *other;
	struct plan *first, *second;

	cr_assert_eq(ask(cache, SQL, &query), REFUSAL_none);
	cr_assert_eq(plancache_plan(cache, query, 1, map, items, &first), REFUSAL_none);
	ask(cache, "x", &other);
	cr_assert_eq(plancache_plan(cache, query, 1, map, items, &second), REFUSAL_none);
	cr_expect_eq(first, second);
	ask(cache, "y", &other);
	ask(cache, "z", &other);
	plan_unref(second);
	cr_assert_eq(plancache_plan(cache, query, 1, map, items, &second), REFUSAL_none);
	cr_expect_neq(first, second);
	cr_expect_str_eq(first->describe_sql, second->describe_sql);
	plan_unref(first);
	plan_unref(second);
	query_unref(query);
	shardmap_unref(map);
	plancache_free(cache);
}
