/*
 * Ledger: what was committed when, and whether an answer agrees with it.
 *
 * Each item has at most one write on its way. Between a write's begin and its
 * acknowledgement both states are possible; so are they after a write whose end is
 * not known, until somebody has looked. What an answer must hold follows from the
 * moments at which its statement was sent and its last byte came.
 */
#ifndef T_MOVES_LEDGER_H
#define T_MOVES_LEDGER_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#define LEDGER_ITEMS 240
#define LEDGER_DELETED 0 /* a version; the others count from 1 */

/* The nearest `limit` items to a point. */
struct ledger_question {
	int point[3];
	unsigned limit;
	uint64_t sent_us;
};

struct ledger;

struct ledger *ledger_new(void);
void ledger_free(struct ledger *ledger);

/* CLOCK_MONOTONIC. */
uint64_t ledger_now_us(void);

/* The last version, known or not. */
unsigned ledger_version(const struct ledger *ledger, unsigned id);
/* A write is about to be sent; it is then acknowledged, or was without effect. */
void ledger_begin(struct ledger *ledger, unsigned id, unsigned version);
void ledger_committed(struct ledger *ledger, unsigned id);
void ledger_undone(struct ledger *ledger, unsigned id);

/* An item's vector follows from its version: "[1,2,3]". As text(). */
const char *ledger_vector(unsigned id, unsigned version);

/* What is wrong with the answer (id, version, vector), which came just now; NULL: nothing. As text(). */
const char *ledger_check(const struct ledger *ledger, const struct ledger_question *question,
                         const PGresult *answer);

#endif
