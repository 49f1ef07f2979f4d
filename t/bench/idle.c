/*
 * What an idle connection costs the process behind it: many are opened, each is
 * used once (a pooler in session mode connects to the server only then) and
 * left alone for a moment.
 */
#include <assert.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "t/bench/load.h"

enum { SETTLE_US = 500 * 1000 };

/* Private memory of a process, in kB. */
static long private_kb(int pid)
{
	char path[64], line[256];
	long kb = 0, value;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	file = fopen(path, "r");
	if (!file)
		err(1, "%s", path);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "Private_Clean: %ld", &value) == 1 ||
		    sscanf(line, "Private_Dirty: %ld", &value) == 1)
			kb += value;
	fclose(file);
	return kb;
}

void idle_run(const char *conninfo, unsigned connections, int pid)
{
	PGconn **conns = calloc(connections, sizeof(PGconn *));
	long before, after;

	assert(conns);
	before = private_kb(pid);
	for (unsigned i = 0; i < connections; i++) {
		conns[i] = load_connect(conninfo);
		PQclear(load_result(conns[i], PQexec(conns[i], "SELECT 1"), PGRES_TUPLES_OK));
	}
	usleep(SETTLE_US);
	after = private_kb(pid);
	printf("connections=%u before_kb=%ld after_kb=%ld bytes=%ld\n", connections, before, after,
	       (after - before) * 1024 / (long)connections);
	for (unsigned i = 0; i < connections; i++)
		PQfinish(conns[i]);
	free(conns);
}
