/*
 * Plan: queries and plans as counted objects, each with everything it holds in
 * one arena. What is in them is found by analyze.c and written by rewrite.c.
 */
#include "parser/plan.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/arena.h"
#include "parser/analyze.h"
#include "parser/rewrite.h"
#include "parser/sql.h"

struct query {
	unsigned refs;
	struct arena *arena;
	PgQuery__ParseResult *tree;
	char *table;
};

/* The public part comes first: a struct plan is always one of these. */
struct private_plan {
	struct plan plan;
	unsigned refs;
	struct arena *arena;
	char *before_table;
	char *before_rows;
};

/* ---- query ---- */

static char *quoted_table(const PgQuery__RangeVar *table, struct arena *arena)
{
	char *name = sql_quote(arena, table->relname, false);

	if (*table->schemaname == '\0')
		return name;
	return arena_printf(arena, "%s.%s", sql_quote(arena, table->schemaname, false), name);
}

static enum refusal parse_into(struct arena *arena, const char *sql, size_t len,
                               struct query **query)
{
	PgQuery__ParseResult *tree;
	struct shape shape;
	enum refusal refusal;

	if (memchr(sql, '\0', len) != NULL)
		return REFUSAL_syntax;
	if (sql_may_be_deep(sql, len))
		return REFUSAL_expression;
	tree = sql_parse(arena_strndup(arena, sql, len), arena);
	if (tree == NULL)
		return REFUSAL_syntax;
	refusal = analyze_shape(tree, &shape);
	if (refusal != REFUSAL_none)
		return refusal;
	*query = arena_calloc(arena, 1, sizeof(**query));
	(*query)->refs = 1;
	(*query)->arena = arena;
	(*query)->tree = tree;
	(*query)->table = quoted_table(shape.table, arena);
	return REFUSAL_none;
}

enum refusal query_parse(const char *sql, size_t len, struct query **query)
{
	struct arena *arena = arena_new();
	enum refusal refusal;

	*query = NULL;
	refusal = parse_into(arena, sql, len, query);
	if (refusal != REFUSAL_none)
		arena_free(arena);
	assert((refusal == REFUSAL_none) == (*query != NULL));
	return refusal;
}

struct query *query_ref(struct query *query)
{
	assert(query->refs > 0);
	query->refs++;
	return query;
}

void query_unref(struct query *query)
{
	if (query == NULL)
		return;
	assert(query->refs > 0);
	if (--query->refs == 0)
		arena_free(query->arena);
}

const char *query_table(const struct query *query)
{
	return query->table;
}

size_t query_size(const struct query *query)
{
	return arena_used(query->arena);
}

/* ---- plan ---- */

static struct plan *plan_make(const struct question *question, const struct rewrite *texts)
{
	struct arena *arena = arena_new();
	struct private_plan *private = arena_calloc(arena, 1, sizeof(*private));
	struct plan *plan = &private->plan;
	struct plan_key *keys = arena_alloc(arena, question->nkeys * sizeof(*keys));

	memcpy(keys, question->keys, question->nkeys * sizeof(*keys));
	private->refs = 1;
	private->arena = arena;
	private->before_table = arena_strdup(arena, texts->before_table);
	private->before_rows = arena_strdup(arena, texts->before_rows);
	plan->describe_sql = arena_strdup(arena, texts->describe_sql);
	plan->limit = question->shape.limit;
	plan->offset = question->shape.offset;
	plan->nkeys = question->nkeys;
	plan->keys = keys;
	plan->nparameters = question->nparameters;
	plan->filtered = question->shape.select->where_clause != NULL;
	plan->distance = arena_strdup(arena, question->distance);
	plan->names = question->names;
	return plan;
}

enum refusal plan_new(const struct query *query, const struct shardmap *map,
                      const struct shardmap_table *table, struct plan **plan)
{
	struct arena *arena = arena_new();
	struct question question;
	struct rewrite texts;
	enum refusal refusal;

	*plan = NULL;
	refusal = analyze(sql_copy(query->tree, arena), map, table, arena, &question);
	if (refusal == REFUSAL_none)
		refusal = rewrite(&question, table, arena, &texts);
	if (refusal == REFUSAL_none)
		*plan = plan_make(&question, &texts);
	arena_free(arena);
	return refusal;
}

/* Counting does not change what a plan says. */
static struct private_plan *private_of(const struct plan *plan)
{
	return (struct private_plan *)(uintptr_t)plan;
}

struct plan *plan_ref(struct plan *plan)
{
	assert(private_of(plan)->refs > 0);
	private_of(plan)->refs++;
	return plan;
}

void plan_unref(struct plan *plan)
{
	struct private_plan *private;

	if (plan == NULL)
		return;
	private = private_of(plan);
	assert(private->refs > 0);
	if (--private->refs == 0)
		arena_free(private->arena);
}

size_t plan_size(const struct plan *plan)
{
	return arena_used(private_of(plan)->arena);
}

/* ---- shard texts ---- */

static void reserve(struct plan_text *text, size_t more)
{
	size_t cap = text->cap < 256 ? 256 : text->cap;

	while (cap - text->len < more)
		cap *= 2;
	if (cap == text->cap)
		return;
	text->data = realloc(text->data, cap);
	if (text->data == NULL)
		abort();
	text->cap = cap;
}

static void append(struct plan_text *text, const char *more)
{
	size_t len = strlen(more);

	reserve(text, len + 1);
	memcpy(text->data + text->len, more, len + 1);
	text->len += len;
}

/* Always in quotes: no list of reserved words is needed then. */
static void append_name(struct plan_text *text, const char *name)
{
	reserve(text, 2 * strlen(name) + 3);
	text->data[text->len++] = '"';
	for (; *name != '\0'; name++) {
		if (*name == '"')
			text->data[text->len++] = '"';
		text->data[text->len++] = *name;
	}
	text->data[text->len++] = '"';
	text->data[text->len] = '\0';
}

void plan_shard_sql(const struct plan *plan, const struct shardmap_shard *shard, uint64_t rows,
                    struct plan_text *text)
{
	const struct private_plan *private = private_of(plan);
	char number[24];

	assert(rows > 0 && rows <= INT64_MAX);
	append(text, private->before_table);
	append_name(text, shard->schema);
	append(text, ".");
	append_name(text, shard->name);
	append(text, private->before_rows);
	snprintf(number, sizeof(number), "%" PRIu64, rows);
	append(text, number);
}

void plan_text_fini(struct plan_text *text)
{
	free(text->data);
	memset(text, 0, sizeof(*text));
}

const char *plan_sort_keys(const struct plan *plan, struct arena *arena)
{
	static const char begin[] = " ORDER BY ", end[] = " LIMIT ";
	const char *text = private_of(plan)->before_rows, *at, *last = NULL;

	for (at = text; (at = strstr(at, begin)) != NULL; at++)
		last = at + strlen(begin);
	if (last == NULL || strlen(last) < strlen(end))
		return "";
	return arena_strndup(arena, last, strlen(last) - strlen(end));
}
