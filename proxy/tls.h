/*
 * TLS: OpenSSL's door for connections: no other file includes <openssl/ssl.h>.
 *
 * Two kinds of connection: those that libpq has established behind us (its SSL*
 * handed over by proxy/pq.c) and those of clients, accepted here. Reading and
 * writing follow read(2) and write(2): -1 with errno EAGAIN when the socket has to
 * become readable or writable first (want_write tells which), 0 at the peer's end.
 * A client's handshake happens within the first reads; errno is EPROTO when it
 * fails and tls_error() says why.
 */
#ifndef PROXY_TLS_H
#define PROXY_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tls;

/* ssl is an OpenSSL SSL* that stays its owner's. */
struct tls *tls_wrap(void *ssl);
/* NULL is allowed; a wrapped SSL* lives on, an accepted connection gets its close_notify:
 * to be called before its socket is closed. */
void tls_free(struct tls *tls);

ssize_t tls_read(struct tls *tls, void *data, size_t len);
ssize_t tls_write(struct tls *tls, const void *data, size_t len);
/* close_notify: nothing more will be written. */
void tls_end(struct tls *tls);
/* Decrypted bytes are waiting although the socket may not be readable. */
bool tls_pending(const struct tls *tls);
/* The last EAGAIN waits for the socket to become writable. */
bool tls_wants_write(const struct tls *tls);

/* The last failure in one line, for the log; "" if there was none. */
const char *tls_error(const struct tls *tls);

/* ---- towards clients ---- */

enum tls_verify {
	TLS_VERIFY_NONE, /* no certificate is asked for, unless a CA is given; then it may be missing */
	TLS_VERIFY_DEMAND, /* the handshake fails without a certificate of the CA */
};

/* Files are PEM; NULL or "": none. */
struct tls_server_options {
	const char *cert_file;
	const char *key_file;
	const char *ca_file;
	const char *crl_file;
	const char *min_version; /* none: "TLSv1.2" */
	const char *ciphers;     /* OpenSSL's list; up to TLSv1.2; none: its default */
	enum tls_verify verify;
};

/* Certificate, key and rules. Connections made with it live on when it is freed. */
struct tls_server;
/* NULL with a message (file, what is wrong, remedy) in error. */
struct tls_server *tls_server_new(const struct tls_server_options *options, char *error,
                                  size_t error_size);
void tls_server_free(struct tls_server *server); /* NULL is allowed */

/* The server's end on a connected, non-blocking socket that stays its owner's. direct: no
 * SSLRequest came before, so the handshake fails without the ALPN name "postgresql". */
struct tls *tls_accept(struct tls_server *server, int fd, bool direct);
bool tls_is_established(const struct tls *tls); /* the handshake is over */
/* The common name of the client's verified certificate, NUL-terminated; false if there
 * is none, or it is too long or has a NUL in it (CVE-2009-4034). */
bool tls_peer_common_name(const struct tls *tls, char *name, size_t size);

/* tls-server-end-point (RFC 5929): the digest of our own certificate and of the
 * peer's. The bytes written to out (at least 64), 0 if there is none: no certificate, or
 * one whose signature has no digest (Ed25519; PostgreSQL has no channel binding then). */
size_t tls_own_end_point(const struct tls *tls, uint8_t *out);
size_t tls_peer_end_point(const struct tls *tls, uint8_t *out);

#endif
