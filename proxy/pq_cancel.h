/*
 * Pq_cancel: CancelRequests on their way. Those of connections that libpq has logged
 * in are sent by libpq, in threads, because PQcancel() blocks and libpq keeps the key
 * to itself; those of others by proxy/delivery.h. A helper of pq.c and with it the door
 * to libpq.
 */
#ifndef PROXY_PQ_CANCEL_H
#define PROXY_PQ_CANCEL_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/loop.h"
#include "proxy/pq.h"

struct pq_cancels;
struct pq_cancel; /* one that is on its way */

struct pq_cancels *pq_cancels_new(struct loop *loop); /* NULL: the system gives none */
void pq_cancels_free(struct pq_cancels *cancels);     /* waits for nobody; after all links */

/* request is a PGcancel and is taken over. done is called from the loop when it has arrived
 * or failed, unless it was forgotten before. */
struct pq_cancel *pq_cancels_send(struct pq_cancels *cancels, void *request,
                                  void (*done)(void *owner), void *owner);
/* The same for a whole CancelRequest of ours; message and target are copied. */
struct pq_cancel *pq_cancels_deliver(struct pq_cancels *cancels, const struct pq_target *target,
                                     const uint8_t *message, size_t len, void (*done)(void *owner),
                                     void *owner);
void pq_cancel_forget(struct pq_cancel *cancel); /* goes on, but nobody is told */

#endif
