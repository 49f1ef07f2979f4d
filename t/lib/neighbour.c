/*
 * Neighbour: see neighbour.h.
 */
#include "t/lib/neighbour.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "t/lib/cluster.h"
#include "t/lib/items.h"

#define PATIENCE_MS 2000

static const struct {
	const char *sql, *first;
	int rows;
} questions[] = {
    {"SELECT 41 + 1", "42", 1},
    {"SELECT id, count(*) OVER () FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 5", NULL, 5},
    {"SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 5", NULL, 5},
    {"SELECT repeat('x', 100000)", NULL, 1},
};

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void ask(struct neighbour *neighbour, unsigned number)
{
	long begun = now_ms(), took;
	PGresult *result = PQexec(neighbour->conn, questions[number].sql);
	const char *first = questions[number].first;

	took = now_ms() - begun;
	if (took > neighbour->slowest_ms)
		neighbour->slowest_ms = took;
	if (PQresultStatus(result) != PGRES_TUPLES_OK ||
	    PQntuples(result) != questions[number].rows ||
	    (first && strcmp(PQgetvalue(result, 0, 0), first) != 0))
		snprintf(neighbour->complaint, sizeof(neighbour->complaint), "%.100s: %.300s",
		         questions[number].sql, PQerrorMessage(neighbour->conn));
	else
		neighbour->answers++;
	PQclear(result);
}

static void *live(void *argument)
{
	struct neighbour *neighbour = argument;
	unsigned questions_count = sizeof(questions) / sizeof(questions[0]);

	for (unsigned i = 0; !atomic_load(&neighbour->ending) && !neighbour->complaint[0]; i++) {
		ask(neighbour, i % questions_count);
		usleep(10 * 1000);
	}
	return NULL;
}

void neighbour_start(struct neighbour *neighbour, const struct instance *instance, const char *more)
{
	memset(neighbour, 0, sizeof(*neighbour));
	neighbour->conn = instance_connect(instance, more);
	cr_assert_eq(pthread_create(&neighbour->thread, NULL, live, neighbour), 0);
}

void neighbour_stop(struct neighbour *neighbour)
{
	atomic_store(&neighbour->ending, true);
	pthread_join(neighbour->thread, NULL);
	PQfinish(neighbour->conn);
	cr_assert_str_empty(neighbour->complaint, "%s", neighbour->complaint);
	cr_assert_gt(neighbour->answers, 0);
	cr_assert_lt(neighbour->slowest_ms, PATIENCE_MS, "waited for %ld ms",
	             neighbour->slowest_ms);
}
