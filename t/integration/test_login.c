/*
 * Tests of proxy/startup and proxy/login against a PostgreSQL server of their own:
 * every kind of login over every combination of TLS and none, with and without the
 * user's verifier; channel binding; who must not get in; and by name what befell
 * other proxies.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t/lib/certificates.h"
#include "t/lib/cluster.h"
#include "t/lib/instance.h"
#include "t/lib/raw.h"
#include "t/lib/server.h"

#define SHARED "PGTOPK_TEST_LOGIN" /* hands these to the tests' processes */
static struct server server;
static struct certificates certificates;

#define HBA                                                                                        \
	"host all u_trust 127.0.0.1/32 trust\n"                                                    \
	"host all u_password 127.0.0.1/32 password\n"                                              \
	"host all u_md5 127.0.0.1/32 md5\n"                                                        \
	"host all u_rejected 127.0.0.1/32 reject\n"                                                \
	"hostssl all u_tls 127.0.0.1/32 trust\n"                                                   \
	"hostnossl all u_plain 127.0.0.1/32 trust\n"                                               \
	"host all u_tls,u_plain 127.0.0.1/32 reject\n"                                             \
	"hostssl all u_cert 127.0.0.1/32 cert map=proxy\n"                                         \
	"host all postgres 127.0.0.1/32 trust\n"                                                   \
	"host all all 127.0.0.1/32 scram-sha-256\n"

#define ROLES                                                                                        \
	"CREATE ROLE u_trust LOGIN; CREATE ROLE u_rejected LOGIN; CREATE ROLE u_tls LOGIN;"          \
	"CREATE ROLE u_plain LOGIN; CREATE ROLE u_cert LOGIN;"                                       \
	"CREATE ROLE u_password LOGIN PASSWORD 'right'; CREATE ROLE u_scram LOGIN PASSWORD 'right';" \
	"CREATE ROLE \"ünï \"\"q\" LOGIN PASSWORD 'right';"                                        \
	"CREATE ROLE u_expired LOGIN PASSWORD 'right' VALID UNTIL '2020-01-01';"                     \
	"CREATE ROLE u_nologin NOLOGIN PASSWORD 'right';"                                            \
	"CREATE ROLE u_one LOGIN PASSWORD 'right' CONNECTION LIMIT 1;"                               \
	"CREATE ROLE u_poor LOGIN PASSWORD 'right';"                                                 \
	"SET password_encryption = md5; CREATE ROLE u_md5 LOGIN PASSWORD 'right'"

static const char *file(const char *name)
{
	return text("%s/%s", certificates.folder, name);
}

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	(void)set;
	cluster_up();
	certificates_open(&certificates);
	certificates_make_usual(&certificates, "u_scram");
	chmod(certificates.folder, 0755);
	server_start(&server, HBA, "max_connections = 50\nlog_connections = on\n");
	server_install(&server, file("server.crt"), "server.crt");
	server_install(&server, file("server.key"), "server.key");
	server_install(&server, file("ca.crt"), "ca.crt");
	server_restart(&server, "ssl = on\nssl_ca_file = 'ca.crt'");
	server_run(&server, ROLES);
	setenv(SHARED "_PORT", text("%d", server.port), 1);
	setenv(SHARED "_SERVER", server.dir, 1);
	setenv(SHARED "_CERTIFICATES", certificates.folder, 1);
}

static void recall(void)
{
	server.port = atoi(getenv(SHARED "_PORT"));
	snprintf(server.dir, sizeof(server.dir), "%s", getenv(SHARED "_SERVER"));
	certificates.folder = getenv(SHARED "_CERTIFICATES");
}

TestSuite(login, .init = recall, .timeout = 120);

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	server_stop(&server);
	certificates_close(&certificates);
}

/* pgtopk in front of the server: sslmode behind it, client_tls before it. */
struct front {
	struct instance instance;
};

