/*
 * Cluster: the embedded cluster that the integration tests run against: one
 * coordinator and two workers, as etc/cluster makes them.
 *
 * It is looked for in PGTOPK_TEST_DIR (by default var/test in the build folder)
 * and started there, on PGTOPK_TEST_PORT and the two ports after it, if it does
 * not run. It goes on running afterwards, for the next test program. With
 * PGTOPK_CLUSTER=citus it is a Citus cluster.
 */
#ifndef T_LIB_CLUSTER_H
#define T_LIB_CLUSTER_H

#include <libpq-fe.h>
#include <stdbool.h>

#define CLUSTER_WORKERS 2
#define CLUSTER_TEXT_MAX 65536

enum cluster_node { CLUSTER_COORDINATOR, CLUSTER_WORKER1, CLUSTER_WORKER2 };

/* Finds or starts it; before the first test of a program. */
void cluster_up(void);
/* In its place: servers of the test's own on these ports. */
void cluster_use(int coordinator, int worker1, int worker2);
int cluster_port(enum cluster_node node);
bool cluster_is_citus(void);

/* A connection to a node itself; `more` is added to the conninfo and may be NULL. */
PGconn *cluster_connect(enum cluster_node node, const char *more);
/* The same to any port, pgtopk's for example. */
PGconn *cluster_connect_port(int port, const char *more);

/* The text printed; lasts until the sixteenth call after it. */
const char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Runs SQL, several statements too, that must succeed. */
void cluster_run(PGconn *conn, const char *sql);
/* The first column of the first row; "" for none or NULL. As text(). */
const char *cluster_value(PGconn *conn, const char *sql);
/* cluster_run() on every node, by a connection of its own. */
void cluster_run_everywhere(const char *sql);
void cluster_run_on(enum cluster_node node, const char *sql);

/* Waits until the query gives that value, for at most ten seconds. */
bool cluster_await(PGconn *conn, const char *sql, const char *value);

/* Stops a worker as a crash would, and starts it again. */
void cluster_stop_worker(enum cluster_node node);
void cluster_start_worker(enum cluster_node node);

/*
 * A sharded table on the coordinator: partitions are foreign tables, in turn on
 * the two workers. Drops what had the name. by is "HASH (id)" or "RANGE (id)"; in
 * the latter case each shard has `step` values of id, from 0 (not on Citus).
 */
void cluster_shard(const char *table, const char *columns, const char *by, unsigned shards,
                   unsigned step);
/* Runs SQL for each shard on its worker, with each @ in it replaced by the shard's name. */
void cluster_run_shards(const char *table, unsigned shards, const char *sql);
/* The worker of a shard of such a table; not on Citus. */
enum cluster_node cluster_shard_node(unsigned shard);

#endif
