/*
 * Citus: see citus.h. Reads base tables only: the citus_shards view connects to
 * every worker.
 *
 * Whether a shard is still where the map says is asked on the coordinator, where
 * a move or split commits first: a worker that missed it would answer yes. Names
 * of shards come from shard_name(), which shortens long ones; it quotes them and
 * leaves "public." out.
 */
#include "proxy/citus.h"

#include <stdlib.h>
#include <string.h>

/* Append and range tables, Citus local tables (no colocation), partitioned tables and
 * their partitions are known, and not routed. */
static const char tables_sql[] =
    "SELECT c.oid, n.nspname, c.relname, CASE WHEN p.partmethod = 'h' THEN"
    " pg_catalog.column_to_column_name(p.logicalrelid, p.partkey) END,"
    " c.relkind = 'r' AND NOT c.relispartition AND (p.partmethod = 'h'"
    " OR p.partmethod = 'n' AND (p.repmodel = 't' OR p.colocationid <> 0)), p.partmethod = 'h'"
    " FROM pg_catalog.pg_dist_partition p"
    " JOIN pg_catalog.pg_class c ON c.oid = p.logicalrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid"
    " AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = ANY ($1::pg_catalog.oid[]))";

/* One row per placement on a usable node, or one without a node. Clones are inactive,
 * nodeisclone is missing before 13.2. */
static const char parts_sql[] =
    "SELECT s.logicalrelid::pg_catalog.oid, s.shardid,"
    " x.path[pg_catalog.array_upper(x.path, 1)], s.shardminvalue, s.shardmaxvalue, p.groupid,"
    " p.nodename, p.nodeport"
    " FROM pg_catalog.pg_dist_shard s CROSS JOIN LATERAL (SELECT pg_catalog.parse_ident("
    "pg_catalog.shard_name(s.logicalrelid, s.shardid)) AS path OFFSET 0) x"
    " LEFT JOIN (SELECT l.shardid, n.groupid, n.nodename, n.nodeport, n.nodeid"
    " FROM pg_catalog.pg_dist_placement l"
    " JOIN pg_catalog.pg_dist_node n ON n.groupid = l.groupid"
    " WHERE l.shardstate = 1 AND n.isactive AND n.noderole = 'primary'"
    " AND n.nodecluster = pg_catalog.current_setting('citus.cluster_name')"
    " AND coalesce(pg_catalog.to_jsonb(n) ->> 'nodeisclone', 'false') <> 'true'"
    ") p ON p.shardid = s.shardid"
    " WHERE s.logicalrelid = ANY ($1::pg_catalog.oid[]::pg_catalog.regclass[])"
    " ORDER BY 1, 2, p.nodeid";

enum part_column {
	PART_TABLE,
	PART_SHARD,
	PART_NAME,
	PART_MIN,
	PART_MAX,
	PART_GROUP,
	PART_HOST,
	PART_PORT,
};

#define HASH_VALUES ((int64_t)1 << 32)

static const char check_sql[] =
    "SELECT (SELECT pg_catalog.sum(pg_catalog.hashtextextended(p.xmin::pg_catalog.text, 0))"
    " FROM pg_catalog.pg_dist_partition p WHERE p.logicalrelid = $1::pg_catalog.regclass),"
    " (SELECT pg_catalog.sum(pg_catalog.hashtextextended(s.xmin::pg_catalog.text, s.shardid))"
    " FROM pg_catalog.pg_dist_shard s WHERE s.logicalrelid = $1::pg_catalog.regclass),"
    " (SELECT pg_catalog.sum(pg_catalog.hashtextextended(l.xmin::pg_catalog.text,"
    " l.placementid)) FROM pg_catalog.pg_dist_placement l"
    " WHERE l.shardid = ANY ($2::pg_catalog.int8[])),"
    " (SELECT pg_catalog.sum(pg_catalog.hashtextextended(n.xmin::pg_catalog.text,"
    " n.nodeid::pg_catalog.int8)) FROM pg_catalog.pg_dist_node n),"
    " (SELECT pg_catalog.hashtextextended(c.xmin::pg_catalog.text, 0)"
    " FROM pg_catalog.pg_class c WHERE c.oid = $1)," PROVIDER_CHECK_COMMON
    " FROM (SELECT $1::pg_catalog.oid) t";

static const struct shardmap_shard *last_shard(const struct provider_table *table)
{
	const struct shardmap_table *of = table->table;

	return of->nshards ? &of->shards[of->nshards - 1] : NULL;
}

static unsigned add_node(struct provider_table *table, const char *const *values)
{
	bool coordinator = strcmp(values[PART_GROUP], "0") == 0;

	return shardmap_add_node(table->map, coordinator ? "coordinator" : values[PART_HOST],
	                         coordinator ? 0 : atoi(values[PART_PORT]), NULL, coordinator);
}

/*
 * Of several placements (a reference table has one on every node) the shard's number
 * chooses, so that tables spread over the nodes and a map is the same each time.
 */
static void on_placement(struct provider_table *table, const char *const *values, int64_t id)
{
	if (last_shard(table) && last_shard(table)->id == id) {
		if (id % ++table->placements == 0)
			table->table->shards[table->table->nshards - 1].node =
			    add_node(table, values);
		return;
	}
	table->placements = 1;
	shardmap_add_shard(table->table, id, add_node(table, values), table->table->schema,
	                   values[PART_NAME]);
	provider_list_add(table, 0, id);
	if (table->hashed && values[PART_MIN] && values[PART_MAX])
		table->covered +=
		    strtoll(values[PART_MAX], NULL, 10) - strtoll(values[PART_MIN], NULL, 10) + 1;
}

static void on_part(struct provider_table *table, const char *const *values)
{
	if (!values[PART_GROUP] || !values[PART_NAME] || !values[PART_HOST] || !values[PART_PORT])
		table->table->routable = false; /* nobody has it */
	else
		on_placement(table, values, strtoll(values[PART_SHARD], NULL, 10));
}

/* A table must be whole: the ranges fill the hash space, or there is one shard. */
static void on_parts_end(struct provider_table *table)
{
	if (table->hashed ? table->covered != HASH_VALUES : table->table->nshards != 1)
		table->table->routable = false;
}

const struct provider citus_provider = {
    .kind = SHARDMAP_CITUS,
    .name = "citus",
    .prepare = "SET LOCAL citus.override_table_visibility = off",
    .tables = tables_sql,
    .parts = parts_sql,
    .on_part = on_part,
    .on_parts_end = on_parts_end,
    .check = check_sql,
    .nlists = 1,
};
