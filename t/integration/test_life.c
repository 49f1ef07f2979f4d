/*
 * Life: what SIGHUP changes, and how sessions end when pgtopk is told to end: with their
 * transaction, at the deadline, or at once; always with PostgreSQL's own words.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "t/lib/cluster.h"
#include "t/lib/instance.h"
#include "t/lib/raw.h"

#define GONE                                                                                       \
	"ErrorResponse S=FATAL V=FATAL C=57P01 "                                                   \
	"M=terminating connection due to administrator command\nend\n"
#define READY "ReadyForQuery I\n"
#define UP_TO_END 0xff /* no message has that type */

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	const char *binary = getenv("PGTOPK_BINARY");

	(void)set;
	if (binary && strcmp(binary, "none") == 0) {
		printf("SKIP: life: there is no pgtopk to look at\n");
		exit(EXIT_SUCCESS);
	}
	cluster_up();
}

/* ---- an instance with a configuration file ---- */

struct life {
	struct instance instance;
	char path[64];
};

static void write_file(const struct life *life, const char *content)
{
	FILE *file = fopen(life->path, "w");

	cr_assert_not_null(file);
	fputs(content, file);
	cr_assert_eq(fclose(file), 0);
}

static void begin(struct life *life, const char *content)
{
	const char *options[] = {"-c", life->path, NULL};
	int fd;

	strcpy(life->path, "/tmp/pgtopk-life-XXXXXX");
	fd = mkstemp(life->path);
	cr_assert_geq(fd, 0);
	close(fd);
	write_file(life, content);
	instance_start(&life->instance, options);
}

static void finish(struct life *life)
{
	instance_stop(&life->instance);
	unlink(life->path);
}

/* SIGHUP, with that in the file; waits for its end, which is `event`. */
static void reload(struct life *life, const char *content, const char *event)
{
	write_file(life, content);
	instance_skip_log(&life->instance);
	kill(life->instance.pid, SIGHUP);
	instance_await(&life->instance, event);
}

static void logs(const struct life *life, const char *line)
{
	cr_assert_eq(instance_count(&life->instance, line), 1, "not in the log: %s", line);
}

/* ---- reload ---- */

static bool may_connect(const struct life *life)
{
	PGconn *conn = PQconnectdb(
	    text("host=127.0.0.1 port=%d user=postgres dbname=postgres", life->instance.port));
	bool ok = PQstatus(conn) == CONNECTION_OK;

	if (!ok)
		cr_assert_not_null(
		    strstr(PQerrorMessage(conn), "FATAL:  sorry, too many clients already"), "%s",
		    PQerrorMessage(conn));
	PQfinish(conn);
	return ok;
}

Test(life, a_changed_limit_holds_from_the_reload_on)
{
	struct life life;
	PGconn *first;

	begin(&life, "max_clients = 1\n");
	first = instance_connect(&life.instance, NULL);
	cr_assert(!may_connect(&life));
	reload(&life, "max_clients = 2\npool_wait_timeout = 90s # new\n", "event=reload_done");
	logs(&life, "level=info event=reloaded option=max_clients from=1 to=2\n");
	logs(&life, "level=info event=reloaded option=pool_wait_timeout from=10s to=90s\n");
	logs(&life, "level=info event=reload_done changed=2 restart_needed=0\n");
	cr_assert(may_connect(&life));
	cr_assert_str_eq(cluster_value(first, "SELECT 1"), "1");
	reload(&life, "max_clients = 1\npool_wait_timeout = 90s\n", "event=reload_done");
	cr_assert(!may_connect(&life));
	cr_assert_str_eq(cluster_value(first, "SELECT 1"), "1", "an old client stays");
	reload(&life, "", "event=reload_done");
	logs(&life, "event=reloaded option=pool_wait_timeout from=90s to=10s\n");
	PQfinish(first);
	finish(&life);
}

Test(life, the_command_line_still_counts_more)
{
	struct life life;

	begin(&life, "log_routed = off\n"); /* the command line says on */
	reload(&life, "log_routed = no\nlisten = nowhere:1\n", "event=reload_done");
	logs(&life, "event=reload_done changed=0 restart_needed=0\n");
	finish(&life);
}

