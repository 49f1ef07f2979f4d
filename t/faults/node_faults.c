/*
 * Node faults: servers, their processes and the networks to them; pgtopk itself.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "t/faults/faults.h"
#include "t/lib/cluster.h"

#define PROCESSES 200
#define TAKEN 60

static unsigned some_worker(struct dice *dice)
{
	return 1 + dice_below(dice, SITE_NODES - 1);
}

/* ---- stopped and started ---- */

static void restart(struct crew *crew, struct dice *dice, unsigned node, const char *mode)
{
	struct server *server = &crew->site->servers[node];

	crew_say(crew, "node %u, %s", node, mode);
	if (strcmp(mode, "kill") == 0)
		kill(server_pid(server), SIGKILL);
	else
		server_halt(server, mode);
	faults_pause(dice, 0, 1500);
	server_revive(server);
}

static void worker_restarted(struct crew *crew, struct dice *dice)
{
	restart(crew, dice, some_worker(dice), "fast");
}

static void worker_crashes(struct crew *crew, struct dice *dice)
{
	restart(crew, dice, some_worker(dice), "immediate");
}

static void worker_killed(struct crew *crew, struct dice *dice)
{
	restart(crew, dice, some_worker(dice), "kill");
}

static void coordinator_restarted(struct crew *crew, struct dice *dice)
{
	restart(crew, dice, 0, "fast");
}

static void coordinator_crashes(struct crew *crew, struct dice *dice)
{
	restart(crew, dice, 0, "immediate");
}

static void coordinator_killed(struct crew *crew, struct dice *dice)
{
	restart(crew, dice, 0, "kill");
}

/* ---- processes ---- */

static int parent_of(int pid)
{
	char path[64], line[512];
	const char *at;
	FILE *file;
	int parent = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (file && fgets(line, sizeof(line), file) && (at = strrchr(line, ')')) != NULL)
		sscanf(at, ") %*c %d", &parent);
	if (file)
		fclose(file);
	return parent;
}

/* A server's processes, the postmaster first. */
static unsigned processes_of(const struct server *server, int *pids)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc");

	pids[count++] = server_pid(server);
	for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
		int pid = atoi(entry->d_name);

		if (pid > 0 && count < PROCESSES && parent_of(pid) == pids[0])
			pids[count++] = pid;
	}
	closedir(dir);
	return count;
}

/* Backends that pgtopk has there; on the coordinator some client's as well. */
static unsigned backends_of(struct crew *crew, unsigned node, int *pids)
{
	PGconn *conn = site_connect(crew->site, node);
	PGresult *result = PQexec(conn, "SELECT pid FROM pg_stat_activity WHERE backend_type = "
	                                "'client backend' AND usename = 'app' ORDER BY pid");
	unsigned count = 0;

	for (int i = 0; i < PQntuples(result) && count < PROCESSES; i++)
		pids[count++] = atoi(PQgetvalue(result, i, 0));
	PQclear(result);
	PQfinish(conn);
	return count;
}

static void backend_killed(struct crew *crew, struct dice *dice)
{
	unsigned node = dice_below(dice, SITE_NODES), count;
	int pids[PROCESSES];

	crew_say(crew, "node %u", node);
	count = backends_of(crew, node, pids);
	if (count > 0)
		kill(pids[dice_below(dice, count)], SIGKILL);
	faults_pause(dice, 500, 1000);
}

static void backends_terminated(struct crew *crew, struct dice *dice)
{
	unsigned node = dice_below(dice, SITE_NODES);

	crew_say(crew, "node %u", node);
	for (unsigned i = 0; i < 3; i++) {
		site_run(crew->site, node,
		         "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
		         "backend_type = 'client backend' AND usename = 'app'");
		faults_pause(dice, 100, 400);
	}
}

static void freeze(const int *pids, unsigned count, struct dice *dice, int from_ms, int to_ms)
{
	for (unsigned i = 0; i < count; i++)
		kill(pids[i], SIGSTOP);
	faults_pause(dice, from_ms, to_ms);
	for (unsigned i = count; i-- > 0;)
		kill(pids[i], SIGCONT);
}

/* Not those of the other nodes' writers: only readers may give up what does not answer. */
static void backend_stopped(struct crew *crew, struct dice *dice)
{
	unsigned node = dice_below(dice, SITE_NODES);
	int pids[PROCESSES];
	unsigned count = backends_of(crew, node, pids);

	crew_say(crew, "node %u", node);
	if (count > 0)
		freeze(&pids[dice_below(dice, count)], 1, dice, 500, 5000);
}

static void postmaster_stopped(struct crew *crew, struct dice *dice)
{
	unsigned node = dice_below(dice, SITE_NODES);
	int pid = server_pid(&crew->site->servers[node]);

	crew_say(crew, "node %u", node);
	freeze(&pid, 1, dice, 500, 4000);
}

static void worker_stopped(struct crew *crew, struct dice *dice)
{
	int pids[PROCESSES];
	unsigned node = some_worker(dice), count = processes_of(&crew->site->servers[node], pids);

	crew_say(crew, "node %u", node);
	freeze(pids, count, dice, 500, 6000);
}

static void coordinator_stopped(struct crew *crew, struct dice *dice)
{
	int pids[PROCESSES];
	unsigned count = processes_of(&crew->site->servers[0], pids);

	freeze(pids, count, dice, 500, 4000);
}

/* ---- networks ---- */

