/*
 * Plan: which statements are routed, and with which texts. What is refused is
 * in test_plan_refusal.c.
 */
#include "parser/plan.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parser/sql.h"
#include "t/unit/testmap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SHARD "\"public\".\"items_102008\" "

struct shared {
	struct shardmap *map;
	const struct shardmap_table *table;
	struct query *query;
	struct plan *plan;
	struct plan_text text; /* for the first shard, 40 rows */
};

/* The plan must come about. */
static struct shared planned(const char *sql, uint32_t table)
{
	struct shared s = {.map = testmap_new(1)};
	enum refusal refusal = query_parse(sql, strlen(sql), &s.query);

	cr_assert_eq(refusal, REFUSAL_none, "%s: %s", refusal_name(refusal), sql);
	s.table = shardmap_table_by_oid(s.map, table);
	refusal = plan_new(s.query, s.map, s.table, &s.plan);
	cr_assert_eq(refusal, REFUSAL_none, "%s: %s", refusal_name(refusal), sql);
	plan_shard_sql(s.plan, &s.table->shards[0], 40, &s.text);
	cr_assert_eq(s.text.len, strlen(s.text.data));
	return s;
}

static void done(struct shared *s)
{
	plan_text_fini(&s->text);
	plan_unref(s->plan);
	query_unref(s->query);
	shardmap_unref(s->map);
}

/* Parentheses and spellings differ between the versions of libpg_query, so it is
 * trees that are compared. */
static void expect_same(const char *sql, const char *text, const char *expected)
{
	struct arena *arena = arena_new();
	PgQuery__ParseResult *a = sql_parse(text, arena);
	PgQuery__ParseResult *b = sql_parse(expected, arena);

	cr_assert_not_null(a, "%s", text);
	cr_assert_not_null(b, "%s", expected);
	cr_expect(sql_equal(&a->base, &b->base), "%s\n got %s\nwant %s", sql, text, expected);
	arena_free(arena);
}

static void expect_shard(const char *sql, const char *expected)
{
	struct shared s = planned(sql, TESTMAP_ITEMS);

	expect_same(sql, s.text.data, expected);
	done(&s);
}

struct text_case {
	const char *sql;
	const char *shard;
};

static void expect_shards(const struct text_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++)
		expect_shard(cases[i].sql, cases[i].shard);
}

/* A distance that is the only key, as expression. */
static void expect_distance(const char *distance, const char *written)
{
	char sql[512], expected[1024];

	snprintf(sql, sizeof(sql), "SELECT id FROM items ORDER BY %s LIMIT 5", distance);
	snprintf(expected, sizeof(expected),
	         "SELECT items.id, %s AS pgtopk_key_1 FROM " SHARD "items ORDER BY %s LIMIT 40",
	         written, written);
	expect_shard(sql, expected);
}

