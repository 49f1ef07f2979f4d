/*
 * Steps: see steps.h. The ring is kept when it empties: a connection's next
 * pipeline is about as long as its last.
 */
#include "proxy/steps.h"

#include <assert.h>
#include <stdlib.h>

static void grow(struct steps *steps)
{
	unsigned cap = steps->cap ? 2 * steps->cap : 32;
	struct step *ring = malloc(cap * sizeof(*ring));

	if (!ring)
		abort();
	for (unsigned i = 0; i < steps->count; i++)
		ring[i] = steps->ring[(steps->first + i) & (steps->cap - 1)];
	free(steps->ring);
	steps->ring = ring;
	steps->cap = cap;
	steps->first = 0;
}

void steps_push(struct steps *steps, enum step_kind kind, unsigned id,
                struct prepared_statement *statement)
{
	if (steps->count == steps->cap)
		grow(steps);
	if (statement)
		prepared_ref(statement);
	steps->ring[(steps->first + steps->count++) & (steps->cap - 1)] =
	    (struct step){.kind = kind, .id = id, .statement = statement};
}

void steps_pop(struct steps *steps)
{
	struct step *step = steps_first(steps);

	assert(step);
	if (step->statement)
		prepared_unref(step->statement);
	steps->first = (steps->first + 1) & (steps->cap - 1);
	steps->count--;
}

void steps_fini(struct steps *steps)
{
	while (steps->count)
		steps_pop(steps);
	free(steps->ring);
	*steps = (struct steps){0};
}
