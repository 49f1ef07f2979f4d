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
#include "proxy/cancel.h"
#include "proxy/catalog.h"
#include "proxy/census.h"
#include "proxy/check.h"
#include "proxy/config.h"
#include "proxy/description.h"
#include "proxy/digest.h"
#include "proxy/keyring.h"
#include "proxy/listener.h"
#include "proxy/log.h"
#include "proxy/loop.h"
#include "proxy/pool.h"
#include "proxy/pq.h"
#include "proxy/proxy.h"
#include "proxy/session.h"
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

/* Reads the coordinator's conninfo, so that a mistake in it shows now. */
static bool name_coordinator(struct proxy *proxy, char *error)
{
	char *why = NULL, *why_port = NULL;
	char *host = pq_conninfo_value(proxy->config->coordinator, "host", &why);
	char *port = pq_conninfo_value(proxy->config->coordinator, "port", &why_port);
	char name[ERROR_SIZE];

	if (why)
		snprintf(error, ERROR_SIZE, "coordinator: %s", why);
	snprintf(name, sizeof(name), "%s:%s", host ? host : "localhost", port ? port : "5432");
	proxy->coordinator = strdup(name);
	free(host);
	free(port);
	free(why_port);
	if (!why)
		return true;
	free(why);
	return false;
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

/* TLS towards clients, as configured now. */
static bool tls_start(struct proxy *proxy, char *error)
{
	const struct config *config = proxy->config;
	bool demand = strcmp(config->client_tls, "verify-ca") == 0 ||
	              strcmp(config->client_tls, "verify-full") == 0;
	struct tls_server_options options = {
	    .cert_file = config->client_tls_cert,
	    .key_file = config->client_tls_key,
	    .ca_file = config->client_tls_ca,
	    .crl_file = config->client_tls_crl,
	    .min_version = config->client_tls_min_version,
	    .ciphers = config->client_tls_ciphers,
	    .verify = demand ? TLS_VERIFY_DEMAND : TLS_VERIFY_NONE,
	};
	struct tls_server *server;

	if (strcmp(config->client_tls, "off") == 0)
		return true;
	if (demand && !config->client_tls_ca[0]) {
		snprintf(error, ERROR_SIZE, "client_tls = %s needs client_tls_ca",
		         config->client_tls);
		return false;
	}
	server = tls_server_new(&options, error, ERROR_SIZE);
	if (!server)
		return false;
	tls_server_free(proxy->tls);
	proxy->tls = server;
	return true;
}

static bool proxy_init(struct proxy *proxy, const struct config *config, char *error)
{
	memset(proxy, 0, sizeof(*proxy));
	proxy->config = config;
	if (!name_coordinator(proxy, error))
		return false;
	proxy->loop = loop_new();
	if (!proxy->loop) {
		snprintf(error, ERROR_SIZE, "no event loop: %s", strerror(errno));
		return false;
	}
	proxy->log = log_new(STDERR_FILENO, level_of(config->log_level));
	digest_random(proxy->secret, sizeof(proxy->secret));
	proxy->keyring = keyring_new();
	proxy->by_user = census_new();
	proxy->by_address = census_new();
	proxy->pools = pools_new(proxy->loop, config, proxy->log, proxy->keyring);
	proxy->verifiers =
	    verifiers_new(proxy->loop, config, proxy->log, proxy->pools, error, ERROR_SIZE);
	if (!proxy->verifiers || !tls_start(proxy, error))
		return false;
	proxy->catalogs = catalogs_new(proxy->loop, config, proxy->log, proxy->pools);
	proxy->plans = plancache_new(PLAN_CACHE_ENTRIES, (size_t)config->plan_cache_size);
	proxy->descriptions = descriptions_new(DESCRIPTION_CACHE_ENTRIES);
	return true;
}

static void proxy_fini(struct proxy *proxy)
{
	while (proxy->sessions)
		session_close(proxy->sessions, "shutdown");
	cancel_end_all(proxy);
	if (proxy->catalogs)
		catalogs_free(proxy->catalogs);
	if (proxy->verifiers)
		verifiers_free(proxy->verifiers);
	tls_server_free(proxy->tls);
	if (proxy->pools)
		pools_free(proxy->pools);
	loop_free(proxy->loop); /* runs what was deferred */
	descriptions_free(proxy->descriptions);
	plancache_free(proxy->plans);
	log_free(proxy->log);
	free(proxy->coordinator);
	keyring_free(proxy->keyring);
	census_free(proxy->by_user);
	census_free(proxy->by_address);
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
	log_event(proxy->log, LOG_INFO, "listening", "address=%s coordinator=%s version=%s",
	          log_quote(proxy->config->listen), log_quote(proxy->coordinator), PACKAGE_VERSION);
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
