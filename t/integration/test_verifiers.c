/*
 * Verifiers: users' SCRAM verifiers by auth_query on the coordinator and from
 * auth_file; what is said when they cannot be had.
 */
#include "proxy/verifiers.h"

#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "t/lib/back.h"
#include "t/lib/cluster.h"

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	(void)set;
	cluster_up();
	cluster_run_on(CLUSTER_COORDINATOR,
	               "DROP ROLE IF EXISTS v_alice, v_md5, v_none, v_plain, \"v_o'\"\"brien\";"
	               "SET password_encryption = 'scram-sha-256';"
	               "CREATE ROLE v_alice LOGIN PASSWORD 'sesame'; CREATE ROLE v_none LOGIN;"
	               "CREATE ROLE \"v_o'\"\"brien\" LOGIN PASSWORD 'sesame';"
	               "CREATE ROLE v_plain LOGIN;"
	               "SET password_encryption = 'md5';"
	               "CREATE ROLE v_md5 LOGIN PASSWORD 'sesame'");
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	cluster_run_on(CLUSTER_COORDINATOR,
	               "DROP ROLE IF EXISTS v_alice, v_md5, v_none, v_plain, \"v_o'\"\"brien\"");
}

/* Verifiers with a log of their own. */
struct fixture {
	struct back back;
	struct verifiers *verifiers;
	struct log *log;
	char log_path[64];
	int log_fd;
};

static void open_fixture(struct fixture *fixture, const char *const *options)
{
	char error[512] = "";

	back_open(&fixture->back, options);
	strcpy(fixture->log_path, "/tmp/pgtopk-log.XXXXXX");
	fixture->log_fd = mkstemp(fixture->log_path);
	cr_assert_geq(fixture->log_fd, 0);
	fixture->log = log_new(fixture->log_fd, LOG_DEBUG);
	fixture->verifiers = verifiers_new(fixture->back.loop, fixture->back.config, fixture->log,
	                                   fixture->back.pools, error, sizeof(error));
	cr_assert_not_null(fixture->verifiers, "%s", error);
}

static void close_fixture(struct fixture *fixture)
{
	verifiers_free(fixture->verifiers);
	back_close(&fixture->back);
	log_free(fixture->log);
	close(fixture->log_fd);
	unlink(fixture->log_path);
}

static const char *logged(const struct fixture *fixture)
{
	char said[4096];
	ssize_t len = pread(fixture->log_fd, said, sizeof(said) - 1, 0);

	cr_assert_geq(len, 0);
	said[len] = '\0';
	return text("%s", said);
}

static unsigned count(const char *in, const char *what)
{
	unsigned n = 0;

	while ((in = strstr(in, what)) != NULL) {
		in += strlen(what);
		n++;
	}
	return n;
}

struct asking {
	struct back *back;
	struct verifier_query *query;
	struct scram_verifier verifier;
	bool known, answered, done;
};

static void on_verifier(void *owner, const struct scram_verifier *verifier, bool answered)
{
	struct asking *asking = owner;

	cr_assert(!asking->done, "called twice");
	asking->done = true;
	asking->known = verifier != NULL;
	if (verifier)
		asking->verifier = *verifier;
	asking->answered = answered;
	loop_stop(asking->back->loop);
}

static void start(struct fixture *fixture, struct asking *asking, const char *user)
{
	*asking = (struct asking){.back = &fixture->back};
	asking->query = verifiers_ask(fixture->verifiers, user, on_verifier, asking);
	cr_assert(!asking->done, "called from within");
}

/* "known", "unknown" or "no answer". */
static const char *ask(struct fixture *fixture, const char *user)
{
	struct asking asking;

	start(fixture, &asking, user);
	back_wait(&fixture->back, &asking.done);
	if (!asking.answered) {
		cr_assert(!asking.known);
		return "no answer";
	}
	return asking.known ? "known" : "unknown";
}

static void says(struct fixture *fixture, const char *user, const char *expected)
{
	const char *said = ask(fixture, user);

	cr_assert_str_eq(said, expected, "%s: %s; %s", user, said, logged(fixture));
}

/* ---- auth_query ---- */

