/*
 * Reader: asks vector queries in all the ways a client can and has each answer judged.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "t/faults/crew.h"

#define PAUSE_US 3000
#define LIMITS 5

enum way { SIMPLE, PARAMETERS, PREPARED, WAYS };

struct ask {
	struct judge_question question;
	enum way way;
	bool star;
	char sql[400];
	char vector[64];
};

static const unsigned limits[LIMITS] = {1, 5, 20, 100, 1500};

static void choose(struct seat *seat, struct ask *ask)
{
	struct judge_question *question = &ask->question;
	int *v = question->vector;

	memset(ask, 0, sizeof(*ask));
	question->table = seat_below(seat, SITE_TABLES);
	question->tag = seat_below(seat, 2) ? -1 : (int)seat_below(seat, LEDGER_TAGS);
	question->limit = limits[seat_below(seat, LIMITS)];
	for (unsigned i = 0; i < LEDGER_DIMENSIONS; i++)
		v[i] = (int)seat_below(seat, 100);
	ask->way = (enum way)seat_below(seat, WAYS);
	ask->star = seat_below(seat, 4) == 0;
	snprintf(ask->vector, sizeof(ask->vector), "[%d,%d,%d,%d]", v[0], v[1], v[2], v[3]);
}

/* Prepared statements are known by their texts: table, columns, filter, LIMIT. */
static unsigned shape_of(const struct ask *ask)
{
	unsigned limit = 0;

	while (limits[limit] != ask->question.limit)
		limit++;
	return ((ask->question.table * 2 + ask->star) * 2 + (ask->question.tag >= 0)) * LIMITS +
	       limit;
}

static void compose(struct ask *ask)
{
	const struct judge_question *question = &ask->question;
	bool simple = ask->way == SIMPLE;
	char filter[40] = "", vector[80] = "$1";

	if (simple)
		snprintf(vector, sizeof(vector), "'%s'", ask->vector);
	if (question->tag >= 0 && simple)
		snprintf(filter, sizeof(filter), " WHERE tag = %d", question->tag);
	else if (question->tag >= 0)
		snprintf(filter, sizeof(filter), " WHERE tag = $2");
	snprintf(ask->sql, sizeof(ask->sql), "SELECT %s FROM %s%s ORDER BY e <-> %s LIMIT %u",
	         ask->star ? "*" : "note, id, e, version, tag", site_table_name(question->table),
	         filter, vector, question->limit);
}

static PGresult *ask_prepared(struct seat *seat, const struct ask *ask, int count,
                              const char *const *values)
{
	static _Thread_local unsigned prepared_by[SITE_TABLES * 2 * 2 * LIMITS];
	unsigned shape = shape_of(ask);
	char name[32];

	snprintf(name, sizeof(name), "@%u", shape);
	if (prepared_by[shape] != seat->session) {
		if (!seat_prepare(seat, name, ask->sql))
			return NULL;
		prepared_by[shape] = seat->session;
	}
	return seat_run(seat, name, count, values);
}

static PGresult *ask_it(struct seat *seat, const struct ask *ask)
{
	char tag[16];
	const char *const values[] = {ask->vector, tag};
	int count = ask->question.tag >= 0 ? 2 : 1;

	snprintf(tag, sizeof(tag), "%d", ask->question.tag);
	switch (ask->way) {
	case SIMPLE:
		return seat_run(seat, ask->sql, -1, NULL);
	case PREPARED:
		return ask_prepared(seat, ask, count, values);
	default:
		return seat_run(seat, ask->sql, count, values);
	}
}

/* Do the other columns belong to the version? */
static bool belongs(const PGresult *result, int row, const struct judge_row *it)
{
	struct ledger_values values;
	char vector[64], tag[16];

	ledger_values(it->id, it->version, &values);
	snprintf(vector, sizeof(vector), "[%d,%d,%d,%d]", values.vector[0], values.vector[1],
	         values.vector[2], values.vector[3]);
	snprintf(tag, sizeof(tag), "%u", values.tag);
	return strcmp(PQgetvalue(result, row, PQfnumber(result, "e")), vector) == 0 &&
	       strcmp(PQgetvalue(result, row, PQfnumber(result, "tag")), tag) == 0 &&
	       strcmp(PQgetvalue(result, row, PQfnumber(result, "note")), values.note) == 0;
}

