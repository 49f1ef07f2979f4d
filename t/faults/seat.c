/*
 * Seat: a session of the crew: statements with a deadline, connections made again, and
 * errors weighed against the faults there were since it was last well.
 */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "t/faults/crew.h"

#define RETRY_US 50000
/* an error may be about what happened a while ago: a connection found broken, a wait that is over */
#define AFTER_US INT64_C(3000000)

unsigned seat_below(struct seat *seat, unsigned below)
{
	seat->chance = seat->chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(seat->chance >> 33) % below;
}

static bool names(const char *states, const char *state)
{
	for (const char *at = states; (at = strstr(at, state)) != NULL; at++) {
		size_t len = strlen(state);

		if ((at == states || at[-1] == ' ') && (at[len] == ' ' || !at[len]))
			return true;
	}
	return false;
}

/* The fault that excuses it; NULL: none does. */
static const char *excuse(struct seat *seat)
{
	/* a prepared statement may be of long ago */
	int64_t since = strcmp(seat->state, "0A000") == 0 ? seat->opened_at : seat->ok_at;

	/* of an extension that was made anew; any other internal error is a find */
	if (strcmp(seat->state, "XX000") == 0 &&
	    !strstr(seat->message, "cache lookup failed for type"))
		return NULL;
	for (unsigned i = seat->crew->nfaults; i-- > 0;) {
		const struct crew_fault *fault = &seat->crew->faults[i];

		if (fault->ended < since - AFTER_US)
			break;
		if (names(fault->states, seat->state))
			return fault->name;
	}
	return NULL;
}

static void tally(struct crew *crew, const struct seat *seat, const char *fault)
{
	struct crew_error *error = NULL;

	for (unsigned i = 0; i < crew->nerrors && !error; i++) {
		if (strcmp(crew->errors[i].state, seat->state) == 0 &&
		    crew->errors[i].fault == fault)
			error = &crew->errors[i];
	}
	if (!error && crew->nerrors < CREW_ERRORS) {
		error = &crew->errors[crew->nerrors++];
		*error = (struct crew_error){.fault = fault};
		snprintf(error->state, sizeof(error->state), "%s", seat->state);
		snprintf(error->message, sizeof(error->message), "%s", seat->message);
	}
	if (error)
		error->count++;
}

/* seat->state and ->message are set; sql may be NULL: it was a login. */
static void weigh(struct seat *seat, const char *sql)
{
	struct crew *crew = seat->crew;
	const char *fault;

	pthread_mutex_lock(&crew->mutex);
	fault = excuse(seat);
	tally(crew, seat, fault ? fault : "none");
	pthread_mutex_unlock(&crew->mutex);
	if (!fault)
		crew_fail(crew, "seat %u%s: error %s that no fault excuses: %s\n  %.300s",
		          seat->number, seat->direct ? " (direct)" : "", seat->state, seat->message,
		          sql ? sql : "(login)");
}

static void note(struct seat *seat, const char *state, const char *message)
{
	snprintf(seat->state, sizeof(seat->state), "%s", state && *state ? state : "-");
	snprintf(seat->message, sizeof(seat->message), "%s", message ? message : "");
	seat->message[strcspn(seat->message, "\n")] = '\0';
}

void seat_close(struct seat *seat)
{
	PQfinish(seat->conn);
	seat->conn = NULL;
}

static void ignore(void *context, const PGresult *result)
{
	(void)context;
	(void)result;
}

