/*
 * Drain: ends sessions when pgtopk stops. A client hears it as from PostgreSQL, FATAL
 * 57P01, wherever a message of ours can stand; otherwise its connection just closes.
 */
#ifndef PROXY_DRAIN_H
#define PROXY_DRAIN_H

#include <stdbool.h>

struct proxy;
struct session;

/* Ends the session if nothing of it is open: no transaction, no statement, no reply that the
 * client has yet to be sent. True if it did. */
bool drain_session(struct session *session);
/* That for each session; how many are left. Not from within one of them. */
unsigned drain_idle(struct proxy *proxy);
/* Ends every session as it is. */
void drain_all(struct proxy *proxy);

#endif
