/*
 * Hidden: statements of our own for a session's connection to the coordinator
 * (session_start_inner()). They use a statement and a portal of their own name, so
 * that the client's unnamed ones stay as they are.
 */
#ifndef PROXY_HIDDEN_H
#define PROXY_HIDDEN_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/iobuf.h"

#define HIDDEN_NAME "pgtopk hidden 9e1f37" /* not what a client would think of */

/* Close of what an earlier batch left behind: one that was cancelled, or ran out of time. */
void hidden_put_clear(struct iobuf *out);
/* What fails the open transaction block, and leaves nothing behind: Parse finds the error. */
void hidden_put_failure(struct iobuf *out);
/* Parse, Bind, Execute and Close of one statement; value: its one text parameter, or NULL. */
void hidden_put(struct iobuf *out, const char *sql, size_t sql_len, const char *value);

#endif
