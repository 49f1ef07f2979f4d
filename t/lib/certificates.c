/*
 * Certificates: see certificates.h. OpenSSL makes everything; elliptic keys unless
 * something else is asked for, because they are made in no time.
 */
#include "t/lib/certificates.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#define DAY (24 * 60 * 60L)

const char *certificates_file(struct certificates *certificates, const char *file)
{
	size_t n = certificates->npaths++;
	int len;

	certificates->paths =
	    realloc(certificates->paths, (n + 1) * sizeof(certificates->paths[0]));
	assert(certificates->paths);
	len = asprintf(&certificates->paths[n], "%s/%s", certificates->folder, file);
	assert(len > 0);
	return certificates->paths[n];
}

/* NAME.suffix, opened for writing if `mode` is not 0. */
static FILE *open_file(const struct certificates *certificates, const char *name,
                       const char *suffix, mode_t mode)
{
	FILE *stream;
	char *path;
	int fd = asprintf(&path, "%s/%s%s", certificates->folder, name, suffix);

	assert(fd > 0);
	fd = mode ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
	          : open(path, O_RDONLY | O_CLOEXEC);
	assert(fd >= 0);
	free(path);
	stream = fdopen(fd, mode ? "w" : "r");
	assert(stream);
	return stream;
}

static X509 *read_certificate(const struct certificates *certificates, const char *name)
{
	FILE *file = open_file(certificates, name, ".crt", 0);
	X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);

	assert(certificate);
	fclose(file);
	return certificate;
}

static EVP_PKEY *read_key(const struct certificates *certificates, const char *name)
{
	FILE *file = open_file(certificates, name, ".key", 0);
	EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);

	assert(key);
	fclose(file);
	return key;
}

static void write_key(const struct certificates *certificates, const struct certificate *wanted,
                      EVP_PKEY *key)
{
	FILE *file = open_file(certificates, wanted->name, ".key", 0600);
	const char *passphrase = wanted->passphrase;
	int written = PEM_write_PrivateKey(file, key, passphrase ? EVP_aes_128_cbc() : NULL,
	                                   (const unsigned char *)passphrase,
	                                   passphrase ? (int)strlen(passphrase) : 0, NULL, NULL);

	assert(written == 1);
	fclose(file);
}

static EVP_PKEY *make_key(const char *type)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *key = NULL;
	int done = EVP_PKEY_keygen_init(context);

	assert(done == 1);
	if (strcmp(type, "EC") == 0)
		done = EVP_PKEY_CTX_set_group_name(context, "P-256");
	else if (strncmp(type, "RSA", 3) == 0)
		done = EVP_PKEY_CTX_set_rsa_keygen_bits(context, 2048);
	assert(done == 1);
	done = EVP_PKEY_generate(context, &key);
	assert(done == 1);
	EVP_PKEY_CTX_free(context);
	return key;
}

static void add_extension(X509 *certificate, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;
	int done;

	X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	assert(extension);
	done = X509_add_ext(certificate, extension, -1);
	assert(done == 1);
	X509_EXTENSION_free(extension);
}

/* Everything but the issuer and the signature. */
static X509 *compose(const struct certificate *wanted, EVP_PKEY *key)
{
	const char *name = wanted->common_name ? wanted->common_name : wanted->name;
	size_t name_len = wanted->common_name_len ? wanted->common_name_len : strlen(name);
	int days = wanted->days ? wanted->days : 30;
	X509 *certificate = X509_new();
	uint64_t serial;
	int done;

	assert(certificate);
	RAND_bytes((unsigned char *)&serial, sizeof(serial));
	done = X509_set_version(certificate, X509_VERSION_3);
	assert(done == 1);
	ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial);
	/* Begins early enough for one that has ended, and for clocks that differ. */
	X509_gmtime_adj(X509_getm_notBefore(certificate), (days < 0 ? days - 1 : -1) * DAY);
	X509_gmtime_adj(X509_getm_notAfter(certificate), days * DAY);
	done = X509_NAME_add_entry_by_NID(
	    X509_get_subject_name(certificate),
	    wanted->common_name ? NID_commonName : NID_organizationName, MBSTRING_UTF8,
	    (const unsigned char *)name, (int)name_len, -1, 0);
	assert(done == 1);
	done = X509_set_pubkey(certificate, key);
	assert(done == 1);
	if (!wanted->issuer)
		add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE");
	if (wanted->server)
		add_extension(certificate, NID_subject_alt_name,
		              "DNS:localhost,IP:127.0.0.1,IP:::1");
	return certificate;
}

