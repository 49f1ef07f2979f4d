/*
 * Judge: see judge.h. Distances are between small integers, so they are exact.
 */
#include "t/faults/judge.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>

static int distance(const struct judge_question *question, const struct ledger_values *values)
{
	int sum = 0;

	for (unsigned i = 0; i < LEDGER_DIMENSIONS; i++) {
		int difference = values->vector[i] - question->vector[i];

		sum += difference * difference;
	}
	return sum;
}

static bool fits(const struct judge_question *question, const struct ledger_values *values)
{
	return question->tag < 0 || values->tag == (unsigned)question->tag;
}

static void tell_row(const struct ledger_row *row, const struct judge_question *question, FILE *out)
{
	for (unsigned i = 0; i < row->count; i++) {
		const struct ledger_entry *entry = &row->entries[i];

		fprintf(out, " %u:%+.3f", entry->version,
		        (double)(entry->begun - question->from) / 1e6);
		if (entry->done == LEDGER_NEVER)
			fprintf(out, "..?");
		else
			fprintf(out, "..%+.3f", (double)(entry->done - question->from) / 1e6);
	}
	fprintf(out, "%s\n", row->unresolved ? " unresolved" : "");
}

/* One row of the answer: NULL, or what is wrong with it. */
static const char *check_row(const struct ledger *ledger, const struct judge_question *question,
                             const struct judge_row *got, const bool *seen)
{
	const struct ledger_row *row;
	struct ledger_values values;

	if (got->id >= ledger->ids)
		return "never existed";
	if (seen[got->id])
		return "is doubled";
	ledger_values(got->id, got->version, &values);
	if (!fits(question, &values))
		return "does not match the filter";
	if (ledger_surely_hidden(ledger, question->table, ledger_part(ledger, got->id),
	                         question->from, question->to))
		return "is of a part that was detached";
	row = ledger_row(ledger, question->table, got->id);
	for (unsigned i = 0; i < row->count; i++) {
		if (row->entries[i].version == got->version &&
		    ledger_possible(row, i, question->from, question->to))
			return NULL;
	}
	return "was not alive";
}

/* Must it be there: whichever version was alive, it matches and is nearer? */
static bool must_be_there(const struct ledger *ledger, const struct judge_question *question,
                          unsigned id, int cut)
{
	const struct ledger_row *row = ledger_row(ledger, question->table, id);

	if (row->count == 0 || ledger_maybe_hidden(ledger, question->table, ledger_part(ledger, id),
	                                           question->from, question->to))
		return false;
	for (unsigned i = 0; i < row->count; i++) {
		struct ledger_values values;

		if (!ledger_possible(row, i, question->from, question->to))
			continue;
		if (row->entries[i].version == LEDGER_GONE)
			return false;
		ledger_values(id, row->entries[i].version, &values);
		if (!fits(question, &values) || distance(question, &values) >= cut)
			return false;
	}
	return true;
}

static bool check_rows(const struct ledger *ledger, const struct judge_question *question,
                       const struct judge_row *rows, unsigned count, bool *seen, int *last,
                       FILE *out)
{
	for (unsigned i = 0; i < count; i++) {
		const char *why = check_row(ledger, question, &rows[i], seen);
		struct ledger_values values;
		int at;

		ledger_values(rows[i].id, rows[i].version, &values);
		at = distance(question, &values);
		if (!why && at < *last)
			why = "is out of order";
		if (why) {
			fprintf(out,
			        "row %u of %u (id %u, version %u, distance² %d) %s; ledger:", i,
			        count, rows[i].id, rows[i].version, at, why);
			if (rows[i].id < ledger->ids)
				tell_row(ledger_row(ledger, question->table, rows[i].id), question,
				         out);
			return false;
		}
		*last = at;
		seen[rows[i].id] = true;
	}
	return true;
}

static unsigned count_missing(const struct ledger *ledger, const struct judge_question *question,
                              const bool *seen, int cut, unsigned *expected, FILE *out)
{
	unsigned missing = 0;

	for (unsigned id = 0; id < ledger->ids; id++) {
		if (!must_be_there(ledger, question, id, cut))
			continue;
		++*expected;
		if (seen[id])
			continue;
		if (missing++ < 5 && question->exact) {
			fprintf(out, "id %u (part %u) is missing, cut at %d; ledger:", id,
			        ledger_part(ledger, id), cut);
			tell_row(ledger_row(ledger, question->table, id), question, out);
		}
	}
	return missing;
}

bool judge_answer(struct ledger *ledger, const struct judge_question *question,
                  const struct judge_row *rows, unsigned count, struct judge_recall *recall,
                  FILE *out)
{
	bool *seen = calloc(ledger->ids, sizeof(*seen)), right = true;
	unsigned missing, expected = 0;
	int last = -1;

	assert(seen);
	ledger_lock(ledger);
	if (count > question->limit) {
		fprintf(out, "%u rows, LIMIT %u\n", count, question->limit);
		right = false;
	}
	right = right && check_rows(ledger, question, rows, count, seen, &last, out);
	if (right) {
		missing = count_missing(ledger, question, seen,
		                        count < question->limit ? INT_MAX : last, &expected, out);
		if (missing > 0 && question->exact) {
			fprintf(out, "%u of %u rows that must be there are missing, %u came\n",
			        missing, expected, count);
			right = false;
		} else if (!question->exact) {
			recall->expected += expected;
			recall->missing += missing;
		}
	}
	ledger_unlock(ledger);
	free(seen);
	return right;
}
