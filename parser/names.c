/*
 * Names: see names.h.
 */
#include "parser/names.h"

/* FNV-1a, folded. */
static unsigned bit_of(const char *name, size_t len)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)name[i]) * 0x100000001b3u;
	return (unsigned)((hash ^ hash >> 32) % (64 * NAMES_WORDS));
}

void names_add(struct names *names, const char *name, size_t len)
{
	unsigned bit = bit_of(name, len);

	names->bits[bit / 64] |= UINT64_C(1) << bit % 64;
}

bool names_meet(const struct names *a, const struct names *b)
{
	for (unsigned i = 0; i < NAMES_WORDS; i++)
		if (a->bits[i] & b->bits[i])
			return true;
	return false;
}
