/*
 * Service: pgtopk and the operating system: systemd's sockets and messages, descriptors
 * that run out, a Unix socket's path, core dumps.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t/lib/cluster.h"
#include "t/lib/instance.h"
#include "t/lib/raw.h"

#define CLIENTS 1000
#define UP_TO_END 0xff /* no message has that type */

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	const char *binary = getenv("PGTOPK_BINARY");

	(void)set;
	if (binary && strcmp(binary, "none") == 0) {
		printf("SKIP: service: there is no pgtopk to look at\n");
		exit(EXIT_SUCCESS);
	}
	cluster_up();
}

/* A new one; each test has one at a time. */
static const char *temporary_folder(void)
{
	static char path[64];

	strcpy(path, "/tmp/pgtopk-service-XXXXXX");
	cr_assert_not_null(mkdtemp(path));
	return path;
}

/* A file in it, for as long as four of them are asked for. */
static const char *in_folder(const char *folder, const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

/* ---- systemd's sockets ---- */

static int tcp_socket(int type, int *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, type, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, len), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*port = ntohs(address.sin_port);
	return fd;
}

static int unix_socket(int type, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static const char *program(void)
{
	const char *named = getenv("PGTOPK_BINARY"), *build = getenv("PGTOPK_BUILDDIR");

	return named && *named ? named : text("%s/pgtopk", build && *build ? build : ".");
}

/* In the child: becomes a pgtopk that was given these sockets, as systemd does it. */
static void become(const struct instance *instance, const int *sockets, int count)
{
	const char *arguments[] = {"pgtopk",
	                           "--coordinator",
	                           text("host=127.0.0.1 port=%d user=postgres dbname=postgres",
	                                cluster_port(CLUSTER_COORDINATOR)),
	                           "--listen",
	                           text("127.0.0.1:%d", instance->port),
#ifdef __SANITIZE_ADDRESS__
	                           "--core-dumps=on",
#endif
	                           NULL};
	int log = open(instance->log, O_WRONLY | O_CREAT | O_APPEND, 0600), high[8];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(log, STDERR_FILENO);
	for (int i = 0; i < count; i++)
		high[i] = fcntl(sockets[i], F_DUPFD, 900);
	for (int fd = 3; fd < 900; fd++)
		close(fd);
	for (int i = 0; i < count; i++) {
		dup2(high[i], 3 + i);
		close(high[i]);
	}
	setenv("LISTEN_FDS", text("%d", count), 1);
	setenv("LISTEN_PID", text("%d", (int)getpid()), 1);
	execv(program(), (char *const *)arguments);
	_exit(127);
}

static void activate(struct instance *instance, const int *sockets, int count, int unused_port)
{
	memset(instance, 0, sizeof(*instance));
	instance->port = unused_port;
	snprintf(instance->log, sizeof(instance->log), "/tmp/pgtopk-service-%d.log", (int)getpid());
	unlink(instance->log);
	fflush(NULL);
	instance->pid = fork();
	cr_assert_geq(instance->pid, 0);
	if (instance->pid == 0)
		become(instance, sockets, count);
}

Test(service, sockets_of_systemd_are_used_instead_of_its_own)
{
	const char *folder = temporary_folder();
	const char *path = in_folder(folder, ".s.PGSQL.1");
	struct instance instance;
	int port, unused, sockets[2];
	PGconn *conn;

	close(tcp_socket(SOCK_STREAM, &unused));
	sockets[0] = tcp_socket(SOCK_STREAM, &port);
	sockets[1] = unix_socket(SOCK_STREAM, path);
	cr_assert(listen(sockets[0], 5) == 0 && listen(sockets[1], 5) == 0);
	activate(&instance, sockets, 2, unused);
	conn = cluster_connect_port(port, NULL);
	cr_assert_str_eq(cluster_value(conn, "SELECT 1"), "1");
	PQfinish(conn);
	conn = PQconnectdb(text("host=%s port=1 user=postgres dbname=postgres", folder));
	cr_assert_str_eq(cluster_value(conn, "SELECT 2"), "2");
	PQfinish(conn);
	conn = PQconnectdb(text("host=127.0.0.1 port=%d", unused));
	cr_assert_eq(PQstatus(conn), CONNECTION_BAD);
	PQfinish(conn);
	cr_assert_eq(instance_count(&instance, "event=listening address=systemd "), 1);
	instance_end(&instance, SIGTERM);
	cr_assert_eq(access(path, F_OK), 0, "the path is systemd's");
	unlink(path);
	rmdir(folder);
	instance_forget(&instance);
}

static void is_refused(int socket)
{
	struct instance instance;
	int status;

	activate(&instance, &socket, 1, 1);
	cr_assert_eq(waitpid(instance.pid, &status, 0), instance.pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE);
	cr_assert_eq(instance_count(&instance, "descriptor 3 is no listening stream socket"), 1);
	instance_forget(&instance);
	close(socket);
}

Test(service, what_is_no_listening_socket_is_refused)
{
	const char *folder = temporary_folder();
	const char *path = in_folder(folder, "socket");
	int port, packets = unix_socket(SOCK_SEQPACKET, path);

	cr_assert_eq(listen(packets, 1), 0);
	is_refused(packets);
	is_refused(tcp_socket(SOCK_STREAM, &port)); /* not listening */
	is_refused(tcp_socket(SOCK_DGRAM, &port));
	is_refused(open("/dev/null", O_RDWR));
	unlink(path);
	rmdir(folder);
}

/* ---- systemd's messages ---- */

static void is_told(int fd, const char *wanted, const char *also)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLIN};
	char said[1024] = "";

	cr_assert_eq(poll(&pollfd, 1, 10000), 1, "nothing was said; wanted: %s", wanted);
	cr_assert_gt(recv(fd, said, sizeof(said) - 1, 0), 0);
	cr_assert(strncmp(said, wanted, strlen(wanted)) == 0 && strstr(said, also),
	          "%s is not %s and %s", said, wanted, also);
}

