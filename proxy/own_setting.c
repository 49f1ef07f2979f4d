/*
 * Own setting: see own_setting.h. The wording is that of PostgreSQL's guc.c.
 */
#include "proxy/own_setting.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "merge/arena.h"
#include "parser/setting.h"
#include "proxy/config.h"

#define OVERFETCH_MINIMUM 1.0
#define OVERFETCH_MAXIMUM 100.0

static bool check_notices(const char *value, struct wire_error *error)
{
	bool on;

	if (config_parse_bool(value, &on))
		return true;
	error->sqlstate = "22023";
	error->message = "parameter \"pgtopk.notices\" requires a Boolean value";
	return false;
}

static bool check_route(const char *value, struct wire_error *error, char *text)
{
	enum config_route route;

	if (config_parse_route(value, &route))
		return true;
	error->sqlstate = "22023";
	snprintf(text, OWN_SETTING_TEXT, "invalid value for parameter \"pgtopk.route\": \"%.60s\"",
	         value);
	error->message = text;
	error->hint = "Available values: off, on, shadow.";
	return false;
}

static bool check_short_answer(const char *value, struct wire_error *error, char *text)
{
	enum config_short_answer answer;

	if (config_parse_short_answer(value, &answer))
		return true;
	error->sqlstate = "22023";
	snprintf(text, OWN_SETTING_TEXT,
	         "invalid value for parameter \"pgtopk.short_answer\": \"%.60s\"", value);
	error->message = text;
	error->hint = "Available values: exact, error, accept.";
	return false;
}

static bool check_overfetch(const char *value, struct wire_error *error, char *text)
{
	double number;

	if (config_parse_real(value, OVERFETCH_MINIMUM, OVERFETCH_MAXIMUM, &number))
		return true;
	error->sqlstate = "22023";
	if (config_parse_real(value, -1e300, 1e300, &number))
		snprintf(
		    text, OWN_SETTING_TEXT,
		    "%g is outside the valid range for parameter \"pgtopk.overfetch\" (%g .. %g)",
		    number, OVERFETCH_MINIMUM, OVERFETCH_MAXIMUM);
	else
		snprintf(text, OWN_SETTING_TEXT,
		         "invalid value for parameter \"pgtopk.overfetch\": \"%.60s\"", value);
	error->message = text;
	return false;
}

static bool unknown(const char *name, struct wire_error *error, char *text)
{
	error->sqlstate = "42602";
	snprintf(text, OWN_SETTING_TEXT, "invalid configuration parameter name \"pgtopk.%.60s\"",
	         name);
	error->message = text;
	error->detail = "\"pgtopk\" is a reserved prefix.";
	return false;
}

static bool check(const char *name, const char *value, struct wire_error *error, char *text)
{
	if (strcasecmp(name, "route") == 0)
		return check_route(value, error, text);
	if (strcasecmp(name, "notices") == 0)
		return check_notices(value, error);
	if (strcasecmp(name, "short_answer") == 0)
		return check_short_answer(value, error, text);
	if (strcasecmp(name, "overfetch") == 0)
		return check_overfetch(value, error, text);
	return unknown(name, error, text);
}

bool own_setting_mentioned(const char *sql, size_t len)
{
	return memmem(sql, len, "pgtopk.", strlen("pgtopk.")) != NULL;
}

bool own_setting_is_bad(const char *sql, size_t len, struct wire_error *error,
                        char text[OWN_SETTING_TEXT])
{
	struct arena *arena;
	const char *name, *value;
	bool bad;

	if (!own_setting_mentioned(sql, len))
		return false;
	arena = arena_new();
	*error = (struct wire_error){.severity = "ERROR"};
	bad = setting_parse(sql, len, arena, &name, &value) && !check(name, value, error, text);
	arena_free(arena);
	return bad;
}
