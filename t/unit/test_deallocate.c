/*
 * Deallocate: a name is only told if it is surely the one.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "proxy/deallocate.h"

static const char *name_in(const char *sql)
{
	static struct deallocate deallocate;

	memset(&deallocate, 0, sizeof(deallocate));
	memset(deallocate.name, 'x', 2); /* of an earlier one */
	deallocate_note(&deallocate, sql, strlen(sql) + 1);
	return deallocate.name;
}

Test(deallocate, names_are_read_as_postgresql_reads_them)
{
	cr_assert_str_eq(name_in("DEALLOCATE _pg3_0"), "_pg3_0");
	cr_assert_str_eq(name_in(" deallocate\tPREPARE\n Name$1 ; "), "name$1");
	cr_assert_str_eq(name_in("DEALLOCATE \"Say \"\"hi\"\"\";"), "Say \"hi\"");
	cr_assert_str_eq(name_in("DEALLOCATE \"prepare\""), "prepare");
	cr_assert_str_eq(name_in("DEALLOCATE \"all\""), "all");
	cr_assert_str_eq(name_in("DEALLOCATE PREPARE prepare"), "prepare");
}

Test(deallocate, anything_else_is_unknown)
{
	static const char *const unknown[] = {
	    "DEALLOCATE ALL",
	    "DEALLOCATE PREPARE ALL",
	    "DEALLOCATE a; DEALLOCATE b",
	    "DEALLOCATE a -- comment",
	    "DEALLOCATE /* which? */ a",
	    "DEALLOCATE",
	    "DEALLOCATE PREPARE",
	    "DEALLOCATE \"a",
	    "DEALLOCATE \xc3\xa4",
	    "SELECT 1; DEALLOCATE a",
	    "DEALLOCATE a0123456789012345678901234567890123456789012345678901234567890123",
	    "",
	};

	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		cr_assert_str_eq(name_in(unknown[i]), "", "%s", unknown[i]);
}

Test(deallocate, one_that_failed_is_forgotten)
{
	struct deallocate deallocate = {0};

	deallocate_note(&deallocate, "DEALLOCATE a", 13);
	cr_assert_str_eq(deallocate.name, "a");
	deallocate_reset(&deallocate);
	cr_assert_str_eq(deallocate.name, "");
}
