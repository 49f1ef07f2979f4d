/*
 * Reads and writes through pgtopk while servers, networks and tables are broken and
 * mended under it: see t/faults/crew.h.
 *
 * SEED=, TIME= (seconds) and FAULT= (part of a name) of the environment choose what is
 * run; without them it is a short form with each fault once, always the same script.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "t/faults/campaign.h"

#define SEED 20251122
#define SECONDS 75

static const char *chosen(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

Test(faults, every_answer_was_true_at_some_moment, .timeout = 86400)
{
	static const struct fault *const lists[] = {node_faults, table_faults, storage_faults,
	                                            NULL};
	static struct site site;
	static struct crew crew;
	struct campaign campaign = {
	    .seed = chosen("SEED") ? strtoull(chosen("SEED"), NULL, 10) : SEED,
	    .seconds = chosen("TIME") ? (unsigned)atoi(chosen("TIME")) : SECONDS,
	    .only = chosen("FAULT"),
	    .lists = lists,
	};
	unsigned failures;

	site_open(&site);
	crew_open(&crew, &site, campaign.seed);
	failures = campaign_run(&campaign, &crew);
	crew_close(&crew);
	failures += crew.failures;
	site_close(&site);
	cr_assert_eq(failures, 0, "SEED=%llu", (unsigned long long)campaign.seed);
}
