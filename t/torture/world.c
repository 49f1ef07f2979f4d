/*
 * World: see world.h. Tables are thought up here; tables.c writes their DDL.
 */
#include "t/torture/world.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/lib/cluster.h"
#include "t/torture/tables.h"

/* ---- databases ---- */

static void remake(enum cluster_node node, const char *database)
{
	PGconn *conn = cluster_connect(node, NULL);

	cluster_run(conn, text("DROP DATABASE IF EXISTS %s WITH (FORCE)", database));
	cluster_run(conn, text("CREATE DATABASE %s", database));
	PQfinish(conn);
	conn = cluster_connect(node, text("dbname=%s", database));
	if (cluster_is_citus() && strcmp(database, WORLD_DATABASE) == 0)
		cluster_run(conn, "CREATE EXTENSION citus");
	cluster_run(conn, "CREATE EXTENSION vector");
	cluster_run(conn, "SELECT pg_catalog.set_config('client_min_messages', 'error', false)");
	PQfinish(conn);
}

static void connect_workers(void)
{
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, "dbname=" WORLD_DATABASE);

	if (cluster_is_citus())
		cluster_run(conn, text("SELECT citus_set_coordinator_host('127.0.0.1', %d)",
		                       cluster_port(CLUSTER_COORDINATOR)));
	else
		cluster_run(conn, "CREATE SCHEMA fdw; CREATE EXTENSION postgres_fdw SCHEMA fdw");
	for (int i = 1; i <= CLUSTER_WORKERS; i++) {
		int port = cluster_port((enum cluster_node)i);

		if (cluster_is_citus()) {
			cluster_run(conn, text("SELECT citus_add_node('127.0.0.1', %d)", port));
			continue;
		}
		cluster_run(conn, text("CREATE SERVER worker%d FOREIGN DATA WRAPPER postgres_fdw "
		                       "OPTIONS (host '127.0.0.1', port '%d', dbname '%s', "
		                       "extensions 'vector');"
		                       "CREATE USER MAPPING FOR PUBLIC SERVER worker%d "
		                       "OPTIONS (user 'postgres', password_required 'false')",
		                       i, port, WORLD_DATABASE, i));
	}
	PQfinish(conn);
}

static const char roles_sql[] = "DO $$ BEGIN CREATE ROLE " WORLD_USER " LOGIN; "
				"EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
				"DO $$ BEGIN CREATE ROLE " WORLD_ROLE " LOGIN; "
				"EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
				"GRANT " WORLD_ROLE " TO " WORLD_USER;

void world_prepare(void)
{
	for (int node = CLUSTER_COORDINATOR; node <= CLUSTER_WORKERS; node++) {
		remake((enum cluster_node)node, WORLD_DATABASE);
		if (!cluster_is_citus() || node == CLUSTER_COORDINATOR)
			cluster_run_on((enum cluster_node)node, roles_sql);
	}
	remake(CLUSTER_COORDINATOR, WORLD_PLAIN);
	connect_workers();
	if (cluster_is_citus()) { /* also those that the postgres database does not spread */
		for (int node = CLUSTER_WORKER1; node <= CLUSTER_WORKERS; node++)
			cluster_run_on((enum cluster_node)node, roles_sql);
	}
}

/* ---- columns ---- */

static const char *const odd_names[] = {
    "a",      "b",        "order",        "Mixed Case", "x\"y", "limit", "select", "ctid2",
    "vector", "distance", "\xc3\xa4rger", "user",       "c 1",  "LIMIT", "from",   "value"};

static struct world_column *add_column(struct world_table *table, const char *name)
{
	struct world_column *column = &table->columns[table->ncolumns];

	for (unsigned i = 0; i < table->ncolumns; i++) {
		if (strcmp(table->columns[i].name, name) == 0)
			return NULL;
	}
	memset(column, 0, sizeof(*column));
	column->name = name;
	table->ncolumns++;
	return column;
}

static void add_vector(struct world_table *table, struct dice *dice, const char *name)
{
	struct world_column *column = add_column(table, name);

	column->vector = (enum value_vector)(
	    dice_chance(dice, 60) ? VALUE_VECTOR : dice_below(dice, VALUE_VECTORS));
	column->dimensions = 1 + dice_below(dice, dice_chance(dice, 70) ? 4 : 16);
	column->has_typmod = column->vector == VALUE_BIT || dice_chance(dice, 85);
	column->domain =
	    column->vector == VALUE_VECTOR && !column->has_typmod && dice_chance(dice, 30);
}

static const struct value_kind *kind_of(struct dice *dice, uint32_t oid)
{
	const struct value_kind *kind;

	do
		kind = value_kind(dice);
	while (kind->oid != oid);
	return kind;
}

static void think_columns(struct world_table *table, struct dice *dice)
{
	unsigned more = table->rows > WORLD_ROWS_MAX ? 1 : 2 + dice_below(dice, 8);

	add_column(table, "id")->kind = kind_of(dice, dice_chance(dice, 50) ? 20 : 23);
	add_column(table, "part")->kind = kind_of(dice, 23);
	add_vector(table, dice, dice_chance(dice, 80) ? "v" : "order by");
	if (dice_chance(dice, 40))
		add_vector(table, dice, "w");
	if (dice_chance(dice, 60))
		add_column(table, "seen")->kind = kind_of(dice, 1184); /* timestamptz */
	for (unsigned i = 0; i < more; i++) {
		struct world_column *column = add_column(table, DICE_PICK(dice, odd_names));

		if (column)
			column->kind = value_kind(dice);
	}
	if (dice_chance(dice, 30)) {
		struct world_column *column = add_column(table, "made");

		column->kind = kind_of(dice, 23);
		column->generated = true;
	}
}

