/*
 * Linger: closes sockets of clients that have just been told why. Closing one with
 * bytes that nobody has read resets it, and what is still on its way to the client is
 * lost. So our side is shut down and what comes is thrown away until all has arrived,
 * for a second at most.
 */
#ifndef PROXY_LINGER_H
#define PROXY_LINGER_H

#include "proxy/loop.h"

struct lingers;

struct lingers *lingers_new(struct loop *loop);
void lingers_free(struct lingers *lingers); /* closes all at once; NULL is allowed */
/* Takes the descriptor over. */
void lingers_close(struct lingers *lingers, int fd);
unsigned lingers_count(const struct lingers *lingers);

#endif
