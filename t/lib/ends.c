/*
 * Ends: see ends.h. The client's reads and writes are OpenSSL's own; its failures
 * are kept, those of the server are proxy/tls.h's.
 */
#include "t/lib/ends.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

/* More than any handshake takes. */
#define TURNS 30

static struct certificates certificates;

struct certificates *ends_certificates(void)
{
	return &certificates;
}

const char *ends_file(const char *name)
{
	return certificates_file(&certificates, name);
}

void ends_setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	certificates_open(&certificates);
	certificates_make_usual(&certificates, "alice");
}

void ends_teardown(void)
{
	certificates_close(&certificates);
}

void ends_pair(int fds[2])
{
	int done = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds);

	cr_assert_eq(done, 0);
}

/* The usual certificate; *options has what differs. */
struct tls_server *ends_new_server(const struct tls_server_options *options)
{
	struct tls_server_options all = options ? *options : (struct tls_server_options){0};
	struct tls_server *server;
	char error[512];

	if (!all.cert_file)
		all.cert_file = ends_file("server.crt");
	if (!all.key_file)
		all.key_file = ends_file("server.key");
	server = tls_server_new(&all, error, sizeof(error));
	cr_assert(server, "%s", error);
	return server;
}

SSL *ends_new_client(const struct ends_client *client, int fd)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	char name[64];
	SSL *ssl;

	if (client->certificate) {
		snprintf(name, sizeof(name), "%s.crt", client->certificate);
		cr_assert(SSL_CTX_use_certificate_file(context, ends_file(name), SSL_FILETYPE_PEM));
		snprintf(name, sizeof(name), "%s.key", client->certificate);
		cr_assert(SSL_CTX_use_PrivateKey_file(context, ends_file(name), SSL_FILETYPE_PEM));
	}
	if (client->ciphers)
		cr_assert(SSL_CTX_set_cipher_list(context, client->ciphers));
	SSL_CTX_set_max_proto_version(context, client->max_version);
	ssl = SSL_new(context);
	SSL_CTX_free(context);
	SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (client->alpn)
		SSL_set_alpn_protos(ssl, (const uint8_t *)client->alpn,
		                    (unsigned)strlen(client->alpn));
	SSL_set_fd(ssl, fd);
	SSL_set_connect_state(ssl);
	return ssl;
}

/* The server's rules are gone at once: connections must not need them. */
struct ends ends_open(const struct tls_server_options *options, const struct ends_client *client)
{
	struct tls_server *server = ends_new_server(options);
	struct ends ends = {0};
	int fds[2];

	ends_pair(fds);
	ends.fd = fds[0];
	ends.client_fd = fds[1];
	ends.tls = tls_accept(server, ends.fd, client && client->direct);
	ends.ssl = ends_new_client(client ? client : &(struct ends_client){0}, ends.client_fd);
	tls_server_free(server);
	cr_assert(!tls_is_established(ends.tls));
	cr_assert_str_empty(tls_error(ends.tls));
	return ends;
}

void ends_close(struct ends *ends)
{
	tls_free(ends->tls);
	close(ends->fd);
	SSL_free(ends->ssl);
	close(ends->client_fd);
}

/* The client's handshake, then a look at what the server has to say: what fails, and how. */
void ends_client_turn(struct ends *ends)
{
	char byte;
	int n;

	if (ends->reason || ends->goodbye)
		return;
	ERR_clear_error();
	n = SSL_is_init_finished(ends->ssl) ? SSL_peek(ends->ssl, &byte, 1)
	                                    : SSL_do_handshake(ends->ssl);
	if (n > 0)
		return;
	n = SSL_get_error(ends->ssl, n);
	if (n == SSL_ERROR_SSL)
		ends->reason = ERR_GET_REASON(ERR_peek_error());
	ends->goodbye = n == SSL_ERROR_ZERO_RETURN;
	ERR_clear_error();
}

void ends_shake(struct ends *ends)
{
	char byte;

	for (int turn = 0; turn < TURNS; turn++) {
		ends_client_turn(ends);
		cr_assert_eq(tls_read(ends->tls, &byte, 1), -1);
		ends->error = errno;
		cr_assert(!tls_wants_write(ends->tls));
	}
}

struct ends ends_shaken(const struct tls_server_options *options, const struct ends_client *client)
{
	struct ends ends = ends_open(options, client);

	ends_shake(&ends);
	return ends;
}

static ssize_t client_write(void *ssl, const void *data, size_t len)
{
	int n = SSL_write(ssl, data, (int)len);

	if (n > 0)
		return n;
	cr_assert(SSL_want_write((SSL *)ssl) || SSL_want_read((SSL *)ssl));
	return -1;
}

static ssize_t client_read(void *ssl, void *data, size_t len)
{
	int n = SSL_read(ssl, data, (int)len);

	return n > 0 ? n : -1;
}

static ssize_t server_write(void *tls, const void *data, size_t len)
{
	ssize_t n = tls_write(tls, data, len);

	cr_assert(n > 0 || errno == EAGAIN, "%s", tls_error(tls));
	cr_assert_eq(tls_wants_write(tls), n < 0);
	cr_assert_leq(n, 16384, "what has left is counted at once");
	return n;
}

static ssize_t server_read(void *tls, void *data, size_t len)
{
	ssize_t n = tls_read(tls, data, len);

	cr_assert(n > 0 || errno == EAGAIN, "%s", tls_error(tls));
	return n;
}

/*
 * `len` bytes from one end to the other, offered in pieces. Each try of a write comes
 * from another buffer, as big as its contents, so that a sanitizer sees what is kept.
 */
static void transfer(ssize_t (*write_some)(void *, const void *, size_t), void *from,
                     ssize_t (*read_some)(void *, void *, size_t), void *to, size_t len,
                     size_t piece)
{
	size_t sent = 0, received = 0, held_up = 0;
	uint8_t got[70000], *data, *last = NULL;

	while (received < len) {
		ssize_t n = 0;

		while (sent < len && n >= 0) {
			size_t offered = len - sent < piece ? len - sent : piece;

			data = malloc(offered); /* while the last one is still there */
			free(last);
			last = data;
			for (size_t i = 0; i < offered; i++)
				data[i] = (uint8_t)((sent + i) * 7 / 5);
			n = write_some(from, data, offered);
			if (n > 0)
				sent += (size_t)n;
		}
		held_up += sent < len;
		n = read_some(to, got, sizeof(got));
		for (ssize_t i = 0; i < n; i++)
			cr_assert_eq(got[i], (uint8_t)((received + (size_t)i) * 7 / 5));
		if (n > 0)
			received += (size_t)n;
	}
	free(last);
	cr_assert_eq(read_some(to, got, 1), -1);
	cr_assert(len < 1000000 || held_up > 0, "the socket took everything at once");
}

void ends_transfer(struct ends *ends, size_t len, size_t piece)
{
	transfer(server_write, ends->tls, client_read, ends->ssl, len, piece);
	transfer(client_write, ends->ssl, server_read, ends->tls, len, piece);
}
