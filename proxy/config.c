/*
 * Config: see config.h. What a setting is and may be is option.c's; here are the
 * places it comes from, file and command line, and the texts made from the table:
 * help and sample file.
 *
 * The file is read here and not by inih, which cuts a conninfo at " ;", takes an
 * indented line for more of the value before it, and lines above 200 bytes for
 * two.
 */
#include "proxy/config.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/option.h"

#define TEXT_WIDTH 78
#define VALUE_MAX 512 /* what is printed of a value */
#define COMMAND_LINE "command line"

/* ---- life ---- */

struct config *config_new(void)
{
	struct config *config = calloc(1, sizeof(*config));
	const struct option *option;

	if (config == NULL)
		abort();
	for (size_t i = 0; (option = option_at(i)) != NULL; i++) {
		char error[256];
		struct option_place place = {"options.def", option->name, error, sizeof(error)};
		bool ok = option_set(config, option, option->initial, &place);

		assert(ok);
		(void)ok;
	}
	return config;
}

void config_free(struct config *config)
{
	const struct option *option;

	if (config == NULL)
		return;
	for (size_t i = 0; (option = option_at(i)) != NULL; i++)
		option_clear(config, option);
	free(config);
}

bool config_set(struct config *config, const char *where, const char *key, const char *value,
                char *error, size_t error_size)
{
	struct option_place place = {where, key, error, error_size};
	const struct option *option = option_find(key);
	const char *nearest;

	if (option != NULL)
		return option_set(config, option, value, &place);
	nearest = option_nearest(key);
	if (nearest != NULL)
		return option_complain(&place, "there is no such setting; did you mean %s?",
		                       nearest);
	return option_complain(&place, "there is no such setting; pgtopk --help lists them all");
}

/* ---- the file ---- */

static char *trim(char *text)
{
	size_t len;

	while (isspace((unsigned char)*text))
		text++;
	len = strlen(text);
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		len--;
	text[len] = '\0';
	return text;
}

static bool is_comment(const char *text)
{
	return *text == '#' || *text == ';';
}

/* 'it''s' or "say \"so\"": in place; false if the quote does not end, or more follows it. */
static bool unquote(char *text)
{
	char quote = *text;
	char *out = text, *in = text + 1;

	for (; *in != '\0'; in++) {
		if (quote == '\'' && in[0] == quote && in[1] == quote)
			in++;
		else if (quote == '"' && in[0] == '\\' && (in[1] == quote || in[1] == '\\'))
			in++;
		else if (*in == quote)
			break;
		*out++ = *in;
	}
	if (*in != quote)
		return false;
	in = trim(in + 1);
	*out = '\0';
	return *in == '\0' || is_comment(in);
}

/*
 * Cuts a comment behind a bare value: # or ; after a blank. Not one inside single
 * quotes, which a conninfo may have around its values.
 */
static void cut_comment(char *text)
{
	bool quoted = false;

	for (char *c = text; *c != '\0'; c++) {
		if (*c == '\\' && c[1] != '\0') {
			c++;
		} else if (*c == '\'') {
			quoted = !quoted;
		} else if (!quoted && is_comment(c) &&
		           (c == text || isspace((unsigned char)c[-1]))) {
			*c = '\0';
			break;
		}
	}
	trim(text);
}

static bool read_line(struct config *config, const char *where, char *line, char *error,
                      size_t error_size)
{
	struct option_place place = {where, NULL, error, error_size};
	char *key = trim(line);
	char *value;

	if (*key == '\0' || is_comment(key))
		return true;
	if (*key == '[')
		return option_complain(&place, "there are no sections here; remove the line %s",
		                       key);
	value = strchr(key, '=');
	if (value == NULL || value == key)
		return option_complain(&place, "\"%s\" is not of the form key = value", key);
	*value++ = '\0';
	key = trim(key);
	value = trim(value);
	place.key = key;
	if (*value != '\'' && *value != '"')
		cut_comment(value);
	else if (!unquote(value))
		return option_complain(&place,
		                       "the quoted value does not end where its quote does; "
		                       "double a ' inside '...', write \\\" inside \"...\"");
	return config_set(config, where, key, value, error, error_size);
}

bool config_read_file(struct config *config, const char *path, char *error, size_t error_size)
{
	FILE *file = fopen(path, "re");
	struct option_place place = {path, NULL, error, error_size};
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;
	bool ok = true;

	if (file == NULL)
		return option_complain(&place, "cannot read it: %s", strerror(errno));
	for (unsigned number = 1; ok && (len = getline(&line, &cap, file)) >= 0; number++) {
		char where[512];

		snprintf(where, sizeof(where), "%s:%u", path, number);
		place.where = where;
		if (strlen(line) != (size_t)len)
			ok = option_complain(&place, "a NUL byte; this is not a text file");
		else
			ok = read_line(config, where, line, error, error_size);
	}
	place.where = path;
	if (ok && ferror(file))
		ok = option_complain(&place, "cannot read it: %s", strerror(errno));
	free(line);
	fclose(file);
	return ok;
}

