/*
 * Partitions: the shard-map provider for native partitioning: partitioned tables
 * whose leaves are postgres_fdw foreign tables on the workers or local tables of
 * the coordinator.
 */
#ifndef PROXY_PARTITIONS_H
#define PROXY_PARTITIONS_H

#include "proxy/provider.h"

extern const struct provider partitions_provider;

#endif
