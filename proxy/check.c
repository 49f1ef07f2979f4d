/*
 * Check: see check.h. First the coordinator's catalogs (which also tells that
 * it can be reached), then one connection to each node that holds shards, and whether
 * roles have the same passwords there.
 */
#include "proxy/check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/catalog.h"
#include "proxy/check_roles.h"
#include "proxy/config.h"
#include "proxy/inspect.h"
#include "proxy/loop.h"
#include "proxy/pool.h"
#include "proxy/pq.h"
#include "proxy/proxy.h"

struct check {
	struct proxy *proxy;
	FILE *out;
	char *database;
	char *user;
	struct catalog *catalog;
	struct catalog_waiter map_waiter;
	struct pool_waiter pool_waiter;
	struct pool *pool;
	struct worker *worker; /* whose roles are being asked for */
	struct check_roles *roles;
	bool coordinator_asked; /* for its roles */
	unsigned node;          /* being reached for, then */
	bool failed;
	struct shardmap *inspected;
	unsigned table; /* of it, the next to be inspected */
	unsigned warnings;
};

static void reach_next(struct check *check);

static void print_version(FILE *out, const struct worker_facts *facts)
{
	int version = facts->vector_version;

	if (version == 0)
		fputs("pgvector is not installed", out);
	else
		fprintf(out, "pgvector %d.%d.%d", version / 10000, version / 100 % 100,
		        version % 100);
	if (version != 0 && !facts->index.iterative_scans)
		fputs(" without iterative scans: short answers are completed by exact search", out);
}

static void print_table(FILE *out, const struct shardmap_table *table)
{
	unsigned nodes = 0;

	for (unsigned i = 0; i < table->nshards; i++)
		if (i == 0 || table->shards[i].node != table->shards[i - 1].node)
			nodes++;
	fprintf(out, "table %s.%s: %u shards on %u nodes%s\n", table->schema, table->name,
	        table->nshards, nodes,
	        table->routable ? "" : " (not routed: of a kind that is not supported)");
}

static void print_map(struct check *check, const struct shardmap *map)
{
	fprintf(check->out, "shard map of database \"%s\": %s, %u tables with vectors\n",
	        check->database, shardmap_provider(map) == SHARDMAP_CITUS ? "Citus" : "partitions",
	        shardmap_table_count(map));
	for (unsigned i = 0; i < shardmap_table_count(map); i++)
		print_table(check->out, shardmap_table_at(map, i));
	if (!shardmap_vector_schema(map))
		fprintf(check->out,
		        "pgvector is not installed in this database of the coordinator\n");
}

static void on_map(void *owner, bool ok, const char *why)
{
	struct check *check = owner;

	if (!ok) {
		fprintf(check->out, "coordinator: FAILED: %s\n", why);
		check->failed = true;
		loop_stop(check->proxy->loop);
		return;
	}
	fprintf(check->out, "coordinator %s: ok\n", check->proxy->coordinator);
	print_map(check, catalog_map(check->catalog));
	reach_next(check);
}

static void print_node(struct check *check, struct worker *worker, const char *why)
{
	const struct shardmap_node *node = shardmap_node(catalog_map(check->catalog), check->node);

	if (node->coordinator)
		fprintf(check->out, "node coordinator: ");
	else
		fprintf(check->out, "node %s:%d: ", node->host, node->port);
	if (!worker) {
		fprintf(check->out, "FAILED: %s\n", why);
		check->failed = true;
		return;
	}
	fputs("ok, ", check->out);
	print_version(check->out, worker_facts(worker));
	fputc('\n', check->out);
}

static void go_on(struct check *check)
{
	if (!check->coordinator_asked)
		check->coordinator_asked = true;
	else
		check->node++;
	reach_next(check);
}

static void on_roles(void *owner)
{
	struct check *check = owner;

	pool_give(check->pool, check->worker);
	go_on(check);
}

