/*
 * Digest: base64 both ways, known digests, what random bytes and comparing are worth.
 */
#include "proxy/digest.h"

#include <criterion/criterion.h>
#include <string.h>

/* ---- base64 ---- */

Test(digest, base64_goes_there_and_back)
{
	uint8_t data[64], back[64];
	char text[DIGEST_BASE64_LEN(64)];
	size_t len;

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 37 + 11);
	for (size_t n = 0; n <= sizeof(data); n++) {
		digest_base64(data, n, text);
		cr_assert(digest_base64_decode(text, DIGEST_BASE64_LEN(n), back, n, &len));
		cr_assert_eq(len, n);
		cr_assert(memcmp(data, back, n) == 0);
		cr_assert(n == 0 ||
		          !digest_base64_decode(text, DIGEST_BASE64_LEN(n), back, n - 1, &len));
	}
	digest_base64("foobar", 6, text);
	cr_assert(memcmp(text, "Zm9vYmFy", 8) == 0);
	digest_base64("fooba", 5, text);
	cr_assert(memcmp(text, "Zm9vYmE=", 8) == 0);
}

Test(digest, base64_is_strict)
{
	static const char *const texts[] = {"A",    "AA",    "AAA",     "=",     "====",     "A===",
	                                    "AB==", "AAB=",  "A A=",    "AAAA ", "AA==AAAA", "AA=A",
	                                    "-A==", "A\nA=", "AAA\xff", "\n"};
	uint8_t out[16];
	size_t len;

	for (unsigned i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		cr_assert(!digest_base64_decode(texts[i], strlen(texts[i]), out, sizeof(out), &len),
		          "%s", texts[i]);
}

/* ---- digests ---- */

Test(digest, sha256_and_hmac_of_pieces_are_the_known_ones)
{
	static const uint8_t abc[DIGEST_LEN] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea,
	                                        0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
	                                        0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c,
	                                        0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
	const struct digest_piece whole = {"Hi There", 8};
	const struct digest_piece pieces[] = {{"Hi", 2}, {"", 0}, {" There", 6}};
	/* RFC 4231, test case 1: its key of 20 bytes is padded with zeros by HMAC itself */
	static const uint8_t known[DIGEST_LEN] = {0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53,
	                                          0x5c, 0xa8, 0xaf, 0xce, 0xaf, 0x0b, 0xf1, 0x2b,
	                                          0x88, 0x1d, 0xc2, 0x00, 0xc9, 0x83, 0x3d, 0xa7,
	                                          0x26, 0xe9, 0x37, 0x6c, 0x2e, 0x32, 0xcf, 0xf7};
	uint8_t key[DIGEST_LEN] = {0}, out[DIGEST_LEN];

	digest_sha256("abc", 3, out);
	cr_assert_arr_eq(out, abc, sizeof(out));
	memset(key, 0x0b, 20);
	digest_hmac(key, &whole, 1, out);
	cr_assert_arr_eq(out, known, sizeof(out));
	memset(out, 0, sizeof(out));
	digest_hmac(key, pieces, 3, out);
	cr_assert_arr_eq(out, known, sizeof(out));
}

Test(digest, random_bytes_differ)
{
	uint8_t a[18] = {0}, b[18] = {0};

	digest_random(a, sizeof(a));
	digest_random(b, sizeof(b));
	cr_assert(!digest_equal(a, b, sizeof(a)));
	memcpy(b, a, sizeof(a));
	cr_assert(digest_equal(a, b, sizeof(a)));
	b[17] ^= 1;
	cr_assert(!digest_equal(a, b, sizeof(a)));
	digest_wipe(b, sizeof(b));
	for (unsigned i = 0; i < sizeof(b); i++)
		cr_assert_eq(b[i], 0);
}
