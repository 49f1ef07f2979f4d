/*
 * Campaign: see campaign.h. Faults are dealt like cards: each once before one comes again.
 */
#include "t/faults/campaign.h"

#include <string.h>
#include <unistd.h>

#define FAULTS_MAX 64
#define FAILURES_MAX 3

void faults_pause(struct dice *dice, int from_ms, int to_ms)
{
	usleep((unsigned)dice_between(dice, from_ms, to_ms) * 1000);
}

static unsigned gather(const struct campaign *campaign, const struct fault **faults)
{
	unsigned count = 0;

	for (const struct fault *const *list = campaign->lists; *list; list++) {
		for (const struct fault *fault = *list; fault->name; fault++) {
			if (count < FAULTS_MAX &&
			    (!campaign->only || strstr(fault->name, campaign->only)))
				faults[count++] = fault;
		}
	}
	return count;
}

static void shuffle(struct dice *dice, const struct fault **faults, unsigned count)
{
	for (unsigned i = count; i > 1; i--) {
		unsigned j = dice_below(dice, i);
		const struct fault *fault = faults[j];

		faults[j] = faults[i - 1];
		faults[i - 1] = fault;
	}
}

static void work(struct crew *crew, const struct fault *fault, struct dice *dice)
{
	unsigned long reads = crew->reads;
	int64_t begun = ledger_now(), ended;

	crew_say(crew, "%s", fault->name);
	crew_fault_begin(crew, fault->name, fault->states);
	fault->run(crew, dice);
	ended = ledger_now();
	crew_await_health(crew, fault->heal_ms);
	crew_fault_end(crew);
	crew_settle(crew);
	crew_say(crew, "%s: %.1f s, well again after %.1f s, settled after %.1f s, %lu answers",
	         fault->name, (double)(ended - begun) / 1e6,
	         (double)(crew->faults[crew->nfaults - 1].ended - ended) / 1e6,
	         (double)(ledger_now() - ended) / 1e6, crew->reads - reads);
}

unsigned campaign_run(const struct campaign *campaign, struct crew *crew)
{
	const struct fault *faults[FAULTS_MAX];
	unsigned count = gather(campaign, faults), at = 0;
	int64_t end = ledger_now() + INT64_C(1000000) * campaign->seconds;
	struct dice dice;

	dice_init(&dice, campaign->seed, 0);
	crew_await_health(crew, 30000);
	while (count > 0 && crew->failures < FAILURES_MAX) {
		if (at % count == 0) {
			if (at > 0 && campaign->seconds == 0)
				break;
			shuffle(&dice, faults, count);
		}
		if (campaign->seconds > 0 && ledger_now() >= end)
			break;
		faults_pause(&dice, 100, 500);
		work(crew, faults[at++ % count], &dice);
	}
	return crew->failures;
}
