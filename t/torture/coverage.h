/*
 * Coverage: how often each kind of question was asked, and how often it was routed:
 * a kind that never is, though it should be, is tested no more.
 *
 * A kind is a tag. Those that begin with '!' are the coordinator's.
 */
#ifndef T_TORTURE_COVERAGE_H
#define T_TORTURE_COVERAGE_H

#include <stdbool.h>

#define COVERAGE_MAX 512

struct coverage {
	unsigned count;
	struct coverage_kind {
		char *name;
		unsigned long seen, routed;
	} kinds[COVERAGE_MAX];
};

void coverage_add(struct coverage *coverage, const char *tag, bool routed);
void coverage_print(const struct coverage *coverage);
/* A tag that was seen at least so often and never routed; NULL: none. */
const char *coverage_gap(const struct coverage *coverage, unsigned long often);
void coverage_free(struct coverage *coverage);

#endif
