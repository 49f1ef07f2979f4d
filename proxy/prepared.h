/*
 * Prepared: the statements that one worker connection has prepared, by their
 * text and types. The least recently used are closed beyond a limit, so that
 * neither side grows.
 *
 * A statement lives as long as somebody refers to it: the cache, or a step that
 * waits for an answer. It is `known` once the server has said so; whether the
 * server still has it is what decides if it must be closed.
 */
#ifndef PROXY_PREPARED_H
#define PROXY_PREPARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "proxy/iobuf.h"

#define PREPARED_MAX 256
#define PREPARED_MAX_BYTES ((size_t)1024 * 1024)

struct settings;
struct worker_query;
struct prepared;

struct prepared_statement {
	char name[16];
	bool known;  /* ParseComplete has come */
	bool cached; /* may be used again */
	unsigned refs;
	unsigned nresults; /* expected columns' types, if the query told */
	uint32_t *results;
	uint8_t *key;
	size_t key_len;
	struct prepared_statement *prev, *next; /* most recently used first */
	UT_hash_handle hh;
};

struct prepared *prepared_new(void);
void prepared_free(struct prepared *prepared); /* steps must have given up theirs */

/* The statement for the query's text and types, parsed under such settings (NULL: the server's
 * own); a new one is to be parsed. The cache's reference. */
struct prepared_statement *prepared_get(struct prepared *prepared, const struct worker_query *query,
                                        struct settings *settings, bool *is_new);
/* Something to close because there are too many, never `keep`; the caller's reference, or NULL. */
struct prepared_statement *prepared_evict(struct prepared *prepared,
                                          const struct prepared_statement *keep);

/* Not to be used again; closed later if the server has it. */
void prepared_forget(struct prepared *prepared, struct prepared_statement *statement);
/* Its Parse failed or was skipped: the server does not have it. */
void prepared_lost(struct prepared *prepared, struct prepared_statement *statement);
/* Its Close was skipped. */
void prepared_close_later(struct prepared *prepared, struct prepared_statement *statement);
/* What is left to be closed, one by one; the caller's reference, or NULL. */
struct prepared_statement *prepared_next_to_close(struct prepared *prepared);

/* Does a RowDescription (len 0: no columns) say what the query expected? */
bool prepared_answers(const struct prepared_statement *statement, const uint8_t *body, size_t len);

/* The ErrorResponse for one that does not. */
void prepared_put_mismatch(struct iobuf *message);

void prepared_ref(struct prepared_statement *statement);
void prepared_unref(struct prepared_statement *statement);

unsigned prepared_count(const struct prepared *prepared);

#endif
