/*
 * Scram: verifiers and the server's side; the client's is scram_client.c, what both
 * need scram_exchange.c. The rules, their order and their words are those of
 * PostgreSQL's auth-scram.c and libpq's fe-auth-scram.c; base64 is read more
 * strictly.
 */
#include "proxy/scram.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/digest.h"
#include "proxy/scram_exchange.h"
#include "proxy/wire.h"

#define MOCK_SALT_LEN 16
#define MOCK_ITERATIONS 4096

struct scram_server {
	struct scram_exchange exchange;
	struct scram_verifier verifier;
	struct scram_binding binding;
	struct scram_keys keys;
	char *own_nonce;
};

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

/* ---- keys and verifiers ---- */

/* Up to the separator, which is swallowed; false if it is not there. */
static bool take_until(struct scram_span *rest, char separator, struct scram_span *field)
{
	const char *end = memchr(rest->at, separator, scram_span_len(*rest));

	if (!end)
		return false;
	*field = (struct scram_span){rest->at, end};
	rest->at = end + 1;
	return true;
}

bool scram_verifier_parse(const char *text, struct scram_verifier *verifier)
{
	struct scram_span rest = {text, text + strlen(text)}, scheme, iterations, salt, stored_key;
	size_t len;

	memset(verifier, 0, sizeof(*verifier));
	if (!take_until(&rest, '$', &scheme) || !take_until(&rest, ':', &iterations) ||
	    !take_until(&rest, '$', &salt) || !take_until(&rest, ':', &stored_key))
		return false;
	if (!scram_span_is(scheme, SCRAM_MECHANISM) ||
	    !scram_read_count(iterations, &verifier->iterations) || salt.at == salt.end ||
	    scram_span_len(salt) > SCRAM_SALT_MAX ||
	    !digest_base64_decode(salt.at, scram_span_len(salt), NULL, SCRAM_SALT_MAX, &len) ||
	    !scram_read_key(stored_key, verifier->stored_key) ||
	    !scram_read_key(rest, verifier->server_key)) {
		scram_verifier_wipe(verifier);
		return false;
	}
	memcpy(verifier->salt, salt.at, scram_span_len(salt));
	return true;
}

void scram_verifier_mock(const uint8_t secret[SCRAM_KEY_LEN], const char *user,
                         struct scram_verifier *verifier)
{
	const struct digest_piece name = {user, strlen(user)};
	uint8_t salt[DIGEST_LEN];

	memset(verifier, 0, sizeof(*verifier));
	digest_hmac(secret, &name, 1, salt);
	digest_base64(salt, MOCK_SALT_LEN, verifier->salt);
	verifier->iterations = MOCK_ITERATIONS;
	verifier->mock = true;
}

void scram_verifier_wipe(struct scram_verifier *verifier)
{
	digest_wipe(verifier, sizeof(*verifier));
}

void scram_keys_wipe(struct scram_keys *keys)
{
	digest_wipe(keys, sizeof(*keys));
}

/* ---- server ---- */

struct scram_server *scram_server_new(const struct scram_verifier *verifier,
                                      const struct scram_binding *binding)
{
	struct scram_server *server = must(calloc(1, sizeof(*server)));
	char nonce[SCRAM_NONCE_LEN + 1];

	assert(binding->len <= sizeof(binding->data));
	server->verifier = *verifier;
	server->binding = *binding;
	scram_random_nonce(nonce);
	server->own_nonce = must(strdup(nonce));
	return server;
}

void scram_server_set_nonce(struct scram_server *server, const char *nonce)
{
	free(server->own_nonce);
	server->own_nonce = must(strdup(nonce));
}

void scram_server_free(struct scram_server *server)
{
	if (!server)
		return;
	scram_exchange_fini(&server->exchange);
	free(server->own_nonce);
	digest_wipe(server, sizeof(*server));
	free(server);
}

