/*
 * Ranked: judges an answer by the complete one, in which each row has its rank.
 * See compare_ranked().
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "t/torture/compare.h"

struct ranked {
	const struct compare_rows *all;
	unsigned *ranks;
	size_t *lengths; /* of the row without its rank, and without the number of columns */
	bool *used;
};

static void read_ranks(struct ranked *ranked, const struct compare_rows *all, struct arena *arena)
{
	ranked->all = all;
	ranked->ranks = arena_calloc(arena, all->count + 1, sizeof(*ranked->ranks));
	ranked->lengths = arena_calloc(arena, all->count + 1, sizeof(*ranked->lengths));
	ranked->used = arena_calloc(arena, all->count + 1, sizeof(*ranked->used));
	for (unsigned i = 0; i < all->count; i++) {
		struct wire_reader reader;
		struct wire_value value = {0};
		int count = wire_read_data_row(all->rows[i]->body, all->rows[i]->len, &reader);

		for (int column = 0; column < count; column++)
			wire_read_value(&reader, &value);
		assert(value.len > 0);
		ranked->ranks[i] = (unsigned)atoi(
		    arena_strndup(arena, (const char *)value.data, (size_t)value.len));
		ranked->lengths[i] = all->rows[i]->len - 2 - 4 - (size_t)value.len;
	}
}

static bool is_row(const struct ranked *ranked, unsigned i, const struct talk_message *row)
{
	return row->len == ranked->lengths[i] + 2 &&
	       memcmp(row->body + 2, ranked->all->rows[i]->body + 2, ranked->lengths[i]) == 0;
}

/* An unused row like that whose rank is at least / exactly so; -1: none. */
static int find(const struct ranked *ranked, const struct talk_message *row, unsigned rank,
                bool exactly)
{
	for (unsigned i = 0; i < ranked->all->count; i++) {
		if (!ranked->used[i] && ranked->ranks[i] >= rank &&
		    (!exactly || ranked->ranks[i] == rank) && is_row(ranked, i, row))
			return (int)i;
	}
	return -1;
}

/* The first row that is not of its place's rank, if the first place is `shift`; -1: all are. */
static int first_wrong(struct ranked *ranked, const struct compare_rows *rows, unsigned shift)
{
	memset(ranked->used, 0, ranked->all->count * sizeof(*ranked->used));
	for (unsigned i = 0; i < rows->count; i++) {
		int found;

		if (shift + i >= ranked->all->count)
			return (int)i;
		found = find(ranked, rows->rows[i], ranked->ranks[shift + i], true);
		if (found < 0)
			return (int)i;
		ranked->used[found] = true;
	}
	return -1;
}

static const char *check_order(struct ranked *ranked, const struct compare_rows *rows,
                               unsigned last, struct compare_recall *recall, struct arena *arena)
{
	unsigned rank = 0;

	memset(ranked->used, 0, ranked->all->count * sizeof(*ranked->used));
	for (unsigned i = 0; i < rows->count; i++) {
		int found = find(ranked, rows->rows[i], rank, false);

		if (found < 0)
			return arena_printf(arena, "row %u is not in the answer, or out of order",
			                    i);
		ranked->used[found] = true;
		rank = ranked->ranks[found];
		recall->rows++;
		recall->found += rank <= last;
	}
	return NULL;
}

const char *compare_ranked(const struct compare_rows *got, const struct compare_rows *wanted,
                           const struct compare_rows *all, struct compare_recall *recall,
                           struct arena *arena)
{
	struct ranked ranked;
	const char *why = NULL;

	read_ranks(&ranked, all, arena);
	for (unsigned shift = 0; shift + wanted->count <= all->count; shift++) {
		int wrong;

		if (first_wrong(&ranked, wanted, shift) >= 0)
			continue;
		wrong = first_wrong(&ranked, got, shift);
		if (wrong < 0 && recall) {
			recall->rows += got->count;
			recall->found += got->count;
		}
		if (wrong < 0)
			return NULL;
		if (recall)
			return check_order(&ranked, got, ranked.ranks[shift + wanted->count - 1],
			                   recall, arena);
		if (!why)
			why = arena_printf(arena, "row %d is not one of rank %u", wrong,
			                   ranked.ranks[shift + (unsigned)wrong]);
	}
	return why ? why : "the wanted rows do not fit the complete answer";
}