Test(service, systemd_is_told)
{
	static const char *const options[] = {"--shutdown-timeout", "1min", NULL};
	const char *folder = temporary_folder();
	const char *path = in_folder(folder, "notify");
	int fd = unix_socket(SOCK_DGRAM, path);
	struct instance instance;

	setenv("NOTIFY_SOCKET", path, 1);
	instance_start(&instance, options);
	is_told(fd, "READY=1\n", "");
	kill(instance.pid, SIGHUP);
	is_told(fd, "RELOADING=1\n", "MONOTONIC_USEC=");
	is_told(fd, "READY=1\n", "");
	instance_end(&instance, SIGTERM);
	is_told(fd, "STOPPING=1\n", "EXTEND_TIMEOUT_USEC=65000000");
	instance_forget(&instance);
	unsetenv("NOTIFY_SOCKET");
	unlink(path);
	rmdir(folder);
}

/* A reload that failed is over, too. */
Test(service, systemd_is_told_of_a_failed_reload)
{
	const char *folder = temporary_folder();
	const char *path = in_folder(folder, "notify");
	const char *file = in_folder(folder, "conf");
	const char *options[] = {"-c", file, NULL};
	int fd = unix_socket(SOCK_DGRAM, path);
	struct instance instance;

	close(open(file, O_CREAT | O_WRONLY, 0600));
	setenv("NOTIFY_SOCKET", path, 1);
	instance_start(&instance, options);
	is_told(fd, "READY=1\n", "");
	unlink(file);
	kill(instance.pid, SIGHUP);
	is_told(fd, "RELOADING=1\n", "");
	is_told(fd, "READY=1\n", "");
	cr_assert_eq(instance_count(&instance, "event=reload_failed"), 1);
	instance_stop(&instance);
	unsetenv("NOTIFY_SOCKET");
	unlink(path);
	rmdir(folder);
}

/* ---- descriptors ---- */

