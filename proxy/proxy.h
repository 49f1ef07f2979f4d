/*
 * Proxy: what one pgtopk process consists of. Made in main(), passed down;
 * there are no globals.
 */
#ifndef PROXY_PROXY_H
#define PROXY_PROXY_H

#include <stdint.h>

#include "parser/refusal.h"

struct catalogs;
struct config;
struct descriptions;
struct log;
struct loop;
struct plancache;
struct pools;
struct session;

/* Counted since the start; printed by SIGUSR1 and at the end. */
struct counters {
	uint64_t clients;
	uint64_t routed;
	uint64_t rows;
	uint64_t stale_maps;
	uint64_t cancels;
	uint64_t refused[REFUSAL_COUNT];
};

struct proxy {
	struct loop *loop;
	const struct config *config;
	struct log *log;
	struct pools *pools;
	struct catalogs *catalogs;
	struct plancache *plans;
	struct descriptions *descriptions;
	struct counters counters;

	char *coordinator_host; /* where clients are relayed to; a directory for a Unix socket */
	int coordinator_port;

	struct session *sessions; /* all of them */
	unsigned session_count;
	uint64_t last_session_id;
};

#endif
