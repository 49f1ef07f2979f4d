/*
 * Facts SQL: the parts of the question that facts.c puts together, but for the settings
 * and for what the open transaction has written. For proxy/facts.c alone.
 */
#ifndef PROXY_FACTS_SQL_H
#define PROXY_FACTS_SQL_H

/* $1 is the table's name; what follows is put together by put_question(). */
static const char ask_sql[] =
    "SELECT t.oid, pg_catalog.has_table_privilege(t.oid, 'SELECT'),"
    " pg_catalog.row_security_active(t.oid), session_user, current_user, ";
static const char from_sql[] =
    " FROM (SELECT pg_catalog.to_regclass($1)::pg_catalog.oid AS oid OFFSET 0) t";
/* In a schema without USAGE it would be an error, which fails the client's block. */
static const char qualified_from_sql[] =
    " FROM (SELECT CASE WHEN pg_catalog.cardinality(pg_catalog.parse_ident($1))"
    " OPERATOR(pg_catalog.=) 1 OR pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace("
    "pg_catalog.quote_ident((pg_catalog.parse_ident($1))[1]))::pg_catalog.oid, 'USAGE')"
    " THEN pg_catalog.to_regclass($1)::pg_catalog.oid END AS oid OFFSET 0) t";

/*
 * Do types hide built-in ones? Not where pg_catalog is searched first, which is cheap to ask.
 * Else there are temporary tables, or search_path names it late: "?", and a closer look is due.
 */
#define FIRST_IS_CATALOG                                                                           \
	"(pg_catalog.current_schemas(true))[1] OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.name"
static const char hides_sql[] = "CASE WHEN " FIRST_IS_CATALOG " THEN 'n' ELSE '?' END, ";
static const char look_closely_sql[] =
    "CASE WHEN " FIRST_IS_CATALOG " THEN 'n' WHEN EXISTS (SELECT FROM"
    " pg_catalog.unnest(pg_catalog.current_schemas(true)) WITH ORDINALITY s(name, i)"
    " JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) s.name"
    " JOIN pg_catalog.pg_type t ON t.typnamespace OPERATOR(pg_catalog.=) n.oid"
    " JOIN pg_catalog.pg_type b ON b.typname OPERATOR(pg_catalog.=) t.typname"
    " WHERE b.typnamespace OPERATOR(pg_catalog.=) 11::pg_catalog.oid AND s.i"
    " OPERATOR(pg_catalog.<) pg_catalog.array_position(pg_catalog.current_schemas(true),"
    " 'pg_catalog'::pg_catalog.name)) THEN 't' ELSE 'f' END, ";

enum {
	TABLE_OID,
	MAY_SELECT,
	ROW_SECURITY,
	SESSION_USER,
	CURRENT_USER,
	HIDES_TYPES,
	WROTE,
	MAY_USE,
};
#define FIRST_SETTING 8

#endif
