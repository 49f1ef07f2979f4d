/*
 * TLS: OpenSSL's door: no other file includes <openssl/ssl.h>.
 *
 * Today: speaks on a TLS session that libpq has already established (its SSL*
 * handed over by proxy/pq.c). Reading and writing follow read(2) and write(2):
 * -1 with errno EAGAIN when the socket has to become readable or writable first
 * (want_write tells which), 0 at the peer's end.
 */
#ifndef PROXY_TLS_H
#define PROXY_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tls;

/* ssl is an OpenSSL SSL* that stays its owner's. */
struct tls *tls_wrap(void *ssl);
void tls_free(struct tls *tls); /* NULL is allowed; the wrapped SSL* lives on */

ssize_t tls_read(struct tls *tls, void *data, size_t len);
ssize_t tls_write(struct tls *tls, const void *data, size_t len);
/* Decrypted bytes are waiting although the socket may not be readable. */
bool tls_pending(const struct tls *tls);
/* The last EAGAIN waits for the socket to become writable. */
bool tls_wants_write(const struct tls *tls);

#endif
