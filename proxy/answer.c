/*
 * Answer: see answer.h. Rows go into the client's output until it holds enough;
 * the stream's on_drained calls for more.
 */
#include "proxy/answer.h"

#include <assert.h>

#include "merge/topk.h"
#include "proxy/session.h"

static void put_row(struct iobuf *out, const struct answer *answer, uint64_t i)
{
	const uint8_t *body;
	size_t len, mark;

	topk_row(answer->topk, i, &body, &len);
	mark = wire_begin(out, WIRE_BE_DataRow);
	wire_put_u16(out, (uint16_t)answer->visible);
	wire_put_bytes(out, body, len);
	wire_end(out, mark);
}

void answer_start(struct session *session, const struct topk *topk, unsigned visible,
                  uint64_t first, uint64_t end, void (*done)(struct session *session))
{
	struct answer *answer = &session->answer;

	assert(!answer->topk);
	*answer = (struct answer){
	    .topk = topk,
	    .visible = visible,
	    .next = first,
	    .end = end,
	    .done = done,
	};
	answer_continue(session);
}

void answer_continue(struct session *session)
{
	struct answer *answer = &session->answer;

	if (!answer->topk)
		return;
	while (answer->next < answer->end) {
		if (iobuf_len(&session->client.out) >= STREAM_HIGH_WATER) {
			stream_flush(&session->client);
			if (iobuf_len(&session->client.out) >= STREAM_HIGH_WATER)
				return; /* on_drained calls again */
		}
		put_row(&session->client.out, answer, answer->next++);
	}
	answer->topk = NULL;
	answer->done(session);
}
