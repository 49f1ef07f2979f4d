/*
 * Refusal: the closed list of reasons for which a statement goes to the
 * coordinator. The list is refusal.def.
 */
#ifndef PARSER_REFUSAL_H
#define PARSER_REFUSAL_H

enum refusal {
#define REFUSAL(name, text) REFUSAL_##name,
#include "parser/refusal.def"
#undef REFUSAL
	REFUSAL_COUNT
};

/* "order_by" */
const char *refusal_name(enum refusal reason);
/* "the first sort key is not a vector distance" */
const char *refusal_text(enum refusal reason);

#endif
