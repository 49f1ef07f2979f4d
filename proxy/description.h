/*
 * Description: what the coordinator says a plan's statement looks like: the
 * types of its parameters and the fields of its rows, hidden keys last. Types,
 * table OIDs and attribute numbers that the client sees are the coordinator's,
 * never a shard's.
 *
 * Asked once by a hidden Describe and shared by all sessions through a bounded
 * cache keyed by plan and declared parameter types.
 */
#ifndef PROXY_DESCRIPTION_H
#define PROXY_DESCRIPTION_H

#include <stdbool.h>
#include <stdint.h>

#include "merge/order.h"
#include "parser/plan.h"
#include "proxy/iobuf.h"

struct session;

struct description {
	unsigned refs;
	struct plan *plan;
	unsigned nparameters; /* including lifted literals */
	uint32_t *parameter_types;
	unsigned visible;
	uint32_t *result_types; /* of the visible fields, then of the keys */
	uint8_t *fields;        /* the visible fields as in RowDescription, formats 0 */
	size_t fields_len;
	struct order_key *keys;        /* plan->nkeys */
	enum refusal refusal;          /* not REFUSAL_none: described, but not to be routed */
	struct description *explained; /* NULL, or this is EXPLAIN's of that one */
};

struct description *description_ref(struct description *description);
void description_unref(struct description *description); /* NULL is allowed */
/* What EXPLAIN of the same statement looks like: a reference, which holds one to it. */
struct description *description_explain(struct description *of, bool json);
/* CommandComplete for so many rows. */
void description_put_complete(const struct description *description, struct iobuf *out,
                              uint64_t rows);
/* The client would see the same rows and parameters. */
bool description_same(const struct description *a, const struct description *b);

/* RowDescription with the formats of a Bind (0/1/n rule). */
void description_put_row_description(const struct description *description, struct iobuf *out,
                                     const uint8_t *formats, unsigned nformats);
/* ParameterDescription of the first `visible` parameters (lifted ones are not the client's). */
void description_put_parameters(const struct description *description, struct iobuf *out,
                                unsigned visible);

struct descriptions; /* the cache */

struct descriptions *descriptions_new(unsigned limit);
void descriptions_free(struct descriptions *descriptions);
/* NULL if not known. The cache's reference. */
struct description *descriptions_find(struct descriptions *descriptions, const struct plan *plan,
                                      unsigned ntypes, const uint32_t *types);

/*
 * Asks the coordinator by a hidden batch on the session's connection and caches the
 * answer; done(ok: false) if it refused. Needs what session_start_inner() needs.
 */
void description_ask(struct session *session, struct plan *plan, unsigned ntypes,
                     const uint32_t *types, void (*done)(struct session *session, bool ok));

#endif