Test(plan, targets)
{
	static const struct text_case cases[] = {
	    {"SELECT * FROM items ORDER BY e <-> $1 LIMIT 5",
	     "SELECT items.id, items.name, items.n, items.e, items.h, items.s, items.b, items.tags, "
	     "items.at, items.e <-> $1 AS pgtopk_key_1 FROM " SHARD
	     "items ORDER BY items.e <-> $1 LIMIT 40"},
	    {"SELECT n, i.*, i.n AS m FROM items i ORDER BY e <-> $1 LIMIT 5",
	     "SELECT i.n, i.id, i.name, i.n, i.e, i.h, i.s, i.b, i.tags, i.at, i.n AS m, i.e <-> $1 "
	     "AS pgtopk_key_1 FROM " SHARD "i ORDER BY i.e <-> $1 LIMIT 40"},
	    {"select public.items.id, items.n, public.items.e from public.items order by e <-> $1 limit 5;",
	     "SELECT items.id, items.n, items.e, items.e <-> $1 AS pgtopk_key_1 FROM " SHARD
	     "items ORDER BY items.e <-> $1 LIMIT 40"},
	    {"SELECT id \"x y\", upper(name), n + 1, n::text, 'c', $2::int FROM items \"Order\" "
	     "ORDER BY e <-> $1 LIMIT 5",
	     "SELECT \"Order\".id AS \"x y\", upper(\"Order\".name), \"Order\".n + 1, "
	     "\"Order\".n::text, 'c', $2::int, \"Order\".e <-> $1 AS pgtopk_key_1 FROM " SHARD
	     "\"Order\" ORDER BY \"Order\".e <-> $1 LIMIT 40"},
	    {"SELECT 1 FROM items ORDER BY e <-> $1 LIMIT 5",
	     "SELECT 1, items.e <-> $1 AS pgtopk_key_1 FROM " SHARD
	     "items ORDER BY items.e <-> $1 LIMIT 40"},
	    {"SELECT CASE WHEN n > 1 THEN 'a' ELSE name END, COALESCE(n, 0), GREATEST(n, 2), "
	     "NULLIF(n, 1), ARRAY[n, 1], name IS NULL, NOT n > 1, -n "
	     "FROM items ORDER BY e <-> $1 LIMIT 5",
	     "SELECT CASE WHEN items.n > 1 THEN 'a' ELSE items.name END, COALESCE(items.n, 0), "
	     "GREATEST(items.n, 2), NULLIF(items.n, 1), ARRAY[items.n, 1], "
	     "items.name IS NULL, NOT (items.n > 1), - items.n, items.e <-> $1 AS pgtopk_key_1 FROM " SHARD
	     "items ORDER BY items.e <-> $1 LIMIT 40"},
	};

	expect_shards(cases, COUNT(cases));
}

Test(plan, where)
{
	static const char *const conditions[][2] = {
	    {"n = 1", "items.n = 1"},
	    {"n IN (1, 2) AND name LIKE 'a%'", "items.n IN (1, 2) AND items.name LIKE 'a%'"},
	    {"name NOT ILIKE $2", "items.name NOT ILIKE $2"},
	    {"n BETWEEN 1 AND $2", "items.n BETWEEN 1 AND $2"},
	    {"n NOT BETWEEN SYMMETRIC 2 AND 1", "items.n NOT BETWEEN SYMMETRIC 2 AND 1"},
	    {"n = ANY($2::int[])", "items.n = ANY($2::int[])"},
	    {"n <> ALL('{1,2}')", "items.n <> ALL('{1,2}')"},
	    {"n IS DISTINCT FROM 3 OR n IS NOT DISTINCT FROM NULL",
	     "items.n IS DISTINCT FROM 3 OR items.n IS NOT DISTINCT FROM NULL"},
	    {"(n > 1) IS NOT TRUE", "(items.n > 1) IS NOT TRUE"},
	    {"tags @> '{\"a\": 1}' AND tags ->> 'a' = 'x' AND tags ? 'b'",
	     "items.tags @> '{\"a\": 1}' AND items.tags ->> 'a' = 'x' AND items.tags ? 'b'"},
	    {"tags @@ '$.a > 1'", "items.tags @@ '$.a > 1'"},
	    {"n OPERATOR(pg_catalog.>) 3", "items.n OPERATOR(pg_catalog.>) 3"},
	    {"e <-> $1 < 0.5", "(items.e <-> $1) < 0.5"},
	    {"e OPERATOR(ext.<->) '[1]' < 2", "(items.e OPERATOR(ext.<->) '[1]') < 2"},
	    {"n % 2 = 0 AND id % $2 = 1", "(items.n % 2) = 0 AND (items.id % $2) = 1"},
	    {"at >= '2024-01-01'::timestamptz - interval '1 day'",
	     "items.at >= ('2024-01-01'::timestamptz - '1 day'::interval)"},
	    {"id > 5 AND id <> 7", "items.id > 5 AND items.id <> 7"},
	    {"id IN (1, 2)", "items.id IN (1, 2)"},
	    {"id = n", "items.id = items.n"},
	    {"id = 1 OR id = 2", "items.id = 1 OR items.id = 2"},
	    {"NOT (id = 1)", "NOT (items.id = 1)"},
	    {"name LIKE 'a!%' ESCAPE '!'", "items.name LIKE 'a!%' ESCAPE '!'"},
	    {"name = 'it''s \"x\" \\ $1 LIMIT -- /*'",
	     "items.name = E'it''s \"x\" \\\\ $1 LIMIT -- /*'"},
	    {"name = 'I know a snow day'", "items.name = 'I know a snow day'"},
	};

	for (size_t i = 0; i < COUNT(conditions); i++) {
		char sql[512], expected[512];
		struct shared s;

		snprintf(sql, sizeof(sql),
		         "SELECT id FROM items WHERE %s ORDER BY e <-> $1 LIMIT 5",
		         conditions[i][0]);
		snprintf(expected, sizeof(expected),
		         "SELECT items.id, items.e <-> $1 AS pgtopk_key_1 FROM " SHARD
		         "items WHERE %s ORDER BY items.e <-> $1 LIMIT 40",
		         conditions[i][1]);
		s = planned(sql, TESTMAP_ITEMS);
		cr_expect(s.plan->filtered);
		expect_same(sql, s.text.data, expected);
		done(&s);
	}
}

