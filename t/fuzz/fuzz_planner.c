/*
 * Fuzz planner: SQL text through the prefilter, the lifting of literals, the parser and
 * the plan for each table of a fixed shard map. First byte: how many rows a shard is
 * asked for. What is planned has passed the prefilter, and its texts are SQL.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "parser/literal.h"
#include "parser/plan.h"
#include "parser/prefilter.h"
#include "parser/setting.h"
#include "parser/sql.h"
#include "t/fuzz/fuzz.h"
#include "t/unit/testmap.h"

/* libpg_query's grammar takes the text, and what it reads can be written and read again. */
static void expect_sql(const char *text, size_t len)
{
	struct arena *arena = arena_new();
	PgQuery__ParseResult *tree, *again;
	const char *written;

	assert(strlen(text) == len);
	tree = sql_parse(text, arena);
	assert(tree && tree->n_stmts == 1);
	written = sql_deparse(tree, arena);
	assert(written);
	again = sql_parse(written, arena);
	assert(again && sql_equal(&tree->base, &again->base));
	arena_free(arena);
}

static void expect_plan(const struct plan *plan, const struct shardmap_table *table, uint64_t rows)
{
	struct plan_text text = {0};

	assert(plan->nkeys > 0 && plan->limit.kind != PLAN_COUNT_NONE);
	assert(plan->limit.value >= 0 && plan->offset.value >= 0);
	expect_sql(plan->describe_sql, strlen(plan->describe_sql));
	for (unsigned i = 0; i < table->nshards; i++) {
		text.len = 0;
		plan_shard_sql(plan, &table->shards[i], rows, &text);
		expect_sql(text.data, text.len);
	}
	plan_text_fini(&text);
}

static bool plan_all(const struct query *query, const struct shardmap *map, uint64_t rows)
{
	bool planned = false;

	for (unsigned i = 0; i < shardmap_table_count(map); i++) {
		const struct shardmap_table *table = shardmap_table_at(map, i);
		struct plan *plan = NULL;

		if (plan_new(query, map, table, &plan) == REFUSAL_none) {
			planned = true;
			expect_plan(plan, table, rows);
		}
		plan_unref(plan);
	}
	return planned;
}

static bool plan_text(const char *sql, size_t len, uint64_t rows)
{
	struct shardmap *map = testmap_new(1);
	struct query *query = NULL;
	bool planned = false;

	if (query_parse(sql, len, &query) == REFUSAL_none) {
		assert(query_table(query)[0]);
		planned = plan_all(query, map, rows);
	}
	query_unref(query);
	shardmap_unref(map);
	return planned;
}

static void read_setting(const char *sql, size_t len)
{
	struct arena *arena = arena_new();
	const char *name, *value;

	if (setting_parse(sql, len, arena, &name, &value))
		assert(strlen(name) + strlen(value) <= 2 * len);
	arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *arena;
	struct literal_lifted lifted;
	char *sql;

	if (size == 0)
		return 0;
	sql = fuzz_copy(data + 1, size - 1);
	arena = arena_new();
	literal_lift(sql, size - 1, arena, &lifted);
	assert(lifted.len <= size - 1);
	if (plan_text(lifted.sql, lifted.len, 1 + (uint64_t)data[0]) ||
	    (lifted.count > 0 && plan_text(sql, size - 1, INT64_MAX)))
		assert(prefilter_is_candidate(sql, size - 1));
	read_setting(sql, size - 1);
	arena_free(arena);
	free(sql);
	return 0;
}