Test(verifiers, a_verifier_is_the_coordinators)
{
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, NULL);
	struct scram_verifier expected;
	struct fixture fixture;
	struct asking asking;

	cr_assert(scram_verifier_parse(
	    cluster_value(conn, "SELECT rolpassword FROM pg_authid WHERE rolname = 'v_alice'"),
	    &expected));
	PQfinish(conn);
	open_fixture(&fixture, NULL);
	start(&fixture, &asking, "v_alice");
	back_wait(&fixture.back, &asking.done);
	cr_assert(asking.known && asking.answered, "%s", logged(&fixture));
	cr_assert_str_eq(asking.verifier.salt, expected.salt);
	cr_assert_eq(asking.verifier.iterations, expected.iterations);
	cr_assert_arr_eq(asking.verifier.stored_key, expected.stored_key, SCRAM_KEY_LEN);
	cr_assert_arr_eq(asking.verifier.server_key, expected.server_key, SCRAM_KEY_LEN);
	close_fixture(&fixture);
}

Test(verifiers, users_without_one_are_answered_and_unknown)
{
	struct fixture fixture;

	open_fixture(&fixture, NULL);
	says(&fixture, "v_md5", "unknown");
	says(&fixture, "v_none", "unknown");
	says(&fixture, "v_nobody", "unknown");
	says(&fixture, "", "unknown");
	cr_assert_str_eq(logged(&fixture), "");
	close_fixture(&fixture);
}

Test(verifiers, CVE_2025_12819_nothing_of_the_client_reaches_the_query_but_as_a_parameter)
{
	struct fixture fixture;

	open_fixture(&fixture, NULL);
	says(&fixture, "v_o'\"brien", "known");
	says(&fixture, "' OR true --", "unknown");
	says(&fixture, "v_alice'; SELECT 1; --", "unknown");
	close_fixture(&fixture);
}

Test(verifiers, a_changed_password_counts_at_once)
{
	struct fixture fixture;

	open_fixture(&fixture, NULL);
	says(&fixture, "v_plain", "unknown");
	cluster_run_on(CLUSTER_COORDINATOR, "SET password_encryption = 'scram-sha-256'; "
	                                    "ALTER ROLE v_plain PASSWORD 'sesame'");
	says(&fixture, "v_plain", "known");
	cluster_run_on(CLUSTER_COORDINATOR, "ALTER ROLE v_plain PASSWORD NULL");
	says(&fixture, "v_plain", "unknown");
	close_fixture(&fixture);
}

Test(verifiers, search_path_is_pinned)
{
	static const char *const options[] = {
	    "auth_query",
	    "SELECT CASE WHEN current_setting('search_path') = 'pg_catalog, pg_temp' THEN "
	    "(SELECT rolpassword FROM pg_authid WHERE rolname = $1) END",
	    NULL};
	struct fixture fixture;

	cluster_run_on(CLUSTER_COORDINATOR, "ALTER ROLE postgres SET search_path = public");
	open_fixture(&fixture, options);
	says(&fixture, "v_alice", "known");
	close_fixture(&fixture);
	cluster_run_on(CLUSTER_COORDINATOR, "ALTER ROLE postgres RESET search_path");
}

/* What an auth_query says, and what the log says of it. */
static void query_fails(const char *sql, const char *why)
{
	const char *const options[] = {"auth_query", sql, NULL};
	struct fixture fixture;

	open_fixture(&fixture, options);
	says(&fixture, "v_alice", "no answer");
	cr_assert(strstr(logged(&fixture), why), "%s: %s", sql, logged(&fixture));
	/* and again, but that is not logged again within the minute */
	says(&fixture, "v_alice", "no answer");
	cr_assert_eq(count(logged(&fixture), "event=auth_query_failed"), 1, "%s", logged(&fixture));
	close_fixture(&fixture);
}

Test(verifiers, a_query_that_fails_is_no_answer_and_logged_once)
{
	query_fails("SELECT 1/0, $1::text", "division by zero (SQLSTATE 22012)");
	query_fails("SELECT nonsense", "42703");
	query_fails("SELECT rolname, rolpassword FROM pg_authid WHERE rolname IN ($1, 'v_none')",
	            "more than one row");
	query_fails(
	    "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = 'v_md5' AND $1 > ''",
	    "another user than the one that was asked for");
	query_fails("SELECT upper($1), rolpassword FROM pg_authid WHERE rolname = $1",
	            "another user than the one that was asked for");
	query_fails("SELECT 1, 2, rolpassword FROM pg_authid WHERE rolname = $1",
	            "neither one nor two columns");
	query_fails("SELECT NULL, rolpassword FROM pg_authid WHERE rolname = $1",
	            "another user than the one that was asked for");
}

