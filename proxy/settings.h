/*
 * Settings: a set of (name, value) pairs that a session's queries need on the
 * workers: what the session has set, as the coordinator reports it, and what the
 * budget adds. Immutable once sealed, counted, comparable.
 *
 * Every sealed set for workers holds the same names where it can, so that going
 * from one set to another never needs a RESET.
 */
#ifndef PROXY_SETTINGS_H
#define PROXY_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/iobuf.h"

struct settings;

struct settings *settings_new(void);
/* Replaces an earlier value of that name. Only before settings_seal(). */
void settings_put(struct settings *settings, const char *name, const char *value);
void settings_put_int(struct settings *settings, const char *name, int64_t value);
/* Sorts and hashes; from here on immutable. */
void settings_seal(struct settings *settings);
/* An unsealed copy to add to. */
struct settings *settings_copy(const struct settings *settings);
struct settings *settings_ref(struct settings *settings);
void settings_unref(struct settings *settings); /* NULL is allowed */

/* NULL if there is no such name. */
const char *settings_get(const struct settings *settings, const char *name);
/*
 * The values of these names one after another, each with its NUL, "" where there is none:
 * for keys. Found once and kept with the sealed set, so always ask one for the same
 * names, and statically allocated ones.
 */
const char *settings_values(struct settings *settings, const char *const *names, size_t count,
                            size_t *len);
unsigned settings_count(const struct settings *settings);
const char *settings_name(const struct settings *settings, unsigned i); /* sorted by name */
const char *settings_value(const struct settings *settings, unsigned i);
bool settings_equal(const struct settings *a, const struct settings *b);

/*
 * Calls fn for every pair of `wanted` that `applied` (may be NULL: unknown) does
 * not have with that value.
 */
void settings_diff(const struct settings *applied, const struct settings *wanted,
                   void (*fn)(void *owner, const char *name, const char *value), void *owner);

/*
 * The statement that makes `wanted` hold where `applied` (may be NULL) did: one SELECT
 * of set_config() calls, and the middle of its Bind message (formats and values), both
 * appended. False, and nothing appended, if nothing differs.
 */
bool settings_change(const struct settings *applied, const struct settings *wanted,
                     struct iobuf *sql, struct iobuf *parameters);

#endif
