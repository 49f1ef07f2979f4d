/*
 * Crowd: clients of pgtopk that write and ask all the time, while a script does what
 * it does to the cluster. One thread; each client has one statement on its way.
 *
 * Writers insert, update and delete items one by one and keep the ledger. Readers ask
 * for the nearest items, by both protocols, alone and within READ COMMITTED blocks;
 * each answer is checked against the ledger. No statement may take longer than the
 * deadline.
 */
#ifndef T_MOVES_CROWD_H
#define T_MOVES_CROWD_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "t/lib/instance.h"
#include "t/torture/dice.h"

#define CROWD_TABLE "moving_items"
#define CROWD_DEADLINE_US (20 * 1000 * 1000u)

struct crowd;

/* Servers are killed: a client may lose its connection or be told so. Else no statement may fail. */
struct crowd *crowd_new(struct instance *instance, uint64_t seed, bool errors);
void crowd_free(struct crowd *crowd);

/*
 * Everybody works until `until_us` (ledger_now_us()), or until `other`, whose statement is on its
 * way (NULL: nobody), is done. What is wrong is printed.
 */
void crowd_work(struct crowd *crowd, PGconn *other, uint64_t until_us);

struct crowd_counts {
	unsigned reads, writes, errors, wrong;
	unsigned slowest_ms;
};

const struct crowd_counts *crowd_counts(const struct crowd *crowd);

#endif
