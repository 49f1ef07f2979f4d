/*
 * Replies: see replies.h. A ring of bytes: the kind of the expected reply, and a
 * bit for the hidden ones.
 */
#include "proxy/replies.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/wire.h"

#define HIDDEN 0x80
#define COPY_ENDED 0x40 /* CopyDone or CopyFail was sent behind it */
#define KIND(entry) ((enum reply)(0x3f & (entry)))

void replies_init(struct replies *replies)
{
	memset(replies, 0, sizeof(*replies));
}

void replies_fini(struct replies *replies)
{
	free(replies->ring);
	memset(replies, 0, sizeof(*replies));
}

static void grow(struct replies *replies)
{
	size_t cap = replies->cap ? replies->cap * 2 : 16;
	uint8_t *ring = malloc(cap);

	if (!ring)
		abort();
	for (size_t i = 0; i < replies->count; i++)
		ring[i] = replies->ring[(replies->first + i) & (replies->cap - 1)];
	free(replies->ring);
	replies->ring = ring;
	replies->cap = cap;
	replies->first = 0;
}

static bool ends_with_ready(enum reply reply)
{
	return reply == REPLY_SYNC || reply == REPLY_QUERY;
}

static uint8_t head(const struct replies *replies)
{
	return replies->count ? replies->ring[replies->first] : REPLY_NONE;
}

static enum reply pop(struct replies *replies)
{
	enum reply reply = KIND(head(replies));

	assert(replies->count > 0);
	replies->first = (replies->first + 1) & (replies->cap - 1);
	replies->count--;
	if (ends_with_ready(reply)) {
		assert(replies->syncs > 0);
		replies->syncs--;
	}
	return reply;
}

void replies_expect(struct replies *replies, enum reply reply, bool hidden)
{
	assert(reply != REPLY_NONE);
	if (replies->copying_in && reply == REPLY_SYNC)
		return; /* the server ignores it while it reads COPY data */
	if (replies->failed && reply != REPLY_SYNC)
		return; /* skipped by the server */
	if (ends_with_ready(reply)) {
		replies->unsynced = false;
		replies->touched = false;
		replies->failed = false;
	} else {
		replies->unsynced = true;
		replies->touched |= reply == REPLY_BIND || reply == REPLY_EXECUTE;
	}
	if (replies->count == replies->cap)
		grow(replies);
	replies->ring[(replies->first + replies->count) & (replies->cap - 1)] =
	    (uint8_t)(reply | (hidden ? HIDDEN : 0));
	replies->count++;
	replies->syncs += ends_with_ready(reply);
}

void replies_copy_ended(struct replies *replies)
{
	if (!replies->copying_in && replies->count > 0) /* the server may not have begun yet */
		replies->ring[(replies->first + replies->count - 1) & (replies->cap - 1)] |=
		    COPY_ENDED;
	replies->copying_in = false;
}

/* ErrorResponse: a simple query still ends with ReadyForQuery; otherwise the
 * server skips everything up to the next Sync. */
static void failed(struct replies *replies)
{
	replies->copying_in = false;
	if (KIND(head(replies)) == REPLY_QUERY)
		return;
	while (replies->count > 0 && KIND(head(replies)) != REPLY_SYNC)
		pop(replies);
	if (replies->count == 0)
		replies->failed = true;
}

/* COPY FROM STDIN: a Sync that the client had sent ahead of CopyDone is ignored. */
static void copy_began(struct replies *replies)
{
	bool ended = head(replies) & COPY_ENDED;

	if (KIND(head(replies)) != REPLY_EXECUTE && KIND(head(replies)) != REPLY_QUERY)
		return;
	while (!ended && replies->count > 1) {
		size_t second = (replies->first + 1) & (replies->cap - 1);

		if (KIND(replies->ring[second]) != REPLY_SYNC)
			break;
		ended = replies->ring[second] & COPY_ENDED;
		replies->ring[second] = head(replies);
		replies->first = second;
		replies->count--;
		replies->syncs--;
	}
	replies->copying_in = !ended;
	if (replies->syncs == 0)
		replies->unsynced = replies->touched = true;
}

/* The reply that a message of this type completes; REPLY_QUERY only by ReadyForQuery. */
static enum reply completes(uint8_t type)
{
	switch (type) {
	case WIRE_BE_ParseComplete:
		return REPLY_PARSE;
	case WIRE_BE_BindComplete:
		return REPLY_BIND;
	case WIRE_BE_CloseComplete:
		return REPLY_CLOSE;
	case WIRE_BE_RowDescription:
	case WIRE_BE_NoData:
		return REPLY_DESCRIBE;
	case WIRE_BE_CommandComplete:
	case WIRE_BE_EmptyQueryResponse:
	case WIRE_BE_PortalSuspended:
		return REPLY_EXECUTE;
	default:
		return REPLY_NONE;
	}
}

bool replies_arrived(struct replies *replies, uint8_t type, enum reply *answered)
{
	uint8_t entry = head(replies);
	enum reply ends = completes(type);

	*answered = REPLY_NONE;
	if (type == WIRE_BE_ErrorResponse) {
		failed(replies);
		return true;
	}
	if (type == WIRE_BE_ReadyForQuery) {
		if (ends_with_ready(KIND(entry)))
			*answered = pop(replies);
		else if (replies->count == 0) /* COPY failed before it read the Sync sent ahead */
			replies->failed = replies->unsynced = replies->touched = false;
		replies->copying_in = false;
		return true;
	}
	if (type == WIRE_BE_CopyInResponse || type == WIRE_BE_CopyBothResponse)
		copy_began(replies);
	if (ends != REPLY_NONE && ends == KIND(entry)) {
		*answered = pop(replies);
		return !(entry & HIDDEN);
	}
	return true;
}

bool replies_drained(const struct replies *replies)
{
	return replies->count == 0;
}

bool replies_idle(const struct replies *replies)
{
	return replies->count == 0 && !replies->unsynced && !replies->failed;
}

bool replies_owe_rows(const struct replies *replies)
{
	for (size_t i = 0; i < replies->count; i++) {
		enum reply reply = KIND(replies->ring[(replies->first + i) & (replies->cap - 1)]);

		if (reply == REPLY_EXECUTE || reply == REPLY_QUERY)
			return true;
	}
	return false;
}