Test(life, a_wrong_file_changes_nothing)
{
	static const char *const wrong[][2] = {
	    {"max_clients = 9\nlanes = 0\n", ":2: lanes: 0 is out of range; give 1 to 64\"\n"},
	    {"max_clients = 9\nlane = 1\n", ":2: lane: there is no such setting; did you mean "},
	    {"max_clients = 9\nworker = nonsense\n", "error=\"worker: no connection string"},
	};
	struct life life;

	begin(&life, "max_clients = 1\n");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		reload(&life, wrong[i][0], "level=error event=reload_failed error=");
		logs(&life, wrong[i][1]);
		cr_assert_eq(instance_count(&life.instance, "event=reloaded"), 0);
	}
	unlink(life.path);
	instance_skip_log(&life.instance);
	kill(life.instance.pid, SIGHUP);
	instance_await(&life.instance, "cannot read it: No such file or directory");
	write_file(&life, "max_clients = 1\n");
	reload(&life, "max_clients = 1\n", "event=reload_done changed=0 restart_needed=0\n");
	finish(&life);
}

Test(life, what_needs_a_restart_is_named_and_stays)
{
	struct life life;

	begin(&life, "");
	for (int i = 0; i < 2; i++) {
		reload(&life, "plan_cache_size = 1MB\nnode_map = a=b\nlanes = 2\n",
		       "event=reload_done");
		logs(&life, "level=warning event=restart_needed option=plan_cache_size\n");
		logs(&life, "level=warning event=restart_needed option=node_map\n");
		logs(&life, i == 0 ? "event=reload_done changed=1 restart_needed=2\n"
		                   : "event=reload_done changed=0 restart_needed=2\n");
	}
	finish(&life);
}

Test(life, a_reload_logs_no_secret)
{
	struct life life;

	begin(&life, "worker = password=hunter1\n");
	reload(&life, "worker = password=hunter2\nauth_query = SELECT 'hunter3'\n",
	       "event=reload_done");
	logs(&life, "event=reloaded option=worker changed=yes\n");
	logs(&life, "event=reloaded option=auth_query changed=yes\n");
	reload(&life, "worker = password=a hunter4\n", "event=reload_failed");
	life.instance.log_at = 0;
	cr_assert_eq(instance_count(&life.instance, "hunter"), 0);
	finish(&life);
}

/* Two signals that wait are taken in any order; the one behind a reload was taken before
 * the next reload is over. */
static void ask_for_statistics(struct life *life)
{
	kill(life->instance.pid, SIGUSR1);
	for (int i = 0; i < 2; i++)
		reload(life, "lanes = 0\n", "event=reload_failed");
}

Test(life, the_log_level_changes)
{
	struct life life;

	begin(&life, "log_level = error\n");
	ask_for_statistics(&life);
	reload(&life, "log_level = info\n", "event=reload_done");
	logs(&life, "event=reloaded option=log_level from=error to=info\n");
	kill(life.instance.pid, SIGUSR1);
	instance_await(&life.instance, "event=statistics");
	reload(&life, "log_level = error\n", "event=reload_done");
	ask_for_statistics(&life);
	life.instance.log_at = 0;
	cr_assert_eq(instance_count(&life.instance, "event=statistics clients="), 1);
	finish(&life);
}

#define QUERY "SELECT id FROM life ORDER BY v <-> '[1,2]' LIMIT 1"

static void make_table(void)
{
	cluster_shard("life", "id int, v vector(2)", "HASH (id)", 2, 0);
}

/* A connection's options are those of its time; the next one has the new ones. */
Test(life, new_worker_connections_have_the_new_options)
{
	const char *of_worker = "SELECT string_agg(DISTINCT application_name, ',') "
				"FROM pg_stat_activity WHERE application_name ~ '^life'";
	PGconn *worker = cluster_connect(CLUSTER_WORKER1, NULL), *conn;
	struct life life;

	make_table();
	begin(&life, "worker = fallback_application_name=life1\n");
	conn = instance_connect(&life.instance, NULL);
	cluster_value(conn, QUERY);
	instance_expect(&life.instance, "routed", QUERY);
	cr_assert_str_eq(cluster_value(worker, of_worker), "life1");
	reload(&life, "worker = fallback_application_name=life2\n", "event=reload_done");
	cluster_value(worker, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
	                      "WHERE application_name = 'life1'");
	cr_assert(cluster_await(worker,
	                        "SELECT count(*) FROM pg_stat_activity "
	                        "WHERE application_name = 'life1'",
	                        "0"));
	for (int i = 0; i < 50 && strcmp(cluster_value(worker, of_worker), "life2") != 0; i++)
		cluster_value(conn, QUERY);
	cr_assert_str_eq(cluster_value(worker, of_worker), "life2");
	PQfinish(conn);
	PQfinish(worker);
	finish(&life);
}

