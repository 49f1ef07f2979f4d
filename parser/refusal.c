/*
 * Refusal: names and texts, both from refusal.def, so that no reason can be
 * without either.
 */
#include "parser/refusal.h"

#include <assert.h>

static const struct {
	const char *name;
	const char *text;
} refusals[REFUSAL_COUNT] = {
#define REFUSAL(name, text) {#name, text},
#include "parser/refusal.def"
#undef REFUSAL
};

const char *refusal_name(enum refusal reason)
{
	assert(reason < REFUSAL_COUNT);
	return refusals[reason].name;
}

const char *refusal_text(enum refusal reason)
{
	assert(reason < REFUSAL_COUNT);
	return refusals[reason].text;
}
