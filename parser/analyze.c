/*
 * Analyze: the second step, against one table of the shard map. The sort keys
 * follow PostgreSQL's findTargetlistEntrySQL92(): a bare name is an output
 * column first and an input column second, a bare integer is a position, and
 * everything else is an expression over input columns.
 */
#include "parser/analyze.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "parser/expression.h"
#include "parser/target.h"

/* ---- FROM ---- */

static enum refusal bind_table(const struct shape *shape, const struct shardmap *map,
                               const struct shardmap_table *table, struct arena *arena,
                               struct expression_scope *scope)
{
	const PgQuery__RangeVar *var = shape->table;

	if (!table->routable || table->nshards == 0)
		return REFUSAL_table_kind;
	if (strcmp(var->relname, table->name) != 0 ||
	    (*var->schemaname != '\0' && strcmp(var->schemaname, table->schema) != 0))
		return REFUSAL_from_clause; /* resolved to something else: not ours to judge */
	memset(scope, 0, sizeof(*scope));
	scope->arena = arena;
	scope->map = map;
	scope->table = table;
	scope->has_alias = var->alias != NULL;
	scope->relation = scope->has_alias ? var->alias->aliasname : var->relname;
	return REFUSAL_none;
}

/* ---- WHERE ---- */

static const PgQuery__Node *strip_casts(const PgQuery__Node *node)
{
	while (SQL_NODE_IS(node, TYPE_CAST))
		node = node->type_cast->arg;
	return node;
}

static bool is_value(const PgQuery__Node *node)
{
	node = strip_casts(node);
	return SQL_NODE_IS(node, A_CONST) || SQL_NODE_IS(node, PARAM_REF);
}

static bool is_key(const struct expression_scope *scope, const PgQuery__Node *node)
{
	const struct shardmap_column *column = expression_column(scope, strip_casts(node));

	return column != NULL && scope->table->key != NULL &&
	       strcmp(column->name, scope->table->key) == 0;
}

/* key = value, which the coordinator sends to one shard by itself. */
static bool names_one_shard(const struct expression_scope *scope, const PgQuery__Node *where)
{
	const PgQuery__AExpr *expr;
	const char *name;

	if (SQL_NODE_IS(where, BOOL_EXPR) &&
	    where->bool_expr->boolop == PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR) {
		for (size_t i = 0; i < where->bool_expr->n_args; i++) {
			if (names_one_shard(scope, where->bool_expr->args[i]))
				return true;
		}
		return false;
	}
	if (!SQL_NODE_IS(where, A_EXPR) || where->a_expr->kind != PG_QUERY__A__EXPR__KIND__AEXPR_OP)
		return false;
	expr = where->a_expr;
	name = sql_string(expr->name[expr->n_name - 1]);
	if (name == NULL || strcmp(name, "=") != 0)
		return false;
	return (is_key(scope, expr->lexpr) && is_value(expr->rexpr)) ||
	       (is_key(scope, expr->rexpr) && is_value(expr->lexpr));
}

static enum refusal check_where(struct expression_scope *scope, PgQuery__Node *where)
{
	enum refusal refusal;

	if (where == NULL)
		return REFUSAL_none;
	scope->returned = false;
	refusal = expression_check(scope, where);
	scope->returned = true;
	if (refusal == REFUSAL_none && names_one_shard(scope, where))
		refusal = REFUSAL_single_shard;
	return refusal;
}

/* ---- ORDER BY ---- */

/* An output column by name. Several of that name are fine if they are the same. */
static enum refusal find_output(const PgQuery__SelectStmt *select, const char *name,
                                PgQuery__Node **value)
{
	*value = NULL;
	for (size_t i = 0; i < select->n_target_list; i++) {
		PgQuery__ResTarget *target = select->target_list[i]->res_target;

		if (strcmp(target_name(target), name) != 0)
			continue;
		if (*value != NULL && !sql_equal_nodes(*value, target->val))
			return REFUSAL_order_by;
		if (*value == NULL)
			*value = target->val;
	}
	return REFUSAL_none;
}

/* The expression that a sort key stands for. */
static enum refusal resolve_key(const PgQuery__SelectStmt *select, PgQuery__Node *node,
                                PgQuery__Node **value)
{
	*value = node;
	if (SQL_NODE_IS(node, COLUMN_REF) && node->column_ref->n_fields == 1) {
		const char *name = sql_string(node->column_ref->fields[0]);
		enum refusal refusal;

		if (name == NULL)
			return REFUSAL_order_by;
		refusal = find_output(select, name, value);
		if (*value == NULL)
			*value = node;
		if (refusal != REFUSAL_none)
			return refusal;
	} else if (SQL_NODE_IS(node, A_CONST)) {
		const PgQuery__AConst *position = node->a_const;

		if (position->isnull || position->val_case != PG_QUERY__A__CONST__VAL_IVAL ||
		    position->ival->ival < 1 ||
		    (size_t)position->ival->ival > select->n_target_list)
			return REFUSAL_order_by;
		*value = select->target_list[position->ival->ival - 1]->res_target->val;
	}
	/* a constant would be a position in the text that is written */
	return SQL_NODE_IS(*value, A_CONST) ? REFUSAL_order_by : REFUSAL_none;
}

