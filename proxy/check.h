/*
 * Check: pgtopk --check. Reaches for everything a routed query needs and prints
 * what it found.
 */
#ifndef PROXY_CHECK_H
#define PROXY_CHECK_H

#include <stdio.h>

struct proxy;

/* EXIT_SUCCESS if all is well, EXIT_FAILURE with the reasons on out otherwise.
 * Runs the proxy's loop until it knows. */
int check_run(struct proxy *proxy, FILE *out);

#endif
