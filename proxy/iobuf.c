/*
 * Iobuf: see iobuf.h.
 *
 * Room at the tail is made by moving the unread bytes to the front or by
 * growing, chosen so that every byte is moved a bounded number of times however
 * slowly the reader follows the writer.
 */
#include "proxy/iobuf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define IOBUF_CAP_MIN ((size_t)1024)
#define IOBUF_CAP_MAX (SIZE_MAX / 4 + 1)

void iobuf_init(struct iobuf *buf)
{
	*buf = (struct iobuf){0};
}

void iobuf_fini(struct iobuf *buf)
{
	free(buf->data);
	*buf = (struct iobuf){0};
}

static size_t iobuf_cap_for(size_t need)
{
	size_t cap = IOBUF_CAP_MIN;

	assert(need <= IOBUF_CAP_MAX);
	while (cap < need)
		cap *= 2;
	return cap;
}

static void iobuf_grow(struct iobuf *buf, size_t room)
{
	size_t len = iobuf_len(buf);
	/* With bytes consumed but too few to make moving them pay, grow by what is
	 * unread as well, so that as much can come in before the next move. */
	size_t cap = iobuf_cap_for(buf->head == 0 ? len + room : 2 * len + room);
	uint8_t *data;

	if (buf->head == 0) {
		data = realloc(buf->data, cap);
		if (data == NULL)
			abort();
	} else {
		data = malloc(cap);
		if (data == NULL)
			abort();
		memcpy(data, buf->data + buf->head, len);
		free(buf->data);
	}
	buf->data = data;
	buf->head = 0;
	buf->tail = len;
	buf->cap = cap;
}

uint8_t *iobuf_reserve(struct iobuf *buf, size_t room)
{
	size_t len = iobuf_len(buf);

	assert(room <= IOBUF_CAP_MAX / 4 && len <= IOBUF_CAP_MAX / 4);
	if (buf->data != NULL && buf->cap - buf->tail >= room)
		return buf->data + buf->tail;
	if (buf->data != NULL && buf->head >= len && buf->cap - len >= room) {
		memcpy(buf->data, buf->data + buf->head, len);
		buf->head = 0;
		buf->tail = len;
	} else {
		iobuf_grow(buf, room);
	}
	assert(buf->cap - buf->tail >= room);
	return buf->data + buf->tail;
}

void iobuf_commit(struct iobuf *buf, size_t len)
{
	assert(len <= buf->cap - buf->tail);
	buf->tail += len;
}

void iobuf_append(struct iobuf *buf, const void *data, size_t len)
{
	if (len == 0)
		return;
	memcpy(iobuf_reserve(buf, len), data, len);
	buf->tail += len;
}

void iobuf_consume(struct iobuf *buf, size_t len)
{
	assert(len <= iobuf_len(buf));
	buf->head += len;
	if (buf->head == buf->tail)
		buf->head = buf->tail = 0;
}

void iobuf_truncate(struct iobuf *buf, size_t len)
{
	assert(len <= iobuf_len(buf));
	buf->tail = buf->head + len;
	if (len == 0)
		buf->head = buf->tail = 0;
}

void iobuf_release(struct iobuf *buf)
{
	if (iobuf_len(buf) == 0)
		iobuf_fini(buf);
}
