/*
 * Tests of proxy/tls: certificates: the server's own files and the settings, those
 * of clients, and the end points of channel binding.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
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

static char error[512];

TestSuite(tls_certificates, .init = ends_setup, .fini = ends_teardown, .timeout = 60);

/* ---- files and settings ---- */

#define REFUSED(options, ...)                                                                      \
	do {                                                                                       \
		char expected[512];                                                                \
		snprintf(expected, sizeof(expected), __VA_ARGS__);                                 \
		cr_assert_null(tls_server_new(options, error, sizeof(error)));                     \
		cr_assert_str_eq(error, expected);                                                 \
		cr_assert_eq(ERR_peek_error(), 0);                                                 \
	} while (0)

static struct tls_server_options usual_options(void)
{
	struct tls_server_options options = {0};

	options.cert_file = ends_file("server.crt");
	options.key_file = ends_file("server.key");
	return options;
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	cr_assert(file);
	fputs(text, file);
	fclose(file);
	cr_assert_eq(chmod(path, 0600), 0);
}

Test(tls_certificates, a_file_that_is_missing_is_named)
{
	struct tls_server_options options = usual_options();
	const char *missing = ends_file("missing");

	options.cert_file = missing;
	REFUSED(&options,
	        "could not load server certificate file \"%s\": No such file or directory",
	        missing);
	options = usual_options();
	options.key_file = missing;
	REFUSED(&options, "could not access private key file \"%s\": No such file or directory",
	        missing);
	options = usual_options();
	options.ca_file = missing;
	REFUSED(&options, "could not load root certificate file \"%s\": No such file or directory",
	        missing);
	options = usual_options();
	options.crl_file = missing;
	REFUSED(&options,
	        "could not load SSL certificate revocation list file \"%s\": "
	        "No such file or directory",
	        missing);
	options = usual_options();
	options.key_file = "";
	REFUSED(&options, "a certificate file and a private key file are needed for TLS");
}

Test(tls_certificates, a_file_with_something_else_in_it_is_named)
{
	struct tls_server_options options = usual_options();
	const char *other = ends_file("other");

	write_file(other, "nonsense\n");
	options.cert_file = other;
	REFUSED(&options, "could not load server certificate file \"%s\": no start line", other);
	options = usual_options();
	options.key_file = other;
	cr_assert_null(tls_server_new(&options, error, sizeof(error)));
	cr_assert(strstr(error, "could not load private key file"), "%s", error);
	options = usual_options();
	options.ca_file = other;
	cr_assert_null(tls_server_new(&options, error, sizeof(error)));
	cr_assert(strstr(error, "could not load root certificate file"), "%s", error);
	options = usual_options();
	options.key_file = ends_certificates()->folder;
	REFUSED(&options, "private key file \"%s\" is not a regular file",
	        ends_certificates()->folder);
}

Test(tls_certificates, a_key_that_others_may_read_is_refused)
{
	struct tls_server_options options = usual_options();
	/* of the last octal digits: group and others; root may let its group read */
	static const mode_t bad[] = {0660, 0650, 0604, 0602, 0601, 0644, 0666};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert_eq(chmod(options.key_file, bad[i]), 0);
		REFUSED(&options,
		        "private key file \"%s\" has group or world access: File must have "
		        "permissions u=rw (0600) or less if owned by the database user, or "
		        "permissions u=rw,g=r (0640) or less if owned by root.",
		        options.key_file);
	}
	cr_assert_eq(chmod(options.key_file, 0640), 0);
	if (geteuid() == 0)
		tls_server_free(ends_new_server(&options));
	else
		cr_assert_null(tls_server_new(&options, error, sizeof(error)));
	cr_assert_eq(chmod(options.key_file, 0400), 0);
	tls_server_free(ends_new_server(&options));
}

