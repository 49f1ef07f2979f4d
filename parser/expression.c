/*
 * Expression: one function per kind of node, found by a switch. See the table
 * of operators below for what an unqualified operator may be; functions are in
 * the shard map, because only a catalog knows who else has that name.
 */
#include "parser/expression.h"

#include <assert.h>
#include <string.h>

#include "parser/clock.h"
#include "parser/type.h"

/* Every operator name that PostgreSQL itself or pgvector defines and that is
 * immutable. Others (pg_trgm's %> or the like) may depend on settings. Of
 * these, % and @@ have settings-dependent namesakes: see check_ambiguous(). */
static const char *const operators[] = {
    "=",   "<>",  "<",   ">",  "<=",  ">=",  "+",   "-",   "*",   "/",   "%",   "^",    "|/", "||/",
    "@",   "&",   "|",   "#",  "~",   "<<",  ">>",  "||",  "~~",  "!~~", "~~*", "!~~*", "~*", "!~",
    "!~*", "^@",  "&&",  "@>", "<@",  "->",  "->>", "#>",  "#>>", "?",   "?|",  "?&",   "@?", "@@",
    "#-",  "-|-", "&<",  "&>", "<<|", "|>>", "&<|", "|&>", "<<=", ">>=", "~=",  "<^",   ">^", "?#",
    "?-",  "?-|", "?||", "##", "@-@", "<->", "<#>", "<=>", "<+>", "<~>", "<%>",
};

static bool is_distance_name(const char *name)
{
	return strlen(name) == 3 && name[0] == '<' && name[2] == '>' &&
	       strchr("-#=+~%", name[1]) != NULL;
}

static bool is_known_operator(const char *name)
{
	for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
		if (strcmp(operators[i], name) == 0)
			return true;
	}
	return false;
}

static bool is_vector_schema(const struct expression_scope *scope, const char *schema)
{
	const char *vector_schema = shardmap_vector_schema(scope->map);

	return vector_schema != NULL && strcmp(vector_schema, schema) == 0;
}

/* f, pg_catalog.f or vectorschema.f: the last name; else NULL. */
static const char *plain_name(const struct expression_scope *scope, PgQuery__Node *const *names,
                              size_t count)
{
	const char *schema;

	if (count == 0 || count > 2)
		return NULL;
	if (count == 2) {
		schema = sql_string(names[0]);
		if (schema == NULL ||
		    (strcmp(schema, "pg_catalog") != 0 && !is_vector_schema(scope, schema)))
			return NULL;
	}
	return sql_string(names[count - 1]);
}

/* ---- columns ---- */

bool expression_is_relation(const struct expression_scope *scope, PgQuery__Node *const *names,
                            size_t count)
{
	const char *last = count == 0 ? NULL : sql_string(names[count - 1]);
	const char *schema = count == 2 ? sql_string(names[0]) : NULL;

	if (last == NULL || strcmp(last, scope->relation) != 0)
		return false;
	if (count == 1)
		return true;
	return schema != NULL && !scope->has_alias && strcmp(schema, scope->table->schema) == 0;
}

static enum refusal check_column(struct expression_scope *scope, PgQuery__ColumnRef *ref)
{
	const struct shardmap_column *column;
	const char *name;

	if (ref->n_fields < 1 || ref->n_fields > 3)
		return REFUSAL_column;
	name = sql_string(ref->fields[ref->n_fields - 1]);
	if (name == NULL) /* t.* within an expression: the whole row */
		return REFUSAL_expression;
	if (ref->n_fields > 1 && !expression_is_relation(scope, ref->fields, ref->n_fields - 1))
		return REFUSAL_column;
	/* from PostgreSQL 16 on no column, if not in quotes, which the tree does not tell */
	if (ref->n_fields == 1 && strcmp(name, "system_user") == 0)
		return REFUSAL_column;
	column = shardmap_column(scope->table, name);
	if (column == NULL) /* also a system column, or the whole row by the table's name */
		return REFUSAL_column;
	if (scope->returned && column->type == SHARDMAP_TYPE_OTHER)
		return REFUSAL_type;
	scope->ncolumns++;
	if (ref->n_fields != 2)
		*ref = *sql_new_column(scope->arena, scope->relation, column->name)->column_ref;
	return REFUSAL_none;
}

const struct shardmap_column *expression_column(const struct expression_scope *scope,
                                                const PgQuery__Node *node)
{
	const PgQuery__ColumnRef *ref;

	if (!SQL_NODE_IS(node, COLUMN_REF))
		return NULL;
	ref = node->column_ref;
	return shardmap_column(scope->table, sql_string(ref->fields[ref->n_fields - 1]));
}

/* ---- constants and casts ---- */

