/*
 * Forwarder: a network of the test's own between two ends, which can be cut: bytes of
 * all connections to its port go to the target until it is told otherwise. What the
 * bytes are it does not know (t/lib/meddler.c does).
 */
#ifndef T_FAULTS_FORWARDER_H
#define T_FAULTS_FORWARDER_H

#include <pthread.h>
#include <stdatomic.h>

enum forwarder_state {
	FORWARDER_OPEN,
	FORWARDER_CUT,  /* all is reset, and whatever comes */
	FORWARDER_HOLE, /* no byte moves, nobody is told */
	FORWARDER_END,
};

struct forwarder {
	int port, target;
	int listener;
	pthread_t thread;
	_Atomic(enum forwarder_state) state;
};

void forwarder_start(struct forwarder *forwarder, int target);
void forwarder_set(struct forwarder *forwarder, enum forwarder_state state);
void forwarder_stop(struct forwarder *forwarder);

#endif