Test(tls_certificates, a_key_of_another_user_is_refused)
{
	struct tls_server_options options = usual_options();

	if (chown(options.key_file, 12345, (gid_t)-1) != 0) {
		printf("SKIP: a_key_of_another_user_is_refused: only root may give files away\n");
		return;
	}
	REFUSED(&options, "private key file \"%s\" must be owned by the database user or root",
	        options.key_file);
}

Test(tls_certificates, a_key_with_a_passphrase_is_refused_and_nobody_is_asked)
{
	struct tls_server_options options = usual_options();
	struct certificate secret = {.name = "secret", .passphrase = "sesame"};

	certificates_make(ends_certificates(), &secret);
	options.cert_file = ends_file("secret.crt");
	options.key_file = ends_file("secret.key");
	REFUSED(&options,
	        "private key file \"%s\" cannot be loaded because it requires a passphrase: "
	        "openssl pkey removes it",
	        options.key_file);
}

Test(tls_certificates, a_key_that_does_not_fit_the_certificate_is_refused)
{
	struct tls_server_options options = usual_options();

	options.key_file = ends_file("client.key");
	cr_assert_null(tls_server_new(&options, error, sizeof(error)));
	cr_assert(strstr(error, "key values mismatch") && strstr(error, options.key_file), "%s",
	          error);
}

Test(tls_certificates, settings_that_make_no_sense_are_refused)
{
	struct tls_server_options options = usual_options();

	options.min_version = "TLSv1.4";
	REFUSED(&options, "\"TLSv1.4\" is no TLS version: TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3");
	options = usual_options();
	options.ciphers = "NONSENSE";
	REFUSED(&options,
	        "could not set the cipher list \"NONSENSE\" (no valid ciphers available)");
	options = usual_options();
	options.verify = TLS_VERIFY_DEMAND;
	REFUSED(&options, "client certificates can only be checked if a root certificate store "
	                  "is available");
}
/* ---- client certificates ---- */

struct verification {
	enum tls_verify verify;
	bool ca;
	char certificate[16]; /* "": none */
	char user[16];        /* tls_peer_common_name(), "": none; or */
	char message[128];    /* of the server's failure, "": none */
	int reason;           /* of the client's */
};

#define VERIFY_FAILED "could not accept SSL connection: certificate verify failed: "

ParameterizedTestParameters(tls_certificates, client_certificates_are_checked)
{
	static struct verification all[] = {
	    {TLS_VERIFY_NONE, false, "", "", "", 0},
	    {TLS_VERIFY_NONE, false, "client", "", "", 0}, /* not asked for */
	    {TLS_VERIFY_NONE, true, "", "", "", 0},
	    {TLS_VERIFY_NONE, true, "client", "alice", "", 0},
	    {TLS_VERIFY_NONE, true, "foreigner", "",
	     VERIFY_FAILED "depth 0: unable to get local issuer certificate (subject \"CN=alice\")",
	     SSL_R_TLSV1_ALERT_UNKNOWN_CA},
	    {TLS_VERIFY_DEMAND, true, "client", "alice", "", 0},
	    {TLS_VERIFY_DEMAND, true, "", "",
	     "could not accept SSL connection: peer did not return a certificate",
	     SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED},
	    {TLS_VERIFY_DEMAND, true, "foreigner", "",
	     VERIFY_FAILED "depth 0: unable to get local issuer certificate (subject \"CN=alice\")",
	     SSL_R_TLSV1_ALERT_UNKNOWN_CA},
	    {TLS_VERIFY_DEMAND, true, "expired", "",
	     VERIFY_FAILED "depth 0: certificate has expired (subject \"CN=alice\")",
	     SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED},
	    {TLS_VERIFY_DEMAND, true, "revoked", "",
	     VERIFY_FAILED "depth 0: certificate revoked (subject \"CN=alice\")",
	     SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED},
	};

	return cr_make_param_array(struct verification, all, sizeof(all) / sizeof(all[0]));
}

