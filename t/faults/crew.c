/*
 * Crew: see crew.h.
 */
#include "t/faults/crew.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "t/lib/cluster.h"

#define FAILURES_PRINTED 10
#define QUIET_MS 20000

/* ---- saying ---- */

static double seconds(const struct crew *crew)
{
	return (double)(ledger_now() - crew->begun) / 1e6;
}

static const char *at_work(const struct crew *crew)
{
	const struct crew_fault *last = crew->nfaults ? &crew->faults[crew->nfaults - 1] : NULL;

	return last ? last->name : "none";
}

void crew_say(struct crew *crew, const char *format, ...)
{
	va_list args;

	flockfile(stdout);
	printf("faults: %8.3f ", seconds(crew));
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	funlockfile(stdout);
}

void crew_fail(struct crew *crew, const char *format, ...)
{
	va_list args;

	if (atomic_fetch_add(&crew->failures, 1) >= FAILURES_PRINTED)
		return;
	flockfile(stdout);
	printf("faults: %8.3f FAILURE (SEED=%llu, latest fault: %s): ", seconds(crew),
	       (unsigned long long)crew->seed, at_work(crew));
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	funlockfile(stdout);
}

/* ---- faults ---- */

void crew_fault_begin(struct crew *crew, const char *name, const char *states)
{
	pthread_mutex_lock(&crew->mutex);
	cr_assert_lt(crew->nfaults, CREW_FAULTS);
	crew->faults[crew->nfaults++] = (struct crew_fault){
	    .name = name, .states = states, .begun = ledger_now(), .ended = LEDGER_NEVER};
	pthread_mutex_unlock(&crew->mutex);
}

void crew_fault_end(struct crew *crew)
{
	pthread_mutex_lock(&crew->mutex);
	crew->faults[crew->nfaults - 1].ended = ledger_now();
	pthread_mutex_unlock(&crew->mutex);
}

static bool is_routed(struct crew *crew, struct instance *log, unsigned table)
{
	char *lines = instance_read_log(log), *rest = lines, *line;
	const char *wanted = text(" table=%s ", site_table_name(table));
	bool found = false;

	(void)crew;
	while ((line = strsep(&rest, "\n")) != NULL)
		found |= strstr(line, " event=routed ") && strstr(line, wanted);
	free(lines);
	return found;
}

void crew_await_health(struct crew *crew, unsigned limit_ms)
{
	int64_t from = ledger_now(), limit = from + INT64_C(1000) * limit_ms;
	struct instance log = crew->site->instance;
	bool routed[SITE_TABLES] = {false}, well = false;
	char why[200] = "";

	instance_skip_log(&log);
	while (!well && ledger_now() < limit) {
		struct instance here = log;

		well = true;
		for (unsigned i = 0; i < CREW_SEATS; i++) {
			if (crew->seats[i].ok_at < from) {
				snprintf(why, sizeof(why), "seat %u has no answer", i);
				well = false;
			}
		}
		for (unsigned table = 0; table < SITE_TABLES && log.pid; table++) {
			here = log;
			if (!routed[table])
				routed[table] = is_routed(crew, &here, table);
			if (!routed[table]) {
				snprintf(why, sizeof(why), "no query on \"%s\" is routed",
				         site_table_name(table));
				well = false;
			}
		}
		usleep(20000);
	}
	if (!well)
		crew_fail(crew, "not well again after %u ms: %s", limit_ms, why);
}

/* ---- settling ---- */

/* Whose client is gone may still be at work. */
static void await_quiet(struct crew *crew)
{
	for (unsigned node = 0; node < SITE_NODES; node++) {
		PGconn *conn = site_connect(crew->site, node);
		unsigned waited = 0;

		while (
		    strcmp(
			cluster_value(
			    conn,
			    "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client "
			    "backend' AND pid <> pg_backend_pid() AND (backend_xid IS NOT NULL OR "
			    "state = 'active' AND query ~* "
			    "'^(insert|update|delete|commit|execute)')"),
			"0") != 0 &&
		    waited < QUIET_MS) {
			usleep(20000);
			waited += 20;
		}
		if (waited >= QUIET_MS)
			crew_fail(crew, "somebody still writes on node %u", node);
		PQfinish(conn);
	}
}

static void compare_table(struct crew *crew, PGconn *conn, unsigned table)
{
	PGresult *result = PQexec(conn, text("SELECT id, version FROM %s", site_table_name(table)));
	unsigned *versions = calloc(crew->ledger.ids, sizeof(*versions)), expected;

	cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s", PQerrorMessage(conn));
	for (int i = 0; i < PQntuples(result); i++) {
		unsigned id = (unsigned)atoi(PQgetvalue(result, i, 0));

		if (id >= crew->ledger.ids || versions[id] != 0)
			crew_fail(crew, "settling: %s has id %u twice", site_table_name(table), id);
		else
			versions[id] = (unsigned)atoi(PQgetvalue(result, i, 1));
	}
	for (unsigned id = 0; id < crew->ledger.ids; id++) {
		if (!ledger_resolve(&crew->ledger, table, id, versions[id], &expected))
			crew_fail(crew, "settling: %s, id %u has version %u, should be %u",
			          site_table_name(table), id, versions[id], expected);
	}
	PQclear(result);
	free(versions);
}

