/*
 * Cancel: a CancelRequest from a client. It stops what the session with that key
 * is doing: the shard queries of a routed statement, the coordinator's work if
 * it owes replies. It never reaches a session that is idle.
 */
#ifndef PROXY_CANCEL_H
#define PROXY_CANCEL_H

#include <stddef.h>
#include <stdint.h>

struct session;

/* `carrier` is the connection that brought the request (whole in message); it is
 * closed when the request has been delivered, as PostgreSQL does. */
void cancel_request(struct session *carrier, const uint8_t *message, size_t len);

#endif
