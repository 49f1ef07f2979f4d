/*
 * Setting: see setting.h. Anything that is not plainly such a SET is none: then
 * the coordinator has it alone.
 */
#include "parser/setting.h"

#include <string.h>

#include "parser/sql.h"

#define PREFIX "pgtopk."

static const char *constant_text(const PgQuery__AConst *constant, struct arena *arena)
{
	switch (constant->val_case) {
	case PG_QUERY__A__CONST__VAL_IVAL:
		return arena_printf(arena, "%d", constant->ival->ival);
	case PG_QUERY__A__CONST__VAL_FVAL:
		return constant->fval->fval;
	case PG_QUERY__A__CONST__VAL_SVAL:
		return constant->sval->sval;
	case PG_QUERY__A__CONST__VAL_BOOLVAL:
		return constant->boolval->boolval ? "true" : "false";
	default:
		return NULL;
	}
}

static const PgQuery__VariableSetStmt *set_statement(const PgQuery__ParseResult *tree)
{
	const PgQuery__Node *statement;

	if (tree == NULL || tree->n_stmts != 1)
		return NULL;
	statement = tree->stmts[0]->stmt;
	return SQL_NODE_IS(statement, VARIABLE_SET_STMT) ? statement->variable_set_stmt : NULL;
}

bool setting_parse(const char *sql, size_t len, struct arena *arena, const char **name,
                   const char **value)
{
	const PgQuery__VariableSetStmt *set;

	if (memchr(sql, '\0', len) != NULL || sql_may_be_deep(sql, len))
		return false;
	set = set_statement(sql_parse(arena_strndup(arena, sql, len), arena));
	if (set == NULL || set->kind != PG_QUERY__VARIABLE_SET_KIND__VAR_SET_VALUE ||
	    strncasecmp(set->name, PREFIX, strlen(PREFIX)) != 0 || set->n_args != 1 ||
	    !SQL_NODE_IS(set->args[0], A_CONST))
		return false;
	*name = set->name + strlen(PREFIX);
	*value = constant_text(set->args[0]->a_const, arena);
	return *value != NULL;
}