/* ---- ending ---- */

static void start(struct instance *instance, const char *timeout)
{
	const char *options[] = {"--shutdown-timeout", timeout, "--connect-timeout", "1min", NULL};

	instance_start(instance, options);
}

static void ask(struct raw *raw, const char *sql)
{
	wire_put_query(&raw->out, sql);
	raw_send(raw, 0);
}

/* What comes up to the n-th ReadyForQuery, or up to the end for 0, is exactly that. */
static void hears(struct raw *raw, unsigned n, const char *wanted)
{
	char *said = raw_read(raw, n > 0 ? WIRE_BE_ReadyForQuery : UP_TO_END, n > 0 ? n : 1);

	cr_assert_str_eq(said, wanted);
	free(said);
}

static void begin_transaction(struct raw *raw, const struct instance *instance)
{
	raw_login(raw, instance->port);
	ask(raw, "BEGIN");
	hears(raw, 1, "CommandComplete BEGIN\\0\nReadyForQuery T\n");
}

static bool may_reach(int port)
{
	PGconn *conn = PQconnectdb(
	    text("host=127.0.0.1 port=%d user=postgres dbname=postgres connect_timeout=5", port));
	bool reached = PQstatus(conn) == CONNECTION_OK;

	if (!reached)
		cr_assert_not_null(strstr(PQerrorMessage(conn), "Connection refused"), "%s",
		                   PQerrorMessage(conn));
	PQfinish(conn);
	return reached;
}

Test(life, an_idle_client_is_told_and_that_is_the_end)
{
	struct instance instance;
	struct raw logged_in, silent;

	start(&instance, "1h");
	raw_open(&silent, instance.port); /* accepted before the next one is */
	raw_login(&logged_in, instance.port);
	instance_skip_log(&instance);
	instance_end(&instance, SIGTERM);
	hears(&logged_in, 0, GONE);
	hears(&silent, 0, "end\n");
	cr_assert_eq(instance_count(&instance, "event=stopping signal=TERM clients=2\n"), 1);
	cr_assert_eq(instance_count(&instance, "event=draining clients=0 timeout_ms=3600000\n"), 1);
	raw_close(&logged_in);
	raw_close(&silent);
	instance_forget(&instance);
}

Test(life, an_open_transaction_ends_as_it_would)
{
	PGconn *direct = cluster_connect(CLUSTER_COORDINATOR, NULL);
	struct instance instance;
	struct raw raw;

	cluster_run(direct, "CREATE TABLE IF NOT EXISTS life_kept (a int); TRUNCATE life_kept");
	start(&instance, "1h");
	begin_transaction(&raw, &instance);
	kill(instance.pid, SIGTERM);
	instance_await(&instance, "event=draining clients=1 ");
	cr_assert(!raw_readable(&raw, 100));
	cr_assert(!may_reach(instance.port), "new clients are let in");
	ask(&raw, "INSERT INTO life_kept VALUES (1)");
	hears(&raw, 1, "CommandComplete INSERT 0 1\\0\nReadyForQuery T\n");
	cr_assert(!raw_readable(&raw, 100));
	ask(&raw, "COMMIT");
	hears(&raw, 0, "CommandComplete COMMIT\\0\n" READY GONE);
	instance_end(&instance, 0);
	cr_assert_str_eq(cluster_value(direct, "SELECT count(*) FROM life_kept"), "1");
	raw_close(&raw);
	instance_forget(&instance);
	PQfinish(direct);
}