void certificates_make(const struct certificates *certificates, const struct certificate *wanted)
{
	EVP_PKEY *key = make_key(wanted->key ? wanted->key : "EC");
	EVP_PKEY *issuer_key = wanted->issuer ? read_key(certificates, wanted->issuer) : key;
	X509 *certificate = compose(wanted, key);
	X509 *issuer =
	    wanted->issuer ? read_certificate(certificates, wanted->issuer) : certificate;
	const EVP_MD *digest = EVP_get_digestbyname(wanted->digest ? wanted->digest : "SHA256");
	FILE *file = open_file(certificates, wanted->name, ".crt", 0644);
	int done;

	assert(digest);
	X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
	if (EVP_PKEY_is_a(issuer_key, "ED25519"))
		digest = NULL;
	done = X509_sign(certificate, issuer_key, digest);
	assert(done > 0);
	done = PEM_write_X509(file, certificate);
	assert(done == 1);
	fclose(file);
	write_key(certificates, wanted, key);
	if (wanted->issuer) {
		X509_free(issuer);
		EVP_PKEY_free(issuer_key);
	}
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static void add_revoked(X509_CRL *list, const X509 *certificate, const ASN1_TIME *since)
{
	X509_REVOKED *entry = X509_REVOKED_new();
	int done;

	X509_REVOKED_set_serialNumber(entry, (ASN1_INTEGER *)X509_get0_serialNumber(certificate));
	X509_REVOKED_set_revocationDate(entry, (ASN1_TIME *)since);
	done = X509_CRL_add0_revoked(list, entry);
	assert(done == 1);
}

void certificates_revoke(const struct certificates *certificates, const char *authority,
                         const char *revoked)
{
	X509 *issuer = read_certificate(certificates, authority);
	EVP_PKEY *key = read_key(certificates, authority);
	FILE *file = open_file(certificates, authority, ".crl", 0644);
	ASN1_TIME *yesterday = X509_gmtime_adj(NULL, -DAY);
	ASN1_TIME *next = X509_gmtime_adj(NULL, 30 * DAY);
	X509_CRL *list = X509_CRL_new();
	int done;

	X509_CRL_set_version(list, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer));
	X509_CRL_set1_lastUpdate(list, yesterday);
	X509_CRL_set1_nextUpdate(list, next);
	if (revoked) {
		X509 *certificate = read_certificate(certificates, revoked);

		add_revoked(list, certificate, yesterday);
		X509_free(certificate);
	}
	done = X509_CRL_sign(list, key, EVP_sha256());
	assert(done > 0);
	done = PEM_write_X509_CRL(file, list);
	assert(done == 1);
	fclose(file);
	X509_CRL_free(list);
	ASN1_TIME_free(yesterday);
	ASN1_TIME_free(next);
	EVP_PKEY_free(key);
	X509_free(issuer);
}

void certificates_make_usual(const struct certificates *certificates, const char *common_name)
{
	const struct certificate usual[] = {
	    {.name = "ca", .common_name = "Test CA"},
	    {.name = "server", .issuer = "ca", .common_name = "localhost", .server = true},
	    {.name = "client", .issuer = "ca", .common_name = common_name},
	    {.name = "revoked", .issuer = "ca", .common_name = common_name},
	    {.name = "expired", .issuer = "ca", .common_name = common_name, .days = -1},
	    {.name = "foreign", .common_name = "Foreign CA"},
	    {.name = "foreigner", .issuer = "foreign", .common_name = common_name},
	};

	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		certificates_make(certificates, &usual[i]);
	certificates_revoke(certificates, "ca", "revoked");
}

void certificates_open(struct certificates *certificates)
{
	const char *parent = getenv("TMPDIR");
	char *made;
	int len;

	memset(certificates, 0, sizeof(*certificates));
	len = asprintf(&certificates->folder, "%s/certificates.XXXXXX",
	               parent && *parent ? parent : "/tmp");
	assert(len > 0);
	made = mkdtemp(certificates->folder);
	assert(made);
}

void certificates_close(struct certificates *certificates)
{
	DIR *folder = opendir(certificates->folder);
	struct dirent *entry;

	assert(folder);
	while ((entry = readdir(folder)))
		unlinkat(dirfd(folder), entry->d_name, 0);
	closedir(folder);
	rmdir(certificates->folder);
	for (size_t i = 0; i < certificates->npaths; i++)
		free(certificates->paths[i]);
	free(certificates->paths);
	free(certificates->folder);
}
