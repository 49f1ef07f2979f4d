/*
 * Tables: see tables.h. Citus has the partitions' part done by
 * create_distributed_table().
 */
#include "t/torture/tables.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_PER_INSERT 40

/* Drops what an earlier world left; on Citus from the coordinator, which spreads it. The schema
 * public stays: it may be Citus' as well. */
static const char begin_sql[] =
    "DO $$ DECLARE r record; BEGIN FOR r IN SELECT c.oid, c.relkind FROM pg_class c "
    "WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'far', "
    "'other s', 'held', 'now this')) AND c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition AND NOT EXISTS "
    "(SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') LOOP "
    "IF EXISTS (SELECT FROM pg_class c WHERE c.oid = r.oid) THEN "
    "EXECUTE format('DROP %s TABLE %s CASCADE', CASE r.relkind WHEN 'f' THEN 'FOREIGN' ELSE '' END, "
    "r.oid::regclass); END IF; END LOOP; END $$;"
    "DROP SCHEMA IF EXISTS \"other s\", far, held, \"now this\" CASCADE;"
    "GRANT " WORLD_ROLE " TO " WORLD_USER ";"
    "DROP FUNCTION IF EXISTS set_style, set_path;";

static const char end_sql[] = "CREATE SCHEMA \"other s\"; CREATE SCHEMA far; CREATE SCHEMA held; "
			      "GRANT USAGE ON SCHEMA \"other s\", far TO PUBLIC;";

/* Functions that change the session, and what the users need. */
static const char functions_sql[] =
    "CREATE FUNCTION set_style(text) RETURNS text LANGUAGE plpgsql AS "
    "$$ BEGIN PERFORM set_config('DateStyle', $1, false); RETURN $1; END $$;"
    "CREATE FUNCTION set_path(text) RETURNS text LANGUAGE plpgsql AS "
    "$$ BEGIN PERFORM set_config('search_path', $1, false); RETURN $1; END $$;";

void tables_begin(struct tables_sql *sql, const struct world *world)
{
	FILE *all[] = {sql->sharded, sql->plain, sql->worker[0], sql->worker[1]};

	for (unsigned i = 0; i < 4; i++) {
		if (world->citus && i >= 2) {
			fputs("SELECT 1;", all[i]);
			continue;
		}
		fprintf(all[i], "%s%s%s%s%s", begin_sql, value_drop_sql, value_types_sql, end_sql,
		        functions_sql);
	}
}

/* ---- columns ---- */

static void put_type(FILE *to, const struct world_column *column)
{
	if (column->kind)
		fputs(column->kind->column, to);
	else if (column->has_typmod)
		fprintf(to, "%s(%u)", value_vectors[column->vector].type, column->dimensions);
	else
		fputs(column->domain ? "embs" : value_vectors[column->vector].type, to);
	if (column->generated)
		fputs(" GENERATED ALWAYS AS (id % 5) STORED", to);
}

/* The columns, in a random order if `shuffle`, with others among them to be dropped. */
static void put_columns(FILE *to, struct arena *arena, const struct world_table *table,
                        struct dice *dice, bool shuffle, unsigned *dropped)
{
	unsigned from = shuffle ? dice_below(dice, table->ncolumns) : 0;

	*dropped = 0;
	for (unsigned i = 0; i < table->ncolumns; i++) {
		const struct world_column *column = &table->columns[(i + from) % table->ncolumns];

		if (dice_chance(dice, 10)) {
			fprintf(to, "%sgone_%u int", i > 0 ? ", " : "", *dropped);
			*dropped += 1;
		}
		fprintf(to, "%s%s ", i > 0 || *dropped > 0 ? ", " : "",
		        value_name(arena, column->name));
		put_type(to, column);
	}
}

static void put_drops(FILE *to, const char *table, unsigned dropped)
{
	for (unsigned i = 0; i < dropped; i++)
		fprintf(to, "ALTER TABLE %s DROP COLUMN gone_%u;", table, i);
}

/* ---- indexes ---- */

