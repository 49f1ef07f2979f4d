/*
 * Instance: a pgtopk process in front of the test cluster, on a free port and on a
 * Unix socket, with its log in a file. Each test program has one that its tests share; a test that
 * needs other options starts its own.
 *
 * PGTOPK_BINARY names the program (by default pgtopk in the build folder). With
 * PGTOPK_BINARY=none clients are connected to the coordinator itself and what the
 * log says is not checked: to see that a test is right.
 */
#ifndef T_LIB_INSTANCE_H
#define T_LIB_INSTANCE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <sys/types.h>

struct instance {
	pid_t pid; /* 0: none, the coordinator answers */
	int port;
	char log[512];
	long log_at; /* what is before it was looked at */
};

/* Starts one and waits until it listens. options is a NULL-terminated list of
 * further arguments, or NULL. */
void instance_start(struct instance *instance, const char *const *options);
/* Ends it; it must still run and must end well. */
void instance_stop(struct instance *instance);
/* Sends a signal, unless it is 0; waits until the process has ended, which must be well.
 * The log stays, up to instance_forget(). */
void instance_end(struct instance *instance, int signum);
void instance_forget(struct instance *instance);

/* The program's own: started before its first test, stopped after the last. */
void instance_start_shared(const char *const *options);
void instance_stop_shared(void);
struct instance *instance_shared(void);

/* The folder of its Unix socket, which has the port's number. */
const char *instance_socket_dir(void);
/* A port of 127.0.0.1 that nobody listens on. */
int instance_free_port(void);

PGconn *instance_connect(const struct instance *instance, const char *more);
/* A field of /proc/PID/status in kB: VmHWM, VmRSS. */
long instance_memory_kb(const struct instance *instance, const char *field);
/* Its memory says nothing: freed memory is kept. */
bool instance_is_sanitized(void);
/* Milliseconds of CPU that it has used, user and system. */
long instance_cpu_ms(const struct instance *instance);
/* Its open descriptors (as root, or with --core-dumps on). */
unsigned instance_descriptors(const struct instance *instance);
/* Waits until there are no more than that, for at most ms. */
bool instance_await_descriptors(const struct instance *instance, unsigned most, unsigned ms);

/* From now on only later lines of the log are looked at. */
void instance_skip_log(struct instance *instance);
/* Those lines; the caller's to free. */
char *instance_read_log(struct instance *instance);
/*
 * Checks that since the last look at it the log has exactly one event of a vector
 * query: "routed", or a refusal's reason; or none at all for NULL. sql is for the
 * message. Returns the routed line as text(), else NULL.
 */
const char *instance_expect(struct instance *instance, const char *event, const char *sql);
/* A number of such a line: "ef_search". -1 if it is not there. */
long instance_number(const char *line, const char *name);
/* How often a text stands in the new lines of the log; they stay new. */
unsigned instance_count(const struct instance *instance, const char *what);
/* Waits until it stands there. */
void instance_await(const struct instance *instance, const char *what);

#endif
