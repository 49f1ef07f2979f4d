/*
 * Target: expansion of *, and PostgreSQL's FigureColname() for the nodes that
 * expression.c lets through.
 */
#include "parser/target.h"

#include <assert.h>
#include <string.h>

/* ---- names ---- */

static const char *last_string(PgQuery__Node *const *nodes, size_t count)
{
	return count == 0 ? NULL : sql_string(nodes[count - 1]);
}

/* How strongly a node suggests a name; a type's or a CASE's yields to others. */
enum strength { NO_NAME, WEAK_NAME, STRONG_NAME };

static enum strength figure_name(const PgQuery__Node *node, const char **name);

static enum strength figure_weak(const PgQuery__Node *inner, const char *own, const char **name)
{
	enum strength strength = figure_name(inner, name);

	if (strength > WEAK_NAME)
		return strength;
	*name = own;
	return WEAK_NAME;
}

static enum strength strong(const char *own, const char **name)
{
	*name = own;
	return STRONG_NAME;
}

static enum strength figure_name(const PgQuery__Node *node, const char **name)
{
	const PgQuery__TypeName *type;

	if (node == NULL)
		return NO_NAME;
	switch (node->node_case) {
	case PG_QUERY__NODE__NODE_COLUMN_REF:
		return strong(last_string(node->column_ref->fields, node->column_ref->n_fields),
		              name);
	case PG_QUERY__NODE__NODE_A_INDIRECTION:
		return figure_name(node->a_indirection->arg, name);
	case PG_QUERY__NODE__NODE_FUNC_CALL:
		return strong(last_string(node->func_call->funcname, node->func_call->n_funcname),
		              name);
	case PG_QUERY__NODE__NODE_A_EXPR:
		if (node->a_expr->kind == PG_QUERY__A__EXPR__KIND__AEXPR_NULLIF)
			return strong("nullif", name);
		return NO_NAME;
	case PG_QUERY__NODE__NODE_TYPE_CAST:
		type = node->type_cast->type_name;
		return figure_weak(node->type_cast->arg, last_string(type->names, type->n_names),
		                   name);
	case PG_QUERY__NODE__NODE_CASE_EXPR:
		return figure_weak(node->case_expr->defresult, "case", name);
	case PG_QUERY__NODE__NODE_A_ARRAY_EXPR:
		return strong("array", name);
	case PG_QUERY__NODE__NODE_COALESCE_EXPR:
		return strong("coalesce", name);
	case PG_QUERY__NODE__NODE_MIN_MAX_EXPR:
		return strong(node->min_max_expr->op == PG_QUERY__MIN_MAX_OP__IS_GREATEST
		                  ? "greatest"
		                  : "least",
		              name);
	default:
		return NO_NAME;
	}
}

const char *target_name(const PgQuery__ResTarget *target)
{
	const char *name = NULL;

	if (target->name != NULL && *target->name != '\0')
		return target->name;
	if (figure_name(target->val, &name) == NO_NAME || name == NULL)
		return "?column?";
	return name;
}

/* ---- expansion ---- */

static bool is_star(const PgQuery__Node *value)
{
	return SQL_NODE_IS(value, COLUMN_REF) && value->column_ref->n_fields > 0 &&
	       SQL_NODE_IS(value->column_ref->fields[value->column_ref->n_fields - 1], A_STAR);
}

/* Writes one target per column to `to`; their number is the table's. */
static enum refusal expand_star(struct expression_scope *scope, const PgQuery__ColumnRef *star,
                                PgQuery__Node **to)
{
	const struct shardmap_table *table = scope->table;

	if (star->n_fields > 3 ||
	    (star->n_fields > 1 &&
	     !expression_is_relation(scope, star->fields, star->n_fields - 1)))
		return REFUSAL_column;
	for (unsigned i = 0; i < table->ncolumns; i++) {
		PgQuery__Node *column;

		if (table->columns[i].type == SHARDMAP_TYPE_OTHER)
			return REFUSAL_type;
		column = sql_new_column(scope->arena, scope->relation, table->columns[i].name);
		to[i] = sql_new_target(scope->arena, column, NULL);
	}
	return REFUSAL_none;
}

enum refusal target_expand(struct expression_scope *scope, PgQuery__SelectStmt *select)
{
	size_t stars = 0;
	size_t count = 0;
	PgQuery__Node **expanded;

	for (size_t i = 0; i < select->n_target_list; i++) {
		if (!SQL_NODE_IS(select->target_list[i], RES_TARGET) ||
		    select->target_list[i]->res_target->n_indirection > 0)
			return REFUSAL_expression;
		stars += is_star(select->target_list[i]->res_target->val);
	}
	/* PostgreSQL's limit; also keeps a list of stars from growing the text */
	if (select->n_target_list - stars + stars * scope->table->ncolumns > 1600)
		return REFUSAL_expression;
	expanded = arena_alloc(scope->arena, 1600 * sizeof(PgQuery__Node *));
	for (size_t i = 0; i < select->n_target_list; i++) {
		PgQuery__Node *value = select->target_list[i]->res_target->val;
		enum refusal refusal;

		if (is_star(value)) {
			refusal = expand_star(scope, value->column_ref, expanded + count);
			count += scope->table->ncolumns;
		} else {
			refusal = expression_check(scope, value);
			expanded[count++] = select->target_list[i];
		}
		if (refusal != REFUSAL_none)
			return refusal;
	}
	assert(count <= 1600);
	select->target_list = expanded;
	select->n_target_list = count;
	return count > 0 ? REFUSAL_none : REFUSAL_select_clause;
}
