/*
 * Digest: OpenSSL's door for everything but connections: SHA-256, HMAC-SHA-256,
 * random bytes, comparing and wiping secrets; and base64, in which SCRAM writes
 * them. Connections are proxy/tls.h's.
 *
 * Nothing here fails: where the system has no memory or no random bytes left, the
 * process ends, because no login would be safe any more.
 */
#ifndef PROXY_DIGEST_H
#define PROXY_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_LEN 32

struct digest_piece {
	const void *data;
	size_t len;
};

void digest_sha256(const void *data, size_t len, uint8_t out[DIGEST_LEN]);
/* Of the pieces one after another. */
void digest_hmac(const uint8_t key[DIGEST_LEN], const struct digest_piece *pieces, unsigned count,
                 uint8_t out[DIGEST_LEN]);

void digest_random(void *out, size_t len); /* good enough for nonces and keys */
/* Takes the same time wherever they differ. */
bool digest_equal(const void *a, const void *b, size_t len);
void digest_wipe(void *data, size_t len); /* not optimised away */

/* With padding, without a NUL. */
#define DIGEST_BASE64_LEN(len) (((len) + 2) / 3 * 4)
void digest_base64(const void *data, size_t len, char *out);
/*
 * Strict: no blanks, exact padding, no stray bits, so that there is one text for each
 * value. False if it is not base64 or has more than size bytes; NULL out: only checked.
 */
bool digest_base64_decode(const char *text, size_t len, uint8_t *out, size_t size, size_t *out_len);

#endif