static void front_start(struct front *front, const char *behind, const char *client_tls,
                        const char *option, const char *value)
{
	const char *options[] = {"--coordinator",
	                         server_conninfo(&server, text("sslmode=%s", behind)),
	                         "--client-tls",
	                         client_tls,
	                         "--client-tls-cert",
	                         file("server.crt"),
	                         "--client-tls-key",
	                         file("server.key"),
	                         "--client-tls-ca",
	                         file("ca.crt"),
	                         "--log-connections",
	                         "on",
	                         option,
	                         value,
	                         NULL};

	instance_start(&front->instance, options);
}

/* "ok", or what the client is told. As text(). */
static const char *try_login(int port, const char *user, const char *more)
{
	PGconn *conn =
	    PQconnectdb(text("host=127.0.0.1 port=%d user='%s' dbname=postgres connect_timeout=10 "
	                     "gssencmode=disable sslrootcert=%s %s",
	                     port, user, file("ca.crt"), more));
	const char *said = "ok";

	if (PQstatus(conn) != CONNECTION_OK) {
		const char *at = strstr(PQerrorMessage(conn), "FATAL:");

		said = text("%s", at ? at : PQerrorMessage(conn));
	} else {
		PGresult *result = PQexec(conn, "SELECT current_user");

		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			said = text("%s", PQerrorMessage(conn));
		else
			cr_assert_str_eq(PQgetvalue(result, 0, 0), user);
		PQclear(result);
	}
	PQfinish(conn);
	return said;
}

static void expect_login(struct front *front, const char *user, const char *more, const char *said)
{
	const char *heard = try_login(front->instance.port, user, more);

	cr_assert(strstr(heard, said), "user=%s %s: \"%s\" instead of \"%s\"", user, more, heard,
	          said);
}

static void expect_same(struct front *front, const char *user, const char *more)
{
	const char *direct = try_login(server.port, user, text("sslmode=disable %s", more));
	const char *heard = try_login(front->instance.port, user, text("sslmode=disable %s", more));

	cr_assert_str_eq(heard, direct, "user=%s %s", user, more);
}

static const char *const users[] = {"u_trust", "u_password", "u_md5", "u_scram", "ünï \"q"};
#define USERS (sizeof(users) / sizeof(users[0]))
#define RIGHT "password=right sslmode="
#define REFUSED(user) "password authentication failed for user \"" user "\""

static void every_login(const char *behind, const char *client_tls, const char *sslmode)
{
	struct front front;

	front_start(&front, behind, client_tls, "--log-level", "debug");
	for (size_t i = 0; i < USERS; i++) {
		expect_login(&front, users[i], text("password=right sslmode=%s", sslmode), "ok");
		if (i > 0)
			expect_login(&front, users[i], text("password=wrong sslmode=%s", sslmode),
			             text(REFUSED("%s"), users[i]));
	}
	instance_stop(&front.instance);
}

Test(login, every_kind_comes_through_plain_connections)
{
	every_login("disable", "off", "disable");
}

Test(login, every_kind_comes_through_when_the_coordinator_has_tls)
{
	every_login("require", "off", "prefer");
}

Test(login, every_kind_comes_through_when_the_client_has_tls)
{
	every_login("disable", "allow", "verify-full");
}

Test(login, every_kind_comes_through_two_tls_connections)
{
	every_login("require", "require", "verify-full");
}

Test(login, channel_binding_can_be_required)
{
	struct front front;
	const char *bound = "password=right sslmode=verify-full channel_binding=require";

	for (int tls = 0; tls < 2; tls++) {
		front_start(&front, tls ? "require" : "disable", "allow", "--log-level", "info");
		expect_login(&front, "u_scram", bound, "ok");
		expect_login(&front, "ünï \"q", bound, "ok");
		expect_login(&front, "u_scram",
		             "password=wrong sslmode=require channel_binding=require",
		             REFUSED("u_scram"));
		expect_login(&front, "u_md5", bound, "channel binding required");
		expect_login(&front, "u_scram",
		             "password=right sslmode=require channel_binding=disable", "ok");
		instance_stop(&front.instance);
	}
}

