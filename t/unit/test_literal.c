/*
 * Literal: which literals are lifted, and that everything that could be
 * something else leaves the text alone.
 */
#include "parser/literal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lift_case {
	const char *sql;
	const char *expected; /* NULL: nothing is lifted */
	const char *literals; /* joined by ; */
};

static void expect_lift(const struct lift_case *c)
{
	struct arena *arena = arena_new();
	size_t len = strlen(c->sql);
	char *exact = malloc(len + 1);
	struct literal_lifted lifted;
	char joined[256] = "";

	memcpy(exact + 1, c->sql, len);
	literal_lift(exact + 1, len, arena, &lifted);
	if (c->expected == NULL) {
		cr_expect_eq(lifted.count, 0, "%s", c->sql);
		cr_expect_eq(lifted.sql, exact + 1);
		cr_expect_eq(lifted.len, len);
	} else {
		cr_expect_eq(lifted.len, strlen(c->expected), "%s", c->sql);
		cr_expect_arr_eq(lifted.sql, c->expected, strlen(c->expected), "%s", c->sql);
		for (unsigned i = 0; i < lifted.count; i++) {
			size_t at = strlen(joined);

			snprintf(joined + at, sizeof(joined) - at, "%s%.*s", i > 0 ? ";" : "",
			         (int)lifted.literals[i].len, lifted.literals[i].text);
		}
		cr_expect_str_eq(joined, c->literals, "%s", c->sql);
	}
	free(exact);
	arena_free(arena);
}

