/*
 * Oracle: see oracle.h.
 */
#include "t/lib/oracle.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "t/lib/cluster.h"

static void connect_all(struct oracle *oracle)
{
	oracle->proxy = instance_connect(oracle->instance, NULL);
	oracle->direct = cluster_connect(CLUSTER_COORDINATOR, NULL);
	oracle->plain = cluster_connect(CLUSTER_COORDINATOR, NULL);
	cluster_run(oracle->plain, "SET search_path = plain, public");
	cluster_run(oracle->plain, "SET enable_indexscan = off");
}

void oracle_open(struct oracle *oracle)
{
	memset(oracle, 0, sizeof(*oracle));
	oracle->instance = instance_shared();
	connect_all(oracle);
}

void oracle_open_fresh(struct oracle *oracle)
{
	memset(oracle, 0, sizeof(*oracle));
	oracle->instance = &oracle->own;
	instance_start(&oracle->own, NULL);
	connect_all(oracle);
}

void oracle_close(struct oracle *oracle)
{
	PQfinish(oracle->proxy);
	PQfinish(oracle->direct);
	PQfinish(oracle->plain);
	if (oracle->instance == &oracle->own)
		instance_stop(&oracle->own);
}

void oracle_set(struct oracle *oracle, const char *sql)
{
	cluster_run(oracle->proxy, sql);
	cluster_run(oracle->direct, sql);
	cluster_run(oracle->plain, sql);
}

/* ---- comparing ---- */

static const char *text_difference(const char *what, const char *got, const char *wanted)
{
	if (!got || !wanted)
		return got == wanted ? NULL : text("%s is missing on one side", what);
	return strcmp(got, wanted) == 0 ? NULL : text("%s: got '%s', not '%s'", what, got, wanted);
}

static const char *error_difference(const PGresult *got, const PGresult *wanted)
{
	static const struct {
		int code;
		const char *name;
	} fields[] = {
	    {PG_DIAG_SEVERITY, "severity"},       {PG_DIAG_SQLSTATE, "SQLSTATE"},
	    {PG_DIAG_MESSAGE_PRIMARY, "message"}, {PG_DIAG_MESSAGE_DETAIL, "detail"},
	    {PG_DIAG_MESSAGE_HINT, "hint"},       {PG_DIAG_STATEMENT_POSITION, "position"},
	};
	const char *difference = NULL;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]) && !difference; i++)
		difference =
		    text_difference(fields[i].name, PQresultErrorField(got, fields[i].code),
		                    PQresultErrorField(wanted, fields[i].code));
	return difference;
}

/* of_table: where the column is from, too. */
static const char *column_difference(const PGresult *got, const PGresult *wanted, int i,
                                     bool of_table)
{
	const char *difference = text_difference("column", PQfname(got, i), PQfname(wanted, i));

	if (difference)
		return difference;
	if (PQftype(got, i) != PQftype(wanted, i) || PQfmod(got, i) != PQfmod(wanted, i) ||
	    PQfsize(got, i) != PQfsize(wanted, i))
		return text("column %s: type %u(%d) of %d bytes, not %u(%d) of %d", PQfname(got, i),
		            PQftype(got, i), PQfmod(got, i), PQfsize(got, i), PQftype(wanted, i),
		            PQfmod(wanted, i), PQfsize(wanted, i));
	if (of_table && (PQftable(got, i) != PQftable(wanted, i) ||
	                 PQftablecol(got, i) != PQftablecol(wanted, i)))
		return text("column %s: of table %u (%d), not %u (%d)", PQfname(got, i),
		            PQftable(got, i), PQftablecol(got, i), PQftable(wanted, i),
		            PQftablecol(wanted, i));
	return NULL;
}

static const char *columns_difference(const PGresult *got, const PGresult *wanted, bool of_table)
{
	const char *difference = NULL;

	if (PQnfields(got) != PQnfields(wanted))
		return text("%d columns, not %d", PQnfields(got), PQnfields(wanted));
	for (int i = 0; i < PQnfields(got) && !difference; i++)
		difference = column_difference(got, wanted, i, of_table);
	return difference;
}

static const char *value_difference(const PGresult *got, const PGresult *wanted, int row, int i)
{
	if (PQgetisnull(got, row, i) != PQgetisnull(wanted, row, i) ||
	    PQgetlength(got, row, i) != PQgetlength(wanted, row, i) ||
	    memcmp(PQgetvalue(got, row, i), PQgetvalue(wanted, row, i),
	           (size_t)PQgetlength(got, row, i)) != 0)
		return text("row %d, column %s: got '%.200s', not '%.200s'", row, PQfname(got, i),
		            PQgetisnull(got, row, i) ? "NULL" : PQgetvalue(got, row, i),
		            PQgetisnull(wanted, row, i) ? "NULL" : PQgetvalue(wanted, row, i));
	return NULL;
}

static const char *rows_difference(const PGresult *got, const PGresult *wanted)
{
	const char *difference = NULL;

	for (int i = 0; i < PQnfields(got); i++) {
		if (PQfformat(got, i) != PQfformat(wanted, i))
			return text("column %s: format %d, not %d", PQfname(got, i),
			            PQfformat(got, i), PQfformat(wanted, i));
	}
	for (int row = 0; row < PQntuples(got) && row < PQntuples(wanted); row++) {
		for (int i = 0; i < PQnfields(got) && !difference; i++)
			difference = value_difference(got, wanted, row, i);
		if (difference)
			return difference;
	}
	if (PQntuples(got) != PQntuples(wanted))
		return text("%d rows, not %d", PQntuples(got), PQntuples(wanted));
	return NULL;
}

