/*
 * Ledger: see ledger.h. Old entries are dropped once no statement can have seen them.
 */
#include "t/faults/ledger.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEPT_US (90 * INT64_C(1000000)) /* longer than any statement may take */
#define COORDINATES 100

int64_t ledger_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

void ledger_values(unsigned id, unsigned version, struct ledger_values *values)
{
	uint64_t chance = mix(id * UINT64_C(0x9e3779b97f4a7c15) + version);

	for (unsigned i = 0; i < LEDGER_DIMENSIONS; i++)
		values->vector[i] = (int)((chance >> (i * 12)) % COORDINATES);
	values->tag = (unsigned)(chance >> 60) % LEDGER_TAGS;
	snprintf(values->note, sizeof(values->note), "n%u.%u", id, version);
}

void ledger_open(struct ledger *ledger, unsigned tables, unsigned parts, unsigned ids)
{
	memset(ledger, 0, sizeof(*ledger));
	pthread_mutex_init(&ledger->mutex, NULL);
	ledger->tables = tables;
	ledger->parts = parts;
	ledger->ids = ids;
	ledger->rows = calloc((size_t)tables * ids, sizeof(*ledger->rows));
	assert(ledger->rows && ids % parts == 0);
}

void ledger_close(struct ledger *ledger)
{
	for (size_t i = 0; i < (size_t)ledger->tables * ledger->ids; i++)
		free(ledger->rows[i].entries);
	free(ledger->rows);
	pthread_mutex_destroy(&ledger->mutex);
}

unsigned ledger_part(const struct ledger *ledger, unsigned id)
{
	return id / (ledger->ids / ledger->parts);
}

void ledger_lock(struct ledger *ledger)
{
	pthread_mutex_lock(&ledger->mutex);
}

void ledger_unlock(struct ledger *ledger)
{
	pthread_mutex_unlock(&ledger->mutex);
}

const struct ledger_row *ledger_row(const struct ledger *ledger, unsigned table, unsigned id)
{
	assert(table < ledger->tables && id < ledger->ids);
	return &ledger->rows[(size_t)table * ledger->ids + id];
}

static struct ledger_row *locked_row(struct ledger *ledger, unsigned table, unsigned id)
{
	ledger_lock(ledger);
	return (struct ledger_row *)ledger_row(ledger, table, id);
}

bool ledger_current(struct ledger *ledger, unsigned table, unsigned id, unsigned *version,
                    unsigned *next)
{
	struct ledger_row *row = locked_row(ledger, table, id);
	bool resolved = !row->unresolved;

	*version = row->count ? row->entries[row->count - 1].version : LEDGER_GONE;
	*next = row->last + 1;
	ledger_unlock(ledger);
	return resolved;
}

/* The first entry stands for all that was before. */
static void forget_old(struct ledger_row *row, int64_t now)
{
	unsigned old = 0;

	while (old + 1 < row->count && row->entries[old + 1].done < now - KEPT_US)
		old++;
	row->count -= old;
	memmove(row->entries, row->entries + old, row->count * sizeof(*row->entries));
}

static void add(struct ledger_row *row, unsigned version, int64_t begun, int64_t done)
{
	if (row->count == row->room) {
		forget_old(row, begun);
		row->room = row->count + 8;
		row->entries = realloc(row->entries, row->room * sizeof(*row->entries));
		assert(row->entries);
	}
	if (row->count == 0) /* it was not there before */
		row->entries[row->count++] = (struct ledger_entry){LEDGER_GONE, 0, 0};
	row->entries[row->count++] =
	    (struct ledger_entry){.version = version, .begun = begun, .done = done};
	if (version > row->last)
		row->last = version;
}

void ledger_begin(struct ledger *ledger, unsigned table, unsigned id, unsigned version)
{
	struct ledger_row *row = locked_row(ledger, table, id);

	assert(!row->unresolved);
	add(row, version, ledger_now(), LEDGER_NEVER);
	ledger_unlock(ledger);
}

void ledger_done(struct ledger *ledger, unsigned table, unsigned id)
{
	struct ledger_row *row = locked_row(ledger, table, id);

	assert(row->count > 0 && row->entries[row->count - 1].done == LEDGER_NEVER);
	row->entries[row->count - 1].done = ledger_now();
	ledger_unlock(ledger);
}