static void on_worker(void *owner, struct worker *worker, const char *why)
{
	struct check *check = owner;

	check->worker = worker;
	if (check->coordinator_asked)
		print_node(check, worker, why);
	if (worker)
		check_roles_ask(check->roles, worker, !check->coordinator_asked, on_roles, check);
	else
		go_on(check);
}

static void inspect_next(struct check *check);

static void print_warning(void *owner, const char *text)
{
	struct check *check = owner;
	const struct shardmap_table *table = shardmap_table_at(check->inspected, check->table);

	fprintf(check->out, "table %s.%s: WARNING: %s\n", table->schema, table->name, text);
	check->warnings++;
}

static void on_inspected(void *owner, const struct indexes *indexes, const char *why)
{
	struct check *check = owner;

	if (indexes)
		indexes_judge(indexes, print_warning, check);
	else
		fprintf(check->out, "indexes: not known: %s\n", why);
	check->table++;
	inspect_next(check);
}

/* The indexes of one table after the other. */
static void inspect_next(struct check *check)
{
	while (check->table < shardmap_table_count(check->inspected)) {
		const struct shardmap_table *table =
		    shardmap_table_at(check->inspected, check->table);

		if (table->routable && table->nshards > 0) {
			inspect_start(check->proxy, check->inspected, table, check->user,
			              check->database, on_inspected, check);
			return;
		}
		check->table++;
	}
	loop_stop(check->proxy->loop);
}

static void finish(struct check *check, struct shardmap *map)
{
	if (map)
		check_roles_print_remedy(check->roles, shardmap_provider(map) == SHARDMAP_CITUS);
	if (map && !check->failed) {
		check->inspected = shardmap_ref(map);
		inspect_next(check);
	} else {
		loop_stop(check->proxy->loop);
	}
}

/* The coordinator, for its roles, then one node after the other. */
static void reach_next(struct check *check)
{
	struct shardmap *map = catalog_map(check->catalog);
	struct pools *pools = check->proxy->pools;
	struct worker *worker;

	if (!check->coordinator_asked) {
		check->pool = pools_get(pools, NULL, 0, check->database, NULL);
	} else if (map && check->node < shardmap_node_count(map)) {
		const struct shardmap_node *node = shardmap_node(map, check->node);

		check->pool =
		    pools_get(pools, node->coordinator ? NULL : node->host, node->port,
		              node->database ? node->database : check->database, check->user);
	} else {
		finish(check, map);
		return;
	}
	worker = pool_take(check->pool, &check->pool_waiter);
	if (worker) /* else it comes, or the reason why not */
		on_worker(check, worker, NULL);
}

/* libpq's own defaults: the user's name, and the database of that name. */
static bool read_identity(struct check *check)
{
	char *why = NULL;

	check->user = pq_conninfo_value(check->proxy->config->coordinator, "user", &why);
	check->database = pq_conninfo_value(check->proxy->config->coordinator, "dbname", &why);
	if (why || !check->user) {
		fprintf(check->out, "coordinator: FAILED: %s\n", why ? why : "no user is named");
		free(why);
		return false;
	}
	if (!check->database)
		check->database = strdup(check->user);
	return true;
}

int check_run(struct proxy *proxy, FILE *out)
{
	struct check check = {.proxy = proxy, .out = out};

	fprintf(out, "configuration: ok\n");
	if (read_identity(&check)) {
		check.map_waiter.fn = on_map;
		check.map_waiter.owner = &check;
		check.pool_waiter.fn = on_worker;
		check.pool_waiter.owner = &check;
		check.roles = check_roles_new(out);
		check.catalog = catalogs_get(proxy->catalogs, check.database);
		catalog_load(check.catalog, &check.map_waiter);
		loop_run(proxy->loop);
		check_roles_free(check.roles);
		shardmap_unref(check.inspected);
	} else {
		check.failed = true;
	}
	if (check.warnings > 0)
		fprintf(out, "%u warning%s\n", check.warnings, check.warnings == 1 ? "" : "s");
	else
		fprintf(out, check.failed ? "check failed\n" : "all is well\n");
	free(check.user);
	free(check.database);
	return check.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
