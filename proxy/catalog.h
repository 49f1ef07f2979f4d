/*
 * Catalog: the shard map of each database, loaded from the coordinator's own
 * catalogs and kept true.
 *
 * One per database, made when the first vector query of that database comes.
 * Which provider (proxy/citus.c, proxy/partitions.c) follows from the
 * extensions found. A routed query validates the map while it runs:
 * catalog_check() asks the coordinator once for all queries that began before
 * the check did. A change made before a query began is seen by its check; one
 * made later is in no answer's way, as the query might have run before it.
 *
 * A map is also loaded anew, behind the queries' backs, when it is a minute old:
 * what no check covers (a new function or operator) holds for no longer.
 */
#ifndef PROXY_CATALOG_H
#define PROXY_CATALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "parser/shardmap.h"
#include "proxy/config.h"
#include "proxy/log.h"
#include "proxy/loop.h"
#include "proxy/pool.h"

struct catalogs;
struct catalog;

struct catalogs *catalogs_new(struct loop *loop, const struct config *config, struct log *log,
                              struct pools *pools);
void catalogs_free(struct catalogs *catalogs);
/* Lives as long as `catalogs`. */
struct catalog *catalogs_get(struct catalogs *catalogs, const char *database);

/* The current map or NULL; the catalog's own reference: shardmap_ref() to keep it. */
struct shardmap *catalog_map(const struct catalog *catalog);
/* Small number, unique per database, for cache keys. */
uint32_t catalog_id(const struct catalog *catalog);

/* One who waits; embedded in its owner. */
struct catalog_waiter {
	/* map: as catalog_map(), or NULL with the reason (load);
	 * for catalog_check(): ok tells whether the map still holds. From the loop only. */
	void (*fn)(void *owner, bool ok, const char *why);
	void *owner;
	struct catalog *catalog; /* NULL: not waiting */
	struct catalog_waiter *prev, *next;
};

/* Loads the map (shared by all who wait), then calls back. */
void catalog_load(struct catalog *catalog, struct catalog_waiter *waiter);
/* Forgets the map if it is still that generation: found stale. */
void catalog_expire(struct catalog *catalog, uint64_t generation);
/* That table was not in the map, or not routable: loads it anew, in the background, unless it is
 * quite new: a second old the first time that the table is missed, ten seconds later on. */
void catalog_missed(struct catalog *catalog, uint32_t table_oid);
/* The map says that a statement cannot be routed: loads it anew, if it is a minute old. */
void catalog_refused(struct catalog *catalog);
/*
 * Is the table's part of that map still what the coordinator's catalogs say? Asked by a
 * check that starts after this call. Calls back with ok, or not ok: changed (why
 * "changed") or not to be known (why: the error).
 */
void catalog_check(struct catalog *catalog, const struct shardmap *map,
                   const struct shardmap_table *table, struct catalog_waiter *waiter);
void catalog_cancel(struct catalog_waiter *waiter); /* stops waiting; safe when not waiting */

#endif
