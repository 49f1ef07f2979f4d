/*
 * Scram: server against client with and without channel binding, and what somebody
 * between them may do: each truncation and each changed byte of every message,
 * lengths that lie, other people's keys.
 */
#include "proxy/scram.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/digest.h"
#include "proxy/wire.h"
#include "t/unit/testscram.h"

/* ---- server against client ---- */

/* Both sides and the messages between them: bodies, each as it was sent. */
struct talk {
	struct scram_server *server;
	struct scram_client *client;
	struct iobuf mechanisms, client_first, server_first, client_final, server_final;
	struct scram_failure failure;
};

static void talk_init(struct talk *talk, const struct scram_keys *keys,
                      const struct scram_binding *server, const struct scram_binding *client)
{
	struct scram_verifier rfc = verifier(RFC_VERIFIER);

	memset(talk, 0, sizeof(*talk));
	talk->server = scram_server_new(&rfc, server);
	talk->client = scram_client_new(keys, client);
}

static void talk_fini(struct talk *talk)
{
	scram_server_free(talk->server);
	scram_client_free(talk->client);
	iobuf_fini(&talk->mechanisms);
	iobuf_fini(&talk->client_first);
	iobuf_fini(&talk->server_first);
	iobuf_fini(&talk->client_final);
	iobuf_fini(&talk->server_final);
}

enum step { MECHANISMS, CLIENT_FIRST, SERVER_FIRST, CLIENT_FINAL, SERVER_FINAL, STEPS };

static struct iobuf *message(struct talk *talk, enum step step)
{
	struct iobuf *const messages[] = {&talk->mechanisms, &talk->client_first,
	                                  &talk->server_first, &talk->client_final,
	                                  &talk->server_final};

	return messages[step];
}

/* Takes the message of a step to who has to read it; he writes the next. */
static enum scram_status hear(struct talk *talk, enum step step, const uint8_t *body, size_t len)
{
	struct scram_failure *failure = &talk->failure;

	switch (step) {
	case MECHANISMS:
		return scram_client_first(talk->client, body, len, &talk->client_first, failure);
	case CLIENT_FIRST:
		return scram_server_first(talk->server, body, len, &talk->server_first, failure);
	case SERVER_FIRST:
		return scram_client_final(talk->client, body, len, &talk->client_final, failure);
	case CLIENT_FINAL:
		return scram_server_final(talk->server, body, len, &talk->server_final, failure);
	default:
		return scram_client_verify(talk->client, body, len, failure);
	}
}

/* All steps from one on; the first that fails ends it. */
static enum scram_status go_on(struct talk *talk, enum step from, enum step *last)
{
	enum scram_status status = SCRAM_OK;

	if (from == MECHANISMS)
		scram_server_mechanisms(talk->server, &talk->mechanisms);
	for (; from < STEPS && status == SCRAM_OK; from++) {
		*last = from;
		status = hear(talk, from, iobuf_head(message(talk, from)),
		              iobuf_len(message(talk, from)));
	}
	return status;
}

static void agree(size_t server_len, size_t client_len, const char *mechanism, char flag)
{
	struct scram_binding server = binding("certificate", server_len),
			     client = binding("certificate", client_len);
	struct scram_keys keys = rfc_keys(), found;
	struct talk talk;
	enum step last;
	const char *first;

	talk_init(&talk, &keys, &server, &client);
	cr_assert_eq(go_on(&talk, MECHANISMS, &last), SCRAM_OK, "step %d", last);
	first = (const char *)iobuf_head(&talk.client_first);
	cr_assert_str_eq(first, mechanism);
	cr_assert_eq(first[strlen(mechanism) + 5], flag);
	scram_server_keys(talk.server, &found);
	cr_assert_arr_eq(&found, &keys, sizeof(keys));
	talk_fini(&talk);
}

Test(scram_talk, client_and_server_agree_without_binding)
{
	agree(0, 0, "SCRAM-SHA-256", 'n');
}

