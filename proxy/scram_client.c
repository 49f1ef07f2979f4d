/*
 * Scram client: logs in with keys instead of a password. See scram.h.
 *
 * The server's iteration count is read but never used: the keys were derived from
 * the password long ago, by whoever knew it.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/digest.h"
#include "proxy/scram.h"
#include "proxy/scram_exchange.h"
#include "proxy/wire.h"

struct scram_client {
	struct scram_exchange exchange;
	struct scram_keys keys;
	struct scram_binding binding;
	uint8_t server_signature[SCRAM_KEY_LEN];
};

struct scram_client *scram_client_new(const struct scram_keys *keys,
                                      const struct scram_binding *binding)
{
	struct scram_client *client = calloc(1, sizeof(*client));

	if (!client)
		abort();
	assert(binding->len <= sizeof(binding->data));
	client->keys = *keys;
	client->binding = *binding;
	return client;
}

void scram_client_free(struct scram_client *client)
{
	if (!client)
		return;
	scram_exchange_fini(&client->exchange);
	digest_wipe(client, sizeof(*client));
	free(client);
}

/* Names, each with its NUL; an empty one ends them. */
static bool choose_mechanism(struct scram_client *client, const uint8_t *mechanisms, size_t len,
                             struct scram_failure *failure)
{
	struct scram_exchange *exchange = &client->exchange;
	struct wire_reader reader;
	bool plus = false, plain = false;
	const char *name;

	wire_read_init(&reader, mechanisms, len);
	while (*(name = wire_read_string(&reader))) {
		plus = plus || strcmp(name, SCRAM_MECHANISM_PLUS) == 0;
		plain = plain || strcmp(name, SCRAM_MECHANISM) == 0;
	}
	exchange->plus = plus && client->binding.len > 0;
	exchange->flag = client->binding.len > 0 ? 'y' : 'n';
	if (!wire_read_done(&reader))
		scram_fail(exchange, failure, "08P01", "malformed list of SASL mechanisms");
	else if (!exchange->plus && !plain)
		scram_fail(exchange, failure, "08P01",
		           "none of the server's SASL authentication mechanisms are supported");
	return exchange->state != SCRAM_FAILED;
}

enum scram_status scram_client_first(struct scram_client *client, const uint8_t *mechanisms,
                                     size_t len, struct iobuf *out, struct scram_failure *failure)
{
	struct scram_exchange *exchange = &client->exchange;
	char nonce[SCRAM_NONCE_LEN + 1], *message;
	size_t message_len;

	if (exchange->state != SCRAM_AWAITS_MECHANISM)
		return scram_fail(exchange, failure, "XX000", "invalid SCRAM exchange state");
	if (!choose_mechanism(client, mechanisms, len, failure))
		return SCRAM_BROKEN;
	scram_random_nonce(nonce);
	exchange->nonce = scram_format("%s", nonce);
	exchange->client_first = scram_format("n=,r=%s", nonce);
	message = exchange->plus ? scram_format("%s%s", SCRAM_GS2_PLUS, exchange->client_first)
	                         : scram_format("%c,,%s", exchange->flag, exchange->client_first);
	message_len = strlen(message);
	if (exchange->plus)
		iobuf_append(out, SCRAM_MECHANISM_PLUS, sizeof(SCRAM_MECHANISM_PLUS));
	else
		iobuf_append(out, SCRAM_MECHANISM, sizeof(SCRAM_MECHANISM));
	wire_put_u32(out, (uint32_t)message_len);
	iobuf_append(out, message, message_len);
	free(message);
	exchange->state = SCRAM_AWAITS_FINAL;
	return SCRAM_OK;
}

/* server-first-message. Its salt and count say nothing to us but have to be some. */
static bool read_server_first(struct scram_client *client, struct scram_failure *failure,
                              struct scram_span message)
{
	struct scram_exchange *exchange = &client->exchange;
	struct scram_span rest = message, nonce, salt, count;
	size_t own_len = strlen(exchange->nonce), len;
	uint32_t iterations;

