/*
 * Torture: see torture.h.
 */
#include "t/torture/torture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "t/lib/cluster.h"
#include "t/torture/shrink.h"
#include "t/torture/stage.h"

#define CASES_PER_WORLD 50
/* So often a kind of question may be left to the coordinator by chance. */
#define GAP 40

static void print_tally(const struct stage_tally *tally, unsigned cases, unsigned failures)
{
	unsigned long refused = 0;

	for (unsigned i = 0; i < REFUSAL_COUNT; i++)
		refused += tally->refused[i];
	printf("torture: %u cases, %lu steps, %u failures; %lu queries routed, %lu refused\n",
	       cases, tally->steps, failures, tally->routed, refused);
	printf("torture: %lu answers judged by rank, %lu not judged; recall hnsw %u of %u, ivfflat "
	       "%u of %u\n",
	       tally->ranked, tally->unchecked, tally->hnsw.found, tally->hnsw.rows,
	       tally->ivfflat.found, tally->ivfflat.rows);
	for (unsigned i = 0; i < REFUSAL_COUNT; i++) {
		if (tally->refused[i])
			printf("torture:   refused %-20s %lu\n", refusal_name((enum refusal)i),
			       tally->refused[i]);
	}
	coverage_print(&tally->coverage);
}

static void write_failure(const struct torture_run *run, const struct script *script,
                          unsigned number, const char *why)
{
	const char *path =
	    text("%s/torture-%llu-%u.sql", run->folder, (unsigned long long)run->seed, number);
	FILE *to = fopen(path, "w");

	printf("torture: FAILED seed=%llu case=%u, see %s\n", (unsigned long long)run->seed, number,
	       path);
	script_print(stdout, script);
	printf("%s\n", why);
	fflush(stdout);
	if (!to)
		return;
	fprintf(to, "-- SEED=%llu CASE=%u\n-- the coordinator\n%s\n", (unsigned long long)run->seed,
	        number, script->world->sharded_sql);
	for (unsigned i = 0; i < 2; i++)
		fprintf(to, "-- worker%u\n%s\n", i + 1, script->world->worker_sql[i]);
	fprintf(to, "-- one PostgreSQL\n%s\n-- rows of both\n%s\n-- the session\n",
	        script->world->plain_sql, script->world->data_sql);
	script_print(to, script);
	fprintf(to, "/*\n%s\n*/\n", why);
	fclose(to);
}

/* One that knows nothing of old tables: what is new is not routed at once. */
static void renew(struct stage *stage)
{
	stage_leave(stage);
	instance_stop(stage->instance);
	instance_start(stage->instance, NULL);
}

static bool run_case(const struct torture_run *run, struct stage *stage, const struct world *world,
                     unsigned number)
{
	struct arena *arena = arena_new();
	struct script *script;
	struct dice dice;
	const char *why;
	bool last; /* the next one has another world anyway */

	dice_init(&dice, run->seed, number);
	last = number % CASES_PER_WORLD == CASES_PER_WORLD - 1;
	script = script_new(arena, world, &dice, last || dice_chance(&dice, 3));
	why = stage_run(stage, script);
	if (why) {
		why = shrink(stage, script, why);
		write_failure(run, script, number, why);
	}
	if (script->ddl && !last) {
		world_build(world);
		stage_learn(stage);
		renew(stage);
	} else if (script->writes && !last) {
		world_refill(world);
	}
	arena_free(arena);
	return why == NULL;
}

static void make_world(struct world *world, const struct torture_run *run, unsigned number)
{
	struct dice dice;

	dice_init(&dice, ~run->seed, number);
	world_make(world, &dice, cluster_is_citus());
}

unsigned torture(const struct torture_run *run)
{
	unsigned failures = 0, number = run->only < 0 ? 0 : (unsigned)run->only, cases = 0;
	time_t end = run->seconds ? time(NULL) + run->seconds : 0;
	struct instance instance = {0};
	struct world world = {0};
	struct stage stage;
	const char *gap;

	printf("torture: seed %llu\n", (unsigned long long)run->seed);
	stage_open(&stage, &instance);
	stage.fresh = run->only >= 0;
	for (; (run->cases == 0 || cases < run->cases) && (!end || time(NULL) < end) &&
	       failures < run->failures_max;
	     number++, cases++) {
		if (number % CASES_PER_WORLD == 0 || cases == 0) {
			world_free(&world);
			make_world(&world, run, number / CASES_PER_WORLD);
			stage_learn(&stage);
			if (number / CASES_PER_WORLD % 8 != 7 || !instance.pid)
				renew(&stage);
		}
		failures += !run_case(run, &stage, &world, number);
		if (run->only >= 0)
			break;
	}
	stage_leave(&stage);
	instance_stop(&instance);
	world_free(&world);
	print_tally(&stage.tally, cases, failures);
	fflush(stdout);
	cr_expect(run->only >= 0 || stage.tally.routed * 5 > stage.tally.steps,
	          "only %lu queries were routed in %lu steps", stage.tally.routed,
	          stage.tally.steps);
	gap = coverage_gap(&stage.tally.coverage, GAP);
	cr_expect(gap == NULL, "never routed: %s", gap);
	cr_expect(stage.tally.hnsw.found * 100ul >= stage.tally.hnsw.rows * 98ul,
	          "recall by hnsw indexes: %u of %u", stage.tally.hnsw.found,
	          stage.tally.hnsw.rows);
	stage_close(&stage);
	return failures;
}