Test(scram_talk, client_and_server_agree_with_binding)
{
	agree(32, 32, "SCRAM-SHA-256-PLUS", 'p');
	agree(SCRAM_BINDING_MAX, SCRAM_BINDING_MAX, "SCRAM-SHA-256-PLUS", 'p');
}

Test(scram_talk, a_client_that_could_bind_says_so_to_a_server_that_cannot)
{
	agree(0, 32, "SCRAM-SHA-256", 'y');
}

Test(scram_talk, a_client_without_binding_is_let_in_by_a_server_that_could)
{
	agree(32, 0, "SCRAM-SHA-256", 'n');
}

Test(scram_talk, another_certificate_is_refused)
{
	struct scram_binding server = binding("certificate", 32), client = binding("other", 32),
			     longer = binding("certificate", 48);
	struct scram_keys keys = rfc_keys();
	struct talk talk;
	enum step last;

	talk_init(&talk, &keys, &server, &client);
	cr_assert_eq(go_on(&talk, MECHANISMS, &last), SCRAM_BROKEN);
	cr_assert_eq(last, CLIENT_FINAL);
	cr_assert_str_eq(talk.failure.message, "SCRAM channel binding check failed");
	cr_assert_str_eq(talk.failure.sqlstate, "28000");
	talk_fini(&talk);
	talk_init(&talk, &keys, &server, &longer);
	cr_assert_eq(go_on(&talk, MECHANISMS, &last), SCRAM_BROKEN);
	talk_fini(&talk);
}

Test(scram_talk, a_wrong_client_key_is_refused_by_the_server)
{
	struct scram_keys keys = rfc_keys();
	struct talk talk;
	enum step last;

	keys.client_key[31] ^= 1;
	talk_init(&talk, &keys, &none, &none);
	cr_assert_eq(go_on(&talk, MECHANISMS, &last), SCRAM_REFUSED);
	cr_assert_eq(last, CLIENT_FINAL);
	talk_fini(&talk);
}

Test(scram_talk, a_wrong_server_key_is_refused_by_the_client)
{
	struct scram_keys keys = rfc_keys();
	struct talk talk;
	enum step last;

	keys.server_key[0] ^= 1;
	talk_init(&talk, &keys, &none, &none);
	cr_assert_eq(go_on(&talk, MECHANISMS, &last), SCRAM_BROKEN);
	cr_assert_eq(last, SERVER_FINAL);
	cr_assert_str_eq(talk.failure.message, "incorrect server signature");
	talk_fini(&talk);
}

Test(scram_talk, a_server_that_says_error_has_refused)
{
	struct scram_keys keys = rfc_keys();
	struct talk talk;
	enum step last;

	talk_init(&talk, &keys, &none, &none);
	scram_server_mechanisms(talk.server, &talk.mechanisms);
	for (last = MECHANISMS; last < CLIENT_FINAL; last++)
		hear(&talk, last, iobuf_head(message(&talk, last)),
		     iobuf_len(message(&talk, last)));
	cr_assert_eq(hear(&talk, SERVER_FINAL, (const uint8_t *)"e=invalid-proof", 15),
	             SCRAM_REFUSED);
	talk_fini(&talk);
}

/* No verdict was asked for, so none is taken. */
Test(scram_talk, messages_out_of_turn_are_refused)
{
	struct scram_keys keys = rfc_keys();
	struct talk talk;

	for (enum step step = SERVER_FIRST; step < STEPS; step++) {
		talk_init(&talk, &keys, &none, &none);
		cr_assert_eq(hear(&talk, step, (const uint8_t *)"v=", 2), SCRAM_BROKEN);
		cr_assert_str_eq(talk.failure.message, "invalid SCRAM exchange state");
		talk_fini(&talk);
	}
}

/* ---- a mock ---- */