static enum refusal check_constant(const PgQuery__AConst *constant)
{
	if (!constant->isnull && constant->val_case == PG_QUERY__A__CONST__VAL_SVAL &&
	    clock_may_be(constant->sval->sval, strlen(constant->sval->sval)))
		return REFUSAL_expression;
	return REFUSAL_none;
}

static enum refusal check_cast(struct expression_scope *scope, PgQuery__TypeCast *cast)
{
	if (type_of_name(scope->map, cast->type_name) == SHARDMAP_TYPE_OTHER)
		return REFUSAL_type;
	return expression_check(scope, cast->arg);
}

/* ---- operators ---- */

/* Is the operand by itself proof that % is arithmetic? */
static bool is_number(const struct expression_scope *scope, const PgQuery__Node *node)
{
	const struct shardmap_column *column = expression_column(scope, node);

	if (column != NULL)
		return type_is_number(column->type_oid);
	if (SQL_NODE_IS(node, TYPE_CAST))
		return type_integer_max(node->type_cast->type_name) > 0;
	return SQL_NODE_IS(node, A_CONST) && !node->a_const->isnull &&
	       (node->a_const->val_case == PG_QUERY__A__CONST__VAL_IVAL ||
	        node->a_const->val_case == PG_QUERY__A__CONST__VAL_FVAL);
}

static bool is_matchable(const struct expression_scope *scope, const PgQuery__Node *node)
{
	const struct shardmap_column *column = expression_column(scope, node);

	return column != NULL && type_has_match(column->type_oid);
}

/* text % text is pg_trgm's and text @@ text is full-text search: both answer by
 * settings. Allowed where an operand shows that it is the other one. */
static bool check_ambiguous(const struct expression_scope *scope, const PgQuery__AExpr *expr,
                            const char *name)
{
	if (strcmp(name, "%") == 0)
		return is_number(scope, expr->lexpr) || is_number(scope, expr->rexpr);
	if (strcmp(name, "@@") == 0)
		return is_matchable(scope, expr->lexpr) || is_matchable(scope, expr->rexpr);
	return true;
}

static enum refusal check_operands(struct expression_scope *scope, PgQuery__AExpr *expr)
{
	enum refusal refusal = REFUSAL_none;

	if (expr->lexpr != NULL)
		refusal = expression_check(scope, expr->lexpr);
	if (refusal == REFUSAL_none)
		refusal = expression_check(scope, expr->rexpr);
	return refusal;
}

static enum refusal check_operator(struct expression_scope *scope, PgQuery__AExpr *expr)
{
	const char *name = plain_name(scope, expr->name, expr->n_name);
	enum refusal refusal;

	if (name == NULL || !is_known_operator(name))
		return REFUSAL_operator;
	if (shardmap_has_foreign_operator(scope->map, name))
		return REFUSAL_operator;
	refusal = check_operands(scope, expr);
	if (refusal == REFUSAL_none && !check_ambiguous(scope, expr, name))
		refusal = REFUSAL_operator;
	return refusal;
}

static enum refusal check_list(struct expression_scope *scope, PgQuery__Node **items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		enum refusal refusal = expression_check(scope, items[i]);

		if (refusal != REFUSAL_none)
			return refusal;
	}
	return REFUSAL_none;
}

/* x IN (...), x BETWEEN a AND b: the right side is a list, allowed nowhere else. */
static enum refusal check_list_operator(struct expression_scope *scope, PgQuery__AExpr *expr)
{
	enum refusal refusal;

	if (!SQL_NODE_IS(expr->rexpr, LIST))
		return REFUSAL_expression;
	refusal = expression_check(scope, expr->lexpr);
	if (refusal == REFUSAL_none)
		refusal = check_list(scope, expr->rexpr->list->items, expr->rexpr->list->n_items);
	return refusal;
}

/* Those that x BETWEEN, IN, LIKE ... stand for, wherever they are in the search path. */
static bool stands_for_foreign(const struct expression_scope *scope, const PgQuery__AExpr *expr)
{
	static const char *const comparisons[] = {"=", "<>", "<", "<=", ">", ">="};
	const char *name = expr->n_name == 1 ? sql_string(expr->name[0]) : NULL;

	if (expr->kind == PG_QUERY__A__EXPR__KIND__AEXPR_LIKE ||
	    expr->kind == PG_QUERY__A__EXPR__KIND__AEXPR_ILIKE)
		return name == NULL || shardmap_has_foreign_operator(scope->map, name);
	for (size_t i = 0; i < sizeof(comparisons) / sizeof(comparisons[0]); i++)
		if (shardmap_has_foreign_operator(scope->map, comparisons[i]))
			return true;
	return false;
}