void ledger_withdraw(struct ledger *ledger, unsigned table, unsigned id)
{
	struct ledger_row *row = locked_row(ledger, table, id);

	assert(row->count > 0 && row->entries[row->count - 1].done == LEDGER_NEVER);
	row->count--;
	ledger_unlock(ledger);
}

void ledger_doubt(struct ledger *ledger, unsigned table, unsigned id)
{
	struct ledger_row *row = locked_row(ledger, table, id);

	row->unresolved = true;
	ledger_unlock(ledger);
}

bool ledger_resolve(struct ledger *ledger, unsigned table, unsigned id, unsigned version,
                    unsigned *expected)
{
	struct ledger_row *row = locked_row(ledger, table, id);
	struct ledger_entry *last = row->count ? &row->entries[row->count - 1] : NULL;
	bool right;

	*expected = last ? last->version : LEDGER_GONE;
	right = version == *expected;
	if (last && row->unresolved) {
		if (right) {
			last->done = ledger_now();
		} else if (version == row->entries[row->count - 2].version) {
			row->count--;
			right = true;
		}
	}
	row->unresolved = false;
	ledger_unlock(ledger);
	return right;
}

void ledger_empty_begin(struct ledger *ledger, unsigned table)
{
	int64_t now = ledger_now();

	ledger_lock(ledger);
	for (unsigned id = 0; id < ledger->ids; id++) {
		struct ledger_row *row = (struct ledger_row *)ledger_row(ledger, table, id);

		add(row, LEDGER_GONE, now, LEDGER_NEVER);
		row->unresolved = true;
	}
	ledger_unlock(ledger);
}

void ledger_empty_done(struct ledger *ledger, unsigned table)
{
	int64_t now = ledger_now();

	ledger_lock(ledger);
	for (unsigned id = 0; id < ledger->ids; id++) {
		struct ledger_row *row = (struct ledger_row *)ledger_row(ledger, table, id);

		for (unsigned i = 0; i < row->count; i++) {
			if (row->entries[i].done == LEDGER_NEVER)
				row->entries[i].done = now;
		}
		row->unresolved = false;
	}
	ledger_unlock(ledger);
}

/* ---- hidden parts ---- */

unsigned ledger_hide(struct ledger *ledger, unsigned table, unsigned part)
{
	unsigned hiding;

	ledger_lock(ledger);
	hiding = ledger->nhidings++ % LEDGER_HIDINGS;
	ledger->hidings[hiding] = (struct ledger_hiding){.table = table,
	                                                 .part = part,
	                                                 .hide_begun = ledger_now(),
	                                                 .hide_done = LEDGER_NEVER,
	                                                 .show_begun = LEDGER_NEVER,
	                                                 .show_done = LEDGER_NEVER};
	ledger_unlock(ledger);
	return hiding;
}

void ledger_hiding_is(struct ledger *ledger, unsigned hiding, enum ledger_step step)
{
	struct ledger_hiding *it = &ledger->hidings[hiding];

	ledger_lock(ledger);
	*(step == LEDGER_HIDDEN    ? &it->hide_done
	  : step == LEDGER_SHOWING ? &it->show_begun
	                           : &it->show_done) = ledger_now();
	ledger_unlock(ledger);
}

static bool is_of(const struct ledger_hiding *hiding, unsigned table, unsigned part)
{
	return hiding->hide_begun > 0 && hiding->table == table && hiding->part == part;
}

bool ledger_maybe_hidden(const struct ledger *ledger, unsigned table, unsigned part, int64_t from,
                         int64_t to)
{
	for (unsigned i = 0; i < LEDGER_HIDINGS; i++) {
		const struct ledger_hiding *it = &ledger->hidings[i];

		if (is_of(it, table, part) && it->hide_begun <= to && it->show_done >= from)
			return true;
	}
	return false;
}

bool ledger_surely_hidden(const struct ledger *ledger, unsigned table, unsigned part, int64_t from,
                          int64_t to)
{
	for (unsigned i = 0; i < LEDGER_HIDINGS; i++) {
		const struct ledger_hiding *it = &ledger->hidings[i];

		if (is_of(it, table, part) && it->hide_done < from && it->show_begun > to)
			return true;
	}
	return false;
}

bool ledger_possible(const struct ledger_row *row, unsigned i, int64_t from, int64_t to)
{
	return row->entries[i].begun <= to &&
	       (i + 1 == row->count || row->entries[i + 1].done >= from);
}