/* Trap 9: symbols belong to several types; operand order; schema; casts. */
Test(plan, trap_09_distances)
{
	static const char *const same[] = {
	    "items.e <-> $1",
	    "items.e <#> $1",
	    "items.e <=> '[1,2]'",
	    "$1 <-> items.e",
	    "'[1]' <=> items.e",
	    "items.h <=> $1",
	    "items.s <#> $1",
	    "items.b <~> $1",
	    "items.b <%> b'101'",
	    "items.e::halfvec(100) <=> $1",
	    "items.e::vector(2) <-> $1",
	    "items.e <-> $1::vector(2)",
	    "items.name::vector <-> $1",
	    "items.e OPERATOR(ext.<=>) $1",
	    "items.e <-> '[1]'::ext.vector",
	    "binary_quantize(items.e)::bit(3) <~> $1",
	    "binary_quantize(items.e) <%> binary_quantize($1::vector)",
	    "subvector(items.e, 1, 3) <-> $1",
	    "subvector(items.e, 1, 3)::vector(3) <-> subvector($1::vector, 1, 3)",
	    "ext.l2_normalize(items.e) <#> $1",
	    "l2_normalize(items.h::halfvec) <#> $1",
	    "items.e <-> items.h",
	    "items.n::bit(8) <~> $1",
	};

	for (size_t i = 0; i < COUNT(same); i++)
		expect_distance(same[i], same[i]);
	expect_distance("(((e))) <-> ($1)", "items.e <-> $1");
	expect_distance("CAST(e AS vector) <-> $1", "items.e::vector <-> $1");
	expect_distance("e <-> vector '[1]'", "items.e <-> '[1]'::vector");
}

#define KEYED(targets, keys, order)                                                                \
	"SELECT items.id, " targets keys " FROM " SHARD "items ORDER BY " order " LIMIT 40"
#define DIST "items.e <-> $1"