static unsigned open_descriptors(const struct instance *instance)
{
	DIR *folder = opendir(text("/proc/%d/fd", (int)instance->pid));
	unsigned count = 0;

	cr_assert_not_null(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count - 2;
}

/* What is said up to an orderly end, which a reset would not be. */
static const char *hear(struct raw *raw)
{
	static char said[256];
	size_t len = 0;
	ssize_t n;

	while ((n = recv(raw->fd, said + len, sizeof(said) - len, 0)) > 0)
		len += (size_t)n;
	cr_assert_eq(n, 0, "%s", strerror(errno));
	return wire_error_field((uint8_t *)said + WIRE_HEADER, len - WIRE_HEADER, 'C');
}

Test(service, out_of_descriptors_clients_are_told_so)
{
	static const char *const options[] = {"--connect-timeout", "5min", NULL};
	struct instance instance;
	struct rlimit limit;
	struct raw clients[40];
	PGconn *conn;

	instance_start(&instance, options);
	while (instance_count(&instance, " sessions=0 ") == 0) { /* the one that waited for it */
		kill(instance.pid, SIGUSR1);
		usleep(10 * 1000);
	}
	limit.rlim_cur = limit.rlim_max = open_descriptors(&instance) + 20;
	cr_assert_eq(prlimit(instance.pid, RLIMIT_NOFILE, &limit, NULL), 0);
	kill(instance.pid, SIGSTOP); /* what they say is there before they are let in */
	for (unsigned i = 0; i < 40; i++) {
		raw_open(&clients[i], instance.port);
		wire_put_u32(&clients[i].out, 8);
		wire_put_u32(&clients[i].out, WIRE_CODE_SSL);
		raw_send(&clients[i], 0);
	}
	kill(instance.pid, SIGCONT);
	for (unsigned i = 0; i < 40; i++) {
		char no = 0;

		cr_assert(raw_readable(&clients[i], 10000), "%u", i);
		if (i < 20)
			cr_assert(recv(clients[i].fd, &no, 1, 0) == 1 && no == 'N', "%u", i);
		else
			cr_assert_str_eq(hear(&clients[i]), "53300");
	}
	instance_await(&instance, "level=warning event=clients_refused reason=no_descriptors ");
	for (unsigned i = 0; i < 40; i++)
		raw_close(&clients[i]);
	for (int i = 0; i < 1000 && open_descriptors(&instance) > limit.rlim_max - 20; i++)
		usleep(10 * 1000);
	conn = instance_connect(&instance, NULL);
	cr_assert_str_eq(cluster_value(conn, "SELECT 1"), "1");
	PQfinish(conn);
	instance_stop(&instance);
}

/* 120 descriptors: a quarter is kept, the others hold 45 clients with two each. */
Test(service, max_clients_is_what_there_are_descriptors_for)
{
	struct rlimit limit = {120, 120};
	struct instance instance;
	PGconn *clients[46];

	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	instance_start(&instance, NULL);
	cr_assert_eq(instance_count(&instance, "level=warning event=max_clients_lowered "
	                                       "from=10000 to=45 descriptors=120 "),
	             1);
	for (int i = 0; i < 46; i++) {
		clients[i] = PQconnectdb(
		    text("host=127.0.0.1 port=%d user=postgres dbname=postgres", instance.port));
		cr_assert_eq(PQstatus(clients[i]), i < 45 ? CONNECTION_OK : CONNECTION_BAD,
		             "%d: %s", i, PQerrorMessage(clients[i]));
	}
	cr_assert_not_null(strstr(PQerrorMessage(clients[45]), "sorry, too many clients already"));
	cr_assert_str_eq(cluster_value(clients[44], "SELECT 1"), "1");
	for (int i = 0; i < 46; i++)
		PQfinish(clients[i]);
	instance_stop(&instance);
}

/* A coordinator that greets whoever comes and says no more: real ones hold fewer. */
static pid_t start_greeter(int *port)
{
	static const char greeting[] = "R\0\0\0\10\0\0\0\0"
				       "K\0\0\0\14\0\0\0\1\0\0\0\2"
				       "Z\0\0\0\5I";
	int listening = tcp_socket(SOCK_STREAM, port);
	pid_t pid;

	cr_assert_eq(listen(listening, 1024), 0);
	fflush(NULL);
	pid = fork();
	if (pid > 0)
		close(listening);
	while (pid == 0) {
		int fd = accept(listening, NULL, NULL);
		char startup[256];

		if (fd < 0 || recv(fd, startup, sizeof(startup), 0) <= 0 ||
		    send(fd, greeting, sizeof(greeting) - 1, MSG_NOSIGNAL) < 0)
			_exit(EXIT_FAILURE);
	}
	return pid;
}

static void raise_limit(rlim_t wanted)
{
	struct rlimit limit;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

Test(service, a_thousand_idle_clients_hold_and_are_all_told)
{
	struct raw *clients = calloc(CLIENTS, sizeof(*clients));
	struct instance instance;
	int port;
	pid_t greeter;
	const char *options[] = {"--coordinator", NULL, NULL};

	raise_limit(4096);
	greeter = start_greeter(&port);
	options[1] = text("host=127.0.0.1 port=%d user=postgres sslmode=disable", port);
	instance_start(&instance, options);
	for (int i = 0; i < CLIENTS; i++)
		raw_login(&clients[i], instance.port);
	for (int i = 0; i < CLIENTS; i++)
		cr_assert(!raw_readable(&clients[i], 0));
	cr_assert_geq(open_descriptors(&instance), 2 * CLIENTS);
	instance_end(&instance, SIGTERM);
	for (int i = 0; i < CLIENTS; i++) {
		char *said = raw_read(&clients[i], UP_TO_END, 1);

		cr_assert_not_null(strstr(said, " C=57P01 "), "%d: %s", i, said);
		free(said);
		raw_close(&clients[i]);
	}
	kill(greeter, SIGKILL);
	waitpid(greeter, NULL, 0);
	instance_forget(&instance);
	free(clients);
}

/* ---- the path of a Unix socket ---- */

/* A pgtopk that listens in that folder alone. */
static pid_t spawn(const char *folder, const char *core_dumps)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		int fd = open(text("%s/log", folder), O_WRONLY | O_CREAT | O_APPEND, 0600);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fd, STDERR_FILENO);
		execl(program(), "pgtopk", "--listen", text("%s:1", folder), "--core-dumps",
		      core_dumps, NULL);
		_exit(127);
	}
	return pid;
}

