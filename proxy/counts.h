/*
 * Counts: what LIMIT and OFFSET are, once a client has bound its parameters.
 */
#ifndef PROXY_COUNTS_H
#define PROXY_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "parser/plan.h"
#include "proxy/wire.h"

/* bind: NULL, if there are no parameters. False: not one that is routed (NULL, negative, no
 * number, too large for its type). */
bool counts_read(const struct plan_count *count, const struct wire_bind *bind, int64_t *value);

#endif
