/*
 * Mapload: one load of a shard map: the statements on the coordinator, in one
 * read-only transaction with one snapshot, and their rows made into a map. With
 * the map come, for each table, the parameters of its check and the check's
 * answer in that same snapshot: as long as the answer stays the same, so does
 * the table's part of the map.
 */
#ifndef PROXY_MAPLOAD_H
#define PROXY_MAPLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/pool.h"
#include "proxy/provider.h"

struct mapload;

struct mapload_check {
	uint32_t table_oid;
	uint8_t *parameters; /* the middle of a Bind message */
	size_t parameters_len;
	uint8_t *answer; /* a DataRow's body */
	size_t answer_len;
};

struct mapload_result {
	struct shardmap *map; /* NULL: failed; the receiver's reference */
	const char *error;
	const struct provider *provider;
	unsigned nchecks;
	struct mapload_check *checks; /* the receiver's: mapload_checks_free() */
};

/* Calls back once, from the loop; the load is gone then. `pool` is the coordinator's. */
struct mapload *mapload_start(struct pool *pool, uint64_t generation,
                              void (*done)(void *owner, struct mapload_result *result),
                              void *owner);
/* Fails it, if it is not waiting for its connection only: that has a limit of its own. */
void mapload_abort(struct mapload *load, const char *why);
void mapload_free(struct mapload *load); /* gives up; NULL is allowed */
void mapload_checks_free(struct mapload_check *checks, unsigned nchecks);

/* What must hold on a connection for the providers' statements; unref it. */
struct settings *mapload_settings(void);

#endif
