/*
 * Answers: see answers.h. Statements are known by a few words of theirs.
 */
#include "t/fuzz/answers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ROWS 12 /* of the table */

/* ---- pgtopk's own questions ---- */

struct known {
	const char *words;
	unsigned nfields;
	const char *text;
};

static const struct known known[] = {
    {"array_in(", 6, "0.8.0|90001|90002|90003|f|repeatable read"},
    {"pg_catalog.pg_extension e JOIN", 4,
     "citus|public|~|~\nvector|public|vector|90001\nvector|public|halfvec|90002"},
    {"FROM pg_catalog.pg_dist_partition p JOIN", 6,
     "1000|public|items|id|t|t\n1001|public|other|~|f|f"},
    {"pg_catalog.pg_dist_shard s CROSS JOIN", 8,
     "1000|102008|items_102008|-2147483648|-1|1|w1|5432\n"
     "1000|102009|items_102009|0|2147483647|2|w2|5432"},
    {"pg_catalog.pg_attribute a JOIN pg_catalog.pg_type", 5,
     "1000|1|id|20|t\n1000|2|name|25|t\n1000|3|e|90001|f\n1001|1|e|90001|f"},
    {"provariadic", 2, "abs|1\nlower|1\nl2_distance|2"},
    {"SELECT DISTINCT o.oprname", 1, ""},
    {"hashtextextended", 13, "1|2|3|4|5|6|7|8|9|10|11|12|13"},
    {"rolpassword", 2, ANSWERS_USER "|" ANSWERS_VERIFIER},
    {"pg_get_indexdef", 7, "0|hnsw|e||vector_l2_ops|m=16|t\n1|hnsw|e||vector_l2_ops|m=8|f"},
    {"set_config(", 1, "on"},
};

static const char facts_settings[] =
    "\"$user\", public|UTF8|ISO, MDY|postgres|UTC|Default|1|hex|C|off|on|on|notice|0|0|4MB|on|auto"
    "|on|on|on|on|on|read committed|safe_encoding|~|off|~|~|~|~|40|off|20000|1|1|off|~|~|32768";

static void answer_facts(const char *table, const char *user, struct answer_shape *shape)
{
	bool known_table = strcmp(table, "items") == 0 || strcmp(table, "public.items") == 0;

	shape->nfields = 8 + 23 + 17;
	snprintf(shape->text, sizeof(shape->text), "%s|%s|%s|%s|%s|n|f|t|%s",
	         known_table ? "1000" : "~", known_table ? "t" : "~", known_table ? "f" : "~", user,
	         user, facts_settings);
}

static bool answer_known(const char *sql, const char *parameter, const char *user,
                         struct answer_shape *shape)
{
	size_t i = 0, count = sizeof(known) / sizeof(known[0]);

	if (strstr(sql, "to_regclass($1)") == NULL) {
		while (i < count && !strstr(sql, known[i].words))
			i++;
		if (i == count)
			return false;
		shape->nfields = known[i].nfields;
		snprintf(shape->text, sizeof(shape->text), "%s", known[i].text);
	} else {
		answer_facts(parameter, user, shape);
	}
	shape->made = true;
	shape->end = shape->text[0] ? 1 : 0;
	for (const char *at = shape->text; *at; at++)
		shape->end += *at == '\n';
	for (i = 0; i < shape->nfields; i++)
		shape->types[i] = 25;
	return true;
}

/* ---- any other SELECT ---- */

static bool has(const char *text, size_t len, const char *what)
{
	return memmem(text, len, what, strlen(what)) != NULL;
}

/* The type of a target list's item, by what is in it. */
static uint32_t item_type(const char *item, size_t len)
{
	while (len > 0 && (item[len - 1] == ' ' || item[len - 1] == '"'))
		len--;
	if (has(item, len, "<->") || has(item, len, "<=>") || has(item, len, "<#>") ||
	    has(item, len, "distance"))
		return 701;
	if (len >= 2 && strncasecmp(item + len - 2, "id", 2) == 0)
		return 20;
	if (len >= 4 && strncasecmp(item + len - 4, "name", 4) == 0)
		return 25;
	if (len >= 1 && item[len - 1] == 'e')
		return 90001;
	return 25;
}

static void add_item(struct answer_shape *shape, const char *item, size_t len)
{
	static const uint32_t all[] = {20, 25, 90001};

	while (len > 0 && *item == ' ') {
		item++;
		len--;
	}
	if (len > 0 && item[len - 1] == '*') {
		for (unsigned i = 0; i < 3 && shape->nfields < ANSWERS_FIELDS; i++)
			shape->types[shape->nfields++] = all[i];
		return;
	}
	if (shape->nfields < ANSWERS_FIELDS)
		shape->types[shape->nfields++] = item_type(item, len);
}

/* From behind SELECT to FROM: items between commas that are in no parentheses. */
static void read_items(const char *sql, struct answer_shape *shape)
{
	const char *item = sql, *at = sql;
	int depth = 0;

	for (; *at; at++) {
		if (*at == '\'' || *at == '"') {
			const char *end = strchr(at + 1, *at);

			if (!end)
				break;
			at = end;
		} else if (*at == '(' || *at == '[') {
			depth++;
		} else if (*at == ')' || *at == ']') {
			depth--;
		} else if (*at == ',' && depth == 0) {
			add_item(shape, item, (size_t)(at - item));
			item = at + 1;
		} else if (depth == 0 && strncasecmp(at, " from ", 6) == 0) {
			break;
		}
	}
	add_item(shape, item, (size_t)(at - item));
}

