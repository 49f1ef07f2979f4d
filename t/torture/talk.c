/*
 * Talk: see talk.h.
 */
#include "t/torture/talk.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define TIMEOUT_MS 20000
#define CHUNK 65536

static void put_startup(struct iobuf *out, const char *user, const char *database,
                        const char *options)
{
	const char *const fields[] = {"user", user, "database", database, "options", options};
	size_t count = options ? 6 : 4, len = 9;

	for (size_t i = 0; i < count; i++)
		len += strlen(fields[i]) + 1;
	wire_put_u32(out, (uint32_t)len);
	wire_put_u32(out, 3 << 16);
	for (size_t i = 0; i < count; i++)
		wire_put_string(out, fields[i]);
	wire_put_u8(out, 0);
}

bool talk_open(struct talk *talk, int port, const char *user, const char *database,
               const char *options, struct arena *arena, struct talk_reply *reply)
{
	raw_open(&talk->raw, port);
	put_startup(&talk->raw.out, user, database, options);
	talk_exchange(talk, 1, arena, reply);
	return !reply->hung && !reply->ended;
}

void talk_close(struct talk *talk)
{
	if (talk->raw.fd >= 0 && !talk->raw.ended) {
		wire_put_bare(&talk->raw.out, WIRE_FE_Terminate);
		raw_send(&talk->raw, 0);
	}
	raw_close(&talk->raw);
}

/* False: nothing came for too long. */
static bool receive(struct raw *raw)
{
	struct pollfd pollfd = {.fd = raw->fd, .events = POLLIN};
	ssize_t n;

	if (poll(&pollfd, 1, TIMEOUT_MS) <= 0)
		return false;
	n = recv(raw->fd, iobuf_reserve(&raw->in, CHUNK), CHUNK, MSG_DONTWAIT);
	if (n > 0)
		iobuf_commit(&raw->in, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		raw->ended = true;
	return true;
}

static void add(struct talk_reply *reply, struct arena *arena, uint8_t type, const uint8_t *body,
                size_t len)
{
	uint8_t *copy;

	if ((reply->count & (reply->count - 1)) == 0) { /* grows at powers of two */
		size_t room = reply->count == 0 ? 1 : 2 * (size_t)reply->count;
		struct talk_message *more = arena_alloc(arena, room * sizeof(*more));

		if (reply->count > 0)
			memcpy(more, reply->messages, reply->count * sizeof(*more));
		reply->messages = more;
	}
	copy = (uint8_t *)arena_strndup(arena, (const char *)body, len);
	if (type == WIRE_BE_NotificationResponse && len >= 4)
		memset(copy, 0, 4); /* whose process it was */
	reply->messages[reply->count++] = (struct talk_message){type, copy, len};
}

/* COPY FROM STDIN gets no rows. */
static void end_copy(struct raw *raw)
{
	wire_put_bare(&raw->out, WIRE_FE_CopyDone);
	raw_send(raw, 0);
}

void talk_exchange(struct talk *talk, unsigned syncs, struct arena *arena, struct talk_reply *reply)
{
	struct raw *raw = &talk->raw;

	memset(reply, 0, sizeof(*reply));
	raw_send(raw, 0);
	while (syncs > 0 && !reply->hung && !reply->ended) {
		uint8_t type;
		size_t total;
		const uint8_t *at = iobuf_head(&raw->in);
		enum wire_frame frame = wire_frame(at, iobuf_len(&raw->in), &type, &total);

		if (frame == WIRE_FRAME_OK && iobuf_len(&raw->in) >= total) {
			if (type != WIRE_BE_BackendKeyData)
				add(reply, arena, type, at + WIRE_HEADER, total - WIRE_HEADER);
			iobuf_consume(&raw->in, total);
			syncs -= type == WIRE_BE_ReadyForQuery;
			if (type == WIRE_BE_CopyInResponse)
				end_copy(raw);
		} else if (raw->ended || frame == WIRE_FRAME_BAD) {
			reply->ended = true;
		} else if (!receive(raw)) {
			reply->hung = true;
		}
	}
}

void talk_query(struct talk *talk, const char *sql, struct arena *arena, struct talk_reply *reply)
{
	wire_put_query(&talk->raw.out, sql);
	talk_exchange(talk, 1, arena, reply);
}
