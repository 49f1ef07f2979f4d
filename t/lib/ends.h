/*
 * Ends: both ends of a TLS connection in one process, over a socket pair: proxy/tls's
 * towards clients, and a client made of OpenSSL. Neither ever waits: they take turns,
 * so that what happens is always the same. Only for tests of proxy/tls.
 *
 * What must hold is asserted; a test fails there.
 */
#ifndef T_LIB_ENDS_H
#define T_LIB_ENDS_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/ssl.h>

#include "proxy/tls.h"
#include "t/lib/certificates.h"

/* Of a test: the usual certificates for "alice", in a folder of its own. */
void ends_setup(void);
void ends_teardown(void);
struct certificates *ends_certificates(void);
/* certificates_file() */
const char *ends_file(const char *name);

struct ends_client {
	const char *certificate; /* NULL: none */
	const char *alpn;        /* with the lengths in front; NULL: none */
	const char *ciphers;     /* NULL: OpenSSL's */
	int max_version;         /* 0: the newest */
	bool direct;             /* the server knows of no SSLRequest */
};

struct ends {
	struct tls *tls; /* the server's */
	SSL *ssl;        /* the client's */
	int fd, client_fd;
	int error;    /* errno of the server's last read in ends_shake() */
	int reason;   /* OpenSSL's, of the client's failure; 0: none */
	bool goodbye; /* the client got a close_notify */
};

/* options, client: NULL: nothing special. A certificate that is not given is "server". */
struct ends ends_open(const struct tls_server_options *options, const struct ends_client *client);
void ends_close(struct ends *ends);
/* The handshake, until neither gets any further; FAILED and ESTABLISHED tell. */
void ends_shake(struct ends *ends);
struct ends ends_shaken(const struct tls_server_options *options, const struct ends_client *client);
/* The client goes on with the handshake, then looks for what the server says. */
void ends_client_turn(struct ends *ends);
/* So many bytes from the server to the client, then back, offered in such pieces. */
void ends_transfer(struct ends *ends, size_t len, size_t piece);

/* The parts. */
void ends_pair(int fds[2]);
struct tls_server *ends_new_server(const struct tls_server_options *options);
SSL *ends_new_client(const struct ends_client *client, int fd);

#define ESTABLISHED(ends)                                                                          \
	do {                                                                                       \
		cr_assert(tls_is_established((ends)->tls), "%s", tls_error((ends)->tls));          \
		cr_assert_eq((ends)->error, EAGAIN);                                               \
		cr_assert(SSL_is_init_finished((ends)->ssl));                                      \
		cr_assert_eq((ends)->reason, 0);                                                   \
	} while (0)

#define FAILED(ends, message)                                                                      \
	do {                                                                                       \
		cr_assert(!tls_is_established((ends)->tls));                                       \
		cr_assert_eq((ends)->error, EPROTO);                                               \
		cr_assert_str_eq(tls_error((ends)->tls), message);                                 \
		cr_assert_eq(tls_write((ends)->tls, "x", 1), -1);                                  \
		cr_assert_eq(errno, EPROTO);                                                       \
	} while (0)

#endif
