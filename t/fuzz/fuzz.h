/*
 * Fuzz: what the targets have in common. Each is one function that libFuzzer calls (make
 * fuzz) or replay.c, which runs the corpus in make check.
 */
#ifndef T_FUZZ_FUZZ_H
#define T_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy in memory of exactly that size, so that the sanitizers see each byte too far. */
static inline void *fuzz_copy(const void *data, size_t size)
{
	void *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	if (size)
		memcpy(copy, data, size);
	return copy;
}

/* An input as a row of parts: each has two bytes of length before it and is cut at the end. */
struct fuzz_parts {
	const uint8_t *at, *end;
};

/* False at the end. */
static inline int fuzz_next(struct fuzz_parts *parts, const uint8_t **data, size_t *size)
{
	if (parts->end - parts->at < 2)
		return 0;
	*size = (size_t)(parts->at[0] << 8 | parts->at[1]);
	parts->at += 2;
	if (*size > (size_t)(parts->end - parts->at))
		*size = (size_t)(parts->end - parts->at);
	*data = parts->at;
	parts->at += *size;
	return 1;
}

#endif