Test(scram_talk, an_unknown_user_has_a_salt_that_stays)
{
	uint8_t secret[SCRAM_KEY_LEN] = "secret", other[SCRAM_KEY_LEN] = "other";
	struct scram_verifier a, b;

	scram_verifier_mock(secret, "alice", &a);
	scram_verifier_mock(secret, "alice", &b);
	cr_assert_arr_eq(&a, &b, sizeof(a));
	cr_assert_eq(a.iterations, 4096);
	cr_assert_eq(strlen(a.salt), 24);
	scram_verifier_mock(secret, "bob", &b);
	cr_assert_str_neq(a.salt, b.salt);
	scram_verifier_mock(other, "alice", &b);
	cr_assert_str_neq(a.salt, b.salt);
}

/* Even by a proof that fits its keys. */
Test(scram_talk, a_mock_goes_through_the_motions_and_refuses)
{
	struct scram_verifier mock = verifier(RFC_VERIFIER);
	struct scram_keys keys = rfc_keys();
	struct talk talk;
	enum step last;

	mock.mock = true;
	talk_init(&talk, &keys, &none, &none);
	scram_server_free(talk.server);
	talk.server = scram_server_new(&mock, &none);
	cr_assert_eq(go_on(&talk, MECHANISMS, &last), SCRAM_REFUSED);
	cr_assert_eq(last, CLIENT_FINAL);
	cr_assert_eq(iobuf_len(&talk.server_final), 0);
	talk_fini(&talk);
}

/* ---- what somebody on the way does to messages ---- */

/* Until the step all is well; its message arrives with a byte changed (at < len) or cut
 * short (value -1). True if the login succeeds all the same. */
static bool succeeds_spoilt(const struct scram_keys *keys, const struct scram_binding *bound,
                            enum step step, size_t at, int value)
{
	enum scram_status status = SCRAM_OK;
	enum step last = MECHANISMS;
	struct iobuf *victim;
	struct talk talk;
	uint8_t *copy;
	size_t len;

	talk_init(&talk, keys, bound, bound);
	scram_server_mechanisms(talk.server, &talk.mechanisms);
	for (; last < step; last++)
		cr_assert_eq(hear(&talk, last, iobuf_head(message(&talk, last)),
		                  iobuf_len(message(&talk, last))),
		             SCRAM_OK);
	victim = message(&talk, step);
	len = value < 0 ? at : iobuf_len(victim);
	copy = malloc(len ? len : 1); /* of its exact size, for the sanitizers */
	memcpy(copy, iobuf_head(victim), len);
	if (value >= 0)
		copy[at] ^= (uint8_t)value;
	status = hear(&talk, step, copy, len);
	free(copy);
	if (status == SCRAM_OK)
		status = go_on(&talk, step + 1, &last);
	if (status == SCRAM_OK &&
	    step == MECHANISMS) /* the list is not signed: it binds, or fails */
		status = bound->len > 0 && memcmp(iobuf_head(&talk.client_first),
		                                  "SCRAM-SHA-256-PLUS", 18) == 0
		             ? SCRAM_REFUSED
		             : SCRAM_OK;
	talk_fini(&talk);
	return status == SCRAM_OK;
}

static size_t length_of(const struct scram_keys *keys, const struct scram_binding *bound,
                        enum step step)
{
	struct talk talk;
	enum step last;
	size_t len;

	talk_init(&talk, keys, bound, bound);
	cr_assert_eq(go_on(&talk, MECHANISMS, &last), SCRAM_OK);
	len = iobuf_len(message(&talk, step));
	talk_fini(&talk);
	return len;
}

Test(scram_talk, every_truncation_of_every_message_is_refused)
{
	struct scram_keys keys = rfc_keys();

	for (size_t bits = 0; bits <= 32; bits += 32) {
		struct scram_binding bound = binding("certificate", bits);

		for (enum step step = MECHANISMS; step < STEPS; step++)
			for (size_t len = length_of(&keys, &bound, step); len-- > 0;)
				cr_assert(!succeeds_spoilt(&keys, &bound, step, len, -1),
				          "step %d, %zu bytes", step, len);
	}
}

