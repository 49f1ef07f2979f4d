/*
 * Budget: see budget.h.
 */
#include "merge/budget.h"

#include <assert.h>

#define INT8_LIMIT 9223372036854775808.0 /* 2^63 */

/* rows = ceil(sum * overfetch); false if that is no int8. */
static bool budget_rows(uint64_t sum, double overfetch, uint64_t *rows)
{
	double wanted = (double)sum * overfetch;

	*rows = sum;
	if (overfetch == 1.0)
		return true;
	if (wanted >= INT8_LIMIT)
		return false;
	*rows = (uint64_t)wanted;
	if ((double)*rows < wanted)
		(*rows)++;
	/* Above 2^53 a double rounds, and fewer than sum would be wrong. */
	if (*rows < sum)
		*rows = sum;
	return true;
}

/* What each shard gives so that all give BUDGET_FILTERED times the rows, within limits. */
static uint64_t filtered_rows(uint64_t sum, unsigned shards)
{
	uint64_t base = sum < BUDGET_FILTERED_LEAST ? BUDGET_FILTERED_LEAST : sum;
	uint64_t most = sum + BUDGET_FILTERED_EXTRA; /* no overflow: sum is an int8 */
	uint64_t rows = most;

	if (sum == 0 || shards == 0)
		return sum;
	if (most > INT64_MAX)
		most = INT64_MAX;
	if (base < INT64_MAX / BUDGET_FILTERED)
		rows = (base * BUDGET_FILTERED + shards - 1) / shards;
	else if (shards >= BUDGET_FILTERED)
		rows = sum;
	if (rows < sum)
		rows = sum;
	return rows < most ? rows : most;
}

bool budget_make(const struct budget_request *request, struct budget *budget)
{
	uint64_t wanted;
	uint64_t sum;

	assert(request->overfetch >= 1.0 && request->overfetch <= 100.0);
	assert(request->ef_search >= 0 && request->probes >= 0);
	if (request->limit > INT64_MAX || request->offset > INT64_MAX)
		return false;
	sum = request->limit + request->offset;
	if (sum > INT64_MAX)
		return false;
	*budget = (struct budget){
	    .probes = request->probes,
	    .iterative_scans = request->iterative_scans,
	};
	if (!budget_rows(sum, request->overfetch, &budget->rows))
		return false;
	if (request->filtered && budget->rows < filtered_rows(sum, request->shards))
		budget->rows = filtered_rows(sum, request->shards);

	wanted = request->ef_search > 0 ? (uint64_t)request->ef_search : BUDGET_EF_SEARCH_DEFAULT;
	if (wanted < budget->rows)
		wanted = budget->rows;
	budget->ef_search = wanted > BUDGET_EF_SEARCH_MAX ? BUDGET_EF_SEARCH_MAX : (int)wanted;
	budget->capped = budget->rows > (uint64_t)budget->ef_search && !budget->iterative_scans;
	return true;
}
