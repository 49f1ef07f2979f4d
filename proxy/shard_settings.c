/*
 * Shard settings: see shard_settings.h. Every variant names the same settings as
 * far as the worker's pgvector has them, so that going from one to another never
 * needs a RESET.
 */
#include "proxy/shard_settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A lane's pipeline is one transaction and keeps the lock of each shard it has read. DDL that has
 * locked a later one and waits for an earlier one would deadlock with it; through the coordinator
 * it cannot, as readers lock the table itself first. So a shard that is locked for longer is an
 * error here, and the coordinator answers. Well below deadlock_timeout, or it is the DDL that fails.
 */
#define LOCK_TIMEOUT_MS 100

struct shard_variant {
	bool exact;
	struct worker_index index;
	struct settings *settings;
	struct shard_variant *next;
};

static int greater(int a, int b)
{
	return a > b ? a : b;
}

/*
 * A limit of iterative scans: the session's where it has set one (at pgvector's default it looks
 * as if it had not), else the worker's own, else that default.
 */
static void put_limit(struct settings *settings, const struct settings *own, const char *name,
                      double configured, double otherwise)
{
	const char *value = settings_get(own, name);
	char text[32];

	if (value && strtod(value, NULL) != otherwise) {
		settings_put(settings, name, value);
		return;
	}
	snprintf(text, sizeof(text), "%.15g", configured > 0 ? configured : otherwise);
	settings_put(settings, name, text);
}

static void put_iterative(const struct shard_settings *from, const struct worker_index *index,
                          struct settings *settings)
{
	settings_put(settings, "hnsw.iterative_scan", "relaxed_order");
	settings_put(settings, "ivfflat.iterative_scan", "relaxed_order");
	put_limit(settings, from->own, "hnsw.max_scan_tuples", index->max_scan_tuples,
	          WORKER_MAX_SCAN_TUPLES);
	put_limit(settings, from->own, "hnsw.scan_mem_multiplier", index->scan_mem_multiplier, 1);
	put_limit(settings, from->own, "ivfflat.max_probes", index->max_probes, WORKER_MAX_PROBES);
}

static struct settings *make(const struct shard_settings *from, const struct worker_index *index,
                             bool exact)
{
	struct settings *settings = settings_copy(from->worker);

	/* a policy on a shard would hide rows that the coordinator shows: an error instead */
	settings_put(settings, "row_security", "off");
	settings_put_int(settings, "lock_timeout", (int64_t)from->lock_timeout_ms);
	settings_put_int(settings, "hnsw.ef_search", greater(from->ef_search, index->ef_search));
	settings_put_int(settings, "ivfflat.probes",
	                 greater(greater(from->probes, index->probes), 1));
	if (exact) { /* whatever the session has done to get at its index */
		settings_put(settings, "enable_indexscan", "off");
		settings_put(settings, "enable_seqscan", "on");
	}
	if (index->iterative_scans)
		put_iterative(from, index, settings);
	settings_seal(settings);
	return settings;
}

static void forget_variants(struct shard_settings *settings)
{
	while (settings->variants) {
		struct shard_variant *variant = settings->variants;

		settings->variants = variant->next;
		settings_unref(variant->settings);
		free(variant);
	}
}

void shard_settings_fini(struct shard_settings *settings)
{
	settings_unref(settings->worker);
	settings_unref(settings->own);
	forget_variants(settings);
	memset(settings, 0, sizeof(*settings));
}

static bool is_alike(const struct worker_index *a, const struct worker_index *b)
{
	return a->iterative_scans == b->iterative_scans && a->ef_search == b->ef_search &&
	       a->probes == b->probes && a->max_scan_tuples == b->max_scan_tuples &&
	       a->max_probes == b->max_probes && a->scan_mem_multiplier == b->scan_mem_multiplier;
}

struct settings *shard_settings_choose(struct shard_settings *settings,
                                       const struct worker_index *index, bool exact)
{
	struct shard_variant *variant = settings->variants;

	while (variant && (variant->exact != exact || !is_alike(&variant->index, index)))
		variant = variant->next;
	if (!variant) {
		variant = calloc(1, sizeof(*variant));
		if (!variant)
			abort();
		variant->exact = exact;
		variant->index = *index;
		variant->settings = make(settings, index, exact);
		variant->next = settings->variants;
		settings->variants = variant;
	}
	return variant->settings;
}

void shard_settings_copy(struct shard_settings *to, const struct shard_settings *from)
{
	*to = *from;
	to->variants = NULL;
	settings_ref(to->worker);
	settings_ref(to->own);
}

static bool is_off(const char *value)
{
	return value && strcmp(value, "off") == 0;
}

void shard_settings_update(struct shard_settings *settings, const struct facts *facts,
                           const struct budget *budget)
{
	struct settings *worker = facts_settings(facts), *own = facts_own_settings(facts);

	if (settings->worker == worker && settings->own == own &&
	    settings->ef_search == budget->ef_search && settings->probes == budget->probes)
		return;
	settings_ref(worker);
	settings_ref(own);
	shard_settings_fini(settings);
	settings->worker = worker;
	settings->own = own;
	settings->always_exact = is_off(settings_get(worker, "enable_indexscan"));
	settings->ef_search = budget->ef_search;
	settings->probes = budget->probes;
	settings->lock_timeout_ms = facts_lock_timeout_ms(facts);
	if (settings->lock_timeout_ms == 0 || settings->lock_timeout_ms > LOCK_TIMEOUT_MS)
		settings->lock_timeout_ms = LOCK_TIMEOUT_MS;
}
