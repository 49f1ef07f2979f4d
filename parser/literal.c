/*
 * Literal: one walk over the text that knows strings and quoted identifiers
 * and gives up at everything else that could hide a quote. A literal is lifted
 * only if its neighbours show that a parameter may stand in its place.
 */
#include "parser/literal.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* $1 .. $64: a parameter is never longer than the literal that it replaces. */
#define LITERAL_MAX 64

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' ||
	       (unsigned char)c >= 0x80;
}

/* The quote that ends the string or identifier opened at sql[at]; len if none does. */
static size_t closing_quote(const char *sql, size_t len, size_t at)
{
	char quote = sql[at];

	for (at++; at < len; at++) {
		const char *found = memchr(sql + at, quote, len - at);

		if (found == NULL)
			return len;
		at = (size_t)(found - sql);
		if (at + 1 == len || sql[at + 1] != quote)
			return at;
		at++;
	}
	return len;
}

/* What may stand in a vector; a table, for literals are thousands of bytes long. */
static const bool number_bytes[256] = {
    ['0'] = true,  ['1'] = true,  ['2'] = true,  ['3'] = true, ['4'] = true, ['5'] = true,
    ['6'] = true,  ['7'] = true,  ['8'] = true,  ['9'] = true, [','] = true, ['.'] = true,
    ['-'] = true,  ['+'] = true,  ['e'] = true,  ['E'] = true, [' '] = true, ['\t'] = true,
    ['\n'] = true, ['\r'] = true, ['\f'] = true,
};

static bool is_number_byte(char c)
{
	return number_bytes[(unsigned char)c];
}

/* [1,2.5,-3e-2] */
static bool looks_dense(const char *text, size_t len)
{
	if (len < 3 || text[0] != '[' || text[len - 1] != ']')
		return false;
	for (size_t i = 1; i < len - 1; i++) {
		if (!is_number_byte(text[i]))
			return false;
	}
	return true;
}

/* {1:0.5,7:2}/100, and {}/100, which no array literal can be */
static bool looks_sparse(const char *text, size_t len)
{
	size_t at = len;

	while (at > 0 && is_digit(text[at - 1]))
		at--;
	if (at == len || at < 3 || text[at - 1] != '/' || text[at - 2] != '}' || text[0] != '{')
		return false;
	for (size_t i = 1; i < at - 2; i++) {
		if (!is_number_byte(text[i]) && text[i] != ':')
			return false;
	}
	return true;
}

/* May an expression begin after this word? After a type's name the literal is
 * part of a constant (vector '[1]'), and no parameter may stand there. */
static bool opens_expression(const char *word, size_t len)
{
	static const char *const words[] = {"by",  "select", "where", "and", "or",
	                                    "not", "when",   "then",  "else"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strlen(words[i]) == len && strncasecmp(words[i], word, len) == 0)
			return true;
	}
	return false;
}

/* sql[open] and sql[close] are the quotes. */
static bool has_free_neighbours(const char *sql, size_t len, size_t open, size_t close)
{
	size_t before = open;
	size_t after = close + 1;
	size_t word;

	while (before > 0 && is_blank(sql[before - 1]))
		before--;
	while (after < len && is_blank(sql[after]))
		after++;
	/* a quote after blanks: SQL joins two strings across a line's end */
	if (after < len && (sql[after] == '\'' || sql[after] == '"'))
		return false;
	if (after == close + 1 && after < len && is_word(sql[after]))
		return false;
	if (before == 0)
		return false;
	if (!is_word(sql[before - 1]))
		return strchr("(,[+-*/<>=~!@#%^&|`?", sql[before - 1]) != NULL;
	for (word = before; word > 0 && is_word(sql[word - 1]);)
		word--;
	if (word > 0 && (sql[word - 1] == '.' || sql[word - 1] == '"'))
		return false;
	return opens_expression(sql + word, before - word);
}

/* Is the quote at sql[at] the beginning of a plain string? E'', B'', N'', U&''
 * are not, and neither is one that touches another quote. */
static bool is_plain_quote(const char *sql, size_t at)
{
	if (at == 0)
		return true;
	if (is_word(sql[at - 1]) || sql[at - 1] == '\'' || sql[at - 1] == '"')
		return false;
	return !(sql[at - 1] == '&' && at > 1 && (sql[at - 2] == 'u' || sql[at - 2] == 'U'));
}

/* Fills literals (of LITERAL_MAX); their number, or 0 where the text is not
 * plain enough to be sure. */
static unsigned find_literals(const char *sql, size_t len, struct literal *literals)
{
	unsigned count = 0;

	for (size_t at = 0; at < len; at++) {
		size_t close;

		if (at + 1 < len && ((sql[at] == '-' && sql[at + 1] == '-') ||
		                     (sql[at] == '/' && sql[at + 1] == '*')))
			return 0;
		if (sql[at] != '\'' && sql[at] != '"')
			continue;
		if (!is_plain_quote(sql, at))
			return 0;
		close = closing_quote(sql, len, at);
		if (close == len)
			return 0;
		if (sql[at] == '\'' &&
		    (looks_dense(sql + at + 1, close - at - 1) ||
		     looks_sparse(sql + at + 1, close - at - 1)) &&
		    has_free_neighbours(sql, len, at, close)) {
			if (count == LITERAL_MAX)
				return 0;
			literals[count].text = sql + at + 1;
			literals[count].len = close - at - 1;
			count++;
		}
		at = close;
	}
	return count;
}

/* The text with $1 .. $count in the literals' places. */
static void substitute(const char *sql, size_t len, struct arena *arena,
                       struct literal_lifted *lifted)
{
	char *out = arena_alloc(arena, len + 1);
	size_t to = 0;
	size_t from = 0;

	for (unsigned i = 0; i < lifted->count; i++) {
		size_t open = (size_t)(lifted->literals[i].text - sql) - 1;
		unsigned number = i + 1;

		assert(open >= from);
		memcpy(out + to, sql + from, open - from);
		to += open - from;
		out[to++] = '$';
		if (number >= 10)
			out[to++] = (char)('0' + number / 10);
		out[to++] = (char)('0' + number % 10);
		from = open + lifted->literals[i].len + 2;
	}
	assert(from <= len);
	memcpy(out + to, sql + from, len - from);
	to += len - from;
	assert(to <= len);
	out[to] = '\0';
	lifted->sql = out;
	lifted->len = to;
}

void literal_lift(const char *sql, size_t len, struct arena *arena, struct literal_lifted *lifted)
{
	struct literal found[LITERAL_MAX];

	memset(lifted, 0, sizeof(*lifted));
	lifted->sql = sql;
	lifted->len = len;
	if (memchr(sql, '\'', len) == NULL || memchr(sql, '$', len) != NULL ||
	    memchr(sql, '\\', len) != NULL || memchr(sql, '\0', len) != NULL)
		return;
	lifted->count = find_literals(sql, len, found);
	if (lifted->count == 0)
		return;
	lifted->literals = arena_alloc(arena, lifted->count * sizeof(found[0]));
	memcpy(lifted->literals, found, lifted->count * sizeof(found[0]));
	substitute(sql, len, arena, lifted);
}
