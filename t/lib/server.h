/*
 * Server: one PostgreSQL of a test's own, for what the shared cluster must not have
 * done to it: other logins, TLS, a kill. It is made in a temporary folder, listens
 * on a free port of 127.0.0.1 and on a Unix socket in that folder, and is gone after
 * server_stop(). The superuser is postgres.
 */
#ifndef T_LIB_SERVER_H
#define T_LIB_SERVER_H

#include <libpq-fe.h>

struct server {
	int port;
	char dir[64]; /* its socket is here; data/ below it */
};

/*
 * hba: lines of pg_hba.conf, to which one is added in front by which postgres comes in over the
 * Unix socket. settings: lines of postgresql.conf. Both may be "".
 */
void server_start(struct server *server, const char *hba, const char *settings);
void server_stop(struct server *server); /* and deletes it */

/* Writes its pg_hba.conf anew and reloads it. */
void server_set_hba(struct server *server, const char *hba);
/* Puts a copy of a file where only the server can read it; its path. As text(). */
const char *server_install(const struct server *server, const char *file, const char *name);
/* Tables and all else of the database postgres of another server on this machine, without rows; what
 * belongs to roles that are not there is left out. */
void server_copy_schema(const struct server *server, int port);
/* Makes settings hold by a restart. */
void server_restart(struct server *server, const char *settings);
/* As a power cut would; server_revive() starts it again. */
void server_kill(struct server *server);
void server_revive(struct server *server);
/* Stops it by that mode of pg_ctl: "smart", "fast" or "immediate". */
void server_halt(struct server *server, const char *mode);
/* The postmaster's process; 0: there is none. */
int server_pid(const struct server *server);

/* As postgres over the Unix socket. */
PGconn *server_connect(const struct server *server);
void server_run(const struct server *server, const char *sql);
/* conninfo of its TCP port for --coordinator, as text(). */
const char *server_conninfo(const struct server *server, const char *more);
/* What it has logged, the last 60 kB. As text(). */
const char *server_log(const struct server *server);

#endif
