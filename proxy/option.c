/*
 * Option: see option.h. The table is options.def; what a value may be is decided
 * by its type and limits there, and each refusal says what to give instead.
 */
#include "proxy/option.h"

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define KEY_MAX 64

static const struct option options[] = {
#define OPTION(key, kind, value, least, most, when, units, text)                                   \
	{.name = #key,                                                                             \
	 .type = OPTION_##kind,                                                                    \
	 .initial = value,                                                                         \
	 .minimum = least,                                                                         \
	 .maximum = most,                                                                          \
	 .change = OPTION_##when,                                                                  \
	 .unit = units,                                                                            \
	 .help = text,                                                                             \
	 .offset = offsetof(struct config, key)},
#include "proxy/options.def"
#undef OPTION
};

#define NOPTIONS (sizeof(options) / sizeof(options[0]))

/* Units of amounts, largest first; the last is the one without a suffix. */
struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit durations[] = {
    {"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0},
};
static const struct unit sizes[] = {
    {"TB", 1LL << 40}, {"GB", 1 << 30}, {"MB", 1 << 20}, {"kB", 1 << 10}, {"B", 1}, {NULL, 0},
};

const struct option *option_at(size_t i)
{
	return i < NOPTIONS ? &options[i] : NULL;
}

static const struct unit *units_of(const struct option *option)
{
	assert(option->type == OPTION_DURATION || option->type == OPTION_SIZE);
	return option->type == OPTION_DURATION ? durations : sizes;
}

static void *field_of(struct config *config, const struct option *option)
{
	return (char *)config + option->offset;
}

static char *copy(const char *text, size_t len)
{
	char *s = strndup(text, len);

	if (s == NULL)
		abort();
	return s;
}

bool option_complain(const struct option_place *place, const char *format, ...)
{
	va_list args;
	int n;

	if (place->key != NULL)
		n = snprintf(place->error, place->error_size, "%s: %s: ", place->where, place->key);
	else
		n = snprintf(place->error, place->error_size, "%s: ", place->where);
	if (n < 0 || (size_t)n >= place->error_size)
		return false;
	va_start(args, format);
	vsnprintf(place->error + n, place->error_size - (size_t)n, format, args);
	va_end(args);
	return false;
}

/* ---- values ---- */

bool config_parse_bool(const char *text, bool *value)
{
	static const struct {
		const char *name;
		size_t least; /* the shortest unambiguous prefix */
		bool value;
	} words[] = {
	    {"true", 1, true}, {"false", 1, false}, {"yes", 1, true}, {"no", 1, false},
	    {"on", 2, true},   {"off", 2, false},   {"1", 1, true},   {"0", 1, false},
	};
	size_t len = strlen(text);

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (len >= words[i].least && len <= strlen(words[i].name) &&
		    strncasecmp(text, words[i].name, len) == 0) {
			*value = words[i].value;
			return true;
		}
	}
	return false;
}

bool config_parse_route(const char *text, enum config_route *route)
{
	bool on;

	if (strcasecmp(text, "shadow") == 0)
		*route = CONFIG_ROUTE_SHADOW;
	else if (config_parse_bool(text, &on))
		*route = on ? CONFIG_ROUTE_ON : CONFIG_ROUTE_OFF;
	else
		return false;
	return true;
}

bool config_parse_short_answer(const char *text, enum config_short_answer *answer)
{
	static const char *const names[] = {
	    [CONFIG_SHORT_ANSWER_EXACT] = "exact",
	    [CONFIG_SHORT_ANSWER_ERROR] = "error",
	    [CONFIG_SHORT_ANSWER_ACCEPT] = "accept",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcasecmp(text, names[i]) == 0) {
			*answer = (enum config_short_answer)i;
			return true;
		}
	}
	return false;
}

/* Digits, signs, points, exponents: no "inf", no "0x10", nothing behind. */
bool config_parse_real(const char *text, double minimum, double maximum, double *value)
{
	size_t len = strspn(text, "+-.0123456789eE");
	char *end;
	double number;

	if (len == 0 || text[len] != '\0')
		return false;
	number = strtod(text, &end);
	if (*end != '\0' || !(number >= minimum && number <= maximum))
		return false;
	*value = number;
	return true;
}

/* "90s", "1.5 MB", "250": false if it is no amount. */
static bool parse_amount(const char *text, const struct unit *units, double *value)
{
	size_t len = strspn(text, "+-.0123456789");
	char number[KEY_MAX];
	char *end;

	if (len == 0 || len >= sizeof(number))
		return false;
	memcpy(number, text, len);
	number[len] = '\0';
	*value = strtod(number, &end);
	if (end == number || *end != '\0')
		return false;
	text += len;
	text += strspn(text, " \t");
	if (*text == '\0')
		return true;
	for (; units->name != NULL; units++) {
		if (strcasecmp(text, units->name) == 0) {
			*value *= (double)units->factor;
			return true;
		}
	}
	return false;
}

