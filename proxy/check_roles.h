/*
 * Check roles: do the users' SCRAM verifiers on the nodes equal the coordinator's? Only
 * then do the keys that a client's login tells let pgtopk in there. A part of
 * pgtopk --check. Verifiers never leave their servers: digests of them are compared.
 */
#ifndef PROXY_CHECK_ROLES_H
#define PROXY_CHECK_ROLES_H

#include <stdbool.h>
#include <stdio.h>

#include "proxy/worker.h"

struct check_roles;

struct check_roles *check_roles_new(FILE *out);
void check_roles_free(struct check_roles *roles);

/*
 * Asks a worker, which must be idle and is idle or lost when done is called, from the loop.
 * The coordinator comes first; the others are compared with it and differences printed.
 */
void check_roles_ask(struct check_roles *roles, struct worker *worker, bool coordinator,
                     void (*done)(void *owner), void *owner);
/* Says what to do if anything differed. */
void check_roles_print_remedy(const struct check_roles *roles, bool citus);

#endif
