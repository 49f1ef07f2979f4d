/*
 * Plan: what is refused, and why. A statement that belongs to nobody's list
 * here and is routed all the same is a fault of the first rank.
 */
#include "parser/plan.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "t/unit/testmap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static enum refusal refusal_of(struct shardmap *map, const char *sql, size_t len, uint32_t table)
{
	struct query *query;
	struct plan *plan;
	enum refusal refusal = query_parse(sql, len, &query);

	cr_assert_eq(refusal == REFUSAL_none, query != NULL);
	if (query == NULL)
		return refusal;
	refusal = plan_new(query, map, shardmap_table_by_oid(map, table), &plan);
	cr_assert_eq(refusal == REFUSAL_none, plan != NULL);
	plan_unref(plan);
	query_unref(query);
	return refusal;
}

struct refusal_case {
	enum refusal expected;
	const char *sql;
};

static void expect_refusals(const struct refusal_case *cases, size_t count, uint32_t table)
{
	struct shardmap *map = testmap_new(1);

	for (size_t i = 0; i < count; i++) {
		enum refusal refusal = refusal_of(map, cases[i].sql, strlen(cases[i].sql), table);

		cr_expect_eq(refusal, cases[i].expected, "%s, not %s: %s", refusal_name(refusal),
		             refusal_name(cases[i].expected), cases[i].sql);
	}
	shardmap_unref(map);
}

#define EXPECT_REFUSALS(cases) expect_refusals(cases, COUNT(cases), TESTMAP_ITEMS)
#define TAIL " FROM items ORDER BY e <-> $1 LIMIT 5"
#define WHERE(condition) "SELECT id FROM items WHERE " condition " ORDER BY e <-> $1 LIMIT 5"
#define ORDER(keys) "SELECT id, n FROM items ORDER BY " keys " LIMIT 5"

Test(refused, statements)
{
	static const struct refusal_case cases[] = {
	    {REFUSAL_none, "SELECT id" TAIL},
	    {REFUSAL_none, "SELECT id" TAIL " ; ; "},
	    {REFUSAL_not_select, ""},
	    {REFUSAL_not_select, ";"},
	    {REFUSAL_not_select, "DELETE FROM items"},
	    {REFUSAL_not_select, "EXPLAIN SELECT id" TAIL},
	    {REFUSAL_not_select, "PREPARE p AS SELECT id" TAIL},
	    {REFUSAL_not_select, "DECLARE c CURSOR FOR SELECT id" TAIL},
	    {REFUSAL_not_select, "COPY (SELECT id" TAIL ") TO STDOUT"},
	    {REFUSAL_not_select, "CREATE TABLE x AS SELECT id" TAIL},
	    {REFUSAL_not_select, "INSERT INTO x SELECT id" TAIL},
	    {REFUSAL_multiple_statements, "SELECT id" TAIL "; SELECT 1"},
	    {REFUSAL_multiple_statements, "SET x = 1; SELECT id" TAIL},
	    {REFUSAL_syntax, "SELECT id" TAIL " x"},
	    {REFUSAL_syntax, "SELEC"},
	    {REFUSAL_syntax, "SELECT 'a"},
	    {REFUSAL_not_topk, "SELECT id FROM items LIMIT 5"},
	    {REFUSAL_select_clause, "(SELECT id" TAIL ") UNION ALL SELECT 1"},
	    {REFUSAL_select_clause, "VALUES (1) ORDER BY 1 LIMIT 1"},
	    {REFUSAL_select_clause, "WITH x AS (SELECT 1) SELECT id" TAIL},
	    {REFUSAL_select_clause, "SELECT DISTINCT id" TAIL},
	    {REFUSAL_select_clause, "SELECT DISTINCT ON (id) id" TAIL},
	    {REFUSAL_select_clause, "SELECT id INTO x" TAIL},
	    {REFUSAL_select_clause, "SELECT id FROM items GROUP BY id ORDER BY e <-> $1 LIMIT 5"},
	    {REFUSAL_select_clause, "SELECT 1 FROM items HAVING true ORDER BY e <-> $1 LIMIT 5"},
	    {REFUSAL_select_clause,
	     "SELECT id FROM items WINDOW w AS () ORDER BY e <-> $1 LIMIT 5"},
	    {REFUSAL_select_clause, "SELECT id" TAIL " FOR UPDATE"},
	    {REFUSAL_select_clause, "SELECT id" TAIL " FOR SHARE OF items SKIP LOCKED"},
	    {REFUSAL_select_clause, "SELECT" TAIL},
	};

	EXPECT_REFUSALS(cases);
}

