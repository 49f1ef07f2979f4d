/*
 * Pipeline: statements that are known here only, amid messages that fail, are
 * skipped, or take them away. Each sequence once went wrong; the coordinator asked
 * directly must say the same, byte for byte.
 */
#include <string.h>

#include "t/lib/pair.h"
#include "t/lib/suite.h"

#define VECTOR "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT "
#define VECTOR_LIMIT "SELECT id FROM items ORDER BY embedding <-> $1 LIMIT $2"

static void parse(struct pair *pair, const char *name, const char *sql)
{
	wire_put_parse(&pair->out, name, sql, strlen(sql), 0, NULL);
}

static void bind(struct pair *pair, const char *portal, const char *statement)
{
	raw_put_bind(&pair->out, portal, statement, NULL, 0, 0, 0);
}

static void bind_limit(struct pair *pair, const char *limit)
{
	struct raw_value values[] = {{Q8, -2}, {limit, -2}};

	raw_put_bind(&pair->out, "", "", values, 2, 0, 0);
}

static void execute(struct pair *pair, const char *portal)
{
	wire_put_execute(&pair->out, portal, 0);
}

static void run_unnamed(struct pair *pair, const char *sql)
{
	parse(pair, "", sql);
	bind(pair, "", "");
	execute(pair, "");
	pair_sync(pair);
}

/* The server skips the new unnamed statement, so the one before it is still there. */
Test(pipeline, skipped_parse_replaces_nothing)
{
	struct pair pair;

	pair_open(&pair);
	run_unnamed(&pair, "SELECT 'old'");
	parse(&pair, "", VECTOR "2");
	pair_sync(&pair);
	parse(&pair, "x", "bad sql");
	parse(&pair, "", VECTOR "3");
	pair_sync(&pair);
	bind(&pair, "", "");
	execute(&pair, "");
	pair_sync(&pair);
	pair_expect_routed(&pair, 1);
	pair_close(&pair);
}

/* What was handed over and skipped is known here only, again. */
Test(pipeline, skipped_bind_keeps_the_statement)
{
	struct pair pair;

	pair_open(&pair);
	run_unnamed(&pair, "SELECT 'old' WHERE 'x' <> $1 AND $2 = 'y' OR true");
	parse(&pair, "", VECTOR_LIMIT);
	pair_sync(&pair);
	parse(&pair, "x", "bad sql");
	bind_limit(&pair, "1");
	execute(&pair, "");
	pair_sync(&pair);
	bind_limit(&pair, "0"); /* the coordinator's to answer */
	execute(&pair, "");
	pair_sync(&pair);
	bind_limit(&pair, "2");
	execute(&pair, "");
	pair_sync(&pair);
	pair_close(&pair);
}

Test(pipeline, failed_parse_of_a_name_in_use)
{
	struct pair pair;

	pair_open(&pair);
	parse(&pair, "s", "SELECT 'old'");
	parse(&pair, "", VECTOR_LIMIT);
	bind_limit(&pair, "0");
	execute(&pair, "");
	pair_sync(&pair);
	parse(&pair, "s", VECTOR "2");
	pair_sync(&pair);
	bind(&pair, "", "s");
	execute(&pair, "");
	pair_sync(&pair);
	pair_close(&pair);
}

Test(pipeline, skipped_describe_and_close)
{
	struct pair pair;

	pair_open(&pair);
	parse(&pair, "", VECTOR "2");
	pair_sync(&pair);
	parse(&pair, "x", "bad sql");
	wire_put_describe(&pair.out, 'S', "");
	wire_put_close(&pair.out, 'S', "");
	pair_sync(&pair);
	bind(&pair, "", "");
	execute(&pair, "");
	pair_sync(&pair);
	pair_expect_routed(&pair, 1);
	pair_close(&pair);
}

