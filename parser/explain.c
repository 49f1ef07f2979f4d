/*
 * Explain: see explain.h. The statement's text is written from its tree and read
 * back, as its place within the whole text is not in the tree.
 */
#include "parser/explain.h"

#include <string.h>
#include <strings.h>

#include "parser/sql.h"

static bool is_space(char c)
{
	return c != '\0' && strchr(" \t\n\r\f\v", c) != NULL;
}

/* Behind a comment that begins there; the same place if none does. */
static const char *skip_comment(const char *at, const char *end)
{
	unsigned depth = 0;

	if (end - at >= 2 && memcmp(at, "--", 2) == 0) {
		while (at < end && *at != '\n' && *at != '\r')
			at++;
		return at;
	}
	while (end - at >= 2) {
		bool opens = memcmp(at, "/*", 2) == 0;

		if (!opens && depth == 0)
			return at;
		if (opens)
			depth++;
		else if (memcmp(at, "*/", 2) == 0)
			depth--;
		at += opens || memcmp(at, "*/", 2) == 0 ? 2 : 1;
		if (depth == 0)
			return at;
	}
	return depth ? end : at;
}

bool explain_begins(const char *sql, size_t len)
{
	static const char word[] = "explain";
	const char *end = sql + len, *before = NULL;

	while (sql != before) {
		before = sql;
		while (sql < end && is_space(*sql))
			sql++;
		sql = skip_comment(sql, end);
	}
	return (size_t)(end - sql) > strlen(word) && strncasecmp(sql, word, strlen(word)) == 0;
}

/* ---- options ---- */

enum kind { KIND_BOOL, KIND_FORMAT, KIND_WORD };

/* GENERIC_PLAN is not among them: it takes no values for the parameters. */
static const struct {
	const char *name;
	enum kind kind;
} known_options[] = {
    {"analyze", KIND_BOOL},  {"verbose", KIND_BOOL},   {"costs", KIND_BOOL},
    {"buffers", KIND_BOOL},  {"settings", KIND_BOOL},  {"timing", KIND_BOOL},
    {"summary", KIND_BOOL},  {"wal", KIND_BOOL},       {"memory", KIND_BOOL},
    {"format", KIND_FORMAT}, {"serialize", KIND_WORD},
};

/* As defGetBoolean() reads it; false if it is none. */
static bool read_bool(const PgQuery__DefElem *option, bool *value)
{
	const char *text;

	*value = true;
	if (option->arg == NULL)
		return true;
	if (SQL_NODE_IS(option->arg, INTEGER)) {
		*value = option->arg->integer->ival != 0;
		return option->arg->integer->ival == 0 || option->arg->integer->ival == 1;
	}
	text = sql_string(option->arg);
	if (text == NULL)
		return false;
	*value = strcasecmp(text, "true") == 0 || strcasecmp(text, "on") == 0;
	return *value || strcasecmp(text, "false") == 0 || strcasecmp(text, "off") == 0;
}

static bool read_format(const PgQuery__DefElem *option, struct explain *explain)
{
	const char *text = option->arg == NULL ? NULL : sql_string(option->arg);

	explain->format = EXPLAIN_OTHER;
	if (text != NULL && strcmp(text, "text") == 0)
		explain->format = EXPLAIN_TEXT;
	else if (text != NULL && strcmp(text, "json") == 0)
		explain->format = EXPLAIN_JSON;
	return explain->format != EXPLAIN_OTHER;
}

static bool is_word(const char *text)
{
	return *text != '\0' && strspn(text, "abcdefghijklmnopqrstuvwxyz_") == strlen(text);
}

static void take_bool(struct explain *explain, const char *name, bool value, bool *has_summary)
{
	if (strcmp(name, "analyze") == 0)
		explain->analyze = value;
	else if (strcmp(name, "verbose") == 0)
		explain->verbose = value;
	else if (strcmp(name, "costs") == 0)
		explain->costs = value;
	else if (strcmp(name, "timing") == 0)
		explain->timing = value;
	else if (strcmp(name, "summary") == 0) {
		explain->summary = value;
		*has_summary = true;
	}
}

/* The option as it is to be written; NULL: not one that is known. */
static const char *read_option(const PgQuery__DefElem *option, struct arena *arena,
                               struct explain *explain, bool *has_summary)
{
	size_t i = 0;
	const char *text;
	bool value;

	while (strcmp(known_options[i].name, option->defname) != 0)
		if (++i == sizeof(known_options) / sizeof(known_options[0]))
			return NULL;
	switch (known_options[i].kind) {
	case KIND_BOOL:
		if (!read_bool(option, &value))
			return NULL;
		take_bool(explain, option->defname, value, has_summary);
		return arena_printf(arena, "%s %s", option->defname, value ? "on" : "off");
	case KIND_FORMAT:
		if (!read_format(option, explain))
			return NULL;
		return explain->format == EXPLAIN_JSON ? "format json" : "format text";
	case KIND_WORD:
		text = option->arg == NULL ? "" : sql_string(option->arg);
		if (text == NULL || (*text != '\0' && !is_word(text)))
			return NULL;
		return arena_printf(arena, "%s %s", option->defname, text);
	}
	return NULL;
}

static void read_options(const PgQuery__ExplainStmt *statement, struct arena *arena,
                         struct explain *explain)
{
	bool has_summary = false;

	explain->costs = explain->timing = explain->known = true;
	explain->options = "";
	for (size_t i = 0; i < statement->n_options; i++) {
		const char *text = NULL;

		if (SQL_NODE_IS(statement->options[i], DEF_ELEM))
			text = read_option(statement->options[i]->def_elem, arena, explain,
			                   &has_summary);
		if (text == NULL)
			explain->known = false;
		else
			explain->options = arena_printf(arena, "%s%s%s", explain->options,
			                                *explain->options ? ", " : "", text);
	}
	if (!has_summary)
		explain->summary = explain->analyze;
}

/* ---- the statement ---- */

static const char *write_statement(PgQuery__ParseResult *tree, PgQuery__Node *statement,
                                   struct arena *arena)
{
	const PgQuery__ParseResult *again;
	const char *text;

	tree->stmts[0]->stmt = statement;
	text = sql_deparse(tree, arena);
	again = text == NULL ? NULL : sql_parse(text, arena);
	return again != NULL && sql_equal(&tree->base, &again->base) ? text : NULL;
}

bool explain_parse(const char *sql, size_t len, struct arena *arena, struct explain *explain)
{
	PgQuery__ParseResult *tree;
	PgQuery__Node *statement;

	memset(explain, 0, sizeof(*explain));
	if (memchr(sql, '\0', len) != NULL || sql_may_be_deep(sql, len))
		return false;
	tree = sql_parse(arena_strndup(arena, sql, len), arena);
	if (tree == NULL || tree->n_stmts != 1)
		return false;
	statement = tree->stmts[0]->stmt;
	if (!SQL_NODE_IS(statement, EXPLAIN_STMT))
		return false;
	read_options(statement->explain_stmt, arena, explain);
	explain->sql = write_statement(tree, statement->explain_stmt->query, arena);
	if (explain->sql == NULL)
		return false;
	explain->len = strlen(explain->sql);
	return true;
}
