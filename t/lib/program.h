/*
 * Program: real client programs, run by a shell; what they print is text that can be
 * compared.
 */
#ifndef T_LIB_PROGRAM_H
#define T_LIB_PROGRAM_H

#include <stdbool.h>

/* Whether there is a program of that name. */
bool program_installed(const char *name);
/*
 * Runs a shell command with that input (NULL: none). What it prints, errors too, up to
 * a megabyte; the caller's to free. *status as of wait().
 */
char *program_run(const char *command, const char *input, int *status);
/* program_run() of what must succeed; what it prints is thrown away. */
void program_must(const char *command);

#endif
