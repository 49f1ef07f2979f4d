/*
 * Literal: lifts vector literals out of a statement's text, so that statements
 * which differ in the query vector alone share one plan, one prepared statement
 * on each shard and one description.
 *
 *   SELECT id FROM items ORDER BY e <-> '[1,2,3]' LIMIT 5
 *   SELECT id FROM items ORDER BY e <-> $1 LIMIT 5         and  $1 = [1,2,3]
 *
 * PostgreSQL infers a parameter's type as it does an unknown literal's. Only
 * plain '[...]' literals of digits, signs, points, exponents, commas and blanks
 * (vector, halfvec) and '{i:x,...}/n' (sparsevec) are lifted, and none at all
 * where reading them needs a real lexer: comments, dollar signs, backslashes,
 * E'' and U&'' strings leave the text as it is.
 */
#ifndef PARSER_LITERAL_H
#define PARSER_LITERAL_H

#include <stddef.h>

#include "merge/arena.h"

struct literal {
	const char *text; /* within the original statement, quotes excluded */
	size_t len;
};

struct literal_lifted {
	const char *sql; /* the original text if nothing was lifted; not NUL-terminated then */
	size_t len;
	unsigned count;           /* literals lifted: $1 .. $count */
	struct literal *literals; /* in the arena */
};

/* Everything new is allocated in the arena; sql must outlive the result. */
void literal_lift(const char *sql, size_t len, struct arena *arena, struct literal_lifted *lifted);

#endif
