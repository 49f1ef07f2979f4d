/*
 * Table faults: partitions detached, attached and moved, tables emptied and made anew,
 * columns and indexes changed, while the crew goes on.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "t/faults/faults.h"
#include "t/lib/cluster.h"

#define TRIES 60

static unsigned some_table(struct dice *dice)
{
	return dice_below(dice, SITE_TABLES);
}

static unsigned some_part(struct dice *dice)
{
	return dice_below(dice, SITE_PARTS);
}

/* ---- detached ---- */

static void detach(struct crew *crew, struct dice *dice, bool concurrently)
{
	unsigned table = some_table(dice), part = some_part(dice), step = SITE_IDS / SITE_PARTS;
	const char *name = site_table_name(table);
	unsigned hiding;

	crew_say(crew, "%s", site_part_name(table, part));
	hiding = ledger_hide(&crew->ledger, table, part);
	/* one that waited in vain would have to be finished */
	site_run(crew->site, 0,
	         concurrently ? text("ALTER TABLE %s DETACH PARTITION %s CONCURRENTLY", name,
	                             site_part_name(table, part))
	                      : text("ALTER TABLE %s DETACH PARTITION %s", name,
	                             site_part_name(table, part)));
	ledger_hiding_is(&crew->ledger, hiding, LEDGER_HIDDEN);
	faults_pause(dice, 100, 1200);
	ledger_hiding_is(&crew->ledger, hiding, LEDGER_SHOWING);
	/* a detach leaves a constraint behind */
	site_run(crew->site, 0,
	         text("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%u) TO (%u)", name,
	              site_part_name(table, part), part * step, (part + 1) * step));
	ledger_hiding_is(&crew->ledger, hiding, LEDGER_SHOWN);
}

static void part_detached(struct crew *crew, struct dice *dice)
{
	detach(crew, dice, false);
}

static void part_detached_concurrently(struct crew *crew, struct dice *dice)
{
	detach(crew, dice, true);
}

/* ---- moved ---- */

static bool copy_rows(struct site *site, unsigned from, const char *source, unsigned to,
                      const char *target)
{
	PGconn *conn = site_connect(site, from);
	char *rows = strdup(cluster_value(
	    conn, text("SELECT string_agg(format('(%%s,%%s,%%s,%%L,%%L)', id, version, tag, note, "
	               "e), ',') FROM %s",
	               source)));
	char *sql = NULL;

	PQfinish(conn);
	if (*rows) {
		cr_assert_gt(asprintf(&sql, "INSERT INTO %s (id, version, tag, note, e) VALUES %s",
		                      target, rows),
		             0);
		site_run(site, to, sql);
	}
	free(sql);
	free(rows);
	return true;
}

/* The old copy stays as it is, for those who would read it. */
static bool try_move(struct crew *crew, unsigned table, unsigned part, unsigned to)
{
	struct site *site = crew->site;
	struct site_part *it = &site->parts[table][part], before = *it;
	const char *source = site_shard_name(site, table, part);
	PGconn *conn = site_connect(site, 0);
	bool moved = site_try(
	    conn, text("BEGIN; LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", site_table_name(table)));

	if (moved) {
		char from[64];

		snprintf(from, sizeof(from), "%s", source);
		it->node = to;
		it->generation++;
		site_make_shard(site, table, part);
		copy_rows(site, before.node, from, to, site_shard_name(site, table, part));
		moved = site_try(conn, text("DROP FOREIGN TABLE %s; %s; COMMIT",
		                            site_part_name(table, part),
		                            site_partition_sql(site, table, part)));
		cr_assert(moved, "%s", PQerrorMessage(conn));
	}
	PQfinish(conn);
	return moved;
}

/* To the other node, or to another table of the same one; and often back. */
static void part_moved(struct crew *crew, struct dice *dice)
{
	unsigned table = some_table(dice), part = some_part(dice);

	if (crew->site->parts[table][part].node == 0)
		part++;
	for (int i = dice_between(dice, 1, 4); i > 0; i--) {
		unsigned to = 1 + dice_below(dice, SITE_NODES - 1), tries = 0;

		crew_say(crew, "%s to node %u", site_part_name(table, part), to);
		while (!try_move(crew, table, part, to) && tries++ < TRIES)
			usleep(20000);
		faults_pause(dice, 20, 600);
	}
}

/* ---- made anew ---- */

static void part_emptied(struct crew *crew, struct dice *dice)
{
	unsigned table = some_table(dice);

	crew_say(crew, "%s", site_table_name(table));
	pthread_rwlock_wrlock(&crew->gates[table]);
	ledger_empty_begin(&crew->ledger, table);
	site_run(crew->site, 0, text("TRUNCATE %s", site_table_name(table)));
	ledger_empty_done(&crew->ledger, table);
	faults_pause(dice, 0, 500);
	crew_fill(crew, table);
	pthread_rwlock_unlock(&crew->gates[table]);
}

