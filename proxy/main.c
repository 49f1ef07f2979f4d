/*
 * Main: from the command line to a running proxy and back. Makes struct proxy of the
 * configuration and hands it to control.c, or to check.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parser/plancache.h"
#include "proxy/catalog.h"
#include "proxy/check.h"
#include "proxy/config.h"
#include "proxy/control.h"
#include "proxy/description.h"
#include "proxy/limits.h"
#include "proxy/log.h"
#include "proxy/loop.h"
#include "proxy/pool.h"
#include "proxy/pq.h"
#include "proxy/proxy.h"
#include "proxy/reload.h"
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
	proxy->log = log_new(STDERR_FILENO, log_level_of(config->log_level));
	proxy->pools = pools_new(proxy->loop, config, proxy->log);
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

static bool run(struct proxy *proxy, struct config *config, int argc, char **argv, char *error)
{
	limits_raise();
	limits_hold_clients(config, proxy->log);
	return control_run(proxy, config, argc, argv, error, ERROR_SIZE);
}

static int start(struct config *config, bool check_only, int argc, char **argv)
{
	struct proxy proxy;
	char error[ERROR_SIZE];
	int status;

	if (!config->core_dumps)
		limits_forbid_dumps();
	if (!reload_check(config, true, error, sizeof(error)) || !proxy_init(&proxy, config, error))
		return complain(error);
	if (check_only)
		status = check_run(&proxy, stdout);
	else if (run(&proxy, config, argc, argv, error))
		status = EXIT_SUCCESS;
	else
		status = complain(error);
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
		status = start(config, action == CONFIG_CHECK, argc, argv);
	config_free(config);
	return status;
}
