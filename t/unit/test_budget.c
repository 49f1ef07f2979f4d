/*
 * Budget: what each shard is asked for.
 */
#include <criterion/criterion.h>

#include "merge/budget.h"

static struct budget make(uint64_t limit, uint64_t offset, double overfetch, int ef_search,
                          bool iterative)
{
	struct budget_request request = {
	    .limit = limit,
	    .offset = offset,
	    .overfetch = overfetch,
	    .ef_search = ef_search,
	    .iterative_scans = iterative,
	};
	struct budget budget;

	cr_assert(budget_make(&request, &budget));
	return budget;
}

static bool refused(uint64_t limit, uint64_t offset, double overfetch)
{
	struct budget_request request = {.limit = limit, .offset = offset, .overfetch = overfetch};
	struct budget budget;

	return !budget_make(&request, &budget);
}

Test(budget, small_k_has_pgvectors_default)
{
	struct budget budget = make(10, 0, 1.0, 0, true);

	cr_assert_eq(budget.rows, 10);
	cr_assert_eq(budget.ef_search, 40);
	cr_assert_eq(budget.probes, 0);
	cr_assert(budget.iterative_scans);
	cr_assert_not(budget.capped);
}

/* Trap 1: k > ef_search gives a short answer that looks fine. */
Test(budget, trap_01_ef_search_is_never_below_the_rows)
{
	cr_assert_eq(make(41, 0, 1.0, 0, true).ef_search, 41);
	cr_assert_eq(make(100, 0, 1.0, 40, true).ef_search, 100);
	cr_assert_eq(make(90, 10, 1.0, 0, false).ef_search, 100);
	cr_assert_not(make(90, 10, 1.0, 0, false).capped);
	cr_assert_eq(make(1000, 0, 1.0, 0, false).ef_search, 1000);
	cr_assert_not(make(1000, 0, 1.0, 0, false).capped);
}

/* Trap 1: k > 1000 is above what ef_search can be. */
Test(budget, trap_01_above_pgvectors_maximum)
{
	struct budget budget = make(1001, 0, 1.0, 0, true);

	cr_assert_eq(budget.rows, 1001);
	cr_assert_eq(budget.ef_search, 1000);
	cr_assert_not(budget.capped, "an iterative scan goes on");
	budget = make(1001, 0, 1.0, 0, false);
	cr_assert_eq(budget.ef_search, 1000);
	cr_assert(budget.capped);
	cr_assert_eq(make(INT64_MAX, 0, 1.0, 0, true).ef_search, 1000);
}

Test(budget, what_the_session_has_set_wins_where_it_is_more)
{
	cr_assert_eq(make(10, 0, 1.0, 200, true).ef_search, 200);
	cr_assert_eq(make(10, 0, 1.0, 20, true).ef_search, 20);
	cr_assert_eq(make(10, 0, 1.0, 5, true).ef_search, 10);
	cr_assert_eq(make(10, 0, 1.0, 1000, true).ef_search, 1000);
}

Test(budget, probes_are_the_sessions)
{
	struct budget_request request = {.limit = 10, .overfetch = 1.0, .probes = 32};
	struct budget budget;

	cr_assert(budget_make(&request, &budget));
	cr_assert_eq(budget.probes, 32);
}

/* Trap 5: OFFSET is cut from the merged rows, so each shard gives limit + offset. */
Test(budget, trap_05_offset_is_asked_of_every_shard)
{
	cr_assert_eq(make(10, 90, 1.0, 0, true).rows, 100);
	cr_assert_eq(make(10, 90, 1.5, 0, true).rows, 150);
}

Test(budget, overfetch_is_rounded_up)
{
	cr_assert_eq(make(10, 0, 1.1, 0, true).rows, 11);
	cr_assert_eq(make(10, 0, 1.01, 0, true).rows, 11);
	cr_assert_eq(make(1, 0, 1.0000001, 0, true).rows, 2);
	cr_assert_eq(make(3, 0, 2.5, 0, true).rows, 8);
	cr_assert_eq(make(10, 0, 100, 0, true).rows, 1000);
	cr_assert_eq(make(10, 0, 100, 0, true).ef_search, 1000);
}