Test(verifiers, one_column_is_enough)
{
	static const char *const options[] = {
	    "auth_query", "SELECT rolpassword FROM pg_authid WHERE rolname = $1", NULL};
	struct fixture fixture;

	open_fixture(&fixture, options);
	says(&fixture, "v_alice", "known");
	says(&fixture, "v_nobody", "unknown");
	close_fixture(&fixture);
}

Test(verifiers, a_user_who_may_not_read_verifiers_gets_no_answer)
{
	const char *conninfo = text("host=127.0.0.1 port=%d user=v_none dbname=postgres",
	                            cluster_port(CLUSTER_COORDINATOR));
	const char *const options[] = {"coordinator", conninfo, NULL};
	struct fixture fixture;

	open_fixture(&fixture, options);
	says(&fixture, "v_alice", "no answer");
	cr_assert(
	    strstr(logged(&fixture), "permission denied for table pg_authid (SQLSTATE 42501)"),
	    "%s", logged(&fixture));
	close_fixture(&fixture);
}

Test(verifiers, a_coordinator_that_is_away_is_no_answer)
{
	static const char *const options[] = {
	    "coordinator", "host=127.0.0.1 port=1 user=postgres dbname=postgres", NULL};
	struct fixture fixture;

	open_fixture(&fixture, options);
	says(&fixture, "v_alice", "no answer");
	cr_assert(strstr(logged(&fixture), "event=auth_query_failed"), "%s", logged(&fixture));
	close_fixture(&fixture);
}

Test(verifiers, a_query_that_takes_too_long_is_no_answer)
{
	static const char *const options[] = {"auth_query", "SELECT pg_sleep(30)::text || $1",
	                                      "worker_timeout", "300ms", NULL};
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, NULL);
	struct fixture fixture;

	open_fixture(&fixture, options);
	says(&fixture, "v_alice", "no answer");
	cr_assert(strstr(logged(&fixture), "no answer in time (worker_timeout)"), "%s",
	          logged(&fixture));
	/* and the coordinator is not left with it */
	cr_assert(cluster_await(conn,
	                        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' "
	                        "AND query LIKE 'SELECT pg_sleep(30)%'",
	                        "0"));
	PQfinish(conn);
	close_fixture(&fixture);
}

Test(verifiers, a_connection_that_died_while_idle_is_replaced)
{
	struct fixture fixture;

	open_fixture(&fixture, NULL);
	says(&fixture, "v_alice", "known");
	cluster_run_on(CLUSTER_COORDINATOR,
	               "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
	               "application_name = 'pgtopk' AND pid <> pg_backend_pid()");
	says(&fixture, "v_alice", "known");
	close_fixture(&fixture);
}

Test(verifiers, many_questions_at_once_are_all_answered)
{
	static const char *const options[] = {"pool_size", "4", NULL};
	static struct asking asking[200];
	struct fixture fixture;

	open_fixture(&fixture, options);
	for (unsigned i = 0; i < 200; i++)
		start(&fixture, &asking[i], i % 2 ? "v_alice" : "v_nobody");
	for (unsigned i = 0; i < 200; i++) {
		back_wait(&fixture.back, &asking[i].done);
		cr_assert(asking[i].answered && asking[i].known == (i % 2 == 1), "%u: %s", i,
		          logged(&fixture));
	}
	close_fixture(&fixture);
}

Test(verifiers, a_question_given_up_is_never_answered)
{
	static const char *const options[] = {
	    "pool_size", "1", "auth_query",
	    "SELECT rolpassword FROM pg_authid, pg_sleep(0.1) WHERE rolname = $1", NULL};
	struct asking waiting, running, later;
	struct fixture fixture;

	open_fixture(&fixture, options);
	says(&fixture, "v_alice", "known");
	start(&fixture, &running, "v_alice"); /* has the one connection */
	start(&fixture, &waiting, "v_alice");
	verifier_query_free(waiting.query);
	verifier_query_free(running.query);
	verifier_query_free(NULL);
	start(&fixture, &later, "v_alice");
	back_wait(&fixture.back, &later.done);
	cr_assert(later.known && !waiting.done && !running.done);
	/* and one that is under way when all ends */
	start(&fixture, &running, "v_alice");
	verifier_query_free(running.query);
	close_fixture(&fixture);
}

