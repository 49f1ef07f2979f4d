/*
 * Script: see script.h.
 *
 * An event is a few steps. One that begins with ? is a query whose first value is the
 * statement to run (nothing, if there is none), with $R a random number in it; others
 * are run as they are. An event that is not possible just now (a lock, a node in
 * use) may fail.
 */
#include "t/moves/script.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/lib/cluster.h"
#include "t/moves/ledger.h"

#define SHARDS "8"
#define STEPS 8
#define PAUSE_MS 300

/* The table's shards, each with its node n and another one o. */
#define PLACEMENTS                                                                                 \
	" FROM pg_dist_shard s JOIN pg_dist_placement p USING (shardid)"                           \
	" JOIN pg_dist_node n ON n.groupid = p.groupid JOIN pg_dist_node o"                        \
	" ON o.groupid <> p.groupid AND o.groupid <> 0 AND o.shouldhaveshards"                     \
	" WHERE s.logicalrelid = '" CROWD_TABLE                                                    \
	"'::regclass ORDER BY md5(s.shardid || '$R') LIMIT 1"
#define MOVE(mode)                                                                                 \
	"?SELECT format('SELECT citus_move_shard_placement(%s, %L, %s, %L, %s, ''" mode            \
	"'')', s.shardid, n.nodename, n.nodeport, o.nodename, o.nodeport)" PLACEMENTS
#define SPLIT(mode)                                                                                \
	"?SELECT format('SELECT citus_split_shard_by_split_points(%s, ARRAY[%L], ARRAY[%s, %s],"   \
	" ''" mode "'')', s.shardid, (s.shardminvalue::int8 + s.shardmaxvalue::int8) / 2,"         \
	" n.nodeid, o.nodeid)" PLACEMENTS
#define DISTRIBUTE                                                                                 \
	"SELECT create_distributed_table('" CROWD_TABLE "', 'id', shard_count := " SHARDS ")"
#define NODE                                                                                       \
	"(SELECT nodeport FROM pg_dist_node WHERE groupid <> 0 ORDER BY md5(nodeport || '$R') LIMIT 1)"
#define DRAIN                                                                                      \
	"?SELECT format('SELECT citus_drain_node(''127.0.0.1'', %s, ''block_writes'')', " NODE ")"

#define SHOULD_HAVE_SHARDS                                                                         \
	"?SELECT format('SELECT citus_set_node_property(%L, %s, ''shouldhaveshards'', true)',"     \
	" nodename, nodeport) FROM pg_dist_node WHERE groupid <> 0 AND NOT shouldhaveshards"

struct event {
	const char *name;
	const char *steps[STEPS];
};