void scram_server_mechanisms(const struct scram_server *server, struct iobuf *out)
{
	if (server->binding.len > 0)
		iobuf_append(out, SCRAM_MECHANISM_PLUS, sizeof(SCRAM_MECHANISM_PLUS));
	iobuf_append(out, SCRAM_MECHANISM, sizeof(SCRAM_MECHANISM));
	iobuf_append(out, "", 1);
}

bool scram_server_awaits_first(const struct scram_server *server)
{
	return server->exchange.state == SCRAM_AWAITS_FIRST;
}

/* "n," or "y,": the client does not bind. */
static bool take_unbound(struct scram_server *server, struct scram_failure *failure,
                         struct scram_span *rest)
{
	struct scram_exchange *exchange = &server->exchange;

	if (exchange->plus) {
		scram_malformed(
		    exchange, failure,
		    "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not "
		    "include channel binding data.");
	} else if (*rest->at == 'y' && server->binding.len > 0) {
		/* somebody took PLUS off the list on its way */
		scram_fail(exchange, failure, "28000", "SCRAM channel binding negotiation error");
		failure->detail =
		    "The client supports SCRAM channel binding but thinks the server does not.  "
		    "However, this server does support channel binding.";
	} else {
		rest->at++;
		if (scram_next_is(rest, ','))
			rest->at++;
		else
			scram_malformed(exchange, failure,
			                "Comma expected, but found character \"%s\".",
			                scram_show(rest).text);
	}
	return exchange->state != SCRAM_FAILED;
}

static bool take_bound(struct scram_exchange *exchange, struct scram_failure *failure,
                       struct scram_span *rest)
{
	struct scram_span type;
	int len;

	if (!exchange->plus) {
		scram_malformed(
		    exchange, failure,
		    "The client selected SCRAM-SHA-256 without channel binding, but the "
		    "SCRAM message includes channel binding data.");
		return false;
	}
	if (!scram_take_attribute(exchange, failure, rest, 'p', &type))
		return false;
	if (scram_span_is(type, "tls-server-end-point"))
		return true;
	len =
	    snprintf(exchange->words, SCRAM_WORDS_MAX, "unsupported SCRAM channel-binding type \"");
	for (unsigned i = 0; i < 30 && type.at < type.end; i++, type.at++)
		exchange->words[len++] = scram_printable(*type.at) ? *type.at : '?';
	snprintf(exchange->words + len, 2, "\"");
	scram_fail(exchange, failure, "08P01", exchange->words);
	return false;
}

static bool take_gs2_header(struct scram_server *server, struct scram_failure *failure,
                            struct scram_span *rest)
{
	struct scram_exchange *exchange = &server->exchange;

	exchange->flag = *rest->at;
	if (exchange->flag == 'n' || exchange->flag == 'y') {
		if (!take_unbound(server, failure, rest))
			return false;
	} else if (exchange->flag == 'p') {
		if (!take_bound(exchange, failure, rest))
			return false;
	} else {
		scram_malformed(exchange, failure, "Unexpected channel-binding flag \"%s\".",
		                scram_show(rest).text);
		return false;
	}
	if (scram_next_is(rest, 'a')) {
		scram_fail(exchange, failure, "0A000",
		           "client uses authorization identity, but it is not supported");
		return false;
	}
	if (!scram_next_is(rest, ',')) {
		scram_malformed(exchange, failure,
		                "Unexpected attribute \"%s\" in client-first-message.",
		                scram_show(rest).text);
		return false;
	}
	rest->at++;
	return true;
}

static enum scram_status read_client_first(struct scram_server *server,
                                           struct scram_failure *failure, struct scram_span rest)
{
	struct scram_exchange *exchange = &server->exchange;
	struct scram_span bare, user, nonce, value;
	char attribute;

