/*
 * Clause: the parts of a question: values as literals or parameters, columns,
 * distances, targets, conditions, LIMIT.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/torture/question.h"

/* ---- values ---- */

static void put_be(uint8_t *to, uint64_t value, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		to[i] = (uint8_t)(value >> 8 * (len - 1 - i));
}

/* Where it is easy: integers and text. */
static void make_binary(struct question *question, struct question_parameter *parameter)
{
	uint8_t *bytes;

	if (!parameter->text)
		return;
	if (parameter->type == 25) {
		parameter->binary = (const uint8_t *)parameter->text;
		parameter->binary_len = (unsigned)strlen(parameter->text);
		return;
	}
	if (parameter->type != 20 && parameter->type != 23 && parameter->type != 21)
		return;
	bytes = arena_alloc(question->arena, 8);
	parameter->binary_len = parameter->type == 20 ? 8 : parameter->type == 23 ? 4 : 2;
	put_be(bytes, (uint64_t)strtoll(parameter->text, NULL, 10), parameter->binary_len);
	parameter->binary = bytes;
}

static const char *add_parameter(struct question *question, struct dice *dice, const char *text,
                                 uint32_t type, uint32_t certain)
{
	struct question_parameter *parameter = &question->parameters[question->nparameters++];

	*parameter = (struct question_parameter){.type = type, .certain = certain, .text = text};
	if (type && dice_chance(dice, 50))
		make_binary(question, parameter);
	return arena_printf(question->arena, "$%u", question->nparameters);
}

static bool wants_parameter(const struct question *question, struct dice *dice)
{
	return question->with_parameters && question->nparameters < QUESTION_PARAMETERS_MAX &&
	       dice_chance(dice, 60);
}

/* A value of a column's kind, as it may stand in an expression. */
static const char *value_of(struct question *question, struct dice *dice,
                            const struct world_column *column)
{
	const struct value_kind *kind = column->kind;
	const char *text = value_text(dice, kind, dice_chance(dice, 10)), *literal;

	if (strcmp(column->name, "id") == 0 || strcmp(column->name, "part") == 0)
		text = arena_printf(question->arena, "%u", dice_below(dice, 60));
	if (wants_parameter(question, dice)) {
		uint32_t type = dice_chance(dice, 40) ? kind->oid : 0;

		question_tag(question, arena_printf(question->arena, "%sparameter %s",
		                                    value_is_shown(kind) ? "" : "!", kind->column));
		literal = add_parameter(question, dice, text, type, 0);
		return dice_chance(dice, 25)
		           ? arena_printf(question->arena, "%s::%s", literal, kind->type)
		           : literal;
	}
	literal = value_literal(question->arena, text);
	if (kind->family == VALUE_NUMBER && text && strspn(text, "0123456789") == strlen(text) &&
	    dice_chance(dice, 70))
		return text;
	switch (dice_below(dice, 4)) {
	case 0:
		return arena_printf(question->arena, "%s::%s", literal, kind->type);
	case 1:
		return arena_printf(question->arena, "CAST(%s AS %s)", literal, kind->type);
	default:
		return literal;
	}
}

const char *clause_column(struct question *question, struct dice *dice,
                          const struct world_column *column)
{
	const char *name = value_name(question->arena, column->name);

	if (strlen(column->name) == 1 || strcmp(column->name, "id") == 0)
		name = column->name;
	if (dice_chance(dice, 25))
		return arena_printf(question->arena, "%s.%s", question->relation, name);
	return name;
}

/* ---- distances ---- */

static const char *vector_parameter(struct question *question, struct dice *dice,
                                    enum value_vector kind, const char *text)
{
	bool typed = dice_chance(dice, 30);
	const char *name = add_parameter(question, dice, text,
	                                 !typed              ? 0
	                                 : kind == VALUE_BIT ? 1560
	                                                     : QUESTION_VECTOR_TYPE(kind),
	                                 0);
	struct question_parameter *parameter = &question->parameters[question->nparameters - 1];

	if (text && dice_chance(dice, 40))
		parameter->binary =
		    value_vector_binary(question->arena, kind, text, &parameter->binary_len);
	question_tag(question, parameter->binary ? "binary vector" : "text vector");
	return name;
}

