/*
 * Footnote: the line that is added to the coordinator's EXPLAIN of a statement that
 * is not routed, with the reason: the last row in FORMAT TEXT, in FORMAT JSON a key
 * of the top object. The rest of the answer passes as it is.
 *
 * The coordinator's replies are watched until the one that answers the EXPLAIN; what
 * does not look like it is left alone.
 */
#ifndef PROXY_FOOTNOTE_H
#define PROXY_FOOTNOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parser/refusal.h"

struct session;

struct footnote {
	enum {
		FOOTNOTE_NONE,
		FOOTNOTE_PARSE, /* awaits ParseComplete */
		FOOTNOTE_BIND,
		FOOTNOTE_ANSWER,
	} awaits;
	bool json;
	enum refusal reason;
};

/*
 * The message being worked on (Query, Parse, Bind or Execute of an EXPLAIN) is about to
 * be forwarded. The coordinator owes nothing. Not for every reason: where pgtopk is told to
 * keep out the answer is left alone, and where the statement fails there is none.
 */
void footnote_arm(struct session *session, enum refusal reason, bool json);
/* Must the whole message be there for footnote_reply()? */
bool footnote_wants(const struct footnote *footnote, uint8_t type);
/* A message that the client may see. True: it was sent already, in another form. */
bool footnote_reply(struct session *session, uint8_t type, const uint8_t *body, size_t len);

#endif