Test(plan, order_by_name_and_position)
{
	static const struct text_case cases[] = {
	    {"SELECT id, e <-> $1 AS d FROM items ORDER BY d LIMIT 5",
	     KEYED(DIST " AS d, ", DIST " AS pgtopk_key_1", DIST)},
	    {"SELECT id, e <-> $1 AS d FROM items ORDER BY (d) DESC LIMIT 5",
	     KEYED(DIST " AS d, ", DIST " AS pgtopk_key_1", DIST " DESC")},
	    {"SELECT id, e <-> $1 FROM items ORDER BY 2 LIMIT 5",
	     KEYED(DIST ", ", DIST " AS pgtopk_key_1", DIST)},
	    {"SELECT id, e <-> $1 FROM items ORDER BY \"?column?\" LIMIT 5",
	     KEYED(DIST ", ", DIST " AS pgtopk_key_1", DIST)},
	    /* an output name hides an input column */
	    {"SELECT id, e <-> $1 AS n FROM items ORDER BY n LIMIT 5",
	     KEYED(DIST " AS n, ", DIST " AS pgtopk_key_1", DIST)},
	    {"SELECT id, n AS name FROM items ORDER BY e <-> $1, name LIMIT 5",
	     KEYED("items.n AS name, ", DIST " AS pgtopk_key_1, items.n AS pgtopk_key_2",
	           DIST ", items.n")},
	    /* ... but not within an expression, nor when it is qualified */
	    {"SELECT id, n AS name FROM items ORDER BY e <-> $1, upper(name) LIMIT 5",
	     KEYED("items.n AS name, ", DIST " AS pgtopk_key_1, upper(items.name) AS pgtopk_key_2",
	           DIST ", upper(items.name)")},
	    {"SELECT id, n AS name FROM items ORDER BY e <-> $1, items.name LIMIT 5",
	     KEYED("items.n AS name, ", DIST " AS pgtopk_key_1, items.name AS pgtopk_key_2",
	           DIST ", items.name")},
	    /* swapped names: ORDER BY must not be read a second time */
	    {"SELECT id, n AS name, name AS n FROM items ORDER BY e <-> $1, n LIMIT 5",
	     KEYED("items.n AS name, items.name AS n, ",
	           DIST " AS pgtopk_key_1, items.name AS pgtopk_key_2", DIST ", items.name")},
	    /* names that nobody wrote */
	    {"SELECT id, upper(name) FROM items ORDER BY e <-> $1, upper LIMIT 5",
	     KEYED("upper(items.name), ",
	           DIST " AS pgtopk_key_1, upper(items.name) AS pgtopk_key_2",
	           DIST ", upper(items.name)")},
	    {"SELECT id, (n + 1)::int FROM items ORDER BY e <-> $1, int4 LIMIT 5",
	     KEYED("(items.n + 1)::int, ",
	           DIST " AS pgtopk_key_1, (items.n + 1)::int AS pgtopk_key_2",
	           DIST ", (items.n + 1)::int")},
	    {"SELECT id, n::text FROM items ORDER BY e <-> $1, n LIMIT 5",
	     KEYED("items.n::text, ", DIST " AS pgtopk_key_1, items.n::text AS pgtopk_key_2",
	           DIST ", items.n::text")},
	    {"SELECT id, COALESCE(n, 1) FROM items ORDER BY e <-> $1, coalesce LIMIT 5",
	     KEYED("COALESCE(items.n, 1), ",
	           DIST " AS pgtopk_key_1, COALESCE(items.n, 1) AS pgtopk_key_2",
	           DIST ", COALESCE(items.n, 1)")},
	    /* the same column twice is not ambiguous */
	    {"SELECT id, items.id FROM items ORDER BY e <-> $1, id LIMIT 5",
	     KEYED("items.id, ", DIST " AS pgtopk_key_1, items.id AS pgtopk_key_2",
	           DIST ", items.id")},
	    {"SELECT id FROM items ORDER BY e <-> $1, 1 DESC, n NULLS FIRST LIMIT 5",
	     KEYED("", DIST " AS pgtopk_key_1, items.id AS pgtopk_key_2, items.n AS pgtopk_key_3",
	           DIST ", items.id DESC, items.n NULLS FIRST")},
	};

	expect_shards(cases, COUNT(cases));
}

Test(plan, star_position)
{
	struct shared s =
	    planned("SELECT *, e <-> $1 FROM items ORDER BY 10, 2 LIMIT 5", TESTMAP_ITEMS);

	cr_expect_not_null(strstr(s.text.data, " ORDER BY items.e <-> $1, items.name LIMIT 40"));
	done(&s);
}

