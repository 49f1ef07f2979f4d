/*
 * DDL: see ddl.h. What fails, fails: both sides are asked the same afterwards.
 */
#include "t/torture/ddl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- making one ---- */

struct writing {
	struct arena *arena;
	const struct world *world;
	const struct world_table *table;
	struct dice *dice;
	struct ddl *ddl;
};

/* A change of the parent and, in the same words, of each table of a worker's. %s is the table. */
static void change(struct writing *writing, const char *what)
{
	struct arena *arena = writing->arena;
	struct ddl *ddl = writing->ddl;

	ddl->plain = ddl->sharded =
	    arena_printf(arena, "ALTER TABLE %s %s", writing->table->full, what);
	for (unsigned i = 0; i < writing->table->nleaves; i++) {
		const struct world_leaf *leaf = &writing->table->leaves[i];

		if (leaf->worker < 0)
			continue;
		ddl->worker[leaf->worker] = arena_printf(
		    arena, "%sALTER TABLE %s %s;",
		    ddl->worker[leaf->worker] ? ddl->worker[leaf->worker] : "", leaf->remote, what);
	}
}

/* One that no key is made of; its name in quotes. NULL: there is none. */
static const struct world_column *free_column(const struct writing *writing)
{
	const struct world_column *column;

	if (writing->table->ncolumns < 4)
		return NULL;
	column =
	    &writing->table->columns[3 + dice_below(writing->dice, writing->table->ncolumns - 3)];
	return column->kind && !column->generated ? column : NULL;
}

static void add_column(struct writing *writing)
{
	const struct value_kind *kind = value_kind(writing->dice);
	const char *value = value_literal(writing->arena, value_text(writing->dice, kind, true));

	change(writing,
	       arena_printf(writing->arena, "ADD COLUMN added %s DEFAULT %s", kind->column, value));
}

static void drop_column(struct writing *writing)
{
	const struct world_column *column = free_column(writing);

	if (column)
		change(writing, arena_printf(writing->arena, "DROP COLUMN %s",
		                             value_name(writing->arena, column->name)));
}

/* The same name, another column. */
static void replace_column(struct writing *writing)
{
	const struct world_column *column = free_column(writing);
	const struct value_kind *kind = value_kind(writing->dice);
	const char *name;

	if (!column)
		return;
	name = value_name(writing->arena, column->name);
	change(writing,
	       arena_printf(writing->arena, "DROP COLUMN %s, ADD COLUMN %s %s DEFAULT %s", name,
	                    name, kind->column,
	                    value_literal(writing->arena, value_text(writing->dice, kind, true))));
}

static void widen_column(struct writing *writing)
{
	static const char *const wider[][2] = {{"int2", "int4"},
	                                       {"int4", "int8"},
	                                       {"float4", "float8"},
	                                       {"varchar(12)", "text"},
	                                       {"numeric(8,2)", "numeric"},
	                                       {"timestamp(3)", "timestamp"},
	                                       {"text COLLATE \"C\"", "varchar"},
	                                       {"label", "text"},
	                                       {"posint", "int8"}};
	const struct world_column *column = free_column(writing);

	for (unsigned i = 0; column && i < sizeof(wider) / sizeof(wider[0]); i++) {
		if (strcmp(column->kind->column, wider[i][0]) == 0)
			change(writing,
			       arena_printf(writing->arena, "ALTER COLUMN %s TYPE %s",
			                    value_name(writing->arena, column->name), wider[i][1]));
	}
}

static void rename_column(struct writing *writing)
{
	const struct world_column *column = free_column(writing);

	if (column)
		change(writing, arena_printf(writing->arena, "RENAME COLUMN %s TO renamed",
		                             value_name(writing->arena, column->name)));
}

/* Two names are exchanged: the text means another column, often of another type. */
static void exchange_columns(struct writing *writing)
{
	const struct world_column *a = free_column(writing), *b = free_column(writing);
	struct arena *arena = writing->arena;
	struct ddl all = *writing->ddl;
	const char *first, *second;

	if (!a || !b || a == b)
		return;
	first = value_name(arena, a->name);
	second = value_name(arena, b->name);
	all.sharded = all.worker[0] = all.worker[1] = "";
	for (unsigned i = 0; i < 3; i++) {
		writing->ddl->worker[0] = writing->ddl->worker[1] = NULL;
		change(writing, arena_printf(arena, "RENAME COLUMN %s TO %s",
		                             i == 0   ? first
		                             : i == 1 ? second
		                                      : "between",
		                             i == 0   ? "between"
		                             : i == 1 ? first
		                                      : second));
		all.sharded = arena_printf(arena, "%s%s;", all.sharded, writing->ddl->sharded);
		for (unsigned worker = 0; worker < 2; worker++) {
			const char *one = writing->ddl->worker[worker];

			all.worker[worker] =
			    arena_printf(arena, "%s%s", all.worker[worker], one ? one : "");
		}
	}
	all.plain = all.sharded;
	*writing->ddl = all;
}