static const char *query_vector(struct question *question, struct dice *dice,
                                const struct world_column *column)
{
	struct arena *arena = question->arena;
	const char *type = value_vectors[column->vector].type;
	unsigned dimensions = column->dimensions + dice_chance(dice, 2);
	const char *text =
	    value_vector(dice, arena, column->vector, dimensions, dice_chance(dice, 30));
	const char *literal;

	if (dice_chance(dice, 3))
		text = dice_chance(dice, 70) ? NULL : "[1,";
	if (wants_parameter(question, dice)) {
		literal = vector_parameter(question, dice, column->vector, text);
		return dice_chance(dice, 40) ? arena_printf(arena, "%s::%s", literal, type)
		                             : literal;
	}
	literal = value_literal(arena, text);
	switch (dice_below(dice, 12)) {
	case 0:
	case 1:
		return arena_printf(arena, "%s::%s", literal, type);
	case 2:
		return arena_printf(arena, "%s::%s(%u)", literal, type, dimensions);
	case 3:
		if (column->vector == VALUE_VECTOR && text && text[0] == '[' && strlen(text) > 3)
			return arena_printf(arena, "ARRAY%s::%s", text, type);
		return literal;
	case 4:
		if (column->vector == VALUE_BIT && text)
			return arena_printf(arena, "B%s", literal);
		return arena_printf(arena, "(%s)", literal);
	case 5:
		if (dice_chance(dice, 20))
			return arena_printf(arena, "(SELECT %s FROM %s WHERE id = 1)",
			                    value_name(arena, column->name), question->table->full);
		return literal;
	default:
		return literal;
	}
}

/* As an index on an expression is asked: another type, fewer bits, a part. */
static const char *cast_distance(struct question *question, struct dice *dice,
                                 const struct world_column *column)
{
	/* 1: the column, 2: its dimensions, 3: the query vector */
	static const char *const forms[][2] = {
	    {"cast to halfvec", "%1$s::halfvec(%2$u) <-> %3$s::halfvec(%2$u)"},
	    {"cast to halfvec", "(%1$s::halfvec(%2$u)) <=> %3$s::halfvec(%2$u)"},
	    {"cast to halfvec", "%1$s::halfvec(%2$u) <#> %3$s"},
	    {"cast to sparsevec", "%1$s::sparsevec(%2$u) <-> %3$s::vector::sparsevec(%2$u)"},
	    {"quantized", "binary_quantize(%1$s)::bit(%2$u) <~> binary_quantize(%3$s::vector)"},
	    {"quantized",
	     "binary_quantize(%1$s)::bit(%2$u) <%%> binary_quantize(%3$s::vector)::bit(%2$u)"},
	    {"normalized", "l2_normalize(%1$s::vector(%2$u)) <-> l2_normalize(%3$s::vector)"},
	    {"subvector", "subvector(%1$s, 1, %2$u) <-> subvector(%3$s::vector, 1, %2$u)"},
	    {"!expression", "(%1$s + %3$s::vector(%2$u)) <-> %3$s"},
	    {"!expression", "(%1$s <-> %3$s) * %2$u"},
	    {"!expression", "%2$u - (%1$s <=> %3$s)"},
	    {"!expression", "-(%1$s <#> %3$s::vector(%2$u))"},
	};
	unsigned form = dice_below(dice, sizeof(forms) / sizeof(forms[0]));
	unsigned dimensions = column->dimensions;
	const char *left, *right;

	if (column->vector != VALUE_VECTOR || column->domain)
		return NULL;
	left = clause_column(question, dice, column);
	right = value_literal(question->arena, value_vector(dice, question->arena, VALUE_VECTOR,
	                                                    dimensions, dice_chance(dice, 20)));
	question_tag(question, forms[form][0]);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	return arena_printf(question->arena, forms[form][1], left, dimensions, right);
#pragma GCC diagnostic pop
}