/* A vector index on one of the vector columns; false if there is none for it. */
static bool put_index(FILE *to, struct arena *arena, struct world_table *table, struct dice *dice,
                      const char *shard)
{
	const struct world_column *column = world_vector(table, dice);
	const struct value_vector_kind *kind = &value_vectors[column->vector];
	unsigned distance = dice_below(dice, kind->ndistances);
	bool ivfflat = kind->ivfflat[distance] && column->dimensions > 1 && dice_chance(dice, 30);

	if (!column->has_typmod)
		return false;
	table->indexed = true;
	if (column->vector == VALUE_VECTOR && dice_chance(dice, 15)) {
		const char *name = value_name(arena, column->name);

		table->columns[column - table->columns].tame = true;
		if (dice_chance(dice, 50))
			fprintf(to, "CREATE INDEX ON %s USING hnsw ((%s::halfvec(%u)) %s);", shard,
			        name, column->dimensions,
			        dice_chance(dice, 50) ? "halfvec_l2_ops" : "halfvec_cosine_ops");
		else
			fprintf(to,
			        "CREATE INDEX ON %s USING hnsw ((binary_quantize(%s)::bit(%u)) "
			        "bit_hamming_ops);",
			        shard, name, column->dimensions);
		return true;
	}
	fprintf(to, "CREATE INDEX ON %s USING %s (%s %s)%s;", shard, ivfflat ? "ivfflat" : "hnsw",
	        value_name(arena, column->name),
	        ivfflat ? kind->ivfflat[distance] : kind->hnsw[distance],
	        ivfflat ? " WITH (lists = 3)" : "");
	table->ivfflat |= ivfflat;
	return true;
}

/* ---- partitions ---- */

enum method { BY_HASH, BY_RANGE, BY_LIST };

static const char *bounds(struct arena *arena, const struct world_table *table, enum method method,
                          unsigned i)
{
	unsigned step = table->rows / table->shards + 1;

	switch (method) {
	case BY_HASH:
		return arena_printf(arena, "FOR VALUES WITH (MODULUS %u, REMAINDER %u)",
		                    table->shards, i);
	case BY_RANGE:
		return arena_printf(arena, "FOR VALUES FROM (%s) TO (%s)",
		                    i == 0 ? "MINVALUE" : arena_printf(arena, "%u", i * step),
		                    i + 1 == table->shards
		                        ? "MAXVALUE"
		                        : arena_printf(arena, "%u", (i + 1) * step));
	case BY_LIST:
		break;
	}
	if (i + 1 == table->shards)
		return "DEFAULT";
	return arena_printf(arena, "FOR VALUES IN (%s%u)", i == 0 ? "NULL, " : "", i);
}

/* What the leaf is in the coordinator's eyes: made as a partition, or attached later, with
 * columns in another order. `what` stands before, `more` behind the columns. */
static void put_local(FILE *to, struct world *world, const struct world_table *table,
                      struct dice *dice, const struct world_leaf *leaf, const char *what,
                      const char *more)
{
	unsigned dropped;

	if (!table->dropped || dice_chance(dice, 70)) {
		fprintf(to, "CREATE %s %s PARTITION OF %s %s%s;", what, leaf->name, leaf->parent,
		        leaf->bound, more);
		return;
	}
	fprintf(to, "CREATE %s %s (", what, leaf->name);
	put_columns(to, world->arena, table, dice, true, &dropped);
	fprintf(to, ")%s;", more);
	put_drops(to, leaf->name, dropped);
	fprintf(to, "ALTER TABLE %s ATTACH PARTITION %s %s;", leaf->parent, leaf->name,
	        leaf->bound);
}

