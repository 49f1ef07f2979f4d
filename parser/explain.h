/*
 * Explain: recognises EXPLAIN and takes it apart into the statement that it is
 * about and its options, in each of the forms that PostgreSQL's grammar knows.
 * What the statement is, is plan.h's business; what to do with the options,
 * proxy/explain.h's.
 */
#ifndef PARSER_EXPLAIN_H
#define PARSER_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>

#include "merge/arena.h"

enum explain_format {
	EXPLAIN_TEXT,
	EXPLAIN_JSON,
	EXPLAIN_OTHER, /* XML, YAML, or what some later version knows */
};

struct explain {
	const char *sql; /* the statement, NUL-terminated, in the arena */
	size_t len;
	const char
	    *options; /* as given, to stand in parentheses: "analyze true, format json"; or "" */
	enum explain_format format;
	bool known; /* every option and value is one of PostgreSQL's that may go to the shards */
	bool analyze, verbose, costs, timing, summary; /* what is in force */
};

/* Does the text begin with the word? A scan over bytes, past blanks and comments. */
bool explain_begins(const char *sql, size_t len);

/* True if the text is one EXPLAIN statement. */
bool explain_parse(const char *sql, size_t len, struct arena *arena, struct explain *explain);

#endif