Test(login, without_a_verifier_scram_is_relayed_where_it_can_be)
{
	struct front front;

	front_start(&front, "disable", "allow", "--auth-query", "");
	expect_login(&front, "u_scram", RIGHT "require", "ok");
	expect_login(&front, "u_scram", RIGHT "disable", "ok");
	instance_stop(&front.instance);

	front_start(&front, "require", "allow", "--auth-query", "");
	expect_login(&front, "u_scram", RIGHT "disable", "ok");
	expect_login(&front, "u_scram", RIGHT "require channel_binding=disable", "ok");
	expect_login(&front, "u_scram", RIGHT "require",
	             "SCRAM authentication cannot be relayed between two TLS connections");
	instance_stop(&front.instance);
}

Test(login, a_reader_without_rights_to_passwords_is_no_obstacle)
{
	struct front front;
	const char *options[] = {"--coordinator",
	                         text("host=127.0.0.1 port=%d dbname=postgres user=u_poor "
	                              "password=right sslmode=disable",
	                              server.port),
	                         NULL};

	instance_start(&front.instance, options);
	expect_login(&front, "u_scram", RIGHT "disable", "ok");
	expect_login(&front, "u_scram", "password=wrong sslmode=disable", REFUSED("u_scram"));
	instance_stop(&front.instance);
}

Test(login, who_is_unknown_hears_what_who_is_wrong_hears)
{
	struct front front;

	front_start(&front, "require", "allow", "--log-level", "info");
	expect_login(&front, "nobody", RIGHT "require", REFUSED("nobody"));
	expect_login(&front, "nobody", RIGHT "require channel_binding=require", REFUSED("nobody"));
	expect_login(&front, "u_trust", RIGHT "require channel_binding=require",
	             "channel binding required");
	instance_stop(&front.instance);
	front_start(&front, "disable", "allow", "--log-level", "info");
	expect_same(&front, "nobody", "password=right");
	expect_same(&front, "u_rejected", "password=right");
	instance_stop(&front.instance);
}

/* CVE-2025-2291: the verifier is right, but the password has expired. */
Test(login, cve_2025_2291_valid_until_holds)
{
	struct front front;

	front_start(&front, "require", "allow", "--log-level", "info");
	expect_login(&front, "u_expired", RIGHT "require", REFUSED("u_expired"));
	expect_login(&front, "u_expired", RIGHT "disable", REFUSED("u_expired"));
	expect_same(&front, "u_nologin", "password=right");
	expect_login(&front, "u_nologin", RIGHT "require", "is not permitted to log in");
	instance_stop(&front.instance);
}

Test(login, connection_limits_of_the_coordinator_hold)
{
	struct front front;
	PGconn *first;

	front_start(&front, "require", "allow", "--log-level", "info");
	first = PQconnectdb(text("host=127.0.0.1 port=%d user=u_one password=right dbname=postgres",
	                         front.instance.port));
	cr_assert_eq(PQstatus(first), CONNECTION_OK, "%s", PQerrorMessage(first));
	expect_login(&front, "u_one", RIGHT "require", "too many connections for role \"u_one\"");
	PQfinish(first);
	instance_stop(&front.instance);
}

/* CVE-2025-12819: what a client says in its StartupMessage must not reach auth_query. */
Test(login, cve_2025_12819_search_path_does_not_reach_the_auth_query)
{
	struct front front;

	server_run(&server,
	           "CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO PUBLIC;"
	           "CREATE FUNCTION evil.eq(name, text) RETURNS bool LANGUAGE plpgsql AS $$"
	           " BEGIN RAISE EXCEPTION 'evil was called'; END $$;"
	           "CREATE OPERATOR evil.= (leftarg = name, rightarg = text, function = evil.eq);"
	           "CREATE TABLE evil.pg_authid (rolname name, rolpassword text)");
	front_start(&front, "disable", "allow", "--auth-query",
	            "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1");
	expect_login(&front, "u_scram",
	             RIGHT "require channel_binding=require options='-c search_path=evil'", "ok");
	instance_stop(&front.instance);
	cr_assert_null(strstr(server_log(&server), "evil was called"));
	server_run(&server, "DROP SCHEMA evil CASCADE");
}

