/*
 * Meddler: stands between two ends of a connection, passes everything on and does one
 * bad thing: cuts the bytes into pieces, stalls, closes, resets, or says something else
 * in a server's message's place. In front of pgtopk it makes a client of any driver
 * hostile, behind it the coordinator or a worker faulty.
 *
 * What a server says is passed on message by message (no TLS there, unless the rule is
 * about the client's bytes).
 */
#ifndef T_LIB_MEDDLER_H
#define T_LIB_MEDDLER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum meddler_what {
	MEDDLER_NOTHING,
	MEDDLER_PAUSE,   /* a moment, then all goes on */
	MEDDLER_STALL,   /* for ever: nothing is passed on any more in that direction */
	MEDDLER_CLOSE,   /* both ends */
	MEDDLER_RESET,   /* both ends, with RST */
	MEDDLER_REPLACE, /* a server's message by these bytes; the rest goes on */
	MEDDLER_END,     /* the same, then both ends are closed */
	MEDDLER_FLOOD,   /* these bytes again and again before the message, `times` times */
};

struct meddler_rule {
	enum meddler_what what;
	bool of_server; /* which direction */
	size_t at;      /* the client's: after so many bytes of a connection */
	uint8_t
	    type; /* the server's: its nth message of that type, 0: any, since the rule was set */
	unsigned nth; /* from 1 */
	const void *bytes;
	size_t len;
	unsigned times;
	size_t piece; /* the client's bytes in pieces of so many; 0: as they come */
};

struct meddler {
	int port;
	int target; /* port of 127.0.0.1 */
	int listener;
	pthread_t thread;
	pthread_mutex_t mutex; /* for all below */
	struct meddler_rule rule;
	unsigned seen;   /* messages that fit the rule */
	unsigned struck; /* how often the rule was carried out */
	size_t heard;    /* the client's bytes of the newest connection */
	unsigned open, accepted;
	bool ending;
};

void meddler_start(struct meddler *meddler, int target);
/* Ends all its connections. */
void meddler_stop(struct meddler *meddler);
/* For what comes from now on. The bytes must live on. */
void meddler_set(struct meddler *meddler, const struct meddler_rule *rule);
unsigned meddler_struck(struct meddler *meddler);
size_t meddler_heard(struct meddler *meddler);
unsigned meddler_accepted(struct meddler *meddler);

#endif
