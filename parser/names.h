/*
 * Names: which functions, operators and types to cast to ("::int4") a statement
 * names, as a small set that can be compared with the names that somebody has
 * given another meaning to on a node.
 *
 * The set is a bloom filter: two sets may seem to meet where they do not, which
 * costs a route and no more, but never the other way round.
 */
#ifndef PARSER_NAMES_H
#define PARSER_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAMES_WORDS 8

struct names {
	uint64_t bits[NAMES_WORDS];
};

/* What every statement has: casts that happen unasked. */
#define NAMES_IMPLICIT_CAST "::"

void names_add(struct names *names, const char *name, size_t len);
bool names_meet(const struct names *a, const struct names *b);

#endif