Test(scram_talk, every_changed_byte_of_every_message_is_refused)
{
	static const uint8_t changes[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80,
	                                  0x03, 0x11, 0x18, 0x2c, 0x3d, 0x5a, 0x72, 0xff};
	struct scram_keys keys = rfc_keys();

	for (size_t bits = 0; bits <= 32; bits += 32) {
		struct scram_binding bound = binding("certificate", bits);

		for (enum step step = MECHANISMS; step < STEPS; step++)
			for (size_t at = length_of(&keys, &bound, step); at-- > 0;)
				for (unsigned i = 0; i < sizeof(changes); i++)
					cr_assert(
					    !succeeds_spoilt(&keys, &bound, step, at, changes[i]),
					    "step %d, byte %zu ^ %#x", step, at, changes[i]);
	}
}

/* PgBouncer before 1.25.2: a server's long nonce ran over the buffer of client-final. */
Test(scram_talk, CVE_2026_6665_a_server_with_a_long_nonce_is_answered_whole)
{
	struct scram_binding bound = binding("certificate", SCRAM_BINDING_MAX);
	struct scram_keys keys = rfc_keys();
	char nonce[8000];
	struct talk talk;
	enum step last;

	memset(nonce, 'x', sizeof(nonce) - 1);
	nonce[sizeof(nonce) - 1] = '\0';
	talk_init(&talk, &keys, &bound, &bound);
	scram_server_set_nonce(talk.server, nonce);
	/* to the client all is well; our server does not take what PostgreSQL's would not */
	cr_assert_eq(go_on(&talk, MECHANISMS, &last), SCRAM_BROKEN);
	cr_assert_eq(last, CLIENT_FINAL);
	cr_assert_str_eq(talk.failure.message, "invalid message length");
	cr_assert(iobuf_len(&talk.client_final) > sizeof(nonce));
	talk_fini(&talk);
}

Test(scram_talk, messages_longer_than_anybody_writes_are_refused)
{
	struct scram_keys keys = rfc_keys();
	struct talk talk;
	uint8_t *body = malloc(SCRAM_MESSAGE_MAX + 1);

	memset(body, 'r', SCRAM_MESSAGE_MAX + 1);
	for (enum step step = CLIENT_FIRST; step < STEPS; step++) {
		talk_init(&talk, &keys, &none, &none);
		scram_server_mechanisms(talk.server, &talk.mechanisms);
		for (enum step before = MECHANISMS; before < step; before++)
			hear(&talk, before, iobuf_head(message(&talk, before)),
			     iobuf_len(message(&talk, before)));
		cr_assert_eq(hear(&talk, step, body, SCRAM_MESSAGE_MAX + 1), SCRAM_BROKEN);
		cr_assert_str_eq(talk.failure.message, "invalid message length");
		talk_fini(&talk);
	}
	free(body);
}

/* libpq before 11.4: a server's signature longer than it should be ran over the stack. */
Test(scram_talk, CVE_2019_10164_a_signature_of_another_length_is_refused)
{
	struct scram_keys keys = rfc_keys();
	char key[800];

	for (size_t len = 0; len < sizeof(key) - 1; len += 4) {
		struct talk talk;

		talk_init(&talk, &keys, &none, &none);
		scram_server_mechanisms(talk.server, &talk.mechanisms);
		for (enum step step = MECHANISMS; step < SERVER_FINAL; step++)
			hear(&talk, step, iobuf_head(message(&talk, step)),
			     iobuf_len(message(&talk, step)));
		memcpy(key, "v=", 2);
		memset(key + 2, 'A', len);
		cr_assert_eq(hear(&talk, SERVER_FINAL, (const uint8_t *)key, len + 2),
		             SCRAM_BROKEN);
		talk_fini(&talk);
	}
}

/* ---- the client and a server's first message ---- */

