/*
 * Shard settings: see shard_settings.h. Every variant names the same settings as
 * far as the worker's pgvector has them, so that going from one to another never
 * needs a RESET.
 */
#include "proxy/shard_settings.h"

#include <string.h>

/* pgvector's own limits of an iterative scan, with its defaults where the session has set none. */
static const struct {
	const char *name;
	const char *value;
} limits[] = {
    {"hnsw.max_scan_tuples", "20000"},
    {"hnsw.scan_mem_multiplier", "1"},
    {"ivfflat.max_probes", "32768"},
};

/*
 * A lane's pipeline is one transaction and keeps the lock of each shard it has read. DDL that has
 * locked a later one and waits for an earlier one would deadlock with it; through the coordinator
 * it cannot, as readers lock the table itself first. So a shard that is locked for longer is an
 * error here, and the coordinator answers. Well below deadlock_timeout, or it is the DDL that fails.
 */
#define LOCK_TIMEOUT_MS 100

static struct settings *make(const struct shard_settings *from, bool exact, bool old)
{
	struct settings *settings = settings_copy(from->worker);

	/* a policy on a shard would hide rows that the coordinator shows: an error instead */
	settings_put(settings, "row_security", "off");
	settings_put_int(settings, "lock_timeout", (int64_t)from->lock_timeout_ms);
	settings_put_int(settings, "hnsw.ef_search", from->ef_search);
	settings_put_int(settings, "ivfflat.probes", from->probes);
	if (exact) { /* whatever the session has done to get at its index */
		settings_put(settings, "enable_indexscan", "off");
		settings_put(settings, "enable_seqscan", "on");
	}
	if (!old) {
		settings_put(settings, "hnsw.iterative_scan", "relaxed_order");
		settings_put(settings, "ivfflat.iterative_scan", "relaxed_order");
		for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
			const char *value = settings_get(from->own, limits[i].name);

			settings_put(settings, limits[i].name, value ? value : limits[i].value);
		}
	}
	settings_seal(settings);
	return settings;
}

void shard_settings_fini(struct shard_settings *settings)
{
	settings_unref(settings->worker);
	settings_unref(settings->own);
	for (int exact = 0; exact < 2; exact++)
		for (int old = 0; old < 2; old++)
			settings_unref(settings->variants[exact][old]);
	memset(settings, 0, sizeof(*settings));
}

struct settings *shard_settings_choose(const struct shard_settings *settings, int vector_version,
                                       bool exact)
{
	return settings->variants[exact][vector_version < SHARD_SETTINGS_ITERATIVE_SCANS];
}

bool shard_settings_always_exact(const struct shard_settings *settings)
{
	const char *value = settings_get(settings->worker, "enable_indexscan");

	return value && strcmp(value, "off") == 0;
}

void shard_settings_copy(struct shard_settings *to, const struct shard_settings *from)
{
	*to = *from;
	settings_ref(to->worker);
	settings_ref(to->own);
	for (int exact = 0; exact < 2; exact++)
		for (int old = 0; old < 2; old++)
			settings_ref(to->variants[exact][old]);
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
	settings->ef_search = budget->ef_search;
	settings->probes = budget->probes ? budget->probes : 1;
	settings->lock_timeout_ms = facts_lock_timeout_ms(facts);
	if (settings->lock_timeout_ms == 0 || settings->lock_timeout_ms > LOCK_TIMEOUT_MS)
		settings->lock_timeout_ms = LOCK_TIMEOUT_MS;
	for (int exact = 0; exact < 2; exact++)
		for (int old = 0; old < 2; old++)
			settings->variants[exact][old] = make(settings, exact, old);
	settings->probes = budget->probes;
}
