/*
 * Cancel: a CancelRequest from a client. It stops what the session with that key
 * is doing: the shard queries of a routed statement, the coordinator's work if
 * it owes replies. It never reaches a session that is idle, and while one is on
 * its way to the coordinator the session starts nothing new there.
 */
#ifndef PROXY_CANCEL_H
#define PROXY_CANCEL_H

#include <stddef.h>
#include <stdint.h>

struct proxy;
struct session;

/* The session's BackendKeyData: from now on it can be cancelled by that key. */
void cancel_learn(struct session *session, const uint8_t *key, size_t len);
/* The session is closing, be it one with a key or the carrier of a request. */
void cancel_forget(struct session *session);

/* `carrier` is the connection that brought the request (whole in message); it is
 * closed when the request has been delivered, as PostgreSQL does. A carrier that leaves
 * earlier stops nothing. */
void cancel_request(struct session *carrier, const uint8_t *message, size_t len);

/* The process ends: what is on its way is given up. After all sessions are closed. */
void cancel_end_all(struct proxy *proxy);

#endif
