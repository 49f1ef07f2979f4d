/*
 * Shard query: what a worker is sent about its shards: for each of them the settings that
 * must hold, Bind and Execute of the plan's text for that shard.
 */
#ifndef PROXY_SHARD_QUERY_H
#define PROXY_SHARD_QUERY_H

#include <stdint.h>

#include "proxy/passes.h"
#include "proxy/scatter.h"
#include "proxy/worker.h"

/* Formats of all columns of a shard's answer, hidden ones included: the caller's to free. */
uint16_t *shard_query_formats(const struct scatter_request *request);

/* Queues the queries of shards passes->asked[first .. first + count - 1]; each has its shard's
 * number as id. The worker's job has begun, its Sync is the caller's. */
void shard_query_put(struct worker *worker, const struct scatter_request *request,
                     const uint16_t *formats, struct passes *passes, unsigned first,
                     unsigned count);

#endif
