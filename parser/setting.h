/*
 * Setting: recognises SET of one of pgtopk's own settings, whose values the
 * coordinator takes unchecked because they are placeholders to it.
 */
#ifndef PARSER_SETTING_H
#define PARSER_SETTING_H

#include <stdbool.h>
#include <stddef.h>

#include "merge/arena.h"

/*
 * True if the text is one statement SET [SESSION | LOCAL] pgtopk.name = value (or TO):
 * *name without the prefix, *value as text, both in the arena.
 */
bool setting_parse(const char *sql, size_t len, struct arena *arena, const char **name,
                   const char **value);

#endif