	if (!take_gs2_header(server, failure, &rest))
		return SCRAM_BROKEN;
	bare = rest;
	if (scram_next_is(&rest, 'm'))
		return scram_fail(exchange, failure, "0A000",
		                  "client requires an unsupported SCRAM extension");
	/* the user is the startup message's */
	if (!scram_take_attribute(exchange, failure, &rest, 'n', &user) ||
	    !scram_take_attribute(exchange, failure, &rest, 'r', &nonce))
		return SCRAM_BROKEN;
	if (!scram_is_nonce(nonce))
		return scram_fail(exchange, failure, "08P01",
		                  "non-printable characters in SCRAM nonce");
	while (rest.at < rest.end)
		if (!scram_take_any(exchange, failure, &rest, &attribute, &value))
			return SCRAM_BROKEN;
	exchange->client_first = scram_span_copy(bare);
	exchange->nonce =
	    scram_format("%.*s%s", (int)scram_span_len(nonce), nonce.at, server->own_nonce);
	exchange->server_first =
	    scram_format("r=%s,s=%s,i=%u", exchange->nonce, server->verifier.salt,
	                 (unsigned)server->verifier.iterations);
	exchange->state = SCRAM_AWAITS_FINAL;
	return SCRAM_OK;
}

/* SASLInitialResponse's head: the mechanism and how much follows. */
static enum scram_status read_initial(struct scram_server *server, struct scram_failure *failure,
                                      const uint8_t *body, size_t len, struct scram_span *message)
{
	struct scram_exchange *exchange = &server->exchange;
	struct wire_reader reader;
	const char *mechanism;
	int32_t announced;
	size_t rest;

	if (len > SCRAM_CLIENT_MAX)
		return scram_fail(exchange, failure, "08P01", "invalid message length");
	wire_read_init(&reader, body, len);
	mechanism = wire_read_string(&reader);
	if (reader.bad)
		return scram_fail(exchange, failure, "08P01", "invalid string in message");
	exchange->plus = strcmp(mechanism, SCRAM_MECHANISM_PLUS) == 0 && server->binding.len > 0;
	if (!exchange->plus && strcmp(mechanism, SCRAM_MECHANISM) != 0)
		return scram_fail(exchange, failure, "08P01",
		                  "client selected an invalid SASL authentication mechanism");
	announced = (int32_t)wire_read_u32(&reader);
	rest = (size_t)(reader.end - reader.at);
	if (reader.bad || announced < -1 || (announced >= 0 && (uint32_t)announced > rest))
		return scram_fail(exchange, failure, "08P01", "insufficient data left in message");
	if (rest != (announced < 0 ? 0 : (size_t)announced))
		return scram_fail(exchange, failure, "08P01", "invalid message format");
	exchange->state = SCRAM_AWAITS_FIRST;
	if (announced >= 0)
		scram_take_message(exchange, failure, reader.at, rest, SCRAM_CLIENT_MAX, message);
	return exchange->state == SCRAM_FAILED ? SCRAM_BROKEN : SCRAM_OK;
}

enum scram_status scram_server_first(struct scram_server *server, const uint8_t *body, size_t len,
                                     struct iobuf *out, struct scram_failure *failure)
{
	struct scram_exchange *exchange = &server->exchange;
	struct scram_span message = {NULL, NULL};
	enum scram_status status;

	if (exchange->state == SCRAM_AWAITS_MECHANISM) {
		status = read_initial(server, failure, body, len, &message);
		if (status != SCRAM_OK || !message.at) /* an empty challenge */
			return status;
	} else if (exchange->state != SCRAM_AWAITS_FIRST) {
		return scram_fail(exchange, failure, "XX000", "invalid SCRAM exchange state");
	} else if (!scram_take_message(exchange, failure, body, len, SCRAM_CLIENT_MAX, &message)) {
		return SCRAM_BROKEN;
	}
	status = read_client_first(server, failure, message);
	if (status == SCRAM_OK)
		iobuf_append(out, exchange->server_first, strlen(exchange->server_first));
	return status;
}

/* client-final-message: what is signed, the nonce and the proof. */
static bool read_client_final(struct scram_server *server, struct scram_failure *failure,
                              struct scram_span message, struct scram_span *signed_part,
                              struct scram_span *nonce, uint8_t proof[SCRAM_KEY_LEN])
{
	struct scram_exchange *exchange = &server->exchange;
	struct scram_span rest = message, value;
	char *expected, attribute;
	bool same;

