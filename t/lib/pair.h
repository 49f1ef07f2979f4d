/*
 * Pair: two raw clients, one through pgtopk and one of the coordinator itself, that
 * say the same and must be told the same, byte for byte (see raw.h for what is left
 * out of errors).
 */
#ifndef T_LIB_PAIR_H
#define T_LIB_PAIR_H

#include "t/lib/instance.h"
#include "t/lib/raw.h"

struct pair {
	struct instance *instance;
	struct raw proxy, direct;
	struct iobuf out; /* composed, not yet sent */
	size_t piece;     /* sent to pgtopk in pieces of so many bytes; 0: at once */
	size_t cut;       /* or cut here; 0: not */
	bool repeating;   /* the same again: the answer must be the last one; direct is not asked */
};

void pair_open(struct pair *pair);
void pair_close(struct pair *pair);

/* Sends pair.out to both and reads both up to the count-th message of that type. The
 * answer to the last talk is kept in what pair_heard() returns. */
void pair_talk(struct pair *pair, uint8_t type, unsigned count);
const char *pair_heard(void);
/* pair_talk() up to one ReadyForQuery, Sync included. */
void pair_sync(struct pair *pair);
/* Since the last call so many vector queries were routed, as pgtopk's log tells. */
void pair_expect_routed(struct pair *pair, unsigned routed);

#endif