/* Both of the coordinator's databases, and nothing else. */
static void both(struct writing *writing, const char *format)
{
	const char *name = value_name(writing->arena, writing->table->name);

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	writing->ddl->plain = writing->ddl->sharded =
	    arena_printf(writing->arena, format, writing->table->full, name);
#pragma GCC diagnostic pop
}

static void change_name(struct writing *writing)
{
	static const char *const changes[] = {
	    "ALTER TABLE %1$s RENAME TO %2$s",
	    "ALTER TABLE %1$s RENAME TO away",
	    "ALTER TABLE %1$s SET SCHEMA far",
	    "CREATE TABLE \"other s\".%2$s AS SELECT * FROM %1$s ORDER BY id LIMIT 3",
	    "CREATE VIEW \"other s\".%2$s AS SELECT * FROM %1$s",
	    "CREATE TABLE public.%2$s AS SELECT * FROM %1$s ORDER BY id LIMIT 3",
	    "ALTER SCHEMA \"other s\" RENAME TO \"now this\"",
	};

	both(writing, DICE_PICK(writing->dice, changes));
}

static void change_rights(struct writing *writing)
{
	static const char *const changes[] = {
	    "CREATE POLICY some ON %1$s USING (id %% 3 = 0); ALTER TABLE %1$s ENABLE ROW LEVEL "
	    "SECURITY",
	    "ALTER TABLE %1$s DISABLE ROW LEVEL SECURITY",
	    "ALTER TABLE %1$s OWNER TO " WORLD_USER,
	    "REVOKE ALL ON %1$s FROM PUBLIC, " WORLD_USER ", " WORLD_ROLE,
	    "GRANT SELECT ON %1$s TO " WORLD_ROLE,
	    "REVOKE " WORLD_ROLE " FROM " WORLD_USER,
	    "GRANT " WORLD_ROLE " TO " WORLD_USER,
	    "REVOKE USAGE ON SCHEMA \"other s\" FROM PUBLIC",
	};

	both(writing, DICE_PICK(writing->dice, changes));
}

/* What an operator or a function is, where "other s" is searched first. */
static void shadow_names(struct writing *writing)
{
	static const char *const changes[] = {
	    "CREATE FUNCTION \"other s\".upper(text) RETURNS text LANGUAGE sql IMMUTABLE AS "
	    "$$ SELECT 'shadow' $$",
	    "CREATE FUNCTION \"other s\".abs(int4) RETURNS int4 LANGUAGE sql IMMUTABLE AS "
	    "$$ SELECT 42 $$",
	    "CREATE FUNCTION \"other s\".back(public.vector, public.vector) RETURNS float8 "
	    "LANGUAGE sql IMMUTABLE AS $$ SELECT - public.l2_distance($1, $2) $$; "
	    "CREATE OPERATOR \"other s\".<-> (LEFTARG = public.vector, RIGHTARG = public.vector, "
	    "FUNCTION = \"other s\".back)",
	    "CREATE FUNCTION \"other s\".more(int4, int4) RETURNS bool LANGUAGE sql IMMUTABLE AS "
	    "$$ SELECT $1 OPERATOR(pg_catalog.>) $2 $$; "
	    "CREATE OPERATOR \"other s\".< (LEFTARG = int4, RIGHTARG = int4, FUNCTION = "
	    "\"other s\".more)",
	    "CREATE FUNCTION \"other s\".l2_normalize(public.vector) RETURNS public.vector "
	    "LANGUAGE sql IMMUTABLE AS $$ SELECT $1 OPERATOR(public.+) $1 $$",
	    "CREATE DOMAIN \"other s\".date AS text",
	    "CREATE TYPE \"other s\".vector AS (a int)",
	};

	both(writing, DICE_PICK(writing->dice, changes));
}

static void remove_rows(struct writing *writing)
{
	static const char *const changes[] = {"TRUNCATE %1$s", "DELETE FROM %1$s WHERE id %% 2 = 0",
	                                      "UPDATE %1$s SET part = part WHERE id %% 3 = 0"};

	both(writing, DICE_PICK(writing->dice, changes));
}

/* Also a detached one comes back, and an attached one stays so. */
static void move_leaf(struct writing *writing)
{
	struct ddl *ddl = writing->ddl;
	const struct world_leaf *leaf;

	if (writing->table->nleaves == 0)
		return;
	leaf = &writing->table->leaves[dice_below(writing->dice, writing->table->nleaves)];
	ddl->leaf = leaf->name;
	ddl->table = writing->table->full;
	ddl->sharded = arena_printf(writing->arena, "ALTER TABLE %s DETACH PARTITION %s",
	                            leaf->parent, leaf->name);
	ddl->plain = arena_printf(writing->arena, "ALTER TABLE %s ATTACH PARTITION %s %s",
	                          leaf->parent, leaf->name, leaf->bound);
}

