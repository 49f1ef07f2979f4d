/*
 * Faults: what can happen to a cluster. A fault is worked by the campaign's thread while
 * the crew reads and writes; when run() returns, all is as it should be again.
 */
#ifndef T_FAULTS_FAULTS_H
#define T_FAULTS_FAULTS_H

#include "t/faults/crew.h"
#include "t/torture/dice.h"

/* a session that lost its connection, or a node that lost another */
#define FAULTS_LOST "- 57P01 57P02 57P03 08000 08001 08003 08006 53300"
#define FAULTS_LOCKS "40P01 55P03 40001"

struct fault {
	const char *name;
	const char *states; /* the SQLSTATEs that it excuses */
	void (*run)(struct crew *crew, struct dice *dice);
	unsigned heal_ms; /* within so long all is well again */
};

/* Each list ends with a name of NULL. */
extern const struct fault node_faults[];    /* servers, processes, networks, pgtopk itself */
extern const struct fault table_faults[];   /* partitions, columns, indexes */
extern const struct fault storage_faults[]; /* disks */

/* For those who write faults: a moment in which the crew goes on. */
void faults_pause(struct dice *dice, int from_ms, int to_ms);

#endif
