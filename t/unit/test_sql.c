/*
 * SQL: the door to libpg_query. Comparing, copying, walking, quoting, and the
 * guard against trees that are too deep for the stack.
 */
#include "parser/sql.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static bool same(const char *a, const char *b)
{
	struct arena *arena = arena_new();
	PgQuery__ParseResult *x = sql_parse(a, arena);
	PgQuery__ParseResult *y = sql_parse(b, arena);
	bool equal;

	cr_assert_not_null(x, "%s", a);
	cr_assert_not_null(y, "%s", b);
	equal = sql_equal(&x->base, &y->base);
	cr_expect_eq(equal, sql_equal(&y->base, &x->base));
	arena_free(arena);
	return equal;
}

Test(sql, equal_but_for_locations)
{
	cr_expect(same("SELECT 1", "select   1 ;"));
	cr_expect(same("SELECT a FROM t WHERE b=1", "SELECT a /* x */ FROM t\nWHERE (b = 1)"));
	cr_expect(same("SELECT * FROM t LIMIT 1", "SELECT * FROM t FETCH FIRST ROW ONLY"));
	cr_expect(same("SELECT 'a\\b'", "SELECT E'a\\\\b'"));
	cr_expect(same("SELECT CAST(a AS int)", "SELECT a::integer"));
	cr_expect(same("SELECT -1", "SELECT - 1"));
}

Test(sql, not_equal)
{
	static const char *const texts[] = {
	    "SELECT 1",
	    "SELECT 2",
	    "SELECT '1'",
	    "SELECT 1.0",
	    "SELECT -1",
	    "SELECT a",
	    "SELECT \"A\"",
	    "SELECT t.a",
	    "SELECT 1, 1",
	    "SELECT 1 AS a",
	    "SELECT $1",
	    "SELECT $2",
	    "SELECT true",
	    "SELECT false",
	    "SELECT NULL",
	    "SELECT b'1'",
	    "SELECT x'1'",
	    "SELECT 99999999999",
	    "SELECT 1 LIMIT 1",
	    "SELECT 1 OFFSET 1",
	    "SELECT 1 FROM t",
	    "SELECT 1 FROM ONLY t",
	    "SELECT 1 FROM s.t",
	    "SELECT 1 FROM t a",
	    "SELECT 1 ORDER BY 1",
	    "SELECT 1 ORDER BY 1 ASC",
	    "SELECT 1 ORDER BY 1 NULLS FIRST",
	    "SELECT a AND b",
	    "SELECT a OR b",
	    "SELECT a = b",
	    "SELECT a < b",
	    "SELECT a::int",
	    "SELECT a::int[]",
	    "SELECT a::int8",
	    "SELECT f(a)",
	    "SELECT f(DISTINCT a)",
	    "SELECT a IS NULL",
	    "SELECT a IS NOT NULL",
	    "DELETE FROM t",
	    "SELECT 1; SELECT 1",
	    "SELECT ARRAY[1]",
	    "SELECT a[1]",
	    "SELECT a[1:1]",
	    "SELECT a IN (1)",
	};
	size_t count = sizeof(texts) / sizeof(texts[0]);

	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < count; j++)
			cr_expect_eq(same(texts[i], texts[j]), i == j, "%s / %s", texts[i],
			             texts[j]);
	}
}

Test(sql, round_trip)
{
	static const char *const texts[] = {
	    "SELECT a, b AS c FROM s.t x WHERE a = 1 AND (b = 'x' OR c IN (1, 2)) ORDER BY 1 LIMIT 3",
	    "SELECT \"select\", \"A\"\"b\" FROM \"Order\"",
	    "SELECT CASE WHEN a THEN 1 ELSE 2 END, COALESCE(a, b), GREATEST(a, b)",
	    "SELECT (a[1])[2], ARRAY[1, 2], NOT (a AND b), a - (b - c), (a - b) - c, - (- a)",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct arena *arena = arena_new();
		PgQuery__ParseResult *tree = sql_parse(texts[i], arena);
		PgQuery__ParseResult *copy = sql_copy(tree, arena);
		char *text = sql_deparse(copy, arena);

		cr_assert_not_null(text);
		cr_expect(sql_equal(&tree->base, &copy->base));
		cr_expect(same(text, texts[i]), "%s", text);
		arena_free(arena);
	}
}

Test(sql, syntax_errors)
{
	struct arena *arena = arena_new();

	cr_expect_null(sql_parse("SELEC 1", arena));
	cr_expect_null(sql_parse("SELECT 'open", arena));
	cr_expect_null(sql_parse("SELECT (1", arena));
	cr_expect_null(sql_parse("\xff\xfe", arena));
	cr_expect_eq(sql_parse("", arena)->n_stmts, 0);
	cr_expect_eq(sql_parse(" ; ; ", arena)->n_stmts, 0);
	arena_free(arena);
}

