/*
 * Site: the servers of a run, a cluster of its own that may be broken: a coordinator and
 * two workers, pgtopk before them, networks between that can be cut; and the tables:
 * "exact" has no vector index, "indexed" has HNSW, "mixed" has a part on the coordinator.
 *
 * A table has SITE_PARTS parts of SITE_IDS / SITE_PARTS ids each: foreign partitions by
 * RANGE (id). All calls are the main thread's, but for those of names and ports.
 */
#ifndef T_FAULTS_SITE_H
#define T_FAULTS_SITE_H

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "t/faults/forwarder.h"
#include "t/lib/instance.h"
#include "t/lib/server.h"

#define SITE_NODES 3 /* 0 is the coordinator */
#define SITE_TABLES 3
#define SITE_PARTS 4
#define SITE_IDS 600

struct site_part {
	unsigned node;       /* where it is; 0: the coordinator itself */
	unsigned generation; /* of the shard's name */
};

struct site {
	struct server servers[SITE_NODES];
	struct forwarder networks[SITE_NODES]; /* from pgtopk */
	struct instance instance;
	atomic_int port; /* the instance's */
	struct site_part parts[SITE_TABLES][SITE_PARTS];
};

void site_open(struct site *site);
void site_close(struct site *site);
/* Ends pgtopk as SIGTERM does and starts another one, on another port. */
void site_restart_proxy(struct site *site);

const char *site_table_name(unsigned table);
bool site_table_indexed(unsigned table);
int site_port(const struct site *site);
int site_coordinator_port(const struct site *site);
/* The name of a part on the coordinator, and of its shard on its node. As text(). */
const char *site_part_name(unsigned table, unsigned part);
const char *site_shard_name(const struct site *site, unsigned table, unsigned part);

/* A superuser's connection over the server's Unix socket; awaits that it comes up. */
PGconn *site_connect(const struct site *site, unsigned node);
/* Tries again what fails for want of a lock or of the server. */
void site_run(const struct site *site, unsigned node, const char *sql);
/* One attempt on a connection. */
bool site_try(PGconn *conn, const char *sql);
/* The same text for each shard of a table that is no part of the coordinator's own, with @ for
 * its name. */
void site_run_shards(const struct site *site, unsigned table, const char *sql);

/* Without rows; what has the name is dropped. */
void site_make_shard(struct site *site, unsigned table, unsigned part);
/* SQL that makes it a partition. As text(). */
const char *site_partition_sql(const struct site *site, unsigned table, unsigned part);
void site_make_table(struct site *site, unsigned table);

#endif
