/*
 * Order: compares sort keys exactly as PostgreSQL's btree operator classes do.
 *
 * Keys arrive in binary format. Numbers sort below NaN, NaN below NULL (NULL's
 * place is NULLS FIRST/LAST); -0.0 equals 0.0. Types whose order depends on a
 * collation or that are not listed are refused by order_type_from_oid(), so
 * that the caller sends the statement to the coordinator instead.
 */
#ifndef MERGE_ORDER_H
#define MERGE_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "merge/row.h"

enum order_type {
	ORDER_BOOL,
	ORDER_INT2,
	ORDER_INT4,  /* int4, date */
	ORDER_INT8,  /* int8, timestamp, timestamptz, time, money */
	ORDER_UINT4, /* oid */
	ORDER_FLOAT4,
	ORDER_FLOAT8,
	ORDER_BYTES, /* bytea, uuid, macaddr: memcmp, then length */
	ORDER_NUMERIC,
	ORDER_INTERVAL,
};

/* One ORDER BY item. */
struct order_key {
	enum order_type type;
	bool descending;
	bool nulls_first;
};

/* The comparison for a built-in type's OID (pg_type.dat); false if there is
 * none that needs no collation. */
bool order_type_from_oid(uint32_t type_oid, enum order_type *type);

/* False if the value's length is not one that the type's send function writes. */
bool order_valid(enum order_type type, const struct row_value *value);

/*
 * <0, 0, >0 as a sorts before, with, after b under key, which applies DESC and
 * NULLS FIRST/LAST. Both values must have passed order_valid().
 */
int order_compare(const struct order_key *key, const struct row_value *a,
                  const struct row_value *b);

#endif