/* Who answers there; 0: nobody. */
static pid_t listener_of(const char *folder)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct ucred who = {0};
	socklen_t len = sizeof(who);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.1", folder);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		cr_assert_eq(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len), 0);
	close(fd);
	return who.pid;
}

static void await_listener(const char *folder, pid_t pid)
{
	for (int i = 0; i < 1000 && listener_of(folder) != pid; i++)
		usleep(10 * 1000);
	cr_assert_eq(listener_of(folder), pid);
}

/* Ends with that status of exit(). */
static void await_exit(pid_t pid, int wanted)
{
	int status = 0;
	pid_t ended = 0;

	for (int i = 0; i < 1000 && ended == 0; i++) {
		ended = waitpid(pid, &status, WNOHANG);
		usleep(10 * 1000);
	}
	cr_assert_eq(ended, pid, "it does not end");
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == wanted, "%x", (unsigned)status);
}

static void remove_folder(const char *folder)
{
	unlink(text("%s/log", folder));
	cr_assert_eq(rmdir(folder), 0, "something is left in %s", folder);
}

Test(service, of_those_that_start_at_once_on_one_path_one_stays)
{
	const char *folder = temporary_folder();

	for (int round = 0; round < 8; round++) {
		pid_t pids[6], left = 0;

		for (int i = 0; i < 6; i++)
			pids[i] = spawn(folder, "on");
		for (int ended = 0; ended < 5; ended++) {
			int status;
			pid_t pid = waitpid(-1, &status, 0);

			cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE);
			for (int i = 0; i < 6; i++)
				pids[i] = pids[i] == pid ? 0 : pids[i];
		}
		for (int i = 0; i < 6; i++)
			left += pids[i];
		await_listener(folder, left);
		kill(left, round % 2 ? SIGTERM : SIGKILL); /* the next finds leftovers, too */
		waitpid(left, NULL, 0);
	}
	remove_folder(folder);
}

/* Not even if there is no socket: its owner may be about to make it. */
Test(service, a_locked_path_is_its_owners)
{
	const char *folder = temporary_folder();
	const char *lock = in_folder(folder, ".s.PGSQL.1.pgtopk");
	int fd = open(lock, O_CREAT | O_RDWR, 0600);
	pid_t pid;

	cr_assert_eq(flock(fd, LOCK_EX), 0);
	await_exit(spawn(folder, "on"), EXIT_FAILURE);
	cr_assert_eq(listener_of(folder), 0);
	close(fd);
	pid = spawn(folder, "on");
	await_listener(folder, pid);
	kill(pid, SIGTERM);
	await_exit(pid, EXIT_SUCCESS);
	remove_folder(folder);
}

Test(service, a_living_socket_is_not_taken_from_its_owner)
{
	const char *folder = temporary_folder();
	const char *path = in_folder(folder, ".s.PGSQL.1");
	int fd = unix_socket(SOCK_STREAM, path); /* another program's */

	cr_assert_eq(listen(fd, 0), 0);
	for (int i = 0; i < 3; i++) /* the second fills its queue */
		await_exit(spawn(folder, "on"), EXIT_FAILURE);
	close(accept(fd, NULL, NULL));
	cr_assert_eq(listener_of(folder), getpid());
	unlink(path);
	remove_folder(folder);
}

/* ---- core dumps ---- */

/* Crashes one; does it leave a core? What it set itself at the start is lifted again: what
 * is left is that the kernel must not dump it at all. */
static bool dumps_core(const char *core_dumps)
{
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	const char *folder = temporary_folder();
	int status = 0;
	pid_t pid;

	cr_assert_eq(chdir(folder), 0);
	pid = spawn(folder, core_dumps);
	await_listener(folder, pid);
	(void)prlimit(pid, RLIMIT_CORE, &unlimited, NULL);
	kill(pid, SIGSEGV);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
	(void)!system(text("rm -rf '%s'", folder));
	return WIFSIGNALED(status) && WCOREDUMP(status);
}

Test(service, there_is_no_core_dump_unless_asked_for)
{
	if (!dumps_core("on"))
		printf("SKIP: core dumps: this machine makes none\n");
	else
		cr_assert(!dumps_core("off"));
}
