/*
 * Option: one line of options.def, and how a value for it is read from text.
 * Config's helper; the rest of the program knows struct config alone.
 *
 * A STRING whose unit is a list ("debug, info, ...") must be one of that list.
 */
#ifndef PROXY_OPTION_H
#define PROXY_OPTION_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/config.h"

enum option_type {
	OPTION_STRING,
	OPTION_INT,
	OPTION_BOOL,
	OPTION_REAL,
	OPTION_DURATION,
	OPTION_SIZE,
	OPTION_MAP,
};

/* When a new value counts. */
enum option_change { OPTION_RELOAD, OPTION_RESTART };

struct option {
	const char *name;
	enum option_type type;
	const char *initial;
	double minimum;
	double maximum;
	enum option_change change;
	const char *unit;
	const char *help;
	size_t offset; /* of its field in struct config */
};

/* Where a value stands, and where to complain about it. */
struct option_place {
	const char *where; /* "etc/pgtopk.conf:12" */
	const char *key;   /* NULL: none yet */
	char *error;
	size_t error_size;
};

/* Number i of the table; NULL behind the last. */
const struct option *option_at(size_t i);
const struct option *option_find(const char *key); /* NULL if there is none */
/* The key that the writer of this one may have meant; NULL if none is near. */
const char *option_nearest(const char *key);

/* Reads value into config; false with a message if it is none for this option. */
bool option_set(struct config *config, const struct option *option, const char *value,
                const struct option_place *place);
/* Frees what the option holds; a map is empty then. */
void option_clear(struct config *config, const struct option *option);

bool option_equal(const struct config *a, const struct config *b, const struct option *option);
void option_swap(struct config *a, struct config *b, const struct option *option);
/* Its value as it would be given, cut off to fit. Returns out. */
const char *option_print(const struct config *config, const struct option *option, char *out,
                         size_t size);
/* A conninfo or SQL may have a password in it. */
bool option_is_secret(const struct option *option);

#define OPTION_RANGE_MAX 160
/* "1 to 64", "1s to 24h"; "" if the option has no limits. */
const char *option_range(const struct option *option, char *out, size_t size);

/* Writes "where: key: message" to place->error. Always false. */
bool option_complain(const struct option_place *place, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
