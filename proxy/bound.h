/*
 * Bound: what the values that a client binds to parameters may be.
 */
#ifndef PROXY_BOUND_H
#define PROXY_BOUND_H

#include <stdbool.h>

#include "proxy/wire.h"

/* A value in text that may be a clock ('now'): each worker has its own. bind: NULL, if there are
 * no parameters. */
bool bound_to_clock(const struct wire_bind *bind);

#endif
