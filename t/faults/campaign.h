/*
 * Campaign: one fault after the other, as the seed has it, until the time is over;
 * between them everything must get well again.
 */
#ifndef T_FAULTS_CAMPAIGN_H
#define T_FAULTS_CAMPAIGN_H

#include <stdint.h>

#include "t/faults/faults.h"

struct campaign {
	uint64_t seed;
	unsigned seconds;                 /* all faults at least once if 0 */
	const char *only;                 /* the faults whose names have this in them; NULL: all */
	const struct fault *const *lists; /* up to NULL */
};

/* The number of failures. */
unsigned campaign_run(const struct campaign *campaign, struct crew *crew);

#endif
