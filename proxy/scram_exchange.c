/*
 * Scram exchange: see scram_exchange.h.
 */
#include "proxy/scram_exchange.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONCE_RAW_LEN 18

static_assert(SCRAM_KEY_LEN == DIGEST_LEN, "SCRAM-SHA-256");
static_assert(DIGEST_BASE64_LEN(NONCE_RAW_LEN) == SCRAM_NONCE_LEN, "no padding");

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

size_t scram_span_len(struct scram_span span)
{
	return (size_t)(span.end - span.at);
}

bool scram_span_is(struct scram_span span, const char *text)
{
	return scram_span_len(span) == strlen(text) &&
	       memcmp(span.at, text, scram_span_len(span)) == 0;
}

char *scram_span_copy(struct scram_span span)
{
	return must(strndup(span.at, scram_span_len(span)));
}

char *scram_format(const char *text, ...)
{
	char *out;
	va_list args;
	int len;

	va_start(args, text);
	len = vasprintf(&out, text, args);
	va_end(args);
	if (len < 0)
		abort();
	return out;
}

/* ---- failures ---- */

enum scram_status scram_fail(struct scram_exchange *exchange, struct scram_failure *failure,
                             const char *sqlstate, const char *message)
{
	exchange->state = SCRAM_FAILED;
	*failure = (struct scram_failure){.sqlstate = sqlstate, .message = message};
	return SCRAM_BROKEN;
}

enum scram_status scram_malformed(struct scram_exchange *exchange, struct scram_failure *failure,
                                  const char *detail, ...)
{
	va_list args;

	va_start(args, detail);
	vsnprintf(exchange->words, sizeof(exchange->words), detail, args);
	va_end(args);
	scram_fail(exchange, failure, "08P01", "malformed SCRAM message");
	failure->detail = exchange->words;
	return SCRAM_BROKEN;
}

bool scram_printable(char c)
{
	return c >= 0x21 && c <= 0x7e;
}

struct scram_shown scram_show(const struct scram_span *rest)
{
	char c = rest->at < rest->end ? *rest->at : '\0';
	struct scram_shown shown;

	if (scram_printable(c))
		snprintf(shown.text, sizeof(shown.text), "'%c'", c);
	else
		snprintf(shown.text, sizeof(shown.text), "0x%02x", (unsigned char)c);
	return shown;
}

/* A message as a whole; false with a failure if no message can look like that. */
bool scram_take_message(struct scram_exchange *exchange, struct scram_failure *failure,
                        const uint8_t *body, size_t len, size_t max, struct scram_span *message)
{
	if (len > max)
		scram_fail(exchange, failure, "08P01", "invalid message length");
	else if (len == 0)
		scram_malformed(exchange, failure, "The message is empty.");
	else if (memchr(body, 0, len))
		scram_malformed(exchange, failure, "Message length does not match input length.");
	else
		*message = (struct scram_span){(const char *)body, (const char *)body + len};
	return exchange->state != SCRAM_FAILED;
}

/* ---- attributes ---- */

bool scram_next_is(const struct scram_span *rest, char c)
{
	return rest->at < rest->end && *rest->at == c;
}

/* Behind the attribute's letter: "=", the value and a comma that is swallowed. */
static bool take_value(struct scram_exchange *exchange, struct scram_failure *failure,
                       struct scram_span *rest, char attribute, struct scram_span *value)
{
	if (!scram_next_is(rest, '=')) {
		scram_malformed(exchange, failure, "Expected character \"=\" for attribute \"%c\".",
		                attribute);
		return false;
	}
	rest->at++;
	value->at = rest->at;
	value->end = memchr(rest->at, ',', scram_span_len(*rest));
	if (!value->end)
		value->end = rest->end;
	rest->at = value->end < rest->end ? value->end + 1 : rest->end;
	return true;
}

bool scram_take_attribute(struct scram_exchange *exchange, struct scram_failure *failure,
                          struct scram_span *rest, char attribute, struct scram_span *value)
{
	if (!scram_next_is(rest, attribute)) {
		scram_malformed(exchange, failure, "Expected attribute \"%c\" but found \"%s\".",
		                attribute, scram_show(rest).text);
		return false;
	}
	rest->at++;
	return take_value(exchange, failure, rest, attribute, value);
}

bool scram_take_any(struct scram_exchange *exchange, struct scram_failure *failure,
                    struct scram_span *rest, char *attribute, struct scram_span *value)
{
	if (rest->at == rest->end) {
		scram_malformed(exchange, failure, "Attribute expected, but found end of string.");
		return false;
	}
	*attribute = *rest->at;
	if ((*attribute < 'A' || *attribute > 'Z') && (*attribute < 'a' || *attribute > 'z')) {
		scram_malformed(exchange, failure,
		                "Attribute expected, but found invalid character \"%s\".",
		                scram_show(rest).text);
		return false;
	}
	rest->at++;
	return take_value(exchange, failure, rest, *attribute, value);
}

bool scram_is_nonce(struct scram_span nonce)
{
	for (; nonce.at < nonce.end; nonce.at++)
		if (!scram_printable(*nonce.at)) /* a comma has ended it before */
			return false;
	return true;
}

/* A positive Int32 in decimal and nothing else. */
bool scram_read_count(struct scram_span digits, uint32_t *count)
{
	uint64_t value = 0;

	if (digits.at == digits.end || scram_span_len(digits) > 10)
		return false;
	for (; digits.at < digits.end; digits.at++) {
		if (*digits.at < '0' || *digits.at > '9')
			return false;
		value = value * 10 + (uint64_t)(*digits.at - '0');
	}
	if (value < 1 || value > INT32_MAX)
		return false;
	*count = (uint32_t)value;
	return true;
}

bool scram_read_key(struct scram_span text, uint8_t key[SCRAM_KEY_LEN])
{
	size_t len;

	return digest_base64_decode(text.at, scram_span_len(text), key, SCRAM_KEY_LEN, &len) &&
	       len == SCRAM_KEY_LEN;
}

void scram_random_nonce(char nonce[SCRAM_NONCE_LEN + 1])
{
	uint8_t raw[NONCE_RAW_LEN];

	digest_random(raw, sizeof(raw));
	digest_base64(raw, sizeof(raw), nonce);
	nonce[SCRAM_NONCE_LEN] = '\0';
}

char *scram_channel(const struct scram_exchange *exchange, const struct scram_binding *binding)
{
	uint8_t input[sizeof(SCRAM_GS2_PLUS) + SCRAM_BINDING_MAX];
	size_t len = strlen(SCRAM_GS2_PLUS);
	char *text;

	if (!exchange->plus)
		return scram_format("%s", exchange->flag == 'y' ? "eSws" : "biws");
	memcpy(input, SCRAM_GS2_PLUS, len);
	memcpy(input + len, binding->data, binding->len);
	len += binding->len;
	text = must(calloc(1, DIGEST_BASE64_LEN(len) + 1));
	digest_base64(input, len, text);
	return text;
}

void scram_sign(const struct scram_exchange *exchange, const uint8_t key[SCRAM_KEY_LEN],
                struct scram_span final, uint8_t signature[SCRAM_KEY_LEN])
{
	const struct digest_piece pieces[] = {
	    {exchange->client_first, strlen(exchange->client_first)},
	    {",", 1},
	    {exchange->server_first, strlen(exchange->server_first)},
	    {",", 1},
	    {final.at, scram_span_len(final)},
	};

	digest_hmac(key, pieces, 5, signature);
}

void scram_exchange_fini(struct scram_exchange *exchange)
{
	free(exchange->client_first);
	free(exchange->server_first);
	free(exchange->nonce);
}
