/*
 * Notices: warnings of a sharded table that is not well kept (indexes.h): once in the
 * log and, to sessions with pgtopk.notices = on, once each.
 *
 * A table is inspected when one of its queries has been routed, beside whatever goes
 * on, and again when the shard map is another one; so its first query is never told.
 */
#ifndef PROXY_NOTICES_H
#define PROXY_NOTICES_H

#include <stdint.h>

struct notices;
struct proxy;
struct session;

/* Which warnings a session has been told. Begins zeroed. */
struct notices_told {
	unsigned count;
	uint64_t *editions;
};
void notices_told_fini(struct notices_told *told);

struct notices *notices_new(struct proxy *proxy);
void notices_free(struct notices *notices); /* NULL is allowed; before the pools go */

/*
 * session->route has been carried out: tells the client what is known of the table, before
 * its rows, and sees to it that more will be.
 */
void notices_routed(struct session *session);

#endif
