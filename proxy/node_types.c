/*
 * Node types: see node_types.h.
 */
#include "proxy/node_types.h"

#include <stdlib.h>

uint32_t *node_types_make(const struct shardmap *map, const struct worker *worker,
                          const uint32_t *coordinator_types, unsigned count)
{
	const struct worker_facts *facts = worker_facts(worker);
	uint32_t *types = calloc(count ? count : 1, sizeof(*types));

	if (!types)
		abort();
	for (unsigned i = 0; i < count; i++) {
		switch (shardmap_vector_type(map, coordinator_types[i])) {
		case SHARDMAP_TYPE_VECTOR:
			types[i] = facts->vector_oid;
			break;
		case SHARDMAP_TYPE_HALFVEC:
			types[i] = facts->halfvec_oid;
			break;
		case SHARDMAP_TYPE_SPARSEVEC:
			types[i] = facts->sparsevec_oid;
			break;
		default:
			types[i] = coordinator_types[i];
			break;
		}
	}
	return types;
}
