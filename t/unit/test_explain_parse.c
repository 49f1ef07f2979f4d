/*
 * Explain: which texts are EXPLAIN, what its options are in each syntax, and what is
 * left of the statement.
 */
#include "parser/explain.h"

#include <criterion/criterion.h>
#include <string.h>

static struct arena *arena;

static void setup(void)
{
	arena = arena_new();
}

static void teardown(void)
{
	arena_free(arena);
}

TestSuite(explain_parse, .init = setup, .fini = teardown);

static struct explain parsed(const char *sql)
{
	struct explain explain;

	cr_assert(explain_begins(sql, strlen(sql)), "%s", sql);
	cr_assert(explain_parse(sql, strlen(sql), arena, &explain), "%s", sql);
	cr_assert_eq(explain.len, strlen(explain.sql));
	return explain;
}

Test(explain_parse, the_word_is_found_behind_blanks_and_comments)
{
	static const char *const yes[] = {
	    "EXPLAIN SELECT 1",
	    "explain(analyze) select 1",
	    " \t\n\f\v\rExplain SELECT 1",
	    "-- a\n--b\r\nEXPLAIN SELECT 1",
	    "/* a /* b */ c */ -- d\n /**/EXPLAIN SELECT 1",
	};
	static const char *const no[] = {
	    "",
	    "EXPLAIN",
	    "SELECT 'EXPLAIN'",
	    "-- EXPLAIN SELECT 1",
	    "/* EXPLAIN */ SELECT 1",
	    "/* a /* b */ EXPLAIN SELECT 1",
	    "-",
	    "/",
	    "--",
	    "/*",
	    "/* /",
	};

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		cr_expect(explain_begins(yes[i], strlen(yes[i])), "%s", yes[i]);
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		cr_expect_not(explain_begins(no[i], strlen(no[i])), "%s", no[i]);
}

Test(explain_parse, the_statement_is_what_is_left)
{
	struct explain explain = parsed("EXPLAIN /* x */ SELECT  id FROM t -- y\n"
	                                "ORDER BY e <-> $1, 'EXPLAIN' LIMIT 5");

	cr_assert_str_eq(explain.sql, "SELECT id FROM t ORDER BY e <-> $1, 'EXPLAIN' LIMIT 5");
	cr_assert_str_eq(explain.options, "");
	cr_assert(explain.known && explain.costs && explain.timing);
	cr_assert(!explain.analyze && !explain.verbose && !explain.summary);
	cr_assert_eq(explain.format, EXPLAIN_TEXT);
}

Test(explain_parse, options_in_each_syntax)
{
	struct explain explain = parsed("EXPLAIN ANALYZE VERBOSE SELECT 1");

	cr_assert_str_eq(explain.options, "analyze on, verbose on");
	cr_assert(explain.known && explain.analyze && explain.verbose && explain.summary);
	explain = parsed("EXPLAIN VERBOSE SELECT 1");
	cr_assert(explain.verbose && !explain.analyze && !explain.summary);
	explain = parsed("EXPLAIN (ANALYZE TRUE, VERBOSE 0, COSTS OFF, TIMING false, BUFFERS 1, "
	                 "SETTINGS 'on', WAL, FORMAT JSON) SELECT 1");
	cr_assert_str_eq(explain.options, "analyze on, verbose off, costs off, timing off, "
	                                  "buffers on, settings on, wal on, format json");
	cr_assert(explain.known && explain.analyze && !explain.verbose && !explain.costs &&
	          !explain.timing);
	cr_assert_eq(explain.format, EXPLAIN_JSON);
	explain = parsed("EXPLAIN (ANALYZE, ANALYZE OFF, SUMMARY) SELECT 1"); /* the last counts */
	cr_assert(!explain.analyze && explain.summary);
	explain = parsed("EXPLAIN (SUMMARY OFF, ANALYZE) SELECT 1");
	cr_assert(explain.analyze && !explain.summary);
	cr_assert_eq(parsed("EXPLAIN (FORMAT 'text') SELECT 1").format, EXPLAIN_TEXT);
	cr_assert_str_eq(parsed("EXPLAIN (SERIALIZE BINARY, MEMORY) SELECT 1").options,
	                 "serialize binary, memory on");
}

Test(explain_parse, what_is_not_known_is_said_to_be_so)
{
	static const char *const unknown[] = {
	    "EXPLAIN (FORMAT YAML) SELECT 1",        "EXPLAIN (FORMAT XML) SELECT 1",
	    "EXPLAIN (FORMAT 'JSON') SELECT 1",      "EXPLAIN (FORMAT) SELECT 1",
	    "EXPLAIN (GENERIC_PLAN) SELECT 1",       "EXPLAIN (ANALYZE maybe) SELECT 1",
	    "EXPLAIN (ANALYZE 2) SELECT 1",          "EXPLAIN (NO_SUCH) SELECT 1",
	    "EXPLAIN (SERIALIZE 'a b') SELECT 1",    "EXPLAIN (ANALYZE 1.5) SELECT 1",
	    "EXPLAIN (VERBOSE, \"COSTS\") SELECT 1",
	};

	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		cr_expect_not(parsed(unknown[i]).known, "%s", unknown[i]);
}

Test(explain_parse, nothing_else_is_an_explain)
{
	static const char *const others[] = {
	    "SELECT 1",
	    "EXPLAIN",
	    "EXPLAIN SELECT 1; SELECT 2",
	    "EXPLAIN SELECT FROM WHERE",
	    "EXPLAIN () SELECT 1",
	    "EXPLAIN EXPLAIN SELECT 1",
	};
	struct explain explain;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		cr_expect_not(explain_parse(others[i], strlen(others[i]), arena, &explain), "%s",
		              others[i]);
	cr_expect_not(explain_parse("EXPLAIN SELECT 1\0", 17, arena, &explain));
}
