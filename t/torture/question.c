/*
 * Question: see question.h.
 */
#include "t/torture/question.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void question_tag(struct question *question, const char *tag)
{
	for (unsigned i = 0; i < question->ntags; i++) {
		if (strcmp(question->tags[i], tag) == 0)
			return;
	}
	if (question->ntags < QUESTION_TAGS_MAX)
		question->tags[question->ntags++] = tag;
}

/* ---- FROM ---- */

static void choose_from(struct question *question, struct dice *dice)
{
	struct arena *arena = question->arena;
	const char *name = value_name(arena, question->table->name);
	const char *written =
	    strcmp(question->table->schema, "public") == 0 && dice_chance(dice, 80)
		? name
		: question->table->full;

	question->relation = name;
	question->from = written;
	switch (dice_below(dice, 12)) {
	case 0:
	case 1:
		question->relation = "x";
		question->from = arena_printf(arena, "%s x", written);
		break;
	case 2:
		question->relation = "\"An Alias\"";
		question->from = arena_printf(arena, "%s AS \"An Alias\"", written);
		break;
	case 3:
		if (!dice_chance(dice, 30))
			break;
		question->from = arena_printf(arena, "ONLY %s", written);
		question_tag(question, "!from ONLY");
		break;
	case 4:
		if (dice_chance(dice, 30))
			question->from = arena_printf(arena, "%s *", written);
		break;
	default:
		break;
	}
}

/* ---- ORDER BY ---- */

static const char *choose_order(struct dice *dice)
{
	static const char *const orders[] = {"",
	                                     " ASC",
	                                     " DESC",
	                                     " NULLS FIRST",
	                                     " NULLS LAST",
	                                     " DESC NULLS LAST",
	                                     " ASC NULLS FIRST",
	                                     " DESC NULLS FIRST"};

	return dice_chance(dice, 60) ? "" : DICE_PICK(dice, orders);
}

static void add_key(struct question *question, const char *raw, const char *shown,
                    const char *order)
{
	question->keys[question->nkeys++] = (struct question_key){raw, shown, order};
}

/* The distance is sometimes one of the targets, and named by alias or position. */
static void choose_first_key(struct question *question, struct dice *dice)
{
	struct arena *arena = question->arena;
	const char *distance = clause_distance(question, dice), *shown = distance;
	const char *order = dice_chance(dice, 80) ? "" : choose_order(dice);

	if (*order)
		question_tag(question, arena_printf(arena, "order%s", order));
	if (dice_chance(dice, 45) && question->ntargets < QUESTION_TARGETS_MAX) {
		unsigned at = question->ntargets++;

		question->targets[at] = distance;
		question->names[at] = dice_chance(dice, 60) ? arena_printf(arena, "d%u", at) : NULL;
		if (question->names[at] && dice_chance(dice, 60))
			shown = question->names[at];
		else if (dice_chance(dice, 20) && strcmp(question->targets[0], "*") != 0 && at == 1)
			shown = "2";
	}
	add_key(question, distance, shown, order);
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), of = strlen(end);

	return len >= of && strcmp(text + len - of, end) == 0;
}

/* A bare name in ORDER BY is an output column first, and an expression's may be a column's:
 * b::text, b[1] and CASE ... ELSE b END are all named b. */
static const char *output_of(const struct question *question, const char *name)
{
	static const char *const ends[] = {"%s::text", "%s[1]", "%s::text END"};

	for (unsigned i = 0; i < question->ntargets; i++) {
		for (unsigned end = 0; end < 3; end++) {
			char *text = arena_strdup(question->arena, ends[end]);

			text = arena_printf(question->arena, "%s%s", name, text + 2);
			if (!question->names[i] && ends_with(question->targets[i], text))
				return question->targets[i];
		}
	}
	return name;
}

static void add_column_key(struct question *question, const char *name, const char *order)
{
	bool qualified = strncmp(name, question->relation, strlen(question->relation)) == 0 &&
	                 name[strlen(question->relation)] == '.';

	add_key(question, qualified ? name : output_of(question, name), name, order);
}

static void choose_keys(struct question *question, struct dice *dice)
{
	unsigned more = dice_chance(dice, 45) ? 1 + dice_below(dice, 2) : 0;

	choose_first_key(question, dice);
	for (unsigned i = 0; i < more; i++) {
		const struct world_column *column = world_column(question->table, dice);
		const char *raw = clause_column(question, dice, column);

		if ((!column->kind->ordered || !value_is_key(column->kind)) &&
		    dice_chance(dice, 80))
			continue;
		if (dice_chance(dice, 10)) {
			raw = clause_distance(question, dice);
			question_tag(question, "key distance");
		} else {
			question_tag(question, arena_printf(question->arena, "%skey %s",
			                                    value_is_key(column->kind) ? "" : "!",
			                                    column->kind->column));
		}
		add_column_key(question, raw, choose_order(dice));
	}
	if (dice_chance(dice, 55)) {
		const char *id = clause_column(question, dice, &question->table->columns[0]);

		add_column_key(question, id, dice_chance(dice, 80) ? "" : " DESC");
	}
}

