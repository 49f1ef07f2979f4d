/*
 * Listener: see listener.h.
 */
#include "proxy/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024
#define ACCEPT_AT_ONCE 64
#define RETRY_MS 200 /* after running out of descriptors */

struct listening {
	struct listener *listener;
	int fd;
	struct loop_io *io;
	char *path; /* of a Unix socket, to be removed */
	struct listening *next;
};

struct listener {
	struct loop *loop;
	listener_accept_fn *fn;
	void *owner;
	struct listening *sockets;
	struct loop_timer *retry;
};

static void watch(struct listener *listener, unsigned events)
{
	for (struct listening *at = listener->sockets; at; at = at->next)
		loop_io_set(at->io, events);
}

static void on_retry(void *owner)
{
	watch(owner, LOOP_READ);
}

static void on_readable(void *owner, unsigned events)
{
	struct listening *listening = owner;
	struct listener *listener = listening->listener;

	(void)events;
	for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
		int on = 1;
		int fd = accept4(listening->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			    errno == ENOMEM) {
				watch(listener, LOOP_NONE);
				loop_timer_start(listener->retry, RETRY_MS);
			}
			return;
		}
		if (!listening->path) {
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
			setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		}
		listener->fn(listener->owner, fd);
	}
}

static void add(struct listener *listener, int fd, const char *path)
{
	struct listening *listening = calloc(1, sizeof(*listening));

	if (!listening)
		abort();
	listening->listener = listener;
	listening->fd = fd;
	listening->path = path ? strdup(path) : NULL;
	listening->io = loop_io_new(listener->loop, fd, on_readable, listening);
	loop_io_set(listening->io, LOOP_READ);
	listening->next = listener->sockets;
	listener->sockets = listening;
}

static int bind_and_listen(int family, const struct sockaddr *address, socklen_t len)
{
	int on = 1, saved;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, address, len) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* A socket file that nobody listens on is left over from a killed process. */
static void remove_stale(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
	    errno == ECONNREFUSED)
		unlink(address->sun_path);
	close(fd);
}

static bool listen_unix(struct listener *listener, const char *directory, const char *port)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int n =
	    snprintf(address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.%s", directory, port);
	int fd;

	if (n < 0 || (size_t)n >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return false;
	}
	remove_stale(&address);
	fd = bind_and_listen(AF_UNIX, (const struct sockaddr *)&address, sizeof(address));
	if (fd < 0)
		return false;
	chmod(address.sun_path, 0777); /* who may log in is the coordinator's to say */
	add(listener, fd, address.sun_path);
	return true;
}

static bool listen_tcp(struct listener *listener, const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	struct addrinfo *found;
	bool any = false;

	if (getaddrinfo(strcmp(host, "*") == 0 ? NULL : host, port, &hints, &found) != 0) {
		errno = EADDRNOTAVAIL;
		return false;
	}
	for (struct addrinfo *info = found; info; info = info->ai_next) {
		int fd = bind_and_listen(info->ai_family, info->ai_addr, info->ai_addrlen);

		if (fd < 0)
			continue;
		add(listener, fd, NULL);
		any = true;
	}
	freeaddrinfo(found);
	return any;
}

static bool listen_one(struct listener *listener, char *address, char *error, size_t error_size)
{
	char *colon = strrchr(address, ':');
	char *host = address;
	size_t len;
	bool ok;

	if (!colon || colon == address || !colon[1]) {
		snprintf(error, error_size, "listen: \"%s\" is not address:port", address);
		return false;
	}
	*colon = '\0';
	len = strlen(host);
	if (host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		host++;
	}
	ok = host[0] == '/' ? listen_unix(listener, host, colon + 1)
	                    : listen_tcp(listener, host, colon + 1);
	if (!ok)
		snprintf(error, error_size,
		         "listen: cannot listen on %s port %s: %s; is another process using it?",
		         host, colon + 1, strerror(errno));
	return ok;
}

struct listener *listener_open(struct loop *loop, const char *addresses, listener_accept_fn *fn,
                               void *owner, char *error, size_t error_size)
{
	struct listener *listener = calloc(1, sizeof(*listener));
	char *copy = strdup(addresses), *rest = copy, *one;

	if (!listener || !copy)
		abort();
	listener->loop = loop;
	listener->fn = fn;
	listener->owner = owner;
	listener->retry = loop_timer_new(loop, on_retry, listener);
	snprintf(error, error_size, "listen: no address is given");
	while ((one = strsep(&rest, ", \t"))) {
		if (*one && !listen_one(listener, one, error, error_size)) {
			free(copy);
			listener_close(listener);
			return NULL;
		}
	}
	free(copy);
	if (!listener->sockets) {
		listener_close(listener);
		return NULL;
	}
	return listener;
}

void listener_close(struct listener *listener)
{
	struct listening *next;

	if (!listener)
		return;
	for (struct listening *at = listener->sockets; at; at = next) {
		next = at->next;
		loop_io_free(at->io);
		close(at->fd);
		if (at->path)
			unlink(at->path);
		free(at->path);
		free(at);
	}
	loop_timer_free(listener->retry);
	free(listener);
}
