/*
 * Deallocate: see deallocate.h.
 */
#include "proxy/deallocate.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

struct text {
	const char *at, *end;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static void skip_space(struct text *text)
{
	while (text->at < text->end && is_space(*text->at))
		text->at++;
}

static bool is_of_name(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
	       (!first && ((c >= '0' && c <= '9') || c == '$'));
}

/* An identifier without quotes, folded; false if there is none, or one that is too long. */
static bool read_plain(struct text *text, char name[DEALLOCATE_NAME])
{
	size_t len = 0;

	while (text->at < text->end && is_of_name(*text->at, len == 0)) {
		char c = *text->at++;

		if (len + 1 == DEALLOCATE_NAME)
			return false;
		name[len++] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	name[len] = '\0';
	return len > 0;
}

static bool read_quoted(struct text *text, char name[DEALLOCATE_NAME])
{
	size_t len = 0;

	for (text->at++; text->at < text->end; text->at++) {
		if (*text->at == '"' && (text->at + 1 == text->end || *++text->at != '"')) {
			name[len] = '\0';
			return true;
		}
		if (len + 1 == DEALLOCATE_NAME)
			return false;
		name[len++] = *text->at;
	}
	return false;
}

static bool read_word(struct text *text, char name[DEALLOCATE_NAME])
{
	skip_space(text);
	if (text->at < text->end && *text->at == '"')
		return read_quoted(text, name);
	return read_plain(text, name) && strcmp(name, "all") != 0;
}

/* Nothing but the end of the statement is left. */
static bool is_over(struct text *text)
{
	while (text->at < text->end && (is_space(*text->at) || *text->at == ';' || !*text->at))
		text->at++;
	return text->at == text->end;
}

static bool read_name(struct text *text, char name[DEALLOCATE_NAME])
{
	bool quoted;

	skip_space(text);
	quoted = text->at < text->end && *text->at == '"';
	if (!read_word(text, name))
		return false;
	if (!quoted && strcmp(name, "prepare") == 0 && !read_word(text, name))
		return false;
	return is_over(text);
}

void deallocate_note(struct deallocate *deallocate, const char *sql, size_t len)
{
	struct text text = {sql, sql + len};
	char word[DEALLOCATE_NAME];

	skip_space(&text);
	if (!read_plain(&text, word) || strcmp(word, "deallocate") != 0 ||
	    !read_name(&text, deallocate->name))
		deallocate->name[0] = '\0';
}

void deallocate_reset(struct deallocate *deallocate)
{
	deallocate->name[0] = '\0';
}
