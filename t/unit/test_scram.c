/*
 * Scram: verifiers, and the server's side message by message: RFC 7677's vector, and
 * what is refused in which words.
 */
#include "proxy/scram.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/digest.h"
#include "proxy/wire.h"
#include "t/unit/testscram.h"

#define RFC_CLIENT_FIRST "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
#define RFC_SERVER_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define RFC_NONCE "rOprNGfwEbeRWgbNEkqO" RFC_SERVER_NONCE
#define RFC_CLIENT_FINAL "c=biws,r=" RFC_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="

/* ---- messages ---- */

static void put_initial(struct iobuf *out, const char *mechanism, int32_t len, const char *message)
{
	iobuf_append(out, mechanism, strlen(mechanism) + 1);
	wire_put_u32(out, (uint32_t)len);
	iobuf_append(out, message, strlen(message));
}

static enum scram_status server_first(struct scram_server *server, const char *mechanism,
                                      const char *message, struct iobuf *out,
                                      struct scram_failure *failure)
{
	struct iobuf body = {0};
	enum scram_status status;

	put_initial(&body, mechanism, (int32_t)strlen(message), message);
	status = scram_server_first(server, iobuf_head(&body), iobuf_len(&body), out, failure);
	iobuf_fini(&body);
	return status;
}

static enum scram_status server_final(struct scram_server *server, const char *message,
                                      struct iobuf *out, struct scram_failure *failure)
{
	return scram_server_final(server, (const uint8_t *)message, strlen(message), out, failure);
}

static void says(const struct iobuf *buf, const char *expected)
{
	cr_assert(iobuf_len(buf) == strlen(expected) &&
	              memcmp(iobuf_head(buf), expected, strlen(expected)) == 0,
	          "%.*s", (int)iobuf_len(buf), (const char *)iobuf_head(buf));
}

/* The client's first message and how the server refuses it: "sqlstate message|detail". */
static void first_is_refused(const struct scram_binding *bound, const char *mechanism,
                             const char *message, const char *expected)
{
	struct scram_verifier rfc = verifier(RFC_VERIFIER);
	struct scram_server *server = scram_server_new(&rfc, bound);
	struct scram_failure failure = {0};
	struct iobuf out = {0};
	char text[512];

	cr_assert_eq(server_first(server, mechanism, message, &out, &failure), SCRAM_BROKEN, "%s",
	             message);
	snprintf(text, sizeof(text), "%s %s|%s", failure.sqlstate, failure.message,
	         failure.detail ? failure.detail : "");
	cr_assert_str_eq(text, expected, "%s: %s", message, text);
	cr_assert_eq(iobuf_len(&out), 0);
	cr_assert_eq(server_final(server, RFC_CLIENT_FINAL, &out, &failure), SCRAM_BROKEN);
	scram_server_free(server);
}

/* ---- RFC 7677 ---- */

static struct scram_server *rfc_server(const char *verifier_text)
{
	struct scram_verifier rfc = verifier(verifier_text);
	struct scram_server *server = scram_server_new(&rfc, &none);

	scram_server_set_nonce(server, RFC_SERVER_NONCE);
	return server;
}

