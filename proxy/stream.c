/*
 * Stream: see stream.h.
 *
 * One rule keeps this simple: the owner is called only from the loop's events,
 * never from within stream_write(). A write that fails marks the stream broken;
 * the next event (a broken socket is readable at once) tells the owner.
 * Writes try the socket directly: most answers leave without touching `out`.
 */
#include "proxy/stream.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/tls.h"

static bool is_transient(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

static ssize_t raw_read(struct stream *stream, void *data, size_t len)
{
	if (stream->tls)
		return tls_read(stream->tls, data, len);
	return recv(stream->fd, data, len, 0);
}

static ssize_t raw_write(struct stream *stream, const void *data, size_t len)
{
	if (stream->tls)
		return tls_write(stream->tls, data, len);
	return send(stream->fd, data, len, MSG_NOSIGNAL);
}

/* There are bytes that the socket did not take. */
static bool is_held_up(const struct stream *stream)
{
	return iobuf_len(&stream->out) > 0 && (!stream->tls || tls_is_established(stream->tls));
}

/*
 * The socket has to become writable for what is to be done next. During a handshake it is the
 * handshake that says so, not the bytes that wait for its end.
 */
static bool waits_to_write(const struct stream *stream)
{
	if (stream->tls && tls_wants_write(stream->tls))
		return true;
	return is_held_up(stream);
}

/*
 * What to watch for, derived from the state; called after everything that changes it. Somebody may
 * wait for on_drained as soon as bytes are held up, also if a later stream_flush() gets rid of
 * them: then the next event is it.
 */
static void stream_update(struct stream *stream)
{
	unsigned events = LOOP_NONE;

	if (stream->fd < 0)
		return;
	if ((!stream->paused && !stream->ended) || stream->broken)
		events |= LOOP_READ;
	if (is_held_up(stream))
		stream->held_up = true;
	if ((waits_to_write(stream) || stream->held_up) && !stream->broken)
		events |= LOOP_WRITE;
	loop_io_set(stream->io, events);
}

/* Sends what it can of data; returns how much the socket took. */
static size_t send_some(struct stream *stream, const uint8_t *data, size_t len)
{
	size_t sent = 0;

	while (sent < len && !stream->broken) {
		ssize_t n = raw_write(stream, data + sent, len - sent);

		if (n > 0)
			sent += (size_t)n;
		else if (n < 0 && errno == EINTR)
			continue;
		else if (n < 0 && is_transient(errno))
			break;
		else
			stream->broken = true;
	}
	return sent;
}

static void flush_out(struct stream *stream)
{
	if (iobuf_len(&stream->out) > 0)
		iobuf_consume(&stream->out,
		              send_some(stream, iobuf_head(&stream->out), iobuf_len(&stream->out)));
	if (stream->broken)
		iobuf_truncate(&stream->out, 0);
	iobuf_release(&stream->out);
	if (!stream->ending || stream->shut || stream->broken || iobuf_len(&stream->out) > 0)
		return;
	stream->shut = true;
	if (stream->tls)
		tls_end(stream->tls);
	shutdown(stream->fd, SHUT_WR);
}

/*
 * Reads once, or until the TLS layer holds nothing back: decrypted bytes that
 * stay there would not wake the loop. Returns false when the stream has ended.
 */
static bool read_some(struct stream *stream, int *error)
{
	do {
		uint8_t *room = iobuf_reserve(&stream->in, STREAM_READ_SIZE);
		size_t size = stream->in.cap - stream->in.tail;
		ssize_t n = raw_read(stream, room, size);

		if (n > 0) {
			iobuf_commit(&stream->in, (size_t)n);
			continue;
		}
		if (n < 0 && is_transient(errno))
			return true;
		*error = n < 0 ? errno : 0;
		return false;
	} while (stream->tls && tls_pending(stream->tls));
	return true;
}

static void on_readable(struct stream *stream)
{
	size_t before = iobuf_len(&stream->in);
	int error = 0;

	if (!read_some(stream, &error)) {
		stream->ended = true;
		stream_update(stream);
	}
	if (iobuf_len(&stream->in) > before)
		stream->ops->on_input(stream->owner);
	if (stream->fd < 0)
		return; /* closed by its owner */
	iobuf_release(&stream->in);
	if (stream->ended)
		stream->ops->on_closed(stream->owner, error);
}

/* A write failed: what the peer said before it left (often why) is still worth reading. */
static void on_broken(struct stream *stream)
{
	on_readable(stream);
	if (stream->fd < 0 || stream->ended)
		return;
	loop_io_set(stream->io, LOOP_NONE);
	stream->ops->on_closed(stream->owner, EPIPE);
}

/* False: nothing is there after all. At the end of the stream the reader finds out. */
static bool peek_first(struct stream *stream)
{
	void (*on_first)(void *, uint8_t) = stream->on_first;
	uint8_t first;
	ssize_t n = recv(stream->fd, &first, 1, MSG_PEEK);

	if (n < 0 && is_transient(errno))
		return false;
	stream->on_first = NULL;
	if (n == 1)
		on_first(stream->owner, first);
	return stream->fd >= 0;
}

static void on_event(void *owner, unsigned events)
{
	struct stream *stream = owner;
	bool drained = false;

	if (stream->on_first && !peek_first(stream))
		return;
	if (stream->broken) {
		on_broken(stream);
		return;
	}
	if (events & LOOP_WRITE && stream->tls && iobuf_len(&stream->out) == 0 &&
	    !stream->held_up) {
		events |= LOOP_READ; /* reading is what wants to write: a handshake */
	} else if (events & LOOP_WRITE) {
		flush_out(stream);
		if (iobuf_len(&stream->out) == 0 && stream->held_up) {
			stream->held_up = false;
			drained = !stream->broken && stream->ops->on_drained;
		}
		stream_update(stream);
		if (drained)
			stream->ops->on_drained(stream->owner);
		if (stream->fd < 0)
			return;
	}
	if ((events & LOOP_READ) && !stream->paused && !stream->broken) {
		on_readable(stream);
		if (stream->fd < 0)
			return;
	}
	stream_update(stream);
}

void stream_open(struct stream *stream, struct loop *loop, int fd, bool owns_fd, struct tls *tls,
                 const struct stream_ops *ops, void *owner)
{
	memset(stream, 0, sizeof(*stream));
	stream->loop = loop;
	stream->fd = fd;
	stream->owns_fd = owns_fd;
	stream->tls = tls;
	stream->ops = ops;
	stream->owner = owner;
	iobuf_init(&stream->in);
	iobuf_init(&stream->out);
	stream->io = loop_io_new(loop, fd, on_event, stream);
	stream_update(stream);
}

void stream_peek(struct stream *stream, void (*on_first)(void *owner, uint8_t first))
{
	stream->on_first = on_first;
}

void stream_start_tls(struct stream *stream, struct tls *tls)
{
	assert(!stream->tls && iobuf_len(&stream->in) == 0 && iobuf_len(&stream->out) == 0);
	stream->tls = tls;
	stream->owns_tls = true;
}

int stream_detach(struct stream *stream)
{
	int fd = stream->fd;

	if (fd < 0)
		return -1;
	flush_out(stream);
	loop_io_free(stream->io);
	stream->io = NULL;
	if (stream->owns_tls)
		tls_free(stream->tls);
	stream->tls = NULL;
	stream->fd = -1;
	iobuf_fini(&stream->in);
	iobuf_fini(&stream->out);
	return fd;
}

void stream_close(struct stream *stream)
{
	bool owns_fd = stream->owns_fd;
	int fd = stream_detach(stream);

	if (fd >= 0 && owns_fd)
		close(fd);
}

void stream_write(struct stream *stream, const void *data, size_t len)
{
	size_t sent = 0;

	if (stream->fd < 0 || stream->broken || len == 0)
		return;
	if (iobuf_len(&stream->out) == 0)
		sent = send_some(stream, data, len);
	if (sent < len && !stream->broken)
		iobuf_append(&stream->out, (const uint8_t *)data + sent, len - sent);
	stream_update(stream);
}

void stream_flush(struct stream *stream)
{
	if (stream->fd < 0)
		return;
	flush_out(stream);
	stream_update(stream);
}

void stream_end(struct stream *stream)
{
	if (stream->fd < 0)
		return;
	stream->ending = true;
	flush_out(stream);
	stream_update(stream);
}

void stream_pause(struct stream *stream)
{
	stream->paused = true;
	stream_update(stream);
}

void stream_resume(struct stream *stream)
{
	stream->paused = false;
	stream_update(stream);
}
