/*
 * Writer: inserts, updates and deletes rows of its own, alone or a few in one
 * transaction, some of which are rolled back, and keeps the ledger of it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "t/faults/crew.h"

#define ROWS_MAX 3
#define PAUSE_US 4000

struct job {
	struct seat *seat;
	unsigned table;
	unsigned ids[ROWS_MAX];
	unsigned count; /* begun in the ledger */
	int64_t begun;
};

static void compose(char *sql, size_t size, const struct job *job, unsigned id, unsigned from,
                    unsigned to)
{
	const char *table = site_table_name(job->table);
	struct ledger_values values;
	const int *v = values.vector;

	ledger_values(id, to, &values);
	if (to == LEDGER_GONE)
		snprintf(sql, size, "DELETE FROM %s WHERE id = %u", table, id);
	else if (from == LEDGER_GONE)
		snprintf(sql, size,
		         "INSERT INTO %s (id, version, tag, note, e) "
		         "VALUES (%u, %u, %u, '%s', '[%d,%d,%d,%d]')",
		         table, id, to, values.tag, values.note, v[0], v[1], v[2], v[3]);
	else
		snprintf(sql, size,
		         "UPDATE %s SET version = %u, tag = %u, note = '%s', e = '[%d,%d,%d,%d]' "
		         "WHERE id = %u",
		         table, to, values.tag, values.note, v[0], v[1], v[2], v[3], id);
}

/* What it did to the ledger, for all rows of the job. */
static void conclude(struct job *job, void (*how)(struct ledger *, unsigned, unsigned))
{
	for (unsigned i = 0; i < job->count; i++)
		how(&job->seat->crew->ledger, job->table, job->ids[i]);
}

/* Errors of a statement by itself that come before anything could be committed. */
static bool did_nothing(const struct seat *seat)
{
	static const char *const states[] = {"23514", "42P01", "42703", "55P03",
	                                     "40P01", "0A000", "40001", "53100"};

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		if (strcmp(states[i], seat->state) == 0)
			return true;
	}
	return false;
}

enum stage { ALONE, IN_BLOCK, COMMIT };

static void fail(struct job *job, enum stage stage)
{
	struct seat *seat = job->seat;
	/* in a block COMMIT was not sent; where it was, some nodes may have committed */
	bool nothing = stage == IN_BLOCK || (stage == ALONE && did_nothing(seat));

	if (seat->conn && PQtransactionStatus(seat->conn) != PQTRANS_IDLE &&
	    seat_command(seat, "ROLLBACK") < 0)
		seat_close(seat); /* postgres_fdw may fail a ROLLBACK: the block goes on */
	conclude(job, nothing ? ledger_withdraw : ledger_doubt);
}

/* A row that was not there to be changed: only in a part that was hidden. */
static bool check_touched(struct job *job, unsigned id, int touched, const char *sql)
{
	struct ledger *ledger = &job->seat->crew->ledger;
	bool hidden;

	if (touched == 1)
		return true;
	ledger_lock(ledger);
	hidden = ledger_maybe_hidden(ledger, job->table, ledger_part(ledger, id), job->begun,
	                             ledger_now());
	ledger_unlock(ledger);
	if (!hidden || touched != 0)
		crew_fail(job->seat->crew, "seat %u: %d rows touched by %s", job->seat->number,
		          touched, sql);
	return false;
}

/* False: it failed, and the job is at its end. */
static bool write_one(struct job *job, enum stage stage)
{
	struct seat *seat = job->seat;
	struct ledger *ledger = &seat->crew->ledger;
	unsigned version, next,
	    id = seat_below(seat, ledger->ids / CREW_WRITERS) * CREW_WRITERS +
	         (seat->number - CREW_READERS);
	char sql[300];
	int touched;

	for (unsigned i = 0; i < job->count; i++) {
		if (job->ids[i] == id)
			return true;
	}
	if (id >= ledger->ids || !ledger_current(ledger, job->table, id, &version, &next))
		return true;
	if (version != LEDGER_GONE && seat_below(seat, 3) == 0)
		next = LEDGER_GONE;
	compose(sql, sizeof(sql), job, id, version, next);
	job->ids[job->count++] = id;
	ledger_begin(ledger, job->table, id, next);
	touched = seat_command(seat, sql);
	if (touched < 0) {
		fail(job, stage);
		return false;
	}
	if (!check_touched(job, id, touched, sql)) {
		ledger_withdraw(ledger, job->table, id);
		job->count--;
	}
	return true;
}

static void write_block(struct job *job)
{
	struct seat *seat = job->seat;

	if (seat_command(seat, "BEGIN") < 0)
		return;
	for (unsigned i = 0; i < ROWS_MAX; i++) {
		if (!write_one(job, IN_BLOCK))
			return;
	}
	if (seat_below(seat, 5) == 0) {
		if (seat_command(seat, "ROLLBACK") < 0)
			seat_close(seat);
		conclude(job, ledger_withdraw); /* answered or not */
	} else if (seat_command(seat, "COMMIT") < 0) {
		fail(job, COMMIT);
	} else {
		conclude(job, ledger_done);
	}
}

void writer_live(struct seat *seat)
{
	struct crew *crew = seat->crew;

	while (!crew->stop) {
		struct job job = {.seat = seat, .table = seat_below(seat, SITE_TABLES)};

		if (!seat_open(seat))
			continue;
		pthread_rwlock_rdlock(&crew->gates[job.table]);
		job.begun = ledger_now();
		if (seat_below(seat, 4) == 0)
			write_block(&job);
		else if (write_one(&job, ALONE))
			conclude(&job, ledger_done);
		pthread_rwlock_unlock(&crew->gates[job.table]);
		seat->done += job.count;
		usleep(PAUSE_US);
	}
	seat_close(seat);
}
