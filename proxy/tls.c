/*
 * TLS: see tls.h. Moving buffers and partial writes are switched on, because a
 * stream's buffer may move between two tries of the same write.
 */
#include "proxy/tls.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

struct tls {
	SSL *ssl;
	bool wants_write;
};

struct tls *tls_wrap(void *ssl)
{
	struct tls *tls = calloc(1, sizeof(*tls));

	if (!tls)
		abort();
	assert(ssl);
	tls->ssl = ssl;
	SSL_set_mode(tls->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return tls;
}

void tls_free(struct tls *tls)
{
	free(tls);
}

/* What read(2) or write(2) would have returned. */
static ssize_t result(struct tls *tls, int n)
{
	int error = errno;

	tls->wants_write = false;
	if (n > 0)
		return n;
	switch (SSL_get_error(tls->ssl, n)) {
	case SSL_ERROR_WANT_WRITE:
		tls->wants_write = true;
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_WANT_READ:
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		/* errno 0: the peer closed without a goodbye. The protocol above has its own
		 * end of message, so nothing can have been cut off unnoticed. */
		errno = error;
		return error ? -1 : 0;
	default:
		errno = EPROTO;
		return -1;
	}
}

ssize_t tls_read(struct tls *tls, void *data, size_t len)
{
	ERR_clear_error();
	errno = 0;
	return result(tls, SSL_read(tls->ssl, data, len > INT_MAX ? INT_MAX : (int)len));
}

ssize_t tls_write(struct tls *tls, const void *data, size_t len)
{
	ssize_t n;

	ERR_clear_error();
	errno = 0;
	n = result(tls, SSL_write(tls->ssl, data, len > INT_MAX ? INT_MAX : (int)len));
	if (n == 0) { /* the peer has said goodbye: nobody reads this any more */
		errno = EPIPE;
		return -1;
	}
	return n;
}

bool tls_pending(const struct tls *tls)
{
	return SSL_pending(tls->ssl) > 0;
}

bool tls_wants_write(const struct tls *tls)
{
	return tls->wants_write;
}
