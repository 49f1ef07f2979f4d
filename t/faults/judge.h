/*
 * Judge: is an answer one that the table could give at some moment of its window? Every
 * row must have been alive then, none twice, in order, and what was surely alive and
 * nearer than the last row must be among them.
 */
#ifndef T_FAULTS_JUDGE_H
#define T_FAULTS_JUDGE_H

#include <stdbool.h>
#include <stdio.h>

#include "t/faults/ledger.h"

struct judge_question {
	unsigned table;
	int vector[LEDGER_DIMENSIONS];
	int tag; /* -1: all of them */
	unsigned limit;
	bool exact;       /* no vector index may have a say */
	int64_t from, to; /* when it was asked, when it was answered */
};

struct judge_row {
	unsigned id, version;
};

/* Of approximate answers: rows that had to be there, and those of them that were not. */
struct judge_recall {
	unsigned long expected, missing;
};

/* False: it is wrong; why is written to `out`. */
bool judge_answer(struct ledger *ledger, const struct judge_question *question,
                  const struct judge_row *rows, unsigned count, struct judge_recall *recall,
                  FILE *out);

#endif
