/*
 * Listener: see listener.h.
 *
 * A Unix socket's file says nothing about whether its owner lives: two that start at
 * the same moment would each take the other's, bound and not yet listening, for a
 * leftover. So whoever may touch the file holds a lock beside it, for its life.
 */
#include "proxy/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/iobuf.h"
#include "proxy/wire.h"

#define BACKLOG 1024
#define ACCEPT_AT_ONCE 64
#define RETRY_MS 200 /* after running out of memory */
#define TELL_MS 1000 /* refusals are logged no more often */

struct listening {
	struct listener *listener;
	int fd;
	bool is_unix;
	struct loop_io *io;
	char *path; /* of a Unix socket of ours, to be removed */
	int lock;   /* -1: none */
	struct listening *next;
};

struct listener {
	struct loop *loop;
	struct log *log;
	listener_accept_fn *fn;
	void *owner;
	struct listening *sockets;
	struct loop_timer *retry;
	int reserve; /* a descriptor to refuse clients with when there are no others */
	uint64_t refused, told_ms;
};

static void watch(struct listener *listener, unsigned events)
{
	for (struct listening *at = listener->sockets; at; at = at->next)
		loop_io_set(at->io, events);
}

static void keep_reserve(struct listener *listener)
{
	if (listener->reserve < 0)
		listener->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_retry(void *owner)
{
	keep_reserve(owner);
	watch(owner, LOOP_READ);
}

/* What it has said is read: bytes left unread would make close() destroy our answer. */
static void say_too_many(int fd)
{
	static const struct wire_error error = {
	    .severity = "FATAL",
	    .sqlstate = "53300",
	    .message = "sorry, too many clients already",
	};
	struct iobuf out;
	char said[4096];

	iobuf_init(&out);
	wire_put_error(&out, WIRE_BE_ErrorResponse, &error);
	(void)send(fd, iobuf_head(&out), iobuf_len(&out), MSG_NOSIGNAL | MSG_DONTWAIT);
	iobuf_fini(&out);
	shutdown(fd, SHUT_WR);
	(void)recv(fd, said, sizeof(said), MSG_DONTWAIT);
	close(fd);
}

static void count_refused(struct listener *listener)
{
	uint64_t now = loop_now_ms(listener->loop);

	listener->refused++;
	if (listener->told_ms != 0 && now - listener->told_ms < TELL_MS)
		return;
	listener->told_ms = now;
	log_event(listener->log, LOG_WARNING, "clients_refused",
	          "reason=no_descriptors sqlstate=53300 since_start=%" PRIu64, listener->refused);
}

/*
 * No descriptor is left for a client: the reserve lets it in just to be told so. False,
 * with errno as accept() left it, if there is nobody or it does not work.
 */
static bool refuse(struct listening *listening)
{
	struct listener *listener = listening->listener;
	int fd, saved;

	if (listener->reserve < 0)
		return false;
	close(listener->reserve);
	listener->reserve = -1;
	fd = accept4(listening->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	saved = errno;
	if (fd >= 0) {
		say_too_many(fd);
		count_refused(listener);
	}
	keep_reserve(listener);
	errno = saved;
	return fd >= 0;
}

static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void take_client(struct listening *listening, int fd)
{
	int on = 1;

	if (!listening->is_unix) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	}
	listening->listener->fn(listening->listener->owner, fd);
}

static void on_readable(void *owner, unsigned events)
{
	struct listening *listening = owner;
	struct listener *listener = listening->listener;

	(void)events;
	for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
		int fd = accept4(listening->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			take_client(listening, fd);
			continue;
		}
		if ((errno == EMFILE || errno == ENFILE) && refuse(listening))
			continue;
		if (is_shortage(errno)) {
			watch(listener, LOOP_NONE);
			loop_timer_start(listener->retry, RETRY_MS);
		}
		return;
	}
}

static struct listening *add(struct listener *listener, int fd, bool is_unix)
{
	struct listening *listening = calloc(1, sizeof(*listening));

