/*
 * Session: what a session does beside its questions, as random SQL.
 */
#ifndef T_TORTURE_SESSION_H
#define T_TORTURE_SESSION_H

#include "t/torture/script.h"

/* Startup options, user, settings of role and database. */
void session_start(struct script *script, struct dice *dice);
const char *session_setting(struct arena *arena, struct dice *dice);
/* Several at once that every text shows. */
const char *session_formats(struct arena *arena, struct dice *dice);
const char *session_transaction(struct dice *dice);
/* Anything else that leaves the tables as they are. */
const char *session_statement(struct script *script, struct dice *dice);
/* What changes them, which is noted in the script; only_new: touches no row that is there. */
const char *session_write(struct script *script, struct dice *dice, bool only_new);
/* Privileges of the script's user, for the superuser to change. */
const char *session_grant(const struct script *script, struct dice *dice);

#endif
