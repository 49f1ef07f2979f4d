/*
 * Server: see server.h. PostgreSQL's own programs do the work, as the user postgres
 * where root runs the tests.
 */
#include "t/lib/server.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t/lib/cluster.h"
#include "t/lib/instance.h"

/* The folder of the newest server here, or that of PGTOPK_PG_BIN, as etc/cluster takes it. */
static const char *bin(void)
{
	static char path[256];
	const char *other = getenv("PGTOPK_PG_BIN");
	FILE *pipe;

	if (other && *other)
		return other;
	if (path[0])
		return path;
	pipe = popen("ls -d /usr/lib/postgresql/*/bin/postgres \"$(pg_config --bindir)/postgres\" "
	             "2>/dev/null | sort -rV | head -n 1",
	             "r");
	cr_assert_not_null(pipe);
	cr_assert_not_null(fgets(path, sizeof(path), pipe), "there is no PostgreSQL server");
	pclose(pipe);
	*strrchr(path, '/') = '\0';
	return path;
}

static bool runs(const char *command)
{
	const char *other = getenv("PGTOPK_PG_BIN"); /* these become that user themselves */
	bool is_other = other && *other && strncmp(command, other, strlen(other)) == 0;
	const char *user = geteuid() == 0 && !is_other
	                       ? "setpriv --reuid=postgres --regid=postgres --init-groups -- "
	                       : "";

	return system(text("%ssh -c \"%s\"", user, command)) == 0;
}

static void shell(const char *command)
{
	cr_assert(runs(command), "failed: %s", command);
}

static void write_file(const char *path, const char *mode, const char *content)
{
	FILE *file = fopen(path, mode);

	cr_assert_not_null(file, "%s", path);
	fputs(content, file);
	cr_assert_eq(fclose(file), 0);
}

static const char *data_file(const struct server *server, const char *name)
{
	return text("%s/data/%s", server->dir, name);
}

static void write_hba(const struct server *server, const char *hba)
{
	write_file(data_file(server, "pg_hba.conf"), "w",
	           text("local all postgres trust\n%s\n", hba));
}

static void control(const struct server *server, const char *command)
{
	shell(text("%s/pg_ctl -D %s/data -l %s/log -s -w %s >/dev/null", bin(), server->dir,
	           server->dir, command));
}

void server_start(struct server *server, const char *hba, const char *settings)
{
	snprintf(server->dir, sizeof(server->dir), "/tmp/pgtopk-server.XXXXXX");
	cr_assert_not_null(mkdtemp(server->dir));
	cr_assert_eq(chmod(server->dir, 0755), 0);
	if (geteuid() == 0)
		cr_assert_eq(system(text("chown postgres: %s", server->dir)), 0);
	server->port = instance_free_port();
	shell(text("%s/initdb -D %s/data -U postgres -A trust -E UTF8 --locale=C --no-sync "
	           ">/dev/null",
	           bin(), server->dir));
	write_hba(server, hba);
	write_file(data_file(server, "postgresql.conf"), "a",
	           text("port = %d\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = "
	                "'%s'\nfsync = off\npassword_encryption = 'scram-sha-256'\n%s\n",
	                server->port, server->dir, settings));
	control(server, "start");
}

void server_stop(struct server *server)
{
	control(server, "-m immediate stop");
	cr_assert_eq(system(text("rm -rf %s", server->dir)), 0);
}

void server_set_hba(struct server *server, const char *hba)
{
	PGconn *conn;

	write_hba(server, hba);
	conn = server_connect(server);
	cluster_run(conn, "SELECT pg_reload_conf()");
	/* the postmaster has read it when a new backend sees the new lines */
	PQfinish(conn);
	usleep(200 * 1000);
}

const char *server_install(const struct server *server, const char *file, const char *name)
{
	const char *path = data_file(server, name);

	cr_assert_eq(system(text("cp %s %s && chmod 600 %s", file, path, path)), 0);
	if (geteuid() == 0)
		cr_assert_eq(system(text("chown postgres: %s", path)), 0);
	return path;
}

void server_copy_schema(const struct server *server, int port)
{
	shell(text("%s/pg_dump -s -x -O -h 127.0.0.1 -p %d -U postgres postgres | "
	           "%s/psql -q -X -h %s -p %d -U postgres postgres >/dev/null 2>&1",
	           bin(), port, bin(), server->dir, server->port));
}

void server_restart(struct server *server, const char *settings)
{
	write_file(data_file(server, "postgresql.conf"), "a", text("%s\n", settings));
	control(server, "-m fast restart");
}

void server_kill(struct server *server)
{
	control(server, "-m immediate stop");
}

void server_halt(struct server *server, const char *mode)
{
	control(server, text("-m %s stop", mode));
}

/* The processes of one that was killed may live on for a moment: so long it refuses. */
void server_revive(struct server *server)
{
	char *command = strdup(text("%s/pg_ctl -D %s/data -l %s/log -s -w start >/dev/null 2>&1",
	                            bin(), server->dir, server->dir));
	bool running = false;

	for (int i = 0; i < 50 && !running; i++) {
		running = runs(command);
		if (!running)
			usleep(100 * 1000);
	}
	free(command);
	cr_assert(running, "the server in %s does not start:\n%s", server->dir, server_log(server));
}

int server_pid(const struct server *server)
{
	FILE *file = fopen(data_file(server, "postmaster.pid"), "r");
	int pid = 0;

	if (file && fscanf(file, "%d", &pid) != 1)
		pid = 0;
	if (file)
		fclose(file);
	return pid;
}

PGconn *server_connect(const struct server *server)
{
	PGconn *conn = PQconnectdb(
	    text("host=%s port=%d user=postgres dbname=postgres", server->dir, server->port));

	cr_assert_eq(PQstatus(conn), CONNECTION_OK, "%s", PQerrorMessage(conn));
	return conn;
}

void server_run(const struct server *server, const char *sql)
{
	PGconn *conn = server_connect(server);

	cluster_run(conn, sql);
	PQfinish(conn);
}

const char *server_conninfo(const struct server *server, const char *more)
{
	return text("host=127.0.0.1 port=%d user=postgres dbname=postgres %s", server->port, more);
}

const char *server_log(const struct server *server)
{
	static char said[60 * 1024];
	FILE *log = fopen(text("%s/log", server->dir), "r");
	size_t len;

	cr_assert_not_null(log);
	if (fseek(log, -(long)(sizeof(said) - 1), SEEK_END) != 0)
		rewind(log);
	len = fread(said, 1, sizeof(said) - 1, log);
	said[len] = '\0';
	fclose(log);
	return said;
}