static void put_remote(struct tables_sql *sql, struct world *world, struct world_table *table,
                       struct dice *dice, struct world_leaf *leaf, const char *shard,
                       unsigned indexes)
{
	struct arena *arena = world->arena;
	const char *schema = dice_chance(dice, 30) ? "far" : "public";
	const char *name = dice_chance(dice, 30) ? arena_printf(arena, "Shard \"%s", shard) : shard;
	bool other_names = table->renamed && dice_chance(dice, 50);
	FILE *to = sql->worker[leaf->worker];
	unsigned dropped;

	leaf->remote =
	    arena_printf(arena, "%s.%s", value_name(arena, schema), value_name(arena, name));
	fprintf(to, "CREATE TABLE %s (", leaf->remote);
	put_columns(to, arena, table, dice, dice_chance(dice, 30), &dropped);
	fprintf(to, ") WITH (autovacuum_enabled = off);");
	put_drops(to, leaf->remote, dropped);
	if (other_names)
		fprintf(to, "ALTER TABLE %s RENAME COLUMN id TO \"other id\";", leaf->remote);
	while (indexes-- > 0)
		put_index(to, arena, table, dice, leaf->remote);
	put_local(sql->sharded, world, table, dice, leaf, "FOREIGN TABLE",
	          arena_printf(arena, " SERVER worker%u OPTIONS (schema_name %s, table_name %s%s)",
	                       leaf->worker + 1, value_literal(arena, schema),
	                       value_literal(arena, name),
	                       dice_chance(dice, 50) ? ", batch_size '50'" : ""));
	if (other_names)
		fprintf(sql->sharded,
		        "ALTER FOREIGN TABLE %s ALTER COLUMN id OPTIONS (column_name 'other id');",
		        leaf->name);
}

static void put_leaf(struct tables_sql *sql, struct world *world, struct world_table *table,
                     struct dice *dice, const char *parent, const char *name, const char *bound,
                     unsigned indexes)
{
	struct world_leaf *leaf = &table->leaves[table->nleaves++];

	leaf->name = value_name(world->arena, name);
	leaf->parent = parent;
	leaf->bound = bound;
	leaf->worker = table->local && dice_chance(dice, 40) ? -1 : (int)dice_below(dice, 2);
	if (leaf->worker >= 0) {
		put_remote(sql, world, table, dice, leaf, name, indexes);
		return;
	}
	put_local(sql->sharded, world, table, dice, leaf, "TABLE",
	          " WITH (autovacuum_enabled = off)");
	if (indexes > 0)
		put_index(sql->sharded, world->arena, table, dice, leaf->name);
}

static void put_partitions(struct tables_sql *sql, struct world *world, struct world_table *table,
                           struct dice *dice, enum method method)
{
	struct arena *arena = world->arena;
	unsigned indexes = dice_chance(dice, 45) ? 1 + dice_below(dice, 2) : 0;
	unsigned deep = dice_chance(dice, 25) ? 50 : 0;

	table->local = dice_chance(dice, 25);
	for (unsigned i = 0; i < table->shards; i++) {
		const char *name = arena_printf(arena, "%s_%u", table->name, i);
		const char *bound = bounds(arena, table, method, i);
		struct world_leaf branch = {value_name(arena, name), table->full, bound, -1, NULL};

		if (!dice_chance(dice, deep)) {
			put_leaf(sql, world, table, dice, table->full, name, bound, indexes);
			continue;
		}
		put_local(sql->sharded, world, table, dice, &branch, "TABLE",
		          " PARTITION BY HASH (part)");
		for (unsigned j = 0; j < 2; j++)
			put_leaf(
			    sql, world, table, dice, branch.name,
			    arena_printf(arena, "%s_%u", name, j),
			    arena_printf(arena, "FOR VALUES WITH (MODULUS 2, REMAINDER %u)", j),
			    indexes);
	}
}

static void put_table(struct tables_sql *sql, struct world *world, struct world_table *table,
                      struct dice *dice)
{
	static const char *const methods[] = {"HASH (id)", "RANGE (id)", "LIST (part)"};
	enum method method = (enum method)dice_below(dice, 3);
	struct dice again = *dice;
	unsigned dropped;

