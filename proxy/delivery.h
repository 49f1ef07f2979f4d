/*
 * Delivery: carries one CancelRequest to a server: dials, writes it, waits until
 * the server has closed the connection, which it does once the request has taken
 * effect. Until then it may hit whatever that server process does next, so who
 * ordered it holds back what must not be hit.
 * Manual: "Canceling Requests in Progress".
 */
#ifndef PROXY_DELIVERY_H
#define PROXY_DELIVERY_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/loop.h"
#include "proxy/pq.h"

struct delivery;

/*
 * message is a whole CancelRequest and is copied. done is called once, from the loop, when
 * the request has arrived or could not be delivered within timeout_ms.
 */
struct delivery *delivery_start(struct loop *loop, const struct pq_target *target,
                                const uint8_t *message, size_t len, uint64_t timeout_ms,
                                void (*done)(void *owner), void *owner);
void delivery_free(struct delivery *delivery); /* gives up; no call will come */

/*
 * conninfo with the keywords that lead to the very server that peer is. keywords and
 * values have room for five; the target points to them and to peer.
 */
#define DELIVERY_KEYWORDS 5
void delivery_target(struct pq_target *target, const char *conninfo, const struct pq_peer *peer,
                     const char **keywords, const char **values);

#endif