/* ---- auth_file ---- */

static const char *write_users(const char *content)
{
	static char path[] = "/tmp/pgtopk-users";
	FILE *file = fopen(path, "w");

	cr_assert_not_null(file);
	fputs(content, file);
	fclose(file);
	return path;
}

#define VERIFIER                                                                                   \
	"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"                                             \
	"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

Test(verifiers, the_file_is_looked_at_before_the_query)
{
	const char *path = write_users("\"v_nobody\" \"" VERIFIER "\"\n");
	const char *const options[] = {"auth_file", path, NULL};
	struct fixture fixture;

	open_fixture(&fixture, options);
	says(&fixture, "v_nobody", "known");
	says(&fixture, "v_alice", "known");
	says(&fixture, "v_none", "unknown");
	close_fixture(&fixture);
	unlink(path);
}

/* Who is not in it may still be let in by the coordinator. */
Test(verifiers, without_a_query_the_file_does_not_say_who_is_unknown)
{
	const char *path = write_users("\"v_nobody\" \"" VERIFIER "\"\n");
	const char *const options[] = {"auth_file", path, "auth_query", "", NULL};
	struct fixture fixture;

	open_fixture(&fixture, options);
	says(&fixture, "v_nobody", "known");
	says(&fixture, "v_alice", "no answer");
	cr_assert_null(strstr(logged(&fixture), "event=auth_query_failed"));
	close_fixture(&fixture);
	unlink(path);
}

Test(verifiers, a_reload_that_fails_leaves_what_was_read_before)
{
	const char *path = write_users("\"v_nobody\" \"" VERIFIER "\"\n");
	const char *const options[] = {"auth_file", path, "auth_query", "", NULL};
	struct fixture fixture;
	char error[256] = "";

	open_fixture(&fixture, options);
	write_users("nonsense\n");
	cr_assert(!verifiers_reload(fixture.verifiers, error, sizeof(error)));
	cr_assert(strstr(error, ":1: "), "%s", error);
	says(&fixture, "v_nobody", "known");
	write_users("\"v_other\" \"" VERIFIER "\"\n");
	cr_assert(verifiers_reload(fixture.verifiers, error, sizeof(error)));
	says(&fixture, "v_nobody", "no answer");
	says(&fixture, "v_other", "known");
	close_fixture(&fixture);
	unlink(path);
}

static void set(struct fixture *fixture, const char *key, const char *value)
{
	char error[256];

	cr_assert(config_set(fixture->back.config, "test", key, value, error, sizeof(error)), "%s",
	          error);
	cr_assert(verifiers_reload(fixture->verifiers, error, sizeof(error)), "%s", error);
}

Test(verifiers, file_and_query_come_and_go_with_a_reload)
{
	const char *path = write_users("\"v_nobody\" \"" VERIFIER "\"\n");
	static const char *const options[] = {"auth_query", "", NULL};
	struct asking waiting, running;
	struct fixture fixture;

	open_fixture(&fixture, options);
	says(&fixture, "v_nobody", "no answer");
	set(&fixture, "auth_file", path);
	says(&fixture, "v_nobody", "known");
	set(&fixture, "auth_file", "");
	says(&fixture, "v_nobody", "no answer");
	set(&fixture, "auth_query", "SELECT rolpassword FROM pg_authid WHERE rolname = $1");
	says(&fixture, "v_alice", "known");
	/* one has the connection, one is still waiting for another */
	start(&fixture, &running, "v_alice");
	start(&fixture, &waiting, "v_alice");
	set(&fixture, "auth_query", "");
	back_wait(&fixture.back, &running.done);
	back_wait(&fixture.back, &waiting.done);
	cr_assert(running.known && !waiting.answered);
	says(&fixture, "v_alice", "no answer");
	close_fixture(&fixture);
	unlink(path);
}

Test(verifiers, a_file_that_cannot_be_read_is_an_error)
{
	static const char *const options[] = {"auth_file", "/nowhere/users", NULL};
	struct back back;
	char error[256] = "";

	back_open(&back, options);
	cr_assert_null(
	    verifiers_new(back.loop, back.config, back.log, back.pools, error, sizeof(error)));
	cr_assert_str_eq(error, "/nowhere/users: No such file or directory");
	back_close(&back);
}