	if (!scram_take_attribute(exchange, failure, &rest, 'c', &value))
		return false;
	expected = scram_channel(exchange, &server->binding);
	same = scram_span_is(value, expected);
	free(expected);
	if (!same) {
		if (exchange->plus)
			scram_fail(exchange, failure, "28000",
			           "SCRAM channel binding check failed");
		else
			scram_fail(
			    exchange, failure, "08P01",
			    "unexpected SCRAM channel-binding attribute in client-final-message");
		return false;
	}
	if (!scram_take_attribute(exchange, failure, &rest, 'r', nonce))
		return false;
	do { /* extensions */
		*signed_part = (struct scram_span){message.at, rest.at - 1};
		if (!scram_take_any(exchange, failure, &rest, &attribute, &value))
			return false;
	} while (attribute != 'p');
	if (!scram_read_key(value, proof))
		scram_malformed(exchange, failure, "Malformed proof in client-final-message.");
	else if (rest.at < rest.end)
		scram_malformed(exchange, failure,
		                "Garbage found at the end of client-final-message.");
	return exchange->state != SCRAM_FAILED;
}

/* The client's key is the proof less the signature; its hash is known. */
static bool recover_key(struct scram_server *server, struct scram_span signed_part,
                        const uint8_t proof[SCRAM_KEY_LEN])
{
	uint8_t signature[SCRAM_KEY_LEN], stored_key[SCRAM_KEY_LEN];
	uint8_t *key = server->keys.client_key;
	bool ok;

	scram_sign(&server->exchange, server->verifier.stored_key, signed_part, signature);
	for (unsigned i = 0; i < SCRAM_KEY_LEN; i++)
		key[i] = proof[i] ^ signature[i];
	digest_sha256(key, SCRAM_KEY_LEN, stored_key);
	ok = digest_equal(stored_key, server->verifier.stored_key, SCRAM_KEY_LEN);
	memcpy(server->keys.server_key, server->verifier.server_key, SCRAM_KEY_LEN);
	return ok && !server->verifier.mock;
}

enum scram_status scram_server_final(struct scram_server *server, const uint8_t *body, size_t len,
                                     struct iobuf *out, struct scram_failure *failure)
{
	struct scram_exchange *exchange = &server->exchange;
	uint8_t proof[SCRAM_KEY_LEN], signature[SCRAM_KEY_LEN];
	char text[DIGEST_BASE64_LEN(SCRAM_KEY_LEN)];
	struct scram_span message, signed_part, nonce;

	if (exchange->state != SCRAM_AWAITS_FINAL)
		return scram_fail(exchange, failure, "XX000", "invalid SCRAM exchange state");
	if (!scram_take_message(exchange, failure, body, len, SCRAM_CLIENT_MAX, &message) ||
	    !read_client_final(server, failure, message, &signed_part, &nonce, proof))
		return SCRAM_BROKEN;
	if (!scram_span_is(nonce, exchange->nonce)) {
		scram_fail(exchange, failure, "08P01", "invalid SCRAM response");
		failure->detail = "Nonce does not match.";
		return SCRAM_BROKEN;
	}
	if (!recover_key(server, signed_part, proof)) {
		scram_keys_wipe(&server->keys);
		exchange->state = SCRAM_FAILED;
		return SCRAM_REFUSED;
	}
	scram_sign(exchange, server->verifier.server_key, signed_part, signature);
	digest_base64(signature, sizeof(signature), text);
	iobuf_append(out, "v=", 2);
	iobuf_append(out, text, sizeof(text));
	exchange->state = SCRAM_DONE;
	return SCRAM_OK;
}

void scram_server_keys(const struct scram_server *server, struct scram_keys *keys)
{
	assert(server->exchange.state == SCRAM_DONE);
	*keys = server->keys;
}
