/*
 * Torture: random worlds and scripts, each run through pgtopk, on one PostgreSQL
 * with the same rows and on the coordinator directly, and compared.
 *
 * A case's number and the seed make it what it is: it can be run alone.
 */
#ifndef T_TORTURE_TORTURE_H
#define T_TORTURE_TORTURE_H

#include <stdint.h>

#include "t/lib/instance.h"

struct torture_run {
	uint64_t seed;
	unsigned cases;   /* at most so many scripts; 0: any number */
	unsigned seconds; /* at most so long; 0: any time */
	int only;         /* this case alone; -1: all */
	unsigned failures_max;
	const char *folder; /* where what fails is written to */
};

/* Returns the number of failures; says what was done and what failed on stdout. */
unsigned torture(const struct torture_run *run);

#endif
