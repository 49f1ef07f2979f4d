/*
 * Prefilter: memchr() for the operators' first byte; only a statement that has
 * a whole operator is searched for the word as well. The word is searched from
 * the end, where LIMIT stands, and by a letter that digits do not have, so that
 * megabytes of vector literals cost memory bandwidth only.
 */
#include "parser/prefilter.h"

#include <string.h>
#include <strings.h>

static bool has_distance_operator(const char *sql, size_t len)
{
	const char *end = sql + len;
	const char *at = sql;

	while (end - at >= 3 && (at = memchr(at, '<', (size_t)(end - at) - 2)) != NULL) {
		if (at[2] == '>' && at[1] != '\0' && strchr("-#=+~%", at[1]) != NULL)
			return true;
		at++;
	}
	return false;
}

/* Does word end in the text at a byte equal to last? Word boundaries are not
 * looked at: 1limit and limit$1 are for the parser to judge. */
static bool has_word(const char *sql, size_t len, const char *word, char last)
{
	size_t word_len = strlen(word);
	const char *at;

	while (len >= word_len && (at = memrchr(sql, last, len)) != NULL) {
		len = (size_t)(at - sql);
		if (len + 1 >= word_len && strncasecmp(at + 1 - word_len, word, word_len) == 0)
			return true;
	}
	return false;
}

bool prefilter_is_candidate(const char *sql, size_t len)
{
	if (!has_distance_operator(sql, len))
		return false;
	return has_word(sql, len, "limit", 'T') || has_word(sql, len, "limit", 't') ||
	       has_word(sql, len, "fetch", 'H') || has_word(sql, len, "fetch", 'h');
}
