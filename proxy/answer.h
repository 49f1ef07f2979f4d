/*
 * Answer: hands merged rows out to the client as DataRow messages, no faster
 * than it reads.
 */
#ifndef PROXY_ANSWER_H
#define PROXY_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

struct session;
struct topk;

struct answer {
	const struct topk *topk; /* NULL: nothing is being handed out */
	unsigned visible;
	uint64_t next;
	uint64_t end;
	void (*done)(struct session *session);
};

/* Rows first .. end-1; done() is called when all were written, perhaps at once. */
void answer_start(struct session *session, const struct topk *topk, unsigned visible,
                  uint64_t first, uint64_t end, void (*done)(struct session *session));
/* The client's stream has room again. */
void answer_continue(struct session *session);

#endif
