/*
 * Steps: what was sent to a worker and is not answered yet, in order: one step
 * per expected end of an answer. A queue in a ring that grows.
 */
#ifndef PROXY_STEPS_H
#define PROXY_STEPS_H

#include <stdbool.h>

#include "proxy/prepared.h"

enum step_kind {
	STEP_PARSE,
	STEP_DESCRIBE,
	STEP_QUERY,    /* Bind and Execute */
	STEP_SETTINGS, /* the same; its row is the worker's own */
	STEP_CLOSE,
	STEP_SYNC,
};

struct step {
	enum step_kind kind;
	bool bound; /* BindComplete has come */
	unsigned id;
	struct prepared_statement *statement; /* a reference; NULL with STEP_SYNC */
};

struct steps {
	struct step *ring; /* its size is a power of two */
	unsigned first, count, cap;
};

static inline struct step *steps_first(const struct steps *steps)
{
	return steps->count ? &steps->ring[steps->first] : NULL;
}

/* Takes a reference to the statement (NULL is allowed). */
void steps_push(struct steps *steps, enum step_kind kind, unsigned id,
                struct prepared_statement *statement);
void steps_pop(struct steps *steps);
void steps_fini(struct steps *steps);

#endif
