/*
 * Verdict: see verdict.h. The wording is PostgreSQL's.
 */
#include "proxy/verdict.h"

enum refusal verdict_refusal(enum scatter_outcome outcome)
{
	switch (outcome) {
	case SCATTER_OK:
		return REFUSAL_none;
	case SCATTER_STALE:
		return REFUSAL_stale_map;
	case SCATTER_CANCELLED:
		return REFUSAL_cancelled;
	case SCATTER_NO_CONNECTION:
		return REFUSAL_pool;
	case SCATTER_TOO_LARGE:
		return REFUSAL_memory;
	case SCATTER_UNLIKE:
		return REFUSAL_unlike;
	case SCATTER_SHORT:
		return REFUSAL_short_answer;
	case SCATTER_FAILED:
		break;
	}
	return REFUSAL_worker;
}

bool verdict_fails(enum refusal refusal)
{
	return refusal == REFUSAL_cancelled || refusal == REFUSAL_short_answer;
}

const struct wire_error *verdict_error(enum refusal refusal, bool timed_out)
{
	static const struct wire_error cancelled = {
	    .severity = "ERROR",
	    .sqlstate = "57014",
	    .message = "canceling statement due to user request",
	};
	static const struct wire_error too_late = {
	    .severity = "ERROR",
	    .sqlstate = "57014",
	    .message = "canceling statement due to statement timeout",
	};
	static const struct wire_error cut_short = {
	    .severity = "ERROR",
	    .sqlstate = "54000",
	    .message = "vector index scan of a shard was cut short",
	    .detail = "The shard has more matching rows than its index gave.",
	    .hint = "Raise hnsw.max_scan_tuples, hnsw.scan_mem_multiplier or "
		    "ivfflat.max_probes, or set pgtopk.short_answer to exact.",
	};

	if (refusal == REFUSAL_short_answer)
		return &cut_short;
	return timed_out ? &too_late : &cancelled;
}

const struct wire_error *verdict_block_failed(void)
{
	static const struct wire_error error = {
	    .severity = "ERROR",
	    .sqlstate = "25P02",
	    .message = "current transaction is aborted, commands ignored until end of "
		       "transaction block",
	};

	return &error;
}
