/*
 * Catalog: see catalog.h.
 *
 * A state is a map with what is needed to check it. The current state serves new
 * queries; older ones live on while checks of theirs are in flight, and the one
 * before the last refresh for queries that had just begun.
 *
 * One check per table is in flight at a time. Whoever comes meanwhile waits for
 * the next one, as the one in flight may have been answered before they began.
 */
#include "proxy/catalog.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>
#include <utlist.h>

#include "proxy/mapload.h"
#include "proxy/settings.h"
#include "proxy/wire.h"
#include "proxy/worker.h"

#define REFRESH_MS (60 * 1000)
#define MISSED_MS (10 * 1000)
#define FAILED_MS 1000
#define MISSED_KEPT 64

/* The check of one table. */
struct check {
	struct state *state;
	const struct mapload_check *what;
	uint32_t table_oid;
	struct catalog_waiter current; /* heads of rings: those whom the check in flight serves */
	struct catalog_waiter next;    /* ... and those who came later */
	bool flying;
	struct pool_waiter pool_waiter;
	struct worker *worker;
	struct loop_timer *timer; /* its patience; made by the first flight */
	bool again;               /* lost a connection once already */
	unsigned rows;
	bool same;
	char error[160];
	UT_hash_handle hh;
};

struct state {
	struct catalog *catalog;
	struct shardmap *map;
	const struct provider *provider;
	uint64_t loaded_ms;
	unsigned flights;
	unsigned nwhats;
	struct mapload_check *whats;
	struct check *checks;
	struct state *prev, *next;
};

struct catalog {
	struct catalogs *catalogs;
	char *database;
	uint32_t id;
	struct pool *pool;
	struct state *states; /* all that live */
	struct state *current;
	struct state *previous; /* before the last refresh */
	struct mapload *load;
	struct loop_timer *load_timer;
	uint64_t load_started_us;
	uint64_t failed_ms;
	char *failure;                 /* of the last load */
	struct catalog_waiter loading; /* head of a ring */
	struct catalog_waiter told_ok, told_failure, told_changed;
	bool telling;
	uint32_t missed[MISSED_KEPT]; /* tables, in a ring */
	unsigned nmissed;
	UT_hash_handle hh;
};

struct catalogs {
	struct loop *loop;
	const struct config *config;
	struct log *log;
	struct pools *pools;
	struct settings *settings;
	uint64_t last_generation;
	uint32_t last_id;
	struct catalog *by_database;
};

static void fly(struct check *check);
static void take_worker(struct check *check);

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

/* ---- rings of waiters ---- */

static void ring_init(struct catalog_waiter *ring)
{
	ring->prev = ring->next = ring;
}

static bool ring_is_empty(const struct catalog_waiter *ring)
{
	return ring->next == ring;
}

static void ring_append(struct catalog_waiter *ring, struct catalog_waiter *waiter)
{
	waiter->prev = ring->prev;
	waiter->next = ring;
	ring->prev->next = waiter;
	ring->prev = waiter;
}

static void waiter_unlink(struct catalog_waiter *waiter)
{
	waiter->prev->next = waiter->next;
	waiter->next->prev = waiter->prev;
	waiter->prev = waiter->next = NULL;
	waiter->catalog = NULL;
}

