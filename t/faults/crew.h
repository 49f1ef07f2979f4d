/*
 * Crew: what all who take part in a run share: ledger, site, who sits where, the faults
 * so far with the errors each allows, and what has failed. One thread works the faults,
 * the others read and write.
 */
#ifndef T_FAULTS_CREW_H
#define T_FAULTS_CREW_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "t/faults/judge.h"
#include "t/faults/ledger.h"
#include "t/faults/site.h"

#define CREW_READERS 4
#define CREW_WRITERS 3
#define CREW_SEATS (CREW_READERS + CREW_WRITERS)
#define CREW_FAULTS 4096
#define CREW_ERRORS 64
#define CREW_STUCK_MS 25000

struct crew_fault {
	const char *name;
	const char *states; /* the SQLSTATEs it excuses; "-": a lost connection */
	int64_t begun, ended;
};

struct crew_error {
	char state[8];
	const char *fault;
	char message[200]; /* the first */
	unsigned count;
};

/* One session. Its connection is its thread's; ok_at is read by others. */
struct seat {
	struct crew *crew;
	unsigned number;
	bool direct; /* past pgtopk */
	PGconn *conn;
	unsigned session; /* how many connections there were */
	int64_t opened_at;
	_Atomic int64_t ok_at;
	_Atomic unsigned long done;
	int64_t longest_us;
	char state[8]; /* of the last error; "-": the connection was lost */
	char message[200];
	uint64_t chance;
};

struct crew {
	struct site *site;
	struct ledger ledger;
	uint64_t seed;
	int64_t begun;
	atomic_bool stop;
	atomic_uint failures;
	pthread_rwlock_t gates[SITE_TABLES]; /* writers of a table are in; a fault keeps them out */
	pthread_mutex_t mutex;               /* for all below */
	struct crew_fault faults[CREW_FAULTS];
	unsigned nfaults;
	struct crew_error errors[CREW_ERRORS];
	unsigned nerrors;
	struct judge_recall recall;
	unsigned long reads, writes, empty;
	struct seat seats[CREW_SEATS];
	pthread_t threads[CREW_SEATS];
};

/* Loads all tables, and everybody begins. */
void crew_open(struct crew *crew, struct site *site, uint64_t seed);
void crew_close(struct crew *crew);
/* Something is wrong: printed at once, with the time and the fault at work. */
void crew_fail(struct crew *crew, const char *format, ...) __attribute__((format(printf, 2, 3)));
void crew_say(struct crew *crew, const char *format, ...) __attribute__((format(printf, 2, 3)));

void crew_fault_begin(struct crew *crew, const char *name, const char *states);
void crew_fault_end(struct crew *crew);
/* Everybody has been answered since the fault's end, and each table's queries are routed. */
void crew_await_health(struct crew *crew, unsigned limit_ms);
/* Keeps writers out, compares all tables with the ledger, clears doubts. */
void crew_settle(struct crew *crew);
/* Rows for a table that has none, by the coordinator; writers are out. */
void crew_fill(struct crew *crew, unsigned table);

/* ---- for the threads ---- */

/* Runs a statement, or a prepared one, whose name begins with "@"; NULL: it failed (seat->state),
 * and if the error was not excused that is reported. values: text parameters; count -1: simple. */
PGresult *seat_run(struct seat *seat, const char *sql, int count, const char *const *values);
bool seat_prepare(struct seat *seat, const char *name, const char *sql);
bool seat_open(struct seat *seat);
void seat_close(struct seat *seat);
/* A plain command; the rows it touched, -1: it failed. */
int seat_command(struct seat *seat, const char *sql);
unsigned seat_below(struct seat *seat, unsigned below);

void reader_live(struct seat *seat);
void writer_live(struct seat *seat);

#endif
