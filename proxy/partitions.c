/*
 * Partitions: see partitions.h.
 *
 * Every partitioned table is a table of the map, also one that is a partition
 * itself; its shards are the leaves below it. Where a leaf is, and what it is
 * called there, follows from the options of postgres_fdw; what they do not tell
 * for sure (a service, no database, several hosts) makes the table unroutable.
 */
#include "proxy/partitions.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/signature.h"

static const char tables_sql[] =
    "SELECT c.oid, n.nspname, c.relname, k.attname, 't', 'f', " SIGNATURE_SQL(
	"c.oid") ""
		 " FROM pg_catalog.pg_class c"
		 " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
		 " JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = c.oid"
		 " LEFT JOIN pg_catalog.pg_attribute k ON k.attrelid = c.oid AND k.attnum = p.partattrs[0]"
		 " AND k.attnum > 0 AND p.partnatts = 1 AND p.partstrat IN ('h', 'l')"
		 " WHERE c.relkind = 'p' AND c.relpersistence <> 't'"
		 " AND EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid"
		 " AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = ANY ($1::pg_catalog.oid[]))";

#define SERVER_OPTION(name)                                                                        \
	" (SELECT o.option_value FROM pg_catalog.pg_options_to_table(s.srvoptions) o"              \
	" WHERE o.option_name = '" name "') AS " name
#define TABLE_OPTION(name)                                                                         \
	" (SELECT o.option_value FROM pg_catalog.pg_options_to_table(f.ftoptions) o"               \
	" WHERE o.option_name = '" name "')"

/* inhdetachpending came with PostgreSQL 14: read through to_jsonb(), it may be missing. */
static const char parts_sql[] =
    "WITH RECURSIVE tree(root, relid, pending) AS ("
    "SELECT r, r, false FROM pg_catalog.unnest($1::pg_catalog.oid[]) r"
    " UNION ALL SELECT t.root, i.inhrelid, t.pending"
    " OR coalesce(pg_catalog.to_jsonb(i) ->> 'inhdetachpending' = 'true', false)"
    " FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.relid),"
    " server AS (SELECT s.oid, w.fdwname," SERVER_OPTION("host") "," SERVER_OPTION("hostaddr") "," SERVER_OPTION("port") "," SERVER_OPTION("dbname") "," SERVER_OPTION(
	"service") " FROM pg_catalog.pg_foreign_server s"
		   " JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw)"
		   " SELECT t.root, t.relid, c.relkind, t.pending, n.nspname, c.relname, s.fdwname, s.host,"
		   " s.hostaddr, s.port, s.dbname, s.service," TABLE_OPTION("schema_name") "," TABLE_OPTION(
		       "table_name") ","
				     " EXISTS (SELECT FROM pg_catalog.pg_attribute a,"
				     " pg_catalog.pg_options_to_table(a.attfdwoptions) o"
				     " WHERE a.attrelid = t.relid AND a.attfdwoptions IS NOT NULL"
				     " AND o.option_name = 'column_name' AND o.option_value <> a.attname)"
				     " FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.relid"
				     " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
				     " LEFT JOIN pg_catalog.pg_foreign_table f ON f.ftrelid = c.oid"
				     " LEFT JOIN server s ON s.oid = f.ftserver"
				     " ORDER BY t.root, t.relid";

enum part_column {
	PART_TABLE,
	PART_OID,
	PART_RELKIND,
	PART_PENDING, /* being detached: counts for some transactions and not for others */
	PART_SCHEMA,
	PART_NAME,
	PART_WRAPPER,
	PART_HOST,
	PART_HOSTADDR,
	PART_PORT,
	PART_DATABASE,
	PART_SERVICE,
	PART_REMOTE_SCHEMA,
	PART_REMOTE_NAME,
	PART_RENAMED, /* columns are called otherwise over there */
};

enum { LIST_PARENTS, LIST_MEMBERS };