static bool take_rows(const PGresult *result, struct judge_row *rows, FILE *out)
{
	static const char *const names[] = {"id", "version", "tag", "note", "e"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (PQfnumber(result, names[i]) < 0) {
			fprintf(out, "there is no column %s\n", names[i]);
			return false;
		}
	}
	for (int i = 0; i < PQntuples(result); i++) {
		rows[i].id = (unsigned)atoi(PQgetvalue(result, i, PQfnumber(result, "id")));
		rows[i].version =
		    (unsigned)atoi(PQgetvalue(result, i, PQfnumber(result, "version")));
		if (!belongs(result, i, &rows[i])) {
			fprintf(out,
			        "row %d: what is in it is not of id %u, version %u: %s %s %s\n", i,
			        rows[i].id, rows[i].version,
			        PQgetvalue(result, i, PQfnumber(result, "e")),
			        PQgetvalue(result, i, PQfnumber(result, "tag")),
			        PQgetvalue(result, i, PQfnumber(result, "note")));
			return false;
		}
	}
	return true;
}

static void judge_it(struct seat *seat, const struct ask *ask, const PGresult *result)
{
	struct crew *crew = seat->crew;
	unsigned count = (unsigned)PQntuples(result);
	struct judge_row *rows = calloc(count + 1, sizeof(*rows));
	struct judge_recall recall = {0};
	char *why = NULL;
	size_t len;
	FILE *out = open_memstream(&why, &len);
	bool right = take_rows(result, rows, out) &&
	             judge_answer(&crew->ledger, &ask->question, rows, count, &recall, out);

	fclose(out);
	if (!right)
		crew_fail(crew,
		          "seat %u%s (pid %d), way %d, vector %s, tag %d, %.3f s: WRONG: %s\n%s",
		          seat->number, seat->direct ? " (direct)" : "", PQbackendPID(seat->conn),
		          ask->way, ask->vector, ask->question.tag,
		          (double)(ask->question.to - ask->question.from) / 1e6, ask->sql, why);
	pthread_mutex_lock(&crew->mutex);
	crew->reads++;
	crew->empty += count == 0;
	crew->recall.expected += recall.expected;
	crew->recall.missing += recall.missing;
	pthread_mutex_unlock(&crew->mutex);
	seat->done++;
	free(rows);
	free(why);
}

/* from: when the block was begun whose first snapshot the coordinator may go on with; or 0. */
static bool read_one(struct seat *seat, struct ask *ask, int64_t from)
{
	PGresult *result;

	ask->question.exact = !site_table_indexed(ask->question.table);
	compose(ask);
	ask->question.from = from ? from : ledger_now();
	result = ask_it(seat, ask);
	ask->question.to = ledger_now();
	if (!result)
		return false;
	judge_it(seat, ask, result);
	PQclear(result);
	return true;
}

/* One table only: a node's snapshot may show another one as it was before it was moved there. */
static bool read_block(struct seat *seat, struct ask *ask)
{
	int64_t from = ledger_now();
	unsigned table = ask->question.table, count = 1 + seat_below(seat, 3);
	bool well = seat_command(seat, "BEGIN") >= 0, ended;

	for (unsigned i = 0; i < count && well; i++) {
		choose(seat, ask);
		ask->question.table = table;
		well = read_one(seat, ask, from);
	}
	ended = !seat->conn || PQtransactionStatus(seat->conn) == PQTRANS_IDLE;
	if (!ended && seat_command(seat, well ? "COMMIT" : "ROLLBACK") < 0) {
		seat_close(seat); /* postgres_fdw may fail a ROLLBACK: the block goes on */
		return false;
	}
	return well;
}

void reader_live(struct seat *seat)
{
	while (!seat->crew->stop) {
		struct ask ask;
		bool well;

		if (!seat_open(seat))
			continue;
		choose(seat, &ask);
		well = seat_below(seat, 5) == 0 ? read_block(seat, &ask) : read_one(seat, &ask, 0);
		if (!well && strcmp(seat->state, "0A000") == 0)
			seat_close(seat); /* cached plan must not change result type */
		usleep(PAUSE_US);
	}
	seat_close(seat);
}