/* ---- the command line ---- */

/* One option as given: --lanes=2 is {"lanes", "2"}. */
struct argument {
	char name[64];     /* with underscores */
	const char *value; /* NULL: none */
};

struct arguments {
	int argc;
	char **argv;
	int next;
};

/* Actions that take no value, and their letters. */
static const struct {
	const char *name;
	char letter;
	enum config_action action;
	const char *help;
} actions[] = {
    {"check", 0, CONFIG_CHECK,
     "Try the configuration, the coordinator and the workers; exit with 0 or 1"},
    {"print_sample", 0, CONFIG_SAMPLE,
     "Print a configuration file with every setting at its default"},
    {"version", 'V', CONFIG_VERSION, "Print the version"},
    {"help", 'h', CONFIG_HELP, "Print this"},
};

#define NACTIONS (sizeof(actions) / sizeof(actions[0]))

static bool find_action(const char *name, enum config_action *action)
{
	for (size_t i = 0; i < NACTIONS; i++) {
		if (strcmp(actions[i].name, name) == 0) {
			*action = actions[i].action;
			return true;
		}
	}
	return false;
}

/* -c, -cFILE, -h, -V: the long name, and in *value what follows the letter. */
static const char *long_name(const char *text, const char **value)
{
	*value = text[2] != '\0' ? text + 2 : NULL;
	if (text[1] == 'c')
		return "config";
	for (size_t i = 0; i < NACTIONS && *value == NULL; i++) {
		if (text[1] == actions[i].letter)
			return actions[i].name;
	}
	return NULL;
}

/* Takes the argument's value from the next word where it needs one. */
static bool take_value(struct arguments *arguments, struct argument *argument,
                       const struct option_place *place)
{
	const struct option *option = option_find(argument->name);
	const char *word =
	    arguments->next < arguments->argc ? arguments->argv[arguments->next] : NULL;
	enum config_action action;

	if (find_action(argument->name, &action)) {
		if (argument->value != NULL)
			return option_complain(place, "takes no value");
		return true;
	}
	if (argument->value != NULL)
		return true;
	if (option == NULL && strcmp(argument->name, "config") != 0) {
		/* An unknown name is config_set()'s to refuse, its value's no more. */
		if (word != NULL && *word != '-')
			arguments->next++;
		return true;
	}
	if (option != NULL && option->type == OPTION_BOOL) {
		argument->value = "on";
		if (word == NULL || *word == '-')
			return true;
	}
	if (word == NULL || strncmp(word, "--", 2) == 0)
		return option_complain(place, "needs a value; give %s",
		                       option == NULL || *option->unit == '\0' ? "one"
		                                                               : option->unit);
	argument->value = word;
	arguments->next++;
	return true;
}

/* The next argument; false at the end or, with a message, if it is none. */
static bool next_argument(struct arguments *arguments, struct argument *argument, char *error,
                          size_t error_size)
{
	struct option_place place = {COMMAND_LINE, NULL, error, error_size};
	const char *text, *name;
	size_t len;

	*error = '\0';
	if (arguments->next >= arguments->argc)
		return false;
	text = arguments->argv[arguments->next++];
	place.key = text;
	if (text[0] != '-' || text[1] == '\0')
		return option_complain(&place, "settings begin with --, see pgtopk --help");
	if (text[1] == '-') {
		name = text + 2;
		len = strcspn(name, "=");
		argument->value = name[len] == '=' ? name + len + 1 : NULL;
	} else {
		name = long_name(text, &argument->value);
		len = name == NULL ? 0 : strlen(name);
	}
	if (len == 0 || len >= sizeof(argument->name))
		return option_complain(&place, "there is no such option, see pgtopk --help");
	for (size_t i = 0; i < len; i++)
		argument->name[i] = (char)(name[i] == '-' ? '_' : name[i]);
	argument->name[len] = '\0';
	return take_value(arguments, argument, &place);
}

/* First pass: what to do, and which file to read before the options count. */
static bool scan_arguments(int argc, char **argv, enum config_action *action, const char **path,
                           char *error, size_t error_size)
{
	struct arguments arguments = {argc, argv, 1};
	struct argument argument;
	enum config_action found;

	*action = CONFIG_RUN;
	*path = NULL;
	while (next_argument(&arguments, &argument, error, error_size)) {
		if (strcmp(argument.name, "config") == 0)
			*path = argument.value;
		else if (find_action(argument.name, &found) &&
		         (*action == CONFIG_RUN || *action == CONFIG_CHECK))
			*action = found;
	}
	return *error == '\0';
}