/* The number behind the last such word; `otherwise` if there is none. */
static uint64_t number_behind(const char *sql, const char *word, uint64_t otherwise)
{
	const char *found = NULL;

	for (const char *at = sql; (at = strcasestr(at, word)) != NULL; at += strlen(word))
		found = at + strlen(word);
	return found && *found >= '0' && *found <= '9' ? strtoull(found, NULL, 10) : otherwise;
}

static void count_rows(const char *sql, struct answer_shape *shape)
{
	uint64_t limit = number_behind(sql, "limit ", 3);
	uint64_t offset = number_behind(sql, "offset ", 0);

	shape->step = 1;
	if (strstr(sql, "items_10200")) { /* a shard has every other row */
		shape->first = strstr(sql, "items_102009") != NULL;
		shape->step = 2;
	}
	shape->first += offset < ROWS ? offset * shape->step : ROWS;
	shape->end = shape->first + (limit < ROWS ? limit * shape->step : ROWS * 2);
	if (shape->end > ROWS)
		shape->end = ROWS;
	if (shape->first > shape->end)
		shape->first = shape->end;
}

bool answers_shape(const char *sql, const char *parameter, const char *user,
                   struct answer_shape *shape)
{
	memset(shape, 0, sizeof(*shape));
	shape->sql = sql;
	shape->step = 1;
	if (answer_known(sql, parameter, user, shape))
		return true;
	sql += strspn(sql, " \t\n\r\f(");
	if (strncasecmp(sql, "select", 6) != 0 || strchr(" \t\n\r\f\"(*'$", sql[6]) == NULL)
		return false;
	read_items(sql + 6, shape);
	count_rows(sql, shape);
	return true;
}

/* ---- parameters ---- */

unsigned answers_parameters(const char *sql)
{
	unsigned most = 0;

	for (const char *at = sql; (at = strchr(at, '$')) != NULL; at++) {
		unsigned long number = strtoul(at + 1, NULL, 10);

		if (number > most && number <= 64)
			most = (unsigned)number;
	}
	return most;
}

uint32_t answers_parameter_type(const char *sql, unsigned number)
{
	char name[8];
	const char *at;

	snprintf(name, sizeof(name), "$%u", number);
	at = strstr(sql, name);
	if (at && at - sql > 7 &&
	    (strncasecmp(at - 6, "limit ", 6) == 0 || strncasecmp(at - 7, "offset ", 7) == 0))
		return 20;
	return 90001;
}

/* ---- rows ---- */

void answers_put_description(const struct answer_shape *shape, const uint8_t *formats,
                             unsigned nformats, struct iobuf *out)
{
	size_t mark = wire_begin(out, WIRE_BE_RowDescription);
	char name[16];

	wire_put_u16(out, (uint16_t)shape->nfields);
	for (unsigned i = 0; i < shape->nfields; i++) {
		snprintf(name, sizeof(name), "c%u", i);
		wire_put_string(out, name);
		wire_put_u32(out, 0);
		wire_put_u16(out, 0);
		wire_put_u32(out, shape->types[i]);
		wire_put_u16(out, 8);
		wire_put_u32(out, UINT32_MAX);
		wire_put_u16(out, wire_format(formats, nformats, i));
	}
	wire_end(out, mark);
}

static void put_value(struct iobuf *out, const void *value, size_t len)
{
	wire_put_u32(out, (uint32_t)len);
	wire_put_bytes(out, value, len);
}

static void put_number(struct iobuf *out, uint64_t number, bool binary, bool real)
{
	double value = (double)number;
	char text[24];

	if (!binary) {
		put_value(out, text, (size_t)snprintf(text, sizeof(text), "%u", (unsigned)number));
		return;
	}
	if (real)
		memcpy(&number, &value, sizeof(number));
	wire_put_u32(out, 8);
	wire_put_u32(out, (uint32_t)(number >> 32));
	wire_put_u32(out, (uint32_t)number);
}

static const char *line_of(const char *text, uint64_t number)
{
	while (number-- > 0)
		text = strchr(text, '\n') + 1;
	return text;
}

static void put_line(const struct answer_shape *shape, const char *at, struct iobuf *out)
{
	for (unsigned i = 0; i < shape->nfields; i++) {
		size_t len = strcspn(at, "|\n");

		if (*at == '~')
			wire_put_u32(out, UINT32_MAX);
		else
			put_value(out, at, len);
		at += len + (at[len] == '|');
	}
}

void answers_put_row(const struct answer_shape *shape, uint64_t row, const uint8_t *formats,
                     unsigned nformats, struct iobuf *out)
{
	size_t mark = wire_begin(out, WIRE_BE_DataRow);
	char text[24];

	wire_put_u16(out, (uint16_t)shape->nfields);
	if (shape->made)
		put_line(shape, line_of(shape->text, row), out);
	for (unsigned i = 0; !shape->made && i < shape->nfields; i++) {
		bool binary = wire_format(formats, nformats, i) == 1;

		if (shape->types[i] == 20 || shape->types[i] == 701)
			put_number(out, row, binary, shape->types[i] == 701);
		else
			put_value(out, text,
			          (size_t)snprintf(text, sizeof(text), "r%u", (unsigned)row));
	}
	wire_end(out, mark);
}