/* 60000 is "1min". */
static const char *print_amount(char *out, size_t size, double value, const struct unit *units)
{
	int64_t amount = (int64_t)value;

	while (units->factor > 1 && amount % units->factor != 0)
		units++;
	if (amount == 0)
		snprintf(out, size, "0");
	else
		snprintf(out, size, "%lld%s", (long long)(amount / units->factor), units->name);
	return out;
}

const char *option_range(const struct option *option, char *out, size_t size)
{
	char low[KEY_MAX], high[KEY_MAX];

	if (option->type == OPTION_DURATION || option->type == OPTION_SIZE) {
		print_amount(low, sizeof(low), option->minimum, units_of(option));
		print_amount(high, sizeof(high), option->maximum, units_of(option));
		snprintf(out, size, "%s to %s", low, high);
	} else if (option->type == OPTION_INT || option->type == OPTION_REAL) {
		snprintf(out, size, "%.15g to %.15g", option->minimum, option->maximum);
	} else {
		*out = '\0';
	}
	return out;
}

/* ---- setting one option ---- */

static bool is_choice(const struct option *option)
{
	return option->type == OPTION_STRING && strchr(option->unit, ',') != NULL;
}

static bool is_one_of(const char *list, const char *value)
{
	size_t len = strlen(value);

	for (; *list != '\0'; list += strspn(list, ", ")) {
		size_t word = strcspn(list, ", ");

		if (word == len && memcmp(list, value, len) == 0)
			return true;
		list += word;
	}
	return false;
}

static bool set_string(char **field, const struct option *option, const char *value,
                       const struct option_place *place)
{
	bool flag;

	/* "no" means off where there is one */
	if (is_choice(option) && is_one_of(option->unit, "on") && config_parse_bool(value, &flag))
		value = flag ? "on" : "off";
	if (is_choice(option) && !is_one_of(option->unit, value))
		return option_complain(place, "\"%s\" is not known; give one of %s", value,
		                       option->unit);
	free(*field);
	*field = copy(value, strlen(value));
	return true;
}

static bool set_int(int64_t *field, const struct option *option, const char *value,
                    const struct option_place *place)
{
	char range[OPTION_RANGE_MAX];
	double number;

	option_range(option, range, sizeof(range));
	if (option->type == OPTION_INT) {
		if (value[strspn(value, "+-0123456789")] != '\0' ||
		    !config_parse_real(value, -1e18, 1e18, &number))
			return option_complain(place, "\"%s\" is not a whole number; give %s",
			                       value, range);
	} else if (!parse_amount(value, units_of(option), &number)) {
		bool time = option->type == OPTION_DURATION;

		return option_complain(place, "\"%s\" is not a %s; give %s (units: %s)", value,
		                       time ? "time" : "size", range,
		                       time ? "ms, s, min, h" : "B, kB, MB, GB, TB");
	}
	if (!(number >= option->minimum && number <= option->maximum))
		return option_complain(place, "%s is out of range; give %s", value, range);
	*field = (int64_t)number;
	return true;
}

static bool set_real(double *field, const struct option *option, const char *value,
                     const struct option_place *place)
{
	char range[OPTION_RANGE_MAX];

	if (config_parse_real(value, option->minimum, option->maximum, field))
		return true;
	return option_complain(place, "\"%s\" is not a number in range; give %s", value,
	                       option_range(option, range, sizeof(range)));
}

static void map_clear(struct config_map *map)
{
	for (unsigned i = 0; i < map->count; i++) {
		free(map->entries[i].from);
		free(map->entries[i].to);
	}
	free(map->entries);
	map->entries = NULL;
	map->count = 0;
}

/* Adds one from=to; the default, "", is the empty map. */
static bool map_add(struct config_map *map, const struct option *option, const char *value,
                    const struct option_place *place)
{
	const char *equals = strchr(value, '=');
	struct config_map_entry *entry;

	if (*value == '\0')
		return true;
	if (equals == NULL || equals == value || equals[1] == '\0')
		return option_complain(place, "\"%s\" is not a pair; give %s", value, option->unit);
	map->entries = realloc(map->entries, (map->count + 1) * sizeof(*map->entries));
	if (map->entries == NULL)
		abort();
	entry = &map->entries[map->count++];
	entry->from = copy(value, (size_t)(equals - value));
	entry->to = copy(equals + 1, strlen(equals + 1));
	return true;
}

bool option_set(struct config *config, const struct option *option, const char *value,
                const struct option_place *place)
{
	void *field = field_of(config, option);

	switch (option->type) {
	case OPTION_STRING:
		return set_string(field, option, value, place);
	case OPTION_INT:
	case OPTION_DURATION:
	case OPTION_SIZE:
		return set_int(field, option, value, place);
	case OPTION_REAL:
		return set_real(field, option, value, place);
	case OPTION_MAP:
		return map_add(field, option, value, place);
	case OPTION_BOOL:
		if (config_parse_bool(value, field))
			return true;
		return option_complain(place, "\"%s\" is not a boolean; give on or off", value);
	}
	abort();
}