bool config_from_arguments(struct config *config, int argc, char **argv, enum config_action *action,
                           char *error, size_t error_size)
{
	struct arguments arguments = {argc, argv, 1};
	struct argument argument;
	enum config_action ignored;
	const char *path;
	bool cleared = false;

	assert(error_size > 0);
	if (!scan_arguments(argc, argv, action, &path, error, error_size))
		return false;
	if (*action != CONFIG_RUN && *action != CONFIG_CHECK)
		return true;
	if (path != NULL && !config_read_file(config, path, error, error_size))
		return false;

	while (next_argument(&arguments, &argument, error, error_size)) {
		const struct option *option = option_find(argument.name);

		if (strcmp(argument.name, "config") == 0 || find_action(argument.name, &ignored))
			continue;
		/* The command line's map replaces the file's, it does not add to it. */
		if (option != NULL && option->type == OPTION_MAP && !cleared) {
			option_clear(config, option);
			cleared = true;
		}
		if (!config_set(config, COMMAND_LINE, argument.name,
		                argument.value == NULL ? "" : argument.value, error, error_size))
			return false;
	}
	return *error == '\0';
}

/* ---- reload ---- */

void config_adopt(struct config *running, struct config *fresh, config_change_fn *fn, void *owner)
{
	const struct option *option;

	for (size_t i = 0; (option = option_at(i)) != NULL; i++) {
		char from[VALUE_MAX], to[VALUE_MAX];
		struct config_change change = {
		    .option = option->name,
		    .adopted = option->change == OPTION_RELOAD,
		    .secret = option_is_secret(option),
		    .from = from,
		    .to = to,
		};

		if (option_equal(running, fresh, option))
			continue;
		option_print(running, option, from, sizeof(from));
		option_print(fresh, option, to, sizeof(to));
		if (change.adopted)
			option_swap(running, fresh, option);
		fn(owner, &change);
	}
}

/* ---- help and sample ---- */

/* Text, wrapped, each line behind prefix. */
static void print_wrapped(FILE *out, const char *prefix, const char *text)
{
	size_t column = 0;

	while (*text != '\0') {
		size_t word = strcspn(text, " ");

		if (column > 0 && column + 1 + word > TEXT_WIDTH) {
			putc('\n', out);
			column = 0;
		}
		if (column == 0)
			column = (size_t)fprintf(out, "%s", prefix);
		else
			column += (size_t)fprintf(out, " ");
		column += fwrite(text, 1, word, out);
		text += word;
		text += strspn(text, " ");
	}
	putc('\n', out);
}

/* "Default: 1; 1 to 64", "connections, 1 to 64"; and if SIGHUP does not change it. */
static void print_facts(FILE *out, const char *prefix, const struct option *option, bool initial)
{
	char range[OPTION_RANGE_MAX], text[512];
	const char *unit = option->type == OPTION_BOOL ? "on or off" : option->unit;
	const char *value = *option->initial == '\0' ? "none" : option->initial;

	option_range(option, range, sizeof(range));
	snprintf(text, sizeof(text), "%s%s%s%s%s%s%s", initial ? "Default: " : "",
	         initial ? value : "", initial && *range != '\0' ? "; " : "", !initial ? unit : "",
	         !initial && *range != '\0' ? ", " : "", range,
	         option->change == OPTION_RESTART ? "; needs a restart" : "");
	print_wrapped(out, prefix, text);
}

static void print_dashed(FILE *out, const char *name)
{
	fputs("--", out);
	for (; *name != '\0'; name++)
		putc(*name == '_' ? '-' : *name, out);
}

void config_print_help(FILE *out)
{
	const struct option *option;

	fputs("Usage: pgtopk [-c FILE] [--SETTING VALUE]...\n"
	      "A PostgreSQL proxy that answers vector top-K queries from the shards and leaves\n"
	      "everything else to the coordinator.\n\n"
	      "  -c FILE, --config FILE\n"
	      "      Read settings from FILE; those on the command line count more\n",
	      out);
	for (size_t i = 0; i < NACTIONS; i++) {
		fputs("  ", out);
		if (actions[i].letter != 0)
			fprintf(out, "-%c, ", actions[i].letter);
		print_dashed(out, actions[i].name);
		fprintf(out, "\n      %s\n", actions[i].help);
	}
	fputs("\nSettings, each also a line \"name = value\" of FILE. SIGHUP reads them again;\n"
	      "those that need a restart keep their value until then.\n",
	      out);
	for (size_t i = 0; (option = option_at(i)) != NULL; i++) {
		fputs("\n  ", out);
		print_dashed(out, option->name);
		fprintf(out, " <%s>\n", option->type == OPTION_BOOL ? "on or off" : option->unit);
		print_wrapped(out, "      ", option->help);
		print_facts(out, "      ", option, true);
	}
}

void config_print_sample(FILE *out)
{
	const struct option *option;

	fputs("# pgtopk's configuration: key = value. Every setting is here, commented out at\n"
	      "# its default. Values may stand in '...' or \"...\". On the command line the same\n"
	      "# settings are --key value. SIGHUP reads it again; settings that need a restart\n"
	      "# keep their value until then. Made by: pgtopk --print-sample\n",
	      out);
	for (size_t i = 0; (option = option_at(i)) != NULL; i++) {
		bool blank = *option->initial == '\0';

		putc('\n', out);
		print_wrapped(out, "# ", option->help);
		print_facts(out, "# ", option, false);
		fprintf(out, "#%s =%s%s\n", option->name, blank ? "" : " ", option->initial);
	}
}
