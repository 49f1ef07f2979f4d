/*
 * Rewrite: hidden columns are appended to the target list; the table's place
 * and the number of rows become holes, so that a shard's text is made by
 * joining strings. The tree holds a place-holder for the table, of a name that
 * occurs nowhere else in the text; LIMIT stands last and has no need of one.
 */
#include "parser/rewrite.h"

#include <assert.h>
#include <string.h>

/* Writes the tree and reads it back. NULL if that is another statement. */
static char *write_checked(const PgQuery__ParseResult *tree, struct arena *arena)
{
	char *text = sql_deparse(tree, arena);
	const PgQuery__ParseResult *again = text == NULL ? NULL : sql_parse(text, arena);

	if (again == NULL || !sql_equal(&tree->base, &again->base))
		return NULL;
	return text;
}

static void append_keys(struct question *question, struct arena *arena)
{
	PgQuery__SelectStmt *select = question->shape.select;
	size_t count = select->n_target_list;
	PgQuery__Node **targets =
	    arena_alloc(arena, (count + question->nkeys) * sizeof(PgQuery__Node *));

	memcpy(targets, select->target_list, count * sizeof(PgQuery__Node *));
	for (unsigned i = 0; i < question->nkeys; i++) {
		char *name = arena_printf(arena, "pgtopk_key_%u", i + 1);

		targets[count + i] = sql_new_target(arena, question->key_values[i], name);
	}
	select->target_list = targets;
	select->n_target_list = count + question->nkeys;
}

static void count_tables(void *context, const ProtobufCMessage *message,
                         const ProtobufCMessage *parent)
{
	unsigned *count = context;

	(void)parent;
	*count += SQL_IS(message, range_var);
}

/* A worker that knows the logical table would answer for all shards: the table
 * must be named in one place only, the one that is replaced. */
static void assert_one_table(const struct question *question)
{
	unsigned count = 0;

	sql_visit(&question->tree->base, count_tables, &count);
	assert(count == 1);
}

static void set_alias(struct question *question, struct arena *arena)
{
	PgQuery__RangeVar *table = question->shape.table;

	if (table->alias != NULL)
		return;
	table->alias = arena_alloc(arena, sizeof(*table->alias));
	pg_query__alias__init(table->alias);
	table->alias->aliasname = question->relation;
}

static char *free_name(struct arena *arena, const char *text)
{
	char *name = NULL;

	for (unsigned i = 0; name == NULL || strstr(text, name) != NULL; i++)
		name = arena_printf(arena, "pgtopk_shard_%u", i);
	return name;
}

/* Splits the text at the place-holder and before the number of rows. */
static enum refusal cut(char *text, const char *hole, struct rewrite *texts)
{
	static const char end[] = " LIMIT 1";
	size_t len = strlen(text);
	char *at = strstr(text, hole);

	if (at == NULL || strstr(at + 1, hole) != NULL)
		return REFUSAL_deparse;
	if (len < sizeof(end) || strcmp(text + len - strlen(end), end) != 0)
		return REFUSAL_deparse;
	text[len - 1] = '\0';
	*at = '\0';
	texts->before_table = text;
	texts->before_rows = at + strlen(hole);
	return REFUSAL_none;
}

enum refusal rewrite(struct question *question, const struct shardmap_table *table,
                     struct arena *arena, struct rewrite *texts)
{
	PgQuery__SelectStmt *select = question->shape.select;
	char *name, *text;

	append_keys(question, arena);
	question->shape.table->schemaname = table->schema;
	question->shape.table->relname = table->name;
	assert_one_table(question);
	texts->describe_sql = write_checked(question->tree, arena);
	if (texts->describe_sql == NULL)
		return REFUSAL_deparse;

	name = free_name(arena, texts->describe_sql);
	question->shape.table->schemaname = name;
	question->shape.table->relname = name;
	set_alias(question, arena);
	select->limit_offset = NULL;
	select->limit_count = sql_new_integer(arena, 1);
	text = write_checked(question->tree, arena);
	if (text == NULL)
		return REFUSAL_deparse;
	return cut(text, arena_printf(arena, "%s.%s", name, name), texts);
}
