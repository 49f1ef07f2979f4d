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
#include "proxy/worker.h"

struct shard_variant;

struct shard_settings {
	/* what they were made from */
	struct settings *worker, *own;
	int ef_search, probes;
	uint64_t lock_timeout_ms;
	struct shard_variant *variants; /* made when they are needed */
};

/* Forgets all variants unless they hold for these facts and this budget. The struct begins zeroed. */
void shard_settings_update(struct shard_settings *settings, const struct facts *facts,
                           const struct budget *budget);
/*
 * What must hold on such a worker: to ask by index, or exactly. What it is configured to itself
 * counts where the coordinator's queries would have it and the session has not set more.
 * Without iterative scans (before pgvector 0.8.0) no more rows than ef_search come from an index.
 * Theirs; valid until shard_settings_update() or _fini().
 */
struct settings *shard_settings_choose(struct shard_settings *settings,
                                       const struct worker_index *index, bool exact);
/* The session itself has forbidden index scans. */
bool shard_settings_always_exact(const struct shard_settings *settings);
/* What they are made from; `to` begins zeroed. */
void shard_settings_copy(struct shard_settings *to, const struct shard_settings *from);
void shard_settings_fini(struct shard_settings *settings);

#endif