static enum refusal check_a_expr(struct expression_scope *scope, PgQuery__AExpr *expr)
{
	if (expr->kind > PG_QUERY__A__EXPR__KIND__AEXPR_OP_ALL && stands_for_foreign(scope, expr))
		return REFUSAL_operator;
	switch (expr->kind) {
	case PG_QUERY__A__EXPR__KIND__AEXPR_OP:
	case PG_QUERY__A__EXPR__KIND__AEXPR_OP_ANY:
	case PG_QUERY__A__EXPR__KIND__AEXPR_OP_ALL:
		return check_operator(scope, expr);
	case PG_QUERY__A__EXPR__KIND__AEXPR_DISTINCT:
	case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_DISTINCT:
	case PG_QUERY__A__EXPR__KIND__AEXPR_NULLIF:
	case PG_QUERY__A__EXPR__KIND__AEXPR_LIKE:
	case PG_QUERY__A__EXPR__KIND__AEXPR_ILIKE:
		return check_operands(scope, expr);
	case PG_QUERY__A__EXPR__KIND__AEXPR_IN:
	case PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN:
	case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN:
	case PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN_SYM:
	case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN_SYM:
		return check_list_operator(scope, expr);
	default:
		return REFUSAL_expression;
	}
}

/* ---- the rest ---- */