const char *clause_distance(struct question *question, struct dice *dice)
{
	const struct world_column *column = world_vector(question->table, dice);
	const struct value_vector_kind *kind = &value_vectors[column->vector];
	const char *operator= kind->distances[dice_below(dice, kind->ndistances)];
	const char *left,
	    *right = dice_chance(dice, 12) ? cast_distance(question, dice, column) : NULL;

	if (right)
		return right;
	left = clause_column(question, dice, column);
	right = query_vector(question, dice, column);
	question_tag(question, arena_printf(question->arena, "%s %s", kind->type, operator));
	if (column->domain)
		question_tag(question, "!domain of vector");
	if (dice_chance(dice, 3))
		operator= "<->";
	if (dice_chance(dice, 8) && column->vector != VALUE_BIT)
		left = arena_printf(question->arena, "%s::%s", left, kind->type);
	if (dice_chance(dice, 5))
		operator= arena_printf(question->arena, "OPERATOR(public.%s)", operator);
	if (dice_chance(dice, 15))
		return arena_printf(question->arena, "%s %s %s", right, operator, left);
	if (dice_chance(dice, 15))
		return arena_printf(question->arena, "(%s %s %s)", left, operator, right);
	return arena_printf(question->arena, "%s %s %s", left, operator, right);
}

/* ---- targets ---- */

static const char *expression_of(struct question *question, struct dice *dice,
                                 const struct world_column *column, const char *name)
{
	static const char *const of_numbers[] = {
	    "%s + 1", "-%s", "abs(%s)", "%s * 2 > 1", "coalesce(%s, 0)", "greatest(%s, 1)"};
	static const char *const of_texts[] = {
	    "upper(%s)",     "length(%s)",       "%s || '!'", "coalesce(%s, 'none')",
	    "%s LIKE 'a%%'", "substr(%s, 1, 2)", "md5(%s)",   "quote_literal(%s)"};
	static const char *const of_times[] = {"%s::text", "%s IS NULL", "%s = %s"};
	static const char *const of_json[] = {"%s -> 'a'", "%s ->> 'a'", "%s::text"};
	static const char *const of_arrays[] = {"%s[1]", "array_length(%s, 1)", "%s || %s",
	                                        "cardinality(%s)"};
	static const char *const of_others[] = {"%s::text",
	                                        "%s IS NOT NULL",
	                                        "coalesce(%s, %s)",
	                                        "CASE WHEN id > 5 THEN %s END",
	                                        "CASE id WHEN 3 THEN 'x' ELSE %s::text END",
	                                        "nullif(%s, %s)"};
	const char *format;

	switch (column->kind->family) {
	case VALUE_NUMBER:
		format = DICE_PICK(dice, of_numbers);
		break;
	case VALUE_TEXT:
		format = DICE_PICK(dice, of_texts);
		break;
	case VALUE_TIME:
		format = DICE_PICK(dice, of_times);
		break;
	case VALUE_JSON:
		format = DICE_PICK(dice, of_json);
		break;
	case VALUE_ARRAY:
		format = DICE_PICK(dice, of_arrays);
		break;
	default:
		format = DICE_PICK(dice, of_others);
		break;
	}
	if (dice_chance(dice, 20))
		format = DICE_PICK(dice, of_others);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	return arena_printf(question->arena, format, name, name);
#pragma GCC diagnostic pop
}

const char *clause_target(struct question *question, struct dice *dice)
{
	static const char *const odd[] = {"1",
	                                  "NULL",
	                                  "'text'",
	                                  "true",
	                                  "current_setting('TimeZone')",
	                                  "count(*) OVER ()",
	                                  "version()",
	                                  "2 + 2",
	                                  "'2025-03-02'::date",
	                                  "current_user"};
	const struct world_column *column = world_column(question->table, dice);

	/* what depends on settings, where there is such a column */
	for (unsigned i = 0; i < 8 && column->kind->family != VALUE_TIME; i++)
		column = world_column(question->table, dice);
	if (dice_chance(dice, 25))
		return clause_column(question, dice, column);
	column = world_column(question->table, dice);
	switch (dice_below(dice, 20)) {
	case 0:
	case 1:
		return "*";
	case 2:
		return arena_printf(question->arena, "%s.*", question->relation);
	case 3:
		return dice_chance(dice, 30) ? DICE_PICK(dice, odd) : "id";
	case 4:
	case 5:
		return clause_distance(question, dice);
	case 6:
		return clause_column(question, dice, world_vector(question->table, dice));
	case 7:
	case 8:
	case 9:
	case 10:
		return "id";
	case 11:
	case 12:
	case 13:
		return expression_of(question, dice, column, clause_column(question, dice, column));
	default:
		question_tag(question, arena_printf(question->arena, "%starget %s",
		                                    value_is_shown(column->kind) ? "" : "!",
		                                    column->kind->column));
		return clause_column(question, dice, column);
	}
}

