/*
 * Settings: sets, their comparison, and the statement that goes from one to another.
 */
#include "proxy/settings.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "proxy/wire.h"

/* "name=value ..." without blanks in either. */
static struct settings *make(const char *pairs)
{
	struct settings *settings = settings_new();
	char name[64], value[64];
	int len;

	for (; sscanf(pairs, " %63[^=]=%63[^ ]%n", name, value, &len) == 2; pairs += len)
		settings_put(settings, name, strcmp(value, "-") == 0 ? "" : value);
	settings_seal(settings);
	return settings;
}

static void note(void *owner, const char *name, const char *value)
{
	char *text = owner;

	snprintf(text + strlen(text), 256 - strlen(text), "%s%s=%s", *text ? " " : "", name, value);
}

static void differ(const char *applied, const char *wanted, const char *expected)
{
	struct settings *a = applied ? make(applied) : NULL, *w = make(wanted);
	char text[256] = "";

	settings_diff(a, w, note, text);
	cr_assert_str_eq(text, expected, "%s -> %s: %s", applied ? applied : "unknown", wanted,
	                 text);
	settings_unref(a);
	settings_unref(w);
}

Test(settings, sorted_and_replaced)
{
	struct settings *settings = settings_new();

	settings_put(settings, "work_mem", "4MB");
	settings_put(settings, "DateStyle", "ISO");
	settings_put_int(settings, "hnsw.ef_search", -40);
	settings_put(settings, "WORK_MEM", "8MB");
	cr_assert_str_eq(settings_get(settings, "work_mem"), "8MB");
	settings_seal(settings);
	cr_assert_eq(settings_count(settings), 3);
	cr_assert_str_eq(settings_name(settings, 0), "DateStyle");
	cr_assert_str_eq(settings_name(settings, 1), "hnsw.ef_search");
	cr_assert_str_eq(settings_value(settings, 1), "-40");
	cr_assert_str_eq(settings_name(settings, 2), "work_mem");
	cr_assert_str_eq(settings_get(settings, "datestyle"), "ISO");
	cr_assert_null(settings_get(settings, "datestyl"));
	cr_assert_null(settings_get(settings, "datestyles"));
	settings_unref(settings);
}

Test(settings, empty)
{
	struct settings *a = make(""), *b = make("");

	cr_assert(settings_equal(a, b));
	cr_assert_null(settings_get(a, "x"));
	cr_assert_eq(settings_count(a), 0);
	differ("", "", "");
	differ(NULL, "", "");
	differ("a=1", "", "");
	settings_unref(a);
	settings_unref(b);
	settings_unref(NULL);
}

Test(settings, equal)
{
	struct settings *a = make("a=1 b=2 c=-"), *same = make("c=- B=2 a=1");
	struct settings *other = make("a=1 b=3 c=-"), *fewer = make("a=1 b=2");
	struct settings *joined = make("ab=12 c=-");

	cr_assert(settings_equal(a, a));
	cr_assert(settings_equal(a, same));
	cr_assert_not(settings_equal(a, other));
	cr_assert_not(settings_equal(a, fewer));
	cr_assert_not(settings_equal(a, joined));
	settings_unref(a);
	settings_unref(same);
	settings_unref(other);
	settings_unref(fewer);
	settings_unref(joined);
}

Test(settings, copy_is_unsealed)
{
	struct settings *a = make("a=1 b=2"), *copy = settings_copy(a);

	settings_put(copy, "b", "3");
	settings_put(copy, "c", "4");
	settings_seal(copy);
	cr_assert_str_eq(settings_get(a, "b"), "2");
	cr_assert_null(settings_get(a, "c"));
	cr_assert_str_eq(settings_get(copy, "b"), "3");
	cr_assert_eq(settings_count(copy), 3);
	settings_unref(settings_ref(a));
	settings_unref(a);
	settings_unref(copy);
}

Test(settings, diff)
{
	differ(NULL, "a=1 b=2", "a=1 b=2");
	differ("a=1 b=2", "a=1 b=2", "");
	differ("a=1 b=2", "a=1 b=3", "b=3");
	differ("a=1", "a=1 b=2", "b=2");
	differ("b=2", "a=1 b=2 c=3", "a=1 c=3");
	differ("a=1 b=2 c=3", "b=2", "");
	differ("a=1 c=3", "b=2 d=4", "b=2 d=4");
	differ("A=1", "a=1", "");
	differ("a=x", "a=X", "a=X");
	differ("a=1", "a=-", "a=");
}

/* The middle of a Bind message as text. */
static void read_parameters(const struct iobuf *parameters, char *text, size_t size)
{
	struct wire_reader reader;
	unsigned count;

	wire_read_init(&reader, iobuf_head(parameters), iobuf_len(parameters));
	cr_assert_eq(wire_read_u16(&reader), 0);
	count = wire_read_u16(&reader);
	text[0] = '\0';
	for (unsigned i = 0; i < count; i++) {
		uint32_t len = wire_read_u32(&reader);
		const uint8_t *value = wire_read_bytes(&reader, len);

		cr_assert(value || len == 0);
		snprintf(text + strlen(text), size - strlen(text), "%.*s,", (int)len,
		         value ? (const char *)value : "");
	}
	cr_assert(wire_read_done(&reader));
}

Test(settings, change_is_one_statement)
{
	struct settings *a = make("a=1 b=2"), *b = make("a=1 b=3 c=it's");
	struct iobuf sql, parameters;
	char text[256];

	iobuf_init(&sql);
	iobuf_init(&parameters);
	cr_assert_not(settings_change(a, a, &sql, &parameters));
	cr_assert(iobuf_len(&sql) == 0 && iobuf_len(&parameters) == 0);
	cr_assert(settings_change(a, b, &sql, &parameters));
	snprintf(text, sizeof(text), "%.*s", (int)iobuf_len(&sql), (const char *)iobuf_head(&sql));
	cr_assert_str_eq(text, "SELECT pg_catalog.set_config($1,$2,false),"
	                       " pg_catalog.set_config($3,$4,false)");
	read_parameters(&parameters, text, sizeof(text));
	cr_assert_str_eq(text, "b,3,c,it's,");
	iobuf_fini(&sql);
	iobuf_fini(&parameters);
	settings_unref(a);
	settings_unref(b);
}