	if (!listening)
		abort();
	listening->listener = listener;
	listening->fd = fd;
	listening->is_unix = is_unix;
	listening->lock = -1;
	listening->io = loop_io_new(listener->loop, fd, on_readable, listening);
	loop_io_set(listening->io, LOOP_READ);
	listening->next = listener->sockets;
	listener->sockets = listening;
	return listening;
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

/* PATH.pgtopk, not PATH.lock: that one is PostgreSQL's, which has a process id in it. */
static void lock_path(char *out, size_t size, const char *path)
{
	snprintf(out, size, "%s.pgtopk", path);
}

/* The lock for a socket's path; -1 with errno, EADDRINUSE if another process has it. */
static int lock_socket(const char *path)
{
	char name[sizeof(((struct sockaddr_un *)0)->sun_path) + 16];

	lock_path(name, sizeof(name), path);
	for (;;) {
		int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		struct stat held, named;

		if (fd < 0)
			return -1;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			close(fd);
			errno = EADDRINUSE;
			return -1;
		}
		if (fstat(fd, &held) == 0 && stat(name, &named) == 0 &&
		    held.st_ino == named.st_ino && held.st_dev == named.st_dev)
			return fd;
		close(fd); /* its owner removed it between our open() and flock() */
	}
}

static void unlock_socket(const char *path, int lock)
{
	char name[sizeof(((struct sockaddr_un *)0)->sun_path) + 16];

	lock_path(name, sizeof(name), path);
	unlink(name);
	close(lock);
}

/* A socket file that nobody listens on is left over from a killed process. The lock is
 * ours: if somebody listens, it is no pgtopk. */
static void remove_stale(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

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
	struct listening *listening;
	int fd, lock, saved;

	if (n < 0 || (size_t)n >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return false;
	}
	lock = lock_socket(address.sun_path);
	if (lock < 0)
		return false;
	remove_stale(&address);
	fd = bind_and_listen(AF_UNIX, (const struct sockaddr *)&address, sizeof(address));
	if (fd < 0) {
		saved = errno;
		unlock_socket(address.sun_path, lock);
		errno = saved;
		return false;
	}
	chmod(address.sun_path, 0777); /* who may log in is the coordinator's to say */
	listening = add(listener, fd, true);
	listening->path = strdup(address.sun_path);
	listening->lock = lock;
	if (!listening->path)
		abort();
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
		add(listener, fd, false);
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

static struct listener *new_listener(const struct listener_options *options)
{
	struct listener *listener = calloc(1, sizeof(*listener));

	if (!listener)
		abort();
	listener->loop = options->loop;
	listener->log = options->log;
	listener->fn = options->fn;
	listener->owner = options->owner;
	listener->retry = loop_timer_new(listener->loop, on_retry, listener);
	listener->reserve = -1;
	keep_reserve(listener);
	return listener;
}

struct listener *listener_open(const struct listener_options *options, const char *addresses,
                               char *error, size_t error_size)
{
	struct listener *listener = new_listener(options);
	char *copy = strdup(addresses), *rest = copy, *one;

	if (!copy)
		abort();
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

/* A listening stream socket, Unix or TCP: AF_UNIX, AF_INET, AF_INET6; else -1. */
static int family_of(int fd)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address), size = sizeof(int);
	int type = 0, listening = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 || !listening ||
	    getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		return -1;
	if (address.ss_family != AF_UNIX && address.ss_family != AF_INET &&
	    address.ss_family != AF_INET6)
		return -1;
	return address.ss_family;
}

struct listener *listener_take(const struct listener_options *options, int first, unsigned count,
                               char *error, size_t error_size)
{
	struct listener *listener = new_listener(options);

	for (int fd = first; fd < first + (int)count; fd++) {
		int family = family_of(fd);

		if (family < 0) {
			snprintf(error, error_size,
			         "socket activation: descriptor %d is no listening stream socket; "
			         "give ListenStream= and Accept=no",
			         fd);
			listener_close(listener);
			return NULL;
		}
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		add(listener, fd, family == AF_UNIX);
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
		if (at->path) {
			unlink(at->path);
			unlock_socket(at->path, at->lock);
		}
		free(at->path);
		free(at);
	}
	if (listener->reserve >= 0)
		close(listener->reserve);
	loop_timer_free(listener->retry);
	free(listener);
}
