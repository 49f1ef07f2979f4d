/*
 * Connector: see connector.h.
 */
#include "proxy/connector.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct connector {
	struct loop *loop;
	struct pq_cancels *cancels;
	char *conninfo, *host, *port, *user, *database;
	uint64_t timeout_ms;
	struct keylogin *login;     /* by keys */
	struct pq_attempt *attempt; /* by libpq alone */
	char *keys_error;
	connector_fn *fn;
	void *owner;
};

static char *copy_or_null(const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		abort();
	return copy;
}

void connector_free(struct connector *connector)
{
	if (!connector)
		return;
	keylogin_free(connector->login);
	pq_attempt_free(connector->attempt);
	free(connector->conninfo);
	free(connector->host);
	free(connector->port);
	free(connector->user);
	free(connector->database);
	free(connector->keys_error);
	free(connector);
}

static void end(struct connector *connector, struct pq_link *link, const char *error)
{
	connector_fn *fn = connector->fn;
	void *owner = connector->owner;
	char *keys_error = connector->keys_error;
	char both[512];

	if (!link && keys_error) {
		snprintf(both, sizeof(both), "%s; with the user's SCRAM keys: %s", error,
		         keys_error);
		error = both;
	}
	connector->keys_error = NULL;
	connector_free(connector);
	fn(owner, link, error, keys_error);
	free(keys_error);
}

static void on_connected(void *owner, struct pq_link *link, const char *error)
{
	struct connector *connector = owner;

	connector->attempt = NULL;
	end(connector, link, error);
}

static void connect_by_libpq(struct connector *connector)
{
	const char *const keywords[] = {"dbname", "user", "host", "port", NULL};
	const char *const values[] = {connector->database, connector->user, connector->host,
	                              connector->port, NULL};
	struct pq_target target = {
	    .conninfo = connector->conninfo, .keywords = keywords, .values = values};

	connector->attempt = pq_connect(connector->loop, connector->cancels, &target,
	                                connector->timeout_ms, on_connected, connector);
}

static void on_logged_in(void *owner, enum keylogin_outcome outcome, struct pq_link *link,
                         const char *error)
{
	struct connector *connector = owner;

	connector->login = NULL;
	if (outcome == KEYLOGIN_CANNOT) {
		connector->keys_error = copy_or_null(error);
		connect_by_libpq(connector);
	} else {
		end(connector, link, error);
	}
}

struct connector *connector_start(struct loop *loop, struct pq_cancels *cancels,
                                  const struct keylogin_target *target,
                                  const struct scram_keys *keys, uint64_t timeout_ms,
                                  connector_fn *fn, void *owner)
{
	struct connector *connector = calloc(1, sizeof(*connector));

	if (!connector)
		abort();
	connector->loop = loop;
	connector->cancels = cancels;
	connector->conninfo = copy_or_null(target->conninfo);
	connector->host = copy_or_null(target->host);
	connector->port = copy_or_null(target->port);
	connector->user = copy_or_null(target->user);
	connector->database = copy_or_null(target->database);
	connector->timeout_ms = timeout_ms;
	connector->fn = fn;
	connector->owner = owner;
	if (keys)
		connector->login = keylogin_start(loop, cancels, target, keys, timeout_ms,
		                                  on_logged_in, connector);
	else
		connect_by_libpq(connector);
	return connector;
}
