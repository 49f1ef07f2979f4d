/*
 * Scram: SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677, RFC 5929's
 * tls-server-end-point; PostgreSQL's manual, "SASL Authentication"), as messages
 * in and messages out. No sockets, no framing: bodies of SASL messages.
 *
 * The server side needs a user's verifier, and learns the user's client key from
 * the proof; the client side logs in with that key instead of a password. So
 * pgtopk can stand between two TLS connections without ever seeing a password.
 * Every length is checked; secrets are wiped when freed and compared in constant
 * time.
 */
#ifndef PROXY_SCRAM_H
#define PROXY_SCRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/iobuf.h"

#define SCRAM_KEY_LEN 32
#define SCRAM_BINDING_MAX 64   /* a certificate's digest: SHA-512 at most */
#define SCRAM_SALT_MAX 128     /* base64 text; PostgreSQL writes 24 */
#define SCRAM_MESSAGE_MAX 8192 /* from a server */
#define SCRAM_CLIENT_MAX 1024  /* from a client: PostgreSQL's PG_MAX_SASL_MESSAGE_LENGTH */
#define SCRAM_MECHANISM "SCRAM-SHA-256"
#define SCRAM_MECHANISM_PLUS "SCRAM-SHA-256-PLUS"

/* pg_authid.rolpassword: SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey. */
struct scram_verifier {
	uint32_t iterations;
	char salt[SCRAM_SALT_MAX + 1]; /* base64, as written there */
	uint8_t stored_key[SCRAM_KEY_LEN];
	uint8_t server_key[SCRAM_KEY_LEN];
	bool mock; /* of a user that has none: nobody's proof is right */
};

/* False if text is no such verifier (an MD5 hash, say). */
bool scram_verifier_parse(const char *text, struct scram_verifier *verifier);
/* For a user without one: the same salt every time for a secret, so that an unknown
 * user cannot be told from a known one. */
void scram_verifier_mock(const uint8_t secret[SCRAM_KEY_LEN], const char *user,
                         struct scram_verifier *verifier);
void scram_verifier_wipe(struct scram_verifier *verifier);

/* What logs a user in without the password. */
struct scram_keys {
	uint8_t client_key[SCRAM_KEY_LEN];
	uint8_t server_key[SCRAM_KEY_LEN];
};
void scram_keys_wipe(struct scram_keys *keys);

/* The certificate's digest for channel binding; len 0: no TLS, or none to be had. */
struct scram_binding {
	uint8_t data[SCRAM_BINDING_MAX];
	size_t len;
};

enum scram_status {
	SCRAM_OK,
	SCRAM_REFUSED, /* the proof is wrong: 28P01 is the caller's to say */
	SCRAM_BROKEN,  /* sqlstate, message and detail say how, as PostgreSQL would */
};

/* Valid as long as the server or client that failed. Nothing in it but ASCII. */
struct scram_failure {
	const char *sqlstate;
	const char *message;
	const char *detail; /* may be NULL */
};

/* ---- server ---- */

struct scram_server;

/* Copies what it is given; never fails. */
struct scram_server *scram_server_new(const struct scram_verifier *verifier,
                                      const struct scram_binding *binding);
void scram_server_free(struct scram_server *server); /* NULL is allowed */
/* The body of AuthenticationSASL behind its Int32 10: the mechanisms, PLUS first if bound. */
void scram_server_mechanisms(const struct scram_server *server, struct iobuf *out);
/*
 * The body of SASLInitialResponse (mechanism, Int32 length, client-first-message);
 * appends the server-first-message. A length of -1 is answered by an empty challenge, as
 * PostgreSQL does: nothing is appended, and scram_server_awaits_first() tells that the
 * next SASLResponse belongs here, too (its body is the client-first-message alone).
 * Once a message was BROKEN or REFUSED, so is every other.
 */
enum scram_status scram_server_first(struct scram_server *server, const uint8_t *body, size_t len,
                                     struct iobuf *out, struct scram_failure *failure);
bool scram_server_awaits_first(const struct scram_server *server);
/* The body of SASLResponse: client-final-message; appends the server-final-message. */
enum scram_status scram_server_final(struct scram_server *server, const uint8_t *body, size_t len,
                                     struct iobuf *out, struct scram_failure *failure);
/* After scram_server_final() said SCRAM_OK. */
void scram_server_keys(const struct scram_server *server, struct scram_keys *keys);
/* Instead of a random one: for test vectors alone. */
void scram_server_set_nonce(struct scram_server *server, const char *nonce);

/* ---- client ---- */

struct scram_client;

struct scram_client *scram_client_new(const struct scram_keys *keys,
                                      const struct scram_binding *binding);
void scram_client_free(struct scram_client *client); /* NULL is allowed */
/*
 * The body of AuthenticationSASL behind its Int32 10; appends the body of
 * SASLInitialResponse. PLUS is taken if it is offered and bound; if bound and not
 * offered, the client says so ("y"). BROKEN: no mechanism that is known.
 */
enum scram_status scram_client_first(struct scram_client *client, const uint8_t *mechanisms,
                                     size_t len, struct iobuf *out, struct scram_failure *failure);
/* The body of AuthenticationSASLContinue behind its Int32; appends client-final-message. */
enum scram_status scram_client_final(struct scram_client *client, const uint8_t *body, size_t len,
                                     struct iobuf *out, struct scram_failure *failure);
/* The body of AuthenticationSASLFinal behind its Int32: is it the server we know? "e=" is
 * REFUSED. Without OK from here an AuthenticationOk is not to be believed. */
enum scram_status scram_client_verify(struct scram_client *client, const uint8_t *body, size_t len,
                                      struct scram_failure *failure);

#endif