Test(refused, from)
{
	static const struct refusal_case cases[] = {
	    {REFUSAL_from_clause, "SELECT 1 ORDER BY '[1]' <-> $1 LIMIT 5"},
	    {REFUSAL_from_clause, "SELECT 1 FROM items, items b ORDER BY 1 LIMIT 5"},
	    {REFUSAL_from_clause, "SELECT 1 FROM items JOIN x USING (id) ORDER BY 1 LIMIT 5"},
	    {REFUSAL_from_clause, "SELECT 1 FROM (SELECT * FROM items) x ORDER BY 1 LIMIT 5"},
	    {REFUSAL_from_clause, "SELECT 1 FROM LATERAL (SELECT 1) x ORDER BY 1 LIMIT 5"},
	    {REFUSAL_from_clause, "SELECT 1 FROM f(1) ORDER BY 1 LIMIT 5"},
	    {REFUSAL_from_clause, "SELECT 1 FROM ONLY items ORDER BY e <-> $1 LIMIT 5"},
	    {REFUSAL_from_clause, "SELECT 1 FROM db.public.items ORDER BY e <-> $1 LIMIT 5"},
	    {REFUSAL_from_clause, "SELECT 1 FROM items i (a, b) ORDER BY e <-> $1 LIMIT 5"},
	    {REFUSAL_from_clause,
	     "SELECT 1 FROM items TABLESAMPLE system (1) ORDER BY e <-> $1 LIMIT 5"},
	    /* resolved to another table than the one that is named */
	    {REFUSAL_from_clause, "SELECT 1 FROM other ORDER BY e <-> $1 LIMIT 5"},
	    {REFUSAL_from_clause, "SELECT 1 FROM other.items ORDER BY e <-> $1 LIMIT 5"},
	};
	static const struct refusal_case unroutable[] = {
	    {REFUSAL_table_kind, "SELECT 1 FROM unroutable ORDER BY e <-> $1 LIMIT 5"},
	};

	EXPECT_REFUSALS(cases);
	expect_refusals(unroutable, COUNT(unroutable), TESTMAP_UNROUTABLE);
}

