/*
 * TLS: see tls.h. Moving buffers and partial writes are switched on, as a stream's buffer
 * may move between two tries of a write; empty ones are given back, as most are idle.
 *
 * Towards clients everything is as in PostgreSQL's be-secure-openssl.c: what is
 * negotiated, what is refused, and in which words. OpenSSL keeps its errors in a
 * queue of the thread: it is emptied before each call and read right after it.
 */
#include "proxy/tls.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

/* What a log line gives to a name from a client's certificate. */
#define SUBJECT_MAX 128

static const uint8_t alpn_name[] = "\012postgresql"; /* its length, then the name */
#define ALPN_LEN (sizeof(alpn_name) - 1)

struct tls {
	SSL *ssl;
	enum {
		TLS_HANDSHAKE,
		TLS_OPEN,
		TLS_FAILED, /* OpenSSL allows no further call but SSL_free() */
	} state;
	bool accepted; /* ssl is ours */
	bool direct;
	bool wants_write;
	char *error; /* NULL: none */
};

struct tls_server {
	SSL_CTX *context;
};

static void check_memory(bool enough)
{
	if (!enough)
		abort();
}

static struct tls *tls_new(SSL *ssl)
{
	struct tls *tls = calloc(1, sizeof(*tls));

	check_memory(tls != NULL);
	tls->ssl = ssl;
	SSL_set_mode(tls->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
	                           SSL_MODE_RELEASE_BUFFERS);
	return tls;
}

struct tls *tls_wrap(void *ssl)
{
	struct tls *tls;

	assert(ssl);
	tls = tls_new(ssl);
	tls->state = TLS_OPEN;
	return tls;
}

void tls_end(struct tls *tls)
{
	ERR_clear_error();
	if (tls->state == TLS_OPEN)
		SSL_shutdown(tls->ssl);
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	if (tls->accepted) {
		tls_end(tls);
		SSL_free(tls->ssl);
	}
	free(tls->error);
	free(tls);
}

/* ---- what went wrong ---- */

/* The first error in OpenSSL's queue; the rest is thrown away. */
static const char *take_reason(void)
{
	unsigned long code = ERR_get_error();
	const char *reason;

	ERR_clear_error();
	if (code == 0)
		return "no SSL error reported";
	if (ERR_SYSTEM_ERROR(code))
		return strerror(ERR_GET_REASON(code));
	reason = ERR_reason_error_string(code);
	return reason ? reason : "unknown SSL error";
}

/* The connection is over; EPROTO. What on_verify() has left in tls->error is appended. */
static int fail(struct tls *tls, const char *what, const char *reason)
{
	char *detail = tls->error;

	check_memory(asprintf(&tls->error, "%s%s%s%s", what, reason, detail ? ": " : "",
	                      detail ? detail : "") >= 0);
	free(detail);
	tls->state = TLS_FAILED;
	errno = EPROTO;
	return -1;
}

const char *tls_error(const struct tls *tls)
{
	return tls->error ? tls->error : "";
}

/* RFC 2253 escapes all that is not printable ASCII; the most specific part comes first. */
static void describe_subject(X509 *certificate, char *text, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int len;

	check_memory(bio != NULL);
	X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
	len = BIO_read(bio, text, (int)size - 1);
	text[len > 0 ? len : 0] = '\0';
	BIO_free(bio);
}

/* Called by OpenSSL for each certificate of a client's chain: says which one is wrong. */
static int on_verify(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	X509 *certificate = X509_STORE_CTX_get_current_cert(store);
	struct tls *tls = SSL_get_app_data(ssl);
	char subject[SUBJECT_MAX] = "";

	if (ok)
		return 1;
	if (certificate)
		describe_subject(certificate, subject, sizeof(subject));
	free(tls->error);
	check_memory(asprintf(&tls->error, "depth %d: %s (subject \"%s\")",
	                      X509_STORE_CTX_get_error_depth(store),
	                      X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)),
	                      subject) >= 0);
	return 0;
}

/* ---- handshake ---- */

/* The client's certificate if it was asked for and is good. */
static X509 *verified_peer(const struct tls *tls)
{
	if (SSL_get_verify_mode(tls->ssl) == SSL_VERIFY_NONE ||
	    SSL_get_verify_result(tls->ssl) != X509_V_OK)
		return NULL;
	return SSL_get0_peer_certificate(tls->ssl);
}