	fprintf(sql->sharded, "CREATE TABLE %s (", table->full);
	put_columns(sql->sharded, world->arena, table, dice, false, &dropped);
	fprintf(sql->sharded, ")");
	if (!world->citus)
		fprintf(sql->sharded, " PARTITION BY %s", methods[method]);
	fprintf(sql->sharded, ";");
	fprintf(sql->plain, "CREATE TABLE %s (", table->full);
	put_columns(sql->plain, world->arena, table, &again, false, &dropped);
	fprintf(sql->plain, ");");
	put_drops(sql->plain, table->full, dropped);
	table->dropped = dropped == 0 || dice_chance(dice, 50);
	if (table->dropped)
		put_drops(sql->sharded, table->full, dropped);
	else
		again.state = 0; /* dropped when the partitions are there */
	if (world->citus) {
		bool reference = dice_chance(dice, 15);

		if (dice_chance(dice, 45))
			put_index(sql->sharded, world->arena, table, dice, table->full);
		fprintf(sql->sharded,
		        reference ? "SELECT create_reference_table(%s);"
		                  : "SELECT create_distributed_table(%s, 'id', shard_count := %u);",
		        value_literal(world->arena, table->full), table->shards);
	} else {
		put_partitions(sql, world, table, dice, method);
	}
	if (again.state == 0)
		put_drops(sql->sharded, table->full, dropped);
}

/* ---- rows ---- */

static void put_value(FILE *to, struct world *world, const struct world_table *table,
                      const struct world_column *column, struct dice *dice, unsigned row)
{
	const char *value;

	if (column == &table->columns[0]) {
		fprintf(to, "%u", row);
		return;
	}
	if (column == &table->columns[1]) {
		value = dice_chance(dice, 5)
		            ? NULL
		            : arena_printf(world->arena, "%u", dice_below(dice, 8));
	} else if (column->kind) {
		value = value_text(dice, column->kind, true);
	} else {
		unsigned dimensions = column->dimensions;

		if (!column->has_typmod && table->rows % 7 == 0 && dice_chance(dice, 10))
			dimensions++;
		value = dice_chance(dice, 8) ? NULL
		                             : value_vector(dice, world->arena, column->vector,
		                                            dimensions, !column->tame);
	}
	fputs(value_literal(world->arena, value), to);
}

static void put_insert(FILE *to, struct world *world, const struct world_table *table)
{
	bool first = true;

	fprintf(to, "INSERT INTO %s (", table->full);
	for (unsigned i = 0; i < table->ncolumns; i++) {
		if (table->columns[i].generated)
			continue;
		fprintf(to, "%s%s", first ? "" : ", ",
		        value_name(world->arena, table->columns[i].name));
		first = false;
	}
	fputs(") VALUES ", to);
}

static void put_rows(struct tables_sql *sql, struct world *world, const struct world_table *table,
                     struct dice *dice)
{
	for (unsigned row = 0; row < table->rows; row++) {
		struct dice twin = *dice;
		bool repeated = row > 0 && dice_chance(dice, 15); /* all but its id */

		if (row % ROWS_PER_INSERT == 0)
			put_insert(sql->data, world, table);
		if (repeated)
			dice->state = 42 + row % 3;
		fputs(row % ROWS_PER_INSERT == 0 ? "(" : ", (", sql->data);
		for (unsigned i = 0; i < table->ncolumns; i++) {
			if (table->columns[i].generated)
				continue;
			if (i > 0)
				fputs(", ", sql->data);
			put_value(sql->data, world, table, &table->columns[i], dice, row);
		}
		fputs(row % ROWS_PER_INSERT == ROWS_PER_INSERT - 1 || row + 1 == table->rows ? ");"
		                                                                             : ")",
		      sql->data);
		if (repeated) {
			*dice = twin;
			dice_below(dice, 2);
		}
	}
}

void tables_write(struct tables_sql *sql, struct world *world, struct world_table *table,
                  struct dice *dice)
{
	put_table(sql, world, table, dice);
	put_rows(sql, world, table, dice);
	if (!world->citus && dice_chance(dice, 70)) {
		for (unsigned i = 0; i < 2; i++)
			fputs("GRANT SELECT ON ALL TABLES IN SCHEMA public, far TO PUBLIC;",
			      sql->worker[i]);
	}
	fprintf(sql->empty, "DELETE FROM %s;", table->full);
}
