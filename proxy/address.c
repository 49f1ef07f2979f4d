/*
 * Address: see address.h. A node registered as localhost is on the coordinator's
 * machine, which is another one than ours if the coordinator's own address is no
 * loopback: asking our own localhost could reach a wrong server.
 */
#include "proxy/address.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *copy(const char *text, size_t len)
{
	char *result = strndup(text, len);

	if (!result)
		abort();
	return result;
}

void address_set(struct address *address, const char *host, int port)
{
	bool bracketed = strchr(host, ':') != NULL;
	size_t size = strlen(host) + 16;

	address->host = copy(host, strlen(host));
	address->port = port;
	address->text = malloc(size);
	if (!address->text)
		abort();
	snprintf(address->text, size, bracketed ? "[%s]:%d" : "%s:%d", host, port);
}

void address_fini(struct address *address)
{
	free(address->host);
	free(address->text);
	*address = (struct address){0};
}

/* host, host:port, [v6], [v6]:port or a bare v6; port 0: not given. */
static char *parse(const char *text, int *port)
{
	const char *colon = strrchr(text, ':');
	const char *bracket = strrchr(text, ']');

	*port = 0;
	if (text[0] == '[' && bracket) {
		if (colon > bracket)
			*port = atoi(colon + 1);
		return copy(text + 1, (size_t)(bracket - text) - 1);
	}
	if (!colon || strchr(text, ':') != colon)
		return copy(text, strlen(text));
	*port = atoi(colon + 1);
	return copy(text, (size_t)(colon - text));
}

static bool map_one(struct address *address, const struct config_map_entry *entry, const char *host,
                    int port)
{
	int from_port, to_port;
	char *from = parse(entry->from, &from_port);
	bool fits = strcasecmp(from, host) == 0 && (from_port == 0 || from_port == port);

	free(from);
	if (fits) {
		char *to = parse(entry->to, &to_port);

		address_set(address, to, to_port ? to_port : port);
		free(to);
	}
	return fits;
}

static bool is_loopback(const char *host)
{
	return strcasecmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
	       strcmp(host, "::1") == 0;
}

/* A single host's name or address, not a socket's directory. */
static bool is_remote(const char *host)
{
	return host && host[0] && host[0] != '/' && host[0] != '@' && !strchr(host, ',') &&
	       !is_loopback(host);
}

void address_resolve(struct address *address, const struct config_map *node_map,
                     const char *coordinator_host, const char *host, int port)
{
	for (unsigned i = 0; i < node_map->count; i++)
		if (map_one(address, &node_map->entries[i], host, port))
			return;
	if (is_loopback(host) && is_remote(coordinator_host))
		host = coordinator_host;
	address_set(address, host, port);
}
