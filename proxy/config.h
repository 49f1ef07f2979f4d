/*
 * Config: pgtopk's settings, from options.def, a configuration file and the
 * command line. Built whole, then passed down as const; nobody else reads files
 * or argv.
 *
 * SIGHUP changes values in place (config_adopt()), between two events: the struct
 * stays where it is, because every part of the proxy holds a pointer to it. So a
 * value is read when it is needed, and what has to last longer than the event,
 * above all a string, is copied.
 *
 * Errors name file, line, key and remedy.
 */
#ifndef PROXY_CONFIG_H
#define PROXY_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct config_map_entry {
	char *from;
	char *to;
};

struct config_map {
	unsigned count;
	struct config_map_entry *entries;
};

#define CONFIG_STRING char *
#define CONFIG_INT int64_t
#define CONFIG_BOOL bool
#define CONFIG_REAL double
#define CONFIG_DURATION int64_t
#define CONFIG_SIZE int64_t
#define CONFIG_MAP struct config_map

/* One field per option, in its type. */
struct config {
#define OPTION(name, type, value, minimum, maximum, change, unit, help) CONFIG_##type name;
#include "proxy/options.def"
#undef OPTION
};

enum config_action { CONFIG_RUN, CONFIG_CHECK, CONFIG_HELP, CONFIG_VERSION, CONFIG_SAMPLE };

/* Defaults. */
struct config *config_new(void);
void config_free(struct config *config);

/*
 * Command line: -c FILE is read first, whatever its place, then the options
 * override it. False with a message (file:line: key: what is wrong; remedy) in
 * error.
 */
bool config_from_arguments(struct config *config, int argc, char **argv, enum config_action *action,
                           char *error, size_t error_size);
/* One key; where is "etc/pgtopk.conf:12" or "command line". */
bool config_set(struct config *config, const char *where, const char *key, const char *value,
                char *error, size_t error_size);
bool config_read_file(struct config *config, const char *path, char *error, size_t error_size);

/* An option that two configurations have different values of. */
struct config_change {
	const char *option;
	bool adopted; /* false: it needs a restart */
	bool secret;  /* the values may have a password in them: not for any log */
	const char *from, *to;
};

typedef void config_change_fn(void *owner, const struct config_change *change);

/*
 * Moves the values of those options that may change while pgtopk runs from `fresh` into
 * `running`. fn hears of every option that differs, adopted or not, in the table's order;
 * the texts are good for the call. `fresh` is to be freed: it has the old values then.
 */
void config_adopt(struct config *running, struct config *fresh, config_change_fn *fn, void *owner);

void config_print_help(FILE *out);
void config_print_sample(FILE *out); /* etc/pgtopk.conf.sample */

/* PostgreSQL's spellings of a boolean (on, off, true, false, yes, no, 1, 0, and
 * unambiguous prefixes). */
bool config_parse_bool(const char *text, bool *value);

/* The values of option route and of pgtopk.route. */
enum config_route { CONFIG_ROUTE_OFF, CONFIG_ROUTE_ON, CONFIG_ROUTE_SHADOW };
bool config_parse_route(const char *text, enum config_route *route);
/* The values of option short_answer and of pgtopk.short_answer. */
enum config_short_answer {
	CONFIG_SHORT_ANSWER_EXACT,
	CONFIG_SHORT_ANSWER_ERROR,
	CONFIG_SHORT_ANSWER_ACCEPT
};
bool config_parse_short_answer(const char *text, enum config_short_answer *answer);
bool config_parse_real(const char *text, double minimum, double maximum, double *value);

#endif
