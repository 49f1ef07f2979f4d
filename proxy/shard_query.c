/*
 * Shard query: see shard_query.h.
 */
#include "proxy/shard_query.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/node_types.h"

uint16_t *shard_query_formats(const struct scatter_request *request)
{
	unsigned visible = request->description->visible;
	unsigned keys = request->plan->nkeys;
	uint16_t *formats = calloc(visible + keys, sizeof(*formats));

	if (!formats)
		abort();
	memcpy(formats, request->formats, visible * sizeof(*formats));
	for (unsigned i = 0; i < keys; i++)
		formats[visible + i] = 1;
	return formats;
}

/* What must hold for this shard. No index is asked for what it cannot give. */
static struct settings *settings_for(const struct worker *worker,
                                     const struct scatter_request *request, struct passes *passes,
                                     unsigned shard)
{
	const struct worker_index *index = &worker_facts(worker)->index;

	if (shard_settings_always_exact(request->settings) ||
	    (!index->iterative_scans && request->budget.rows > (uint64_t)request->budget.ef_search))
		passes_skip_index(passes, shard);
	return shard_settings_choose(request->settings, index, passes->shards[shard].exact);
}

void shard_query_put(struct worker *worker, const struct scatter_request *request,
                     const uint16_t *formats, struct passes *passes, unsigned first, unsigned count)
{
	const struct description *description = request->description;
	unsigned nresults = description->visible + request->plan->nkeys;
	uint32_t *types = node_types_make(request->map, worker, description->parameter_types,
	                                  description->nparameters);
	uint32_t *result_types =
	    node_types_make(request->map, worker, description->result_types, nresults);
	struct plan_text text = {0};
	struct worker_query query = {
	    .ntypes = description->nparameters,
	    .types = types,
	    .parameters = request->parameters,
	    .parameters_len = request->parameters_len,
	    .nresult_formats = nresults,
	    .result_formats = formats,
	    .nresult_types = nresults,
	    .result_types = result_types,
	};

	for (unsigned at = first; at < first + count; at++) {
		unsigned i = passes->asked[at];

		worker_apply(worker, settings_for(worker, request, passes, i));
		text.len = 0;
		/* more than the answer's rows are asked of an index only */
		plan_shard_sql(request->plan, &request->table->shards[i],
		               passes->shards[i].exact ? request->limit + request->offset
		                                       : request->budget.rows,
		               &text);
		query.id = i;
		query.sql = text.data;
		query.sql_len = text.len;
		worker_query(worker, &query);
	}
	plan_text_fini(&text);
	free(types);
	free(result_types);
}