Test(pipeline, deallocate_all_takes_no_portal_away)
{
	struct pair pair;

	for (int describe = 0; describe < 2; describe++) {
		pair_open(&pair);
		parse(&pair, "s", VECTOR "3");
		pair_sync(&pair);
		bind(&pair, "p", "s");
		parse(&pair, "", "DEALLOCATE ALL");
		bind(&pair, "", "");
		execute(&pair, "");
		if (describe)
			wire_put_describe(&pair.out, 'P', "p");
		execute(&pair, "p");
		pair_sync(&pair);
		pair_close(&pair);
	}
}

Test(pipeline, close_before_a_fall_back)
{
	struct pair pair;

	pair_open(&pair);
	parse(&pair, "", VECTOR_LIMIT);
	bind_limit(&pair, "2");
	execute(&pair, "");
	wire_put_close(&pair.out, 'P', "");
	bind_limit(&pair, "0");
	execute(&pair, "");
	pair_sync(&pair);
	pair_close(&pair);
}

Test(pipeline, query_behind_an_unsettled_parse)
{
	struct pair pair;

	pair_open(&pair);
	parse(&pair, "", VECTOR "2");
	wire_put_query(&pair.out, VECTOR "1");
	pair_talk(&pair, WIRE_BE_ReadyForQuery, 1);
	pair_sync(&pair);
	pair_close(&pair);
}

Test(pipeline, named_statement_is_routed_after_simple_queries)
{
	struct pair pair;

	pair_open(&pair);
	parse(&pair, "s", VECTOR "3");
	pair_sync(&pair);
	for (int i = 0; i < 2; i++) {
		bind(&pair, "", "s");
		execute(&pair, "");
		pair_sync(&pair);
		pair_expect_routed(&pair, 1);
		wire_put_query(&pair.out, "BEGIN");
		pair_talk(&pair, WIRE_BE_ReadyForQuery, 1);
		wire_put_query(&pair.out, "COMMIT");
		pair_talk(&pair, WIRE_BE_ReadyForQuery, 1);
	}
	pair_close(&pair);
}

/* Values are read at Bind, before anything is executed. */
Test(pipeline, a_value_that_is_none_is_told_at_bind)
{
	struct raw_value values[] = {{"[1,x]", -2}, {"5", -2}};
	struct raw_value right[] = {{Q8, -2}, {"5", -2}};
	struct pair pair;

	pair_open(&pair);
	for (int last = 0; last < 2; last++) {
		parse(&pair, "", VECTOR_LIMIT);
		raw_put_bind(&pair.out, "", "", values, 2, 0, 0);
		if (last == 0) {
			wire_put_bare(&pair.out, WIRE_FE_Flush);
			pair_talk(&pair, WIRE_BE_ErrorResponse, 1);
		}
		pair_sync(&pair);
	}
	parse(&pair, "", VECTOR_LIMIT);
	raw_put_bind(&pair.out, "", "", right, 2, 0, 0);
	wire_put_bare(&pair.out, WIRE_FE_Flush);
	pair_talk(&pair, WIRE_BE_BindComplete, 1);
	execute(&pair, "");
	pair_sync(&pair);
	pair_close(&pair);
}

/* The first one was executed here, where the coordinator does not see it. */
Test(pipeline, a_portals_name_is_taken_until_it_ends)
{
	struct pair pair;

	pair_open(&pair);
	for (int routable = 0; routable < 2; routable++) {
		parse(&pair, "", VECTOR "2");
		bind(&pair, "p", "");
		execute(&pair, "p");
		parse(&pair, "s1", routable ? VECTOR "3" : "SELECT 1");
		bind(&pair, "p", "s1");
		wire_put_describe(&pair.out, 'P', "p");
		execute(&pair, "p");
		pair_sync(&pair);
		run_unnamed(&pair, "DEALLOCATE ALL");
	}
	/* its statement has gone */
	parse(&pair, "", VECTOR "2");
	bind(&pair, "p", "");
	execute(&pair, "p");
	parse(&pair, "", "SELECT 1");
	bind(&pair, "p", "");
	execute(&pair, "p");
	pair_sync(&pair);
	pair_close(&pair);
}
