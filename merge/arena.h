/*
 * Arena: memory that lives exactly as long as one query or one plan.
 *
 * Bump allocation from growing chunks; nothing is freed singly, everything at
 * once by arena_free(). Allocation never fails: out of memory is our end
 * (abort), because a proxy that cannot allocate a few kilobytes cannot tell
 * its client so either. Not for bytes that a peer can make grow without limit:
 * whoever puts those here must have limited them first.
 */
#ifndef MERGE_ARENA_H
#define MERGE_ARENA_H

#include <stddef.h>

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *arena); /* NULL is allowed */

/* Memory aligned for any type; its content is undefined. */
void *arena_alloc(struct arena *arena, size_t size);
/* The same, zeroed. */
void *arena_calloc(struct arena *arena, size_t count, size_t size);
/* A copy of len bytes with a NUL behind them. */
char *arena_strndup(struct arena *arena, const char *text, size_t len);
char *arena_strdup(struct arena *arena, const char *text);
/* printf into the arena. */
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Bytes handed out so far, for limits and metrics. */
size_t arena_used(const struct arena *arena);

#endif
