/*
 * Suite: what every integration test program does before its first test and after
 * its last: see that the cluster runs and has the items, start pgtopk, stop it. To
 * be included once, by the program's one file.
 *
 * SUITE_OPTIONS may be defined before: pgtopk's further options, each followed by a
 * comma.
 */
#ifndef T_LIB_SUITE_H
#define T_LIB_SUITE_H

#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdio.h>

#include "t/lib/cluster.h"
#include "t/lib/instance.h"
#include "t/lib/items.h"

#ifndef SUITE_OPTIONS
#define SUITE_OPTIONS
#endif

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	static const char *const options[] = {SUITE_OPTIONS NULL};

	(void)set;
	cluster_up();
	items_up();
	instance_start_shared(options);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	instance_stop_shared();
}

/* A test that cannot be run on this machine says so and returns. */
#define SKIP(name, reason) printf("SKIP: %s: %s\n", name, reason)

#endif
