/*
 * Recall: see recall.h.
 */
#include "t/lib/recall.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/lib/cluster.h"

/* Distances are compared as they are printed, but for the last digit. */
#define SLACK 1e-9

static const char *where(const struct recall_kind *kind, unsigned query)
{
	if (!kind->column)
		return "";
	return text("WHERE %s = %u", kind->column, query % kind->modulus);
}

static const char *statement(const struct recall_kind *kind, const char *table, unsigned query)
{
	const char *vector = kind->vector(kind->owner, query);

	return text("SELECT id, %s '%s' AS d FROM %s %s ORDER BY %s '%s' LIMIT %u", kind->distance,
	            vector, table, where(kind, query), kind->distance, vector, kind->k);
}

static PGresult *ask(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);

	cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%.300s: %s", sql,
	             PQerrorMessage(conn));
	return result;
}

/* How far the k-th is, and how many there are. */
static double search(PGconn *conn, const struct recall_kind *kind, unsigned query, unsigned *wanted)
{
	PGresult *result = ask(conn, statement(kind, kind->plain, query));
	double last = -1e300;

	*wanted = (unsigned)PQntuples(result);
	if (*wanted > 0)
		last = atof(PQgetvalue(result, (int)*wanted - 1, 1));
	PQclear(result);
	return last;
}

static int compare(const void *a, const void *b)
{
	int first = *(const int *)a, second = *(const int *)b;

	return first < second ? -1 : first > second;
}

/* No row comes twice, and each is as far as the one before it or farther. */
static void check_rows(const PGresult *result, const char *name)
{
	int n = PQntuples(result), *ids = malloc(((size_t)n + 1) * sizeof(*ids));

	cr_assert_not_null(ids);
	for (int i = 0; i < n; i++) {
		ids[i] = atoi(PQgetvalue(result, i, 0));
		cr_assert(i == 0 ||
		              atof(PQgetvalue(result, i, 1)) >= atof(PQgetvalue(result, i - 1, 1)),
		          "%s: row %d is out of order", name, i);
	}
	qsort(ids, (size_t)n, sizeof(*ids), compare);
	for (int i = 1; i < n; i++)
		cr_assert_neq(ids[i], ids[i - 1], "%s: row %d comes twice", name, ids[i]);
	free(ids);
}

/* By an index the coordinator's rows may be out of order, by the last digit. */
static unsigned count(PGconn *conn, bool ordered, const struct recall_kind *kind, unsigned query,
                      double last, struct recall *recall)
{
	PGresult *result = ask(conn, statement(kind, kind->table, query));
	unsigned found = 0;

	if (ordered)
		check_rows(result, kind->name);
	for (int i = 0; i < PQntuples(result); i++)
		found += atof(PQgetvalue(result, i, 1)) <= last + SLACK;
	recall->found += found;
	recall->rows += (unsigned)PQntuples(result);
	PQclear(result);
	return found;
}

/* NULL: takes it back. */
static void set_on_workers(const char *setting, const char *value)
{
	const char *sql = value ? text("ALTER DATABASE postgres SET %s = %s", setting, value)
	                        : text("ALTER DATABASE postgres RESET %s", setting);

	cluster_run_on(CLUSTER_WORKER1, sql);
	cluster_run_on(CLUSTER_WORKER2, sql);
}

/*
 * pgtopk hears of the setting by its client's session, the coordinator by its workers' sessions:
 * those are begun, then nothing of it is left behind.
 */
static void connect(const struct recall_kind *kind, const struct instance *instance,
                    PGconn *conns[2])
{
	conns[0] = instance_connect(instance, "options='-c enable_seqscan=off'");
	conns[1] = cluster_connect(CLUSTER_COORDINATOR, NULL);
	set_on_workers("enable_seqscan", "off");
	if (kind->setting)
		set_on_workers(kind->setting, kind->value);
	cluster_run(conns[1], text("SELECT count(*) FROM %s", kind->table));
	set_on_workers("enable_seqscan", NULL);
	if (kind->setting && !kind->configured) {
		set_on_workers(kind->setting, NULL);
		cluster_run(conns[0], text("SET %s = %s", kind->setting, kind->value));
	}
}

void recall_measure(const struct recall_kind *kind, struct recall_pair *pair)
{
	struct instance *instance = instance_shared(), own;
	PGconn *conns[2];

	memset(pair, 0, sizeof(*pair));
	if (kind->configured) { /* workers' connections that were made under it */
		instance_start(&own, NULL);
		instance = &own;
	}
	connect(kind, instance, conns);
	instance_skip_log(instance);
	for (unsigned i = 0; i < kind->queries; i++) {
		unsigned wanted, found;
		double last = search(conns[1], kind, i, &wanted);

		found = count(conns[0], true, kind, i, last, &pair->proxy);
		instance_expect(instance, "routed", kind->name);
		pair->worse += found < count(conns[1], false, kind, i, last, &pair->direct);
		pair->proxy.wanted += wanted;
		pair->direct.wanted += wanted;
	}
	printf("recall@%u %s: pgtopk %.4f, coordinator %.4f; rows %u and %u of %u\n", kind->k,
	       kind->name, (double)pair->proxy.found / pair->proxy.wanted,
	       (double)pair->direct.found / pair->direct.wanted, pair->proxy.rows,
	       pair->direct.rows, pair->proxy.wanted);
	PQfinish(conns[0]);
	PQfinish(conns[1]);
	if (kind->configured) {
		set_on_workers(kind->setting, NULL);
		instance_stop(&own);
	}
}

void recall_expect(const struct recall_kind *kind, double least)
{
	struct recall_pair pair;

	recall_measure(kind, &pair);
	if (!instance_shared()->pid)
		return; /* the coordinator's own answers */
	cr_assert_eq(pair.proxy.rows, pair.proxy.wanted, "%s: %u rows of %u", kind->name,
	             pair.proxy.rows, pair.proxy.wanted);
	cr_assert_geq(pair.proxy.found, pair.proxy.wanted * least, "%s: %u of %u", kind->name,
	              pair.proxy.found, pair.proxy.wanted);
}