/* Immutable, but of what is a node's own: an enum's values and roles are stored as OIDs. */
static bool is_of_node(const char *name)
{
	static const char *const prefixes[] = {"hashenum", "hash_", "acldefault", "makeaclitem"};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

static enum refusal check_function(struct expression_scope *scope, PgQuery__FuncCall *call)
{
	const char *name = plain_name(scope, call->funcname, call->n_funcname);

	if (call->n_agg_order > 0 || call->agg_filter != NULL || call->over != NULL ||
	    call->agg_within_group || call->agg_star || call->agg_distinct || call->func_variadic)
		return REFUSAL_function;
	if (name == NULL || is_of_node(name) ||
	    !shardmap_has_function(scope->map, name, (unsigned)call->n_args))
		return REFUSAL_function;
	return check_list(scope, call->args, call->n_args);
}

static enum refusal check_case(struct expression_scope *scope, PgQuery__CaseExpr *expr)
{
	enum refusal refusal = REFUSAL_none;

	if (expr->arg != NULL && shardmap_has_foreign_operator(scope->map, "="))
		return REFUSAL_operator;
	if (expr->arg != NULL)
		refusal = expression_check(scope, expr->arg);
	for (size_t i = 0; i < expr->n_args && refusal == REFUSAL_none; i++) {
		PgQuery__CaseWhen *when;

		if (!SQL_NODE_IS(expr->args[i], CASE_WHEN))
			return REFUSAL_expression;
		when = expr->args[i]->case_when;
		refusal = expression_check(scope, when->expr);
		if (refusal == REFUSAL_none)
			refusal = expression_check(scope, when->result);
	}
	if (refusal == REFUSAL_none && expr->defresult != NULL)
		refusal = expression_check(scope, expr->defresult);
	return refusal;
}

/* x[1], x[1:2]; a field of a composite, x.y, is refused. */
static enum refusal check_indirection(struct expression_scope *scope, PgQuery__AIndirection *expr)
{
	enum refusal refusal = expression_check(scope, expr->arg);

	for (size_t i = 0; i < expr->n_indirection && refusal == REFUSAL_none; i++) {
		PgQuery__AIndices *indices;

		if (!SQL_NODE_IS(expr->indirection[i], A_INDICES))
			return REFUSAL_expression;
		indices = expr->indirection[i]->a_indices;
		if (indices->lidx != NULL)
			refusal = expression_check(scope, indices->lidx);
		if (refusal == REFUSAL_none && indices->uidx != NULL)
			refusal = expression_check(scope, indices->uidx);
	}
	return refusal;
}

/* $0 does not exist, and libpg_query reads a lone ? as one. */
static enum refusal check_parameter(const PgQuery__ParamRef *parameter)
{
	return parameter->number >= 1 && parameter->number <= 65535 ? REFUSAL_none
	                                                            : REFUSAL_expression;
}

enum refusal expression_check(struct expression_scope *scope, PgQuery__Node *node)
{
	if (node == NULL)
		return REFUSAL_expression;
	switch (node->node_case) {
	case PG_QUERY__NODE__NODE_COLUMN_REF:
		return check_column(scope, node->column_ref);
	case PG_QUERY__NODE__NODE_A_CONST:
		return check_constant(node->a_const);
	case PG_QUERY__NODE__NODE_PARAM_REF:
		return check_parameter(node->param_ref);
	case PG_QUERY__NODE__NODE_TYPE_CAST:
		return check_cast(scope, node->type_cast);
	case PG_QUERY__NODE__NODE_A_EXPR:
		return check_a_expr(scope, node->a_expr);
	case PG_QUERY__NODE__NODE_BOOL_EXPR:
		return check_list(scope, node->bool_expr->args, node->bool_expr->n_args);
	case PG_QUERY__NODE__NODE_NULL_TEST:
		return expression_check(scope, node->null_test->arg);
	case PG_QUERY__NODE__NODE_BOOLEAN_TEST:
		return expression_check(scope, node->boolean_test->arg);
	case PG_QUERY__NODE__NODE_CASE_EXPR:
		return check_case(scope, node->case_expr);
	case PG_QUERY__NODE__NODE_COALESCE_EXPR:
		return check_list(scope, node->coalesce_expr->args, node->coalesce_expr->n_args);
	case PG_QUERY__NODE__NODE_MIN_MAX_EXPR:
		return check_list(scope, node->min_max_expr->args, node->min_max_expr->n_args);
	case PG_QUERY__NODE__NODE_A_ARRAY_EXPR:
		return check_list(scope, node->a_array_expr->elements,
		                  node->a_array_expr->n_elements);
	case PG_QUERY__NODE__NODE_FUNC_CALL:
		return check_function(scope, node->func_call);
	case PG_QUERY__NODE__NODE_A_INDIRECTION:
		return check_indirection(scope, node->a_indirection);
	default:
		return REFUSAL_expression;
	}
}

/* ---- distances ---- */

/* pgvector's functions whose result has distances: bit, or the argument's type. */
static enum shardmap_type function_type(const struct expression_scope *scope,
                                        const PgQuery__FuncCall *call);

/* OTHER: not known. */
static enum shardmap_type operand_type(const struct expression_scope *scope,
                                       const PgQuery__Node *node)
{
	const struct shardmap_column *column = expression_column(scope, node);

	if (column != NULL)
		return column->type;
	if (SQL_NODE_IS(node, TYPE_CAST))
		return type_of_name(scope->map, node->type_cast->type_name);
	if (SQL_NODE_IS(node, FUNC_CALL))
		return function_type(scope, node->func_call);
	return SHARDMAP_TYPE_OTHER;
}

static enum shardmap_type function_type(const struct expression_scope *scope,
                                        const PgQuery__FuncCall *call)
{
	const char *name = sql_string(call->funcname[call->n_funcname - 1]);

	if (call->n_funcname == 2 && !is_vector_schema(scope, sql_string(call->funcname[0])))
		return SHARDMAP_TYPE_OTHER;
	if (strcmp(name, "binary_quantize") == 0)
		return SHARDMAP_TYPE_BIT;
	if ((strcmp(name, "l2_normalize") == 0 || strcmp(name, "subvector") == 0) &&
	    call->n_args > 0)
		return operand_type(scope, call->args[0]);
	return SHARDMAP_TYPE_OTHER;
}

static bool has_distance(enum shardmap_type type, const char *name)
{
	switch (type) {
	case SHARDMAP_TYPE_VECTOR:
	case SHARDMAP_TYPE_HALFVEC:
	case SHARDMAP_TYPE_SPARSEVEC:
		return name[1] == '-' || name[1] == '#' || name[1] == '=' || name[1] == '+';
	case SHARDMAP_TYPE_BIT:
		return name[1] == '~' || name[1] == '%';
	case SHARDMAP_TYPE_OTHER:
	case SHARDMAP_TYPE_BUILTIN:
		break;
	}
	return false;
}

enum refusal expression_check_distance(struct expression_scope *scope, PgQuery__Node *node,
                                       const char **operator_name)
{
	PgQuery__AExpr *expr;
	enum refusal refusal;
	const char *name;

	if (!SQL_NODE_IS(node, A_EXPR) || node->a_expr->kind != PG_QUERY__A__EXPR__KIND__AEXPR_OP ||
	    node->a_expr->lexpr == NULL)
		return REFUSAL_order_by;
	expr = node->a_expr;
	name = sql_string(expr->name[expr->n_name - 1]);
	if (name == NULL || !is_distance_name(name))
		return REFUSAL_order_by;
	if (shardmap_vector_schema(scope->map) == NULL || expr->n_name > 2 ||
	    (expr->n_name == 2 && !is_vector_schema(scope, sql_string(expr->name[0]))))
		return REFUSAL_operator;
	scope->ncolumns = 0;
	refusal = expression_check(scope, node);
	if (refusal != REFUSAL_none)
		return refusal;
	if (!has_distance(operand_type(scope, expr->lexpr), name) &&
	    !has_distance(operand_type(scope, expr->rexpr), name))
		return REFUSAL_order_by;
	if (scope->ncolumns == 0)
		return REFUSAL_not_topk;
	*operator_name = name;
	return REFUSAL_none;
}