static ASN1_STRING *common_name(X509 *certificate)
{
	X509_NAME *subject = X509_get_subject_name(certificate);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

	return at < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
}

static bool has_nul(const ASN1_STRING *string)
{
	return memchr(ASN1_STRING_get0_data(string), '\0', (size_t)ASN1_STRING_length(string));
}

/* PostgreSQL as well looks at these once the handshake is over: no alert, a mere goodbye. */
static int check_established(struct tls *tls)
{
	X509 *certificate = verified_peer(tls);
	ASN1_STRING *name = certificate ? common_name(certificate) : NULL;
	const uint8_t *selected;
	unsigned len;

	tls->state = TLS_OPEN;
	SSL_get0_alpn_selected(tls->ssl, &selected, &len);
	if (tls->direct && len == 0)
		fail(tls, "received direct SSL connection request without ALPN protocol ",
		     "negotiation extension");
	else if (name && has_nul(name))
		fail(tls, "SSL certificate's common name contains embedded null", "");
	else
		return 0;
	SSL_shutdown(tls->ssl);
	ERR_clear_error();
	errno = EPROTO;
	return -1;
}

static int wait_for(struct tls *tls, bool writable)
{
	tls->wants_write = writable;
	errno = EAGAIN;
	return -1;
}

/* 0 once it is over; -1 with errno EAGAIN or EPROTO. OpenSSL has sent the alert by then. */
static int shake_hands(struct tls *tls)
{
	int n, error;

	if (tls->state == TLS_OPEN)
		return 0;
	ERR_clear_error();
	errno = 0;
	n = SSL_do_handshake(tls->ssl);
	error = errno;
	tls->wants_write = false;
	if (n == 1)
		return check_established(tls);
	switch (SSL_get_error(tls->ssl, n)) {
	case SSL_ERROR_WANT_WRITE:
		return wait_for(tls, true);
	case SSL_ERROR_WANT_READ:
		return wait_for(tls, false);
	case SSL_ERROR_SYSCALL:
	case SSL_ERROR_ZERO_RETURN:
		ERR_clear_error();
		return fail(tls, "could not accept SSL connection: ",
		            error ? strerror(error) : "EOF detected");
	default:
		return fail(tls, "could not accept SSL connection: ", take_reason());
	}
}

bool tls_is_established(const struct tls *tls)
{
	return tls->state == TLS_OPEN;
}

/* ---- bytes ---- */

/*
 * What read(2) or write(2) would have returned: 0 as well if the peer closed without a
 * goodbye (OpenSSL has two ways to say so). The protocol above has its own end of
 * message, so nothing can have been cut off unnoticed.
 */
static ssize_t result(struct tls *tls, int n)
{
	int error = errno;

	tls->wants_write = false;
	if (n > 0)
		return n;
	switch (SSL_get_error(tls->ssl, n)) {
	case SSL_ERROR_WANT_WRITE:
		return wait_for(tls, true);
	case SSL_ERROR_WANT_READ:
		return wait_for(tls, false);
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		/* Not TLS_FAILED: after a failed write, what the peer said before can be read. */
		ERR_clear_error();
		errno = error;
		return error ? -1 : 0;
	default:
		if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
			ERR_clear_error();
			tls->state = TLS_FAILED;
			return 0;
		}
		return fail(tls, "SSL error: ", take_reason());
	}
}

/* -1 with errno if no byte can pass: the handshake goes on or has failed. */
static int prepare(struct tls *tls)
{
	if (tls->state == TLS_FAILED) {
		errno = EPROTO;
		return -1;
	}
	if (shake_hands(tls) < 0)
		return -1;
	ERR_clear_error();
	errno = 0;
	return 0;
}

ssize_t tls_read(struct tls *tls, void *data, size_t len)
{
	assert(len > 0);
	if (prepare(tls) < 0)
		return -1;
	return result(tls, SSL_read(tls->ssl, data, len > INT_MAX ? INT_MAX : (int)len));
}

