/*
 * Random tables, statements and sessions, each answered through pgtopk and by one
 * PostgreSQL with the same rows: see t/torture/torture.h.
 *
 * SEED=, CASE= (one alone), CASES= and TIME= (seconds) of the environment choose
 * what is run; without them it is always the same short form.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdlib.h>

#include "t/lib/cluster.h"
#include "t/torture/torture.h"
#include "t/torture/world.h"

#define SEED 20250302
#define CASES 2500
#define CITUS_CASES 300

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	(void)set;
	cluster_up();
}

static const char *chosen(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static unsigned number(const char *name, unsigned otherwise)
{
	const char *value = chosen(name);

	return value ? (unsigned)strtoul(value, NULL, 10) : otherwise;
}

Test(torture, the_same_answer_as_one_postgresql)
{
	struct torture_run run = {
	    .seed = chosen("SEED") ? strtoull(chosen("SEED"), NULL, 10) : SEED,
	    .cases = number("CASES", chosen("TIME")       ? 0
	                             : cluster_is_citus() ? CITUS_CASES
	                                                  : CASES),
	    .seconds = number("TIME", 0),
	    .only = chosen("CASE") ? (int)number("CASE", 0) : -1,
	    .failures_max = number("FAILURES", 3),
	    .folder = chosen("PGTOPK_BUILDDIR") ? chosen("PGTOPK_BUILDDIR") : ".",
	};

	world_prepare();
	cr_assert_eq(torture(&run), 0);
}