static void count_columns(void *context, const ProtobufCMessage *message,
                          const ProtobufCMessage *parent)
{
	unsigned *count = context;

	if (!SQL_IS(message, column_ref))
		return;
	cr_expect_not_null(parent);
	cr_expect_not(SQL_IS(parent, node));
	++*count;
}

Test(sql, visit_finds_all)
{
	struct arena *arena = arena_new();
	unsigned count = 0;
	PgQuery__ParseResult *tree =
	    sql_parse("SELECT a, f(b, c[d]) FROM t WHERE CASE e WHEN g THEN h END IN (i, j::int) "
	              "ORDER BY k LIMIT 1",
	              arena);

	sql_visit(&tree->base, count_columns, &count);
	cr_expect_eq(count, 10);
	arena_free(arena);
}

Test(sql, quote)
{
	struct arena *arena = arena_new();

	cr_expect_str_eq(sql_quote(arena, "items", false), "items");
	cr_expect_str_eq(sql_quote(arena, "items", true), "\"items\"");
	cr_expect_str_eq(sql_quote(arena, "Items", false), "\"Items\"");
	cr_expect_str_eq(sql_quote(arena, "a b\"c", false), "\"a b\"\"c\"");
	cr_expect_str_eq(sql_quote(arena, "1a", false), "\"1a\"");
	cr_expect_str_eq(sql_quote(arena, "", false), "\"\"");
	arena_free(arena);
}

/* prefix, then opening and closing n times */
static char *nested(const char *prefix, const char *open, const char *middle, const char *close,
                    size_t n)
{
	char *text =
	    malloc(strlen(prefix) + strlen(middle) + n * (strlen(open) + strlen(close)) + 1);
	char *to = stpcpy(text, prefix);

	for (size_t i = 0; i < n; i++)
		to = stpcpy(to, open);
	to = stpcpy(to, middle);
	for (size_t i = 0; i < n; i++)
		to = stpcpy(to, close);
	return text;
}

/* Just below the guard's limit everything must fit the stack; above, be refused. */
Test(sql, deep_trees)
{
	static const char *const shapes[][3] = {
	    {"1+", "1", ""},
	    {"- ", "1", ""},
	    {"not ", "a", ""},
	    {"", "1", "::int"},
	    {"abs(", "1", ")"},
	    {"(select ", "1", ")"},
	    {"array[", "1", "]"},
	    {"case when ", "a", " then 1 end"},
	    {"(a,", "1", ")"},
	    {"", "a", " is null"},
	    {"", "a", "[1]"},
	    {"", "a", " collate x"},
	    {"", "1", " union select 1"},
	    {"a||'x'||", "a", ""},
	    {"a1e-1-", "1", ""},
	    {"", "a", " at time zone 'x'"},
	};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		size_t n = 4096;
		char *text;

		for (;; n -= 8) {
			text = nested("SELECT ", shapes[i][0], shapes[i][1], shapes[i][2], n);
			if (!sql_may_be_deep(text, strlen(text)))
				break;
			free(text);
		}
		cr_expect_lt(n, 1001, "%s %s", shapes[i][0], shapes[i][2]);
		struct arena *arena = arena_new();
		PgQuery__ParseResult *tree = sql_parse(text, arena);

		if (tree != NULL)
			cr_expect(sql_equal(&tree->base, &sql_copy(tree, arena)->base));
		arena_free(arena);
		free(text);
	}
}

Test(sql, flat_texts_pass)
{
	char *vector = nested("SELECT * FROM t ORDER BY e <-> '[", "-1.5e-3,", "1", "", 4096);
	char *array = nested("SELECT * FROM t ORDER BY e <-> ARRAY[", "-1.5, ", "1", "", 4096);
	char *words = nested("SELECT '", "it is (so) ", "", "", 4096);

	cr_expect_not(sql_may_be_deep(vector, strlen(vector)));
	cr_expect_not(sql_may_be_deep(array, strlen(array)));
	cr_expect(sql_may_be_deep(words, strlen(words)) == false);
	free(vector);
	free(array);
	free(words);
}

/* Where a string's end is not certain, its content counts. */
Test(sql, doubtful_strings_count)
{
	char *text = nested("SELECT E'\\'' || '", "- ", "1", "", 4096);

	cr_expect(sql_may_be_deep(text, strlen(text)));
	free(text);
	text = nested("SELECT $a$'$a$, ", "- ", "1", "", 4096);
	cr_expect(sql_may_be_deep(text, strlen(text)));
	free(text);
	text = nested("SELECT /* ' */ ", "- ", "1", " -- '", 1);
	cr_expect_not(sql_may_be_deep(text, strlen(text)));
	free(text);
}
