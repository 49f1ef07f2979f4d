/*
 * Node types: pgvector's types have other OIDs on each node, those that are built in
 * the same on all.
 */
#ifndef PROXY_NODE_TYPES_H
#define PROXY_NODE_TYPES_H

#include <stdint.h>

#include "parser/shardmap.h"
#include "proxy/worker.h"

/* The coordinator's type OIDs as that worker's node has them: the caller's to free. */
uint32_t *node_types_make(const struct shardmap *map, const struct worker *worker,
                          const uint32_t *coordinator_types, unsigned count);

#endif
