/*
 * Tests of proxy/tls: bytes both ways, what is negotiated with a client and what is
 * refused, and what comes instead of a handshake.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "proxy/tls.h"
#include "t/lib/certificates.h"
#include "t/lib/ends.h"

TestSuite(tls, .init = ends_setup, .fini = ends_teardown, .timeout = 60);

/* ---- bytes ---- */

ParameterizedTestParameters(tls, bytes_pass_in_pieces_of_any_size)
{
	static int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

	return cr_make_param_array(int, versions, 2);
}

ParameterizedTest(int *version, tls, bytes_pass_in_pieces_of_any_size)
{
	struct ends ends = ends_shaken(NULL, &(struct ends_client){.max_version = *version});

	ESTABLISHED(&ends);
	cr_assert_eq(SSL_version(ends.ssl), *version);
	ends_transfer(&ends, 300, 1);
	ends_transfer(&ends, 100000, 777);
	ends_transfer(&ends, 3000000, 1000000);
	ends_transfer(&ends, 1, 1);
	ends_close(&ends);
}

Test(tls, a_large_write_is_taken_a_record_at_a_time)
{
	struct ends ends = ends_shaken(NULL, NULL);
	static char data[100000];

	ESTABLISHED(&ends);
	cr_assert_eq(tls_write(ends.tls, data, sizeof(data)), 16384);
	ends_close(&ends);
}

Test(tls, bytes_that_came_in_one_record_are_pending_until_they_are_read)
{
	struct ends ends = ends_shaken(NULL, NULL);
	char byte[4];

	ESTABLISHED(&ends);
	cr_assert(!tls_pending(ends.tls));
	cr_assert_eq(SSL_write(ends.ssl, "abc", 3), 3);
	cr_assert_eq(tls_read(ends.tls, byte, 1), 1);
	cr_assert(tls_pending(ends.tls));
	cr_assert_eq(tls_read(ends.tls, byte + 1, 3), 2);
	cr_assert(!tls_pending(ends.tls));
	cr_assert_arr_eq(byte, "abc", 3);
	ends_close(&ends);
}

Test(tls, a_client_may_write_before_it_has_read_all_of_the_handshake)
{
	struct ends ends = ends_open(NULL, NULL);
	char data[8];

	while (SSL_do_handshake(ends.ssl) != 1)
		cr_assert_eq(tls_read(ends.tls, data, sizeof(data)), -1);
	cr_assert(!tls_is_established(ends.tls));
	cr_assert_eq(SSL_write(ends.ssl, "first", 5), 5);
	cr_assert_eq(tls_read(ends.tls, data, sizeof(data)), 5);
	cr_assert(tls_is_established(ends.tls));
	ends_close(&ends);
}

Test(tls, new_keys_in_the_middle_are_not_noticed)
{
	struct ends ends = ends_shaken(NULL, &(struct ends_client){.max_version = TLS1_3_VERSION});

	for (int i = 0; i < 5; i++) {
		cr_assert(SSL_key_update(ends.ssl, SSL_KEY_UPDATE_REQUESTED));
		ends_transfer(&ends, 1000, 100);
	}
	ends_close(&ends);
}

Test(tls, a_client_that_leaves_with_or_without_a_goodbye_has_ended)
{
	for (int goodbye = 0; goodbye <= 1; goodbye++) {
		struct ends ends = ends_shaken(NULL, NULL);
		char byte;

		ESTABLISHED(&ends);
		if (goodbye)
			SSL_shutdown(ends.ssl);
		shutdown(ends.client_fd, SHUT_RDWR);
		cr_assert_eq(tls_read(ends.tls, &byte, 1), 0);
		cr_assert_eq(tls_write(ends.tls, "x", 1), -1);
		cr_assert_str_empty(tls_error(ends.tls));
		ends_close(&ends);
	}
}