/* ---- conditions ---- */

static const char *comparison(struct question *question, struct dice *dice,
                              const struct world_column *column)
{
	static const char *const operators[] = {"=", "<>", "<", "<=", ">", ">="};
	struct arena *arena = question->arena;
	const char *name = clause_column(question, dice, column);
	const char *value = value_of(question, dice, column);

	switch (dice_below(dice, 10)) {
	case 0:
		return arena_printf(arena, "%s IN (%s, %s)", name, value,
		                    value_of(question, dice, column));
	case 1:
		return arena_printf(arena, "%s %sBETWEEN %s AND %s", name,
		                    dice_chance(dice, 30) ? "NOT " : "", value,
		                    value_of(question, dice, column));
	case 2:
		return arena_printf(arena, "%s IS DISTINCT FROM %s", name, value);
	case 3:
		return arena_printf(arena, "NOT (%s = %s)", name, value);
	case 4:
		return arena_printf(arena, "(%s = ANY (ARRAY[%s, %s]) OR %s IS NULL)", name, value,
		                    value_of(question, dice, column), name);
	default:
		return arena_printf(arena, "%s %s %s", name, DICE_PICK(dice, operators), value);
	}
}

static const char *special_condition(struct dice *dice)
{
	static const char *const any[] = {"true",
	                                  "false",
	                                  "id % 2 = 0",
	                                  "id > 1000000",
	                                  "(id > 3 AND id < 30)",
	                                  "NULL",
	                                  "1 = 1",
	                                  "id IN (SELECT 1)",
	                                  "current_user = 'postgres'",
	                                  "now() > '2000-01-01'"};

	return DICE_PICK(dice, any);
}

const char *clause_condition(struct question *question, struct dice *dice)
{
	static const char *const patterns[] = {"a%", "%", "_", "%'%", "\xc3\xa4", "A"};
	static const char *const matches[] = {"LIKE", "ILIKE", "NOT LIKE", "~", "!~*"};
	struct arena *arena = question->arena;
	const struct world_column *column = world_column(question->table, dice);
	const char *name = clause_column(question, dice, column);

	switch (dice_below(dice, 12)) {
	case 0:
	case 1:
		return arena_printf(
		    arena, "%s %s %s", clause_distance(question, dice),
		    dice_chance(dice, 70) ? "<" : ">=", dice_chance(dice, 50) ? "2" : "'0.5'");
	case 2:
	case 3:
		return arena_printf(arena, "%s IS %sNULL", name,
		                    dice_chance(dice, 60) ? "NOT " : "");
	case 4:
		if (column->kind->family == VALUE_TEXT)
			return arena_printf(arena, "%s %s %s", name, DICE_PICK(dice, matches),
			                    value_literal(arena, DICE_PICK(dice, patterns)));
		return "id % 3 <> 1";
	case 5:
		return dice_chance(dice, 40) ? special_condition(dice) : "id % 3 = 0";
	case 6:
		return arena_printf(
		    arena, "%s IS NOT NULL",
		    clause_column(question, dice, world_vector(question->table, dice)));
	case 7:
		column = &question->table->columns[dice_below(dice, 2)];
		return comparison(question, dice, column);
	default:
		if (!column->kind->ordered)
			return "id < 20";
		return comparison(question, dice, column);
	}
}

/* ---- LIMIT ---- */

