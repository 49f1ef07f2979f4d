/*
 * Own setting: answers SET pgtopk.* with a bad value as PostgreSQL would for a
 * setting of its own. Good values go to the coordinator, which keeps them like
 * any other custom setting; facts.c reads them back.
 */
#ifndef PROXY_OWN_SETTING_H
#define PROXY_OWN_SETTING_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/wire.h"

#define OWN_SETTING_TEXT 256

/* The text may concern one of ours: a scan over bytes. */
bool own_setting_mentioned(const char *sql, size_t len);
/*
 * True if the statement is a SET of ours that is to fail: *error is filled in, its
 * strings in text or static.
 */
bool own_setting_is_bad(const char *sql, size_t len, struct wire_error *error,
                        char text[OWN_SETTING_TEXT]);

#endif
