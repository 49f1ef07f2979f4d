/*
 * Startup: a client's first messages, those without a type byte: encryption
 * requests, CancelRequest, StartupMessage. Decides on TLS, turns away whom limits
 * or rules forbid, and then has the coordinator dialled; what the StartupMessage
 * says is the coordinator's to judge and reaches it untouched.
 * Manual: "Start-up", "SSL Session Encryption".
 */
#ifndef PROXY_STARTUP_H
#define PROXY_STARTUP_H

struct session;

/* Right after session_open(). */
void startup_open(struct session *session);
/* There are new bytes of the client and it is in SESSION_STARTUP. */
void startup_input(struct session *session);

#endif
