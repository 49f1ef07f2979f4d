/*
 * Pool: see pool.h.
 *
 * A member is a connection in one of its states. Idle members are a stack: the
 * one used last is used next, so that its caches stay warm and the others reach
 * their time-out. Whoever waits is served by serve(), at the end of the loop's
 * turn in which something changed, and nowhere else: so no callback runs within
 * a pool_* call.
 */
#include "proxy/pool.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "parser/shardmap.h"
#include "proxy/address.h"
#include "proxy/connector.h"
#include "proxy/digest.h"
#include "proxy/greeting.h"
#include "proxy/keyring.h"
#include "proxy/pq.h"
#include "proxy/pq_cancel.h"

#define BACK_OFF_MS 1000
#define KEYLESS_MS 60000
/* PostgreSQL waits 5 s for connections to a database that is to be dropped or renamed. */
#define DESERTED_MS 2000
#define DOUBTED_MS 1000 /* younger ones are not doubted: they know what is so now */

enum member_state { MEMBER_CONNECTING, MEMBER_GREETING, MEMBER_IDLE, MEMBER_BUSY };

struct member {
	struct pool *pool;
	enum member_state state;
	struct connector *connector; /* MEMBER_CONNECTING */
	struct worker *worker;       /* later */
	uint8_t keys_digest[DIGEST_LEN];
	struct greeting greeting;
	uint64_t greeted_ms;
	uint64_t idle_since_ms;
	struct member *prev, *next; /* in pool->idle or pool->others */
};

struct pool {
	struct pools *pools;
	char *key;
	bool coordinator;
	struct address address; /* where to connect, unless coordinator */
	char *database;
	char *user;          /* NULL: the configuration's */
	struct member *idle; /* used last first */
	struct member *others;
	struct pool_stats stats;
	struct pool_waiter *waiting; /* first come first */
	struct loop_timer *timer;    /* idle time-outs and the waiters' patience */
	bool timing;
	bool scheduled; /* serve() will run */
	bool deserted;  /* no client is connected to the database */
	uint64_t back_off_until_ms;
	char *last_error;
	/* until when keys with that digest are not tried again: they were no help */
	uint64_t keyless_until_ms;
	uint8_t keyless_digest[DIGEST_LEN];
	UT_hash_handle hh;
};

struct pools {
	struct loop *loop;
	const struct config *config;
	struct log *log;
	const struct keyring *keyring;
	struct pq_cancels *cancels;
	char *coordinator_host; /* NULL: not known, or on this machine */
	struct pool *by_key;
	char *scratch; /* a key under construction */
	size_t scratch_cap;
};

static void serve(void *owner);

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

static void schedule(struct pool *pool)
{
	if (pool->scheduled)
		return;
	pool->scheduled = true;
	loop_defer(pool->pools->loop, serve, pool);
}

static bool backing_off(const struct pool *pool)
{
	return pool->last_error && loop_now_ms(pool->pools->loop) < pool->back_off_until_ms;
}

/* ---- members ---- */

static unsigned *counter(struct pool *pool, enum member_state state)
{
	switch (state) {
	case MEMBER_IDLE:
		return &pool->stats.idle;
	case MEMBER_BUSY:
		return &pool->stats.busy;
	default:
		return &pool->stats.connecting;
	}
}

static void unlink_member(struct member *member)
{
	struct pool *pool = member->pool;

	--*counter(pool, member->state);
	if (member->state == MEMBER_IDLE)
		DL_DELETE(pool->idle, member);
	else
		DL_DELETE(pool->others, member);
}

static void link_member(struct member *member, enum member_state state)
{
	struct pool *pool = member->pool;

	member->state = state;
	++*counter(pool, state);
	if (state == MEMBER_IDLE)
		DL_PREPEND(pool->idle, member);
	else
		DL_PREPEND(pool->others, member);
}

static void set_state(struct member *member, enum member_state state)
{
	unlink_member(member);
	link_member(member, state);
	if (state == MEMBER_IDLE) {
		struct pool *pool = member->pool;

		member->idle_since_ms = loop_now_ms(pool->pools->loop);
		if (pool->waiting || !pool->timing) /* a running timer finds it by itself */
			schedule(pool);
	}
}

static void free_member(struct member *member)
{
	struct pool *pool = member->pool;

	unlink_member(member);
	connector_free(member->connector);
	worker_free(member->worker);
	free(member);
	schedule(pool);
}

static void on_idle_lost(void *keeper, const char *why)
{
	struct member *member = keeper;
	struct pool *pool = member->pool;

	log_event(pool->pools->log, LOG_DEBUG, "worker_lost", "address=%s database=%s reason=%s",
	          log_quote(pool->address.text), log_quote(pool->database), log_quote(why));
	if (member->state == MEMBER_IDLE) /* else its job's owner gives it back */
		free_member(member);
}