static enum refusal read_direction(const PgQuery__SortBy *sort, struct plan_key *key)
{
	switch (sort->sortby_dir) {
	case PG_QUERY__SORT_BY_DIR__SORTBY_DEFAULT:
	case PG_QUERY__SORT_BY_DIR__SORTBY_ASC:
		key->descending = false;
		break;
	case PG_QUERY__SORT_BY_DIR__SORTBY_DESC:
		key->descending = true;
		break;
	default: /* USING */
		return REFUSAL_order_by;
	}
	if (sort->sortby_nulls == PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_DEFAULT)
		key->nulls_first = key->descending;
	else
		key->nulls_first =
		    sort->sortby_nulls == PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_FIRST;
	return REFUSAL_none;
}

static enum refusal check_keys(struct expression_scope *scope, struct question *question)
{
	PgQuery__SelectStmt *select = question->shape.select;

	question->nkeys = (unsigned)select->n_sort_clause;
	question->keys = arena_calloc(scope->arena, question->nkeys, sizeof(*question->keys));
	question->key_values = arena_calloc(scope->arena, question->nkeys, sizeof(PgQuery__Node *));
	for (unsigned i = 0; i < question->nkeys; i++) {
		PgQuery__SortBy *sort;
		enum refusal refusal;

		if (!SQL_NODE_IS(select->sort_clause[i], SORT_BY))
			return REFUSAL_order_by;
		sort = select->sort_clause[i]->sort_by;
		refusal = read_direction(sort, &question->keys[i]);
		if (refusal == REFUSAL_none)
			refusal = resolve_key(select, sort->node, &sort->node);
		if (refusal == REFUSAL_none && i == 0)
			refusal = expression_check_distance(scope, sort->node, &question->distance);
		else if (refusal == REFUSAL_none)
			refusal = expression_check(scope, sort->node);
		if (refusal != REFUSAL_none)
			return refusal;
		question->key_values[i] = sort->node;
	}
	return REFUSAL_none;
}

/* ---- parameters ---- */

/* Uses of parameters that stand in a sort key; statements with more are refused. */
#define USES_MAX 256

struct use {
	int number;
	const ProtobufCMessage *parent; /* NULL: the whole key is the parameter */
	bool in_key;
};

struct uses {
	unsigned count;
	bool overflow;
	bool in_key;
	struct use items[USES_MAX];
};

static bool is_used(const struct uses *uses, int number)
{
	for (unsigned i = 0; i < uses->count; i++) {
		if (uses->items[i].number == number)
			return true;
	}
	return false;
}

/* Keys are visited first: others' parameters do not matter. */
static void collect_use(void *context, const ProtobufCMessage *message,
                        const ProtobufCMessage *parent)
{
	struct uses *uses = context;
	int number;

	if (!SQL_IS(message, param_ref))
		return;
	number = ((const PgQuery__ParamRef *)(const void *)message)->number;
	if (!uses->in_key && !is_used(uses, number))
		return;
	if (uses->count == USES_MAX) {
		uses->overflow = true;
		return;
	}
	uses->items[uses->count++] =
	    (struct use){.number = number, .parent = parent, .in_key = uses->in_key};
}

static void find_highest(void *context, const ProtobufCMessage *message,
                         const ProtobufCMessage *parent)
{
	int *highest = context;
	int number;

	(void)parent;
	if (!SQL_IS(message, param_ref))
		return;
	number = ((const PgQuery__ParamRef *)(const void *)message)->number;
	if (number > *highest)
		*highest = number;
}

/* Do both uses give the parameter the same type, whichever comes first? */
static bool agree(const struct use *a, const struct use *b)
{
	if (a->parent == NULL || b->parent == NULL)
		return false;
	if (SQL_IS(a->parent, type_cast) && SQL_IS(b->parent, type_cast)) {
		const PgQuery__TypeCast *x = (const void *)a->parent;
		const PgQuery__TypeCast *y = (const void *)b->parent;

		return sql_equal(&x->type_name->base, &y->type_name->base);
	}
	return sql_equal(a->parent, b->parent);
}

