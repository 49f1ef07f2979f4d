/*
 * Stream: one end of a connection: a socket (plain or TLS), bytes read and not
 * yet consumed, bytes to be written. Knows nothing of messages.
 *
 * Reads into `in` and calls on_input; the owner consumes what it has handled.
 * Writes go out at once where the socket takes them, the rest waits in `out`.
 * What to watch for is derived from state in one place (stream_update): reading
 * stops while the owner has paused it, so that back-pressure is the owner
 * pausing one stream while the other's `out` is above STREAM_HIGH_WATER.
 * An idle stream holds no buffers.
 */
#ifndef PROXY_STREAM_H
#define PROXY_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/iobuf.h"
#include "proxy/loop.h"

#define STREAM_READ_SIZE (16 * 1024)
#define STREAM_HIGH_WATER (64 * 1024)

struct tls; /* proxy/tls.h */

/* All are called from the loop, never from within a stream_* call. */
struct stream_ops {
	/* New bytes in stream->in. */
	void (*on_input)(void *owner);
	/* `out` has become empty after having been held up. May be NULL. */
	void (*on_drained)(void *owner);
	/* The peer closed (error 0) or the connection broke (errno). Bytes that came before
	 * were handed to on_input. The owner must stream_close(), or, at error 0, may still write:
	 * it is called again should that fail. */
	void (*on_closed)(void *owner, int error);
};

struct stream {
	struct loop *loop;
	struct loop_io *io;
	int fd; /* -1: closed */
	bool owns_fd;
	bool paused;
	bool broken;     /* a write failed; reported by on_closed in the next turn */
	bool held_up;    /* on_drained is owed */
	bool ended;      /* the peer closed its side */
	bool ending;     /* ours is to be closed once `out` is empty */
	bool shut;       /* and is */
	struct tls *tls; /* NULL: plain */
	bool owns_tls;
	struct iobuf in;
	struct iobuf out;
	void (*on_first)(void *owner, uint8_t first); /* not NULL: awaits the first byte */
	const struct stream_ops *ops;
	void *owner;
};

/* fd is non-blocking and connected; `owns_fd`: stream_close() closes it. */
void stream_open(struct stream *stream, struct loop *loop, int fd, bool owns_fd, struct tls *tls,
                 const struct stream_ops *ops, void *owner);
/* Shows the owner the first byte that comes, before it is read: it may decide on TLS. */
void stream_peek(struct stream *stream, void (*on_first)(void *owner, uint8_t first));
/* From here on all bytes go through tls, which is the stream's now: stream_close() frees it
 * before the descriptor. Needs empty buffers. */
void stream_start_tls(struct stream *stream, struct tls *tls);
/* Frees buffers, stops watching. Unwritten bytes get one last try. Safe to repeat. */
void stream_close(struct stream *stream);
/* The same, but the descriptor is the caller's from now on; -1 if it was closed already. */
int stream_detach(struct stream *stream);

/* Writes or queues. Bytes for a broken stream are dropped: on_closed follows. */
void stream_write(struct stream *stream, const void *data, size_t len);
/* Writes what the owner appended to stream->out itself. */
void stream_flush(struct stream *stream);
/* Nothing more will be written: the peer is told so, behind the last byte. Safe to repeat. */
void stream_end(struct stream *stream);

void stream_pause(struct stream *stream);
/* Goes on reading. If bytes are waiting in `in`, the owner handles them itself. */
void stream_resume(struct stream *stream);

#endif
