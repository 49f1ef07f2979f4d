/*
 * Testscram: RFC 7677's example, for the tests of SCRAM.
 */
#ifndef T_UNIT_TESTSCRAM_H
#define T_UNIT_TESTSCRAM_H

#include "proxy/scram.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <string.h>

#include "proxy/digest.h"

#define RFC_VERIFIER                                                                               \
	"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"                                             \
	"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

static const struct scram_binding none;

static inline struct scram_binding binding(const char *seed, size_t len)
{
	struct scram_binding result = {.len = len};

	for (size_t i = 0; i < len; i++)
		result.data[i] = (uint8_t)(seed[i % strlen(seed)] + i);
	return result;
}

static inline struct scram_verifier verifier(const char *text)
{
	struct scram_verifier result;

	cr_assert(scram_verifier_parse(text, &result), "%s", text);
	return result;
}

/* The keys that the password "pencil" and RFC 7677's salt give. */
static inline struct scram_keys rfc_keys(void)
{
	static const char salt_text[] = "W22ZaJ0SNY7soEsUEjb6gQ==";
	struct digest_piece client = {"Client Key", 10}, server = {"Server Key", 10};
	uint8_t salt[16], salted[DIGEST_LEN];
	struct scram_keys keys;
	size_t len;

	cr_assert(digest_base64_decode(salt_text, strlen(salt_text), salt, sizeof(salt), &len));
	cr_assert(
	    PKCS5_PBKDF2_HMAC("pencil", 6, salt, (int)len, 4096, EVP_sha256(), DIGEST_LEN, salted));
	digest_hmac(salted, &client, 1, keys.client_key);
	digest_hmac(salted, &server, 1, keys.server_key);
	return keys;
}

#endif