ParameterizedTest(struct verification *param, tls_certificates, client_certificates_are_checked)
{
	struct tls_server_options options = {.verify = param->verify};
	struct ends_client client = {.certificate =
	                                 *param->certificate ? param->certificate : NULL};
	char name[16] = "";
	struct ends ends;

	if (param->ca) {
		options.ca_file = ends_file("ca.crt");
		options.crl_file = ends_file("ca.crl");
	}
	ends = ends_shaken(&options, &client);
	if (*param->message)
		FAILED(&ends, param->message);
	else
		ESTABLISHED(&ends);
	cr_assert_eq(ends.reason, param->reason, "%d", ends.reason);
	cr_assert_eq(tls_peer_common_name(ends.tls, name, sizeof(name)), *param->user != '\0');
	cr_assert_str_eq(name, param->user);
	ends_close(&ends);
}

Test(tls_certificates, without_a_list_nothing_is_revoked)
{
	struct tls_server_options options = {.verify = TLS_VERIFY_DEMAND,
	                                     .ca_file = ends_file("ca.crt")};
	struct ends ends = ends_shaken(&options, &(struct ends_client){.certificate = "revoked"});

	ESTABLISHED(&ends);
	ends_close(&ends);
}

Test(tls_certificates, with_the_list_of_another_authority_nobody_is_let_in)
{
	struct tls_server_options options = {.verify = TLS_VERIFY_DEMAND,
	                                     .ca_file = ends_file("ca.crt"),
	                                     .crl_file = ends_file("foreign.crl")};
	struct ends ends;

	certificates_revoke(ends_certificates(), "foreign", NULL);
	ends = ends_shaken(&options, &(struct ends_client){.certificate = "client"});
	FAILED(&ends,
	       VERIFY_FAILED "depth 0: unable to get certificate CRL (subject \"CN=alice\")");
	ends_close(&ends);
}

Test(tls_certificates, clients_are_told_which_authorities_count)
{
	struct tls_server_options options = {.ca_file = ends_file("ca.crt")};
	struct ends ends = ends_shaken(&options, NULL);
	const STACK_OF(X509_NAME) *names = SSL_get0_peer_CA_list(ends.ssl);
	char name[64];

	ESTABLISHED(&ends);
	cr_assert_eq(sk_X509_NAME_num(names), 1);
	X509_NAME_oneline(sk_X509_NAME_value(names, 0), name, sizeof(name));
	cr_assert_str_eq(name, "/CN=Test CA");
	ends_close(&ends);
}

static struct ends shaken_as(const char *common_name, size_t len)
{
	struct tls_server_options options = {.verify = TLS_VERIFY_DEMAND,
	                                     .ca_file = ends_file("ca.crt")};
	struct certificate wanted = {
	    .name = "wanted", .issuer = "ca", .common_name = common_name, .common_name_len = len};

	certificates_make(ends_certificates(), &wanted);
	return ends_shaken(&options, &(struct ends_client){.certificate = "wanted"});
}

Test(tls_certificates, a_common_name_with_a_nul_in_it_is_refused)
{
	struct ends ends = shaken_as("alice\0.example.org", 18);
	char name[64];

	FAILED(&ends, "SSL certificate's common name contains embedded null");
	cr_assert(ends.goodbye);
	cr_assert(!tls_peer_common_name(ends.tls, name, sizeof(name)));
	ends_close(&ends);
	ends = shaken_as("alice", 6); /* at its end */
	FAILED(&ends, "SSL certificate's common name contains embedded null");
	ends_close(&ends);
}

Test(tls_certificates, a_common_name_is_given_whole_or_not_at_all)
{
	struct ends ends = shaken_as("J\303\266rg", 0);
	char name[6];

	ESTABLISHED(&ends);
	cr_assert(tls_peer_common_name(ends.tls, name, 6));
	cr_assert_str_eq(name, "J\303\266rg");
	cr_assert(!tls_peer_common_name(ends.tls, name, 5));
	ends_close(&ends);
	ends = shaken_as(NULL, 0);
	ESTABLISHED(&ends);
	cr_assert(!tls_peer_common_name(ends.tls, name, 6));
	ends_close(&ends);
}

