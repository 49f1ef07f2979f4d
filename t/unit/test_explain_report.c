/*
 * Explain report: what is made of the shards' own plans.
 */
#include "proxy/explain_report.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static struct explain_shard shards[2];
static struct explain explain;
static struct explain_report report;

static void set_plan(unsigned i, const char *plan)
{
	iobuf_init(&shards[i].plan);
	iobuf_append(&shards[i].plan, plan, strlen(plan));
}

static void setup(void)
{
	shards[0] = (struct explain_shard){.name = "s.t_0", .node = "a:1"};
	shards[1] = (struct explain_shard){.name = "s.t_1", .node = "b:2"};
	explain = (struct explain){.known = true, .costs = true, .timing = true};
	report = (struct explain_report){
	    .explain = &explain,
	    .schema = "s",
	    .table = "t",
	    .sort_keys = "t.e <-> $1",
	    .nshards = 2,
	    .nodes = 2,
	    .lanes = 2,
	    .limit = 5,
	    .per_shard = 6,
	    .ef_search = "40",
	    .iterative_scan = "relaxed_order",
	    .rows = 5,
	    .received = 12,
	    .refills = 1,
	    .merge_ms = 0.5,
	    .planning_ms = 1.5,
	    .execution_ms = 2.5,
	    .nasked = 2,
	    .asked = shards,
	};
}

static void teardown(void)
{
	iobuf_fini(&shards[0].plan);
	iobuf_fini(&shards[1].plan);
}

TestSuite(explain_report, .init = setup, .fini = teardown);

static void expect(const char *wanted)
{
	struct iobuf out;

	iobuf_init(&out);
	explain_report_write(&report, &out);
	iobuf_append(&out, "", 1);
	cr_expect_str_eq((const char *)iobuf_head(&out), wanted);
	iobuf_fini(&out);
}

Test(explain_report, the_slowest_shard_is_shown_below_what_is_known_of_all)
{
	explain.analyze = explain.summary = true;
	set_plan(0,
	         "Limit  (cost=1.00..2.00 rows=6 width=8) (actual time=0.10..0.20 rows=6 loops=1)\n"
	         "  ->  Seq Scan on t_0 t\n"
	         "Planning Time: 0.010 ms\n");
	set_plan(
	    1,
	    "Limit  (cost=3.00..4.00 rows=6 width=9) (actual time=0.20..0.30 rows=4.00 loops=1)\n"
	    "  Output: x\n"
	    "  ->  Index Scan using i on t_1 t\n"
	    "Planning:\n"
	    "  Buffers: shared hit=1\n"
	    "Execution Time: 0.400 ms\n");
	expect(
	    "Top-K Merge on s.t  (cost=4.00..4.00 rows=5 width=9) (actual time=2.500..2.500 rows=5 loops=1)\n"
	    "  Sort Key: t.e <-> $1\n"
	    "  Shards: 2\n"
	    "  Nodes: 2\n"
	    "  Lanes: 2\n"
	    "  Limit per Shard: 6\n"
	    "  ef_search: 40\n"
	    "  Iterative Scan: relaxed_order\n"
	    "  Refills: 1\n"
	    "  Rows from Shards: 12\n"
	    "  Rows per Shard: 4..6\n"
	    "  Time per Shard: 0.200..0.300 ms\n"
	    "  Merge Time: 0.500 ms\n"
	    "  Shards Shown: one of 2, the slowest\n"
	    "  ->  Shard s.t_1 on b:2\n"
	    "        ->  Limit  (cost=3.00..4.00 rows=6 width=9) (actual time=0.20..0.30 rows=4.00 loops=1)\n"
	    "              Output: x\n"
	    "              ->  Index Scan using i on t_1 t\n"
	    "        Planning:\n"
	    "          Buffers: shared hit=1\n"
	    "        Execution Time: 0.400 ms\n"
	    "Planning Time: 1.500 ms\n"
	    "Execution Time: 2.500 ms\n");
}

