/*
 * Replies: what the coordinator still owes for the messages forwarded to it, in
 * order. It tells whose reply the next message is, when the coordinator is idle,
 * and which replies the client must not see (messages that pgtopk sent itself).
 *
 * One byte per expected reply, so that thousands of pipelined messages cost
 * little. After an error in the extended protocol the server skips messages up
 * to the next Sync; so does this queue. Knows no sockets.
 * Manual: "Message Flow", "Extended Query", "COPY Operations".
 */
#ifndef PROXY_REPLIES_H
#define PROXY_REPLIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum reply {
	REPLY_NONE,
	REPLY_PARSE,
	REPLY_BIND,
	REPLY_CLOSE,
	REPLY_DESCRIBE, /* RowDescription or NoData; of a statement ParameterDescription before it */
	REPLY_EXECUTE,
	REPLY_SYNC,  /* ReadyForQuery */
	REPLY_QUERY, /* anything, up to ReadyForQuery; also FunctionCall and the login */
};

struct replies {
	uint8_t *ring;
	size_t cap, first, count;
	size_t syncs;  /* entries that end with ReadyForQuery */
	bool unsynced; /* extended messages were sent since the last Sync */
	bool
	    touched; /* one of them was Bind or Execute: a portal or an implicit transaction is open */
	bool failed;     /* the server is skipping to a Sync that was not sent yet */
	bool copying_in; /* the server reads COPY data and ignores Sync and Flush */
};

void replies_init(struct replies *replies);
void replies_fini(struct replies *replies);

/* A message that is answered by `reply` is being forwarded; `hidden`: the client
 * did not send it and must not see the answer. */
void replies_expect(struct replies *replies, enum reply reply, bool hidden);
/* The client sent CopyDone or CopyFail. */
void replies_copy_ended(struct replies *replies);

/*
 * A backend message of that type has come. True if the client may see it.
 * *answered: the reply that it completed, REPLY_NONE if none.
 */
bool replies_arrived(struct replies *replies, uint8_t type, enum reply *answered);

/* Rows may be owed: of one message that was sent before now. */
bool replies_owe_rows(const struct replies *replies);
/* Nothing is owed. */
bool replies_drained(const struct replies *replies);
/* Nothing is owed and no Sync is missing: the next message starts afresh. */
bool replies_idle(const struct replies *replies);

#endif
