/*
 * Provider: what differs between the kinds of clusters: which statements on the
 * coordinator tell its sharded tables and their shards, how their rows become
 * part of a shard map, and which statement tells whether that is still so.
 *
 * Statements are written for search_path = pg_catalog, pg_temp, which whoever
 * runs them has set.
 */
#ifndef PROXY_PROVIDER_H
#define PROXY_PROVIDER_H

#include <stdbool.h>
#include <stdint.h>

#include "parser/shardmap.h"
#include "proxy/iobuf.h"

/* A table while its map is loaded. */
struct provider_table {
	struct shardmap *map;
	struct shardmap_table *table;
	bool hashed;           /* Citus: hash-distributed */
	int64_t covered;       /* Citus: how many hash values have a shard */
	unsigned placements;   /* Citus: of the last shard, so far */
	struct iobuf lists[2]; /* what the check is asked about beside the table itself: ,1,2,3 */
};

/* Adds a number to a list. */
void provider_list_add(struct provider_table *table, unsigned list, int64_t number);

struct provider {
	enum shardmap_provider kind;
	const char *name;
	/* A utility statement for the load's transaction; NULL: none. */
	const char *prepare;
	/* Parameter: oid[] of types; one of them must be among a table's columns.
	 * Answer: OID, schema, name, distribution column or NULL, routable, hashed, and perhaps
	 * the signature. */
	const char *tables;
	/* Parameter: oid[] of tables. Answer: the table's OID first, rest as on_part() wants it;
	 * a table's rows follow each other. */
	const char *parts;
	void (*on_part)(struct provider_table *table, const char *const *values);
	/* All parts of the table have been seen. */
	void (*on_parts_end)(struct provider_table *table);
	/* Parameters: the table's OID and nlists lists. Answer: one row that changes when the table's
	 * part of the map, its columns or who may read it do. */
	const char *check;
	unsigned nlists;
};

/*
 * The end of every check: columns, policies, memberships of roles and those that are above or
 * below the rules; schemas (their privileges and names); which other relations a name like the
 * table's could mean; whether functions and operators were created.
 */
#define PROVIDER_CHECK_COMMON                                                                      \
	" (SELECT pg_catalog.sum(pg_catalog.hashtextextended(a.xmin::pg_catalog.text,"             \
	" a.attnum::pg_catalog.int8)) FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1),"      \
	" (SELECT pg_catalog.sum(pg_catalog.hashtextextended(p.xmin::pg_catalog.text,"             \
	" p.oid::pg_catalog.int8)) FROM pg_catalog.pg_policy p WHERE p.polrelid = $1),"            \
	" (SELECT pg_catalog.sum(pg_catalog.hashtextextended(m.xmin::pg_catalog.text,"             \
	" m.roleid::pg_catalog.int8 * 4294967296 + m.member::pg_catalog.int8))"                    \
	" FROM pg_catalog.pg_auth_members m),"                                                     \
	" (SELECT pg_catalog.sum(pg_catalog.hashoidextended(r.oid, r.rolsuper::pg_catalog.int4"    \
	" + 2 * r.rolbypassrls::pg_catalog.int4 + 4 * r.rolinherit::pg_catalog.int4))"             \
	" FROM pg_catalog.pg_roles r"                                                              \
	" WHERE r.rolsuper OR r.rolbypassrls OR NOT r.rolinherit),"                                \
	" (SELECT pg_catalog.sum(pg_catalog.hashoidextended(s.oid,"                                \
	" s.xmin::pg_catalog.text::pg_catalog.int8)) FROM pg_catalog.pg_namespace s"               \
	" WHERE NOT pg_catalog.starts_with(s.nspname::pg_catalog.text, 'pg_t')),"                  \
	" (SELECT pg_catalog.sum(pg_catalog.hashoidextended(o.oid,"                                \
	" o.relnamespace::pg_catalog.int8)) FROM pg_catalog.pg_class o WHERE o.relname ="          \
	" (SELECT c.relname FROM pg_catalog.pg_class c WHERE c.oid = $1)"                          \
	" AND o.relpersistence <> 't'),"                                                           \
	" (SELECT pg_catalog.max(p.oid) FROM pg_catalog.pg_proc p),"                               \
	" (SELECT pg_catalog.max(o.oid) FROM pg_catalog.pg_operator o)"

#endif