Test(login, pg_hba_decides_on_tls_as_libpq_lets_it)
{
	struct front front;

	front_start(&front, "prefer", "off", "--log-level", "info");
	expect_login(&front, "u_tls", RIGHT "prefer", "ok");
	expect_login(&front, "u_plain", RIGHT "prefer", "ok"); /* the second try */
	instance_stop(&front.instance);
	front_start(&front, "allow", "off", "--log-level", "info");
	expect_login(&front, "u_tls", RIGHT "prefer", "ok"); /* the second try */
	expect_login(&front, "u_plain", RIGHT "prefer", "ok");
	instance_stop(&front.instance);
	front_start(&front, "require", "off", "--log-level", "info");
	expect_login(&front, "u_plain", RIGHT "prefer", "pg_hba.conf rejects connection");
	instance_stop(&front.instance);
	front_start(&front, text("verify-full sslrootcert=%s", file("ca.crt")), "off",
	            "--log-level", "info");
	expect_login(&front, "u_tls", RIGHT "prefer", "ok");
	instance_stop(&front.instance);
	front_start(&front, text("verify-ca sslrootcert=%s", file("foreign.crt")), "off",
	            "--log-level", "info");
	expect_login(&front, "u_tls", RIGHT "prefer", "could not connect to the coordinator");
	cr_assert_gt(instance_count(&front.instance, "certificate verify failed"), 0);
	instance_stop(&front.instance);
}

Test(login, a_client_certificate_of_ours_lets_a_verified_client_in)
{
	struct front front;
	char cert[512];

	server_install(&server, "/dev/null", "pg_ident.conf");
	cr_assert_eq(
	    system(text("echo 'proxy u_scram u_cert' > %s/data/pg_ident.conf", server.dir)), 0);
	server_set_hba(&server, HBA);
	snprintf(cert, sizeof(cert), "require sslcert=%s sslkey=%s", file("client.crt"),
	         file("client.key"));
	front_start(&front, cert, "off", "--log-level", "info");
	expect_login(&front, "u_cert", RIGHT "prefer", "ok");
	instance_stop(&front.instance);
}

Test(login, clients_certificates_are_asked_for_as_configured)
{
	struct front front;
	char mine[512], foreign[512];

	snprintf(mine, sizeof(mine), "sslmode=verify-full password=right sslcert=%s sslkey=%s",
	         file("client.crt"), file("client.key"));
	snprintf(foreign, sizeof(foreign),
	         "sslmode=verify-full password=right sslcert=%s sslkey=%s", file("foreigner.crt"),
	         file("foreigner.key"));

	front_start(&front, "disable", "verify-ca", "--log-level", "info");
	expect_login(&front, "u_scram", mine, "ok");
	expect_login(&front, "u_password", mine, "ok");
	cr_assert_str_neq(try_login(front.instance.port, "u_scram", RIGHT "require"), "ok");
	cr_assert_str_neq(try_login(front.instance.port, "u_scram", foreign), "ok");
	expect_login(&front, "u_scram", RIGHT "disable",
	             "connections without TLS are not accepted");
	instance_stop(&front.instance);

	front_start(&front, "disable", "verify-full", "--log-level", "info");
	expect_login(&front, "u_scram", mine, "ok");
	expect_login(&front, "u_password", mine,
	             "certificate authentication failed for user \"u_password\"");
	cr_assert_str_neq(try_login(front.instance.port, "u_scram", foreign), "ok");
	instance_await(&front.instance, "tls_failed");
	instance_stop(&front.instance);
}

Test(login, tls_off_answers_no_and_goes_on)
{
	struct front front;

	front_start(&front, "disable", "off", "--log-level", "info");
	expect_login(&front, "u_scram", RIGHT "prefer", "ok");
	expect_login(&front, "u_scram", RIGHT "require",
	             "server does not support SSL, but SSL was required");
	instance_stop(&front.instance);
}

