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
#include "proxy/cancel.h"
#include "proxy/catalog.h"
#include "proxy/census.h"
#include "proxy/check.h"
#include "proxy/client_tls.h"
#include "proxy/config.h"
#include "proxy/control.h"
#include "proxy/description.h"
#include "proxy/digest.h"
#include "proxy/keyring.h"
#include "proxy/limits.h"
#include "proxy/linger.h"
#include "proxy/log.h"
#include "proxy/loop.h"
#include "proxy/notices.h"
#include "proxy/pool.h"
#include "proxy/pq.h"
#include "proxy/proxy.h"
#include "proxy/reload.h"
#include "proxy/session.h"
#include "proxy/signature.h"
#include "proxy/tls.h"
#include "proxy/verifiers.h"

#define PLAN_CACHE_ENTRIES 10000
#define DESCRIPTION_CACHE_ENTRIES 1000
#define ERROR_SIZE 512

/* Says what went wrong and where to look; the exit status. */
static int complain(const char *error)
{
	fprintf(stderr, "pgtopk: %s\nTry \"pgtopk --help\" for the options.\n", error);
	return EXIT_FAILURE;
}

/* host:port of the coordinator, for texts. */
static char *name_coordinator(const struct config *config)
{
	char *why = NULL, *name;
	char *host = pq_conninfo_value(config->coordinator, "host", &why);
	char *port = pq_conninfo_value(config->coordinator, "port", &why);

	if (asprintf(&name, "%s:%s", host ? host : "localhost", port ? port : "5432") < 0)
		abort();
	free(host);
	free(port);
	free(why);
	return name;
}

static bool proxy_init(struct proxy *proxy, const struct config *config, char *error)
{
	memset(proxy, 0, sizeof(*proxy));
	proxy->config = config;
	proxy->loop = loop_new();
	if (!proxy->loop) {
		snprintf(error, ERROR_SIZE, "no event loop: %s", strerror(errno));
		return false;
	}
	proxy->log = log_new(STDERR_FILENO, log_level_of(config->log_level));
	proxy->coordinator = name_coordinator(config);
	proxy->keyring = keyring_new();
	proxy->lingers = lingers_new(proxy->loop);
	proxy->by_user = census_new();
	proxy->by_database = census_new();
	proxy->by_address = census_new();
	digest_random(proxy->secret, sizeof(proxy->secret));
	proxy->pools = pools_new(proxy->loop, config, proxy->log, proxy->keyring);
	proxy->verifiers =
	    verifiers_new(proxy->loop, config, proxy->log, proxy->pools, error, ERROR_SIZE);
	if (!proxy->verifiers || !client_tls_make(config, &proxy->tls, error, ERROR_SIZE))
		return false;
	proxy->catalogs = catalogs_new(proxy->loop, config, proxy->log, proxy->pools);
	proxy->plans = plancache_new(PLAN_CACHE_ENTRIES, (size_t)config->plan_cache_size);
	proxy->descriptions = descriptions_new(DESCRIPTION_CACHE_ENTRIES);
	proxy->notices = notices_new(proxy);
	proxy->signatures = signatures_new();
	return true;
}

static void proxy_fini(struct proxy *proxy)
{
	while (proxy->sessions)
		session_close(proxy->sessions, "shutdown");
	cancel_end_all(proxy);
	signatures_free(proxy->signatures);
	notices_free(proxy->notices);
	lingers_free(proxy->lingers);
	if (proxy->verifiers)
		verifiers_free(proxy->verifiers);
	tls_server_free(proxy->tls);
	if (proxy->catalogs)
		catalogs_free(proxy->catalogs);
	if (proxy->pools)
		pools_free(proxy->pools);
	loop_free(proxy->loop); /* runs what was deferred */
	descriptions_free(proxy->descriptions);
	plancache_free(proxy->plans);
	log_free(proxy->log);
	keyring_free(proxy->keyring);
	census_free(proxy->by_user);
	census_free(proxy->by_database);
	census_free(proxy->by_address);
	free(proxy->coordinator);
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
