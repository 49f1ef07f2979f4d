/*
 * Check: pgtopk --check, above all what it says of roles' passwords.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "t/lib/cluster.h"

#define CLEAN "DROP ROLE IF EXISTS c_same, c_other, c_md5, c_poor"

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	(void)set;
	cluster_up();
	cluster_shard("c_items", "id int, e vector(3)", "HASH (id)", 4, 0);
	cluster_run_everywhere(CLEAN);
	cluster_run_everywhere("SET password_encryption = 'scram-sha-256';"
	                       "CREATE ROLE c_same LOGIN; CREATE ROLE c_md5 LOGIN;"
	                       "CREATE ROLE c_other LOGIN; CREATE ROLE c_poor LOGIN");
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	cluster_run_everywhere(CLEAN "; DROP TABLE IF EXISTS c_items CASCADE");
}

/* What it says, on both of its streams. */
static const char *check(const char *conninfo, int *status)
{
	static char said[CLUSTER_TEXT_MAX];
	const char *folder = getenv("PGTOPK_BUILDDIR");
	FILE *pipe = popen(text("timeout 30 %s/pgtopk --check --log-level error --listen "
	                        "127.0.0.1:1 --coordinator '%s' 2>&1",
	                        folder ? folder : ".", conninfo),
	                   "r");
	size_t len;

	cr_assert_not_null(pipe);
	len = fread(said, 1, sizeof(said) - 1, pipe);
	said[len] = '\0';
	*status = pclose(pipe);
	return said;
}

static const char *check_as(const char *user, int *status)
{
	return check(text("host=127.0.0.1 port=%d user=%s dbname=postgres",
	                  cluster_port(CLUSTER_COORDINATOR), user),
	             status);
}

static const char *verifier_of(enum cluster_node node, const char *role)
{
	PGconn *conn = cluster_connect(node, NULL);
	const char *verifier = cluster_value(
	    conn, text("SELECT rolpassword FROM pg_authid WHERE rolname = '%s'", role));

	PQfinish(conn);
	return verifier;
}

/* The remedy: all nodes get the coordinator's verifier. */
static void copy_verifier(const char *role)
{
	const char *verifier = verifier_of(CLUSTER_COORDINATOR, role);

	for (int node = CLUSTER_WORKER1; node <= CLUSTER_WORKERS; node++)
		cluster_run_on((enum cluster_node)node,
		               text("ALTER ROLE %s PASSWORD '%s'", role, verifier));
}

static void set_passwords(const char *role)
{
	cluster_run_everywhere(text("SET password_encryption = 'scram-sha-256'; "
	                            "ALTER ROLE %s PASSWORD 'right'",
	                            role));
}

Test(check, nodes_are_reached_and_named)
{
	int status;
	const char *said = check_as("postgres", &status);

	cr_assert_eq(status, 0, "%s", said);
	cr_assert(strstr(said, text("node 127.0.0.1:%d: ok", cluster_port(CLUSTER_WORKER1))), "%s",
	          said);
	cr_assert(strstr(said, text("node 127.0.0.1:%d: ok", cluster_port(CLUSTER_WORKER2))), "%s",
	          said);
	cr_assert(strstr(said, "all is well"), "%s", said);
}

Test(check, a_coordinator_that_is_away_is_a_failure)
{
	int status;
	const char *said = check("host=127.0.0.1 port=1 user=postgres", &status);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE, "%s", said);
	cr_assert(strstr(said, "coordinator: FAILED"), "%s", said);
}

Test(check, roles_with_other_verifiers_are_named_and_no_verifier_is_shown)
{
	const char *salt;
	int status;
	const char *said;

	set_passwords("c_same");
	copy_verifier("c_same");
	set_passwords("c_other"); /* the same password, but a salt of each node's own */
	set_passwords("c_md5");
	cluster_run_on(CLUSTER_WORKER2,
	               "SET password_encryption = 'md5'; ALTER ROLE c_md5 PASSWORD 'right'");
	said = check_as("postgres", &status);
	cr_assert_eq(status, 0, "%s", said);
	cr_assert(strstr(said, "role \"c_other\": its SCRAM verifier is not the coordinator's"),
	          "%s", said);
	cr_assert(strstr(said, "role \"c_md5\": it has no SCRAM verifier here"), "%s", said);
	cr_assert_null(strstr(said, "c_same"), "%s", said);
	cr_assert(strstr(said, "to mend it, copy the verifier: ALTER ROLE"), "%s", said);
	cr_assert_null(strstr(said, "SCRAM-SHA-256"), "%s", said);
	salt = strchr(verifier_of(CLUSTER_COORDINATOR, "c_other"), ':');
	cr_assert_null(strstr(said, text("%.16s", salt + 1)), "%s", said);
}

Test(check, nothing_is_said_once_the_remedy_is_applied)
{
	int status;
	const char *said;

	set_passwords("c_other");
	set_passwords("c_md5");
	copy_verifier("c_other");
	copy_verifier("c_md5");
	copy_verifier("c_same");
	said = check_as("postgres", &status);
	cr_assert_null(strstr(said, "role \"c_"), "%s", said);
	cr_assert_eq(status, 0, "%s", said);
}

Test(check, who_may_not_read_passwords_is_told_so)
{
	int status;
	const char *said = check_as("c_poor", &status);

	cr_assert_eq(status, 0, "%s", said);
	cr_assert(strstr(said, "passwords of roles are not compared: permission denied"), "%s",
	          said);
	cr_assert(strstr(said, "all is well"), "%s", said);
}
