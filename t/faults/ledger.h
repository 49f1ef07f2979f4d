/*
 * Ledger: what was written when. A row is known by its table and id, what is in it by
 * its version; of each version is kept when its write was begun (before it was sent) and
 * done (acknowledged). What is not known to have happened may have, until it is resolved.
 *
 * Times are of ledger_now(). A row has one writer at a time; all calls lock.
 */
#ifndef T_FAULTS_LEDGER_H
#define T_FAULTS_LEDGER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define LEDGER_NEVER INT64_MAX
#define LEDGER_GONE 0 /* the version of a row that is not there */
#define LEDGER_DIMENSIONS 4
#define LEDGER_TAGS 4
#define LEDGER_HIDINGS 8

struct ledger_entry {
	unsigned version;
	int64_t begun, done; /* done: LEDGER_NEVER until it is known */
};

struct ledger_row {
	struct ledger_entry *entries;
	unsigned count, room;
	unsigned last;   /* the highest version there ever was */
	bool unresolved; /* nobody writes it any more */
};

/* A part of a table that is not to be seen for a while; ids are dealt out to parts in order. */
struct ledger_hiding {
	unsigned table, part;
	int64_t hide_begun, hide_done, show_begun, show_done;
};

struct ledger {
	pthread_mutex_t mutex;
	unsigned tables, parts, ids; /* of each table */
	struct ledger_row *rows;
	struct ledger_hiding hidings[LEDGER_HIDINGS]; /* the latest ones, in turn */
	unsigned nhidings;
};

/* What the row (id, version) has in its columns. */
struct ledger_values {
	int vector[LEDGER_DIMENSIONS];
	unsigned tag;
	char note[32];
};

int64_t ledger_now(void); /* microseconds */
void ledger_values(unsigned id, unsigned version, struct ledger_values *values);

void ledger_open(struct ledger *ledger, unsigned tables, unsigned parts, unsigned ids);
void ledger_close(struct ledger *ledger);
unsigned ledger_part(const struct ledger *ledger, unsigned id);

/* The version the row has now and the next one's number; false: it is unresolved. */
bool ledger_current(struct ledger *ledger, unsigned table, unsigned id, unsigned *version,
                    unsigned *next);
/* A write: begun now; then one of the three below. */
void ledger_begin(struct ledger *ledger, unsigned table, unsigned id, unsigned version);
void ledger_done(struct ledger *ledger, unsigned table, unsigned id);
void ledger_withdraw(struct ledger *ledger, unsigned table, unsigned id); /* it did nothing */
void ledger_doubt(struct ledger *ledger, unsigned table, unsigned id);
/* What is there now, while nobody writes. False: it cannot be; *expected is what should be. */
bool ledger_resolve(struct ledger *ledger, unsigned table, unsigned id, unsigned version,
                    unsigned *expected);
/* All rows of a table are gone: begin before, done after it. */
void ledger_empty_begin(struct ledger *ledger, unsigned table);
void ledger_empty_done(struct ledger *ledger, unsigned table);

/* A part is hidden: a number for ledger_hiding_is(). */
unsigned ledger_hide(struct ledger *ledger, unsigned table, unsigned part);
enum ledger_step { LEDGER_HIDDEN, LEDGER_SHOWING, LEDGER_SHOWN };
void ledger_hiding_is(struct ledger *ledger, unsigned hiding, enum ledger_step step);

/* Held by the caller from here on, for the questions below; of a window of time. */
void ledger_lock(struct ledger *ledger);
void ledger_unlock(struct ledger *ledger);
bool ledger_maybe_hidden(const struct ledger *ledger, unsigned table, unsigned part, int64_t from,
                         int64_t to);
bool ledger_surely_hidden(const struct ledger *ledger, unsigned table, unsigned part, int64_t from,
                          int64_t to);
/* Could the row's i-th entry be what a statement saw in that window? */
bool ledger_possible(const struct ledger_row *row, unsigned i, int64_t from, int64_t to);
const struct ledger_row *ledger_row(const struct ledger *ledger, unsigned table, unsigned id);

#endif