/* Moves all of them behind those in `to`. */
static void ring_move(struct catalog_waiter *to, struct catalog_waiter *from)
{
	if (ring_is_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	ring_init(from);
}

/* Only those who are in it now: a callback may come again. */
static void ring_tell(struct catalog_waiter *ring, bool ok, const char *why)
{
	struct catalog_waiter told;

	ring_init(&told);
	ring_move(&told, ring);
	while (!ring_is_empty(&told)) {
		struct catalog_waiter *waiter = told.next;

		waiter_unlink(waiter);
		waiter->fn(waiter->owner, ok, why);
	}
}

static void wait_in(struct catalog *catalog, struct catalog_waiter *ring,
                    struct catalog_waiter *waiter)
{
	assert(waiter->fn && !waiter->catalog);
	waiter->catalog = catalog;
	ring_append(ring, waiter);
}

void catalog_cancel(struct catalog_waiter *waiter)
{
	if (waiter->catalog)
		waiter_unlink(waiter);
}

/* What is known at once is told at the turn's end. */
static void tell_now(void *owner)
{
	struct catalog *catalog = owner;

	catalog->telling = false;
	ring_tell(&catalog->told_ok, true, NULL);
	ring_tell(&catalog->told_changed, false, "changed");
	ring_tell(&catalog->told_failure, false, catalog->failure ? catalog->failure : "failed");
}

static void tell_soon(struct catalog *catalog, struct catalog_waiter *ring,
                      struct catalog_waiter *waiter)
{
	wait_in(catalog, ring, waiter);
	if (!catalog->telling)
		loop_defer(catalog->catalogs->loop, tell_now, catalog);
	catalog->telling = true;
}

/* ---- states ---- */

static void free_state(struct state *state)
{
	struct check *check, *next;

	DL_DELETE(state->catalog->states, state);
	HASH_ITER (hh, state->checks, check, next) {
		HASH_DEL(state->checks, check);
		pool_cancel(&check->pool_waiter);
		if (check->worker)
			pool_give(state->catalog->pool, check->worker);
		loop_timer_free(check->timer);
		free(check);
	}
	mapload_checks_free(state->whats, state->nwhats);
	shardmap_unref(state->map);
	free(state);
}

static void maybe_free_state(struct state *state)
{
	if (state != state->catalog->current && state != state->catalog->previous &&
	    state->flights == 0)
		free_state(state);
}

static struct state *new_state(struct catalog *catalog, const struct mapload_result *result)
{
	struct state *state = must(calloc(1, sizeof(*state)));

	state->catalog = catalog;
	state->map = result->map;
	state->provider = result->provider;
	state->loaded_ms = loop_now_ms(catalog->catalogs->loop);
	state->nwhats = result->nchecks;
	state->whats = result->checks;
	for (unsigned i = 0; i < state->nwhats; i++) {
		struct check *check = must(calloc(1, sizeof(*check)));

		check->state = state;
		check->what = &state->whats[i];
		check->table_oid = check->what->table_oid;
		ring_init(&check->current);
		ring_init(&check->next);
		HASH_ADD(hh, state->checks, table_oid, sizeof(check->table_oid), check);
	}
	DL_APPEND(catalog->states, state);
	return state;
}

/* ---- loading ---- */

static void log_loaded(const struct catalog *catalog)
{
	const struct state *state = catalog->current;
	unsigned shards = 0;

	for (unsigned i = 0; i < shardmap_table_count(state->map); i++)
		shards += shardmap_table_at(state->map, i)->nshards;
	log_event(catalog->catalogs->log, LOG_INFO, "map_loaded",
	          "database=%s provider=%s generation=%" PRIu64
	          " tables=%u shards=%u nodes=%u pgvector=%s ms=%.1f",
	          log_quote(catalog->database), state->provider->name,
	          shardmap_generation(state->map), shardmap_table_count(state->map), shards,
	          shardmap_node_count(state->map),
	          shardmap_vector_schema(state->map) ? "yes" : "no",
	          (double)(loop_clock_us() - catalog->load_started_us) / 1000);
}

static void on_loaded(void *owner, struct mapload_result *result)
{
	struct catalog *catalog = owner;
	struct state *oldest = catalog->previous;

	catalog->load = NULL;
	loop_timer_stop(catalog->load_timer);
	free(catalog->failure);
	catalog->failure = NULL;
	if (!result->map) {
		catalog->failed_ms = loop_now_ms(catalog->catalogs->loop);
		catalog->failure = must(strdup(result->error));
		log_event(catalog->catalogs->log, LOG_WARNING, "map_failed", "database=%s error=%s",
		          log_quote(catalog->database), log_quote(result->error));
		ring_tell(&catalog->loading, false, result->error);
		return;
	}
	catalog->previous = catalog->current;
	catalog->current = new_state(catalog, result);
	if (oldest)
		maybe_free_state(oldest);
	log_loaded(catalog);
	ring_tell(&catalog->loading, true, NULL);
}

static void on_load_timeout(void *owner)
{
	struct catalog *catalog = owner;

	if (catalog->load)
		mapload_abort(catalog->load, "no answer in time (worker_timeout)");
}

static void start_load(struct catalog *catalog)
{
	struct catalogs *catalogs = catalog->catalogs;

	if (catalog->load)
		return;
	catalog->load_started_us = loop_clock_us();
	loop_timer_start(catalog->load_timer, (uint64_t)catalogs->config->worker_timeout);
	catalog->load =
	    mapload_start(catalog->pool, ++catalogs->last_generation, on_loaded, catalog);
}

void catalog_load(struct catalog *catalog, struct catalog_waiter *waiter)
{
	uint64_t now = loop_now_ms(catalog->catalogs->loop);

	if (catalog->current) {
		tell_soon(catalog, &catalog->told_ok, waiter);
	} else if (!catalog->load && catalog->failure && now - catalog->failed_ms < FAILED_MS) {
		tell_soon(catalog, &catalog->told_failure, waiter);
	} else {
		wait_in(catalog, &catalog->loading, waiter);
		start_load(catalog);
	}
}

static bool refresh(struct catalog *catalog, uint64_t age_ms)
{
	uint64_t now = loop_now_ms(catalog->catalogs->loop);

	if (!catalog->current || now - catalog->current->loaded_ms < age_ms ||
	    (catalog->failure && now - catalog->failed_ms < FAILED_MS))
		return false;
	start_load(catalog);
	return true;
}

void catalog_missed(struct catalog *catalog, uint32_t table_oid)
{
	unsigned i = 0;

	while (i < MISSED_KEPT && catalog->missed[i] != table_oid)
		i++;
	if (i < MISSED_KEPT)
		refresh(catalog, MISSED_MS);
	else if (refresh(catalog, FAILED_MS)) /* it may be quite new */
		catalog->missed[catalog->nmissed++ % MISSED_KEPT] = table_oid;
}

void catalog_refused(struct catalog *catalog)
{
	refresh(catalog, REFRESH_MS);
}

void catalog_expire(struct catalog *catalog, uint64_t generation)
{
	struct state *state = catalog->current;

	if (!state || shardmap_generation(state->map) != generation)
		return;
	log_event(catalog->catalogs->log, LOG_INFO, "map_expired",
	          "database=%s generation=%" PRIu64, log_quote(catalog->database), generation);
	catalog->current = NULL;
	maybe_free_state(state);
}

struct shardmap *catalog_map(const struct catalog *catalog)
{
	return catalog->current ? catalog->current->map : NULL;
}

uint32_t catalog_id(const struct catalog *catalog)
{
	return catalog->id;
}

/* ---- checking ---- */

static void land(struct check *check)
{
	struct state *state = check->state;
	bool ok = !check->error[0] && check->rows == 1 && check->same;
	const char *why = ok ? NULL : check->error[0] ? check->error : "changed";

	if (check->worker)
		pool_give(state->catalog->pool, check->worker);
	check->worker = NULL;
	loop_timer_stop(check->timer);
	ring_tell(&check->current, ok, why);
	check->flying = false;
	if (!ring_is_empty(&check->next))
		fly(check);
	state->flights--;
	maybe_free_state(state);
}

static void on_row(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct check *check = owner;

	(void)id;
	check->rows++;
	check->same = len == check->what->answer_len && memcmp(body, check->what->answer, len) == 0;
}

static void on_error(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct check *check = owner;
	const char *sqlstate = wire_error_field(body, len, 'C');

	(void)id;
	snprintf(check->error, sizeof(check->error),
	         "the check of the shard map failed: sqlstate %.5s", sqlstate ? sqlstate : "?");
}

static void on_ready(void *owner)
{
	land(owner);
}

/* A connection that had died unnoticed, of an old server perhaps, is worth a second try. */
static void on_lost(void *owner, const char *why)
{
	struct check *check = owner;

	if (!check->again) {
		check->again = true;
		pool_give(check->state->catalog->pool, check->worker);
		take_worker(check);
		return;
	}
	snprintf(check->error, sizeof(check->error), "the check of the shard map failed: %s", why);
	land(check);
}

static void on_timeout(void *owner)
{
	struct check *check = owner;

	check->again = true;
	if (check->worker) /* else the pool's own patience ends it */
		worker_abort(check->worker, "no answer in time (worker_timeout)");
}

static const struct worker_job job = {
    .on_row = on_row,
    .on_error = on_error,
    .on_ready = on_ready,
    .on_lost = on_lost,
};

static void ask(struct check *check, struct worker *worker)
{
	const struct provider *provider = check->state->provider;
	struct worker_query query = {
	    .sql = provider->check,
	    .sql_len = strlen(provider->check),
	    .parameters = check->what->parameters,
	    .parameters_len = check->what->parameters_len,
	};

	check->worker = worker;
	worker_begin(worker, &job, check);
	worker_apply(worker, check->state->catalog->catalogs->settings);
	worker_query(worker, &query);
	worker_sync(worker);
}

static void on_worker(void *owner, struct worker *worker, const char *why)
{
	struct check *check = owner;

	if (worker) {
		ask(check, worker);
	} else {
		check->again = true;
		on_lost(check, why);
	}
}

static void take_worker(struct check *check)
{
	struct worker *worker;

	check->worker = NULL;
	check->rows = 0;
	check->pool_waiter.fn = on_worker;
	check->pool_waiter.owner = check;
	worker = pool_take(check->state->catalog->pool, &check->pool_waiter);
	if (worker)
		ask(check, worker);
}

static void fly(struct check *check)
{
	struct catalogs *catalogs = check->state->catalog->catalogs;

	assert(!check->flying && ring_is_empty(&check->current));
	check->flying = true;
	check->state->flights++;
	check->same = false;
	check->again = false;
	check->error[0] = '\0';
	ring_move(&check->current, &check->next);
	if (!check->timer)
		check->timer = loop_timer_new(catalogs->loop, on_timeout, check);
	loop_timer_start(check->timer, (uint64_t)catalogs->config->worker_timeout);
	take_worker(check);
}

static struct check *find_check(const struct catalog *catalog, uint64_t generation, uint32_t oid)
{
	struct check *check = NULL;

	for (struct state *state = catalog->states; state; state = state->next) {
		if (shardmap_generation(state->map) != generation)
			continue;
		HASH_FIND(hh, state->checks, &oid, sizeof(oid), check);
		break;
	}
	return check;
}

void catalog_check(struct catalog *catalog, const struct shardmap *map,
                   const struct shardmap_table *table, struct catalog_waiter *waiter)
{
	struct check *check = find_check(catalog, shardmap_generation(map), table->oid);

	if (!check) { /* long gone */
		tell_soon(catalog, &catalog->told_changed, waiter);
		return;
	}
	wait_in(catalog, &check->next, waiter);
	if (!check->flying)
		fly(check);
	refresh(catalog, REFRESH_MS);
}

/* ---- all catalogs ---- */

struct catalogs *catalogs_new(struct loop *loop, const struct config *config, struct log *log,
                              struct pools *pools)
{
	struct catalogs *catalogs = must(calloc(1, sizeof(*catalogs)));

	catalogs->loop = loop;
	catalogs->config = config;
	catalogs->log = log;
	catalogs->pools = pools;
	catalogs->settings = mapload_settings();
	return catalogs;
}

/* At the turn's end: tell_now() may be on its way. */
static void free_catalog(void *owner)
{
	struct catalog *catalog = owner;

	free(catalog->failure);
	free(catalog->database);
	free(catalog);
}

/* Those who wait must have left. */
void catalogs_free(struct catalogs *catalogs)
{
	struct catalog *catalog, *next;

	if (!catalogs)
		return;
	HASH_ITER (hh, catalogs->by_database, catalog, next) {
		HASH_DEL(catalogs->by_database, catalog);
		mapload_free(catalog->load);
		loop_timer_free(catalog->load_timer);
		while (catalog->states)
			free_state(catalog->states);
		loop_defer(catalogs->loop, free_catalog, catalog);
	}
	settings_unref(catalogs->settings);
	free(catalogs);
}

struct catalog *catalogs_get(struct catalogs *catalogs, const char *database)
{
	struct catalog *catalog;

	HASH_FIND_STR(catalogs->by_database, database, catalog);
	if (catalog)
		return catalog;
	catalog = must(calloc(1, sizeof(*catalog)));
	catalog->catalogs = catalogs;
	catalog->database = must(strdup(database));
	catalog->id = ++catalogs->last_id;
	/* the configuration's user, also where a session has the same: a pool of its own */
	catalog->pool = pools_get(catalogs->pools, NULL, 0, database, NULL);
	catalog->load_timer = loop_timer_new(catalogs->loop, on_load_timeout, catalog);
	ring_init(&catalog->loading);
	ring_init(&catalog->told_ok);
	ring_init(&catalog->told_failure);
	ring_init(&catalog->told_changed);
	HASH_ADD_KEYPTR(hh, catalogs->by_database, catalog->database, strlen(catalog->database),
	                catalog);
	return catalog;
}
