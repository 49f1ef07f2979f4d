/*
 * Shrink: see shrink.h. One thing is taken out after another; what makes no
 * difference stays out.
 */
#include "t/torture/shrink.h"

#include <stdlib.h>
#include <string.h>

struct attempt {
	struct stage *stage;
	struct script *script;
	const char *why;
};

/* An unused parameter would be an error of its own. */
static bool uses_parameters(const struct script *script)
{
	for (unsigned i = 0; i < script->nsteps; i++) {
		const struct script_step *step = &script->steps[i];

		for (unsigned call = 0; call < step->ncalls && !step->skip; call++) {
			const struct question *question = step->calls[call].question;

			if (question && !question_uses_parameters(question))
				return false;
		}
	}
	return true;
}

/* Does it still fail? Numbers of what was seen are not of these runs. */
static bool still_fails(struct attempt *attempt)
{
	struct stage_tally *tally = &attempt->stage->tally, before = *tally;
	const char *why;

	if (!uses_parameters(attempt->script))
		return false;
	if (attempt->script->ddl) {
		world_build(attempt->script->world);
		stage_learn(attempt->stage);
	} else if (attempt->script->writes) {
		world_refill(attempt->script->world);
	}
	memset(tally, 0, sizeof(*tally));
	why = stage_run(attempt->stage, attempt->script);
	coverage_free(&tally->coverage);
	*tally = before;
	if (why)
		attempt->why = why;
	return why != NULL;
}

static void drop_steps(struct attempt *attempt)
{
	struct script *script = attempt->script;

	for (unsigned size = script->nsteps; size > 0; size /= 2) {
		for (unsigned from = 0; from < script->nsteps; from += size) {
			struct script before = *script;

			for (unsigned i = from; i < from + size && i < script->nsteps; i++)
				script->steps[i].skip = true;
			if (!still_fails(attempt))
				*script = before;
		}
	}
}

static void drop_calls(struct attempt *attempt, struct script_step *step)
{
	for (unsigned i = step->ncalls; i-- > 0 && step->ncalls > 1;) {
		struct script_step before = *step;

		memmove(&step->calls[i], &step->calls[i + 1],
		        (step->ncalls - i - 1) * sizeof(step->calls[0]));
		step->ncalls--;
		if (!still_fails(attempt))
			*step = before;
	}
}

static void plain_call(struct attempt *attempt, struct script_call *call)
{
	struct script_call before = *call;

#define TRY(change)                                                                                \
	do {                                                                                       \
		before = *call;                                                                    \
		change;                                                                            \
		if (!still_fails(attempt))                                                         \
			*call = before;                                                            \
	} while (0)
	TRY(call->flush = call->sync = call->close = false);
	TRY(call->max_rows = 0; call->again = false);
	TRY(call->describe_statement = false);
	TRY(call->format = 0);
	TRY(call->portal = "");
#undef TRY
}

static void drop_clauses(struct attempt *attempt, struct question *question)
{
	struct question before;

#define TRY(list, count, i)                                                                        \
	do {                                                                                       \
		before = *question;                                                                \
		memmove(&question->list[i], &question->list[(i) + 1],                              \
		        (question->count - (i)-1) * sizeof(question->list[0]));                    \
		question->count--;                                                                 \
		if (!still_fails(attempt))                                                         \
			*question = before;                                                        \
	} while (0)
	for (unsigned i = question->nconditions; i-- > 0;)
		TRY(conditions, nconditions, i);
	for (unsigned i = question->nkeys; i-- > 0;)
		TRY(keys, nkeys, i);
	for (unsigned i = question->ntargets; i-- > 0 && question->ntargets > 1;) {
		const char *name = question->names[i];

		memmove(&question->names[i], &question->names[i + 1],
		        (question->ntargets - i - 1) * sizeof(question->names[0]));
		TRY(targets, ntargets, i);
		if (question->ntargets == before.ntargets) {
			memcpy(question->names, before.names, sizeof(before.names));
			memmove(&question->names[i + 1], &question->names[i],
			        (question->ntargets - i - 1) * sizeof(question->names[0]));
			question->names[i] = name;
		}
	}
#undef TRY
	before = *question;
	question->prefix = question->suffix = "";
	question->other_shape = false;
	if (!still_fails(attempt))
		*question = before;
	before = *question;
	question->limit = " LIMIT 5";
	if (!still_fails(attempt))
		*question = before;
}

const char *shrink(struct stage *stage, struct script *script, const char *why)
{
	struct attempt attempt = {stage, script, why};
	bool fresh = stage->fresh;

	if (getenv("NOSHRINK"))
		return why;
	stage->fresh = true;
	if (!still_fails(&attempt)) {
		stage->fresh = fresh;
		return arena_printf(script->arena, "(not again when repeated) %s", why);
	}
	drop_steps(&attempt);
	for (unsigned i = 0; i < script->nsteps; i++) {
		struct script_step *step = &script->steps[i];

		if (step->skip)
			continue;
		if (!step->simple)
			drop_calls(&attempt, step);
		for (unsigned call = 0; call < step->ncalls; call++) {
			if (!step->simple)
				plain_call(&attempt, &step->calls[call]);
			if (step->calls[call].question)
				drop_clauses(&attempt, step->calls[call].question);
		}
	}
	still_fails(&attempt);
	stage->fresh = fresh;
	return attempt.why;
}
