/*
 * Instance: see instance.h. The shared one's process id, port and log are handed
 * to the tests by the environment.
 */
#include "t/lib/instance.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t/lib/cluster.h"

#define SHARED "PGTOPK_TEST_INSTANCE"
#define OPTIONS_MAX 32

static const char *binary(void)
{
	const char *named = getenv("PGTOPK_BINARY");
	const char *build = getenv("PGTOPK_BUILDDIR");

	if (named && *named)
		return named;
	return text("%s/pgtopk", build && *build ? build : ".");
}

static int socket_on(int port, bool listening)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int result;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	result = listening ? bind(fd, (struct sockaddr *)&address, sizeof(address))
	                   : connect(fd, (struct sockaddr *)&address, sizeof(address));
	if (result == 0)
		return fd;
	close(fd);
	return -1;
}

int instance_free_port(void)
{
	struct sockaddr_in address;
	socklen_t len = sizeof(address);
	int fd = socket_on(0, true);

	cr_assert_geq(fd, 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	close(fd);
	return ntohs(address.sin_port);
}

const char *instance_socket_dir(void)
{
	const char *dir = getenv("TMPDIR");

	return dir && *dir ? dir : "/tmp";
}

/* In the child: becomes pgtopk. */
static void become(const struct instance *instance, const char *program, const char *const *options)
{
	const char *arguments[OPTIONS_MAX] = {"pgtopk"};
	int log = open(instance->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	int nothing = open("/dev/null", O_RDONLY);
	size_t n = 1;

	arguments[n++] = "--coordinator";
	arguments[n++] = text("host=127.0.0.1 port=%d user=postgres dbname=postgres",
	                      cluster_port(CLUSTER_COORDINATOR));
	arguments[n++] = "--listen";
	arguments[n++] =
	    text("127.0.0.1:%d,%s:%d", instance->port, instance_socket_dir(), instance->port);
	arguments[n++] = "--log-routed";
	arguments[n++] = "on";
#ifdef __SANITIZE_ADDRESS__
	arguments[n++] = "--core-dumps=on"; /* LeakSanitizer has to trace the process */
#endif
	while (options && *options && n + 1 < OPTIONS_MAX)
		arguments[n++] = *options++;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(nothing, STDIN_FILENO);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	execv(program, (char *const *)arguments);
	fprintf(stderr, "%s: cannot be run\n", program);
	_exit(127);
}

static void give_up(const struct instance *instance, const char *what)
{
	char line[4096];
	FILE *log = fopen(instance->log, "r");

	fprintf(stderr, "pgtopk %s; its log:\n", what);
	while (log && fgets(line, sizeof(line), log))
		fputs(line, stderr);
	cr_assert_fail("pgtopk %s", what);
	exit(EXIT_FAILURE); /* before the first test */
}

/* It comes right behind the other, unless the test listens elsewhere. */
static void await_unix_socket(const struct instance *instance)
{
	const char *path = text("%s/.s.PGSQL.%d", instance_socket_dir(), instance->port);

	for (int i = 0; i < 50 && access(path, F_OK) != 0; i++)
		usleep(5 * 1000);
	usleep(5 * 1000); /* bound, and soon listening */
}

static void await_listening(const struct instance *instance)
{
	for (int i = 0; i < 400; i++) {
		int fd = socket_on(instance->port, false);

		if (fd >= 0) {
			close(fd);
			await_unix_socket(instance);
			return;
		}
		if (waitpid(instance->pid, NULL, WNOHANG) != 0)
			give_up(instance, "ended at once");
		usleep(25 * 1000);
	}
	give_up(instance, "does not listen");
}

void instance_start(struct instance *instance, const char *const *options)
{
	const char *program = binary();

	memset(instance, 0, sizeof(*instance));
	instance->port = cluster_port(CLUSTER_COORDINATOR);
	if (strcmp(program, "none") == 0)
		return;
	instance->port = instance_free_port();
	snprintf(instance->log, sizeof(instance->log), "%s/pgtopk-%d-%d.log", instance_socket_dir(),
	         (int)getpid(), instance->port);
	fflush(NULL);
	instance->pid = fork();
	cr_assert_geq(instance->pid, 0);
	if (instance->pid == 0)
		become(instance, program, options);
	await_listening(instance);
}

void instance_end(struct instance *instance, int signum)
{
	int status = 0;

	if (signum != 0)
		kill(instance->pid, signum);
	for (int i = 0; i < 400 && waitpid(instance->pid, &status, WNOHANG) == 0; i++)
		usleep(25 * 1000);
	if (kill(instance->pid, 0) == 0) {
		kill(instance->pid, SIGKILL);
		give_up(instance, "does not end");
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		give_up(instance, "did not end well");
}

void instance_forget(struct instance *instance)
{
	unlink(instance->log);
	instance->pid = 0;
}

void instance_stop(struct instance *instance)
{
	if (instance->pid == 0)
		return;
	instance_end(instance, SIGTERM);
	instance_forget(instance);
}

void instance_start_shared(const char *const *options)
{
	struct instance instance;

	instance_start(&instance, options);
	setenv(SHARED, text("%d %d %s", (int)instance.pid, instance.port, instance.log), 1);
}

static void read_shared(struct instance *instance)
{
	const char *shared = getenv(SHARED);
	int pid;

	cr_assert_not_null(shared, "instance_start_shared() was not called");
	memset(instance, 0, sizeof(*instance));
	cr_assert_geq(sscanf(shared, "%d %d %511s", &pid, &instance->port, instance->log), 2);
	instance->pid = pid;
}

void instance_stop_shared(void)
{
	struct instance instance;

	read_shared(&instance);
	instance_stop(&instance);
}

struct instance *instance_shared(void)
{
	static struct instance instance;

	read_shared(&instance);
	instance_skip_log(&instance);
	return &instance;
}

PGconn *instance_connect(const struct instance *instance, const char *more)
{
	return cluster_connect_port(instance->port, more);
}

long instance_memory_kb(const struct instance *instance, const char *field)
{
	FILE *status = fopen(text("/proc/%d/status", (int)instance->pid), "r");
	char line[256];
	long value = -1;

	cr_assert_not_null(status);
	while (fgets(line, sizeof(line), status)) {
		if (strncmp(line, field, strlen(field)) == 0 && line[strlen(field)] == ':')
			value = atol(line + strlen(field) + 1);
	}
	fclose(status);
	return value;
}

bool instance_is_sanitized(void)
{
#ifdef __SANITIZE_ADDRESS__
	return true;
#else
	return getenv("PGTOPK_SANITIZED") != NULL; /* PGTOPK_BINARY is */
#endif
}

long instance_cpu_ms(const struct instance *instance)
{
	FILE *stat = fopen(text("/proc/%d/stat", (int)instance->pid), "r");
	long user = -1, system = -1;

	cr_assert_not_null(stat);
	cr_assert_eq(fscanf(stat, "%*d %*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld",
	                    &user, &system),
	             2);
	fclose(stat);
	return (user + system) * 1000 / sysconf(_SC_CLK_TCK);
}

unsigned instance_descriptors(const struct instance *instance)
{
	DIR *dir = opendir(text("/proc/%d/fd", (int)instance->pid));
	unsigned count = 0;

	cr_assert_not_null(dir);
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

bool instance_await_descriptors(const struct instance *instance, unsigned most, unsigned ms)
{
	for (unsigned waited = 0; instance_descriptors(instance) > most; waited += 5) {
		if (waited > ms)
			return false;
		usleep(5 * 1000);
	}
	return true;
}

/* ---- the log ---- */

void instance_skip_log(struct instance *instance)
{
	struct stat status;

	instance->log_at = instance->pid && stat(instance->log, &status) == 0 ? status.st_size : 0;
}

static char *new_lines(const struct instance *instance)
{
	FILE *log = instance->pid ? fopen(instance->log, "r") : NULL;
	size_t size = 1 << 16, len = 0, n;
	char *lines = malloc(size);

	cr_assert_not_null(lines);
	if (log && fseek(log, instance->log_at, SEEK_SET) == 0) {
		while ((n = fread(lines + len, 1, size - len - 1, log)) > 0) {
			len += n;
			size *= 2;
			lines = realloc(lines, size);
			cr_assert_not_null(lines);
		}
	}
	lines[len] = '\0';
	if (log)
		fclose(log);
	return lines;
}

char *instance_read_log(struct instance *instance)
{
	char *lines = new_lines(instance);

	instance->log_at += (long)strlen(lines);
	return lines;
}

unsigned instance_count(const struct instance *instance, const char *what)
{
	char *lines = new_lines(instance);
	unsigned count = 0;

	for (const char *at = lines; (at = strstr(at, what)) != NULL; at += strlen(what))
		count++;
	free(lines);
	return count;
}

void instance_await(const struct instance *instance, const char *what)
{
	for (int i = 0; i < 1000 && instance_count(instance, what) == 0; i++)
		usleep(10 * 1000);
	if (instance_count(instance, what) == 0)
		give_up(instance, text("does not log \"%s\"", what));
}

const char *instance_expect(struct instance *instance, const char *event, const char *sql)
{
	char *lines = instance_read_log(instance), *rest = lines, *line;
	const char *wanted = !event                         ? ""
	                     : strcmp(event, "routed") == 0 ? "event=routed "
	                                                    : text(" reason=%s ", event);
	const char *found = NULL;
	unsigned events = 0;
	char *all = strdup(lines);

	while ((line = strsep(&rest, "\n")) != NULL) {
		if (!strstr(line, " event=routed ") && !strstr(line, " event=refused "))
			continue;
		events++;
		if (event && strstr(line, wanted))
			found = text("%s", line);
	}
	if (instance->pid)
		cr_assert(events == (event ? 1 : 0) && (found || !event),
		          "expected %s for: %.400s\nthe log says:\n%.2000s",
		          event ? event : "nothing", sql, all);
	free(all);
	free(lines);
	return found;
}

long instance_number(const char *line, const char *name)
{
	const char *at = line ? strstr(line, text(" %s=", name)) : NULL;

	return at ? atol(at + strlen(name) + 2) : -1;
}