Test(plan, directions)
{
	static const struct {
		const char *suffix;
		bool descending, nulls_first;
	} cases[] = {
	    {"", false, false},           {"ASC", false, false},
	    {"DESC", true, true},         {"NULLS FIRST", false, true},
	    {"NULLS LAST", false, false}, {"DESC NULLS LAST", true, false},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		char sql[256];
		struct shared s;

		snprintf(sql, sizeof(sql),
		         "SELECT id FROM items ORDER BY e <=> $1 %s, n %s LIMIT 5", cases[i].suffix,
		         cases[i].suffix);
		s = planned(sql, TESTMAP_ITEMS);
		cr_assert_eq(s.plan->nkeys, 2);
		for (int k = 0; k < 2; k++) {
			cr_expect_eq(s.plan->keys[k].descending, cases[i].descending, "%s", sql);
			cr_expect_eq(s.plan->keys[k].nulls_first, cases[i].nulls_first, "%s", sql);
		}
		cr_expect_str_eq(s.plan->distance, "<=>");
		cr_expect_not(s.plan->filtered);
		done(&s);
	}
}

#define NONE .kind = PLAN_COUNT_NONE
#define CONSTANT(n) .kind = PLAN_COUNT_CONSTANT, .value = (n)
#define PARAMETER(n, max) .kind = PLAN_COUNT_PARAMETER, .parameter = (n), .maximum = (max)

/* Trap 5: the offset is never a shard's, and every way to write a count. */
Test(plan, trap_05_limits)
{
	static const struct {
		const char *clause;
		struct plan_count limit, offset;
	} cases[] = {
	    {"LIMIT 7", {CONSTANT(7)}, {NONE}},
	    {"LIMIT 7 OFFSET 3", {CONSTANT(7)}, {CONSTANT(3)}},
	    {"OFFSET 3 LIMIT 7", {CONSTANT(7)}, {CONSTANT(3)}},
	    {"LIMIT $2 OFFSET $3", {PARAMETER(2, INT64_MAX)}, {PARAMETER(3, INT64_MAX)}},
	    {"LIMIT $2::int OFFSET $2", {PARAMETER(2, INT32_MAX)}, {PARAMETER(2, INT64_MAX)}},
	    {"LIMIT ($2)::bigint", {PARAMETER(2, INT64_MAX)}, {NONE}},
	    {"LIMIT $2::smallint", {PARAMETER(2, INT16_MAX)}, {NONE}},
	    {"LIMIT CAST(7 AS smallint)", {CONSTANT(7)}, {NONE}},
	    {"LIMIT 99999999999", {CONSTANT(99999999999)}, {NONE}},
	    {"LIMIT 9223372036854775807", {CONSTANT(INT64_MAX)}, {NONE}},
	    {"LIMIT 7 OFFSET 0", {CONSTANT(7)}, {NONE}},
	    {"LIMIT 7 OFFSET NULL", {CONSTANT(7)}, {NONE}},
	    {"LIMIT '7' OFFSET '3'", {CONSTANT(7)}, {CONSTANT(3)}},
	    {"LIMIT ('7'::int4)", {CONSTANT(7)}, {NONE}},
	    {"FETCH FIRST 7 ROWS ONLY", {CONSTANT(7)}, {NONE}},
	    {"OFFSET 3 ROWS FETCH NEXT ROW ONLY", {CONSTANT(1)}, {CONSTANT(3)}},
	    {"FETCH FIRST ($2) ROWS ONLY", {PARAMETER(2, INT64_MAX)}, {NONE}},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		char sql[256];
		struct shared s;
		const struct plan_count *limit, *offset;

		snprintf(sql, sizeof(sql), "SELECT id FROM items ORDER BY e <-> $1 %s",
		         cases[i].clause);
		s = planned(sql, TESTMAP_ITEMS);
		limit = &s.plan->limit;
		offset = &s.plan->offset;
		cr_expect_eq(limit->kind, cases[i].limit.kind, "%s", sql);
		cr_expect_eq(limit->maximum, cases[i].limit.maximum, "%s", sql);
		cr_expect_eq(limit->value, cases[i].limit.value, "%s", sql);
		cr_expect_eq(limit->parameter, cases[i].limit.parameter, "%s", sql);
		cr_expect_eq(offset->kind, cases[i].offset.kind, "%s", sql);
		cr_expect_eq(offset->value, cases[i].offset.value, "%s", sql);
		cr_expect_eq(offset->parameter, cases[i].offset.parameter, "%s", sql);
		expect_same(sql, s.text.data,
		            "SELECT items.id, " DIST " AS pgtopk_key_1 FROM " SHARD
		            "items ORDER BY " DIST " LIMIT 40");
		done(&s);
	}
}