static const char *outcome_difference(const PGresult *got, const PGresult *wanted)
{
	if (PQresultStatus(got) != PQresultStatus(wanted))
		return text("%s %s, not %s %s", PQresStatus(PQresultStatus(got)),
		            PQresultErrorMessage(got), PQresStatus(PQresultStatus(wanted)),
		            PQresultErrorMessage(wanted));
	if (PQresultStatus(got) == PGRES_FATAL_ERROR)
		return error_difference(got, wanted);
	return text_difference("command tag", PQcmdStatus((PGresult *)got),
	                       PQcmdStatus((PGresult *)wanted));
}

const char *oracle_difference(const PGresult *got, const PGresult *wanted)
{
	const char *difference = outcome_difference(got, wanted);

	if (!difference)
		difference = columns_difference(got, wanted, true);
	return difference ? difference : rows_difference(got, wanted);
}

/* ---- asking ---- */

static PGresult *run(PGconn *conn, const struct oracle_call *call)
{
	if (call->nvalues < 0)
		return PQexec(conn, call->sql);
	return PQexecParams(conn, call->sql, call->nvalues, call->types, call->values,
	                    call->lengths, call->formats, call->result_format);
}

/* What the coordinator says of the statement without running it. */
static PGresult *describe(PGconn *direct, const struct oracle_call *call)
{
	PGresult *result =
	    PQprepare(direct, "", call->sql, call->nvalues < 0 ? 0 : call->nvalues, call->types);

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		return result;
	PQclear(result);
	return PQdescribePrepared(direct, "");
}

static const char *compare(struct oracle *oracle, const struct oracle_call *call,
                           const PGresult *got)
{
	PGresult *described, *wanted;
	const char *difference;

	if (PQresultStatus(got) == PGRES_FATAL_ERROR) {
		wanted = run(oracle->direct, call);
		difference = oracle_difference(got, wanted);
		PQclear(wanted);
		return difference;
	}
	described = describe(oracle->direct, call);
	difference = columns_difference(got, described, true);
	PQclear(described);
	if (difference || oracle->no_rows)
		return difference;
	wanted = run(oracle->plain, call);
	difference = columns_difference(got, wanted, false);
	if (!difference)
		difference = rows_difference(got, wanted);
	if (!difference)
		difference = outcome_difference(got, wanted);
	PQclear(wanted);
	return difference;
}

const char *oracle_check_call(struct oracle *oracle, const struct oracle_call *call,
                              const char *event)
{
	PGresult *got;
	const char *line, *difference;

	instance_skip_log(oracle->instance);
	got = run(oracle->proxy, call);
	line = instance_expect(oracle->instance, event, call->sql);
	difference = compare(oracle, call, got);
	cr_assert(!difference, "%.400s\n%s", call->sql, difference);
	PQclear(got);
	return line;
}

const char *oracle_check(struct oracle *oracle, const char *sql, const char *event)
{
	struct oracle_call call = {.sql = sql, .nvalues = -1};

	return oracle_check_call(oracle, &call, event);
}

const char *oracle_routed_with(struct oracle *oracle, const char *sql, ...)
{
	const char *values[16];
	struct oracle_call call = {.sql = sql, .values = values};
	va_list args;

	va_start(args, sql);
	while (call.nvalues < 16 && (values[call.nvalues] = va_arg(args, const char *)) != NULL)
		call.nvalues++;
	va_end(args);
	return oracle_check_call(oracle, &call, "routed");
}

/* ---- ties ---- */

static bool has_row(const PGresult *all, const PGresult *got, int row)
{
	for (int i = 0; i < PQntuples(all); i++) {
		bool same = true;

		for (int column = 0; column < PQnfields(got) && same; column++)
			same =
			    strcmp(PQgetvalue(all, i, column), PQgetvalue(got, row, column)) == 0;
		if (same)
			return true;
	}
	return false;
}

static bool is_repeated(const PGresult *got, int row)
{
	for (int i = 0; i < row; i++) {
		bool same = true;

		for (int column = 0; column < PQnfields(got) && same; column++)
			same =
			    strcmp(PQgetvalue(got, i, column), PQgetvalue(got, row, column)) == 0;
		if (same)
			return true;
	}
	return false;
}

void oracle_tied(struct oracle *oracle, const char *sql, const char *all)
{
	PGresult *got, *wanted = PQexec(oracle->plain, sql), *any = PQexec(oracle->plain, all);

	instance_skip_log(oracle->instance);
	got = PQexec(oracle->proxy, sql);
	instance_expect(oracle->instance, "routed", sql);
	cr_assert_eq(PQresultStatus(any), PGRES_TUPLES_OK, "%s", PQerrorMessage(oracle->plain));
	cr_assert_eq(PQntuples(got), PQntuples(wanted), "%s", sql);
	for (int row = 0; row < PQntuples(got); row++) {
		cr_assert_str_eq(PQgetvalue(got, row, 0), PQgetvalue(wanted, row, 0), "%s: row %d",
		                 sql, row);
		cr_assert(!is_repeated(got, row), "%s: row %d comes twice", sql, row);
		cr_assert(has_row(any, got, row), "%s: row %d is not in the table", sql, row);
	}
	PQclear(got);
	PQclear(wanted);
	PQclear(any);
}
