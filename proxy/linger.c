/*
 * Linger: see linger.h.
 */
#include "proxy/linger.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#define LINGER_MS 1000
#define LOOK_MS 10
#define READ_AT_ONCE 64 /* then others get their turn */

struct lingering {
	struct lingers *lingers;
	int fd;
	struct loop_io *io;
	struct loop_timer *timer;
	uint64_t until_ms;
	struct lingering *prev, *next;
};

struct lingers {
	struct loop *loop;
	struct lingering *all;
	unsigned count;
};

struct lingers *lingers_new(struct loop *loop)
{
	struct lingers *lingers = calloc(1, sizeof(*lingers));

	if (!lingers)
		abort();
	lingers->loop = loop;
	return lingers;
}

static void end(struct lingering *linger)
{
	struct lingers *lingers = linger->lingers;

	DL_DELETE(lingers->all, linger);
	lingers->count--;
	loop_io_free(linger->io);
	loop_timer_free(linger->timer);
	close(linger->fd);
	free(linger);
}

void lingers_free(struct lingers *lingers)
{
	if (!lingers)
		return;
	while (lingers->all)
		end(lingers->all);
	free(lingers);
}

/* Throws away what the client has sent. False: it has closed. */
static bool discard(int fd)
{
	char nowhere[4096];

	for (int i = 0; i < READ_AT_ONCE; i++) {
		ssize_t n = recv(fd, nowhere, sizeof(nowhere), 0);

		if (n > 0)
			continue;
		return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
	}
	return true;
}

/* All that was sent has arrived: nothing can be lost any more. */
static bool has_arrived(int fd)
{
	int unsent = 0;

	return ioctl(fd, SIOCOUTQ, &unsent) < 0 || unsent == 0;
}

static void on_readable(void *owner, unsigned events)
{
	struct lingering *linger = owner;

	(void)events;
	if (!discard(linger->fd))
		end(linger);
}

static void look(void *owner)
{
	struct lingering *linger = owner;

	if (has_arrived(linger->fd) || loop_now_ms(linger->lingers->loop) >= linger->until_ms)
		end(linger);
	else
		loop_timer_start(linger->timer, LOOK_MS);
}

void lingers_close(struct lingers *lingers, int fd)
{
	struct lingering *linger;

	if (!discard(fd) || has_arrived(fd)) {
		close(fd);
		return;
	}
	linger = calloc(1, sizeof(*linger));
	if (!linger)
		abort();
	shutdown(fd, SHUT_WR);
	linger->lingers = lingers;
	linger->fd = fd;
	linger->until_ms = loop_now_ms(lingers->loop) + LINGER_MS;
	linger->io = loop_io_new(lingers->loop, fd, on_readable, linger);
	loop_io_set(linger->io, LOOP_READ);
	linger->timer = loop_timer_new(lingers->loop, look, linger);
	loop_timer_start(linger->timer, LOOK_MS);
	DL_APPEND(lingers->all, linger);
	lingers->count++;
}

unsigned lingers_count(const struct lingers *lingers)
{
	return lingers->count;
}