/* ---- connecting ---- */

static void connect_failed(struct member *member, const char *error)
{
	struct pool *pool = member->pool;
	struct pools *pools = pool->pools;

	log_event(pools->log, LOG_WARNING, "worker_unreachable",
	          "address=%s database=%s user=%s error=%s", log_quote(pool->address.text),
	          log_quote(pool->database), log_quote(pool->user ? pool->user : ""),
	          log_quote(error));
	free(pool->last_error);
	pool->last_error = must(strdup(error));
	pool->back_off_until_ms = loop_now_ms(pools->loop) + BACK_OFF_MS;
	free_member(member);
}

static void on_greeted(void *owner, const char *error)
{
	struct member *member = owner;
	struct pool *pool = member->pool;

	if (error || !worker_is_idle(member->worker)) {
		connect_failed(member, error ? error : "the connection is in a transaction");
		return;
	}
	free(pool->last_error);
	pool->last_error = NULL;
	member->greeted_ms = loop_now_ms(pool->pools->loop);
	log_event(pool->pools->log, LOG_DEBUG, "worker_connected",
	          "address=%s database=%s vector_version=%d", log_quote(pool->address.text),
	          log_quote(pool->database), worker_facts(member->worker)->vector_version);
	set_state(member, MEMBER_IDLE);
}

static void digest_of(const struct scram_keys *keys, uint8_t digest[DIGEST_LEN])
{
	digest_sha256(keys->client_key, sizeof(keys->client_key), digest);
}

/* NULL: there are none, or they have just been refused. */
static const struct scram_keys *usable_keys(const struct pool *pool)
{
	const struct pools *pools = pool->pools;
	const struct scram_keys *keys =
	    pool->user && pools->keyring ? keyring_get(pools->keyring, pool->user) : NULL;
	uint8_t digest[DIGEST_LEN];

	if (!keys || loop_now_ms(pools->loop) >= pool->keyless_until_ms)
		return keys;
	digest_of(keys, digest);
	return memcmp(digest, pool->keyless_digest, sizeof(digest)) == 0 ? NULL : keys;
}

static void on_connected(void *owner, struct pq_link *link, const char *error,
                         const char *keys_error)
{
	struct member *member = owner;
	struct pool *pool = member->pool;
	struct pools *pools = pool->pools;

	member->connector = NULL;
	if (keys_error) {
		log_event(pools->log, LOG_DEBUG, "worker_keys_refused",
		          "address=%s database=%s user=%s error=%s", log_quote(pool->address.text),
		          log_quote(pool->database), log_quote(pool->user), log_quote(keys_error));
		memcpy(pool->keyless_digest, member->keys_digest, DIGEST_LEN);
		pool->keyless_until_ms = loop_now_ms(pools->loop) + KEYLESS_MS;
	}
	if (!link) {
		connect_failed(member, error);
		return;
	}
	set_state(member, MEMBER_GREETING);
	member->worker = worker_new(pools->loop, link);
	worker_keep(member->worker, on_idle_lost, member);
	greeting_run(&member->greeting, member->worker, on_greeted, member);
}

static void start_member(struct pool *pool)
{
	struct pools *pools = pool->pools;
	const struct scram_keys *keys = usable_keys(pool);
	struct member *member = must(calloc(1, sizeof(*member)));
	struct keylogin_target target = {.user = pool->user, .database = pool->database};
	char port[16];

	target.conninfo = pool->coordinator ? pools->config->coordinator : pools->config->worker;
	if (!pool->coordinator) {
		snprintf(port, sizeof(port), "%d", pool->address.port);
		target.host = pool->address.host;
		target.port = port;
	}
	member->pool = pool;
	link_member(member, MEMBER_CONNECTING);
	if (keys)
		digest_of(keys, member->keys_digest);
	member->connector =
	    connector_start(pools->loop, pools->cancels, &target, keys,
	                    (uint64_t)pools->config->connect_timeout, on_connected, member);
}

static bool may_connect(const struct pool *pool)
{
	const struct pool_stats *stats = &pool->stats;

	return stats->idle + stats->busy + stats->connecting <
	           (unsigned)pool->pools->config->pool_size &&
	       !backing_off(pool);
}

/* ---- those who wait ---- */

static void dequeue(struct pool_waiter *waiter)
{
	struct pool *pool = waiter->pool;

	DL_DELETE(pool->waiting, waiter);
	waiter->pool = NULL;
	pool->stats.waiting--;
}

static void refuse(struct pool_waiter *waiter, const char *why)
{
	dequeue(waiter);
	waiter->fn(waiter->owner, NULL, why);
}

