/*
 * Server: a stand-in for a PostgreSQL behind pgtopk, in this process: bytes in, bytes
 * out. Keeps to the protocol (pipelines, errors up to Sync, portals, transactions, COPY,
 * every login), so that what pgtopk makes of a conversation can be compared with it.
 */
#ifndef T_FUZZ_SERVER_H
#define T_FUZZ_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/iobuf.h"

/* What is wrong with it. */
enum server_fault {
	SERVER_FAILS = 1,   /* every other Execute of a shard's query, from the first: an error */
	SERVER_STALE = 2,   /* ... that the shard has moved */
	SERVER_CHANGES = 4, /* the map is another one each time it is checked */
	SERVER_LEAVES = 8,  /* hangs up after some messages */
};

#define SERVER_PID 4711
#define SERVER_SECRET "key!"

struct server;

/* user: who has logged in; NULL: the login is yet to come. */
struct server *server_new(const char *user, unsigned faults);
void server_free(struct server *server); /* NULL is allowed */

/* Hears bytes; what it says is appended to out. False: it hangs up after that. */
bool server_hear(struct server *server, const uint8_t *data, size_t len, struct iobuf *out);
/* What it has in its buffer: it may say that at any time. */
const struct iobuf *server_unsaid(const struct server *server);

#endif
