/*
 * Shape: the part of analyze.h that needs no shard map. It is a list of what
 * the statement must not have.
 */
#include "parser/analyze.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "parser/type.h"

static bool is_empty(const char *text)
{
	return text == NULL || *text == '\0';
}

static enum refusal check_clauses(const PgQuery__SelectStmt *select)
{
	if (select->op != PG_QUERY__SET_OPERATION__SETOP_NONE || select->with_clause != NULL ||
	    select->n_distinct_clause > 0 || select->into_clause != NULL ||
	    select->n_group_clause > 0 || select->having_clause != NULL ||
	    select->n_window_clause > 0 || select->n_values_lists > 0 ||
	    select->n_locking_clause > 0 || select->n_target_list == 0)
		return REFUSAL_select_clause;
	return REFUSAL_none;
}

static enum refusal check_from(const PgQuery__SelectStmt *select, PgQuery__RangeVar **table)
{
	PgQuery__RangeVar *var;

	if (select->n_from_clause != 1 || !SQL_NODE_IS(select->from_clause[0], RANGE_VAR))
		return REFUSAL_from_clause;
	var = select->from_clause[0]->range_var;
	if (!is_empty(var->catalogname) || is_empty(var->relname) || !var->inh)
		return REFUSAL_from_clause;
	if (var->alias != NULL && (var->alias->n_colnames > 0 || is_empty(var->alias->aliasname)))
		return REFUSAL_from_clause;
	*table = var;
	return REFUSAL_none;
}

/*
 * An integer too large for int4 comes as the text of a float; 1.5 does as well. A string is
 * int8's where nothing else is said: some drivers write parameters so.
 */
static bool read_integer(const PgQuery__AConst *constant, int64_t *value)
{
	const char *digits;
	char *end;

	switch (constant->val_case) {
	case PG_QUERY__A__CONST__VAL_IVAL:
		*value = constant->ival->ival;
		return true;
	case PG_QUERY__A__CONST__VAL_FVAL:
		digits = constant->fval->fval;
		break;
	case PG_QUERY__A__CONST__VAL_SVAL:
		digits = constant->sval->sval;
		break;
	default:
		return false;
	}
	if (*digits == '\0' || strspn(digits, "0123456789") != strlen(digits))
		return false;
	errno = 0;
	*value = strtoll(digits, &end, 10);
	return errno == 0 && *end == '\0';
}

/* 10, $1, either with a cast to an integer type; NULL, ALL or nothing is NONE. */
static enum refusal read_count(const PgQuery__Node *node, struct plan_count *count)
{
	int64_t max = INT64_MAX;

	memset(count, 0, sizeof(*count));
	count->kind = PLAN_COUNT_NONE;
	if (node == NULL)
		return REFUSAL_none;
	if (SQL_NODE_IS(node, TYPE_CAST)) {
		max = type_integer_max(node->type_cast->type_name);
		node = node->type_cast->arg;
		if (max == 0)
			return REFUSAL_limit;
	}
	if (SQL_NODE_IS(node, PARAM_REF)) {
		if (node->param_ref->number < 1 || node->param_ref->number > 65535)
			return REFUSAL_limit;
		count->kind = PLAN_COUNT_PARAMETER;
		count->parameter = (unsigned)node->param_ref->number;
		count->maximum = max;
		return REFUSAL_none;
	}
	if (!SQL_NODE_IS(node, A_CONST))
		return REFUSAL_limit;
	if (node->a_const->isnull)
		return REFUSAL_none;
	if (!read_integer(node->a_const, &count->value) || count->value < 0 || count->value > max)
		return REFUSAL_limit;
	count->kind = PLAN_COUNT_CONSTANT;
	return REFUSAL_none;
}

static enum refusal read_limit(const PgQuery__SelectStmt *select, struct shape *shape)
{
	if (select->limit_option == PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_WITH_TIES)
		return REFUSAL_with_ties;
	if (read_count(select->limit_count, &shape->limit) != REFUSAL_none ||
	    read_count(select->limit_offset, &shape->offset) != REFUSAL_none)
		return REFUSAL_limit;
	if (shape->limit.kind == PLAN_COUNT_NONE ||
	    (shape->limit.kind == PLAN_COUNT_CONSTANT && shape->limit.value == 0))
		return REFUSAL_limit;
	if (shape->offset.kind == PLAN_COUNT_CONSTANT && shape->offset.value == 0)
		shape->offset.kind = PLAN_COUNT_NONE;
	if (shape->limit.kind == PLAN_COUNT_CONSTANT &&
	    shape->limit.value > INT64_MAX - shape->offset.value)
		return REFUSAL_limit;
	return REFUSAL_none;
}

enum refusal analyze_shape(PgQuery__ParseResult *tree, struct shape *shape)
{
	enum refusal refusal;

	memset(shape, 0, sizeof(*shape));
	if (tree->n_stmts > 1)
		return REFUSAL_multiple_statements;
	if (tree->n_stmts == 0 || !SQL_NODE_IS(tree->stmts[0]->stmt, SELECT_STMT))
		return REFUSAL_not_select;
	shape->select = tree->stmts[0]->stmt->select_stmt;
	refusal = check_clauses(shape->select);
	if (refusal == REFUSAL_none && shape->select->n_sort_clause == 0)
		refusal = REFUSAL_not_topk;
	if (refusal == REFUSAL_none)
		refusal = check_from(shape->select, &shape->table);
	if (refusal == REFUSAL_none)
		refusal = read_limit(shape->select, shape);
	assert(refusal != REFUSAL_none || shape->table != NULL);
	return refusal;
}
