/*
 * Connector: one connection to a server behind us, logged in: with the user's SCRAM
 * keys where they are known; without, or if they are no help, by libpq, which may know
 * a password (passfile, service) or need none.
 */
#ifndef PROXY_CONNECTOR_H
#define PROXY_CONNECTOR_H

#include <stdint.h>

#include "proxy/keylogin.h"

struct connector;

/*
 * Called once, from the loop, never from within connector_start(): link is the owner's, or
 * NULL with the reason. keys_error: not NULL if keys were tried and were no help, however it
 * ended.
 */
typedef void connector_fn(void *owner, struct pq_link *link, const char *error,
                          const char *keys_error);

/* As keylogin_start(), but keys may be NULL, and then target's user too: the conninfo's. */
struct connector *connector_start(struct loop *loop, struct pq_cancels *cancels,
                                  const struct keylogin_target *target,
                                  const struct scram_keys *keys, uint64_t timeout_ms,
                                  connector_fn *fn, void *owner);
void connector_free(struct connector *connector); /* gives up; no call will come; NULL is allowed */

#endif