static const char *count(struct question *question, struct dice *dice, bool offset)
{
	static const char *const odd[] = {"0",
	                                  "NULL",
	                                  "1000000",
	                                  "5 + 2",
	                                  "(SELECT 3)",
	                                  "'7'",
	                                  "7::int8",
	                                  "-1",
	                                  "1.5",
	                                  "CAST(4 AS int)",
	                                  "9223372036854775807",
	                                  "$1",
	                                  "length('four')",
	                                  "3000000000",
	                                  "'4'::int2",
	                                  "(5)"};
	unsigned most = offset ? 12 : dice_chance(dice, 80) ? 20 : 200;
	bool many = question->table->rows > WORLD_ROWS_MAX && dice_chance(dice, 40);
	const char *text;

	if (dice_chance(dice, 5)) {
		text = DICE_PICK(dice, odd);
		question_tag(question, arena_printf(question->arena, "!%s %s",
		                                    offset ? "OFFSET" : "LIMIT", text));
		return text;
	}
	if (many)
		most = offset ? 1500 : WORLD_MANY_ROWS;
	if (many && !offset)
		question_tag(question, "limit of many");
	text = arena_printf(question->arena, "%u", dice_below(dice, most) + !offset);
	if (wants_parameter(question, dice)) {
		static const uint32_t types[] = {0, 0, 20, 23, 21};
		static const char *const strange[] = {NULL, "0",  "-1", "1000000",
		                                      " 5", "5 ", "+5", "x"};
		uint32_t type = DICE_PICK(dice, types);

		if (dice_chance(dice, 8) && type == 0)
			text = DICE_PICK(dice, strange);
		if (!offset)
			question_tag(question,
			             arena_printf(question->arena, "limit parameter %u", type));
		return add_parameter(question, dice, text, type, type ? type : 20);
	}
	return text;
}

const char *clause_limit(struct question *question, struct dice *dice)
{
	static const char *const fixed[] = {" FETCH FIRST ROW ONLY",
	                                    " FETCH FIRST 3 ROWS ONLY",
	                                    " LIMIT ALL",
	                                    "",
	                                    " FETCH FIRST 3 ROWS WITH TIES",
	                                    " LIMIT 5 OFFSET NULL",
	                                    " OFFSET NULL LIMIT ALL",
	                                    " LIMIT 3 OFFSET -0",
	                                    " LIMIT 9223372036854775807 OFFSET 1",
	                                    " LIMIT 2 OFFSET 9223372036854775807",
	                                    " LIMIT 9223372036854775808",
	                                    " LIMIT 1e1",
	                                    " LIMIT 2147483648",
	                                    " LIMIT 0x10",
	                                    " LIMIT true::int",
	                                    " LIMIT 4.5 OFFSET 0.5",
	                                    " LIMIT '3' OFFSET '2'",
	                                    " LIMIT ' 3 '",
	                                    " LIMIT NULL::int8",
	                                    " LIMIT CAST(NULL AS int2) OFFSET 1",
	                                    " FETCH FIRST -1 ROWS ONLY",
	                                    " FETCH NEXT 2 ROW ONLY",
	                                    " OFFSET 1 ROW",
	                                    " OFFSET 2 FETCH FIRST ROWS ONLY",
	                                    " FOR READ ONLY LIMIT 2"};
	struct arena *arena = question->arena;
	const char *limit, *offset;

	if (dice_chance(dice, 8))
		return DICE_PICK(dice, fixed);
	limit = count(question, dice, false);
	if (dice_chance(dice, 70))
		return arena_printf(
		    arena, dice_chance(dice, 5) ? " FETCH FIRST (%s) ROWS ONLY" : " LIMIT %s",
		    limit);
	offset = count(question, dice, true);
	question_tag(question, offset[0] == '$' ? "offset parameter" : "offset");
	if (dice_chance(dice, 70))
		return arena_printf(arena, " LIMIT %s OFFSET %s", limit, offset);
	if (dice_chance(dice, 50))
		return arena_printf(arena, " OFFSET %s LIMIT %s", offset, limit);
	return arena_printf(arena, " OFFSET %s ROWS FETCH NEXT (%s) ROWS ONLY", offset, limit);
}
