/*
 * Inspect: asks the nodes of one table which vector indexes its shards have: one
 * catalog query per node.
 */
#ifndef PROXY_INSPECT_H
#define PROXY_INSPECT_H

#include "parser/shardmap.h"
#include "proxy/indexes.h"
#include "proxy/proxy.h"

struct inspect;

/* A table that has shards; the map is referred to. done() is called once, from the loop, with
 * what was found, or NULL and why not; the inspection is gone then. */
struct inspect *inspect_start(
    struct proxy *proxy, struct shardmap *map, const struct shardmap_table *table, const char *user,
    const char *database, void (*done)(void *owner, const struct indexes *indexes, const char *why),
    void *owner);
void inspect_free(struct inspect *inspect); /* gives up; NULL is allowed */

#endif
