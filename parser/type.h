/*
 * Type: which type names a routed statement may cast to, and what is known
 * about a name without asking a catalog.
 */
#ifndef PARSER_TYPE_H
#define PARSER_TYPE_H

#include <stdbool.h>
#include <stdint.h>

#include "parser/shardmap.h"
#include "parser/sql.h"

/*
 * What the name means: SHARDMAP_TYPE_OTHER for everything that is not allowed,
 * else BUILTIN, BIT or one of pgvector's. An array is BUILTIN whatever its
 * elements are, for no distance takes one.
 */
enum shardmap_type type_of_name(const struct shardmap *map, const PgQuery__TypeName *name);

/* The largest value of int2, int4 or int8; 0 for every other type. */
int64_t type_integer_max(const PgQuery__TypeName *name);

/* By the OID of a built-in type. */
bool type_is_number(uint32_t oid);
bool type_has_match(uint32_t oid); /* its @@ does not depend on settings */

#endif