	if (!scram_take_attribute(exchange, failure, &rest, 'r', &nonce))
		return false;
	if (!scram_is_nonce(nonce) || scram_span_len(nonce) < own_len ||
	    !digest_equal(nonce.at, exchange->nonce, own_len)) {
		scram_fail(exchange, failure, "08P01", "invalid SCRAM response (nonce mismatch)");
		return false;
	}
	if (!scram_take_attribute(exchange, failure, &rest, 's', &salt))
		return false;
	if (!digest_base64_decode(salt.at, scram_span_len(salt), NULL, SCRAM_MESSAGE_MAX, &len)) {
		scram_fail(exchange, failure, "08P01", "malformed SCRAM message (invalid salt)");
		return false;
	}
	if (!scram_take_attribute(exchange, failure, &rest, 'i', &count))
		return false;
	if (!scram_read_count(count, &iterations))
		scram_fail(exchange, failure, "08P01",
		           "malformed SCRAM message (invalid iteration count)");
	else if (rest.at < rest.end)
		scram_fail(exchange, failure, "08P01",
		           "malformed SCRAM message (garbage at end of server-first-message)");
	if (exchange->state == SCRAM_FAILED)
		return false;
	free(exchange->nonce);
	exchange->nonce = scram_span_copy(nonce);
	exchange->server_first = scram_span_copy(message);
	return true;
}

/* The client's key, hidden by a signature that only who knows its hash can make. */
static void make_proof(struct scram_client *client, struct scram_span signed_part,
                       uint8_t proof[SCRAM_KEY_LEN])
{
	uint8_t stored_key[SCRAM_KEY_LEN];

	digest_sha256(client->keys.client_key, SCRAM_KEY_LEN, stored_key);
	scram_sign(&client->exchange, stored_key, signed_part, proof);
	for (unsigned i = 0; i < SCRAM_KEY_LEN; i++)
		proof[i] ^= client->keys.client_key[i];
	digest_wipe(stored_key, sizeof(stored_key));
}

enum scram_status scram_client_final(struct scram_client *client, const uint8_t *body, size_t len,
                                     struct iobuf *out, struct scram_failure *failure)
{
	struct scram_exchange *exchange = &client->exchange;
	char text[DIGEST_BASE64_LEN(SCRAM_KEY_LEN)], *channel, *final;
	uint8_t proof[SCRAM_KEY_LEN];
	struct scram_span message, signed_part;

	if (exchange->state != SCRAM_AWAITS_FINAL)
		return scram_fail(exchange, failure, "XX000", "invalid SCRAM exchange state");
	if (!scram_take_message(exchange, failure, body, len, SCRAM_MESSAGE_MAX, &message) ||
	    !read_server_first(client, failure, message))
		return SCRAM_BROKEN;
	channel = scram_channel(exchange, &client->binding);
	final = scram_format("c=%s,r=%s", channel, exchange->nonce);
	signed_part = (struct scram_span){final, final + strlen(final)};
	make_proof(client, signed_part, proof);
	scram_sign(exchange, client->keys.server_key, signed_part, client->server_signature);
	digest_base64(proof, sizeof(proof), text);
	iobuf_append(out, final, strlen(final));
	iobuf_append(out, ",p=", 3);
	iobuf_append(out, text, sizeof(text));
	free(channel);
	free(final);
	exchange->state = SCRAM_AWAITS_VERDICT;
	return SCRAM_OK;
}

enum scram_status scram_client_verify(struct scram_client *client, const uint8_t *body, size_t len,
                                      struct scram_failure *failure)
{
	struct scram_exchange *exchange = &client->exchange;
	uint8_t signature[SCRAM_KEY_LEN];
	struct scram_span rest, value;

	if (exchange->state != SCRAM_AWAITS_VERDICT)
		return scram_fail(exchange, failure, "XX000", "invalid SCRAM exchange state");
	if (!scram_take_message(exchange, failure, body, len, SCRAM_MESSAGE_MAX, &rest))
		return SCRAM_BROKEN;
	if (scram_next_is(&rest, 'e')) {
		exchange->state = SCRAM_FAILED;
		return SCRAM_REFUSED;
	}
	if (!scram_take_attribute(exchange, failure, &rest, 'v', &value))
		return SCRAM_BROKEN;
	if (rest.at < rest.end)
		return scram_fail(
		    exchange, failure, "08P01",
		    "malformed SCRAM message (garbage at end of server-final-message)");
	if (!scram_read_key(value, signature))
		return scram_fail(exchange, failure, "08P01",
		                  "malformed SCRAM message (invalid server signature)");
	if (!digest_equal(signature, client->server_signature, SCRAM_KEY_LEN))
		return scram_fail(exchange, failure, "08P01", "incorrect server signature");
	exchange->state = SCRAM_DONE;
	return SCRAM_OK;
}
