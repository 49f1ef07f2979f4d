/*
 * Clients: real programs through pgtopk and direct: psql, pgbench in its three modes.
 * What they print must be the same.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "t/lib/program.h"
#include "t/lib/suite.h"

#define PSQL_MAX 65536

static const char psql_script[] =
    "\\set ON_ERROR_STOP off\n"
    "SELECT * FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 3;\n"
    "SELECT id AS first FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 1 \\gset\n"
    "\\echo :first\n"
    "SELECT id, made FROM items WHERE id <> :first ORDER BY embedding <-> '" Q8 "' LIMIT 3 \\gx\n"
    "SELECT id, embedding <-> '" Q8 "' FROM items ORDER BY 2 LIMIT 3 \\gdesc\n"
    "\\set FETCH_COUNT 3\n"
    "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 10;\n"
    "\\unset FETCH_COUNT\n"
    "SELECT id FROM items ORDER BY embedding <-> '[1]' LIMIT 10;\n"
    "\\echo :SQLSTATE :ROW_COUNT\n"
    "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 4;\n"
    "\\echo :SQLSTATE :ROW_COUNT\n"
    "BEGIN;\n"
    "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 2;\n"
    "COMMIT;\n"
    "\\copy (SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 3) TO STDOUT\n"
    "SELECT format('SELECT id FROM items ORDER BY embedding <-> %L LIMIT 2', '" Q8 "') \\gexec\n"
    "SELECT 1; SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 2 \\; SELECT 3;\n"
    "\\timing off\n"
    "\\d items\n"
    "\\set ON_ERROR_STOP on\n"
    "SELECT id FROM items ORDER BY no_such_column <-> '" Q8 "' LIMIT 2;\n"
    "\\echo not reached\n";

static char *run_psql(int port, const char *script, int *status)
{
	return program_run(text("psql -X -h 127.0.0.1 -p %d -U postgres -d postgres", port), script,
	                   status);
}

Test(clients, psql)
{
	struct instance *instance = instance_shared();
	int got_status, wanted_status;
	char *got, *wanted;

	if (!program_installed("psql")) {
		SKIP("psql", "psql is not installed");
		return;
	}
	got = run_psql(instance->port, psql_script, &got_status);
	wanted = run_psql(cluster_port(CLUSTER_COORDINATOR), psql_script, &wanted_status);
	cr_assert_str_eq(got, wanted);
	cr_assert_eq(WEXITSTATUS(got_status), 3);
	cr_assert_eq(got_status, wanted_status);
	cr_assert_null(strstr(got, "not reached"));
	if (instance->pid)
		cr_assert_geq(instance_count(instance, " event=routed "), 5);
	free(got);
	free(wanted);
}

/* psql 16 and later. */
Test(clients, psql_bind)
{
	static const char script[] =
	    "SELECT id, $2 FROM items ORDER BY embedding <-> $1 LIMIT 3 \\bind '" Q8 "' x \\g\n";
	struct instance *instance = instance_shared();
	int status;
	char *got, *wanted = run_psql(cluster_port(CLUSTER_COORDINATOR), script, &status);

	if (strstr(wanted, "invalid command \\bind")) {
		SKIP("psql_bind", "this psql has no \\bind");
		free(wanted);
		return;
	}
	got = run_psql(instance->port, script, &status);
	cr_assert_str_eq(got, wanted);
	instance_expect(instance, "routed", script);
	free(got);
	free(wanted);
}

/* psql on its own, stopped by Ctrl-C once it sleeps; what it says is the caller's to free. */
static char *interrupt_psql(int port)
{
	const char *const arguments[] = {
	    "psql", "-X",       "-h", "127.0.0.1",           "-p",       text("%d", port),
	    "-U",   "postgres", "-c", "SELECT pg_sleep(30)", "postgres", NULL};
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, NULL);
	char *output = calloc(1, PSQL_MAX);
	int ends[2], status;
	ssize_t n;
	size_t len = 0;
	pid_t pid;

	cr_assert(output && pipe(ends) == 0);
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		dup2(ends[1], STDERR_FILENO);
		execvp(arguments[0], (char *const *)arguments);
		_exit(127);
	}
	close(ends[1]);
	cr_assert(cluster_await(conn,
	                        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
	                        " AND query = 'SELECT pg_sleep(30)'",
	                        "1"));
	kill(pid, SIGINT);
	while ((n = read(ends[0], output + len, PSQL_MAX - 1 - len)) > 0)
		len += (size_t)n;
	close(ends[0]);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	PQfinish(conn);
	return output;
}

/* With on_versions by keys of protocol 3.2. */
Test(clients, psql_cancels)
{
	char *got, *wanted;

	if (!program_installed("psql")) {
		SKIP("psql_cancels", "psql is not installed");
		return;
	}
	got = interrupt_psql(instance_shared()->port);
	wanted = interrupt_psql(cluster_port(CLUSTER_COORDINATOR));
	cr_assert_str_eq(got, wanted);
	cr_assert_not_null(strstr(got, "canceling statement due to user request"), "%s", got);
	free(got);
	free(wanted);
}

static void pgbench(const char *mode)
{
	static const char script[] =
	    "\\set label random(0, 9)\n"
	    "SELECT id, name FROM items WHERE label = :label ORDER BY embedding <-> '" Q8
	    "' LIMIT 5;\n"
	    "SELECT :label + 1;\n"
	    "BEGIN;\n"
	    "SELECT count(*) FROM items WHERE id = 7;\n"
	    "END;\n";
	struct instance *instance = instance_shared();
	int status;
	char *output;

	if (!program_installed("pgbench")) {
		SKIP(mode, "pgbench is not installed");
		return;
	}
	output = program_run(text("pgbench -n -h 127.0.0.1 -p %d -U postgres -M %s -c 4 -j 2 -t 25 "
	                          "-f /dev/stdin postgres",
	                          instance->port, mode),
	                     script, &status);
	cr_assert_eq(status, 0, "%s", output);
	cr_assert_not_null(strstr(output, "transactions actually processed: 100/100"), "%s",
	                   output);
	if (instance->pid)
		cr_assert_eq(instance_count(instance, " event=routed "), 100, "%u routed",
		             instance_count(instance, " event=routed "));
	free(output);
}

Test(clients, pgbench_simple)
{
	pgbench("simple");
}

Test(clients, pgbench_extended)
{
	pgbench("extended");
}

Test(clients, pgbench_prepared)
{
	pgbench("prepared");
}