/*
 * PostgreSQL gives a parameter its type at the first use that needs one, in the
 * order targets, WHERE, ORDER BY. Our texts have the sort keys among the
 * targets, before WHERE: that must not make a difference.
 */
static enum refusal check_parameters(struct arena *arena, struct question *question)
{
	struct uses *uses = arena_calloc(arena, 1, sizeof(*uses));
	int highest = 0;

	uses->in_key = true;
	for (unsigned i = 0; i < question->nkeys; i++)
		sql_visit(sql_node_message(question->key_values[i]), collect_use, uses);
	uses->in_key = false;
	sql_visit(sql_node_message(question->shape.select->where_clause), collect_use, uses);
	if (uses->overflow)
		return REFUSAL_parameters;
	for (unsigned i = 0; i < uses->count; i++) {
		for (unsigned j = i + 1; j < uses->count; j++) {
			const struct use *a = &uses->items[i];
			const struct use *b = &uses->items[j];

			if (a->number == b->number && a->in_key != b->in_key && !agree(a, b))
				return REFUSAL_parameters;
		}
	}
	sql_visit(&question->tree->base, find_highest, &highest);
	question->nparameters = (unsigned)highest;
	return REFUSAL_none;
}

/* ---- names ---- */

static void add_last(struct names *names, PgQuery__Node *const *nodes, size_t count)
{
	const char *name = count == 0 ? NULL : sql_string(nodes[count - 1]);

	if (name != NULL)
		names_add(names, name, strlen(name));
}

/* x BETWEEN a AND b, x IN (a), CASE x WHEN a: comparisons that are not written. */
static void add_comparisons(struct names *names)
{
	static const char *const comparisons[] = {"=", "<>", "<", "<=", ">", ">="};

	for (size_t i = 0; i < sizeof(comparisons) / sizeof(comparisons[0]); i++)
		names_add(names, comparisons[i], strlen(comparisons[i]));
}

static void collect_name(void *context, const ProtobufCMessage *message,
                         const ProtobufCMessage *parent)
{
	struct question *question = context;
	struct names *names = &question->names;

	(void)parent;
	if (SQL_IS(message, func_call)) {
		const PgQuery__FuncCall *call = (const void *)message;

		add_last(names, call->funcname, call->n_funcname);
	} else if (SQL_IS(message, a__expr)) {
		const PgQuery__AExpr *expr = (const void *)message;

		add_last(names, expr->name, expr->n_name);
		if (expr->kind > PG_QUERY__A__EXPR__KIND__AEXPR_OP_ALL)
			add_comparisons(names);
	} else if (SQL_IS(message, case_expr)) {
		add_comparisons(names);
	} else if (SQL_IS(message, type_cast)) {
		const PgQuery__TypeName *type =
		    ((const PgQuery__TypeCast *)(const void *)message)->type_name;
		const char *name = sql_string(type->names[type->n_names - 1]);
		char text[80];
		int len = snprintf(text, sizeof(text), "::%.70s", name);

		names_add(names, text, (size_t)len);
		if (shardmap_has_foreign_operator(question->map, text))
			question->recast = true;
	}
}

/* A user's cast between types that casts already know, or that happens unasked. */
static enum refusal check_names(struct question *question)
{
	names_add(&question->names, NAMES_IMPLICIT_CAST, strlen(NAMES_IMPLICIT_CAST));
	sql_visit(&question->tree->base, collect_name, question);
	if (question->recast || shardmap_has_foreign_operator(question->map, NAMES_IMPLICIT_CAST))
		return REFUSAL_type;
	return REFUSAL_none;
}

enum refusal analyze(PgQuery__ParseResult *tree, const struct shardmap *map,
                     const struct shardmap_table *table, struct arena *arena,
                     struct question *question)
{
	struct expression_scope scope;
	enum refusal refusal;

	memset(question, 0, sizeof(*question));
	refusal = analyze_shape(tree, &question->shape);
	assert(refusal == REFUSAL_none); /* query_parse() saw to it */
	question->tree = tree;
	question->map = map;
	refusal = bind_table(&question->shape, map, table, arena, &scope);
	if (refusal != REFUSAL_none)
		return refusal;
	question->relation = scope.relation;
	scope.returned = true;
	refusal = target_expand(&scope, question->shape.select);
	if (refusal == REFUSAL_none)
		refusal = check_where(&scope, question->shape.select->where_clause);
	if (refusal == REFUSAL_none)
		refusal = check_keys(&scope, question);
	if (refusal == REFUSAL_none)
		refusal = check_parameters(arena, question);
	if (refusal == REFUSAL_none)
		refusal = check_names(question);
	return refusal;
}
