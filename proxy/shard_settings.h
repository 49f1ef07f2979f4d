/*
 * Shard settings: the sets of settings that a query's shards are asked under: the
 * session's own and what the budget wants of the index, each in the variants a
 * scatter may need. A session's queries mostly need the same ones, so they are
 * kept from one to the next.
 */
#ifndef PROXY_SHARD_SETTINGS_H
#define PROXY_SHARD_SETTINGS_H

#include <stdbool.h>

#include "merge/budget.h"
#include "proxy/facts.h"
#include "proxy/settings.h"

struct shard_settings {
	/* what they were made from */
	struct settings *worker, *own;
	int ef_search, probes;
	uint64_t lock_timeout_ms;
	/* [exact: without the index][old: a pgvector without iterative scans] */
	struct settings *variants[2][2];
};

/* Makes the variants hold for these facts and this budget. The struct begins zeroed. */
void shard_settings_update(struct shard_settings *settings, const struct facts *facts,
                           const struct budget *budget);
/* `to` begins zeroed. */
void shard_settings_copy(struct shard_settings *to, const struct shard_settings *from);
void shard_settings_fini(struct shard_settings *settings);

#endif
