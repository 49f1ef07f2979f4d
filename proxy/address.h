/*
 * Address: where a node is really reached: as it is registered in the cluster,
 * or as the configuration's node_map says, or, for what the coordinator calls
 * localhost, on the coordinator's machine.
 */
#ifndef PROXY_ADDRESS_H
#define PROXY_ADDRESS_H

#include "proxy/config.h"

struct address {
	char *host;
	int port;
	char *text; /* host:port, for logs */
};

void address_set(struct address *address, const char *host, int port);
void address_fini(struct address *address);

/*
 * node_map's left sides are host:port or just host (any port), its right sides
 * likewise (host alone keeps the port); IPv6 addresses are in brackets. The first
 * entry that fits counts. coordinator_host: NULL if not known.
 */
void address_resolve(struct address *address, const struct config_map *node_map,
                     const char *coordinator_host, const char *host, int port);

#endif
