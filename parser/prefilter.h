/*
 * Prefilter: could this text be a vector top-K query? A scan over bytes, run
 * for every statement that passes, so that plain traffic pays next to nothing.
 *
 * May say yes wrongly (the parser then refuses), must never say no for a
 * statement that plan_new() would accept. Knows no quoting.
 */
#ifndef PARSER_PREFILTER_H
#define PARSER_PREFILTER_H

#include <stdbool.h>
#include <stddef.h>

/* True if the text holds a distance operator (<-> <#> <=> <+> <~> <%>) and
 * the word LIMIT or FETCH in any case. */
bool prefilter_is_candidate(const char *sql, size_t len);

#endif