/* The shard is moved to another name; under the old one is what it was. */
static void move_shard(struct writing *writing)
{
	struct arena *arena = writing->arena;
	struct ddl *ddl = writing->ddl;
	const struct world_leaf *leaf;

	if (writing->table->nleaves == 0)
		return;
	leaf = &writing->table->leaves[dice_below(writing->dice, writing->table->nleaves)];
	if (leaf->worker < 0)
		return;
	ddl->worker[leaf->worker] = arena_printf(
	    arena, "ALTER TABLE %s RENAME TO moved; CREATE TABLE %s AS SELECT * FROM %.*smoved;",
	    leaf->remote, leaf->remote, (int)(strchr(leaf->remote, '.') - leaf->remote) + 1,
	    leaf->remote);
	ddl->sharded = arena_printf(arena,
	                            "ALTER FOREIGN TABLE %s OPTIONS (SET table_name 'moved');"
	                            "DELETE FROM %s WHERE id %% 3 = 0",
	                            leaf->name, writing->table->full);
	ddl->plain = arena_printf(arena, "DELETE FROM %s WHERE id %% 3 = 0", writing->table->full);
}

struct ddl *ddl_new(struct arena *arena, const struct world *world, struct dice *dice)
{
	static const struct {
		const char *name;
		void (*make)(struct writing *writing);
	} makers[] = {
	    {"ADD COLUMN", add_column},
	    {"DROP COLUMN", drop_column},
	    {"replace column", replace_column},
	    {"TYPE", widen_column},
	    {"RENAME COLUMN", rename_column},
	    {"exchange columns", exchange_columns},
	    {"name", change_name},
	    {"rights", change_rights},
	    {"shadow", shadow_names},
	    {"rows", remove_rows},
	    {"partition", move_leaf},
	    {"shard", move_shard},
	};
	unsigned which = dice_below(dice, sizeof(makers) / sizeof(makers[0]));
	struct writing writing = {.arena = arena, .world = world, .dice = dice};

	writing.table = &world->tables[dice_below(dice, world->ntables)];
	writing.ddl = arena_calloc(arena, 1, sizeof(*writing.ddl));
	writing.ddl->name = makers[which].name;
	makers[which].make(&writing);
	return writing.ddl;
}

/* ---- running it ---- */

static bool run(PGconn *conn, const char *sql)
{
	bool ok = true;

	while (sql && *sql && ok) {
		size_t len = world_statement_length(sql);
		char *one = strndup(sql, len);
		PGresult *result = PQexec(conn, one);

		ok = PQresultStatus(result) != PGRES_FATAL_ERROR;
		PQclear(result);
		free(one);
		sql += len + (sql[len] == ';');
	}
	return ok;
}

static char *value(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);
	char *copy = NULL;

	if (PQntuples(result) > 0 && !PQgetisnull(result, 0, 0))
		copy = strdup(PQgetvalue(result, 0, 0));
	PQclear(result);
	return copy;
}

/* A partition's rows are in the whole table as long as it is one. What was changed in between is
 * in the way of both. */
static void run_leaf(const struct ddl *ddl, PGconn *const conns[4])
{
	struct arena *arena = arena_new();
	char *ids = value(
	    conns[0], arena_printf(arena, "SELECT string_agg(id::text, ',') FROM %s", ddl->leaf));
	char *columns = value(
	    conns[1], arena_printf(arena,
	                           "SELECT string_agg(quote_ident(attname), ',') FROM pg_attribute "
	                           "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT "
	                           "attisdropped AND attgenerated = ''",
	                           value_literal(arena, ddl->table)));
	const char *which = ids ? ids : "NULL";

	if (run(conns[0], ddl->sharded)) {
		run(conns[1],
		    arena_printf(arena,
		                 "CREATE TABLE held.%s AS SELECT %s FROM %s WHERE id IN "
		                 "(%s); DELETE FROM %s WHERE id IN (%s)",
		                 ddl->leaf, columns, ddl->table, which, ddl->table, which));
	} else if (run(conns[0], ddl->plain)) {
		run(conns[1], arena_printf(arena,
		                           "INSERT INTO %s (%s) SELECT %s FROM held.%s; DROP TABLE "
		                           "held.%s",
		                           ddl->table, columns, columns, ddl->leaf, ddl->leaf));
	}
	free(columns);
	free(ids);
	arena_free(arena);
}

void ddl_run(const struct ddl *ddl, PGconn *const conns[4])
{
	if (ddl->leaf) {
		run_leaf(ddl, conns);
		return;
	}
	for (unsigned i = 0; i < 2; i++)
		run(conns[2 + i], ddl->worker[i]);
	run(conns[0], ddl->sharded);
	run(conns[1], ddl->plain);
}
