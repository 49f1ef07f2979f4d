/*
 * Clock: see clock.h. Words are found wherever they stand: in a range, an array, beside a
 * time of day.
 */
#include "parser/clock.h"

#include <string.h>
#include <strings.h>

#define LONGEST 128 /* longer strings are no dates: MAXDATELEN */

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool has_word(const char *text, size_t len, const char *word)
{
	size_t word_len = strlen(word);

	for (size_t at = 0; at + word_len <= len; at++) {
		if (strncasecmp(text + at, word, word_len) == 0 &&
		    (at == 0 || !is_letter(text[at - 1])) &&
		    (at + word_len == len || !is_letter(text[at + word_len])))
			return true;
	}
	return false;
}

bool clock_may_be(const char *text, size_t len)
{
	return len <= LONGEST &&
	       (has_word(text, len, "now") || has_word(text, len, "today") ||
	        has_word(text, len, "tomorrow") || has_word(text, len, "yesterday"));
}
