/*
 * Ledger: see ledger.h.
 */
#include "t/moves/ledger.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "t/lib/cluster.h"

#define UNKNOWN UINT64_MAX

struct write {
	uint64_t began_us, ended_us; /* UNKNOWN: perhaps never */
	unsigned version;
};

/* The first write is that nothing was there. */
struct item {
	struct write *writes;
	unsigned n;
};

struct ledger {
	struct item items[LEDGER_ITEMS];
};

uint64_t ledger_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static struct write *append(struct item *item)
{
	if ((item->n & (item->n - 1)) == 0) { /* full: 0, 1, 2, 4 … */
		item->writes =
		    realloc(item->writes, (item->n ? 2 * item->n : 1) * sizeof(*item->writes));
		if (!item->writes)
			abort();
	}
	return &item->writes[item->n++];
}

struct ledger *ledger_new(void)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));

	if (!ledger)
		abort();
	for (unsigned i = 0; i < LEDGER_ITEMS; i++)
		*append(&ledger->items[i]) = (struct write){.version = LEDGER_DELETED};
	return ledger;
}

void ledger_free(struct ledger *ledger)
{
	for (unsigned i = 0; i < LEDGER_ITEMS; i++)
		free(ledger->items[i].writes);
	free(ledger);
}

static const struct write *last(const struct item *item)
{
	return &item->writes[item->n - 1];
}

unsigned ledger_version(const struct ledger *ledger, unsigned id)
{
	return last(&ledger->items[id])->version;
}

void ledger_begin(struct ledger *ledger, unsigned id, unsigned version)
{
	*append(&ledger->items[id]) =
	    (struct write){.began_us = ledger_now_us(), .ended_us = UNKNOWN, .version = version};
}

void ledger_committed(struct ledger *ledger, unsigned id)
{
	struct item *item = &ledger->items[id];

	item->writes[item->n - 1].ended_us = ledger_now_us();
}

void ledger_undone(struct ledger *ledger, unsigned id)
{
	ledger->items[id].n--;
}

/* ---- vectors ---- */

static void vector_of(unsigned id, unsigned version, int vector[3])
{
	uint64_t hash = ((uint64_t)id << 32 | version) * 0x9e3779b97f4a7c15u;

	hash = (hash ^ hash >> 29) * 0xbf58476d1ce4e5b9u;
	for (int i = 0; i < 3; i++)
		vector[i] = (int)(hash >> (16 * i) & 255);
}

const char *ledger_vector(unsigned id, unsigned version)
{
	int vector[3];

	vector_of(id, version, vector);
	return text("[%d,%d,%d]", vector[0], vector[1], vector[2]);
}

static long distance(const struct ledger_question *question, unsigned id, unsigned version)
{
	int vector[3];
	long sum = 0;

	vector_of(id, version, vector);
	for (int i = 0; i < 3; i++)
		sum += (long)(vector[i] - question->point[i]) * (vector[i] - question->point[i]);
	return sum;
}

/* ---- checking ---- */

/* The write before this one may still have held after `since`. */
static bool may_precede(const struct write *write, uint64_t since)
{
	return write->ended_us >= since;
}

/* The item's state may have been that version at some moment since then. */
static bool is_possible(const struct item *item, uint64_t since, unsigned version)
{
	for (unsigned i = item->n; i-- > 0;) {
		if (item->writes[i].version == version)
			return true;
		if (!may_precede(&item->writes[i], since))
			return false;
	}
	return false;
}

/* The item was there all the time, and nearer than that. */
static bool must_be_there(const struct ledger *ledger, const struct ledger_question *question,
                          unsigned id, long farthest)
{
	const struct item *item = &ledger->items[id];

	for (unsigned i = item->n; i-- > 0;) {
		unsigned version = item->writes[i].version;

		if (version == LEDGER_DELETED || distance(question, id, version) >= farthest)
			return false;
		if (!may_precede(&item->writes[i], question->sent_us))
			break;
	}
	return true;
}

static const char *history(const struct ledger *ledger, unsigned id,
                           const struct ledger_question *question)
{
	const struct item *item = &ledger->items[id];
	const char *so_far = "";

	for (unsigned i = item->n > 4 ? item->n - 4 : 0; i < item->n; i++) {
		const struct write *write = &item->writes[i];

		so_far = text("%s %u:[%+.3f ms, %+.3f ms]", so_far, write->version,
		              ((double)write->began_us - (double)question->sent_us) / 1000,
		              write->ended_us == UNKNOWN
		                  ? 1e9
		                  : ((double)write->ended_us - (double)question->sent_us) / 1000);
	}
	return text("writes since the question was sent:%s; answered at %+.3f ms", so_far,
	            (double)(ledger_now_us() - question->sent_us) / 1000);
}

static unsigned number(const PGresult *answer, int row, int column)
{
	return (unsigned)strtoul(PQgetvalue(answer, row, column), NULL, 10);
}

const char *ledger_check(const struct ledger *ledger, const struct ledger_question *question,
                         const PGresult *answer)
{
	bool seen[LEDGER_ITEMS] = {false};
	long farthest = -1;
	int rows = PQntuples(answer);

	for (int i = 0; i < rows; i++) {
		unsigned id = number(answer, i, 0), version = number(answer, i, 1);

		if (id >= LEDGER_ITEMS || seen[id])
			return text("item %u is there twice, or never was", id);
		seen[id] = true;
		if (strcmp(PQgetvalue(answer, i, 2), ledger_vector(id, version)) != 0)
			return text("item %u, version %u has another vector", id, version);
		if (distance(question, id, version) < farthest)
			return text("item %u is out of order", id);
		farthest = distance(question, id, version);
		if (version == LEDGER_DELETED ||
		    !is_possible(&ledger->items[id], question->sent_us, version))
			return text("item %u, version %u is stale; %s", id, version,
			            history(ledger, id, question));
	}
	if ((unsigned)rows > question->limit)
		return text("%d rows of %u", rows, question->limit);
	if ((unsigned)rows < question->limit)
		farthest = 1000000000;
	for (unsigned id = 0; id < LEDGER_ITEMS; id++)
		if (!seen[id] && must_be_there(ledger, question, id, farthest))
			return text("item %u is missing among %d of %u; %s", id, rows,
			            question->limit, history(ledger, id, question));
	return NULL;
}
