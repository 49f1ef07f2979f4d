/*
 * Scram exchange: what both sides of SCRAM have in common: reading attributes of a
 * message, saying how it is malformed, what is signed. For scram.c and
 * scram_client.c alone; everybody else needs scram.h.
 *
 * A message is a pair of pointers, never a string, and each value is found within
 * it, so that no length is ever computed from what a peer wrote.
 */
#ifndef PROXY_SCRAM_EXCHANGE_H
#define PROXY_SCRAM_EXCHANGE_H

#include "proxy/digest.h"
#include "proxy/scram.h"

#define SCRAM_NONCE_LEN DIGEST_BASE64_LEN(18) /* of our part */
#define SCRAM_GS2_PLUS "p=tls-server-end-point,,"
#define SCRAM_WORDS_MAX 160

enum scram_state {
	SCRAM_AWAITS_MECHANISM,
	SCRAM_AWAITS_FIRST,
	SCRAM_AWAITS_FINAL,
	SCRAM_AWAITS_VERDICT,
	SCRAM_DONE,
	SCRAM_FAILED,
};

/* What both sides sign, and how it went wrong. */
struct scram_exchange {
	enum scram_state state;
	bool plus;          /* the mechanism is SCRAM-SHA-256-PLUS */
	char flag;          /* the client's first byte: n, y or p */
	char *client_first; /* bare */
	char *server_first;
	char *nonce; /* the client's, later both */
	char words[SCRAM_WORDS_MAX];
};

struct scram_span {
	const char *at, *end;
};
size_t scram_span_len(struct scram_span span);
bool scram_span_is(struct scram_span span, const char *text);
char *scram_span_copy(struct scram_span span);                                   /* malloc'ed */
char *scram_format(const char *text, ...) __attribute__((format(printf, 1, 2))); /* malloc'ed */

void scram_exchange_fini(struct scram_exchange *exchange);

/* ---- failures: the exchange is over; SCRAM_BROKEN ---- */

enum scram_status scram_fail(struct scram_exchange *exchange, struct scram_failure *failure,
                             const char *sqlstate, const char *message);
enum scram_status scram_malformed(struct scram_exchange *exchange, struct scram_failure *failure,
                                  const char *detail, ...) __attribute__((format(printf, 3, 4)));
bool scram_printable(char c);
/* The next character as an error names it; the end is 0x00. */
struct scram_shown {
	char text[8];
};
struct scram_shown scram_show(const struct scram_span *rest);

/* ---- reading: false after scram_fail() ---- */

/* A message as a whole, not empty, without a NUL. */
bool scram_take_message(struct scram_exchange *exchange, struct scram_failure *failure,
                        const uint8_t *body, size_t len, size_t max, struct scram_span *message);
bool scram_next_is(const struct scram_span *rest, char c);
/* "attribute=value" and a comma, if there is one, that is swallowed. */
bool scram_take_attribute(struct scram_exchange *exchange, struct scram_failure *failure,
                          struct scram_span *rest, char attribute, struct scram_span *value);
bool scram_take_any(struct scram_exchange *exchange, struct scram_failure *failure,
                    struct scram_span *rest, char *attribute, struct scram_span *value);

/* ---- values ---- */

bool scram_is_nonce(struct scram_span nonce);
bool scram_read_count(struct scram_span digits, uint32_t *count); /* 1 to INT32_MAX, in decimal */
bool scram_read_key(struct scram_span text, uint8_t key[SCRAM_KEY_LEN]);
void scram_random_nonce(char nonce[SCRAM_NONCE_LEN + 1]);
/* What the client has to say, and to repeat, of the channel: base64 of the GS2 header
 * and, with PLUS, of the certificate's digest. malloc'ed. */
char *scram_channel(const struct scram_exchange *exchange, const struct scram_binding *binding);
/* By client-first-message-bare, server-first-message and the given rest. */
void scram_sign(const struct scram_exchange *exchange, const uint8_t key[SCRAM_KEY_LEN],
                struct scram_span final, uint8_t signature[SCRAM_KEY_LEN]);

#endif
