/*
 * Digest: see digest.h. Base64 is our own: OpenSSL's decoder takes blanks and
 * wrong padding.
 */
#include "proxy/digest.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

static void must(bool ok)
{
	if (!ok)
		abort();
}

void digest_sha256(const void *data, size_t len, uint8_t out[DIGEST_LEN])
{
	must(EVP_Digest(data, len, out, NULL, EVP_sha256(), NULL) == 1);
}

void digest_hmac(const uint8_t key[DIGEST_LEN], const struct digest_piece *pieces, unsigned count,
                 uint8_t out[DIGEST_LEN])
{
	char name[] = "SHA256";
	OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", name, 0),
	                       OSSL_PARAM_construct_end()};
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
	size_t len;

	must(context && EVP_MAC_init(context, key, DIGEST_LEN, params));
	for (unsigned i = 0; i < count; i++)
		must(EVP_MAC_update(context, pieces[i].data, pieces[i].len));
	must(EVP_MAC_final(context, out, &len, DIGEST_LEN) && len == DIGEST_LEN);
	EVP_MAC_CTX_free(context);
	EVP_MAC_free(mac);
}

void digest_random(void *out, size_t len)
{
	assert(len <= INT_MAX);
	must(RAND_bytes(out, (int)len) == 1);
}

bool digest_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

void digest_wipe(void *data, size_t len)
{
	OPENSSL_cleanse(data, len);
}

/* ---- base64 ---- */

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void digest_base64(const void *data, size_t len, char *out)
{
	const uint8_t *at = data;

	for (; len >= 3; len -= 3, at += 3) {
		*out++ = letters[at[0] >> 2];
		*out++ = letters[(at[0] & 3) << 4 | at[1] >> 4];
		*out++ = letters[(at[1] & 15) << 2 | at[2] >> 6];
		*out++ = letters[at[2] & 63];
	}
	if (len == 0)
		return;
	*out++ = letters[at[0] >> 2];
	*out++ = letters[(at[0] & 3) << 4 | (len == 2 ? at[1] >> 4 : 0)];
	*out++ = len == 2 ? letters[(at[1] & 15) << 2] : '=';
	*out = '=';
}

/* 64 for a character that is none. */
static unsigned letter(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (unsigned)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (unsigned)(c - 'a') + 26;
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0') + 52;
	return c == '+' ? 62 : c == '/' ? 63 : 64;
}

bool digest_base64_decode(const char *text, size_t len, uint8_t *out, size_t size, size_t *out_len)
{
	size_t padding = 0, n = 0;

	while (padding < 2 && padding < len && text[len - 1 - padding] == '=')
		padding++;
	if (len % 4 != 0 || len / 4 * 3 - padding > size)
		return false;
	for (size_t i = 0; i < len; i += 4) {
		unsigned count = i + 4 == len ? 4 - (unsigned)padding : 4;
		uint32_t bits = 0;

		for (unsigned k = 0; k < count; k++) {
			unsigned value = letter(text[i + k]);

			if (value == 64)
				return false;
			bits |= value << (18 - 6 * k);
		}
		if (bits & ((1u << 8 * (4 - count)) - 1)) /* what padding cuts off is zero */
			return false;
		for (unsigned k = 0; k + 1 < count; k++, n++)
			if (out)
				out[n] = (uint8_t)(bits >> (16 - 8 * k));
	}
	*out_len = n;
	return true;
}