static struct worker *pop_idle(struct pool *pool)
{
	struct member *member = pool->idle;

	if (!member)
		return NULL;
	assert(worker_is_idle(member->worker));
	set_state(member, MEMBER_BUSY);
	return member->worker;
}

/* Nobody can serve them before the back-off ends: they would only lose time. */
static void refuse_all(struct pool *pool)
{
	char why[512];

	snprintf(why, sizeof(why), "%s", pool->last_error);
	for (unsigned n = pool->stats.waiting; n > 0 && pool->waiting;
	     n--) /* they may come again */
		refuse(pool->waiting, why);
}

static uint64_t idle_timeout(const struct pool *pool)
{
	uint64_t limit = (uint64_t)pool->pools->config->pool_idle_timeout;

	return pool->deserted && limit > DESERTED_MS ? DESERTED_MS : limit;
}

static void close_idle(struct pool *pool, uint64_t now)
{
	uint64_t limit = idle_timeout(pool);

	/* the last one has been idle for longest; utlist: it is the first one's prev */
	while (pool->idle && now - pool->idle->prev->idle_since_ms >= limit)
		free_member(pool->idle->prev);
}

/* The timer runs for whatever comes first: a waiter's or an idle member's end. */
static void set_timer(struct pool *pool)
{
	uint64_t now = loop_now_ms(pool->pools->loop), at = UINT64_MAX;

	if (pool->waiting)
		at = pool->waiting->deadline_ms;
	if (pool->idle) {
		uint64_t end = pool->idle->prev->idle_since_ms + idle_timeout(pool);

		at = end < at ? end : at;
	}
	pool->timing = at != UINT64_MAX;
	if (!pool->timing)
		loop_timer_stop(pool->timer);
	else
		loop_timer_start(pool->timer, at > now ? at - now : 0);
}

static void serve(void *owner)
{
	struct pool *pool = owner;
	uint64_t now = loop_now_ms(pool->pools->loop);
	struct worker *worker;

	while (pool->waiting && (worker = pop_idle(pool)) != NULL) {
		struct pool_waiter *waiter = pool->waiting;

		dequeue(waiter);
		waiter->fn(waiter->owner, worker, NULL);
	}
	while (pool->waiting && pool->waiting->deadline_ms <= now)
		refuse(pool->waiting, "no worker connection became free in time");
	if (pool->waiting && pool->stats.busy + pool->stats.connecting == 0 && backing_off(pool))
		refuse_all(pool);
	while (pool->stats.connecting < pool->stats.waiting && may_connect(pool))
		start_member(pool);
	close_idle(pool, now);
	set_timer(pool);
	pool->scheduled = false;
	if (pool->waiting && pool->idle) /* a callback gave one back */
		schedule(pool);
}

static void on_timer(void *owner)
{
	struct pool *pool = owner;

	pool->timing = false;
	schedule(pool);
}

struct worker *pool_take(struct pool *pool, struct pool_waiter *waiter)
{
	struct worker *worker = pool->waiting ? NULL : pop_idle(pool);

	assert(waiter->fn && !waiter->pool);
	if (worker)
		return worker;
	waiter->pool = pool;
	waiter->deadline_ms =
	    loop_now_ms(pool->pools->loop) + (uint64_t)pool->pools->config->pool_wait_timeout;
	DL_APPEND(pool->waiting, waiter);
	pool->stats.waiting++;
	if (pool->stats.connecting < pool->stats.waiting && may_connect(pool))
		start_member(pool);
	schedule(pool);
	return NULL;
}

struct worker *pool_take_idle(struct pool *pool)
{
	return pool->waiting ? NULL : pop_idle(pool);
}

void pool_warm(struct pool *pool)
{
	if (!pool->idle && pool->stats.connecting == 0 && may_connect(pool))
		start_member(pool);
}

void pool_cancel(struct pool_waiter *waiter)
{
	if (waiter->pool)
		dequeue(waiter);
}

/* What its greeting has told may not hold any more: pgvector was made anew, or was old and may
 * have been upgraded. */
static bool is_outdated(const struct member *member)
{
	const struct pools *pools = member->pool->pools;
	const struct worker_facts *facts = worker_facts(member->worker);
	uint64_t age = loop_now_ms(pools->loop) - member->greeted_ms;

	return (facts->doubtful && age >= DOUBTED_MS) ||
	       (!facts->index.iterative_scans && age >= (uint64_t)pools->config->pool_idle_timeout);
}

void pool_give(struct pool *pool, struct worker *worker)
{
	struct member *member = worker_keeper(worker);

	assert(member && member->pool == pool && member->state == MEMBER_BUSY);
	if (worker_is_idle(worker) && !is_outdated(member))
		set_state(member, MEMBER_IDLE);
	else
		free_member(member);
}