/* Trap 5 */
Test(refused, trap_05_limits)
{
	static const struct refusal_case cases[] = {
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 OFFSET 5"},
	    {REFUSAL_limit, ORDER("e <-> $1") " - 5"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT ALL"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT NULL"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT NULL::int"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT 0"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT -1"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT 1.5"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT 1e3"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT '0x5'"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT ' 5'"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT '5'::text"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT ''"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT '99999'::int2"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT 5::numeric"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT $2::text"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT $2::text::int"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT $2::int[]"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT $2::s.int4"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT 40000::smallint"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT 9223372036854775808"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT 2 + 3"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT (SELECT 5)"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT $0"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT 5 OFFSET -1"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT 5 OFFSET 1.5"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT 5 OFFSET abs(1)"},
	    {REFUSAL_limit, "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT 5 OFFSET n"},
	    {REFUSAL_limit,
	     "SELECT 1 FROM items ORDER BY e <-> $1 LIMIT 9223372036854775807 OFFSET 1"},
	    {REFUSAL_with_ties,
	     "SELECT 1 FROM items ORDER BY e <-> $1 FETCH FIRST 5 ROWS WITH TIES"},
	};

	EXPECT_REFUSALS(cases);
}

/* Trap 9 */
Test(refused, trap_09_order_by)
{
	static const struct refusal_case cases[] = {
	    {REFUSAL_order_by, ORDER("id")},
	    {REFUSAL_order_by, ORDER("n, e <-> $1")},
	    {REFUSAL_order_by, ORDER("1")},
	    {REFUSAL_order_by, ORDER("3")},
	    {REFUSAL_order_by, ORDER("0")},
	    {REFUSAL_order_by, ORDER("'x'")},
	    {REFUSAL_order_by, ORDER("NULL")},
	    {REFUSAL_order_by, ORDER("1 - (e <=> $1)")},
	    {REFUSAL_order_by, ORDER("- (e <#> $1)")},
	    {REFUSAL_order_by, ORDER("(e <-> $1)::int")},
	    {REFUSAL_order_by, ORDER("l2_distance(e, $1)")},
	    {REFUSAL_order_by, ORDER("e <-> $1 USING <")},
	    {REFUSAL_order_by, ORDER("e <-> $1, 3")},
	    {REFUSAL_order_by, ORDER("e <-> $1, 'x'")},
	    {REFUSAL_order_by, ORDER("e <-> $1, 1.5")},
	    {REFUSAL_order_by, ORDER("e <-> $1, NULL")},
	    {REFUSAL_order_by, "SELECT 7 AS x FROM items ORDER BY e <-> $1, x LIMIT 5"},
	    {REFUSAL_order_by, "SELECT 7 FROM items ORDER BY e <-> $1, 1 LIMIT 5"},
	    {REFUSAL_order_by, "SELECT id AS x, n AS x FROM items ORDER BY e <-> $1, x LIMIT 5"},
	    {REFUSAL_order_by, "SELECT id, n AS id FROM items ORDER BY e <-> $1, id LIMIT 5"},
	    {REFUSAL_order_by, "SELECT *, n AS id FROM items ORDER BY e <-> $1, id LIMIT 5"},
	    {REFUSAL_order_by,
	     "SELECT upper(name), n AS upper FROM items ORDER BY e <-> $1, upper LIMIT 5"},
	    {REFUSAL_order_by, "SELECT id AS d FROM items ORDER BY d LIMIT 5"},
	};

	EXPECT_REFUSALS(cases);
}

/* Trap 9 */
Test(refused, trap_09_distances)
{
	static const struct refusal_case cases[] = {
	    /* the alias is no input column */
	    {REFUSAL_column, "SELECT e <-> $1 AS d FROM items ORDER BY d <-> $1 LIMIT 5"},
	    {REFUSAL_column, ORDER("e <-> $1, d")},
	    {REFUSAL_column, ORDER("x.e <-> $1")},
	    /* no operand that is known to be a vector */
	    {REFUSAL_order_by, ORDER("name <-> $1")},
	    {REFUSAL_order_by, ORDER("n <-> $1")},
	    {REFUSAL_order_by, ORDER("tags <-> '[1]'")},
	    {REFUSAL_order_by, ORDER("name <-> 'word'")},
	    {REFUSAL_order_by, ORDER("COALESCE(e, e) <-> $1")},
	    {REFUSAL_order_by, ORDER("e::text <-> $1")},
	    {REFUSAL_order_by, ORDER("e::vector[] <-> $1")},
	    {REFUSAL_order_by, ORDER("e <-> $1 <-> $2")},
	    {REFUSAL_type, ORDER("e <-> $1::cube")},
	    {REFUSAL_type, ORDER("e::public.vector <-> $1")},
	    /* an operator that the type does not have */
	    {REFUSAL_order_by, ORDER("e <~> $1")},
	    {REFUSAL_order_by, ORDER("e <%> $1")},
	    {REFUSAL_order_by, ORDER("b <-> $1")},
	    {REFUSAL_order_by, ORDER("h <%> $1")},
	    {REFUSAL_order_by, ORDER("binary_quantize(e) <-> $1")},
	    /* other schemas; an operator that others have as well */
	    {REFUSAL_operator, ORDER("e OPERATOR(public.<->) $1")},
	    {REFUSAL_operator, ORDER("e OPERATOR(pg_catalog.<->) $1")},
	    {REFUSAL_operator, ORDER("e OPERATOR(db.ext.<->) $1")},
	    {REFUSAL_operator, ORDER("e <+> $1")},
	    {REFUSAL_operator, ORDER("e OPERATOR(ext.<+>) $1")},
	    {REFUSAL_order_by, ORDER("e = $1")},
	    {REFUSAL_order_by, ORDER("e <-> ANY($1)")},
	    /* no column in it */
	    {REFUSAL_not_topk, ORDER("'[1]'::vector <-> $1")},
	    {REFUSAL_expression, ORDER("e <-> (SELECT e FROM items LIMIT 1)")},
	};

	EXPECT_REFUSALS(cases);
}

Test(refused, expressions)
{
	static const struct refusal_case cases[] = {
	    {REFUSAL_expression, "SELECT (SELECT 1)" TAIL},
	    {REFUSAL_expression, WHERE("EXISTS (SELECT 1 FROM items)")},
	    {REFUSAL_expression, WHERE("id IN (SELECT 1)")},
	    {REFUSAL_expression, WHERE("id = ANY(SELECT 1)")},
	    {REFUSAL_expression, "SELECT ARRAY(SELECT 1)" TAIL},
	    {REFUSAL_expression, "SELECT CURRENT_TIMESTAMP" TAIL},
	    {REFUSAL_expression, WHERE("at > CURRENT_DATE")},
	    {REFUSAL_expression, "SELECT CURRENT_USER" TAIL},
	    {REFUSAL_expression, "SELECT name COLLATE \"C\"" TAIL},
	    {REFUSAL_expression, "SELECT ROW(id, n)" TAIL},
	    {REFUSAL_expression, WHERE("(id, n) = (1, 2)")},
	    {REFUSAL_expression, WHERE("(id, n) IN ((1, 2))")},
	    {REFUSAL_expression, WHERE("name SIMILAR TO 'x'")},
	    {REFUSAL_expression, "SELECT (tags).x" TAIL},
	    {REFUSAL_expression, "SELECT GROUPING(id)" TAIL},
	    {REFUSAL_expression, "SELECT $0" TAIL},
	    {REFUSAL_expression, "SELECT $99999" TAIL},
	    {REFUSAL_expression, WHERE("upper(items.*) = 'x'")},
	    {REFUSAL_expression, WHERE("at > 'now'")},
	    {REFUSAL_expression, WHERE("at > ' Today 10:00'::timestamptz")},
	    {REFUSAL_expression, WHERE("at < 'TOMORROW'")},
	    {REFUSAL_expression, WHERE("at < '10:00yesterday'")},
	    {REFUSAL_function, WHERE("XMLEXISTS('x' PASSING name)")},
	};

	EXPECT_REFUSALS(cases);
}

Test(refused, functions)
{
	static const struct refusal_case cases[] = {
	    {REFUSAL_none, "SELECT abs(n), pg_catalog.abs(n), ext.l2_distance(e, e)" TAIL},
	    {REFUSAL_function, "SELECT now()" TAIL},
	    {REFUSAL_function, "SELECT random()" TAIL},
	    {REFUSAL_function, "SELECT public.abs(n)" TAIL},
	    {REFUSAL_function, "SELECT db.ext.abs(n)" TAIL},
	    {REFUSAL_function, "SELECT \"ABS\"(n)" TAIL},
	    {REFUSAL_function, "SELECT count(*)" TAIL},
	    {REFUSAL_function, "SELECT abs(*)" TAIL},
	    {REFUSAL_function, "SELECT abs(DISTINCT n)" TAIL},
	    {REFUSAL_function, "SELECT abs(n ORDER BY n)" TAIL},
	    {REFUSAL_function, "SELECT abs(n) FILTER (WHERE true)" TAIL},
	    {REFUSAL_function, "SELECT abs(n) OVER ()" TAIL},
	    {REFUSAL_function, "SELECT abs(VARIADIC n)" TAIL},
	    {REFUSAL_function, "SELECT abs(n) WITHIN GROUP (ORDER BY n)" TAIL},
	    {REFUSAL_expression, "SELECT abs(x => n)" TAIL},
	    {REFUSAL_function, "SELECT abs(nextval('s'))" TAIL},
	    {REFUSAL_function, WHERE("at AT TIME ZONE 'UTC' > '2024-01-01'")},
	    {REFUSAL_function, ORDER("e <-> $1, random()")},
	    {REFUSAL_function, ORDER("f(e) <-> $1::vector")},
	    /* of what is stored as a node's own OID */
	    {REFUSAL_function, WHERE("hashenum(n) > 0")},
	    {REFUSAL_function, WHERE("hash_array(tags) > 0")},
	};

	EXPECT_REFUSALS(cases);
}

Test(refused, types)
{
	static const struct refusal_case cases[] = {
	    {REFUSAL_none, "SELECT n::int8, n::pg_catalog.text, e::ext.vector, e::vector[]" TAIL},
	    {REFUSAL_type, WHERE("name::regclass = 'items'::regclass")},
	    {REFUSAL_type, "SELECT 'items'::regclass" TAIL},
	    {REFUSAL_type, "SELECT 'x'::regtype" TAIL},
	    {REFUSAL_type, "SELECT 'x'::pg_catalog.regproc" TAIL},
	    {REFUSAL_type, "SELECT n::public.int4" TAIL},
	    {REFUSAL_type, "SELECT n::money" TAIL},
	    {REFUSAL_type, "SELECT n::xml" TAIL},
	    {REFUSAL_type, "SELECT n::\"int\"" TAIL},
	    {REFUSAL_type, "SELECT n::mood" TAIL},
	    {REFUSAL_type, "SELECT n::items.n%TYPE" TAIL},
	    {REFUSAL_type, "SELECT n::vector_or_so" TAIL},
	    {REFUSAL_type, "SELECT e::other.vector" TAIL},
	    {REFUSAL_type, "SELECT n::pg_catalog.vector" TAIL},
	    {REFUSAL_type, "SELECT n::ext.int4" TAIL},
	    {REFUSAL_type, "SELECT n::geometry(Point, 4326)" TAIL},
	    {REFUSAL_type, "SELECT n::db.pg_catalog.int4" TAIL},
	};
	static const struct refusal_case odd[] = {
#define ODD(targets, condition)                                                                    \
	"SELECT " targets " FROM \"My Schema\".\"Odd\"\"Table\" WHERE " condition                  \
	" ORDER BY \"E\" <-> $1 LIMIT 5"
	    {REFUSAL_none, ODD("\"E\"", "geo IS NOT NULL")},
	    {REFUSAL_none, ODD("\"E\"", "geo && $2")},
	    {REFUSAL_type, ODD("geo", "true")},
	    {REFUSAL_type, ODD("geo::text", "true")},
	    {REFUSAL_type, ODD("*", "true")},
	    {REFUSAL_type, ODD("geo IS NULL", "true")},
	    /* a reserved word of later versions than this grammar's */
	    {REFUSAL_column, ODD("system_user", "true")},
	    {REFUSAL_column, ODD("\"E\"", "system_user IS NULL")},
	    {REFUSAL_none, ODD("\"Odd\"\"Table\".system_user", "true")},
	};

	EXPECT_REFUSALS(cases);
	expect_refusals(odd, COUNT(odd), TESTMAP_ODD);
}

Test(refused, columns)
{
	static const struct refusal_case cases[] = {
	    {REFUSAL_column, "SELECT x" TAIL},
	    {REFUSAL_column, "SELECT \"ID\"" TAIL},
	    {REFUSAL_column, "SELECT ctid" TAIL},
	    {REFUSAL_column, "SELECT tableoid" TAIL},
	    {REFUSAL_column, "SELECT xmin" TAIL},
	    {REFUSAL_column, WHERE("items.ctid = '(0,1)'")},
	    {REFUSAL_column, "SELECT items" TAIL},
	    {REFUSAL_column, "SELECT x.id" TAIL},
	    {REFUSAL_column, "SELECT x.*" TAIL},
	    {REFUSAL_column, "SELECT other.items.id" TAIL},
	    {REFUSAL_column, "SELECT other.items.*" TAIL},
	    {REFUSAL_column, "SELECT db.public.items.id" TAIL},
	    {REFUSAL_column, "SELECT db.public.items.*" TAIL},
	    {REFUSAL_column, "SELECT items.id FROM items i ORDER BY e <-> $1 LIMIT 5"},
	    {REFUSAL_column, "SELECT public.i.id FROM items i ORDER BY e <-> $1 LIMIT 5"},
	    {REFUSAL_column, "SELECT items.* FROM items i ORDER BY e <-> $1 LIMIT 5"},
	};

	EXPECT_REFUSALS(cases);
}

Test(refused, operators)
{
	static const struct refusal_case cases[] = {
	    {REFUSAL_none, WHERE("n OPERATOR(pg_catalog.=) 1")},
	    {REFUSAL_operator, WHERE("n OPERATOR(public.=) 1")},
	    {REFUSAL_operator, WHERE("n === 1")},
	    {REFUSAL_operator, WHERE("name %> 'x'")},
	    {REFUSAL_operator, WHERE("name <<-> 'x' < 1")},
	    {REFUSAL_operator, WHERE("e <+> $1 < 1")},
	    /* % and @@ of texts answer by settings */
	    {REFUSAL_operator, WHERE("name % 'x'")},
	    {REFUSAL_operator, WHERE("name % $2")},
	    {REFUSAL_operator, WHERE("$2 % $3 = 0")},
	    {REFUSAL_operator, WHERE("name @@ 'x'")},
	    {REFUSAL_operator, WHERE("name @@ 'x'::tsquery")},
	    {REFUSAL_none, WHERE("n % $2 = 0")},
	    {REFUSAL_none, WHERE("tags @@ '$.a'")},
	};

	EXPECT_REFUSALS(cases);
}

Test(refused, single_shard)
{
	static const struct refusal_case cases[] = {
	    {REFUSAL_single_shard, WHERE("id = 1")},
	    {REFUSAL_single_shard, WHERE("1 = id")},
	    {REFUSAL_single_shard, WHERE("items.id = $2")},
	    {REFUSAL_single_shard, WHERE("id = $2::bigint")},
	    {REFUSAL_single_shard, WHERE("id::int = 1")},
	    {REFUSAL_single_shard, WHERE("n > 1 AND (id = 1 AND name = 'x')")},
	    {REFUSAL_single_shard, WHERE("id OPERATOR(pg_catalog.=) 1")},
	    {REFUSAL_none, WHERE("id = 1 OR n = 1")},
	    {REFUSAL_none, WHERE("n = 1")},
	    {REFUSAL_none, WHERE("id > 1")},
	};

	EXPECT_REFUSALS(cases);
}

/* Our texts have the sort keys before WHERE: types of parameters must not change. */
Test(refused, parameter_types)
{
	static const struct refusal_case cases[] = {
	    {REFUSAL_none, WHERE("e <-> $1 < 0.5")},
	    {REFUSAL_none, WHERE("name = $2 AND n = $3")},
	    {REFUSAL_none,
	     "SELECT id FROM items WHERE e <-> $1::vector < 1 AND h <-> $1::vector < 2 "
	     "ORDER BY e <-> $1::vector LIMIT 5"},
	    {REFUSAL_none, "SELECT id, $1 FROM items ORDER BY e <-> $1 LIMIT 5"},
	    {REFUSAL_parameters, WHERE("h <-> $1 < 0.5")},
	    {REFUSAL_parameters, WHERE("$1 IS NOT NULL")},
	    {REFUSAL_parameters,
	     "SELECT id FROM items WHERE n = $2 ORDER BY e <-> $1, abs($2) LIMIT 5"},
	    {REFUSAL_parameters, "SELECT id FROM items WHERE n = $2 ORDER BY e <-> $1, $2 LIMIT 5"},
	};

	EXPECT_REFUSALS(cases);
}

Test(refused, not_installed)
{
	struct shardmap *map = shardmap_new(SHARDMAP_CITUS, 1);
	static const char sql[] = "SELECT id FROM items ORDER BY e <-> $1 LIMIT 5";

	shardmap_add_node(map, "a", 1, NULL, false);
	testmap_add_items(map);
	shardmap_add_table(map, 7, "public", "empty");
	shardmap_seal(map);
	cr_expect_eq(refusal_of(map, sql, strlen(sql), TESTMAP_ITEMS), REFUSAL_operator);
	cr_expect_eq(refusal_of(map, sql, strlen(sql), 7), REFUSAL_table_kind);
	shardmap_unref(map);
}

Test(refused, odd_bytes)
{
	struct shardmap *map = testmap_new(1);
	static const char nul[] = "SELECT id\0 FROM items ORDER BY e <-> $1 LIMIT 5";
	char *deep = malloc(200000);
	char *to = stpcpy(deep, "SELECT ");

	cr_expect_eq(refusal_of(map, nul, sizeof(nul) - 1, TESTMAP_ITEMS), REFUSAL_syntax);
	cr_expect_eq(refusal_of(map, "\xff\xfe", 2, TESTMAP_ITEMS), REFUSAL_syntax);
	for (int i = 0; i < 20000; i++)
		to = stpcpy(to, "1+");
	to = stpcpy(to, "1" TAIL);
	cr_expect_eq(refusal_of(map, deep, strlen(deep), TESTMAP_ITEMS), REFUSAL_expression);
	free(deep);
	shardmap_unref(map);
}

/* Cut anywhere, a statement is refused or routed, and never read past its end. */
Test(refused, every_cut)
{
	static const char sql[] =
	    "SELECT *, n::int AS \"x\" FROM items i WHERE name LIKE 'a''b' AND n "
	    "IN (1, $2) ORDER BY e <=> '[1,2]'::vector DESC, 1 LIMIT 5 OFFSET $3";
	struct shardmap *map = testmap_new(1);

	for (size_t len = 0; len < sizeof(sql); len++) {
		char *exact = malloc(len + 1);
		enum refusal refusal;

		memcpy(exact + 1, sql, len);
		refusal = refusal_of(map, exact + 1, len, TESTMAP_ITEMS);
		cr_expect(refusal != REFUSAL_none || len >= strlen(sql) - strlen(" OFFSET $3"),
		          "%.*s", (int)len, sql);
		free(exact);
	}
	shardmap_unref(map);
}