Test(life, a_failed_transaction_is_open_too)
{
	struct instance instance;
	struct raw raw;

	start(&instance, "1h");
	begin_transaction(&raw, &instance);
	ask(&raw, "SELECT 1/0");
	free(raw_read(&raw, WIRE_BE_ReadyForQuery, 1));
	kill(instance.pid, SIGTERM);
	instance_await(&instance, "event=draining clients=1 ");
	cr_assert(!raw_readable(&raw, 100));
	ask(&raw, "ROLLBACK");
	hears(&raw, 0, "CommandComplete ROLLBACK\\0\n" READY GONE);
	instance_end(&instance, 0);
	raw_close(&raw);
	instance_forget(&instance);
}

Test(life, a_running_statement_gives_its_result)
{
	PGconn *direct = cluster_connect(CLUSTER_COORDINATOR, NULL);
	struct instance instance;
	struct raw raw;

	start(&instance, "1h");
	raw_login(&raw, instance.port);
	cluster_run(direct, "SELECT pg_advisory_lock(17280)");
	ask(&raw, "SELECT 1 FROM pg_advisory_lock(17280)");
	cr_assert(cluster_await(direct, "SELECT count(*) FROM pg_locks WHERE NOT granted", "1"));
	kill(instance.pid, SIGTERM);
	instance_await(&instance, "event=draining clients=1 ");
	cr_assert(!raw_readable(&raw, 100));
	PQfinish(direct);
	hears(
	    &raw, 0,
	    "RowDescription \\0\\1?column?\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\17\\0\\4\\ff\\ff\\ff\\ff\\0\\0\n"
	    "DataRow \\0\\1\\0\\0\\0\\11\nCommandComplete SELECT 1\\0\n" READY GONE);
	instance_end(&instance, 0);
	raw_close(&raw);
	instance_forget(&instance);
}

Test(life, a_batch_without_its_sync_is_open)
{
	struct instance instance;
	struct raw raw;

	start(&instance, "1h");
	raw_login(&raw, instance.port);
	raw_put_statement(&raw.out, "SELECT 1", 0, NULL);
	wire_put_bare(&raw.out, WIRE_FE_Flush);
	raw_send(&raw, 0);
	free(raw_read(&raw, WIRE_BE_CommandComplete, 1));
	kill(instance.pid, SIGTERM);
	instance_await(&instance, "event=draining clients=1 ");
	cr_assert(!raw_readable(&raw, 100));
	wire_put_bare(&raw.out, WIRE_FE_Sync);
	raw_send(&raw, 0);
	hears(&raw, 0, READY GONE);
	instance_end(&instance, 0);
	raw_close(&raw);
	instance_forget(&instance);
}

/* The same where the shards have answered: the coordinator knows nothing of it. */
Test(life, a_routed_batch_without_its_sync_is_open)
{
	struct instance instance;
	struct raw raw;

	make_table();
	start(&instance, "1h");
	raw_login(&raw, instance.port);
	raw_put_statement(&raw.out, QUERY, 0, NULL);
	wire_put_bare(&raw.out, WIRE_FE_Flush);
	raw_send(&raw, 0);
	free(raw_read(&raw, WIRE_BE_CommandComplete, 1));
	instance_expect(&instance, "routed", QUERY);
	kill(instance.pid, SIGTERM);
	instance_await(&instance, "event=draining clients=1 ");
	cr_assert(!raw_readable(&raw, 100));
	wire_put_bare(&raw.out, WIRE_FE_Sync);
	raw_send(&raw, 0);
	hears(&raw, 0, READY GONE);
	instance_end(&instance, 0);
	raw_close(&raw);
	instance_forget(&instance);
}

/* Not by strstr(): where sanitizers look on, it measures the whole text each time. */
static unsigned count_lines(const char *text, const char *beginning)
{
	unsigned count = 0;

	for (const char *end = text + strlen(text); text < end; text++) {
		count += (size_t)(end - text) >= strlen(beginning) &&
		         memcmp(text, beginning, strlen(beginning)) == 0;
		text = memchr(text, '\n', (size_t)(end - text));
		if (!text)
			break;
	}
	return count;
}

