/*
 * Verifiers: the SCRAM verifier of a user, from auth_file or by auth_query on the
 * coordinator. It is asked for at every login and kept nowhere, so that a changed
 * password counts at once. The coordinator's own login follows in any case: VALID
 * UNTIL, NOLOGIN, limits and pg_hba.conf are its business.
 *
 * auth_query runs on a connection of the configuration's user with nothing of the
 * client's but the user name, and that as a parameter (CVE-2025-12819).
 */
#ifndef PROXY_VERIFIERS_H
#define PROXY_VERIFIERS_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/config.h"
#include "proxy/log.h"
#include "proxy/loop.h"
#include "proxy/pool.h"
#include "proxy/scram.h"

struct verifiers;

/* Reads auth_file, NULL with a message in error if that fails. */
struct verifiers *verifiers_new(struct loop *loop, const struct config *config, struct log *log,
                                struct pools *pools, char *error, size_t error_size);
void verifiers_free(struct verifiers *verifiers); /* before the pools */
/* Reads auth_file again; false with a message, and what was read before stays. */
bool verifiers_reload(struct verifiers *verifiers, char *error, size_t error_size);

/* One question; embedded in its owner. */
struct verifier_query;
/*
 * verifier NULL: pgtopk cannot say (nothing is configured, the query failed, which is
 * logged), or the user is unknown or has no SCRAM verifier: `answered` tells which.
 */
typedef void verifier_fn(void *owner, const struct scram_verifier *verifier, bool answered);

/* Calls fn from the loop, never from within. */
struct verifier_query *verifiers_ask(struct verifiers *verifiers, const char *user, verifier_fn *fn,
                                     void *owner);
void verifier_query_free(struct verifier_query *query); /* no call will come; NULL is allowed */

#endif
