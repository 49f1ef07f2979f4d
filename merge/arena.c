/*
 * Arena: see arena.h.
 *
 * Chunks double up to a limit; an allocation too big for the next chunk gets
 * one of its own behind the current one, so that the current one's rest stays
 * usable.
 */
#include "merge/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_CHUNK_MIN ((size_t)2048)
#define ARENA_CHUNK_MAX ((size_t)256 * 1024)
#define ARENA_ALIGN alignof(max_align_t)

struct arena_chunk {
	struct arena_chunk *next;
	size_t used;
	size_t cap;
	alignas(max_align_t) uint8_t data[];
};

struct arena {
	struct arena_chunk *chunks; /* the first is the one that allocations come from */
	size_t next_cap;
	size_t used;
};

static void *arena_malloc(size_t size)
{
	void *memory = malloc(size);

	if (memory == NULL)
		abort();
	return memory;
}

struct arena *arena_new(void)
{
	struct arena *arena = arena_malloc(sizeof(*arena));

	*arena = (struct arena){.next_cap = ARENA_CHUNK_MIN};
	return arena;
}

void arena_free(struct arena *arena)
{
	struct arena_chunk *chunk;

	if (arena == NULL)
		return;
	while ((chunk = arena->chunks) != NULL) {
		arena->chunks = chunk->next;
		free(chunk);
	}
	free(arena);
}

static struct arena_chunk *arena_chunk_new(size_t cap)
{
	struct arena_chunk *chunk = arena_malloc(sizeof(*chunk) + cap);

	*chunk = (struct arena_chunk){.cap = cap};
	return chunk;
}

static struct arena_chunk *arena_chunk_for(struct arena *arena, size_t size)
{
	struct arena_chunk *chunk = arena->chunks;

	if (chunk != NULL && chunk->cap - chunk->used >= size)
		return chunk;
	if (chunk != NULL && size > arena->next_cap / 4) {
		struct arena_chunk *own = arena_chunk_new(size);

		own->next = chunk->next;
		chunk->next = own;
		return own;
	}
	chunk = arena_chunk_new(size > arena->next_cap ? size : arena->next_cap);
	chunk->next = arena->chunks;
	arena->chunks = chunk;
	if (arena->next_cap < ARENA_CHUNK_MAX)
		arena->next_cap *= 2;
	return chunk;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	struct arena_chunk *chunk;
	size_t rounded;
	void *memory;

	assert(size <= SIZE_MAX / 4);
	/* An empty allocation still has an address of its own. */
	rounded = size == 0 ? ARENA_ALIGN : (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
	chunk = arena_chunk_for(arena, rounded);
	memory = chunk->data + chunk->used;
	chunk->used += rounded;
	arena->used += rounded;
	return memory;
}

void *arena_calloc(struct arena *arena, size_t count, size_t size)
{
	void *memory;

	assert(size == 0 || count <= SIZE_MAX / 4 / size);
	memory = arena_alloc(arena, count * size);
	memset(memory, 0, count * size);
	return memory;
}

char *arena_strndup(struct arena *arena, const char *text, size_t len)
{
	char *copy = arena_alloc(arena, len + 1);

	if (len > 0)
		memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
	return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	va_list args;
	char *text;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	assert(len >= 0);
	text = arena_alloc(arena, (size_t)len + 1);
	va_start(args, format);
	vsnprintf(text, (size_t)len + 1, format, args);
	va_end(args);
	return text;
}

size_t arena_used(const struct arena *arena)
{
	return arena->used;
}
