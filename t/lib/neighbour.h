/*
 * Neighbour: a well-behaved session in the same pgtopk, beside a test of bad ones: it
 * asks plain and vector queries all the while and must get its answers, each within two
 * seconds. Runs in a thread of its own.
 */
#ifndef T_LIB_NEIGHBOUR_H
#define T_LIB_NEIGHBOUR_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "t/lib/instance.h"

struct neighbour {
	PGconn *conn;
	pthread_t thread;
	atomic_bool ending;
	unsigned answers;
	long slowest_ms;
	char complaint[512];
};

/* more: added to the conninfo, or NULL. */
void neighbour_start(struct neighbour *neighbour, const struct instance *instance,
                     const char *more);
/* Fails the test if the neighbour has noticed anything. */
void neighbour_stop(struct neighbour *neighbour);

#endif