ssize_t tls_write(struct tls *tls, const void *data, size_t len)
{
	ssize_t n;

	assert(len > 0);
	if (prepare(tls) < 0)
		return -1;
	/* A record at a time: after an EAGAIN OpenSSL reports nothing of a longer write until
	 * all of it has left, and the stream would hold on to what is gone. */
	if (len > SSL3_RT_MAX_PLAIN_LENGTH)
		len = SSL3_RT_MAX_PLAIN_LENGTH;
	n = result(tls, SSL_write(tls->ssl, data, (int)len));
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

/* ---- the server's rules ---- */

struct message {
	char *text;
	size_t size;
};

/* false, with the reason in error. */
#define REFUSE(error, ...) (snprintf((error)->text, (error)->size, __VA_ARGS__), false)

static bool is_given(const char *option)
{
	return option && *option;
}

/* Instead of OpenSSL's default, which asks at the terminal. */
static int on_passphrase(char *buffer, int size, int for_writing, void *asked)
{
	(void)for_writing;
	(void)buffer;
	(void)size;
	*(bool *)asked = true;
	return -1;
}

static bool check_key_permissions(const char *file, struct message *error)
{
	struct stat status;
	mode_t forbidden;

	if (stat(file, &status) != 0)
		return REFUSE(error, "could not access private key file \"%s\": %s", file,
		              strerror(errno));
	if (!S_ISREG(status.st_mode))
		return REFUSE(error, "private key file \"%s\" is not a regular file", file);
	if (status.st_uid != geteuid() && status.st_uid != 0)
		return REFUSE(error,
		              "private key file \"%s\" must be owned by the database user or root",
		              file);
	/* root's files may be shared with a group of those who use the system's certificates */
	forbidden = status.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
	if (status.st_mode & forbidden)
		return REFUSE(error,
		              "private key file \"%s\" has group or world access: File must have "
		              "permissions u=rw (0600) or less if owned by the database user, or "
		              "permissions u=rw,g=r (0640) or less if owned by root.",
		              file);
	return true;
}

static bool load_key(SSL_CTX *context, const char *cert_file, const char *key_file,
                     struct message *error)
{
	bool asked = false;
	int loaded;

	if (!is_given(cert_file) || !is_given(key_file))
		return REFUSE(error,
		              "a certificate file and a private key file are needed for TLS");
	SSL_CTX_set_default_passwd_cb(context, on_passphrase);
	SSL_CTX_set_default_passwd_cb_userdata(context, &asked);
	if (SSL_CTX_use_certificate_chain_file(context, cert_file) != 1)
		return REFUSE(error, "could not load server certificate file \"%s\": %s", cert_file,
		              take_reason());
	if (!check_key_permissions(key_file, error))
		return false;
	loaded = SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM);
	SSL_CTX_set_default_passwd_cb_userdata(context, NULL);
	if (loaded != 1 && asked)
		return REFUSE(error,
		              "private key file \"%s\" cannot be loaded because it requires a "
		              "passphrase: openssl pkey removes it",
		              key_file);
	if (loaded != 1) /* or it does not fit the certificate */
		return REFUSE(error, "could not load private key file \"%s\": %s", key_file,
		              take_reason());
	return true;
}

static bool set_min_version(SSL_CTX *context, const char *name, struct message *error)
{
	static const struct {
		const char *name;
		int version;
	} versions[] = {
	    {"TLSv1", TLS1_VERSION},
	    {"TLSv1.1", TLS1_1_VERSION},
	    {"TLSv1.2", TLS1_2_VERSION},
	    {"TLSv1.3", TLS1_3_VERSION},
	};

	if (!is_given(name))
		name = "TLSv1.2";
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		if (strcmp(versions[i].name, name) != 0)
			continue;
		if (SSL_CTX_set_min_proto_version(context, versions[i].version) == 1)
			return true;
		return REFUSE(error, "could not set minimum SSL protocol version \"%s\"", name);
	}
	return REFUSE(error, "\"%s\" is no TLS version: TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3", name);
}

/* With a client that offers names, ours must be among them (RFC 7301). */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *offered, unsigned offered_len, void *arg)
{
	unsigned char *name;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&name, out_len, alpn_name, ALPN_LEN, offered, offered_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = name;
	return SSL_TLSEXT_ERR_OK;
}

static bool set_rules(SSL_CTX *context, const struct tls_server_options *options,
                      struct message *error)
{
	if (!set_min_version(context, options->min_version, error))
		return false;
	/* No resumption in any form: a session must not outlive its certificate's check. */
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
	                                 SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_num_tickets(context, 0);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_dh_auto(context, 1);
	SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
	if (is_given(options->ciphers) && SSL_CTX_set_cipher_list(context, options->ciphers) != 1)
		return REFUSE(error,
		              "could not set the cipher list \"%s\" (no valid ciphers available)",
		              options->ciphers);
	return true;
}