/* ---- finding an option by its key ---- */

const struct option *option_find(const char *key)
{
	for (size_t i = 0; i < NOPTIONS; i++) {
		if (strcmp(options[i].name, key) == 0)
			return &options[i];
	}
	return NULL;
}

/* Levenshtein's distance; both shorter than KEY_MAX. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[KEY_MAX];
	size_t len = strlen(b);

	assert(len < KEY_MAX);
	for (unsigned j = 0; j <= len; j++)
		row[j] = j;
	for (unsigned i = 0; a[i] != '\0'; i++) {
		unsigned diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < len; j++) {
			unsigned best = diagonal + (a[i] != b[j]);

			diagonal = row[j + 1];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j + 1] + 1 < best)
				best = row[j + 1] + 1;
			row[j + 1] = best;
		}
	}
	return row[len];
}

const char *option_nearest(const char *key)
{
	size_t len = strlen(key);
	unsigned least = len < 6 ? 2 : 4;
	const char *nearest = NULL;

	for (size_t i = 0; i < NOPTIONS && len < KEY_MAX; i++) {
		unsigned d = distance(key, options[i].name);

		/* A beginning of a name is near, however much is missing. */
		if (len >= 4 && strncmp(key, options[i].name, len) == 0)
			d = 1;
		if (d < least) {
			least = d;
			nearest = options[i].name;
		}
	}
	return nearest;
}

void option_clear(struct config *config, const struct option *option)
{
	void *field = field_of(config, option);

	if (option->type == OPTION_MAP) {
		map_clear(field);
	} else if (option->type == OPTION_STRING) {
		free(*(char **)field);
		*(char **)field = NULL;
	}
}

/* ---- comparing, exchanging, printing ---- */

static const void *value_of(const struct config *config, const struct option *option)
{
	return (const char *)config + option->offset;
}

static size_t size_of(const struct option *option)
{
	switch (option->type) {
	case OPTION_STRING:
		return sizeof(char *);
	case OPTION_INT:
	case OPTION_DURATION:
	case OPTION_SIZE:
		return sizeof(int64_t);
	case OPTION_BOOL:
		return sizeof(bool);
	case OPTION_REAL:
		return sizeof(double);
	case OPTION_MAP:
		return sizeof(struct config_map);
	}
	abort();
}

static bool map_equal(const struct config_map *a, const struct config_map *b)
{
	if (a->count != b->count)
		return false;
	for (unsigned i = 0; i < a->count; i++) {
		if (strcmp(a->entries[i].from, b->entries[i].from) != 0 ||
		    strcmp(a->entries[i].to, b->entries[i].to) != 0)
			return false;
	}
	return true;
}

bool option_equal(const struct config *a, const struct config *b, const struct option *option)
{
	const void *x = value_of(a, option), *y = value_of(b, option);

	if (option->type == OPTION_STRING)
		return strcmp(*(char *const *)x, *(char *const *)y) == 0;
	if (option->type == OPTION_MAP)
		return map_equal(x, y);
	return memcmp(x, y, size_of(option)) == 0;
}

void option_swap(struct config *a, struct config *b, const struct option *option)
{
	char *x = field_of(a, option), *y = field_of(b, option);

	for (size_t i = 0; i < size_of(option); i++) {
		char byte = x[i];

		x[i] = y[i];
		y[i] = byte;
	}
}

static void print_map(const struct config_map *map, char *out, size_t size)
{
	size_t len = 0;

	*out = '\0';
	for (unsigned i = 0; i < map->count && len < size; i++)
		len += (size_t)snprintf(out + len, size - len, "%s%s=%s", i == 0 ? "" : ",",
		                        map->entries[i].from, map->entries[i].to);
}

const char *option_print(const struct config *config, const struct option *option, char *out,
                         size_t size)
{
	const void *value = value_of(config, option);

	assert(size > 0);
	switch (option->type) {
	case OPTION_STRING:
		snprintf(out, size, "%s", *(char *const *)value);
		break;
	case OPTION_INT:
		snprintf(out, size, "%lld", (long long)*(const int64_t *)value);
		break;
	case OPTION_DURATION:
	case OPTION_SIZE:
		print_amount(out, size, (double)*(const int64_t *)value, units_of(option));
		break;
	case OPTION_BOOL:
		snprintf(out, size, "%s", *(const bool *)value ? "on" : "off");
		break;
	case OPTION_REAL:
		snprintf(out, size, "%.15g", *(const double *)value);
		break;
	case OPTION_MAP:
		print_map(value, out, size);
		break;
	}
	return out;
}

bool option_is_secret(const struct option *option)
{
	return strcmp(option->unit, "conninfo") == 0 || strcmp(option->unit, "SQL") == 0;
}
