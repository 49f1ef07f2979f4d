/*
 * Catalog SQL: what is asked of the coordinator whatever the provider. Base
 * tables only; written for search_path = pg_catalog, pg_temp.
 * For proxy/mapload.c alone.
 */
#ifndef PROXY_CATALOG_SQL_H
#define PROXY_CATALOG_SQL_H

static const char begin_sql[] = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";

static const char extensions_sql[] =
    "SELECT e.extname, n.nspname, t.typname, t.oid FROM pg_catalog.pg_extension e"
    " JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace"
    " LEFT JOIN (pg_catalog.pg_depend d JOIN pg_catalog.pg_type t ON t.oid = d.objid"
    " AND t.typname IN ('vector', 'halfvec', 'sparsevec'))"
    " ON d.classid = 1247 AND d.refclassid = 3079 AND d.refobjid = e.oid"
    " AND e.extname = 'vector' WHERE e.extname IN ('citus', 'vector')";

/* Built in: the same on every node, as text and in binary. Not so what is written by
 * name and stored as a node's own OID. */
#define IS_BUILTIN(t)                                                                              \
	"(" t ".oid < 16384 AND " t ".typtype IN ('b', 'r', 'm') AND " t ".typname !~ '^_?reg'"    \
	" AND " t ".typname NOT IN ('aclitem', 'pg_node_tree', 'pg_ndistinct', 'pg_dependencies'," \
	" 'pg_mcv_list', 'gtsvector'))"
static const char columns_sql[] =
    "SELECT a.attrelid, a.attnum, a.attname, a.atttypid, " IS_BUILTIN("t") " AND (t.typelem = 0 OR t.typcategory <> 'A' OR " IS_BUILTIN(
	"e") ")"
	     " FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
	     " LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem"
	     " WHERE a.attrelid = ANY ($1::pg_catalog.oid[]) AND a.attnum > 0 AND NOT a.attisdropped"
	     " ORDER BY a.attrelid, a.attnum";

/* reg*: what is written by name is looked up by each node for itself. */
#define NODE_NAMES "'{24,2202,2203,2204,2205,2206,3734,3769,4089,4096,4191}'::pg_catalog.oid[]"
/* 1255: pg_proc, 2617: pg_operator, 3079: pg_extension */
/* Which function a call means depends on its number of arguments too: length(text) is
 * immutable, length(bytea, name) is not. A variadic one may be meant by any greater number. */
static const char functions_sql[] =
    "SELECT p.proname, n FROM pg_catalog.pg_proc p LEFT JOIN pg_catalog.pg_depend d"
    " ON d.classid = 1255 AND d.objid = p.oid AND d.refclassid = 3079 AND d.refobjid ="
    " (SELECT e.oid FROM pg_catalog.pg_extension e WHERE e.extname = 'vector')"
    " CROSS JOIN LATERAL pg_catalog.generate_series("
    "p.pronargs - p.pronargdefaults - CASE WHEN p.provariadic = 0 THEN 0 ELSE 1 END,"
    " CASE WHEN p.provariadic = 0 THEN p.pronargs ELSE 100 END) n"
    " GROUP BY p.proname, n HAVING pg_catalog.bool_and((d.objid IS NOT NULL"
    " OR p.pronamespace = 11 AND p.oid < 16384) AND p.provariadic = 0"
    " AND p.prokind = 'f' AND p.provolatile = 'i' AND NOT p.proretset AND (p.proacl IS NULL"
    " OR pg_catalog.has_function_privilege('public', p.oid, 'EXECUTE')) AND NOT"
    " p.proargtypes::pg_catalog.oid[] && " NODE_NAMES ")";

/*
 * Names of operators that may mean something else than what is built in, or pgvector's: other
 * distances of its types; those that are not immutable or were made by hand for built-in types,
 * which nobody else's are; those that not everybody may use.
 */
static const char operators_sql[] =
    "SELECT DISTINCT o.oprname FROM pg_catalog.pg_operator o LEFT JOIN pg_catalog.pg_proc p"
    " ON p.oid = o.oprcode LEFT JOIN pg_catalog.pg_depend d ON d.classid = 2617"
    " AND d.objid = o.oid AND d.refclassid = 3079 AND d.deptype = 'e'"
    " WHERE p.proacl IS NOT NULL AND NOT pg_catalog.has_function_privilege('public', p.oid,"
    " 'EXECUTE') OR o.oid >= 16384 AND d.refobjid IS DISTINCT FROM"
    " (SELECT e.oid FROM pg_catalog.pg_extension e WHERE e.extname = 'vector')"
    " AND (p.provolatile <> 'i' OR d.refobjid IS NULL"
    " AND (o.oprleft < 16384 OR o.oprleft = ANY ($1::pg_catalog.oid[]))"
    " AND (o.oprright < 16384 OR o.oprright = ANY ($1::pg_catalog.oid[]))"
    " OR o.oprname IN ('<->', '<#>', '<=>', '<+>', '<~>', '<%>')"
    " AND (o.oprleft = ANY ($1::pg_catalog.oid[]) OR o.oprright = ANY ($1::pg_catalog.oid[])))";

/* Casts that users have made between the types that statements may cast between, as "::type";
 * those that happen unasked as "::". */
#define IS_KNOWN(type) "(" type " < 16384 OR " type " = ANY ($1::pg_catalog.oid[]))"
static const char casts_sql[] =
    "SELECT DISTINCT CASE n WHEN 1 THEN '::' ELSE '::' || t.typname END FROM pg_catalog.pg_cast c"
    " JOIN pg_catalog.pg_type t ON t.oid = c.casttarget"
    " CROSS JOIN pg_catalog.generate_series(1, 2) n"
    " WHERE c.oid >= 16384 AND c.castmethod <> 'i' AND (n = 2 OR c.castcontext = 'i')"
    " AND " IS_KNOWN("c.castsource") " AND " IS_KNOWN(
	"c.casttarget") " AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 2605"
			" AND d.objid = c.oid AND d.refclassid = 3079 AND d.deptype = 'e')";

#endif
