/*
 * Proxy: what one pgtopk process consists of. Made in main(), passed down;
 * there are no globals.
 */
#ifndef PROXY_PROXY_H
#define PROXY_PROXY_H

#include <stdint.h>

#include "parser/refusal.h"

struct cancel;
struct catalogs;
struct census;
struct config;
struct descriptions;
struct keyring;
struct lingers;
struct log;
struct loop;
struct notices;
struct plancache;
struct pools;
struct session;
struct signatures;
struct tls_server;
struct verifiers;

/* Counted since the start; printed by SIGUSR1 and at the end. */
struct counters {
	uint64_t clients;
	uint64_t routed;
	uint64_t rows;
	uint64_t stale_maps;
	uint64_t cancels;
	uint64_t shadow_same, shadow_differs, shadow_failed, shadow_skipped;
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
	struct notices *notices;
	struct signatures *signatures;
	struct counters counters;

	char *coordinator;      /* host:port, for texts */
	struct tls_server *tls; /* towards clients; NULL: off */
	struct verifiers *verifiers;
	struct keyring *keyring;
	uint8_t secret[32]; /* of this process, for users that do not exist */

	struct session *sessions; /* all of them */
	struct session *by_key;   /* those that can be cancelled; hash */
	struct cancel *cancels;   /* requests on their way to the coordinator */
	struct lingers *lingers;
	struct census *by_user, *by_database, *by_address;
	unsigned session_count;
	uint64_t last_session_id;
};

#endif
