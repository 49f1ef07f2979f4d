/*
 * Storage faults: a disk that is full, which needs root (a small file system is mounted).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t/faults/faults.h"
#include "t/lib/cluster.h"

#define SIZE "1m"

/* A shard lives on the small disk; dead rows take what is left of it. */
static void fill_up(struct crew *crew, unsigned node, const char *shard)
{
	PGconn *conn = site_connect(crew->site, node);
	char *sql = strdup(text("UPDATE %s SET note = note", shard));
	bool full = false;

	for (unsigned i = 0; i < 5000 && !full; i++) {
		PGresult *result = PQexec(conn, sql);
		const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

		full = state && strcmp(state, "53100") == 0;
		PQclear(result);
	}
	if (!full)
		crew_fail(crew, "the disk of node %u does not get full", node);
	free(sql);
	PQfinish(conn);
}

static void disk_full(struct crew *crew, struct dice *dice)
{
	struct site *site = crew->site;
	unsigned table = dice_below(dice, SITE_TABLES), part = 2 * dice_below(dice, 2),
		 node = site->parts[table][part].node;
	char dir[100], shard[64];
	PGconn *old;

	snprintf(dir, sizeof(dir), "%s/small", site->servers[node].dir);
	snprintf(shard, sizeof(shard), "%s", site_shard_name(site, table, part));
	mkdir(dir, 0700);
	if (mount("tmpfs", dir, "tmpfs", 0, "size=" SIZE ",mode=0700") != 0) {
		printf("SKIP: disk full: nothing can be mounted\n");
		return;
	}
	crew_say(crew, "%s on node %u", shard, node);
	if (system(text("chown postgres: %s", dir)) != 0)
		crew_fail(crew, "cannot chown %s", dir);
	site_run(site, node, text("ALTER TABLE %s SET (autovacuum_enabled = off)", shard));
	site_run(site, node, text("CREATE TABLESPACE small LOCATION '%s'", dir));
	site_run(site, node, text("ALTER TABLE %s SET TABLESPACE small", shard));
	/* an old snapshot: dead rows are not pruned */
	old = site_connect(site, node);
	cluster_run(old, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
	fill_up(crew, node, shard);
	faults_pause(dice, 1000, 2000);
	PQfinish(old);
	site_run(site, node, text("ALTER TABLE %s SET TABLESPACE pg_default", shard));
	site_run(site, node, text("VACUUM %s", shard));
	site_run(site, node, text("ALTER TABLE %s RESET (autovacuum_enabled)", shard));
	site_run(site, node, "DROP TABLESPACE small");
	if (umount2(dir, MNT_DETACH) != 0)
		crew_fail(crew, "cannot unmount %s", dir);
}

const struct fault storage_faults[] = {
    {"disk full", "53100 " FAULTS_LOCKS, disk_full, 30000},
    {NULL, NULL, NULL, 0},
};