Test(tls, what_a_client_said_before_it_left_can_be_read_after_a_write_has_failed)
{
	struct ends ends = ends_shaken(NULL, NULL);
	char data[8];

	ESTABLISHED(&ends);
	cr_assert_eq(SSL_write(ends.ssl, "last", 4), 4);
	close(ends.client_fd);
	cr_assert_eq(tls_write(ends.tls, "x", 1), -1);
	cr_assert_eq(errno, EPIPE);
	cr_assert_eq(tls_read(ends.tls, data, sizeof(data)), 4);
	cr_assert_eq(tls_read(ends.tls, data, sizeof(data)), 0);
	ends.client_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ends_close(&ends);
}

Test(tls, a_client_gets_a_goodbye)
{
	struct ends ends = ends_shaken(NULL, NULL);

	ESTABLISHED(&ends);
	tls_free(ends.tls);
	ends.tls = NULL;
	ends_client_turn(&ends);
	cr_assert(ends.goodbye);
	ends_close(&ends);
}

Test(tls, broken_records_end_the_connection_with_an_alert)
{
	struct ends ends = ends_shaken(NULL, NULL);
	static const uint8_t record[] = "\x17\x03\x03\x00\x20"
					"abcdefghijklmnopqrstuvwxyz012345";
	char byte;

	cr_assert_eq(send(ends.client_fd, record, sizeof(record) - 1, 0), sizeof(record) - 1);
	cr_assert_eq(tls_read(ends.tls, &byte, 1), -1);
	cr_assert_eq(errno, EPROTO);
	cr_assert_str_eq(tls_error(ends.tls), "SSL error: decryption failed or bad record mac");
	ends_client_turn(&ends);
	cr_assert_eq(ends.reason, SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
	ends_close(&ends);
}

/* ---- what is negotiated ---- */

Test(tls, a_version_below_the_minimum_is_refused)
{
	struct tls_server_options options = {.min_version = "TLSv1.3"};
	struct ends ends =
	    ends_shaken(&options, &(struct ends_client){.max_version = TLS1_2_VERSION});

	FAILED(&ends, "could not accept SSL connection: unsupported protocol");
	cr_assert_eq(ends.reason, SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
	ends_close(&ends);
	ends = ends_shaken(&options, NULL);
	ESTABLISHED(&ends);
	ends_close(&ends);
}

Test(tls, the_default_minimum_is_version_1_2)
{
	struct ends_client old = {.max_version = TLS1_1_VERSION,
	                          .ciphers = "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"};
	struct ends ends = ends_shaken(NULL, &old);

	FAILED(&ends, "could not accept SSL connection: unsupported protocol");
	ends_close(&ends);
	/* and an old client can be let in */
	ends = ends_shaken(&(struct tls_server_options){.min_version = "TLSv1.1",
	                                                .ciphers = "DEFAULT:@SECLEVEL=0"},
	                   &old);
	ESTABLISHED(&ends);
	cr_assert_eq(SSL_version(ends.ssl), TLS1_1_VERSION);
	ends_close(&ends);
}

Test(tls, the_server_chooses_among_its_ciphers)
{
	struct tls_server_options options = {
	    .ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384"};
	struct ends_client client = {
	    .max_version = TLS1_2_VERSION,
	    .ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
		       "ECDHE-ECDSA-CHACHA20-POLY1305"};
	struct ends ends = ends_shaken(&options, &client);

	ESTABLISHED(&ends);
	cr_assert_str_eq(SSL_get_cipher_name(ends.ssl), "ECDHE-ECDSA-CHACHA20-POLY1305");
	ends_close(&ends);
	client.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
	ends = ends_shaken(&options, &client);
	FAILED(&ends, "could not accept SSL connection: no shared cipher");
	cr_assert_eq(ends.reason, SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE);
	ends_close(&ends);
}

Test(tls, renegotiation_and_compression_are_refused)
{
	struct ends ends = ends_shaken(NULL, &(struct ends_client){.max_version = TLS1_2_VERSION});
	char byte;

	ESTABLISHED(&ends);
	cr_assert_null(SSL_get_current_compression(ends.ssl));
	SSL_renegotiate(ends.ssl);
	SSL_do_handshake(ends.ssl);
	cr_assert_eq(tls_read(ends.tls, &byte, 1), -1);
	cr_assert_eq(errno, EAGAIN);
	ERR_clear_error();
	cr_assert_eq(SSL_do_handshake(ends.ssl), -1);
	cr_assert_eq(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
	ends_close(&ends);
}

Test(tls, no_session_is_resumed)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

	for (int i = 0; i < 2; i++) {
		struct ends ends =
		    ends_shaken(NULL, &(struct ends_client){.max_version = versions[i]});
		SSL_SESSION *session = SSL_get1_session(ends.ssl);

		ESTABLISHED(&ends);
		cr_assert(!SSL_SESSION_is_resumable(session));
		cr_assert(!SSL_SESSION_has_ticket(session));
		SSL_SESSION_free(session);
		ends_close(&ends);
	}
}

/* ---- ALPN ---- */

Test(tls, the_name_postgresql_is_chosen)
{
	struct ends_client client = {.alpn = "\004http\012postgresql"};

	for (int direct = 0; direct <= 1; direct++) {
		const uint8_t *name;
		struct ends ends;
		unsigned len;

		client.direct = direct;
		ends = ends_shaken(NULL, &client);
		ESTABLISHED(&ends);
		SSL_get0_alpn_selected(ends.ssl, &name, &len);
		cr_assert_eq(len, 10);
		cr_assert_arr_eq(name, "postgresql", 10);
		ends_close(&ends);
	}
}

Test(tls, a_client_that_offers_other_names_only_is_refused)
{
	for (int direct = 0; direct <= 1; direct++) {
		struct ends_client client = {.alpn = "\002h2\012postgresqm\011postgresq",
		                             .direct = direct};
		struct ends ends = ends_shaken(NULL, &client);

		FAILED(&ends, "could not accept SSL connection: no application protocol");
		cr_assert_eq(ends.reason, SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
		ends_close(&ends);
	}
}

Test(tls, without_a_name_only_a_client_that_asked_first_is_let_in)
{
	struct ends ends = ends_shaken(NULL, NULL);

	ESTABLISHED(&ends);
	ends_close(&ends);
	for (int i = 0; i < 2; i++) {
		ends =
		    ends_shaken(NULL, &(struct ends_client){.direct = true,
		                                            .max_version = i ? TLS1_2_VERSION : 0});
		FAILED(&ends, "received direct SSL connection request without ALPN protocol "
		              "negotiation extension");
		cr_assert(ends.goodbye);
		ends_close(&ends);
	}
}

/* ---- no handshake ---- */

Test(tls, garbage_instead_of_a_handshake_is_refused)
{
	static const char *const garbage[] = {
	    "GET / HTTP/1.0\r\n\r\n", "\200\34\1\3\1 and so on and so on and so on",
	    "\26\3\1\377\377 a record that is too long", "\26\3\1\1\4\1\177\377\377xx",
	    "\25\3\1\1\2\2\50 an alert first, then more"};

	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
		struct ends ends = ends_open(NULL, NULL);
		char byte;

		cr_assert_gt(send(ends.client_fd, garbage[i], strlen(garbage[i]), 0), 0);
		shutdown(ends.client_fd, SHUT_WR);
		cr_assert_eq(tls_read(ends.tls, &byte, 1), -1);
		ends.error = errno;
		cr_assert(strstr(tls_error(ends.tls), "could not accept SSL connection: ") &&
		              !strchr(tls_error(ends.tls), '\n'),
		          "%zu: %s", i, tls_error(ends.tls));
		FAILED(&ends, tls_error(ends.tls));
		ends_close(&ends);
	}
}

static size_t client_hello(uint8_t *data, size_t size)
{
	int fds[2];
	SSL *ssl;
	ssize_t n;

	ends_pair(fds);
	ssl = ends_new_client(&(struct ends_client){.alpn = "\012postgresql"}, fds[1]);
	cr_assert_eq(SSL_do_handshake(ssl), -1);
	n = recv(fds[0], data, size, 0);
	cr_assert(n > 100 && (size_t)n < size);
	SSL_free(ssl);
	close(fds[0]);
	close(fds[1]);
	return (size_t)n;
}

Test(tls, a_client_may_leave_at_each_byte_of_its_hello)
{
	struct tls_server *server = ends_new_server(NULL);
	uint8_t hello[4096];
	size_t len = client_hello(hello, sizeof(hello));

	for (size_t cut = 0; cut <= len; cut++) {
		struct tls *tls;
		int fds[2];
		char byte;

		ends_pair(fds);
		tls = tls_accept(server, fds[0], true);
		cr_assert(cut == 0 || send(fds[1], hello, cut, 0) == (ssize_t)cut);
		if (cut % 2) {
			cr_assert_eq(tls_read(tls, &byte, 1), -1);
			cr_assert_eq(errno, EAGAIN);
		}
		close(fds[1]);
		cr_assert_eq(tls_read(tls, &byte, 1), -1);
		cr_assert_eq(errno, EPROTO, "%zu", cut);
		cr_assert(strstr(tls_error(tls), "could not accept SSL connection: "));
		tls_free(tls);
		close(fds[0]);
	}
	tls_server_free(server);
}

Test(tls, a_hello_may_come_byte_by_byte)
{
	struct tls_server *server = ends_new_server(NULL);
	uint8_t hello[4096];
	size_t len = client_hello(hello, sizeof(hello));
	struct tls *tls;
	int fds[2];
	char byte;

	ends_pair(fds);
	tls = tls_accept(server, fds[0], false);
	for (size_t i = 0; i < len; i++) {
		cr_assert_eq(recv(fds[1], &byte, 1, 0), -1);
		cr_assert_eq(send(fds[1], hello + i, 1, 0), 1);
		cr_assert_eq(tls_read(tls, &byte, 1), -1);
		cr_assert_eq(errno, EAGAIN);
	}
	cr_assert_eq(recv(fds[1], &byte, 1, 0), 1); /* ServerHello */
	cr_assert_eq(byte, 22);
	tls_free(tls);
	tls_server_free(server);
	close(fds[0]);
	close(fds[1]);
}

Test(tls, a_handshake_waits_while_the_socket_takes_nothing)
{
	struct ends ends = ends_open(NULL, NULL);
	size_t filled = 0;
	char byte = 'x';

	ends_client_turn(&ends);
	while (send(ends.fd, &byte, 1, 0) == 1)
		filled++;
	cr_assert_eq(tls_read(ends.tls, &byte, 1), -1);
	cr_assert_eq(errno, EAGAIN);
	cr_assert(tls_wants_write(ends.tls));
	while (filled-- > 0)
		cr_assert_eq(recv(ends.client_fd, &byte, 1, 0), 1);
	ends_shake(&ends);
	ESTABLISHED(&ends);
	ends_close(&ends);
}

Test(tls, a_write_before_the_handshake_waits_for_it)
{
	struct ends ends = ends_open(NULL, NULL);
	char data[8];

	cr_assert_eq(tls_write(ends.tls, "early", 5), -1);
	cr_assert_eq(errno, EAGAIN);
	cr_assert(!tls_wants_write(ends.tls));
	ends_shake(&ends);
	ESTABLISHED(&ends);
	cr_assert_eq(tls_write(ends.tls, "early", 5), 5);
	cr_assert_eq(SSL_read(ends.ssl, data, sizeof(data)), 5);
	ends_close(&ends);
}