static void think_table(struct world *world, struct world_table *table, struct dice *dice,
                        unsigned number)
{
	static const char *const names[] = {"items", "Order By", "select", "a\"b", "t"};

	memset(table, 0, sizeof(*table));
	table->citus = world->citus;
	table->schema = dice_chance(dice, 75) ? "public" : "other s";
	table->name = number == 0 ? DICE_PICK(dice, names) : "second";
	table->full = arena_printf(world->arena, "%s.%s", value_name(world->arena, table->schema),
	                           value_name(world->arena, table->name));
	table->rows = dice_chance(dice, 10)   ? dice_below(dice, 3)
	              : dice_chance(dice, 50) ? 10 + dice_below(dice, 30)
	                                      : 40 + dice_below(dice, WORLD_ROWS_MAX - 40);
	table->shards = 1 + dice_below(dice, 6);
	if (number == 0 && dice_chance(dice, 7)) /* LIMIT beyond hnsw.ef_search */
		table->rows = 1200 + dice_below(dice, WORLD_MANY_ROWS - 1200);
	table->renamed = dice_chance(dice, 4);
	think_columns(table, dice);
}

/* ---- making it ---- */

static const char *finish(struct world *world, FILE *file, char **text, const char *where)
{
	const char *copy;

	(void)where;
	fclose(file);
	copy = arena_strdup(world->arena, *text);
	free(*text);
	return copy;
}

size_t world_statement_length(const char *sql)
{
	const char *at = sql;

	while (*at && *at != ';') {
		const char *end = NULL;

		if (strncmp(at, "$$", 2) == 0)
			end = strstr(at + 2, "$$") + 1;
		else if (*at == '\'' || *at == '"')
			end = strchr(at + 1, *at);
		at = end ? end + 1 : at + 1;
	}
	return (size_t)(at - sql);
}

/* One statement after the other: Citus spreads no several at once. */
static void run(enum cluster_node node, const char *database, const char *sql)
{
	PGconn *conn = cluster_connect(node, text("dbname=%s", database));

	PQclear(PQexec(conn, "SET client_min_messages = error"));
	PQclear(PQexec(conn, "SET lock_timeout = '20s'"));
	while (*sql) {
		size_t len = world_statement_length(sql);
		char *one = strndup(sql, len);
		PGresult *result = PQexec(conn, one);

		cr_assert_neq(PQresultStatus(result), PGRES_FATAL_ERROR, "%s: %s\n%s", database,
		              PQerrorMessage(conn), one);
		PQclear(result);
		free(one);
		sql += len + (sql[len] == ';');
	}
	PQfinish(conn);
}

void world_refill(const struct world *world)
{
	run(CLUSTER_COORDINATOR, WORLD_DATABASE, world->empty_sql);
	run(CLUSTER_COORDINATOR, WORLD_DATABASE, world->data_sql);
	run(CLUSTER_COORDINATOR, WORLD_PLAIN, world->empty_sql);
	run(CLUSTER_COORDINATOR, WORLD_PLAIN, world->data_sql);
}

static void write_all(struct world *world, struct dice *dice)
{
	struct tables_sql sql;
	char *texts[6];
	size_t size;
	FILE **files[] = {&sql.sharded, &sql.worker[0], &sql.worker[1],
	                  &sql.plain,   &sql.data,      &sql.empty};
	const char **results[] = {&world->sharded_sql, &world->worker_sql[0], &world->worker_sql[1],
	                          &world->plain_sql,   &world->data_sql,      &world->empty_sql};

	for (unsigned i = 0; i < 6; i++)
		*files[i] = open_memstream(&texts[i], &size);
	tables_begin(&sql, world);
	for (unsigned i = 0; i < world->ntables; i++)
		tables_write(&sql, world, &world->tables[i], dice);
	for (unsigned i = 0; i < 6; i++)
		*results[i] = finish(world, *files[i], &texts[i], "");
}

void world_make(struct world *world, struct dice *dice, bool citus)
{
	memset(world, 0, sizeof(*world));
	world->arena = arena_new();
	world->citus = citus;
	world->ntables = 1 + dice_chance(dice, 30);
	for (unsigned i = 0; i < world->ntables; i++)
		think_table(world, &world->tables[i], dice, i);
	write_all(world, dice);
	world_build(world);
}

void world_build(const struct world *world)
{
	run(CLUSTER_WORKER1, WORLD_DATABASE, world->worker_sql[0]);
	run(CLUSTER_WORKER2, WORLD_DATABASE, world->worker_sql[1]);
	run(CLUSTER_COORDINATOR, WORLD_DATABASE, world->sharded_sql);
	run(CLUSTER_COORDINATOR, WORLD_PLAIN, world->plain_sql);
	run(CLUSTER_COORDINATOR, WORLD_DATABASE, world->data_sql);
	run(CLUSTER_COORDINATOR, WORLD_PLAIN, world->data_sql);
}

void world_free(struct world *world)
{
	arena_free(world->arena);
	world->arena = NULL;
}

/* ---- picking ---- */

const struct world_column *world_vector(const struct world_table *table, struct dice *dice)
{
	const struct world_column *column = &table->columns[2];

	if (!table->columns[3].kind && table->ncolumns > 3 && dice_chance(dice, 30))
		column = &table->columns[3];
	return column;
}

const struct world_column *world_column(const struct world_table *table, struct dice *dice)
{
	const struct world_column *column;

	do
		column = &table->columns[dice_below(dice, table->ncolumns)];
	while (!column->kind);
	return column;
}