static void expect_untouched(const char *const *texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		expect_lift(&(struct lift_case){.sql = texts[i]});
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

Test(literal, lifts)
{
	static const struct lift_case cases[] = {
	    {"SELECT id FROM t ORDER BY e <-> '[1,2,3]' LIMIT 5",
	     "SELECT id FROM t ORDER BY e <-> $1 LIMIT 5", "[1,2,3]"},
	    {"SELECT e<->'[1]' FROM t", "SELECT e<->$1 FROM t", "[1]"},
	    {"ORDER BY e <=> '[ -1.5e-3 , +2.E5,\t.5]'::vector(3)", "ORDER BY e <=> $1::vector(3)",
	     "[ -1.5e-3 , +2.E5,\t.5]"},
	    {"ORDER BY '[1]'::vector <-> e", "ORDER BY $1::vector <-> e", "[1]"},
	    {"SELECT f(e, '[1]'), '[2]' <-> e", "SELECT f(e, $1), $2 <-> e", "[1];[2]"},
	    {"ORDER BY s <-> '{1:0.5,7:-2}/100'", "ORDER BY s <-> $1", "{1:0.5,7:-2}/100"},
	    {"ORDER BY s <-> '{}/5' LIMIT 1", "ORDER BY s <-> $1 LIMIT 1", "{}/5"},
	    {"WHERE a = 'it''s [1]' ORDER BY e <-> '[1]'",
	     "WHERE a = 'it''s [1]' ORDER BY e <-> $1", "[1]"},
	    {"SELECT \"it's\" FROM t ORDER BY e <-> '[1]'",
	     "SELECT \"it's\" FROM t ORDER BY e <-> $1", "[1]"},
	    {"SELECT \"a\"\"b'\", '' FROM t ORDER BY e <-> '[1]'",
	     "SELECT \"a\"\"b'\", '' FROM t ORDER BY e <-> $1", "[1]"},
	    {"WHERE a = '-- [1]' AND b = '/*' ORDER BY e <-> '[1]'",
	     "WHERE a = '-- [1]' AND b = '/*' ORDER BY e <-> $1", "[1]"},
	    {"WHERE x AND '[1]' <-> e < 1", "WHERE x AND $1 <-> e < 1", "[1]"},
	    {"CAST('[1]' AS vector)", "CAST($1 AS vector)", "[1]"},
	    {"e <-> '[]' ", NULL, NULL},
	    {"e <-> '[1]'\n", "e <-> $1\n", "[1]"},
	    {"e <-> '[1\n,2]'", "e <-> $1", "[1\n,2]"},
	};

	for (size_t i = 0; i < COUNT(cases); i++)
		expect_lift(&cases[i]);
}

Test(literal, not_plain_enough)
{
	static const char *const texts[] = {
	    "",
	    "SELECT 1",
	    "e <-> '[1]' -- it's",
	    "e <-> '[1]' /* ' */",
	    "e <-> '[1]' AND a = $1",
	    "e <-> '[1]' AND a = $$'$$",
	    "e <-> '[1]' AND a = 'x$y'",
	    "e <-> '[1]' AND a = 'x\\'",
	    "e <-> E'[1]'",
	    "e <-> e'[1]'",
	    "e <-> U&'[1]'",
	    "e <-> u&'[1]'",
	    "e <-> N'[1]'",
	    "e <-> '[1]' AND b = B'1'",
	    "e <-> '[1]' AND a = 'open",
	    "e <-> '[1]' AND a = \"open",
	    "'[1]'",
	};

	expect_untouched(texts, COUNT(texts));
}

Test(literal, neighbours)
{
	static const char *const texts[] = {
	    "e <-> '[1]'and",    "e <-> '[1]'_",       "e <-> '[1]''[2]'",    "e <-> '[1]'\n'[2]'",
	    "e <-> '[1]' '[2]'", "e <-> vector '[1]'", "vector'[1]'",         "\"vector\" '[1]'",
	    "e <-> '[1]'\"x\"",  "bit(3) '[1]'",       "x.by '[1]'",          "SELECT 1 AS '[1]'",
	    "SELECT a '[1]'",    "json '[1]'",         "e <-> '[1]'\xc3\xa4",
	};

	expect_untouched(texts, COUNT(texts));
}

Test(literal, not_vectors)
{
	static const char *const texts[] = {
	    "a = '[1,2'",      "a = '1,2]'",    "a = '[a]'",    "a = '[1,NaN]'",
	    "a = '{1,2}'",     "a = '{1:2}'",   "a = '{1:2}/'", "a = '{1:2}x5'",
	    "a = '[[1],[2]]'", "a = '{a:1}/5'", "a = ''",       "a = '[]'",
	    "a = '/5'",        "a = ' [1]'",    "a = '[1] '",   "a = '}/5'",
	};

	expect_untouched(texts, COUNT(texts));
}

Test(literal, many)
{
	struct arena *arena = arena_new();
	struct literal_lifted lifted;
	char sql[65 * 8 + 16] = "f(";

	for (int i = 0; i < 64; i++)
		strcat(sql, "'[1]',");
	literal_lift(sql, strlen(sql), arena, &lifted);
	cr_expect_eq(lifted.count, 64);
	cr_expect_str_eq(lifted.sql + lifted.len - 9, ",$63,$64,");
	strcat(sql, "'[1]'");
	literal_lift(sql, strlen(sql), arena, &lifted);
	cr_expect_eq(lifted.count, 0);
	arena_free(arena);
}

Test(literal, every_cut)
{
	static const char text[] =
	    "SELECT \"a\" FROM t WHERE a = 'x''y' ORDER BY e <-> '[1,2]'::vector";
	struct arena *arena = arena_new();
	struct literal_lifted lifted;

	for (size_t len = 0; len < sizeof(text); len++) {
		char *exact = malloc(len + 1);

		memcpy(exact + 1, text, len);
		literal_lift(exact + 1, len, arena, &lifted);
		cr_expect(lifted.count <= 1);
		cr_expect_eq(lifted.count, len >= strlen(text) - strlen("::vector"));
		free(exact);
	}
	arena_free(arena);
}

Test(literal, nul_byte)
{
	struct arena *arena = arena_new();
	struct literal_lifted lifted;

	literal_lift("e <-> '[1]'\0", 12, arena, &lifted);
	cr_expect_eq(lifted.count, 0);
	arena_free(arena);
}
