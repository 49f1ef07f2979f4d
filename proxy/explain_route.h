/*
 * Explain route: answers EXPLAIN of a statement that route.c has planned: asks the
 * shards' servers for their own plans, with the texts, parameters and settings that
 * the statement itself would be sent with, and hands the report out as rows.
 *
 * With ANALYZE the statement is run first, as if it had been asked itself, for the
 * figures of the whole; then each shard's EXPLAIN ANALYZE for those of the parts.
 */
#ifndef PROXY_EXPLAIN_ROUTE_H
#define PROXY_EXPLAIN_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

struct route;
struct scatter_result;
struct session;

/*
 * What is to be planned (route->lifted): of an EXPLAIN (route->explain) the statement in it, with
 * its literals left in place, so that they can be read in the plan. False: an EXPLAIN in a way
 * that is not known here.
 */
bool explain_route_read(struct route *route, const char *sql, size_t len);
/* Makes the description of an explained statement that of its EXPLAIN. */
void explain_route_describe(struct route *route);

/* session->route.request is made; ran: what ANALYZE's run gave (its rows are freed), or NULL.
 * Ends with route_finish(). */
void explain_route_start(struct session *session, struct scatter_result *ran);
/* The client wants it to stop: it ends soon. */
void explain_route_cancel(struct session *session);
/* Before the route's arena goes. */
void explain_route_reset(struct session *session);

#endif
