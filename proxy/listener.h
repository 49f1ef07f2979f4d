/*
 * Listener: the sockets that clients connect to, opened here or given by who started
 * us. Accepts; what is said on a connection is the session's, but for one thing: when
 * the process is out of descriptors, clients are told FATAL 53300 rather than left
 * waiting. Holds a descriptor in reserve for that.
 */
#ifndef PROXY_LISTENER_H
#define PROXY_LISTENER_H

#include <stddef.h>

#include "proxy/log.h"
#include "proxy/loop.h"

struct listener;

typedef void listener_accept_fn(void *owner, int fd); /* non-blocking; the callee's */

struct listener_options {
	struct loop *loop;
	struct log *log;
	listener_accept_fn *fn;
	void *owner;
};

/*
 * Listens on every address of a comma-separated list: address:port, [ipv6]:port,
 * *:port, or /directory:port for a Unix socket. NULL with a message in error.
 */
struct listener *listener_open(const struct listener_options *options, const char *addresses,
                               char *error, size_t error_size);
/* Takes over `count` listening sockets, descriptors from `first` on; NULL, with a message, if
 * one of them is something else. */
struct listener *listener_take(const struct listener_options *options, int first, unsigned count,
                               char *error, size_t error_size);
/* New clients are refused by the system from now on. NULL is allowed. */
void listener_close(struct listener *listener);

#endif
