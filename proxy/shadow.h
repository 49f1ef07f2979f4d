/*
 * Shadow: pgtopk.route = shadow: the coordinator answers every statement; a vector
 * query is asked of the shards as well, to see what routing it would have given.
 *
 * The client's statement is forwarded at once and its answer passes as it comes; a
 * hash of each row is kept. When the coordinator has answered and the session is at
 * rest, the statement is planned (what must be asked on the session's connection is
 * asked then) and the shards are asked beside whatever the session does next. After
 * the answer rather than in parallel, because the coordinator asks the same shards:
 * both at once would slow the client down, and compare times that nobody has without
 * a shadow. What another session writes in between may show as a difference.
 *
 * One shadow per session at a time; statements that come meanwhile have none. No
 * failure of a shadow is ever the client's.
 */
#ifndef PROXY_SHADOW_H
#define PROXY_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct session;
struct shadow;
struct statement;

/* session->route is being planned for its shadow. */
bool shadow_plans(const struct session *session);
/* The session is in shadow mode, as far as is known without asking. */
bool shadow_mode(const struct session *session);

/*
 * session->message is about to be forwarded: a Query; the Bind of a statement; an Execute.
 * What cannot be shadowed is not.
 */
void shadow_query(struct session *session);
void shadow_bind(struct session *session, const struct statement *statement);
void shadow_execute(struct session *session);

/* Relay: a statement is being forwarded; a reply that the client may see has begun; bytes of
 * it; the coordinator's input has been handled. */
void shadow_forwarded(struct session *session);
void shadow_reply(struct session *session, uint8_t type);
void shadow_bytes(struct session *session, const uint8_t *data, size_t len);
void shadow_look(struct session *session);

void shadow_free(struct session *session); /* gives up */

#endif
