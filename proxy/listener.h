/*
 * Listener: the sockets that clients connect to.
 */
#ifndef PROXY_LISTENER_H
#define PROXY_LISTENER_H

#include <stddef.h>

#include "proxy/loop.h"

struct listener;

typedef void listener_accept_fn(void *owner, int fd); /* non-blocking; the callee's */

/*
 * Listens on every address of a comma-separated list: address:port, [ipv6]:port,
 * *:port, or /directory:port for a Unix socket. NULL with a message in error.
 */
struct listener *listener_open(struct loop *loop, const char *addresses, listener_accept_fn *fn,
                               void *owner, char *error, size_t error_size);
void listener_close(struct listener *listener); /* NULL is allowed */

#endif