static void expect_shard_table(void *context, const ProtobufCMessage *message,
                               const ProtobufCMessage *parent)
{
	const PgQuery__RangeVar *table = (const void *)message;
	unsigned *count = context;

	(void)parent;
	if (!SQL_IS(message, range_var))
		return;
	++*count;
	cr_expect_str_eq(table->schemaname, "public");
	cr_expect_str_eq(table->relname, "items_102008");
}

/* Trap 8: a shard's text names no table but the shard. */
Test(plan, trap_08_logical_name_is_gone)
{
	static const char *const texts[] = {
	    "SELECT * FROM items ORDER BY e <-> $1 LIMIT 5",
	    "SELECT items.*, public.items.id FROM public.items ORDER BY items.e <-> $1 LIMIT 5",
	    "SELECT x.id, 'items' FROM items AS x ORDER BY 'FROM public.items x' <-> x.e LIMIT 5",
	    "SELECT id AS items FROM items items WHERE name = 'items' ORDER BY e <-> $1 LIMIT 5",
	};

	for (size_t i = 0; i < COUNT(texts); i++) {
		struct shared s = planned(texts[i], TESTMAP_ITEMS);
		struct arena *arena = arena_new();
		unsigned count = 0;

		sql_visit(&sql_parse(s.text.data, arena)->base, expect_shard_table, &count);
		cr_expect_eq(count, 1);
		cr_expect_null(strstr(s.text.data, "pgtopk_shard"));
		arena_free(arena);
		done(&s);
	}
}

/* The place-holder's name in the statement itself. */
Test(plan, trap_08_place_holder_in_text)
{
	struct shared s =
	    planned("SELECT 'pgtopk_shard_0.pgtopk_shard_0', 'pgtopk_shard_1' FROM items "
	            "ORDER BY e <-> $1 LIMIT 5",
	            TESTMAP_ITEMS);

	expect_same("", s.text.data,
	            "SELECT 'pgtopk_shard_0.pgtopk_shard_0', 'pgtopk_shard_1', " DIST
	            " AS pgtopk_key_1 FROM " SHARD "items ORDER BY " DIST " LIMIT 40");
	done(&s);
}

Test(plan, describe)
{
	struct shared s =
	    planned("SELECT *, n + $3 AS m FROM items AS i WHERE n = $2 ORDER BY e <-> "
	            "'[1]', m LIMIT $4 OFFSET 2",
	            TESTMAP_ITEMS);

	expect_same("describe", s.plan->describe_sql,
	            "SELECT i.id, i.name, i.n, i.e, i.h, i.s, i.b, i.tags, i.at, i.n + $3 AS m, "
	            "i.e <-> '[1]' AS pgtopk_key_1, i.n + $3 AS pgtopk_key_2 FROM public.items i "
	            "WHERE i.n = $2 ORDER BY i.e <-> '[1]', i.n + $3 LIMIT $4 OFFSET 2");
	cr_expect_eq(s.plan->nparameters, 4);
	done(&s);
}

