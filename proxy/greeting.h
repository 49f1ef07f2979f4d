/*
 * Greeting: the first thing asked on every new worker connection: pgvector's
 * version and its types' OIDs, which differ from node to node, and which built-in
 * names have another meaning there as well. It also loads pgvector's library, so
 * that its settings are checked when they are set.
 */
#ifndef PROXY_GREETING_H
#define PROXY_GREETING_H

#include "proxy/loop.h"
#include "proxy/worker.h"

/* Embedded in its owner. */
struct greeting {
	struct worker *worker;
	struct worker_facts facts;
	char error[96];
	/* Once, from the loop: NULL, or what went wrong. */
	void (*done)(void *owner, const char *error);
	void *owner;
};

/* A job of its own; until it is done the worker belongs to it. */
void greeting_run(struct greeting *greeting, struct worker *worker,
                  void (*done)(void *owner, const char *error), void *owner);

#endif
