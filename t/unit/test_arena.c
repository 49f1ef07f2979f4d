/*
 * Arena: alignment, growth, strings, and that everything is freed (a leak or a
 * write past an allocation is the sanitizers' to find).
 */
#include <criterion/criterion.h>
#include <stdalign.h>
#include <stdint.h>
#include <string.h>

#include "merge/arena.h"

Test(arena, empty_and_null_are_freed)
{
	struct arena *arena = arena_new();

	cr_assert_eq(arena_used(arena), 0);
	arena_free(arena);
	arena_free(NULL);
}

Test(arena, allocations_are_aligned_and_do_not_overlap)
{
	struct arena *arena = arena_new();
	uint8_t *parts[500];

	for (size_t i = 0; i < 500; i++) {
		parts[i] = arena_alloc(arena, i);
		cr_assert_eq((uintptr_t)parts[i] % alignof(max_align_t), 0);
		memset(parts[i], (int)(i & 0xff), i);
	}
	for (size_t i = 0; i < 500; i++)
		for (size_t j = 0; j < i; j++)
			cr_assert_eq(parts[i][j], i & 0xff);
	arena_free(arena);
}

Test(arena, big_allocations_get_a_chunk_of_their_own)
{
	struct arena *arena = arena_new();
	uint8_t *first = arena_alloc(arena, 100);
	uint8_t *big = arena_alloc(arena, 10 * 1024 * 1024);
	uint8_t *second = arena_alloc(arena, 100);

	memset(first, 1, 100);
	memset(big, 2, 10 * 1024 * 1024);
	memset(second, 3, 100);
	cr_assert_eq(second - first, 112, "the rest of the first chunk goes on being used");
	cr_assert_eq(first[99], 1);
	cr_assert_eq(big[10 * 1024 * 1024 - 1], 2);
	cr_assert_geq(arena_used(arena), 10 * 1024 * 1024 + 200);
	arena_free(arena);
}

Test(arena, big_first_allocation)
{
	struct arena *arena = arena_new();
	uint8_t *big = arena_alloc(arena, 1024 * 1024);

	memset(big, 1, 1024 * 1024);
	memset(arena_alloc(arena, 1), 2, 1);
	cr_assert_eq(big[1024 * 1024 - 1], 1);
	arena_free(arena);
}

Test(arena, empty_allocations_have_addresses_of_their_own)
{
	struct arena *arena = arena_new();
	void *a = arena_alloc(arena, 0);
	void *b = arena_alloc(arena, 0);

	cr_assert_not_null(a);
	cr_assert_neq(a, b);
	cr_assert_not_null(arena_calloc(arena, 0, 8));
	cr_assert_not_null(arena_calloc(arena, 8, 0));
	arena_free(arena);
}

Test(arena, calloc_zeroes)
{
	struct arena *arena = arena_new();

	memset(arena_alloc(arena, 64), 0xff, 64);
	for (int round = 0; round < 100; round++) {
		uint8_t *zeroed = arena_calloc(arena, 33, 7);

		for (int i = 0; i < 33 * 7; i++)
			cr_assert_eq(zeroed[i], 0);
		memset(zeroed, 0xff, (size_t)33 * 7);
	}
	arena_free(arena);
}

Test(arena, strings)
{
	struct arena *arena = arena_new();
	char *text = arena_strndup(arena, "abc\0def", 7);
	char *formatted;

	cr_assert_eq(memcmp(text, "abc\0def", 8), 0);
	cr_assert_str_eq(arena_strndup(arena, NULL, 0), "");
	cr_assert_str_eq(arena_strdup(arena, "shard"), "shard");
	cr_assert_str_eq(arena_strdup(arena, ""), "");
	cr_assert_str_eq(arena_printf(arena, "%s", ""), "");
	cr_assert_str_eq(arena_printf(arena, "%s_%d", "items", 102008), "items_102008");
	formatted = arena_printf(arena, "%5000d", 7);
	cr_assert_eq(strlen(formatted), 5000);
	cr_assert_eq(formatted[4999], '7');
	arena_free(arena);
}

Test(arena, used_grows_with_what_is_handed_out)
{
	struct arena *arena = arena_new();
	size_t before = 0;

	for (size_t i = 0; i < 1000; i++) {
		arena_alloc(arena, i);
		cr_assert_geq(arena_used(arena), before + i);
		before = arena_used(arena);
	}
	arena_free(arena);
}
