/*
 * Type: a static list, because the names of built-in types cannot be taken by
 * others (pg_catalog is searched first). Not in it: reg* (a name resolved on
 * the shard is another table than on the coordinator), money (lc_monetary), xml.
 */
#include "parser/type.h"

#include <string.h>

static const char *const builtin_types[] = {
    "bool",
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "numeric",
    "text",
    "varchar",
    "bpchar",
    "char",
    "bytea",
    "name",
    "oid",
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "interval",
    "uuid",
    "json",
    "jsonb",
    "jsonpath",
    "varbit",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "tsvector",
    "tsquery",
    "point",
    "line",
    "lseg",
    "box",
    "path",
    "polygon",
    "circle",
    "int4range",
    "int8range",
    "numrange",
    "tsrange",
    "tstzrange",
    "daterange",
    "int4multirange",
    "int8multirange",
    "nummultirange",
    "tsmultirange",
    "tstzmultirange",
    "datemultirange",
};

static bool is_builtin(const char *name)
{
	for (size_t i = 0; i < sizeof(builtin_types) / sizeof(builtin_types[0]); i++) {
		if (strcmp(builtin_types[i], name) == 0)
			return true;
	}
	return false;
}

static enum shardmap_type pgvector_type(const char *name)
{
	if (strcmp(name, "vector") == 0)
		return SHARDMAP_TYPE_VECTOR;
	if (strcmp(name, "halfvec") == 0)
		return SHARDMAP_TYPE_HALFVEC;
	if (strcmp(name, "sparsevec") == 0)
		return SHARDMAP_TYPE_SPARSEVEC;
	return SHARDMAP_TYPE_OTHER;
}

/* schema is NULL for a name without one. */
static enum shardmap_type element_type(const struct shardmap *map, const char *schema,
                                       const char *name)
{
	const char *vector_schema = shardmap_vector_schema(map);
	enum shardmap_type type = pgvector_type(name);

	if (type != SHARDMAP_TYPE_OTHER) {
		if (vector_schema == NULL || (schema != NULL && strcmp(schema, vector_schema) != 0))
			return SHARDMAP_TYPE_OTHER;
		return type;
	}
	if (schema != NULL && strcmp(schema, "pg_catalog") != 0)
		return SHARDMAP_TYPE_OTHER;
	if (strcmp(name, "bit") == 0)
		return SHARDMAP_TYPE_BIT;
	return is_builtin(name) ? SHARDMAP_TYPE_BUILTIN : SHARDMAP_TYPE_OTHER;
}

enum shardmap_type type_of_name(const struct shardmap *map, const PgQuery__TypeName *name)
{
	enum shardmap_type type;
	const char *schema = NULL;
	const char *last;

	if (name == NULL || name->setof || name->pct_type || name->n_names < 1 || name->n_names > 2)
		return SHARDMAP_TYPE_OTHER;
	for (size_t i = 0; i < name->n_typmods; i++) {
		if (!SQL_NODE_IS(name->typmods[i], A_CONST))
			return SHARDMAP_TYPE_OTHER;
	}
	last = sql_string(name->names[name->n_names - 1]);
	if (name->n_names == 2) {
		schema = sql_string(name->names[0]);
		if (schema == NULL)
			return SHARDMAP_TYPE_OTHER;
	}
	if (last == NULL)
		return SHARDMAP_TYPE_OTHER;
	type = element_type(map, schema, last);
	if (type != SHARDMAP_TYPE_OTHER && name->n_array_bounds > 0)
		return SHARDMAP_TYPE_BUILTIN;
	return type;
}

int64_t type_integer_max(const PgQuery__TypeName *name)
{
	const char *last;

	if (name == NULL || name->setof || name->pct_type || name->n_typmods > 0 ||
	    name->n_array_bounds > 0 || name->n_names < 1 || name->n_names > 2)
		return 0;
	if (name->n_names == 2) {
		const char *schema = sql_string(name->names[0]);

		if (schema == NULL || strcmp(schema, "pg_catalog") != 0)
			return 0;
	}
	last = sql_string(name->names[name->n_names - 1]);
	if (last == NULL)
		return 0;
	if (strcmp(last, "int2") == 0)
		return INT16_MAX;
	if (strcmp(last, "int4") == 0)
		return INT32_MAX;
	return strcmp(last, "int8") == 0 ? INT64_MAX : 0;
}

/* smallint, integer, bigint, numeric. OIDs of built-in types never change. */
bool type_is_number(uint32_t oid)
{
	return oid == 21 || oid == 23 || oid == 20 || oid == 1700;
}

/* tsvector, jsonb. */
bool type_has_match(uint32_t oid)
{
	return oid == 3614 || oid == 3802;
}
