/*
 * Pq: libpq's door: no other file includes <libpq-fe.h>.
 *
 * libpq makes the connections behind us, because it knows every conninfo
 * keyword, passfile, service file, SCRAM, TLS with verify-full and multiple
 * hosts. Once connected, our own codec speaks on its socket (and its SSL*), as
 * libpq's query calls cannot mix formats within a result. The PGconn is kept
 * only to be finished, and only where its SSL* is needed or libpq has logged in.
 */
#ifndef PROXY_PQ_H
#define PROXY_PQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/loop.h"

struct pq_attempt;
struct pq_link;

struct pq_cancels; /* proxy/pq_cancel.h */

/*
 * Called once, from the loop, never from within pq_connect(): link is the
 * owner's, or NULL with libpq's own message in error (one line, no password).
 */
typedef void pq_connected_fn(void *owner, struct pq_link *link, const char *error);

/*
 * Connects with a base conninfo string (or "") and overrides: NULL-terminated
 * lists of keywords and values; an override of NULL leaves the base's value.
 */
struct pq_target {
	const char *conninfo;
	const char *const *keywords;
	const char *const *values;
};
struct pq_attempt *pq_connect(struct loop *loop, struct pq_cancels *cancels,
                              const struct pq_target *target, uint64_t timeout_ms,
                              pq_connected_fn *fn, void *owner);
/*
 * The same, but stops where libpq would send the StartupMessage: name look-up, several
 * hosts, sslmode and certificates are libpq's business, the login is the caller's. Of
 * `allow` and `prefer` only the first choice is tried; pq_link_other_sslmode() names the
 * second.
 */
struct pq_attempt *pq_dial(struct loop *loop, const struct pq_target *target, uint64_t timeout_ms,
                           pq_connected_fn *fn, void *owner);
void pq_attempt_free(struct pq_attempt *attempt); /* gives up; no call will come */

void pq_link_free(struct pq_link *link); /* NULL is allowed; sends Terminate if it still can */
int pq_link_fd(const struct pq_link *link);
void *pq_link_ssl(const struct pq_link *link); /* OpenSSL's SSL*, NULL if plain */

/* Where a dialled link has got to, in libpq's keywords: to dial the very same server again. */
struct pq_peer {
	char *host;
	char *hostaddr; /* NULL: a Unix socket */
	char *port;
};
const struct pq_peer *pq_link_peer(const struct pq_link *link);
/*
 * The sslmode to try when the server refused what was dialled (28000, as no line of
 * pg_hba.conf fits): "disable" after TLS with prefer, "require" without TLS after allow,
 * else NULL.
 */
const char *pq_link_other_sslmode(const struct pq_link *link);

/*
 * A dialled link has been logged in: key is BackendKeyData's body (Int32 process ID and
 * key), conninfo what it was dialled with; both are copied. Without it a dialled link
 * cannot be cancelled.
 */
void pq_link_set_key(struct pq_link *link, struct pq_cancels *cancels, const char *conninfo,
                     const uint8_t *key, size_t len);

/*
 * Sends a CancelRequest for what the link is doing. While it is on its way
 * (pq_link_cancelling()) it may hit whatever the link does next; `done` is called
 * when it has arrived or failed. Nothing happens if one is on its way already. The
 * link may be freed meanwhile.
 */
void pq_link_cancel(struct pq_link *link, void (*done)(void *owner), void *owner);
bool pq_link_cancelling(const struct pq_link *link);

/* One keyword's value in a conninfo string after libpq's defaults: malloc'ed, or
 * NULL with a message in *error (malloc'ed) if the string is malformed, or with
 * *error NULL if there is no value. */
char *pq_conninfo_value(const char *conninfo, const char *keyword, char **error);

#endif