static const char *socket_login(const struct front *front, const char *user)
{
	PGconn *conn = PQconnectdb(text("host=%s port=%d user=%s password=right dbname=postgres",
	                                instance_socket_dir(), front->instance.port, user));
	const char *said = "ok";

	if (PQstatus(conn) != CONNECTION_OK)
		said = text("%s", PQerrorMessage(conn));
	PQfinish(conn);
	return said;
}

Test(login, peer_is_about_the_operating_system_user)
{
	struct front front;
	const struct passwd *self = getpwuid(geteuid());

	server_run(&server,
	           text("DROP ROLE IF EXISTS \"%s\"; CREATE ROLE \"%s\" LOGIN PASSWORD 'right'",
	                self->pw_name, self->pw_name));
	/* no TLS is demanded on a Unix socket */
	front_start(&front, "disable", "require", "--client-peer", "on");
	cr_assert_str_eq(socket_login(&front, self->pw_name), "ok");
	cr_assert(strstr(socket_login(&front, "u_scram"),
	                 "Peer authentication failed for user \"u_scram\""));
	cr_assert(strstr(socket_login(&front, "u_trust"), "Peer authentication failed"));
	expect_login(&front, "u_trust", "sslmode=require", "ok"); /* no Unix socket, no peer */
	instance_stop(&front.instance);
	front_start(&front, "disable", "require", "--client-peer", "off");
	cr_assert_str_eq(socket_login(&front, "u_scram"), "ok");
	instance_stop(&front.instance);
}

/* Sooner or later. */
static bool comes_in(const struct front *front, const char *user)
{
	for (int i = 0; i < 500; i++) {
		if (strcmp(try_login(front->instance.port, user, ""), "ok") == 0)
			return true;
		usleep(10 * 1000);
	}
	return false;
}

Test(login, limits_on_clients_are_told)
{
	struct front front;
	PGconn *first;

	front_start(&front, "disable", "off", "--max-clients-per-user", "1");
	first = PQconnectdb(
	    text("host=127.0.0.1 port=%d user=u_trust dbname=postgres", front.instance.port));
	cr_assert_eq(PQstatus(first), CONNECTION_OK);
	expect_login(&front, "u_trust", "sslmode=disable",
	             "too many connections for role \"u_trust\"");
	expect_login(&front, "u_scram", RIGHT "disable", "ok");
	PQfinish(first);
	cr_assert(comes_in(&front, "u_trust"));
	instance_stop(&front.instance);

	front_start(&front, "disable", "off", "--max-clients-per-address", "1");
	first = PQconnectdb(
	    text("host=127.0.0.1 port=%d user=u_trust dbname=postgres", front.instance.port));
	cr_assert_eq(PQstatus(first), CONNECTION_OK);
	expect_login(&front, "u_scram", RIGHT "disable", "too many connections from address");
	PQfinish(first);
	instance_stop(&front.instance);
}

Test(login, the_coordinators_end_is_told)
{
	struct front front;
	PGconn *conn;
	PGresult *result;

	front_start(&front, "disable", "off", "--log-level", "info");
	conn = PQconnectdb(
	    text("host=127.0.0.1 port=%d user=u_trust dbname=postgres", front.instance.port));
	cr_assert_eq(PQstatus(conn), CONNECTION_OK);
	/* a backend that is killed says nothing: the others are told by the postmaster */
	cluster_value(conn, "SELECT 1");
	cr_assert_eq(system(text("kill -9 %d", PQbackendPID(conn))), 0);
	result = PQexec(conn, "SELECT 1");
	cr_assert(strstr(PQerrorMessage(conn), "FATAL:  server closed the connection unexpectedly"),
	          "%s", PQerrorMessage(conn));
	PQclear(result);
	PQfinish(conn);
	for (int i = 0; i < 500 && !strstr(server_log(&server), "reinitializing"); i++)
		usleep(10 * 1000);
	cr_assert(comes_in(&front, "u_trust"));
	conn = PQconnectdb(
	    text("host=127.0.0.1 port=%d user=u_trust dbname=postgres", front.instance.port));
	cr_assert_eq(PQstatus(conn), CONNECTION_OK);
	server_kill(&server);
	expect_login(&front, "u_trust", "", "could not connect to the coordinator");
	server_revive(&server);
	expect_login(&front, "u_trust", "", "ok");
	PQfinish(conn);
	instance_stop(&front.instance);
}

