/*
 * Pool: idle and busy worker connections, one pool per node, database and user,
 * with a limit, an idle time-out and a first-come queue of those who wait.
 *
 * A failed connect fails everyone who waits at once and is remembered for a
 * second, so that a dead worker costs a query nothing but its fall-back.
 */
#ifndef PROXY_POOL_H
#define PROXY_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/config.h"
#include "proxy/keyring.h"
#include "proxy/log.h"
#include "proxy/loop.h"
#include "proxy/worker.h"

struct pools; /* all pools of the proxy */
struct pool;
struct shardmap_node;

/* keyring: to log in to workers as users whose keys are known; it stays the caller's. */
struct pools *pools_new(struct loop *loop, const struct config *config, struct log *log,
                        const struct keyring *keyring);
void pools_free(struct pools *pools);

/*
 * The pool for a node as registered in the cluster (node_map is applied here)
 * or, with host NULL, for the coordinator. Made when first asked for; lives
 * as long as `pools`.
 */
struct pool *pools_get(struct pools *pools, const char *host, int port, const char *database,
                       const char *user);
/* That of a map's node; `database` is the coordinator's. */
struct pool *pools_of_node(struct pools *pools, const struct shardmap_node *node,
                           const char *database, const char *user);

/*
 * The last client of a database has left: its connections, which nobody knows of, must not stand
 * in the way of DROP DATABASE; or one has come again.
 */
void pools_desert(struct pools *pools, const char *database, bool deserted);

/* One who waits; embedded in its owner, initialised by pool_take(). */
struct pool_waiter {
	/* worker, or NULL with the reason; from the loop, never within pool_take(). */
	void (*fn)(void *owner, struct worker *worker, const char *why);
	void *owner;
	struct pool *pool; /* NULL: not waiting */
	struct pool_waiter *prev, *next;
	uint64_t deadline_ms;
};

/* An idle worker at once; or NULL, and the waiter is queued and will be called. */
struct worker *pool_take(struct pool *pool, struct pool_waiter *waiter);
/* An idle worker or NULL; does not wait or connect. */
struct worker *pool_take_idle(struct pool *pool);
/* Starts connecting if nobody idle is there and the limit allows. */
void pool_warm(struct pool *pool);
void pool_cancel(struct pool_waiter *waiter); /* stops waiting; safe when not waiting */
/* Back, idle; or lost or in the midst of a job: then it is closed. */
void pool_give(struct pool *pool, struct worker *worker);

struct pool_stats {
	unsigned idle, busy, connecting, waiting;
};
struct pool_stats pool_stats(const struct pool *pool);

#endif