static bool load_authorities(SSL_CTX *context, const struct tls_server_options *options,
                             struct message *error)
{
	int mode = SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE;
	STACK_OF(X509_NAME) * names;

	if (!is_given(options->ca_file)) {
		if (options->verify == TLS_VERIFY_NONE)
			return true;
		return REFUSE(error, "client certificates can only be checked if a root "
		                     "certificate store is available");
	}
	if (SSL_CTX_load_verify_locations(context, options->ca_file, NULL) != 1 ||
	    !(names = SSL_load_client_CA_file(options->ca_file)))
		return REFUSE(error, "could not load root certificate file \"%s\": %s",
		              options->ca_file, take_reason());
	/* Sent to clients, so that one with several certificates can choose. */
	SSL_CTX_set_client_CA_list(context, names);
	if (options->verify == TLS_VERIFY_DEMAND)
		mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	SSL_CTX_set_verify(context, mode, on_verify);
	return true;
}

static bool load_revoked(SSL_CTX *context, const char *crl_file, struct message *error)
{
	X509_STORE *store = SSL_CTX_get_cert_store(context);

	if (!is_given(crl_file))
		return true;
	if (X509_STORE_load_locations(store, crl_file, NULL) != 1)
		return REFUSE(error,
		              "could not load SSL certificate revocation list file \"%s\": %s",
		              crl_file, take_reason());
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return true;
}

struct tls_server *tls_server_new(const struct tls_server_options *options, char *error,
                                  size_t error_size)
{
	struct message message = {error, error_size};
	struct tls_server *server = calloc(1, sizeof(*server));

	check_memory(server != NULL);
	ERR_clear_error();
	server->context = SSL_CTX_new(TLS_server_method());
	check_memory(server->context != NULL);
	if (!load_key(server->context, options->cert_file, options->key_file, &message) ||
	    !set_rules(server->context, options, &message) ||
	    !load_authorities(server->context, options, &message) ||
	    !load_revoked(server->context, options->crl_file, &message)) {
		tls_server_free(server);
		server = NULL;
	}
	ERR_clear_error();
	return server;
}

void tls_server_free(struct tls_server *server)
{
	if (!server)
		return;
	SSL_CTX_free(server->context);
	free(server);
}

struct tls *tls_accept(struct tls_server *server, int fd, bool direct)
{
	SSL *ssl = SSL_new(server->context);
	struct tls *tls;

	check_memory(ssl != NULL);
	tls = tls_new(ssl);
	tls->state = TLS_HANDSHAKE;
	tls->accepted = true;
	tls->direct = direct;
	SSL_set_app_data(ssl, tls);
	SSL_set_accept_state(ssl);
	check_memory(SSL_set_fd(ssl, fd) == 1);
	return tls;
}

/* ---- who is there ---- */

bool tls_peer_common_name(const struct tls *tls, char *name, size_t size)
{
	X509 *certificate = tls->state == TLS_OPEN ? verified_peer(tls) : NULL;
	ASN1_STRING *string = certificate ? common_name(certificate) : NULL;
	size_t len;

	if (!string || has_nul(string))
		return false;
	len = (size_t)ASN1_STRING_length(string);
	if (len >= size)
		return false;
	memcpy(name, ASN1_STRING_get0_data(string), len);
	name[len] = '\0';
	return true;
}

/* The digest of the signature, or SHA-256 where that is MD5 or SHA-1 (RFC 5929, 4.1).
 * Ed25519 names none: PostgreSQL and libpq then fail; here there is no end point. */
static size_t end_point(X509 *certificate, uint8_t *out)
{
	const EVP_MD *digest;
	unsigned len;
	int nid;

	if (!certificate || !X509_get_signature_info(certificate, &nid, NULL, NULL, NULL))
		return 0;
	if (nid == NID_md5 || nid == NID_sha1)
		nid = NID_sha256;
	digest = EVP_get_digestbynid(nid);
	if (!digest || !X509_digest(certificate, digest, out, &len))
		return 0;
	return len;
}

size_t tls_own_end_point(const struct tls *tls, uint8_t *out)
{
	return end_point(SSL_get_certificate(tls->ssl), out);
}

size_t tls_peer_end_point(const struct tls *tls, uint8_t *out)
{
	return end_point(SSL_get0_peer_certificate(tls->ssl), out);
}