bool seat_open(struct seat *seat)
{
	char conninfo[256];
	int64_t begun = ledger_now();

	if (seat->conn)
		return true;
	snprintf(conninfo, sizeof(conninfo),
	         "host=127.0.0.1 port=%d user=app dbname=postgres connect_timeout=10 "
	         "sslmode=disable gssencmode=disable application_name=%s%u",
	         seat->direct ? site_coordinator_port(seat->crew->site)
	                      : site_port(seat->crew->site),
	         seat->direct ? "direct" : "seat", seat->number);
	seat->conn = PQconnectdb(conninfo);
	if (PQstatus(seat->conn) == CONNECTION_OK) {
		PQsetNoticeReceiver(seat->conn, ignore, NULL);
		seat->session++;
		seat->opened_at = ledger_now();
		return true;
	}
	note(seat, NULL, PQerrorMessage(seat->conn));
	if (ledger_now() - begun > INT64_C(1000) * CREW_STUCK_MS)
		crew_fail(seat->crew, "seat %u: a login took %.1f s", seat->number,
		          (double)(ledger_now() - begun) / 1e6);
	weigh(seat, NULL);
	seat_close(seat);
	usleep(RETRY_US);
	return false;
}

/* False: the deadline has come. */
static bool await(struct seat *seat, int64_t deadline)
{
	while (PQisBusy(seat->conn)) {
		struct pollfd wanted = {.fd = PQsocket(seat->conn), .events = POLLIN};
		int64_t left = (deadline - ledger_now()) / 1000;

		if (left <= 0)
			return false;
		poll(&wanted, 1, (int)left);
		if (wanted.revents && !PQconsumeInput(seat->conn))
			return true;
	}
	return true;
}

/* All results; the last one that is not NULL, or an error. */
static PGresult *collect(struct seat *seat, int64_t deadline, bool *stuck)
{
	PGresult *kept = NULL, *result;

	for (;;) {
		*stuck = !await(seat, deadline);
		if (*stuck)
			return kept;
		result = PQgetResult(seat->conn);
		if (!result)
			return kept;
		if (kept && PQresultStatus(kept) == PGRES_FATAL_ERROR) {
			PQclear(result);
		} else {
			PQclear(kept);
			kept = result;
		}
	}
}

static int send_it(struct seat *seat, const char *sql, int count, const char *const *values)
{
	if (count < 0)
		return PQsendQuery(seat->conn, sql);
	if (strncmp(sql, "@", 1) == 0) /* a prepared one's name */
		return PQsendQueryPrepared(seat->conn, sql, count, values, NULL, NULL, 0);
	return PQsendQueryParams(seat->conn, sql, count, NULL, values, NULL, NULL, 0);
}

static PGresult *finish(struct seat *seat, const char *sql, bool sent)
{
	int64_t begun = ledger_now(), took;
	PGresult *result = NULL;
	bool stuck = false;
	ExecStatusType status;

	if (sent)
		result = collect(seat, begun + INT64_C(1000) * CREW_STUCK_MS, &stuck);
	took = ledger_now() - begun;
	if (took > seat->longest_us)
		seat->longest_us = took;
	if (stuck) {
		crew_fail(seat->crew, "seat %u: STUCK for %d ms: %s", seat->number, CREW_STUCK_MS,
		          sql);
		PQclear(result);
		note(seat, NULL, "stuck");
		seat_close(seat);
		return NULL;
	}
	status = PQresultStatus(result);
	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
		seat->ok_at = ledger_now();
		return result;
	}
	note(seat, result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL,
	     result ? PQresultErrorMessage(result) : PQerrorMessage(seat->conn));
	PQclear(result);
	weigh(seat, sql);
	if (PQstatus(seat->conn) != CONNECTION_OK)
		seat_close(seat);
	usleep(RETRY_US);
	return NULL;
}

PGresult *seat_run(struct seat *seat, const char *sql, int count, const char *const *values)
{
	return finish(seat, sql, send_it(seat, sql, count, values));
}

bool seat_prepare(struct seat *seat, const char *name, const char *sql)
{
	PGresult *result = finish(seat, sql, PQsendPrepare(seat->conn, name, sql, 0, NULL));

	PQclear(result);
	return result != NULL;
}

int seat_command(struct seat *seat, const char *sql)
{
	PGresult *result = seat_run(seat, sql, -1, NULL);
	int touched;

	if (!result)
		return -1;
	touched = atoi(PQcmdTuples(result));
	PQclear(result);
	return touched;
}