static const struct event events[] = {
    {.name = "move", .steps = {MOVE("block_writes")}},
    {.name = "move_online", .steps = {MOVE("force_logical")}},
    {.name = "split", .steps = {SPLIT("block_writes")}},
    {.name = "isolate",
     .steps = {"?SELECT 'SELECT isolate_tenant_to_new_shard(''" CROWD_TABLE
               "'', ' || ('x' || left(md5('$R'), 2))::bit(8)::int % 240 || ', ''CASCADE'', "
               "shard_transfer_mode := ''block_writes'')'"}},
    {.name = "rebalance",
     .steps = {"SELECT rebalance_table_shards('" CROWD_TABLE
               "', shard_transfer_mode := 'block_writes')"}},
    {.name = "drain",
     .steps = {DRAIN, SHOULD_HAVE_SHARDS,
               "SELECT rebalance_table_shards('" CROWD_TABLE
               "', shard_transfer_mode := 'block_writes')"}},
    {.name = "replace_node",
     .steps = {DRAIN, "CALL citus_cleanup_orphaned_resources()",
               "?SELECT string_agg(format('SELECT citus_remove_node(%L, %s)', nodename, nodeport), "
               "';') FROM pg_dist_node WHERE groupid <> 0 AND NOT shouldhaveshards",
               "?SELECT format('SELECT citus_add_node(''127.0.0.1'', %s)', port) FROM "
               "unnest(ARRAY[$W]) port WHERE port NOT IN (SELECT nodeport FROM pg_dist_node)",
               "SELECT rebalance_table_shards('" CROWD_TABLE
               "', shard_transfer_mode := 'block_writes')"}},
    {.name = "column",
     .steps = {"ALTER TABLE " CROWD_TABLE " ADD COLUMN more int DEFAULT 7",
               "ALTER TABLE " CROWD_TABLE " ALTER COLUMN more TYPE bigint",
               "ALTER TABLE " CROWD_TABLE " DROP COLUMN more"}},
    {.name = "index",
     .steps = {"CREATE INDEX CONCURRENTLY moving_version ON " CROWD_TABLE " (version)",
               "REINDEX INDEX CONCURRENTLY moving_version", "DROP INDEX moving_version"}},
    {.name = "reshard",
     .steps = {"?SELECT format('SELECT alter_distributed_table(''" CROWD_TABLE
               "'', shard_count := %s, cascade_to_colocated := false)', CASE count(*) WHEN 8 "
               "THEN 11 ELSE 8 END) FROM pg_dist_shard WHERE logicalrelid = '" CROWD_TABLE
               "'::regclass"}},
    {.name = "undistribute", .steps = {"SELECT undistribute_table('" CROWD_TABLE "')", DISTRIBUTE}},
    {.name = "reference",
     .steps = {"SELECT undistribute_table('" CROWD_TABLE "')",
               "SELECT create_reference_table('" CROWD_TABLE "')",
               "SELECT undistribute_table('" CROWD_TABLE "')", DISTRIBUTE}},
    {.name = "swap",
     .steps = {"BEGIN", "CREATE TABLE moving_copy (LIKE " CROWD_TABLE " INCLUDING ALL)",
               "SELECT create_distributed_table('moving_copy', 'id', shard_count := " SHARDS
               ", colocate_with := 'none')",
               "LOCK TABLE " CROWD_TABLE " IN ACCESS EXCLUSIVE MODE",
               "INSERT INTO moving_copy SELECT * FROM " CROWD_TABLE, "DROP TABLE " CROWD_TABLE,
               "ALTER TABLE moving_copy RENAME TO " CROWD_TABLE, "COMMIT"}},
    {.name = "vacuum_full", .steps = {"VACUUM FULL " CROWD_TABLE}},
};
#define NEVENTS (sizeof(events) / sizeof(events[0]))

/* What a failed event may leave behind. */
static const struct event mending = {
    .name = "mending",
    .steps = {"?SELECT format('SELECT citus_add_node(''127.0.0.1'', %s)', port) FROM "
              "unnest(ARRAY[$W]) port WHERE port NOT IN (SELECT nodeport FROM pg_dist_node)",
              SHOULD_HAVE_SHARDS,
              "?SELECT 'SELECT undistribute_table(''" CROWD_TABLE "'')' FROM pg_dist_partition "
              "WHERE logicalrelid = '" CROWD_TABLE "'::regclass AND partmethod <> 'h'",
              "?SELECT $$" DISTRIBUTE "$$ WHERE NOT EXISTS (SELECT FROM pg_dist_partition "
              "WHERE logicalrelid = '" CROWD_TABLE "'::regclass)",
              "ALTER TABLE " CROWD_TABLE " DROP COLUMN IF EXISTS more",
              "DROP INDEX IF EXISTS moving_version"},
};

/* ---- servers ---- */

#define SERVERS_MAX 2048

/* One time of five it is the coordinator. */
static enum cluster_node node_of(unsigned random)
{
	static const enum cluster_node nodes[] = {CLUSTER_WORKER1, CLUSTER_WORKER2, CLUSTER_WORKER1,
	                                          CLUSTER_WORKER2, CLUSTER_COORDINATOR};

	return nodes[random % 5];
}

static enum cluster_node worker_of(unsigned random)
{
	return random % 2 ? CLUSTER_WORKER1 : CLUSTER_WORKER2;
}

/* Process numbers of a node's servers, the first one's too, or those of pgtopk's connections. */
static void find_servers(enum cluster_node node, bool all, char pids[SERVERS_MAX])
{
	PGconn *conn = cluster_connect(node, NULL);

	snprintf(pids, SERVERS_MAX, "%s",
	         cluster_value(
		     conn, all ? "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1) || "
				 "' ' || string_agg(pid::text, ' ') FROM pg_stat_activity "
				 "WHERE pid <> pg_backend_pid()"
			       : "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE "
				 "application_name = 'pgtopk'"));
	PQfinish(conn);
}

