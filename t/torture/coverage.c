/*
 * Coverage: see coverage.h.
 */
#include "t/torture/coverage.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct coverage_kind *find(struct coverage *coverage, const char *tag)
{
	for (unsigned i = 0; i < coverage->count; i++) {
		if (strcmp(coverage->kinds[i].name, tag) == 0)
			return &coverage->kinds[i];
	}
	assert(coverage->count < COVERAGE_MAX);
	coverage->kinds[coverage->count] = (struct coverage_kind){.name = strdup(tag)};
	return &coverage->kinds[coverage->count++];
}

void coverage_add(struct coverage *coverage, const char *tag, bool routed)
{
	struct coverage_kind *kind = find(coverage, tag);

	kind->seen++;
	kind->routed += routed;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct coverage_kind *)a)->name,
	              ((const struct coverage_kind *)b)->name);
}

void coverage_print(const struct coverage *coverage)
{
	struct coverage sorted = *coverage;

	qsort(sorted.kinds, sorted.count, sizeof(sorted.kinds[0]), by_name);
	for (unsigned i = 0; i < sorted.count; i++)
		printf("torture:   %-44s routed %5lu of %5lu\n", sorted.kinds[i].name,
		       sorted.kinds[i].routed, sorted.kinds[i].seen);
}

const char *coverage_gap(const struct coverage *coverage, unsigned long often)
{
	for (unsigned i = 0; i < coverage->count; i++) {
		const struct coverage_kind *kind = &coverage->kinds[i];

		if (kind->name[0] != '!' && kind->routed == 0 && kind->seen >= often)
			return kind->name;
	}
	return NULL;
}

void coverage_free(struct coverage *coverage)
{
	for (unsigned i = 0; i < coverage->count; i++)
		free(coverage->kinds[i].name);
	coverage->count = 0;
}