Test(plan, odd_names)
{
	struct shared s = planned(
	    "SELECT \"select\", \"E\" <-> $1 AS \"a\"\"b\" FROM \"My Schema\".\"Odd\"\"Table\" "
	    "WHERE geo IS NOT NULL ORDER BY \"a\"\"b\" LIMIT 5",
	    TESTMAP_ODD);

	cr_expect_str_eq(query_table(s.query), "\"My Schema\".\"Odd\"\"Table\"");
	expect_same("odd", s.text.data,
	            "SELECT \"Odd\"\"Table\".\"select\", \"Odd\"\"Table\".\"E\" <-> $1 AS "
	            "\"a\"\"b\", \"Odd\"\"Table\".\"E\" <-> $1 AS pgtopk_key_1 FROM \"My "
	            "Schema\".\"Odd\"\"Table_1\" \"Odd\"\"Table\" WHERE \"Odd\"\"Table\".geo IS "
	            "NOT NULL ORDER BY \"Odd\"\"Table\".\"E\" <-> $1 LIMIT 40");
	done(&s);
}

Test(plan, table_names)
{
	static const char *const names[][2] = {
	    {"items", "items"},
	    {"ITEMS", "items"},
	    {"public.items", "public.items"},
	    {"\"Items\"", "\"Items\""},
	    {"\"a.b\".c", "\"a.b\".c"},
	    {"items AS i", "items"},
	    {"\"user\"", "user"},
	};

	for (size_t i = 0; i < COUNT(names); i++) {
		char sql[128];
		struct query *query;

		snprintf(sql, sizeof(sql), "SELECT 1 FROM %s ORDER BY e <-> $1 LIMIT 1",
		         names[i][0]);
		cr_assert_eq(query_parse(sql, strlen(sql), &query), REFUSAL_none);
		cr_expect_str_eq(query_table(query), names[i][1]);
		query_unref(query);
	}
}

Test(plan, shard_texts_append)
{
	struct shared s = planned("SELECT id FROM items ORDER BY e <-> $1 LIMIT 5", TESTMAP_ITEMS);
	size_t one = s.text.len;

	plan_shard_sql(s.plan, &s.table->shards[1], INT64_MAX, &s.text);
	cr_expect_not_null(strstr(s.text.data + one, "\"items_102009\""));
	cr_expect_str_eq(s.text.data + s.text.len - 26, " LIMIT 9223372036854775807");
	done(&s);
}

Test(plan, counted)
{
	struct shared s = planned("SELECT id FROM items ORDER BY e <-> $1 LIMIT 5", TESTMAP_ITEMS);

	cr_expect_eq(plan_ref(s.plan), s.plan);
	cr_expect_eq(query_ref(s.query), s.query);
	plan_unref(s.plan);
	query_unref(s.query);
	cr_expect_gt(plan_size(s.plan), 100);
	cr_expect_gt(query_size(s.query), 100);
	done(&s);
	plan_unref(NULL);
	query_unref(NULL);
}

/* A table of 600 columns: the texts may be longer than what clients may send. */
Test(plan, wide_table)
{
	struct shardmap *map = shardmap_new(SHARDMAP_CITUS, 1);
	struct shardmap_table *table = shardmap_add_table(map, 1, "public", "wide");
	static const char sql[] = "SELECT * FROM wide ORDER BY c0 <-> $1 LIMIT 5";
	struct query *query;
	struct plan *plan;
	char name[16];

	shardmap_add_node(map, "a", 1, NULL, false);
	for (int i = 0; i < 1600; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		shardmap_add_column(table, name, i + 1, 1,
		                    i == 0 ? SHARDMAP_TYPE_VECTOR : SHARDMAP_TYPE_BUILTIN);
	}
	shardmap_add_shard(table, 1, 0, "public", "wide_1");
	shardmap_set_vector_schema(map, "public");
	shardmap_seal(map);
	cr_assert_eq(query_parse(sql, strlen(sql), &query), REFUSAL_none);
	cr_assert_eq(plan_new(query, map, table, &plan), REFUSAL_none);
	cr_expect_not_null(strstr(plan->describe_sql, "wide.c1599, "));
	plan_unref(plan);
	query_unref(query);
	shardmap_unref(map);
}