/* More than the buffers on the way hold: the coordinator is not done, then pgtopk is not. */
Test(life, a_result_that_is_still_being_read_arrives_whole)
{
	struct instance instance;
	struct raw raw;
	char *said;
	size_t len;

	start(&instance, "1h");
	raw_login(&raw, instance.port);
	ask(&raw, "SELECT repeat('x', 1000) FROM generate_series(1, 20000)");
	cr_assert(raw_readable(&raw, 10000));
	kill(instance.pid, SIGTERM);
	instance_await(&instance, "event=draining clients=1 ");
	usleep(100 * 1000);
	said = raw_read(&raw, UP_TO_END, 1);
	len = strlen(said);
	cr_assert_eq(count_lines(said, "DataRow "), 20000);
	cr_assert_str_eq(said + len - strlen(READY GONE), READY GONE);
	free(said);
	instance_end(&instance, 0);
	raw_close(&raw);
	instance_forget(&instance);
}

/* pgtopk owes nothing but what the client is slow to read; the rest of its queries are still
 * to be sent on. Up to where it ends all is whole. */
Test(life, answers_that_are_still_being_read_arrive_whole)
{
	struct instance instance;
	unsigned asked = 0, answered;
	struct raw raw;
	char *said;
	size_t len;

	start(&instance, "1h");
	raw_login(&raw, instance.port);
	for (; asked < 2000; asked++) { /* one by one, so that none is owed when all is full */
		wire_put_query(&raw.out, "SELECT repeat('x', 4000)");
		cr_assert_gt(send(raw.fd, iobuf_head(&raw.out), iobuf_len(&raw.out), 0), 0);
		iobuf_consume(&raw.out, iobuf_len(&raw.out));
		usleep(1500);
	}
	usleep(200 * 1000);
	kill(instance.pid, SIGTERM);
	instance_await(&instance, "event=draining clients=1 ");
	usleep(100 * 1000);
	said = raw_read(&raw, UP_TO_END, 1);
	len = strlen(said);
	answered = count_lines(said, "CommandComplete SELECT 1");
	cr_assert(answered > 0 && answered <= asked);
	cr_assert_str_eq(said + len - strlen(READY GONE), READY GONE);
	free(said);
	instance_end(&instance, 0);
	raw_close(&raw);
	instance_forget(&instance);
}

Test(life, at_the_deadline_the_rest_is_ended)
{
	struct instance instance;
	struct raw idle, busy;

	start(&instance, "300ms");
	begin_transaction(&idle, &instance);
	raw_login(&busy, instance.port);
	ask(&busy, "SELECT pg_sleep(5)");
	cr_assert(!raw_readable(&busy, 100));
	instance_end(&instance, SIGTERM);
	hears(&idle, 0, GONE);
	hears(&busy, 0, GONE);
	cr_assert_eq(instance_count(&instance, "level=warning event=drain_timeout clients=2\n"), 1);
	raw_close(&idle);
	raw_close(&busy);
	instance_forget(&instance);
}

/* Each of them, with a transaction that would hold up SIGTERM for an hour. */
static void ends_at_once(int first, int second, const char *name)
{
	struct instance instance;
	struct raw raw;

	start(&instance, "1h");
	begin_transaction(&raw, &instance);
	if (first) {
		kill(instance.pid, first);
		instance_await(&instance, "event=draining clients=1 ");
		cr_assert(!raw_readable(&raw, 100));
	}
	instance_end(&instance, second);
	hears(&raw, 0, GONE);
	cr_assert_eq(instance_count(&instance, text("event=stopping signal=%s clients=1\n", name)),
	             first == second ? 2 : 1);
	raw_close(&raw);
	instance_forget(&instance);
}

Test(life, an_interrupt_ends_at_once)
{
	ends_at_once(0, SIGINT, "INT");
	ends_at_once(0, SIGQUIT, "QUIT");
}

Test(life, a_second_signal_ends_at_once)
{
	ends_at_once(SIGTERM, SIGTERM, "TERM");
	ends_at_once(SIGTERM, SIGINT, "INT");
}

/* In the middle of a message nothing can be said: the connection just ends. */
Test(life, half_a_message_gets_no_other_behind_it)
{
	struct instance instance;
	struct raw raw;
	char *said;

	start(&instance, "1h");
	raw_login(&raw, instance.port);
	ask(&raw, "SELECT repeat('x', 50000000)");
	cr_assert(raw_readable(&raw, 10000));
	instance_end(&instance, SIGINT);
	said = raw_read_bytes(&raw);
	cr_assert_null(strstr(said, "57P01"));
	free(said);
	raw_close(&raw);
	instance_forget(&instance);
}