/* Puts certificate and key of that name where pgtopk looks for them, and has it look. */
static void renew(struct front *front, const char *name, const char *event)
{
	cr_assert_eq(
	    system(text("cp %s %s && cp %s %s", file(text("%s.crt", name)), file("renewed.crt"),
	                file(text("%s.key", name)), file("renewed.key"))),
	    0);
	if (!front)
		return;
	instance_skip_log(&front->instance);
	cr_assert_eq(kill(front->instance.pid, SIGHUP), 0);
	for (int i = 0; i < 500 && instance_count(&front->instance, event) == 0; i++)
		usleep(10 * 1000);
	cr_assert_gt(instance_count(&front->instance, event), 0);
}

Test(login, certificates_are_renewed_without_a_restart)
{
	struct front front;
	struct certificate other = {.name = "other", .issuer = "foreign", .server = true};
	char foreign[512];
	PGconn *before;

	snprintf(foreign, sizeof(foreign), "sslmode=verify-full password=right sslrootcert=%s",
	         file("foreign.crt"));
	certificates_make(&certificates, &other);
	renew(NULL, "server", NULL);
	{
		const char *options[] = {"--coordinator",
		                         server_conninfo(&server, "sslmode=disable"),
		                         "--client-tls",
		                         "require",
		                         "--client-tls-cert",
		                         file("renewed.crt"),
		                         "--client-tls-key",
		                         file("renewed.key"),
		                         NULL};

		instance_start(&front.instance, options);
	}
	expect_login(&front, "u_scram", RIGHT "verify-full channel_binding=require", "ok");
	before = PQconnectdb(
	    text("host=127.0.0.1 port=%d user=u_trust dbname=postgres", front.instance.port));
	renew(&front, "other", "event=reload_done");
	expect_login(&front, "u_scram", text("%s channel_binding=require", foreign), "ok");
	expect_login(&front, "u_scram", RIGHT "verify-full", "certificate verify failed");
	cr_assert_str_eq(cluster_value(before, "SELECT 1"), "1");
	PQfinish(before);
	/* what cannot be used changes nothing */
	cr_assert_eq(system(text("echo nonsense > %s", file("other.crt"))), 0);
	renew(&front, "other", "event=reload_failed");
	expect_login(&front, "u_scram", foreign, "ok");
	instance_stop(&front.instance);
}

/* A reload whose certificates cannot be used changes no rule either. */
Test(login, a_reload_that_fails_lets_nobody_in_by_halves)
{
	struct instance instance;
	const char *options[] = {"-c", NULL, "--coordinator", NULL, NULL};
	char head[1024];
	FILE *out;

	snprintf(head, sizeof(head), "client_tls_cert = %s\nclient_tls_key = %s\n",
	         file("server.crt"), file("server.key"));
	for (int round = 0; round < 2; round++) {
		out = fopen(text("%s/reload.conf", certificates.folder), "w");
		cr_assert_not_null(out);
		fprintf(out, "%sclient_tls = %s\nclient_tls_ca = %s\n", head,
		        round ? "verify-ca" : "require", round ? "/no/such/file" : "");
		fclose(out);
		if (round == 0) {
			options[1] = text("%s/reload.conf", certificates.folder);
			options[3] = server_conninfo(&server, "sslmode=disable");
			instance_start(&instance, options);
		} else {
			struct front front = {.instance = instance};

			cr_assert_eq(kill(instance.pid, SIGHUP), 0);
			for (int i = 0; i < 500 && !instance_count(&instance, "reload_failed"); i++)
				usleep(10 * 1000);
			cr_assert_eq(instance_count(&instance, "event=reloaded"), 0);
			expect_login(&front, "u_trust", "sslmode=require", "ok");
			instance.log_at = front.instance.log_at;
		}
	}
	instance_stop(&instance);
}