Test(tls_certificates, a_stranger_writes_nothing_unprintable_into_the_log)
{
	struct tls_server_options options = {.ca_file = ends_file("ca.crt")};
	struct certificate evil = {.name = "evil",
	                           .common_name = "a\n\r\033[31m\177\0b\303\266\"c",
	                           .common_name_len = 15};
	struct ends ends;

	certificates_make(ends_certificates(), &evil);
	ends = ends_shaken(&options, &(struct ends_client){.certificate = "evil"});
	FAILED(&ends, VERIFY_FAILED "depth 0: self-signed certificate "
	                            "(subject \"CN=a\\0A\\0D\\1B[31m\\7F\\00b\\C3\\B6\\\"c\")");
	ends_close(&ends);
}

Test(tls_certificates, a_strangers_long_name_is_cut)
{
	struct tls_server_options options = {.ca_file = ends_file("ca.crt")};
	struct certificate evil = {.name = "evil", .common_name_len = 60};
	struct ends ends;

	evil.common_name = "\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1"
			   "\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1";
	certificates_make(ends_certificates(), &evil);
	ends = ends_shaken(&options, &(struct ends_client){.certificate = "evil"});
	cr_assert_eq(ends.error, EPROTO);
	cr_assert(strlen(tls_error(ends.tls)) < 256, "%s", tls_error(ends.tls));
	ends_close(&ends);
}

/* ---- end points ---- */

struct kind {
	char key[16];
	char digest[16];
	char end_point[16]; /* digest; "": none */
};

ParameterizedTestParameters(tls_certificates, both_sides_have_the_same_end_point)
{
	static struct kind kinds[] = {
	    {"EC", "SHA256", "SHA256"},      {"EC", "SHA384", "SHA384"},
	    {"RSA", "SHA256", "SHA256"},     {"RSA", "SHA512", "SHA512"},
	    {"RSA", "SHA1", "SHA256"},       {"RSA", "MD5", "SHA256"},
	    {"RSA-PSS", "SHA256", "SHA256"}, {"RSA-PSS", "SHA384", "SHA384"},
	    {"ED25519", "SHA256", ""},
	};

	return cr_make_param_array(struct kind, kinds, sizeof(kinds) / sizeof(kinds[0]));
}

ParameterizedTest(struct kind *kind, tls_certificates, both_sides_have_the_same_end_point)
{
	struct certificate wanted = {
	    .name = "kind", .common_name = "localhost", .key = kind->key, .digest = kind->digest};
	struct tls_server_options options = {.cert_file = ends_file("kind.crt"),
	                                     .key_file = ends_file("kind.key")};
	uint8_t own[64], peers[64], expected[64];
	unsigned expected_len = 0;
	struct tls *client;
	struct ends ends;

	certificates_make(ends_certificates(), &wanted);
	ends = ends_shaken(&options, NULL);
	ESTABLISHED(&ends);
	client = tls_wrap(ends.ssl);
	if (*kind->end_point)
		X509_digest(SSL_get0_peer_certificate(ends.ssl),
		            EVP_get_digestbyname(kind->end_point), expected, &expected_len);
	cr_assert_eq(tls_own_end_point(ends.tls, own), expected_len);
	cr_assert_eq(tls_peer_end_point(client, peers), expected_len);
	cr_assert_arr_eq(own, expected, expected_len);
	cr_assert_arr_eq(peers, expected, expected_len);
	cr_assert_eq(tls_peer_end_point(ends.tls, peers), 0);
	cr_assert_eq(tls_own_end_point(client, own), 0);
	tls_free(client); /* lives on: ends_close() frees it */
	ends_transfer(&ends, 10, 10);
	ends_close(&ends);
}
