/*
 * Value: see value.h. One row per type.
 */
#include "t/torture/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char value_types_sql[] = "CREATE TYPE mood AS ENUM ('low', 'Middle', 'high', 'at last');"
			       "CREATE TYPE pair AS (a int, b text);"
			       "CREATE DOMAIN posint AS int CHECK (VALUE >= 0);"
			       "CREATE DOMAIN label AS text;"
			       "CREATE DOMAIN embs AS vector;"
			       "CREATE TYPE deep AS (m mood, p pair, q vector(2), i posint);"
			       "CREATE COLLATION nocase (provider = icu, locale = "
			       "'und-u-ks-level2', deterministic = false);";

const char value_drop_sql[] = "DROP TYPE IF EXISTS deep CASCADE;"
			      "DROP TYPE IF EXISTS mood, pair CASCADE;"
			      "DROP DOMAIN IF EXISTS posint, label, embs CASCADE;"
			      "DROP COLLATION IF EXISTS nocase CASCADE;";

/* clang-format off */
static const struct value_kind kinds[] = {
    {"int2", "int2", 21, VALUE_NUMBER, true, {"0", "1", "-1", "32767", "-32768", "7"}},
    {"int4", "int4", 23, VALUE_NUMBER, true, {"0", "1", "-1", "2147483647", "-2147483648", "42", "43"}},
    {"int8", "int8", 20, VALUE_NUMBER, true, {"0", "1", "-1", "9223372036854775807", "-9223372036854775808", "4294967296"}},
    {"numeric", "numeric", 1700, VALUE_NUMBER, true, {"0", "0.00", "-0.1", "10000", "9999.9999", "NaN", "Infinity", "-Infinity", "1e30", "123456789012345678901234567890.5", "-1e-20"}},
    {"numeric(8,2)", "numeric", 1700, VALUE_NUMBER, true, {"0", "1.5", "1.50", "-99999.99", "12.34", "NaN"}},
    {"float4", "float4", 700, VALUE_NUMBER, true, {"0", "-0", "1.5", "NaN", "Infinity", "-Infinity", "1e-38", "0.1", "3.4e38"}},
    {"float8", "float8", 701, VALUE_NUMBER, true, {"0", "-0", "0.1", "1e308", "NaN", "Infinity", "-Infinity", "-1e-300", "2.5"}},
    {"text", "text", 25, VALUE_TEXT, true, {"", "a", "A", "b", "it's", "a b", "\xc3\xa4", "zz\\x", "%", "\"q\"", "10"}},
    {"text COLLATE \"C\"", "text", 25, VALUE_TEXT, true, {"", "a", "B", "_", "aa", "\xc3\xbc", "a\tb"}},
    {"text COLLATE \"ucs_basic\"", "text", 25, VALUE_TEXT, true, {"", "a", "B", "_", "aa", "\xc3\xbc"}},
    {"text COLLATE \"und-x-icu\"", "text", 25, VALUE_TEXT, true, {"", "a", "B", "b", "A", "aa", "\xc3\xbc", "-"}},
    {"varchar(12)", "varchar", 1043, VALUE_TEXT, true, {"", "x", "X", "twelve chars", "null", "x "}},
    {"char(6)", "bpchar", 1042, VALUE_TEXT, true, {"", "x", "x  ", "sixsix", "NULL", "\x7f"}},
    {"\"char\"", "\"char\"", 18, VALUE_OTHER, true, {"a", "b", "~", " "}},
    {"name", "name", 19, VALUE_TEXT, true, {"n", "N", "pg_class", ""}},
    {"bytea", "bytea", 17, VALUE_OTHER, true, {"\\x", "\\x00", "\\x00ff", "\\xff", "\\x27", "\\x5c5c", "\\x61"}},
    {"timestamptz", "timestamptz", 1184, VALUE_TIME, true, {"2024-02-29 12:00:00+00", "2024-02-29 13:00:00+01", "infinity", "-infinity", "1999-12-31 23:59:59.999999+00", "03-02-2025 12:00"}},
    {"timestamp(3)", "timestamp", 1114, VALUE_TIME, true, {"2024-02-29 12:00:00", "2024-02-29 12:00:00.0004", "infinity", "2000-01-01"}},
    {"date", "date", 1082, VALUE_TIME, true, {"2025-03-02", "03-02-2025", "infinity", "-infinity", "0001-01-01 BC", "1970-01-01"}},
    {"time", "time", 1083, VALUE_TIME, true, {"00:00", "24:00", "12:34:56.789", "12:34:56"}},
    {"timetz", "timetz", 1266, VALUE_TIME, true, {"12:00+00", "13:00+01", "00:00-12", "12:00:00.5+05:30"}},
    {"interval", "interval", 1186, VALUE_TIME, true, {"0", "1 month", "30 days", "720 hours", "-1 day", "1 year 2 mons -3 days 04:05:06.7", "24:00:00"}},
    {"uuid", "uuid", 2950, VALUE_OTHER, true, {"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}},
    {"inet", "inet", 869, VALUE_OTHER, true, {"10.0.0.1", "10.0.0.0/8", "::1", "2001:db8::/32", "10.0.0.1/24"}},
    {"cidr", "cidr", 650, VALUE_OTHER, true, {"10.0.0.0/8", "192.168.1.0/24", "::/0"}},
    {"macaddr", "macaddr", 829, VALUE_OTHER, true, {"08:00:2b:01:02:03", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"}},
    {"bool", "bool", 16, VALUE_OTHER, true, {"t", "f"}},
    {"json", "json", 114, VALUE_JSON, false, {"{\"a\": 1, \"b\": [1, 2]}", "{\"a\":null}", "{\"a\": \"x\"}", "{ \"a\" :2}", "null"}},
    {"jsonb", "jsonb", 3802, VALUE_JSON, true, {"{\"a\": 1, \"b\": [1, 2]}", "{\"a\": null}", "{\"a\": \"x\"}", "[]", "null", "{}"}},
    {"int4[]", "int4[]", 1007, VALUE_ARRAY, true, {"{}", "{1,2}", "{NULL}", "{{1},{2}}", "[0:1]={5,6}", "{2147483647}"}},
    {"text[]", "text[]", 1009, VALUE_ARRAY, true, {"{}", "{a,b}", "{NULL,\"NULL\"}", "{\"it's\",\"x,y\"}", "{\"\"}"}},
    {"int4range", "int4range", 3904, VALUE_RANGE, true, {"empty", "[1,5)", "(,3]", "[7,)", "(,)"}},
    {"tstzrange", "tstzrange", 3910, VALUE_RANGE, true, {"empty", "[2024-01-01 00:00+00,2024-02-01 00:00+00)", "(,2024-01-01 00:00+00]"}},
    {"varbit(8)", "varbit", 1562, VALUE_OTHER, true, {"", "1", "0", "10101010", "01"}},
    {"oid", "oid", 26, VALUE_OTHER, true, {"0", "1", "4294967295", "2147483648"}},
    {"money", "money", 790, VALUE_OTHER, true, {"0", "1.50", "-92233720368547758.08", "$1,000.00"}},
    {"tsvector", "tsvector", 3614, VALUE_OTHER, true, {"", "a:1 fat:2 cat:3", "'it''s'"}},
    {"point", "point", 600, VALUE_OTHER, false, {"(0,0)", "(1.5,-2)", "(NaN,1)"}},
    {"macaddr8", "macaddr8", 774, VALUE_OTHER, true, {"08:00:2b:01:02:03:04:05", "00:00:00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff:ff:ff"}},
    {"xid8", "xid8", 5069, VALUE_OTHER, true, {"0", "1", "18446744073709551615"}},
    {"bit(3)", "bit", 1560, VALUE_OTHER, true, {"000", "101", "111"}},
    {"float8[]", "float8[]", 1022, VALUE_ARRAY, true, {"{}", "{0.1,NaN}", "{-0}", "{1e308,NULL}"}},
    {"timestamptz[]", "timestamptz[]", 1185, VALUE_ARRAY, true, {"{}", "{\"2024-02-29 12:00:00+00\"}", "{infinity}"}},
    {"int4multirange", "int4multirange", 4451, VALUE_RANGE, true, {"{}", "{[1,5)}", "{[1,2),[4,9)}"}},
    {"box", "box", 603, VALUE_OTHER, false, {"(1,1),(0,0)", "(2.5,1),(0,-1)"}},
    {"regclass", "regclass", 2205, VALUE_OTHER, true, {"pg_class", "pg_type", "0"}},
    {"tsquery", "tsquery", 3615, VALUE_OTHER, true, {"'a' & 'b'", "!'x'", "'b'"}},
    {"text COLLATE \"C.utf8\"", "text", 25, VALUE_TEXT, true, {"", "a", "B", "_", "aa", "\xc3\xbc"}},
    {"pg_lsn", "pg_lsn", 3220, VALUE_OTHER, true, {"0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"}},
    {"mood", "mood", 0, VALUE_OTHER, true, {"low", "Middle", "high", "at last"}},
    {"pair", "pair", 0, VALUE_OTHER, true, {"(1,x)", "(,)", "(2,\"a,b\")"}},
    {"mood[]", "mood[]", 0, VALUE_ARRAY, true, {"{}", "{low,high}", "{NULL}", "{{low},{Middle}}"}},
    {"pair[]", "pair[]", 0, VALUE_OTHER, true, {"{}", "{\"(1,x)\"}", "{\"(2,)\",NULL}"}},
    {"deep", "deep", 0, VALUE_OTHER, true, {"(low,\"(1,x)\",\"[1,2]\",3)", "(high,,,)", "(low,\"(1,x)\",\"[1,3]\",3)", "(,,,)"}},
    {"posint[]", "posint[]", 0, VALUE_ARRAY, true, {"{}", "{1,2}", "{NULL}"}},
    {"vector(2)", "vector", 0, VALUE_OTHER, true, {"[1,2]", "[1,3]", "[0,0]", "[-1,2.5]"}},
    {"vector(2)[]", "vector[]", 0, VALUE_OTHER, true, {"{}", "{\"[1,2]\"}", "{NULL,\"[0,0]\"}"}},
    {"text COLLATE nocase", "text", 25, VALUE_TEXT, true, {"", "a", "A", "b", "B", "it's"}},
    {"posint", "posint", 0, VALUE_NUMBER, true, {"0", "1", "2147483647", "17"}},
    {"label", "label", 0, VALUE_TEXT, true, {"", "a", "B", "it's"}},
};
/* clang-format on */

/* More often than not one whose text depends on settings. */
const struct value_kind *value_kind(struct dice *dice)
{
	static const uint32_t formatted[] = {1184, 1114, 1082, 1186, 700, 701, 17, 3910, 1266};
	const struct value_kind *kind = &DICE_PICK(dice, kinds);
	uint32_t wanted = DICE_PICK(dice, formatted);

	if (!kind->oid && dice_chance(dice, 60)) /* where they are, * is the coordinator's */
		kind = &DICE_PICK(dice, kinds);

	if (dice_chance(dice, 70))
		return kind;
	for (kind = kinds; kind->oid != wanted; kind++)
		;
	return kind;
}

bool value_is_key(const struct value_kind *kind)
{
	static const uint32_t keys[] = {21,   23,   20,   1700, 700,  701, 17, 1184,
	                                1114, 1082, 1083, 1186, 2950, 16,  26, 829};

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (kind->oid == keys[i])
			return true;
	}
	return false;
}

bool value_is_shown(const struct value_kind *kind)
{
	return kind->oid && kind->oid != 790 && kind->oid != 2205; /* money, regclass */
}

const char *value_text(struct dice *dice, const struct value_kind *kind, bool nulls)
{
	unsigned count = 0;

	if (nulls && dice_chance(dice, 15))
		return NULL;
	while (kind->values[count])
		count++;
	return kind->values[dice_below(dice, count)];
}

static const char *quote(struct arena *arena, const char *text, char mark)
{
	char *quoted = arena_alloc(arena, 2 * strlen(text) + 3), *to = quoted;

	*to++ = mark;
	for (; *text; text++) {
		if (*text == mark)
			*to++ = mark;
		*to++ = *text;
	}
	*to++ = mark;
	*to = '\0';
	return quoted;
}

const char *value_literal(struct arena *arena, const char *text)
{
	return text ? quote(arena, text, '\'') : "NULL";
}

const char *value_name(struct arena *arena, const char *name)
{
	return quote(arena, name, '"');
}

/* ---- vectors ---- */

const struct value_vector_kind value_vectors[VALUE_VECTORS] = {
    [VALUE_VECTOR] = {"vector",
                      4,
                      {"<->", "<#>", "<=>", "<+>"},
                      {"vector_l2_ops", "vector_ip_ops", "vector_cosine_ops", "vector_l1_ops"},
                      {"vector_l2_ops", "vector_ip_ops", "vector_cosine_ops", NULL}},
    [VALUE_HALFVEC] = {"halfvec",
                       4,
                       {"<->", "<#>", "<=>", "<+>"},
                       {"halfvec_l2_ops", "halfvec_ip_ops", "halfvec_cosine_ops", "halfvec_l1_ops"},
                       {"halfvec_l2_ops", "halfvec_ip_ops", "halfvec_cosine_ops", NULL}},
    [VALUE_SPARSEVEC] = {"sparsevec",
                         4,
                         {"<->", "<#>", "<=>", "<+>"},
                         {"sparsevec_l2_ops", "sparsevec_ip_ops", "sparsevec_cosine_ops",
                          "sparsevec_l1_ops"},
                         {NULL, NULL, NULL, NULL}},
    [VALUE_BIT] = {"bit",
                   2,
                   {"<~>", "<%>"},
                   {"bit_hamming_ops", "bit_jaccard_ops"},
                   {"bit_hamming_ops", NULL}},
};

static const char *element(struct dice *dice, struct arena *arena, enum value_vector kind,
                           unsigned mood)
{
	static const char *const few[] = {"0", "1", "-1", "2"};

	if (kind == VALUE_BIT)
		return dice_chance(dice, mood == 2 ? 10 : 50) ? "1" : "0";
	if (mood == 0)
		return "0";
	if (mood == 1)
		return dice_chance(dice, 50) ? (kind == VALUE_HALFVEC ? "65504" : "3e38")
		                             : (kind == VALUE_HALFVEC ? "-65504" : "-2.5e38");
	if (mood < 6)
		return DICE_PICK(dice, few);
	return arena_printf(arena, "%d.%03u", dice_between(dice, -9, 9), dice_below(dice, 1000));
}

const char *value_vector(struct dice *dice, struct arena *arena, enum value_vector kind,
                         unsigned dimensions, bool wild)
{
	unsigned mood =
	    wild && dice_chance(dice, 12) ? dice_below(dice, 2) : dice_below(dice, 8) + 2;
	char *text = NULL;
	const char *copy;
	size_t size;
	FILE *to = open_memstream(&text, &size);
	bool first = true;

	fputs(kind == VALUE_SPARSEVEC ? "{" : kind == VALUE_BIT ? "" : "[", to);
	for (unsigned i = 0; i < dimensions; i++) {
		const char *value = element(dice, arena, kind, mood);

		if (kind == VALUE_SPARSEVEC && dice_chance(dice, 40))
			continue;
		if (kind != VALUE_BIT && !first)
			fputc(',', to);
		first = false;
		if (kind == VALUE_SPARSEVEC)
			fprintf(to, "%u:", i + 1);
		fputs(value, to);
	}
	if (kind == VALUE_SPARSEVEC)
		fprintf(to, "}/%u", dimensions);
	else if (kind != VALUE_BIT)
		fputc(']', to);
	fclose(to);
	copy = arena_strdup(arena, text);
	free(text);
	return copy;
}
