/*
 * Names: sets of names, and what a plan puts into its own.
 */
#include "parser/names.h"

#include <criterion/criterion.h>
#include <string.h>

#include "parser/plan.h"
#include "t/unit/testmap.h"

static struct names names_of(const char *name)
{
	struct names names = {0};

	names_add(&names, name, strlen(name));
	return names;
}

Test(names, meet_where_both_have_a_name)
{
	struct names empty = {0}, both = names_of("lower"), other = names_of("||");

	cr_expect_not(names_meet(&empty, &empty));
	cr_expect_not(names_meet(&both, &empty));
	cr_expect_not(names_meet(&both, &other));
	names_add(&both, "||", 2);
	cr_expect(names_meet(&both, &other));
	cr_expect(names_meet(&other, &both));
}

static bool plan_names(const char *sql, const char *name)
{
	struct shardmap *map = testmap_new(1);
	struct names wanted = names_of(name);
	struct query *query;
	struct plan *plan;
	bool has;

	cr_assert_eq(query_parse(sql, strlen(sql), &query), REFUSAL_none, "%s", sql);
	cr_assert_eq(plan_new(query, map, shardmap_table_by_oid(map, TESTMAP_ITEMS), &plan),
	             REFUSAL_none, "%s", sql);
	has = names_meet(&plan->names, &wanted);
	plan_unref(plan);
	query_unref(query);
	shardmap_unref(map);
	return has;
}

#define WHERE(condition) "SELECT id FROM items WHERE " condition " ORDER BY e <-> $1, id LIMIT 5"

Test(names, of_a_plan)
{
	static const struct {
		const char *sql, *name;
	} cases[] = {
	    {WHERE("true"), "<->"},
	    {WHERE("true"), NAMES_IMPLICIT_CAST},
	    {WHERE("lower(name) IS NULL"), "lower"},
	    {WHERE("n + 1 > 2"), "+"},
	    {WHERE("n + 1 > 2"), ">"},
	    {WHERE("n::int8 > 2"), "::int8"},
	    {WHERE("n::pg_catalog.int8 > 2"), "::int8"},
	    {WHERE("n = ANY('{1}')"), "="},
	    {WHERE("n IN (1, 2)"), "="},
	    {WHERE("n BETWEEN 1 AND 2"), ">="},
	    {WHERE("n NOT BETWEEN 1 AND 2"), "<"},
	    {WHERE("n IS DISTINCT FROM 2"), "="},
	    {WHERE("nullif(n, 2) IS NULL"), "="},
	    {WHERE("name LIKE 'x'"), "~~"},
	    {WHERE("name NOT ILIKE 'x'"), "!~~*"},
	    {WHERE("CASE n WHEN 1 THEN true END"), "="},
	    {"SELECT upper(name) FROM items ORDER BY e <-> $1 LIMIT 5", "upper"},
	    {"SELECT id FROM items ORDER BY e <-> $1, abs(n) LIMIT 5", "abs"},
	    {"SELECT id FROM items ORDER BY e <-> $1::vector LIMIT 5", "::vector"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_expect(plan_names(cases[i].sql, cases[i].name), "%s: %s", cases[i].sql,
		          cases[i].name);
	cr_expect_not(plan_names(WHERE("n > 2"), "lower"));
	cr_expect_not(plan_names(WHERE("n > 2"), "="));
	cr_expect_not(plan_names(WHERE("n > 2"), "::int8"));
}

/* A cast that users have made, as the map has it; one that happens unasked is part of anything. */
Test(names, casts_of_users_are_refused)
{
	static const struct {
		const char *cast, *sql;
		enum refusal expected;
	} cases[] = {
	    {"::int4", WHERE("name::int > 2"), REFUSAL_type},
	    {"::int4", WHERE("name::int8 > 2"), REFUSAL_none},
	    {"::int4", WHERE("n > 2"), REFUSAL_none},
	    {NAMES_IMPLICIT_CAST, WHERE("n > 2"), REFUSAL_type},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct shardmap *map = testmap_building(1);
		struct query *query;
		struct plan *plan;

		shardmap_add_foreign_operator(map, cases[i].cast);
		shardmap_seal(map);
		cr_assert_eq(query_parse(cases[i].sql, strlen(cases[i].sql), &query), REFUSAL_none);
		cr_expect_eq(plan_new(query, map, shardmap_table_by_oid(map, TESTMAP_ITEMS), &plan),
		             cases[i].expected, "%s with %s", cases[i].sql, cases[i].cast);
		plan_unref(plan);
		query_unref(query);
		shardmap_unref(map);
	}
}