void crew_settle(struct crew *crew)
{
	PGconn *conn;

	for (unsigned table = 0; table < SITE_TABLES; table++)
		pthread_rwlock_wrlock(&crew->gates[table]);
	await_quiet(crew);
	conn = site_connect(crew->site, 0);
	for (unsigned table = 0; table < SITE_TABLES; table++)
		compare_table(crew, conn, table);
	PQfinish(conn);
	for (unsigned table = 0; table < SITE_TABLES; table++)
		pthread_rwlock_unlock(&crew->gates[table]);
}

/* ---- beginning and end ---- */

void crew_fill(struct crew *crew, unsigned table)
{
	PGconn *conn = site_connect(crew->site, 0);
	struct ledger *ledger = &crew->ledger;
	unsigned version, next;

	for (unsigned part = 0; part < SITE_PARTS; part++) {
		unsigned step = ledger->ids / SITE_PARTS;
		char *sql = NULL;
		size_t len;
		FILE *out = open_memstream(&sql, &len);

		fprintf(out, "INSERT INTO %s (id, version, tag, note, e) VALUES ",
		        site_table_name(table));
		for (unsigned id = part * step; id < (part + 1) * step; id++) {
			struct ledger_values values;
			const int *v = values.vector;

			cr_assert(ledger_current(ledger, table, id, &version, &next));
			cr_assert_eq(version, LEDGER_GONE);
			ledger_values(id, next, &values);
			ledger_begin(ledger, table, id, next);
			fprintf(out, "%s(%u, %u, %u, '%s', '[%d,%d,%d,%d]')", id % step ? "," : "",
			        id, next, values.tag, values.note, v[0], v[1], v[2], v[3]);
		}
		fclose(out);
		cluster_run(conn, sql);
		for (unsigned id = part * step; id < (part + 1) * step; id++)
			ledger_done(ledger, table, id);
		free(sql);
	}
	PQfinish(conn);
}

static void *live(void *argument)
{
	struct seat *seat = argument;

	if (seat->number < CREW_READERS)
		reader_live(seat);
	else
		writer_live(seat);
	return NULL;
}

void crew_open(struct crew *crew, struct site *site, uint64_t seed)
{
	pthread_rwlockattr_t attributes;

	memset(crew, 0, sizeof(*crew));
	crew->site = site;
	crew->seed = seed;
	crew->begun = ledger_now();
	pthread_mutex_init(&crew->mutex, NULL);
	pthread_rwlockattr_init(&attributes);
	pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	ledger_open(&crew->ledger, SITE_TABLES, SITE_PARTS, SITE_IDS);
	for (unsigned table = 0; table < SITE_TABLES; table++) {
		pthread_rwlock_init(&crew->gates[table], &attributes);
		crew_fill(crew, table);
	}
	for (unsigned i = 0; i < CREW_SEATS; i++) {
		struct seat *seat = &crew->seats[i];

		seat->crew = crew;
		seat->number = i;
		/* the last of either kind is there to see that the test itself is right */
		seat->direct = i == CREW_READERS - 1 || i == CREW_SEATS - 1;
		seat->chance = seed * 1000 + i;
		seat->ok_at = ledger_now();
		cr_assert_eq(pthread_create(&crew->threads[i], NULL, live, seat), 0);
	}
}

void crew_close(struct crew *crew)
{
	int64_t longest = 0;

	crew->stop = true;
	for (unsigned i = 0; i < CREW_SEATS; i++) {
		pthread_join(crew->threads[i], NULL);
		if (i >= CREW_READERS)
			crew->writes += crew->seats[i].done;
		if (crew->seats[i].longest_us > longest)
			longest = crew->seats[i].longest_us;
	}
	for (unsigned i = 0; i < crew->nerrors; i++)
		crew_say(crew, "%5u times %s during %s: %s", crew->errors[i].count,
		         crew->errors[i].state, crew->errors[i].fault, crew->errors[i].message);
	crew_say(crew,
	         "%u faults, %lu answers judged (%lu empty), %lu rows written, longest statement "
	         "%.1f s, %lu of %lu rows of approximate answers missing, %u failures",
	         crew->nfaults, crew->reads, crew->empty, crew->writes, (double)longest / 1e6,
	         crew->recall.missing, crew->recall.expected, crew->failures);
	ledger_close(&crew->ledger);
}
