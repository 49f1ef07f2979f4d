/*
 * Citus: the shard-map provider for Citus 11 to 13: hash-distributed tables,
 * single-shard (schema-sharded) tables and reference tables.
 */
#ifndef PROXY_CITUS_H
#define PROXY_CITUS_H

#include "proxy/provider.h"

extern const struct provider citus_provider;

#endif
