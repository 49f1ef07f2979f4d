/*
 * Main: from the command line to a running proxy and back. Makes struct proxy,
 * listens, and runs the loop until a signal ends it.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "parser/plancache.h"
#include "proxy/catalog.h"
#include "proxy/check.h"
#include "proxy/config.h"
#include "proxy/description.h"
#include "proxy/listener.h"
#include "proxy/log.h"
#include "proxy/loop.h"
#include "proxy/pool.h"
#include "proxy/pq.h"
#include "proxy/proxy.h"
#include "proxy/session.h"

#define PLAN_CACHE_ENTRIES 10000
#define DESCRIPTION_CACHE_ENTRIES 1000
#define ERROR_SIZE 512

/* Says what went wrong and where to look; the exit status. */
static int complain(const char *error)
{
	fprintf(stderr, "pgtopk: %s\nTry \"pgtopk --help\" for the options.\n", error);
	return EXIT_FAILURE;
}

/* Clients are relayed to the first host and port that libpq would try. */
static bool read_coordinator(struct proxy *proxy, char *error)
{
	char *why = NULL;
	char *host = pq_conninfo_value(proxy->config->coordinator, "hostaddr", &why);
	char *port;

	if (!why && !host)
		host = pq_conninfo_value(proxy->config->coordinator, "host", &why);
	port = why ? NULL : pq_conninfo_value(proxy->config->coordinator, "port", &why);
	if (why) {
		snprintf(error, ERROR_SIZE, "coordinator: %s", why);
		free(why);
		free(host);
		return false;
	}
	proxy->coordinator_host = host ? host : strdup("localhost");
	proxy->coordinator_host[strcspn(proxy->coordinator_host, ",")] = '\0';
	proxy->coordinator_port = port ? atoi(port) : 5432;
	free(port);
	return true;
}

static enum log_level level_of(const char *name)
{
	static const char *const names[] = {"debug", "info", "warning", "error"};

	for (int i = LOG_DEBUG; i <= LOG_ERROR; i++)
		if (strcmp(name, names[i]) == 0)
			return (enum log_level)i;
	return LOG_INFO;
}

/* Every client takes two descriptors; the soft limit is often 1024. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static bool proxy_init(struct proxy *proxy, const struct config *config, char *error)
{
	memset(proxy, 0, sizeof(*proxy));
	proxy->config = config;
	if (!read_coordinator(proxy, error))
		return false;
	proxy->loop = loop_new();
	if (!proxy->loop) {
		snprintf(error, ERROR_SIZE, "no event loop: %s", strerror(errno));
		return false;
	}
	proxy->log = log_new(STDERR_FILENO, level_of(config->log_level));
	proxy->pools = pools_new(proxy->loop, config, proxy->log, NULL);
	proxy->catalogs = catalogs_new(proxy->loop, config, proxy->log, proxy->pools);
	proxy->plans = plancache_new(PLAN_CACHE_ENTRIES, (size_t)config->plan_cache_size);
	proxy->descriptions = descriptions_new(DESCRIPTION_CACHE_ENTRIES);
	return true;
}

static void proxy_fini(struct proxy *proxy)
{
	while (proxy->sessions)
		session_close(proxy->sessions, "shutdown");
	if (proxy->catalogs)
		catalogs_free(proxy->catalogs);
	if (proxy->pools)
		pools_free(proxy->pools);
	loop_free(proxy->loop); /* runs what was deferred */
	descriptions_free(proxy->descriptions);
	plancache_free(proxy->plans);
	log_free(proxy->log);
	free(proxy->coordinator_host);
}

static void log_statistics(const struct proxy *proxy)
{
	const struct counters *counters = &proxy->counters;

	log_event(proxy->log, LOG_INFO, "statistics",
	          "clients=%" PRIu64 " sessions=%u routed=%" PRIu64 " rows=%" PRIu64
	          " stale_maps=%" PRIu64 " cancels=%" PRIu64,
	          counters->clients, proxy->session_count, counters->routed, counters->rows,
	          counters->stale_maps, counters->cancels);
	for (int i = 0; i < REFUSAL_COUNT; i++)
		if (counters->refused[i] > 0)
			log_event(proxy->log, LOG_INFO, "statistics", "refused=%s count=%" PRIu64,
			          refusal_name((enum refusal)i), counters->refused[i]);
}

static void on_signal(void *owner, int signum)
{
	struct proxy *proxy = owner;

	if (signum == SIGUSR1) {
		log_statistics(proxy);
		return;
	}
	log_event(proxy->log, LOG_INFO, "stopping", "signal=%s", signum == SIGINT ? "INT" : "TERM");
	loop_stop(proxy->loop);
}

static void on_accept(void *owner, int fd)
{
	session_open(owner, fd);
}

static int run(struct proxy *proxy)
{
	char error[ERROR_SIZE];
	struct listener *listener = listener_open(proxy->loop, proxy->config->listen, on_accept,
	                                          proxy, error, sizeof(error));

	if (!listener)
		return complain(error);
	signal(SIGPIPE, SIG_IGN);
	raise_descriptor_limit();
	loop_on_signal(proxy->loop, SIGINT, on_signal, proxy);
	loop_on_signal(proxy->loop, SIGTERM, on_signal, proxy);
	loop_on_signal(proxy->loop, SIGUSR1, on_signal, proxy);
	log_event(proxy->log, LOG_INFO, "listening", "address=%s coordinator=%s:%d version=%s",
	          log_quote(proxy->config->listen), log_quote(proxy->coordinator_host),
	          proxy->coordinator_port, PACKAGE_VERSION);
	loop_run(proxy->loop);
	listener_close(listener);
	log_statistics(proxy);
	return EXIT_SUCCESS;
}

static int start(const struct config *config, bool check_only)
{
	struct proxy proxy;
	char error[ERROR_SIZE];
	int status;

	if (!proxy_init(&proxy, config, error))
		return complain(error);
	status = check_only ? check_run(&proxy, stdout) : run(&proxy);
	proxy_fini(&proxy);
	return status;
}

int main(int argc, char **argv)
{
	struct config *config = config_new();
	enum config_action action = CONFIG_RUN;
	char error[ERROR_SIZE];
	int status = EXIT_SUCCESS;

	if (!config_from_arguments(config, argc, argv, &action, error, sizeof(error)))
		status = complain(error);
	else if (action == CONFIG_HELP)
		config_print_help(stdout);
	else if (action == CONFIG_VERSION)
		puts("pgtopk " PACKAGE_VERSION);
	else if (action == CONFIG_SAMPLE)
		config_print_sample(stdout);
	else
		status = start(config, action == CONFIG_CHECK);
	config_free(config);
	return status;
}