struct pool_stats pool_stats(const struct pool *pool)
{
	return pool->stats;
}

/* ---- all pools ---- */

struct pools *pools_new(struct loop *loop, const struct config *config, struct log *log,
                        const struct keyring *keyring)
{
	struct pools *pools = must(calloc(1, sizeof(*pools)));
	char *error = NULL;

	pools->loop = loop;
	pools->config = config;
	pools->log = log;
	pools->keyring = keyring;
	pools->cancels = must(pq_cancels_new(loop));
	pools->coordinator_host = pq_conninfo_value(config->coordinator, "host", &error);
	free(error); /* whoever connects there will hear of it */
	return pools;
}

static void free_pool(struct pool *pool)
{
	struct member *member, *next;

	while (pool->waiting)
		dequeue(pool->waiting);
	DL_FOREACH_SAFE (pool->idle, member, next)
		free_member(member);
	while ((member = pool->others) != NULL) {
		if (member->state == MEMBER_BUSY) { /* its owner gives it back, or never will */
			struct worker *worker = member->worker;

			worker_abort(worker, "shutdown");
			if (pool->others != member)
				continue;
		}
		free_member(member);
	}
	loop_timer_free(pool->timer);
	address_fini(&pool->address);
	free(pool->database);
	free(pool->user);
	free(pool->last_error);
	free(pool->key);
	free(pool);
}

static void free_cancels(void *owner)
{
	pq_cancels_free(owner);
}

/* At the turn's end: serve() may be on its way, and workers are freed before. */
static void free_pools(void *owner)
{
	struct pools *pools = owner;
	struct pool *pool, *next;

	HASH_ITER (hh, pools->by_key, pool, next) {
		HASH_DEL(pools->by_key, pool);
		pool->scheduled = true; /* never again */
		free_pool(pool);
	}
	free(pools->coordinator_host);
	free(pools->scratch);
	loop_defer(pools->loop, free_cancels, pools->cancels); /* after the workers' links */
	free(pools);
}

void pools_free(struct pools *pools)
{
	if (pools)
		loop_defer(pools->loop, free_pools, pools);
}

/* The key of a pool, in pools->scratch: its parts, each with its NUL; \1 is no name. */
static size_t make_key(struct pools *pools, const char *host, int port, const char *database,
                       const char *user)
{
	size_t size = strlen(host) + strlen(database) + strlen(user) + 32;
	int len;

	if (size > pools->scratch_cap) {
		pools->scratch = must(realloc(pools->scratch, 2 * size));
		pools->scratch_cap = 2 * size;
	}
	len = snprintf(pools->scratch, pools->scratch_cap, "%s%c%d%c%s%c%s", host, 0, port, 0,
	               database, 0, user);
	assert(len > 0 && (size_t)len < pools->scratch_cap);
	return (size_t)len;
}

static struct pool *new_pool(struct pools *pools, const char *host, int port, const char *database,
                             const char *user)
{
	struct pool *pool = must(calloc(1, sizeof(*pool)));

	pool->pools = pools;
	pool->coordinator = host == NULL;
	if (host)
		address_resolve(&pool->address, &pools->config->node_map, pools->coordinator_host,
		                host, port);
	else
		address_set(&pool->address, "coordinator", 0);
	pool->database = must(strdup(database));
	pool->user = user ? must(strdup(user)) : NULL;
	pool->timer = loop_timer_new(pools->loop, on_timer, pool);
	return pool;
}

void pools_desert(struct pools *pools, const char *database, bool deserted)
{
	for (struct pool *pool = pools->by_key; pool; pool = pool->hh.next) {
		if (pool->deserted == deserted || strcmp(pool->database, database) != 0)
			continue;
		pool->deserted = deserted;
		schedule(pool);
	}
}

struct pool *pools_get(struct pools *pools, const char *host, int port, const char *database,
                       const char *user)
{
	size_t len = make_key(pools, host ? host : "\1", port, database, user ? user : "\1");
	struct pool *pool;

	HASH_FIND(hh, pools->by_key, pools->scratch, len, pool);
	if (pool)
		return pool;
	pool = new_pool(pools, host, port, database, user);
	pool->key = must(malloc(len));
	memcpy(pool->key, pools->scratch, len);
	HASH_ADD_KEYPTR(hh, pools->by_key, pool->key, len, pool);
	return pool;
}

struct pool *pools_of_node(struct pools *pools, const struct shardmap_node *node,
                           const char *database, const char *user)
{
	if (node->coordinator)
		return pools_get(pools, NULL, 0, database, user);
	return pools_get(pools, node->host, node->port, node->database ? node->database : database,
	                 user);
}
