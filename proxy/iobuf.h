/*
 * Iobuf: a growing queue of bytes, written at its tail and read at its head.
 *
 * Holds no memory while empty (iobuf_release()), because most connections are
 * idle most of the time. Bytes between head and tail are contiguous, so that
 * messages can be viewed in place. Whoever appends what a peer sends must have
 * limited it: the buffer itself grows as asked. Out of memory aborts.
 */
#ifndef PROXY_IOBUF_H
#define PROXY_IOBUF_H

#include <stddef.h>
#include <stdint.h>

struct iobuf {
	uint8_t *data; /* NULL while it holds nothing */
	size_t head;   /* first unread byte */
	size_t tail;   /* behind the last byte */
	size_t cap;
};

void iobuf_init(struct iobuf *buf);
void iobuf_fini(struct iobuf *buf);

static inline size_t iobuf_len(const struct iobuf *buf)
{
	return buf->tail - buf->head;
}

static inline const uint8_t *iobuf_head(const struct iobuf *buf)
{
	return buf->data == NULL ? NULL : buf->data + buf->head;
}

/* At least `room` writable bytes at the tail: returns their address; follow with
 * iobuf_commit() for those really written. May move the unread bytes. */
uint8_t *iobuf_reserve(struct iobuf *buf, size_t room);
void iobuf_commit(struct iobuf *buf, size_t len);
void iobuf_append(struct iobuf *buf, const void *data, size_t len);
/* Drops len bytes at the head. */
void iobuf_consume(struct iobuf *buf, size_t len);
/* Drops bytes at the tail so that `len` unread ones are left. */
void iobuf_truncate(struct iobuf *buf, size_t len);
/* Gives the memory back if there is nothing unread in it. */
void iobuf_release(struct iobuf *buf);

#endif
