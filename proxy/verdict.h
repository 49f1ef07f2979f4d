/*
 * Verdict: what a scatter's end means for the statement: it is routed, or the
 * coordinator's after all, or fails here.
 */
#ifndef PROXY_VERDICT_H
#define PROXY_VERDICT_H

#include <stdbool.h>

#include "parser/refusal.h"
#include "proxy/scatter.h"
#include "proxy/wire.h"

enum refusal verdict_refusal(enum scatter_outcome outcome);
/* The statement is not the coordinator's any more: it fails here, with verdict_error(). */
bool verdict_fails(enum refusal refusal);
/* What a client is told of it: a user's request, statement_timeout, a short answer. */
const struct wire_error *verdict_error(enum refusal refusal, bool timed_out);
/* What every statement in a failed transaction block is told. */
const struct wire_error *verdict_block_failed(void);

#endif