Test(explain_report, without_costs_and_timing)
{
	explain.analyze = true;
	explain.costs = explain.timing = false;
	report.nasked = report.nshards = report.nodes = report.lanes = 1;
	report.probes = "3";
	set_plan(0, "Limit (actual rows=6 loops=1)\n");
	expect("Top-K Merge on s.t  (actual rows=5 loops=1)\n"
	       "  Sort Key: t.e <-> $1\n"
	       "  Shards: 1\n"
	       "  Nodes: 1\n"
	       "  Lanes: 1\n"
	       "  Limit per Shard: 6\n"
	       "  ef_search: 40\n"
	       "  Probes: 3\n"
	       "  Iterative Scan: relaxed_order\n"
	       "  Refills: 1\n"
	       "  Rows from Shards: 12\n"
	       "  Rows per Shard: 6..6\n"
	       "  ->  Shard s.t_0 on a:1\n"
	       "        ->  Limit (actual rows=6 loops=1)\n");
}

#define TWO_SHARDS                                                                                 \
	"      \"Plans\": [\n"                                                                     \
	"        {\n"                                                                              \
	"            \"Node Type\": \"Shard\",\n"                                                  \
	"            \"Parent Relationship\": \"Member\",\n"                                       \
	"            \"Shard\": \"s.t_0\",\n"                                                      \
	"            \"Node\": \"a:1\",\n"                                                         \
	"            \"Query\": \"SELECT '\\\"'\",\n"                                              \
	"            \"Plans\": [\n"                                                               \
	"                {\n"                                                                      \
	"                  \"Filter\": \"}\\\"{\",\n"                                              \
	"                  \"Total Cost\": 7.25,\n"                                                \
	"                  \"Plan Width\": 8\n"                                                    \
	"                }\n"                                                                      \
	"            ],\n"                                                                         \
	"            \"Planning Time\": 0.1,\n"                                                    \
	"            \"Triggers\": [\n"                                                            \
	"            ]\n"                                                                          \
	"        },\n"                                                                             \
	"        {\n"                                                                              \
	"            \"Node Type\": \"Shard\",\n"                                                  \
	"            \"Parent Relationship\": \"Member\",\n"                                       \
	"            \"Shard\": \"s.t_1\",\n"                                                      \
	"            \"Node\": \"b:2\",\n"                                                         \
	"            \"Plans\": [\n"                                                               \
	"                {\n"                                                                      \
	"                }\n"                                                                      \
	"            ]\n"                                                                          \
	"        }\n"                                                                              \
	"      ]\n"

Test(explain_report, json_takes_the_shards_documents_apart)
{
	explain.format = EXPLAIN_JSON;
	explain.verbose = explain.summary = true;
	report.table = "t\"\\\t";
	shards[0].sql = "SELECT '\"'";
	set_plan(
	    0,
	    "[\n  {\n    \"Plan\": {\n      \"Filter\": \"}\\\"{\",\n      \"Total Cost\": 7.25,\n"
	    "      \"Plan Width\": 8\n    },\n    \"Planning Time\": 0.1,\n"
	    "    \"Triggers\": [\n    ]\n  }\n]\n");
	set_plan(1, "[\n  {\n    \"Plan\": {\n    }\n  }\n]");
	expect("[\n"
	       "  {\n"
	       "    \"Plan\": {\n"
	       "      \"Node Type\": \"Top-K Merge\",\n"
	       "      \"Parallel Aware\": false,\n"
	       "      \"Async Capable\": false,\n"
	       "      \"Relation Name\": \"t\\\"\\\\\\u0009\",\n"
	       "      \"Schema\": \"s\",\n"
	       "      \"Sort Key\": [\"t.e <-> $1\"],\n"
	       "      \"Shards\": 2,\n"
	       "      \"Nodes\": 2,\n"
	       "      \"Lanes\": 2,\n"
	       "      \"Limit per Shard\": 6,\n"
	       "      \"ef_search\": 40,\n"
	       "      \"Iterative Scan\": \"relaxed_order\",\n"
	       "      \"Startup Cost\": 7.25,\n"
	       "      \"Total Cost\": 7.25,\n"
	       "      \"Plan Rows\": 5,\n"
	       "      \"Plan Width\": 8,\n" TWO_SHARDS "    },\n"
	       "    \"Planning Time\": 1.500\n"
	       "  }\n"
	       "]");
}

Test(explain_report, figures_of_a_plan_that_is_none)
{
	struct explain_figures figures;

	set_plan(0, "");
	figures = explain_figures(&explain, &shards[0].plan);
	cr_assert(isnan(figures.total_cost) && isnan(figures.rows) && isnan(figures.time_ms));
	set_plan(1, "(cost=(actual rows=");
	figures = explain_figures(&explain, &shards[1].plan);
	cr_assert(isnan(figures.total_cost) && isnan(figures.rows) && isnan(figures.time_ms));
}
