/*
 * World: all of pgtopk but its main(), around one client, with stand-ins for the servers:
 * real loop, real streams over socketpairs, nothing outside of this process. Takes the
 * place of proxy/pq.c (its functions are defined here) and of digest_random(), so that
 * the same input gives the same conversation. To be linked before the library, with
 * -Wl,--wrap=digest_random.
 */
#ifndef T_FUZZ_WORLD_H
#define T_FUZZ_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/proxy.h"
#include "t/fuzz/fuzz.h"
#include "t/fuzz/server.h"

#define WORLD_PEERS 64

/* One server's end of a connection that pgtopk has made. */
struct world_peer {
	int fd;       /* -1: closed */
	bool dialled; /* the login is pgtopk's */
	bool worker;
	struct server *server;
	struct fuzz_parts *script; /* says this instead, a part each time it is spoken to */
	struct iobuf out;
	bool leaving;
};

/* Which connections follow the script instead of being a server's. */
enum world_scripted { WORLD_NONE, WORLD_COORDINATOR, WORLD_CATALOG, WORLD_WORKER };

struct world {
	struct proxy proxy;
	struct config *config;
	int client;
	struct iobuf said;  /* by the client, not yet written */
	struct iobuf heard; /* by the client */
	bool client_closed; /* by pgtopk */
	unsigned faults;    /* of the workers, and of the catalog's connection SERVER_CHANGES */
	enum world_scripted scripted;
	unsigned scripted_after; /* how many times the server itself answers before */
	struct fuzz_parts script;
	struct world_peer peers[WORLD_PEERS];
	unsigned npeers;
	int cancels[16]; /* connections that brought a CancelRequest */
	unsigned ncancels;
	uint8_t random;
};

/* options: names and values in turn, NULL at the end. */
void world_open(struct world *world, const char *const *options);
/* Everything ends: what is left is a leak. */
void world_close(struct world *world);

void world_say(struct world *world, const void *data, size_t len);
/* On a connection of its own: a CancelRequest for the client's session. */
void world_cancel(struct world *world);
/* The client hangs up. */
void world_leave(struct world *world);
/* Runs until nobody has anything to say. */
void world_settle(struct world *world);
/* A StartupMessage of that user, and its answers. */
void world_login(struct world *world, const char *user);

#endif
