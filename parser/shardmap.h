/*
 * Shard map: which shards a table has and on which nodes they are, with the
 * facts of the coordinator's catalogs that a plan depends on. Immutable once
 * built, counted, replaced as a whole when the cluster changes.
 *
 * Built by the providers in proxy/ (citus, partitions) through the
 * shardmap_add_* calls; the parser only reads it.
 */
#ifndef PARSER_SHARDMAP_H
#define PARSER_SHARDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum shardmap_provider {
	SHARDMAP_PARTITIONS, /* partitioned table; leaves are foreign or local tables */
	SHARDMAP_CITUS,
};

/* What a column's type means to pgtopk. */
enum shardmap_type {
	SHARDMAP_TYPE_OTHER, /* user-defined: may be filtered on, not be returned */
	SHARDMAP_TYPE_BUILTIN,
	SHARDMAP_TYPE_BIT, /* built in, and has pgvector distances (<~> <%>) */
	SHARDMAP_TYPE_VECTOR,
	SHARDMAP_TYPE_HALFVEC,
	SHARDMAP_TYPE_SPARSEVEC,
};

struct shardmap_node {
	char *host; /* as registered; node_map is applied later */
	int port;
	char *database;   /* NULL: the same name as the coordinator's */
	bool coordinator; /* the coordinator itself holds this shard; host and port are unused */
};

struct shardmap_column {
	char *name;
	int attnum;
	uint32_t type_oid; /* on the coordinator */
	enum shardmap_type type;
};

struct shardmap_shard {
	int64_t id; /* Citus: shardid; partitions: the leaf's OID on the coordinator */
	unsigned node;
	char *schema;
	char *name;
};

struct shardmap_table {
	uint32_t oid; /* on the coordinator */
	char *schema;
	char *name;
	bool routable; /* false: sharded in a way that is not routed */
	char *key;     /* distribution column, NULL if none or an expression */
	char *
	    signature; /* what its shards' columns must be like (proxy/signature.h); NULL: anything */
	unsigned ncolumns;
	struct shardmap_column *columns; /* in the order of SELECT *, dropped ones left out */
	unsigned nshards;
	struct shardmap_shard *shards; /* sorted by node */
};

struct shardmap;

/* ---- building; only by the one who called shardmap_new(), before it is shared ---- */
struct shardmap *shardmap_new(enum shardmap_provider provider, uint64_t generation);
/* The node's number; the same for the same arguments. */
unsigned shardmap_add_node(struct shardmap *map, const char *host, int port, const char *database,
                           bool coordinator);
struct shardmap_table *shardmap_add_table(struct shardmap *map, uint32_t oid, const char *schema,
                                          const char *name); /* same oid: the same table */
void shardmap_add_column(struct shardmap_table *table, const char *name, int attnum,
                         uint32_t type_oid, enum shardmap_type type);
void shardmap_add_shard(struct shardmap_table *table, int64_t id, unsigned node, const char *schema,
                        const char *name);
/* A function that is safe on any node: every one of that name and number of arguments is built in or
 * pgvector's, immutable and returns no set. */
void shardmap_add_function(struct shardmap *map, const char *name, unsigned nargs);
/* pgvector's schema; NULL (as before the call) means it is not installed. */
void shardmap_set_vector_schema(struct shardmap *map, const char *schema);
/* The OID on the coordinator of one of pgvector's types. */
void shardmap_set_vector_type(struct shardmap *map, enum shardmap_type type, uint32_t oid);
/* A distance operator's name that others than pgvector define for pgvector's types. */
void shardmap_add_foreign_operator(struct shardmap *map, const char *name);

/* Sorts, indexes; from here on the map is immutable. */
void shardmap_seal(struct shardmap *map);

/* ---- reading ---- */
struct shardmap *shardmap_ref(struct shardmap *map);
void shardmap_unref(struct shardmap *map); /* NULL is allowed */
enum shardmap_provider shardmap_provider(const struct shardmap *map);
uint64_t shardmap_generation(const struct shardmap *map);
unsigned shardmap_node_count(const struct shardmap *map);
const struct shardmap_node *shardmap_node(const struct shardmap *map, unsigned node);
unsigned shardmap_table_count(const struct shardmap *map);
const struct shardmap_table *shardmap_table_at(const struct shardmap *map, unsigned i);
const struct shardmap_table *shardmap_table_by_oid(const struct shardmap *map,
                                                   uint32_t oid); /* NULL: not sharded */
const struct shardmap_column *shardmap_column(const struct shardmap_table *table,
                                              const char *name); /* NULL: none */
bool shardmap_has_function(const struct shardmap *map, const char *name, unsigned nargs);
const char *shardmap_vector_schema(const struct shardmap *map);
/* Which of pgvector's types has that OID on the coordinator; SHARDMAP_TYPE_OTHER: none. */
enum shardmap_type shardmap_vector_type(const struct shardmap *map, uint32_t oid);
/* The OID there of type vector; 0: pgvector is not installed. */
uint32_t shardmap_vector_oid(const struct shardmap *map);
bool shardmap_has_foreign_operator(const struct shardmap *map, const char *name);

#endif
