/*
 * Fuzz scram: whatever a client sends to our server, and a server to our client. A
 * crash is a finding, and so is a login: nobody guesses a proof.
 *
 * First byte: who is spoken to, whether it binds, and whether it is a mock. Then
 * messages, each with two bytes of length. A message that is too long for the rest
 * is cut. An empty one stands for what the other side would really have said, so
 * that the later states are reached.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/digest.h"
#include "proxy/scram.h"
#include "t/fuzz/fuzz.h"

#define VERIFIER                                                                                   \
	"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"                                             \
	"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

struct fuzz {
	struct scram_server *server;
	struct scram_client *client;
	struct scram_failure failure;
	struct iobuf
	    sent[6]; /* mechanisms, client-first, server-first, client-final, server-final */
	const uint8_t *at, *end;
};

/* The next message, of exactly its size so that the sanitizers see each byte too far. */
static uint8_t *next(struct fuzz *fuzz, const struct iobuf *real, size_t *len)
{
	const uint8_t *from = iobuf_head(real);
	uint8_t *copy;

	*len = 0;
	if (fuzz->end - fuzz->at >= 2) {
		*len = (size_t)(fuzz->at[0] << 8 | fuzz->at[1]);
		fuzz->at += 2;
	}
	if (*len > (size_t)(fuzz->end - fuzz->at))
		*len = (size_t)(fuzz->end - fuzz->at);
	if (*len > 0) {
		from = fuzz->at;
		fuzz->at += *len;
	} else {
		*len = iobuf_len(real);
	}
	copy = malloc(*len ? *len : 1);
	if (!copy)
		abort();
	if (*len > 0)
		memcpy(copy, from, *len);
	return copy;
}

static enum scram_status hear(struct fuzz *fuzz, unsigned step, const uint8_t *body, size_t len)
{
	struct iobuf *out = &fuzz->sent[step + 1];

	switch (step) {
	case 0:
		return scram_client_first(fuzz->client, body, len, out, &fuzz->failure);
	case 1:
		return scram_server_first(fuzz->server, body, len, out, &fuzz->failure);
	case 2:
		return scram_client_final(fuzz->client, body, len, out, &fuzz->failure);
	case 3:
		return scram_server_final(fuzz->server, body, len, out, &fuzz->failure);
	default:
		return scram_client_verify(fuzz->client, body, len, &fuzz->failure);
	}
}

/* The client does not know the key: it can only be let in by a mistake. */
static void run(struct fuzz *fuzz, bool against_server)
{
	enum scram_status status = SCRAM_OK;

	scram_server_mechanisms(fuzz->server, &fuzz->sent[0]);
	for (unsigned step = 0; step < 5 && status == SCRAM_OK; step++) {
		bool spoilt = (step % 2 == 1) == against_server;
		size_t len;
		uint8_t *body;

		if (spoilt) {
			body = next(fuzz, &fuzz->sent[step], &len);
			status = hear(fuzz, step, body, len);
			free(body);
		} else {
			status = hear(fuzz, step, iobuf_head(&fuzz->sent[step]),
			              iobuf_len(&fuzz->sent[step]));
		}
		assert(status == SCRAM_OK || status == SCRAM_REFUSED ||
		       (fuzz->failure.sqlstate && strlen(fuzz->failure.sqlstate) == 5));
		assert(step < 3 || status != SCRAM_OK);
		if (step == 1 && status == SCRAM_OK && scram_server_awaits_first(fuzz->server)) {
			iobuf_fini(&fuzz->sent[2]);
			body = next(fuzz, &fuzz->sent[1], &len);
			status = scram_server_first(fuzz->server, body, len, &fuzz->sent[2],
			                            &fuzz->failure);
			free(body);
		}
	}
}

static void parse_verifier(const uint8_t *data, size_t size)
{
	struct scram_verifier verifier;
	char *text = malloc(size + 1);

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	if (scram_verifier_parse(text, &verifier))
		assert(verifier.iterations > 0 && verifier.salt[0] && !verifier.mock);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scram_binding binding = {.len = size > 0 && data[0] & 1 ? 32 : 0};
	struct scram_keys keys = {.client_key = "nobody's"};
	struct scram_verifier verifier;
	struct fuzz fuzz = {.at = data + 1, .end = data + size};

	if (size == 0)
		return 0;
	if (data[0] & 8) {
		parse_verifier(data + 1, size - 1);
		return 0;
	}
	if (!scram_verifier_parse(VERIFIER, &verifier))
		abort();
	verifier.mock = data[0] & 4;
	fuzz.server = scram_server_new(&verifier, &binding);
	scram_server_set_nonce(fuzz.server, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
	fuzz.client = scram_client_new(&keys, &binding);
	run(&fuzz, data[0] & 2);
	scram_server_free(fuzz.server);
	scram_client_free(fuzz.client);
	for (unsigned i = 0; i < 6; i++)
		iobuf_fini(&fuzz.sent[i]);
	return 0;
}