/* %s in the format is the client's nonce. */
static void server_first_is(const char *format, enum scram_status status, const char *expected)
{
	struct scram_keys keys = rfc_keys();
	char text[256], nonce[64];
	struct talk talk;

	talk_init(&talk, &keys, &none, &none);
	scram_server_mechanisms(talk.server, &talk.mechanisms);
	hear(&talk, MECHANISMS, iobuf_head(&talk.mechanisms), iobuf_len(&talk.mechanisms));
	snprintf(nonce, sizeof(nonce), "%.*s", 24,
	         (const char *)iobuf_head(&talk.client_first) + iobuf_len(&talk.client_first) - 24);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, sizeof(text), format, nonce);
#pragma GCC diagnostic pop
	cr_assert_eq(hear(&talk, SERVER_FIRST, (const uint8_t *)text, strlen(text)), status, "%s",
	             text);
	if (status != SCRAM_OK)
		cr_assert_str_eq(talk.failure.message, expected, "%s: %s", text,
		                 talk.failure.message);
	cr_assert_eq(iobuf_len(&talk.client_final) > 0, status == SCRAM_OK);
	talk_fini(&talk);
}

Test(scram_talk, a_server_first_message_is_read_as_libpq_does)
{
	server_first_is("r=%sx,s=AAAA,i=1", SCRAM_OK, "");
	server_first_is("r=%sx,s=AAAA,i=2147483647", SCRAM_OK, ""); /* and costs nothing */
	server_first_is("r=x%sx,s=AAAA,i=1", SCRAM_BROKEN,
	                "invalid SCRAM response (nonce mismatch)");
	server_first_is("r=%.23s,s=AAAA,i=1", SCRAM_BROKEN,
	                "invalid SCRAM response (nonce mismatch)");
	server_first_is("r=%s ,s=AAAA,i=1", SCRAM_BROKEN,
	                "invalid SCRAM response (nonce mismatch)");
	server_first_is("r=%sx,s=AAA,i=1", SCRAM_BROKEN, "malformed SCRAM message (invalid salt)");
	server_first_is("r=%sx,s=A AA,i=1", SCRAM_BROKEN, "malformed SCRAM message (invalid salt)");
	for (unsigned i = 0; i < 7; i++) {
		static const char *const counts[] = {"r=%sx,s=AAAA,i=0",
		                                     "r=%sx,s=AAAA,i=-1",
		                                     "r=%sx,s=AAAA,i=",
		                                     "r=%sx,s=AAAA,i=1x",
		                                     "r=%sx,s=AAAA,i=2147483648",
		                                     "r=%sx,s=AAAA,i= 1",
		                                     "r=%sx,s=AAAA,i=18446744073709551617"};

		server_first_is(counts[i], SCRAM_BROKEN,
		                "malformed SCRAM message (invalid iteration count)");
	}
	server_first_is("r=%sx,s=AAAA,i=1,x=y", SCRAM_BROKEN,
	                "malformed SCRAM message (garbage at end of server-first-message)");
	server_first_is("m=x,r=%sx,s=AAAA,i=1", SCRAM_BROKEN, "malformed SCRAM message");
}

Test(scram_talk, a_list_without_a_known_mechanism_is_refused)
{
	static const char *const lists[] = {"GS2-KRB5\0", "", "\0", "SCRAM-SHA-256-PLUS\0",
	                                    "SCRAM-SHA-1\0SCRAM-SHA-512\0"};
	static const size_t lens[] = {10, 0, 1, 20, 27};
	struct scram_keys keys = rfc_keys();

	for (unsigned i = 0; i < 5; i++) {
		struct talk talk;

		talk_init(&talk, &keys, &none, &none);
		cr_assert_eq(hear(&talk, MECHANISMS, (const uint8_t *)lists[i], lens[i]),
		             SCRAM_BROKEN, "%u", i);
		cr_assert_eq(iobuf_len(&talk.client_first), 0);
		talk_fini(&talk);
	}
}