/* Some may have ended meanwhile. */
static void send_signal(const char *name, const char *pids)
{
	if (*pids)
		cr_assert_neq(system(text("kill -%s %s 2>/dev/null", name, pids)), -1);
}

static void work_on(struct crowd *crowd, unsigned ms)
{
	crowd_work(crowd, NULL, ledger_now_us() + ms * UINT64_C(1000));
}

/* Starts it if it does not run, and waits until it answers. */
static void start_node(struct crowd *crowd, enum cluster_node node)
{
	const char *at =
	    text("host=127.0.0.1 port=%d user=postgres dbname=postgres", cluster_port(node));
	PGPing ping;

	while ((ping = PQping(at)) != PQPING_OK) {
		if (ping == PQPING_NO_RESPONSE)
			cluster_start_worker(node);
		work_on(crowd, 50);
		at = text("host=127.0.0.1 port=%d user=postgres dbname=postgres",
		          cluster_port(node));
	}
}

static void kill_node(struct crowd *crowd, unsigned random)
{
	char pids[SERVERS_MAX];

	find_servers(node_of(random), true, pids);
	send_signal("KILL", pids);
	work_on(crowd, 200 + random % 800);
	start_node(crowd, node_of(random));
}

static void stop_for_a_while(struct crowd *crowd, enum cluster_node node, unsigned random, bool all)
{
	char pids[SERVERS_MAX];

	find_servers(node, all, pids);
	send_signal("STOP", pids);
	work_on(crowd, 300 + random % 2500);
	send_signal("CONT", pids);
	work_on(crowd, 500);
}

static void stop_worker(struct crowd *crowd, unsigned random)
{
	stop_for_a_while(crowd, worker_of(random), random, true);
}

static void stop_connections(struct crowd *crowd, unsigned random)
{
	stop_for_a_while(crowd, node_of(random), random, false);
}

/* PostgreSQL then ends all the others and starts anew by itself. */
static void kill_connection(struct crowd *crowd, unsigned random)
{
	char pids[SERVERS_MAX];

	find_servers(node_of(random), false, pids);
	pids[strcspn(pids, " ")] = '\0';
	send_signal("KILL", pids);
	work_on(crowd, 1000);
	start_node(crowd, node_of(random));
}

static void restart_node(struct crowd *crowd, unsigned random)
{
	cluster_stop_worker(node_of(random));
	work_on(crowd, random % 500);
	start_node(crowd, node_of(random));
}

static const struct {
	const char *name;
	void (*act)(struct crowd *crowd, unsigned random);
} crashes[] = {
    {"kill_node", kill_node},
    {"stop_worker", stop_worker},
    {"kill_connection", kill_connection},
    {"stop_connections", stop_connections},
    {"restart_node", restart_node},
};
#define NCRASHES (sizeof(crashes) / sizeof(crashes[0]))

/* ---- playing ---- */

struct play {
	struct crowd *crowd;
	PGconn *direct; /* looks things up */
	PGconn *actor;  /* whose statements may take their time */
	struct dice dice;
};

/* A copy of the step with a random number for $R and the workers' ports for $W. */
static void fill_in(const char *step, unsigned random, char out[4096])
{
	size_t n = 0;

	for (; *step && n < 4000; step++) {
		if (strncmp(step, "$R", 2) == 0)
			n += (size_t)snprintf(out + n, 4096 - n, "%u", random);
		else if (strncmp(step, "$W", 2) == 0)
			n += (size_t)snprintf(out + n, 4096 - n, "%d, %d",
			                      cluster_port(CLUSTER_WORKER1),
			                      cluster_port(CLUSTER_WORKER2));
		else
			out[n++] = *step;
		if (strncmp(step, "$R", 2) == 0 || strncmp(step, "$W", 2) == 0)
			step++;
	}
	out[n] = '\0';
}

/* Everybody goes on working until the statement is done. */
static bool run(struct play *play, const char *name, const char *sql)
{
	PGresult *result;
	bool ok = PQsendQuery(play->actor, sql);

	if (ok)
		crowd_work(play->crowd, play->actor, UINT64_MAX);
	while ((result = PQgetResult(play->actor))) {
		if (PQresultStatus(result) == PGRES_FATAL_ERROR) {
			printf("%s: %s", name, PQresultErrorMessage(result));
			ok = false;
		}
		PQclear(result);
	}
	if (!ok && PQstatus(play->actor) == CONNECTION_OK)
		cluster_run(play->actor, "ROLLBACK");
	return ok;
}