static void drop(struct crew *crew, unsigned table)
{
	ledger_empty_begin(&crew->ledger, table);
	site_run(crew->site, 0, text("DROP TABLE %s", site_table_name(table)));
	ledger_empty_done(&crew->ledger, table);
}

static void table_made_anew(struct crew *crew, struct dice *dice)
{
	unsigned table = some_table(dice);

	crew_say(crew, "%s", site_table_name(table));
	pthread_rwlock_wrlock(&crew->gates[table]);
	drop(crew, table);
	faults_pause(dice, 0, 300);
	site_make_table(crew->site, table);
	faults_pause(dice, 0, 300);
	crew_fill(crew, table);
	pthread_rwlock_unlock(&crew->gates[table]);
}

/* Its types have other OIDs then. */
static void extension_made_anew(struct crew *crew, struct dice *dice)
{
	unsigned where = dice_below(dice, SITE_NODES);

	crew_say(crew, "node %u", where);
	for (unsigned table = 0; table < SITE_TABLES; table++) {
		pthread_rwlock_wrlock(&crew->gates[table]);
		drop(crew, table);
	}
	site_run(crew->site, where,
	         "SET client_min_messages = error; DROP EXTENSION vector CASCADE; "
	         "CREATE EXTENSION vector");
	for (unsigned table = 0; table < SITE_TABLES; table++) {
		site_make_table(crew->site, table);
		crew_fill(crew, table);
		pthread_rwlock_unlock(&crew->gates[table]);
	}
}

/* ---- columns ---- */

/* What the coordinator has, the shards have, too, at any moment. */
static void column_comes_and_goes(struct crew *crew, struct dice *dice)
{
	unsigned table = some_table(dice);
	const char *name = site_table_name(table);

	crew_say(crew, "%s", name);
	site_run_shards(crew->site, table, "ALTER TABLE @ ADD extra int DEFAULT 7");
	faults_pause(dice, 0, 300);
	site_run(crew->site, 0, text("ALTER TABLE %s ADD extra int DEFAULT 7", name));
	faults_pause(dice, 100, 600);
	site_run(crew->site, 0, text("ALTER TABLE %s DROP extra", name));
	faults_pause(dice, 0, 300);
	site_run_shards(crew->site, table, "ALTER TABLE @ DROP extra");
}

/* Without new rows: a table that is rewritten is empty to older snapshots, also those of
 * postgres_fdw. */
static void column_changes_type(struct crew *crew, struct dice *dice)
{
	static const char *const types[] = {"varchar", "text"};
	unsigned table = some_table(dice);

	crew_say(crew, "%s", site_table_name(table));
	for (size_t i = 0; i < 2; i++) {
		site_run_shards(crew->site, table,
		                text("ALTER TABLE @ ALTER note TYPE %s", types[i]));
		faults_pause(dice, 0, 300);
		site_run(
		    crew->site, 0,
		    text("ALTER TABLE %s ALTER note TYPE %s", site_table_name(table), types[i]));
		faults_pause(dice, 100, 600);
	}
}

/* ---- indexes ---- */

static void indexes_rebuilt(struct crew *crew, struct dice *dice)
{
	crew_say(crew, "concurrently");
	site_run_shards(crew->site, 1, "REINDEX TABLE CONCURRENTLY @");
	faults_pause(dice, 0, 300);
	site_run_shards(crew->site, 0, "REINDEX TABLE @");
}

static void index_dropped(struct crew *crew, struct dice *dice)
{
	site_run_shards(crew->site, 1, "DROP INDEX @_e_idx");
	faults_pause(dice, 100, 500);
	site_run_shards(crew->site, 1,
	                "CREATE INDEX CONCURRENTLY @_e_idx ON @ USING hnsw (e vector_l2_ops)");
	site_run_shards(crew->site, 1, "VACUUM ANALYZE @");
}

/* a map is loaded anew every minute, and what was unlike in one stays so */
#define HEAL 30000

const struct fault table_faults[] = {
    {"part detached", "23514 " FAULTS_LOCKS, part_detached, HEAL},
    {"part detached concurrently", "23514 " FAULTS_LOCKS, part_detached_concurrently, HEAL},
    {"part moved", FAULTS_LOCKS, part_moved, HEAL},
    {"table emptied", FAULTS_LOCKS, part_emptied, HEAL},
    {"table made anew", "42P01 0A000 " FAULTS_LOCKS, table_made_anew, HEAL},
    /* XX000: prepared statements have parameters of a type that is gone; the coordinator says so */
    {"extension made anew", "42P01 42704 42883 0A000 XX000 " FAULTS_LOCKS, extension_made_anew,
     HEAL},
    {"column comes and goes", "0A000 " FAULTS_LOCKS, column_comes_and_goes, HEAL},
    {"column changes type", "0A000 " FAULTS_LOCKS, column_changes_type, 75000},
    {"indexes rebuilt", FAULTS_LOCKS, indexes_rebuilt, HEAL},
    {"index dropped", FAULTS_LOCKS, index_dropped, HEAL},
    {NULL, NULL, NULL, 0},
};