static struct budget of_filter(uint64_t limit, double overfetch, unsigned shards)
{
	struct budget_request request = {
	    .limit = limit,
	    .overfetch = overfetch,
	    .filtered = true,
	    .shards = shards,
	    .iterative_scans = true,
	};
	struct budget budget;

	cr_assert(budget_make(&request, &budget));
	return budget;
}

Test(budget, a_filter_asks_few_shards_for_more_rows)
{
	cr_assert_eq(of_filter(10, 1.0, 1).rows, 100);
	cr_assert_eq(of_filter(10, 1.0, 1).ef_search, 100);
	cr_assert_eq(of_filter(10, 1.0, 2).rows, 50);
	cr_assert_eq(of_filter(10, 1.0, 8).rows, 13); /* rounded up */
	cr_assert_eq(of_filter(10, 1.0, 9).rows, 12);
	cr_assert_eq(of_filter(1, 1.0, 2).rows, 50); /* as for ten */
	cr_assert_eq(of_filter(1, 1.0, 16).rows, 7);
}

Test(budget, with_many_shards_a_filter_changes_nothing)
{
	cr_assert_eq(of_filter(10, 1.0, 10).rows, 10);
	cr_assert_eq(of_filter(10, 1.0, 32).rows, 10);
	cr_assert_eq(of_filter(1, 1.0, 128).rows, 1);
	cr_assert_eq(of_filter(INT64_MAX, 1.0, 10).rows, INT64_MAX);
	cr_assert_eq(of_filter(10, 1.0, 0).rows, 10); /* a table without shards */
}

Test(budget, a_filter_and_overfetch_are_not_added_up)
{
	cr_assert_eq(of_filter(10, 2.0, 2).rows, 50);
	cr_assert_eq(of_filter(10, 7.0, 2).rows, 70);
}

Test(budget, what_a_filter_adds_is_bounded)
{
	cr_assert_eq(of_filter(100, 1.0, 1).rows, 1000);
	cr_assert_eq(of_filter(1000, 1.0, 1).rows, 3000);
	cr_assert_eq(of_filter(9999, 1.0, 9).rows, 11110);
	cr_assert_eq(of_filter(1000000, 1.0, 2).rows, 1002000);
	cr_assert_eq(of_filter(INT64_MAX, 1.0, 2).rows, INT64_MAX);
	cr_assert_eq(of_filter(INT64_MAX - 10, 1.0, 2).rows, INT64_MAX);
	cr_assert_eq(of_filter(0, 1.0, 2).rows, 0);
}

Test(budget, without_a_filter_few_shards_are_asked_for_no_more)
{
	struct budget_request request = {.limit = 10, .overfetch = 1.0, .shards = 2};
	struct budget budget;

	cr_assert(budget_make(&request, &budget));
	cr_assert_eq(budget.rows, 10);
}

/* Trap 5: LIMIT 0. */
Test(budget, trap_05_limit_zero)
{
	struct budget budget = make(0, 0, 1.0, 0, true);

	cr_assert_eq(budget.rows, 0);
	cr_assert_eq(budget.ef_search, 40);
}

/* Trap 5: overflow of the sum. */
Test(budget, trap_05_overflow_is_refused)
{
	cr_assert(refused((uint64_t)INT64_MAX + 1, 0, 1.0));
	cr_assert(refused(0, (uint64_t)INT64_MAX + 1, 1.0));
	cr_assert(refused(INT64_MAX, 1, 1.0));
	cr_assert(refused(INT64_MAX, INT64_MAX, 1.0));
	cr_assert(refused(UINT64_MAX, 2, 1.0));
	cr_assert(refused(INT64_MAX, 0, 1.5));
	cr_assert(refused(INT64_MAX / 50, 0, 100));
}

Test(budget, largest_numbers_are_exact)
{
	uint64_t rows;

	/* A double would round INT64_MAX up to 2^63 and these to something less. */
	cr_assert_eq(make(INT64_MAX, 0, 1.0, 0, true).rows, INT64_MAX);
	cr_assert_eq(make((INT64_C(1) << 53) + 1, 0, 1.0, 0, true).rows, (INT64_C(1) << 53) + 1);
	rows = make((INT64_C(1) << 53) + 1, 0, 1.0000000000000002, 0, true).rows;
	cr_assert_geq(rows, (INT64_C(1) << 53) + 1);
}