/* ---- shapes that are not routed ---- */

static void choose_shape(struct question *question, struct dice *dice)
{
	static const char *const shapes[][2] = {
	    {"", ";"},
	    {"/* before */ ", " -- after"},
	    {"(", ")"},
	    {"SELECT * FROM (", ") sub"},
	    {"WITH c AS (", ") SELECT * FROM c"},
	    {"SELECT count(*) FROM (", ") sub"},
	    {"WITH c AS MATERIALIZED (SELECT 1) ", ""},
	    {"(", ") UNION ALL SELECT NULL WHERE false"},
	    {"SELECT 'EXPLAIN', * FROM (", ") sub LIMIT 1"},
	    {"", " FOR KEY SHARE"},
	    {"", " FOR SHARE"},
	    {"", " ; SELECT 1"},
	    {"TABLE pg_am; ", ""},
	};
	unsigned shape = dice_below(dice, sizeof(shapes) / sizeof(shapes[0]));

	question->prefix = question->suffix = "";
	if (dice_chance(dice, 92))
		return;
	question->prefix = shapes[shape][0];
	question->suffix = shapes[shape][1];
	question->other_shape = shape > 2;
	question_tag(question, arena_printf(question->arena, "%sshape %u",
	                                    question->other_shape ? "!" : "", shape));
}

struct question *question_new(struct arena *arena, const struct world *world, struct dice *dice,
                              bool with_parameters)
{
	struct question *question = arena_calloc(arena, 1, sizeof(*question));
	unsigned targets, conditions;

	question->arena = arena;
	question->table = &world->tables[dice_below(dice, world->ntables)];
	question->with_parameters = with_parameters;
	choose_from(question, dice);
	targets = 1 + dice_below(dice, dice_chance(dice, 60) ? 2 : 5);
	for (unsigned i = 0; i < targets; i++) {
		question->targets[i] = clause_target(question, dice);
		if (dice_chance(dice, 20) && !strchr(question->targets[i], '*'))
			question->names[i] =
			    dice_chance(dice, 80) ? arena_printf(arena, "a%u", i) : "\"same Name\"";
	}
	question->ntargets = targets;
	question->joint = dice_chance(dice, 70) ? " AND " : " OR ";
	conditions = dice_chance(dice, 55) ? 1 + dice_below(dice, 3) : 0;
	for (unsigned i = 0; i < conditions; i++)
		question->conditions[i] = clause_condition(question, dice);
	question->nconditions = conditions;
	choose_keys(question, dice);
	question->limit = clause_limit(question, dice);
	choose_shape(question, dice);
	return question;
}

/* ---- texts ---- */

static void put_body(FILE *to, const struct question *question)
{
	fprintf(to, " FROM %s", question->from);
	for (unsigned i = 0; i < question->nconditions; i++)
		fprintf(to, "%s%s", i == 0 ? " WHERE " : question->joint, question->conditions[i]);
}

static void put_targets(FILE *to, const struct question *question)
{
	for (unsigned i = 0; i < question->ntargets; i++) {
		fprintf(to, "%s%s", i == 0 ? "SELECT " : ", ", question->targets[i]);
		if (question->names[i])
			fprintf(to, " AS %s", question->names[i]);
	}
}

static const char *keep(struct arena *arena, FILE *file, char **text)
{
	const char *copy;

	fclose(file);
	copy = arena_strdup(arena, *text);
	free(*text);
	return copy;
}

const char *question_sql(const struct question *question)
{
	char *text;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	fputs(question->prefix, to);
	put_targets(to, question);
	put_body(to, question);
	for (unsigned i = 0; i < question->nkeys; i++)
		fprintf(to, "%s%s%s", i == 0 ? " ORDER BY " : ", ", question->keys[i].shown,
		        question->keys[i].order);
	fputs(question->limit, to);
	fputs(question->suffix, to);
	return keep(question->arena, to, &text);
}

bool question_uses_parameters(const struct question *question)
{
	const char *sql = question_sql(question);

	for (unsigned i = 1; i <= question->nparameters; i++) {
		const char *at = strstr(sql, arena_printf(question->arena, "$%u", i));

		if (!at)
			return false;
	}
	return true;
}

static void put_raw_keys(FILE *to, const struct question *question)
{
	for (unsigned i = 0; i < question->nkeys; i++)
		fprintf(to, "%s%s%s", i == 0 ? "ORDER BY " : ", ", question->keys[i].raw,
		        question->keys[i].order);
}

const char *question_all_sql(const struct question *question)
{
	char *text;
	size_t size;
	FILE *to;

	if (question->other_shape || question->nkeys == 0)
		return NULL;
	to = open_memstream(&text, &size);
	put_targets(to, question);
	fputs(", rank() OVER (", to);
	put_raw_keys(to, question);
	fputs(")", to);
	put_body(to, question);
	fputs(" ORDER BY rank() OVER (", to);
	put_raw_keys(to, question);
	fputs(")", to);
	return keep(question->arena, to, &text);
}
