/*
 * Restart: a coordinator that is stopped, killed and started again under pgtopk. It is
 * one of this test's own, so that the other tests keep theirs.
 */
#include <arpa/inet.h>
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

#define UP_TO_END 0xff /* no message has that type */

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	const char *binary = getenv("PGTOPK_BINARY");

	(void)set;
	if (binary && strcmp(binary, "none") == 0) {
		printf("SKIP: restart: there is no pgtopk to look at\n");
		exit(EXIT_SUCCESS);
	}
	cluster_up();
}

/* ---- a server ---- */

struct server {
	char folder[64];
	char programs[256];
	int port;
	struct instance instance; /* the pgtopk before it */
};

static int free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, len), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	close(fd);
	return ntohs(address.sin_port);
}

/* Runs a server's program, by the user that may. */
static bool runs(const struct server *server, const char *arguments)
{
	const char *as = getuid() == 0 ? "setpriv --reuid=postgres --regid=postgres "
	                                 "--init-groups -- "
	                               : "";

	return system(text("cd / && %s'%s'/%s >/dev/null 2>&1 </dev/null", as, server->programs,
	                   arguments)) == 0;
}

static void run(const struct server *server, const char *arguments)
{
	cr_assert(runs(server, arguments), "%s", arguments);
}

/* A killed one's children may live on for a moment: so long it refuses. */
static void start_server(const struct server *server)
{
	const char *arguments =
	    text("pg_ctl -D %s/data -l %s/log -w -t 60 start "
	         "-o '-p %d -c listen_addresses=127.0.0.1 -c unix_socket_directories= "
	         "-c fsync=off -c max_connections=20 -c shared_buffers=16MB'",
	         server->folder, server->folder, server->port);
	bool running = false;

	for (int i = 0; i < 50 && !running; i++) {
		running = runs(server, arguments);
		if (!running)
			usleep(100 * 1000);
	}
	cr_assert(running, "%s", arguments);
}

static void stop_server(const struct server *server, const char *mode)
{
	run(server, text("pg_ctl -D %s/data -m %s -w -t 60 stop", server->folder, mode));
}

/* The postmaster is gone at once, and its children find out. */
static void kill_server(const struct server *server)
{
	FILE *file = fopen(text("%s/data/postmaster.pid", server->folder), "r");
	int pid = 0;

	cr_assert_not_null(file);
	cr_assert_eq(fscanf(file, "%d", &pid), 1);
	fclose(file);
	cr_assert_eq(kill(pid, SIGKILL), 0);
}

static void begin(struct server *server)
{
	const char *options[] = {"--coordinator", NULL, NULL};
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, NULL);

	snprintf(server->programs, sizeof(server->programs), "%s",
	         cluster_value(conn, "SELECT setting FROM pg_config WHERE name = 'BINDIR'"));
	PQfinish(conn);
	strcpy(server->folder, "/tmp/pgtopk-restart-XXXXXX");
	cr_assert_not_null(mkdtemp(server->folder));
	if (getuid() == 0)
		cr_assert_eq(system(text("chown postgres: %s", server->folder)), 0);
	server->port = free_port();
	run(server, text("initdb -D %s/data -U postgres -A trust -E UTF8 --locale=C --no-sync",
	                 server->folder));
	start_server(server);
	options[1] = text("host=127.0.0.1 port=%d user=postgres", server->port);
	instance_start(&server->instance, options);
}

static void finish(struct server *server)
{
	instance_stop(&server->instance);
	stop_server(server, "immediate");
	cr_assert_eq(system(text("rm -rf %s", server->folder)), 0);
}

/* ---- clients ---- */

static PGconn *connect_to(const struct server *server)
{
	return PQconnectdb(
	    text("host=127.0.0.1 port=%d user=postgres dbname=postgres", server->instance.port));
}

/* It answers now, at the first try. */
static void answers(const struct server *server)
{
	PGconn *conn = connect_to(server);

	cr_assert_eq(PQstatus(conn), CONNECTION_OK, "%s", PQerrorMessage(conn));
	cr_assert_str_eq(cluster_value(conn, "SELECT 1"), "1");
	PQfinish(conn);
}

static void cannot_be_reached(const struct server *server)
{
	PGconn *conn = connect_to(server);

	cr_assert_eq(PQstatus(conn), CONNECTION_BAD);
	cr_assert_not_null(strstr(PQerrorMessage(conn), "FATAL:  could not connect to the "), "%s",
	                   PQerrorMessage(conn));
	PQfinish(conn);
}

Test(restart, clients_hear_the_coordinator_and_may_come_back)
{
	struct server server;
	struct raw idle, open;
	char *said;

	begin(&server);
	raw_login(&idle, server.instance.port);
	raw_login(&open, server.instance.port);
	wire_put_query(&open.out, "BEGIN");
	raw_send(&open, 0);
	free(raw_read(&open, WIRE_BE_ReadyForQuery, 1));
	stop_server(&server, "fast");
	for (int i = 0; i < 2; i++) {
		said = raw_read(i ? &open : &idle, UP_TO_END, 1);
		cr_assert_str_eq(said, "ErrorResponse S=FATAL V=FATAL C=57P01 M=terminating "
		                       "connection due to administrator command\nend\n");
		free(said);
	}
	cannot_be_reached(&server);
	start_server(&server);
	answers(&server);
	raw_close(&idle);
	raw_close(&open);
	finish(&server);
}

Test(restart, a_killed_coordinator_ends_its_clients_and_may_come_back)
{
	struct server server;
	struct raw raw;
	char *said;

	begin(&server);
	raw_login(&raw, server.instance.port);
	wire_put_query(&raw.out, "SELECT pg_sleep(60)");
	raw_send(&raw, 0);
	cr_assert(!raw_readable(&raw, 100));
	kill_server(&server);
	said = raw_read(&raw, UP_TO_END, 1);
	cr_assert_not_null(strstr(said, "end\n"), "%s", said);
	free(said);
	cannot_be_reached(&server);
	start_server(&server);
	answers(&server);
	raw_close(&raw);
	finish(&server);
}
