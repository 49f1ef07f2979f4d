/*
 * Keylogin: a connection to a worker, logged in with a user's SCRAM keys instead of a
 * password. libpq dials, the StartupMessage and what follows is said here, until the
 * first ReadyForQuery; channel binding is used where the connection has TLS.
 * Manual: "Start-up", "SASL Authentication".
 */
#ifndef PROXY_KEYLOGIN_H
#define PROXY_KEYLOGIN_H

#include <stdint.h>

#include "proxy/loop.h"
#include "proxy/pq.h"
#include "proxy/scram.h"

struct keylogin;

enum keylogin_outcome {
	KEYLOGIN_OK,     /* logged in; nothing has been asked yet */
	KEYLOGIN_CANNOT, /* these keys are no help: another login is wanted, or they are refused */
	KEYLOGIN_FAILED, /* nor would a password be */
};

/* Called once, from the loop, never from within keylogin_start(): link is the owner's if
 * all is well, else NULL with the reason in error (one line, nothing secret). */
typedef void keylogin_fn(void *owner, enum keylogin_outcome outcome, struct pq_link *link,
                         const char *error);

/* Where to and as whom; copied. */
struct keylogin_target {
	const char *conninfo;
	const char *host; /* NULL: the conninfo's host and port */
	const char *port;
	const char *user;
	const char *database;
};
/* cancels: CancelRequests of the link are kept there; timeout_ms is for all of it. */
struct keylogin *keylogin_start(struct loop *loop, struct pq_cancels *cancels,
                                const struct keylogin_target *target, const struct scram_keys *keys,
                                uint64_t timeout_ms, keylogin_fn *fn, void *owner);
void keylogin_free(struct keylogin *login); /* gives up; no call will come; NULL is allowed */

#endif
