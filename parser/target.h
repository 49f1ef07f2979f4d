/*
 * Target: the output columns of a SELECT and their names, as PostgreSQL gives
 * them. ORDER BY may use those names, also the ones nobody wrote.
 */
#ifndef PARSER_TARGET_H
#define PARSER_TARGET_H

#include "parser/expression.h"
#include "parser/refusal.h"
#include "parser/sql.h"

/* Checks the target list and expands * and t.* in it. */
enum refusal target_expand(struct expression_scope *scope, PgQuery__SelectStmt *select);

/* Never NULL: AS, or what the expression suggests, or "?column?". */
const char *target_name(const PgQuery__ResTarget *target);

#endif
