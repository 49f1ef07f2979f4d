/*
 * Login: what happens between the StartupMessage and the first ReadyForQuery. The
 * coordinator says which login it wants, and its own login always takes place: so
 * VALID UNTIL, NOLOGIN, connection limits and pg_hba.conf hold.
 *
 * Everything is relayed but SCRAM with a user whose verifier can be had. There
 * pgtopk is the server for the client, with channel binding where its connection
 * has TLS, recovers the client key from the proof and is the client of the
 * coordinator with that key. Through two TLS connections there is no other way:
 * channel binding ties an exchange to one certificate.
 * Manual: "SASL Authentication".
 */
#ifndef PROXY_LOGIN_H
#define PROXY_LOGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct session;
struct login;

/* The StartupMessage has been sent. */
struct login *login_new(struct session *session);
void login_free(struct login *login); /* NULL is allowed; wipes what is secret */

/* The client has to wait until it is clear who answers it. */
bool login_holds(const struct session *session);
/* Messages of the client are handled here, not relayed. */
bool login_keeps(const struct session *session);
/* A whole message of the client, while login_keeps(). */
void login_client_message(struct session *session, uint8_t type, const uint8_t *body, size_t len);
/* A whole Authentication message. True: the client is to see it. */
bool login_authentication(struct session *session, const uint8_t *body, size_t len);

/*
 * The coordinator's first answer is an ErrorResponse. If no line of pg_hba.conf fits (28000) and
 * sslmode is allow or prefer, the other kind of connection is tried, as libpq does: true.
 */
bool login_refused(struct session *session, const uint8_t *body, size_t len);

#endif
