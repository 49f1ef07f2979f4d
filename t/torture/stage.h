/*
 * Stage: runs a script's steps on all servers at once and judges each answer.
 */
#ifndef T_TORTURE_STAGE_H
#define T_TORTURE_STAGE_H

#include <libpq-fe.h>

#include "parser/refusal.h"
#include "t/lib/instance.h"
#include "t/torture/compare.h"
#include "t/torture/coverage.h"
#include "t/torture/script.h"

/* What was seen, over many scripts. */
struct stage_tally {
	unsigned long steps, routed, relayed, refused[REFUSAL_COUNT];
	unsigned long compared, ranked, unchecked, errors;
	struct compare_recall hnsw, ivfflat;
	struct coverage coverage;
};

struct stage {
	struct instance *instance;
	PGconn *sharded, *plain; /* the superuser's */
	struct compare_oids sharded_oids, plain_oids;
	struct stage_tally tally;
	PGconn *workers[2];
	bool eager; /* the coordinator is asked each step at once */
	bool fresh; /* no session is used again */
	struct stage_seats *kept;
};

void stage_open(struct stage *stage, struct instance *instance);
/* After a world was made. */
void stage_learn(struct stage *stage);
void stage_close(struct stage *stage);

/* Ends the sessions that were kept: before pgtopk does. */
void stage_leave(struct stage *stage);

/* What went wrong, in the script's arena; NULL: nothing. */
const char *stage_run(struct stage *stage, struct script *script);

#endif