static void cut(struct crew *crew, struct dice *dice, unsigned node)
{
	crew_say(crew, "node %u", node);
	for (int i = dice_between(dice, 1, 3); i > 0; i--) {
		forwarder_set(&crew->site->networks[node], FORWARDER_CUT);
		faults_pause(dice, 20, 1000);
		forwarder_set(&crew->site->networks[node], FORWARDER_OPEN);
		faults_pause(dice, 0, 300);
	}
}

static void worker_cut_off(struct crew *crew, struct dice *dice)
{
	cut(crew, dice, some_worker(dice));
}

static void coordinator_cut_off(struct crew *crew, struct dice *dice)
{
	cut(crew, dice, 0);
}

/* Nobody is told: worker_timeout must help, and answers go on coming. */
static void worker_in_a_hole(struct crew *crew, struct dice *dice)
{
	unsigned node = some_worker(dice);
	unsigned long done[CREW_READERS];

	crew_say(crew, "node %u", node);
	for (unsigned i = 0; i < CREW_READERS; i++)
		done[i] = crew->seats[i].done;
	forwarder_set(&crew->site->networks[node], FORWARDER_HOLE);
	faults_pause(dice, 11000, 12000);
	for (unsigned i = 0; i < CREW_READERS; i++) {
		if (crew->seats[i].done == done[i])
			crew_fail(crew, "reader %u has had no answer for 11 s", i);
	}
	forwarder_set(&crew->site->networks[node], FORWARDER_OPEN);
}

static void coordinator_in_a_hole(struct crew *crew, struct dice *dice)
{
	forwarder_set(&crew->site->networks[0], FORWARDER_HOLE);
	faults_pause(dice, 500, 4000);
	if (dice_chance(dice, 50))
		forwarder_set(&crew->site->networks[0], FORWARDER_CUT);
	faults_pause(dice, 50, 100);
	forwarder_set(&crew->site->networks[0], FORWARDER_OPEN);
}

/* ---- slots ---- */

static void slots_taken(struct crew *crew, struct dice *dice, unsigned node)
{
	const char *conninfo =
	    text("host=127.0.0.1 port=%d user=app dbname=postgres connect_timeout=5",
	         crew->site->servers[node].port);
	char *kept = strdup(conninfo);
	PGconn *taken[TAKEN];

	crew_say(crew, "node %u", node);
	for (unsigned i = 0; i < TAKEN; i++)
		taken[i] = PQconnectdb(kept);
	/* others come to need new connections */
	site_run(crew->site, node,
	         "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = "
	         "'client backend' AND usename = 'app' AND application_name LIKE 'pgtopk%' OR "
	         "application_name LIKE 'seat%'");
	for (unsigned i = 0; i < TAKEN; i++) {
		if (PQstatus(taken[i]) != CONNECTION_OK) {
			PQfinish(taken[i]);
			taken[i] = PQconnectdb(kept);
		}
	}
	faults_pause(dice, 500, 2000);
	for (unsigned i = 0; i < TAKEN; i++)
		PQfinish(taken[i]);
	free(kept);
}

static void worker_slots_taken(struct crew *crew, struct dice *dice)
{
	slots_taken(crew, dice, some_worker(dice));
}

static void coordinator_slots_taken(struct crew *crew, struct dice *dice)
{
	slots_taken(crew, dice, 0);
}

/* ---- pgtopk ---- */

static void proxy_reloaded(struct crew *crew, struct dice *dice)
{
	for (int i = 0; i < 5 && crew->site->instance.pid; i++) {
		kill(crew->site->instance.pid, SIGHUP);
		faults_pause(dice, 20, 300);
	}
}

static void proxy_replaced(struct crew *crew, struct dice *dice)
{
	(void)dice;
	site_restart_proxy(crew->site);
}

#define HEAL 30000

const struct fault node_faults[] = {
    {"worker restarted", FAULTS_LOST, worker_restarted, HEAL},
    {"worker crashes", FAULTS_LOST, worker_crashes, HEAL},
    {"worker killed", FAULTS_LOST, worker_killed, HEAL},
    {"coordinator restarted", FAULTS_LOST, coordinator_restarted, HEAL},
    {"coordinator crashes", FAULTS_LOST, coordinator_crashes, HEAL},
    {"coordinator killed", FAULTS_LOST, coordinator_killed, HEAL},
    {"backend killed", FAULTS_LOST, backend_killed, HEAL},
    {"backends terminated", FAULTS_LOST, backends_terminated, HEAL},
    {"backend stopped", FAULTS_LOST, backend_stopped, HEAL},
    {"postmaster stopped", FAULTS_LOST, postmaster_stopped, HEAL},
    {"worker stopped", FAULTS_LOST, worker_stopped, HEAL},
    {"coordinator stopped", FAULTS_LOST, coordinator_stopped, HEAL},
    {"worker cut off", "", worker_cut_off, HEAL},
    {"coordinator cut off", FAULTS_LOST, coordinator_cut_off, HEAL},
    {"worker in a hole", "", worker_in_a_hole, HEAL},
    {"coordinator in a hole", FAULTS_LOST, coordinator_in_a_hole, HEAL},
    {"worker's slots taken", FAULTS_LOST, worker_slots_taken, HEAL},
    {"coordinator's slots taken", FAULTS_LOST, coordinator_slots_taken, HEAL},
    {"pgtopk reloaded", "", proxy_reloaded, HEAL},
    {"pgtopk replaced", FAULTS_LOST, proxy_replaced, HEAL},
    {NULL, NULL, NULL, 0},
};
