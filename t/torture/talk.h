/*
 * Talk: a client's connection by the wire protocol, for whatever mixture of
 * messages a step wants. Written in talk.raw.out with proxy/wire.h's writers; what
 * comes back is a list of messages. A server that hangs is an answer, too.
 */
#ifndef T_TORTURE_TALK_H
#define T_TORTURE_TALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "merge/arena.h"
#include "t/lib/raw.h"

struct talk {
	struct raw raw;
};

struct talk_message {
	uint8_t type;
	const uint8_t *body;
	size_t len;
};

struct talk_reply {
	unsigned count;
	struct talk_message *messages;
	bool hung;  /* nothing came for too long */
	bool ended; /* the connection is closed */
};

/* Logs in; false: refused, which `reply` says. options may be NULL. */
bool talk_open(struct talk *talk, int port, const char *user, const char *database,
               const char *options, struct arena *arena, struct talk_reply *reply);
void talk_close(struct talk *talk);

/* Sends talk.raw.out and reads up to the syncs-th ReadyForQuery. */
void talk_exchange(struct talk *talk, unsigned syncs, struct arena *arena,
                   struct talk_reply *reply);
/* An exchange of one Query. */
void talk_query(struct talk *talk, const char *sql, struct arena *arena, struct talk_reply *reply);

#endif
