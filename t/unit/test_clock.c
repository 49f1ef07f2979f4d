/*
 * Clock: which texts could be read as a clock, and in which bound values that counts.
 */
#include "parser/clock.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/bound.h"

static bool may_be(const char *text)
{
	size_t len = strlen(text);
	char *exact = malloc(len ? len : 1); /* no NUL behind it */
	bool is;

	memcpy(exact, text, len);
	is = clock_may_be(exact, len);
	free(exact);
	return is;
}

Test(clock, words)
{
	static const char *const clocks[] = {"now",         "NOW",          " now ",
	                                     "today",       "Tomorrow",     "yesterday",
	                                     "today 12:00", "[now,)",       "{now,2024-01-01}",
	                                     "12:00 today", "(\"now\",)",   "yesterday allballs",
	                                     "now()",       "2024-01-01now"};
	static const char *const others[] = {"",           "no",      "knows", "nowhere",
	                                     "know",       "todays",  "epoch", "infinity",
	                                     "2024-01-01", "[1,2,3]", "no w"};

	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++)
		cr_expect(may_be(clocks[i]), "%s", clocks[i]);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		cr_expect_not(may_be(others[i]), "%s", others[i]);
}

Test(clock, too_long_for_a_date)
{
	char text[140];

	memset(text, ' ', sizeof(text));
	memcpy(text, "now", 3);
	cr_expect(clock_may_be(text, 128));
	cr_expect_not(clock_may_be(text, 129));
}

/* A Bind message with these values; formats are of all or of each. */
static bool bound(const uint16_t *formats, unsigned nformats, const char *const *values,
                  unsigned nvalues)
{
	struct iobuf body;
	struct wire_bind bind;
	bool is;

	iobuf_init(&body);
	wire_put_string(&body, "");
	wire_put_string(&body, "");
	wire_put_u16(&body, (uint16_t)nformats);
	for (unsigned i = 0; i < nformats; i++)
		wire_put_u16(&body, formats[i]);
	wire_put_u16(&body, (uint16_t)nvalues);
	for (unsigned i = 0; i < nvalues; i++) {
		wire_put_u32(&body, values[i] ? (uint32_t)strlen(values[i]) : UINT32_MAX);
		if (values[i])
			wire_put_bytes(&body, values[i], strlen(values[i]));
	}
	wire_put_u16(&body, 0);
	cr_assert(wire_read_bind(iobuf_head(&body), iobuf_len(&body), &bind));
	is = bound_to_clock(&bind);
	iobuf_fini(&body);
	return is;
}

Test(clock, bound_values)
{
	static const char *const values[] = {NULL, "", "[1,2]", "now"};
	static const uint16_t binary[] = {1}, last_binary[] = {0, 0, 0, 1},
			      last_text[] = {1, 1, 1, 0};

	cr_expect_not(bound_to_clock(NULL));
	cr_expect_not(bound(NULL, 0, NULL, 0));
	cr_expect_not(bound(NULL, 0, values, 3));
	cr_expect(bound(NULL, 0, values, 4));
	cr_expect_not(bound(binary, 1, values, 4));
	cr_expect_not(bound(last_binary, 4, values, 4));
	cr_expect(bound(last_text, 4, values, 4));
}