static void connect_again(struct play *play)
{
	PQfinish(play->direct);
	PQfinish(play->actor);
	play->direct = cluster_connect(CLUSTER_COORDINATOR, NULL);
	play->actor = cluster_connect(CLUSTER_COORDINATOR, NULL);
	cluster_run(play->actor, "SET client_min_messages = error; SET statement_timeout = '40s'");
}

static bool play_event(struct play *play, const struct event *event, unsigned random)
{
	char step[4096], sql[4096];
	bool ok = true;

	for (unsigned i = 0; i < STEPS && event->steps[i] && ok; i++) {
		fill_in(event->steps[i], random, step);
		snprintf(sql, sizeof(sql), "%s",
		         *step == '?' ? cluster_value(play->direct, step + 1) : step);
		ok = !*sql || run(play, event->name, sql);
	}
	if (PQstatus(play->actor) != CONNECTION_OK)
		connect_again(play);
	return ok;
}

static bool is_named(const char *names, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = names; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, name, len) == 0 && (at[len] == ',' || at[len] == '\0'))
			return true;
	}
	return !names;
}

/* True if it was played and went well. */
static bool play_one(struct play *play, enum script_kind kind, const char *names)
{
	unsigned random = dice_below(&play->dice, 1000000);
	unsigned number = dice_below(&play->dice, kind == SCRIPT_CRASHES ? NCRASHES + 1 : NEVENTS);
	const char *name =
	    kind == SCRIPT_CRASHES && number < NCRASHES ? crashes[number].name : NULL;
	uint64_t began_us = ledger_now_us();
	bool ok = true;

	if (kind == SCRIPT_CRASHES && !name)
		number = 0; /* a move, right after it all */
	if (!is_named(names, name ? name : events[number].name))
		return false;
	if (name) {
		crashes[number].act(play->crowd, random);
		connect_again(play);
	} else {
		name = events[number].name;
		ok = play_event(play, &events[number], random);
		if (!ok)
			play_event(play, &mending, random);
	}
	printf("%s %s %.2f s\n", name, ok ? "done" : "failed",
	       (double)(ledger_now_us() - began_us) / 1e6);
	fflush(stdout);
	return ok;
}

unsigned script_play(struct crowd *crowd, enum script_kind kind, uint64_t seed, unsigned seconds,
                     const char *names)
{
	struct play play = {.crowd = crowd};
	uint64_t until_us = ledger_now_us() + seconds * UINT64_C(1000000);
	unsigned done = 0;

	connect_again(&play);
	dice_init(&play.dice, seed, 1);
	while (ledger_now_us() < until_us) {
		if (!play_one(&play, kind, names))
			continue;
		done++;
		work_on(crowd, dice_below(&play.dice, PAUSE_MS));
	}
	work_on(crowd, PAUSE_MS);
	PQfinish(play.direct);
	PQfinish(play.actor);
	return done;
}

/* ---- before and after ---- */

void script_prepare(void)
{
	/* what was committed must survive a crash */
	cluster_run_everywhere("ALTER SYSTEM SET synchronous_commit = on");
	cluster_run_everywhere("SELECT pg_reload_conf()");
	cluster_run_on(CLUSTER_COORDINATOR,
	               "SET client_min_messages = error; DROP TABLE IF EXISTS " CROWD_TABLE
	               ", moving_copy; CREATE TABLE " CROWD_TABLE
	               " (id bigint PRIMARY KEY, version int, e vector(3));" DISTRIBUTE);
}

void script_clean_up(void)
{
	cluster_run_on(CLUSTER_COORDINATOR, "DROP TABLE " CROWD_TABLE);
	cluster_run_on(CLUSTER_COORDINATOR, "CALL citus_cleanup_orphaned_resources()");
	cluster_run_on(CLUSTER_COORDINATOR,
	               "SELECT rebalance_table_shards(shard_transfer_mode := 'block_writes')");
	cluster_run_everywhere("ALTER SYSTEM RESET synchronous_commit");
	cluster_run_everywhere("SELECT pg_reload_conf()");
}