/* A change of any row that the map was made of has another xmin. */
static const char check_sql[] =
    "SELECT (SELECT pg_catalog.sum(pg_catalog.hashtextextended(i.xmin::pg_catalog.text,"
    " i.inhrelid::pg_catalog.int8)) FROM pg_catalog.pg_inherits i"
    " WHERE i.inhparent = ANY ($2::pg_catalog.oid[])),"
    " (SELECT pg_catalog.sum(pg_catalog.hashtextextended(c.xmin::pg_catalog.text,"
    " c.oid::pg_catalog.int8)) FROM pg_catalog.pg_class c"
    " WHERE c.oid = ANY ($3::pg_catalog.oid[])),"
    " (SELECT pg_catalog.sum(pg_catalog.hashtextextended(f.xmin::pg_catalog.text,"
    " f.ftrelid::pg_catalog.int8)) FROM pg_catalog.pg_foreign_table f"
    " WHERE f.ftrelid = ANY ($3::pg_catalog.oid[])),"
    " (SELECT pg_catalog.sum(pg_catalog.hashtextextended(s.xmin::pg_catalog.text,"
    " s.oid::pg_catalog.int8)) FROM pg_catalog.pg_foreign_server s),"
    " (SELECT pg_catalog.sum(pg_catalog.hashtextextended(a.xmin::pg_catalog.text,"
    " a.attrelid::pg_catalog.int8)) FROM pg_catalog.pg_attribute a"
    " WHERE a.attrelid = ANY ($3::pg_catalog.oid[]) AND a.attnum > 0"
    " AND a.attfdwoptions IS NOT NULL)," PROVIDER_CHECK_COMMON
    " FROM (SELECT $1::pg_catalog.oid) t";

static bool is_true(const char *value)
{
	return value && value[0] == 't';
}

static bool is_given(const char *value)
{
	return value && value[0];
}

/* Where the server is, if its options say so without doubt. */
static bool add_node(struct provider_table *table, const char *const *values, unsigned *node)
{
	const char *host = values[PART_HOST];
	int port = 5432;

	if (!values[PART_WRAPPER] || strcmp(values[PART_WRAPPER], "postgres_fdw") != 0 ||
	    values[PART_SERVICE] || !is_given(values[PART_DATABASE]))
		return false;
	if (is_given(values[PART_HOSTADDR])) {
		if (is_given(host) && strcmp(host, values[PART_HOSTADDR]) != 0)
			return false;
		host = values[PART_HOSTADDR];
	}
	if (is_given(values[PART_PORT]))
		port = atoi(values[PART_PORT]);
	else if (!is_given(host))
		return false;
	if (!is_given(host)) /* a socket on the coordinator's machine */
		host = "localhost";
	if (strchr(host, ',') || port < 1 || port > 65535)
		return false;
	*node = shardmap_add_node(table->map, host, port, values[PART_DATABASE], false);
	return true;
}

static void add_leaf(struct provider_table *table, int64_t oid, const char *const *values)
{
	const char *schema = values[PART_SCHEMA], *name = values[PART_NAME];
	unsigned node;

	switch (values[PART_RELKIND][0]) {
	case 'r':
		node = shardmap_add_node(table->map, "coordinator", 0, NULL, true);
		break;
	case 'f':
		if (is_true(values[PART_RENAMED]) || !add_node(table, values, &node)) {
			table->table->routable = false;
			return;
		}
		if (values[PART_REMOTE_SCHEMA])
			schema = values[PART_REMOTE_SCHEMA];
		if (values[PART_REMOTE_NAME])
			name = values[PART_REMOTE_NAME];
		break;
	default:
		table->table->routable = false;
		return;
	}
	shardmap_add_shard(table->table, oid, node, schema, name);
}

static void on_part(struct provider_table *table, const char *const *values)
{
	int64_t oid = strtoll(values[PART_OID], NULL, 10);

	provider_list_add(table, LIST_MEMBERS, oid);
	if (!values[PART_RELKIND] || !values[PART_SCHEMA] || !values[PART_NAME]) {
		table->table->routable = false;
		return;
	}
	if (is_true(values[PART_PENDING]))
		table->table->routable = false;
	if (values[PART_RELKIND][0] == 'p')
		provider_list_add(table, LIST_PARENTS, oid);
	else
		add_leaf(table, oid, values);
}

/* One remote table in two places: the coordinator reads it once where it can exclude the other. */
static void on_parts_end(struct provider_table *table)
{
	const struct shardmap_table *of = table->table;

	for (unsigned i = 1; i < of->nshards && of->routable; i++)
		for (unsigned j = 0; j < i; j++)
			if (of->shards[i].node == of->shards[j].node &&
			    strcmp(of->shards[i].name, of->shards[j].name) == 0 &&
			    strcmp(of->shards[i].schema, of->shards[j].schema) == 0)
				table->table->routable = false;
}

const struct provider partitions_provider = {
    .kind = SHARDMAP_PARTITIONS,
    .name = "partitions",
    .tables = tables_sql,
    .parts = parts_sql,
    .on_part = on_part,
    .on_parts_end = on_parts_end,
    .check = check_sql,
    .nlists = 2,
};