Test(scram, the_vector_of_rfc_7677)
{
	struct scram_server *server = rfc_server(RFC_VERIFIER);
	struct scram_keys keys, expected = rfc_keys();
	struct scram_failure failure;
	struct iobuf out = {0};

	cr_assert_eq(server_first(server, "SCRAM-SHA-256", RFC_CLIENT_FIRST, &out, &failure),
	             SCRAM_OK);
	says(&out, "r=" RFC_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
	iobuf_fini(&out);
	cr_assert_eq(server_final(server, RFC_CLIENT_FINAL, &out, &failure), SCRAM_OK);
	says(&out, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
	scram_server_keys(server, &keys);
	cr_assert_arr_eq(&keys, &expected, sizeof(keys));
	scram_server_free(server);
	iobuf_fini(&out);
}

/* The final message in place of RFC 7677's. */
static void final_is(const char *message, enum scram_status status, const char *expected)
{
	struct scram_server *server = rfc_server(RFC_VERIFIER);
	struct scram_failure failure = {0};
	struct iobuf out = {0};
	char text[512] = "";

	server_first(server, "SCRAM-SHA-256", RFC_CLIENT_FIRST, &out, &failure);
	iobuf_fini(&out);
	cr_assert_eq(server_final(server, message, &out, &failure), status, "%s", message);
	if (status == SCRAM_BROKEN)
		snprintf(text, sizeof(text), "%s %s|%s", failure.sqlstate, failure.message,
		         failure.detail ? failure.detail : "");
	cr_assert_str_eq(text, expected, "%s: %s", message, text);
	cr_assert_eq(iobuf_len(&out), 0);
	/* there is no second try */
	cr_assert_eq(server_final(server, RFC_CLIENT_FINAL, &out, &failure), SCRAM_BROKEN);
	scram_server_free(server);
}

Test(scram, final_messages_are_refused_in_postgresqls_words)
{
	const char *malformed = "08P01 malformed SCRAM message|";
	char text[256];

	final_is("", SCRAM_BROKEN, "08P01 malformed SCRAM message|The message is empty.");
	snprintf(text, sizeof(text), "%sExpected attribute \"c\" but found \"'r'\".", malformed);
	final_is("r=x", SCRAM_BROKEN, text);
	final_is(
	    "c=eSws,r=" RFC_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", SCRAM_BROKEN,
	    "08P01 unexpected SCRAM channel-binding attribute in client-final-message|");
	final_is("c=biws,r=" RFC_NONCE, SCRAM_BROKEN,
	         "08P01 malformed SCRAM message|Attribute expected, but found end of string.");
	final_is("c=biws,r=" RFC_NONCE ",1=x", SCRAM_BROKEN,
	         "08P01 malformed SCRAM message|Attribute expected, but found invalid character "
	         "\"'1'\".");
	final_is("c=biws,r=" RFC_NONCE ",p=AAAA", SCRAM_BROKEN,
	         "08P01 malformed SCRAM message|Malformed proof in client-final-message.");
	final_is(RFC_CLIENT_FINAL ",x=y", SCRAM_BROKEN,
	         "08P01 malformed SCRAM message|Garbage found at the end of client-final-message.");
	final_is("c=biws,r=" RFC_NONCE "x,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
	         SCRAM_BROKEN, "08P01 invalid SCRAM response|Nonce does not match.");
	/* an extension is read over, but it is signed: this proof is another message's */
	final_is("c=biws,r=" RFC_NONCE ",x=y,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
	         SCRAM_REFUSED, "");
}

Test(scram, a_wrong_proof_is_refused)
{
	final_is("c=biws,r=" RFC_NONCE ",p=AAzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
	         SCRAM_REFUSED, "");
}

Test(scram, a_proof_has_one_spelling)
{
	final_is(
	    "c=biws,r=" RFC_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVR=", SCRAM_BROKEN,
	    "08P01 malformed SCRAM message|Malformed proof in client-final-message.");
	final_is("c=biws,r=" RFC_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ",
	         SCRAM_BROKEN,
	         "08P01 malformed SCRAM message|Malformed proof in client-final-message.");
}

Test(scram, first_messages_are_refused_in_postgresqls_words)
{
	const char *plain = "SCRAM-SHA-256";

	first_is_refused(&none, plain, "", "08P01 malformed SCRAM message|The message is empty.");
	first_is_refused(&none, plain, "x,,n=,r=a",
	                 "08P01 malformed SCRAM message|Unexpected channel-binding flag \"'x'\".");
	first_is_refused(&none, plain, "\x01,,n=,r=a",
	                 "08P01 malformed SCRAM message|Unexpected channel-binding flag \"0x01\".");
	first_is_refused(
	    &none, plain, "nn,n=,r=a",
	    "08P01 malformed SCRAM message|Comma expected, but found character \"'n'\".");
	first_is_refused(
	    &none, plain, "n",
	    "08P01 malformed SCRAM message|Comma expected, but found character \"0x00\".");
	first_is_refused(&none, plain, "n,a=me,n=,r=a",
	                 "0A000 client uses authorization identity, but it is not supported|");
	first_is_refused(&none, plain, "n,x,n=,r=a",
	                 "08P01 malformed SCRAM message|Unexpected attribute \"'x'\" in "
	                 "client-first-message.");
	first_is_refused(&none, plain, "n,,m=x,n=,r=a",
	                 "0A000 client requires an unsupported SCRAM extension|");
	first_is_refused(
	    &none, plain, "n,,r=a",
	    "08P01 malformed SCRAM message|Expected attribute \"n\" but found \"'r'\".");
	first_is_refused(
	    &none, plain, "n,,n,r=a",
	    "08P01 malformed SCRAM message|Expected character \"=\" for attribute \"n\".");
	first_is_refused(&none, plain, "n,,n=,r=a b",
	                 "08P01 non-printable characters in SCRAM nonce|");
	first_is_refused(&none, plain, "n,,n=,r=a\xc3\xa4",
	                 "08P01 non-printable characters in SCRAM nonce|");
	first_is_refused(&none, plain, "n,,n=,r=a,=",
	                 "08P01 malformed SCRAM message|Attribute expected, but found invalid "
	                 "character \"'='\".");
	first_is_refused(&none, "SCRAM-SHA-1", "n,,n=,r=a",
	                 "08P01 client selected an invalid SASL authentication mechanism|");
}

Test(scram, channel_binding_follows_postgresqls_rules)
{
	struct scram_binding bound = binding("certificate", 32);
	const char *plain = "SCRAM-SHA-256", *plus = "SCRAM-SHA-256-PLUS";

	/* PLUS was never offered */
	first_is_refused(&none, plus, "p=tls-server-end-point,,n=,r=a",
	                 "08P01 client selected an invalid SASL authentication mechanism|");
	first_is_refused(&bound, plus, "n,,n=,r=a",
	                 "08P01 malformed SCRAM message|The client selected SCRAM-SHA-256-PLUS, "
	                 "but the SCRAM message does not include channel binding data.");
	first_is_refused(&bound, plus, "y,,n=,r=a",
	                 "08P01 malformed SCRAM message|The client selected SCRAM-SHA-256-PLUS, "
	                 "but the SCRAM message does not include channel binding data.");
	first_is_refused(&bound, plain, "p=tls-server-end-point,,n=,r=a",
	                 "08P01 malformed SCRAM message|The client selected SCRAM-SHA-256 without "
	                 "channel binding, but the SCRAM message includes channel binding data.");
	first_is_refused(&bound, plus, "p=tls-unique,,n=,r=a",
	                 "08P01 unsupported SCRAM channel-binding type \"tls-unique\"|");
	first_is_refused(&bound, plus, "p=tls \x7fxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx,,n=,r=a",
	                 "08P01 unsupported SCRAM channel-binding type "
	                 "\"tls??xxxxxxxxxxxxxxxxxxxxxxxxx\"|");
	/* somebody between us took PLUS off the list */
	first_is_refused(
	    &bound, plain, "y,,n=,r=a",
	    "28000 SCRAM channel binding negotiation error|The client supports SCRAM channel "
	    "binding but thinks the server does not.  However, this server does support channel "
	    "binding.");
}

Test(scram, extensions_and_user_names_of_the_first_message_are_read_over)
{
	struct scram_server *server = rfc_server(RFC_VERIFIER);
	struct scram_failure failure;
	struct iobuf out = {0};

	cr_assert_eq(
	    server_first(server, "SCRAM-SHA-256", "n,,n=x=2Cy,r=abc,t=1,u=", &out, &failure),
	    SCRAM_OK);
	says(&out, "r=abc" RFC_SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
	scram_server_free(server);
	iobuf_fini(&out);
}

Test(scram, a_missing_initial_response_is_answered_by_an_empty_challenge)
{
	struct scram_server *server = rfc_server(RFC_VERIFIER);
	struct iobuf body = {0}, out = {0};
	struct scram_failure failure;

	put_initial(&body, "SCRAM-SHA-256", -1, "");
	cr_assert_eq(
	    scram_server_first(server, iobuf_head(&body), iobuf_len(&body), &out, &failure),
	    SCRAM_OK);
	cr_assert(iobuf_len(&out) == 0 && scram_server_awaits_first(server));
	cr_assert_eq(scram_server_first(server, (const uint8_t *)RFC_CLIENT_FIRST,
	                                strlen(RFC_CLIENT_FIRST), &out, &failure),
	             SCRAM_OK);
	cr_assert(iobuf_len(&out) > 0 && !scram_server_awaits_first(server));
	iobuf_fini(&out);
	cr_assert_eq(server_final(server, RFC_CLIENT_FINAL, &out, &failure), SCRAM_OK);
	scram_server_free(server);
	iobuf_fini(&body);
	iobuf_fini(&out);
}

/* ---- lengths ---- */

static void initial_is_refused(const char *mechanism, int32_t len, const char *expected)
{
	struct scram_server *server = rfc_server(RFC_VERIFIER);
	struct iobuf body = {0}, out = {0};
	struct scram_failure failure = {0};

	put_initial(&body, mechanism, len, "n,,n=,r=abc");
	cr_assert_eq(
	    scram_server_first(server, iobuf_head(&body), iobuf_len(&body), &out, &failure),
	    SCRAM_BROKEN, "%d", len);
	cr_assert_str_eq(failure.sqlstate, "08P01");
	cr_assert_str_eq(failure.message, expected, "%d: %s", len, failure.message);
	scram_server_free(server);
	iobuf_fini(&body);
}

/* PgBouncer before 1.25.2: a length that overflows passed the check of what is left. */
Test(scram, CVE_2026_6664_a_length_beyond_the_message_is_refused)
{
	initial_is_refused("SCRAM-SHA-256", INT32_MAX, "insufficient data left in message");
	initial_is_refused("SCRAM-SHA-256", INT32_MAX - 3, "insufficient data left in message");
	initial_is_refused("SCRAM-SHA-256", INT32_MIN, "insufficient data left in message");
	initial_is_refused("SCRAM-SHA-256", -2, "insufficient data left in message");
	initial_is_refused("SCRAM-SHA-256", 12, "insufficient data left in message");
	initial_is_refused("SCRAM-SHA-256", 10, "invalid message format");
	initial_is_refused("SCRAM-SHA-256", -1, "invalid message format");
	initial_is_refused("SCRAM-SHA-256", 0, "invalid message format");
}

Test(scram, an_initial_response_without_an_end_is_refused)
{
	static const char mechanism[] = "SCRAM-SHA-256";
	struct scram_failure failure;
	struct iobuf out = {0};

	for (size_t len = 0; len <= sizeof(mechanism) + 3; len++) {
		struct scram_server *server = rfc_server(RFC_VERIFIER);
		uint8_t *body = calloc(1, len ? len : 1);

		memcpy(body, mechanism, len < sizeof(mechanism) ? len : sizeof(mechanism));
		cr_assert_eq(scram_server_first(server, body, len, &out, &failure), SCRAM_BROKEN);
		free(body);
		scram_server_free(server);
	}
}

/* ---- verifiers ---- */

Test(scram, a_verifier_is_read_as_postgresql_writes_it)
{
	struct scram_verifier parsed = verifier(RFC_VERIFIER);

	cr_assert_eq(parsed.iterations, 4096);
	cr_assert_str_eq(parsed.salt, "W22ZaJ0SNY7soEsUEjb6gQ==");
	cr_assert(!parsed.mock);
	cr_assert_eq(parsed.stored_key[0], 0x58);
	cr_assert_eq(parsed.server_key[0], 0xc1);
}

Test(scram, what_is_no_verifier_is_refused)
{
#define KEYS                                                                                       \
	"$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"                                           \
	"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	static const char *const texts[] = {
	    "",
	    "pencil",
	    "md5d2f2c0e4a1b4b5a4a7d5d0e0d0b0c0a0",
	    "SCRAM-SHA-256",
	    "SCRAM-SHA-256$",
	    "SCRAM-SHA-256$4096",
	    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==",
	    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$",
	    "SCRAM-SHA-512$4096:W22ZaJ0SNY7soEsUEjb6gQ==" KEYS,
	    "SCRAM-SHA-256$0:W22ZaJ0SNY7soEsUEjb6gQ==" KEYS,
	    "SCRAM-SHA-256$-1:W22ZaJ0SNY7soEsUEjb6gQ==" KEYS,
	    "SCRAM-SHA-256$2147483648:W22ZaJ0SNY7soEsUEjb6gQ==" KEYS,
	    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=" KEYS,
	    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6g,==" KEYS,
	    "SCRAM-SHA-256$4096:" KEYS,
	    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==" KEYS "x",
	    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==" KEYS ":",
	};
	struct scram_verifier parsed;
	char text[1024];

	for (unsigned i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		cr_assert(!scram_verifier_parse(texts[i], &parsed), "%s", texts[i]);
	for (unsigned len = 4; len < 512; len += 4) {
		snprintf(text, sizeof(text), "SCRAM-SHA-256$4096:%0*d" KEYS, (int)len, 0);
		cr_assert_eq(scram_verifier_parse(text, &parsed), len <= SCRAM_SALT_MAX, "%s",
		             text);
	}
}

/* PostgreSQL before 11.4: keys and signatures longer than theirs ran over the stack. */
Test(scram, CVE_2019_10164_keys_of_another_length_are_refused)
{
	char text[1200], key[800];
	struct scram_verifier parsed;

	for (size_t len = 0; len < sizeof(key) - 1; len += 4) {
		memset(key, 'A', len);
		key[len] = '\0';
		snprintf(text, sizeof(text),
		         "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$%s:"
		         "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
		         key);
		cr_assert(!scram_verifier_parse(text, &parsed), "%s", text);
		snprintf(text, sizeof(text),
		         "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
		         "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:%s",
		         key);
		cr_assert(!scram_verifier_parse(text, &parsed), "%s", text);
	}
}
