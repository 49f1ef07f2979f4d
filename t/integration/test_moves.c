/*
 * A Citus cluster changes and its workers are killed while clients read and write
 * through pgtopk: see t/moves/crowd.h. Each answer must agree with what was committed
 * when, and while only the cluster changes nobody may see an error.
 *
 * SEED=, TIME= (seconds for each of the two) and EVENTS= (some names of t/moves/script.c)
 * of the environment choose what is played; without them it is always the same
 * short form. It needs a Citus cluster (t/integration/on_citus).
 */
#include <stdlib.h>

#include "t/lib/suite.h"
#include "t/moves/crowd.h"
#include "t/moves/script.h"

#define SEED 4
#define SECONDS 30

static const char *chosen(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static void play(enum script_kind kind, const char *name)
{
	uint64_t seed = chosen("SEED") ? strtoull(chosen("SEED"), NULL, 10) : SEED;
	unsigned seconds = chosen("TIME") ? (unsigned)atoi(chosen("TIME")) : SECONDS;
	struct instance instance;
	struct crowd *crowd;
	const struct crowd_counts *counts;
	unsigned done, routed;

	if (!cluster_is_citus()) {
		SKIP(name, "no Citus");
		return;
	}
	script_prepare();
	instance_start(&instance, NULL);
	crowd = crowd_new(&instance, seed, kind == SCRIPT_CRASHES);
	counts = crowd_counts(crowd);
	done = script_play(crowd, kind, seed, seconds, chosen("EVENTS"));
	routed = instance_count(&instance, "event=routed");
	printf(
	    "%s: seed %lu, %u events, %u reads (%u routed), %u writes, %u errors, slowest %u ms\n",
	    name, (unsigned long)seed, done, counts->reads, routed, counts->writes, counts->errors,
	    counts->slowest_ms);
	cr_assert_eq(counts->wrong, 0, "%u things went wrong: SEED=%lu", counts->wrong,
	             (unsigned long)seed);
	cr_assert(done > 0 && counts->writes > 100);
	cr_assert(routed > 100 || instance.pid == 0 || chosen("EVENTS"), "%u routed", routed);
	crowd_free(crowd);
	instance_stop(&instance);
	script_clean_up();
}

Test(moves, clients_do_not_notice_that_the_cluster_changes, .timeout = 0)
{
	play(SCRIPT_CHANGES, "moves.clients_do_not_notice_that_the_cluster_changes");
}

Test(moves, no_answer_is_wrong_while_workers_are_killed, .timeout = 0)
{
	play(SCRIPT_CRASHES, "moves.no_answer_is_wrong_while_workers_are_killed");
}
