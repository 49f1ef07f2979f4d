/*
 * Reload: see reload.h.
 */
#include "proxy/reload.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy/client_tls.h"
#include "proxy/config.h"
#include "proxy/limits.h"
#include "proxy/log.h"
#include "proxy/pq.h"
#include "proxy/proxy.h"
#include "proxy/verifiers.h"

#define ERROR_SIZE 1024

static bool check_conninfo(const char *option, const char *conninfo, bool verbose, char *error,
                           size_t error_size)
{
	char *why = NULL;

	free(pq_conninfo_value(conninfo, "host", &why));
	if (!why)
		return true;
	snprintf(error, error_size, "%s: %s", option,
	         verbose ? why : "no connection string; pgtopk --check says why");
	free(why);
	return false;
}

bool reload_check(const struct config *config, bool verbose, char *error, size_t error_size)
{
	return check_conninfo("coordinator", config->coordinator, verbose, error, error_size) &&
	       check_conninfo("worker", config->worker, verbose, error, error_size);
}

/* The new configuration; NULL with a message. */
static struct config *read_again(struct log *log, int argc, char **argv, char *error,
                                 size_t error_size)
{
	struct config *fresh = config_new();
	enum config_action action;

	if (!config_from_arguments(fresh, argc, argv, &action, error, error_size) ||
	    !reload_check(fresh, false, error, error_size)) {
		config_free(fresh);
		return NULL;
	}
	limits_hold_clients(fresh, log);
	return fresh;
}

struct report {
	struct log *log;
	unsigned changed, restarts;
};

static void on_change(void *owner, const struct config_change *change)
{
	struct report *report = owner;

	if (!change->adopted) {
		report->restarts++;
		log_event(report->log, LOG_WARNING, "restart_needed", "option=%s", change->option);
		return;
	}
	report->changed++;
	if (change->secret)
		log_event(report->log, LOG_INFO, "reloaded", "option=%s changed=yes",
		          change->option);
	else
		log_event(report->log, LOG_INFO, "reloaded", "option=%s from=%s to=%s",
		          change->option, log_quote(change->from), log_quote(change->to));
}

void reload_run(struct proxy *proxy, struct config *config, int argc, char **argv)
{
	struct report report = {.log = proxy->log};
	enum log_level before, after;
	struct tls_server *tls;
	char error[ERROR_SIZE];
	struct config *fresh = read_again(proxy->log, argc, argv, error, sizeof(error));

	/* files too: a certificate is renewed under its old name. Before the rules change, or
	 * they would be checked with what cannot tell, a verify-ca without its authorities */
	if (!fresh || !client_tls_make(fresh, &tls, error, sizeof(error))) {
		log_event(proxy->log, LOG_ERROR, "reload_failed", "error=%s", log_quote(error));
		config_free(fresh);
		return;
	}
	/* by the more talkative of both levels, else the change of the level itself is lost */
	before = log_level_of(config->log_level);
	after = log_level_of(fresh->log_level);
	log_set_level(proxy->log, before < after ? before : after);
	config_adopt(config, fresh, on_change, &report);
	config_free(fresh);
	client_tls_use(proxy, tls);
	if (!verifiers_reload(proxy->verifiers, error, sizeof(error)))
		log_event(proxy->log, LOG_ERROR, "reload_failed", "error=%s", log_quote(error));
	log_event(proxy->log, LOG_INFO, "reload_done", "changed=%u restart_needed=%u",
	          report.changed, report.restarts);
	log_set_level(proxy->log, after);
}
