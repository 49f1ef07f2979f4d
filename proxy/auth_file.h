/*
 * Auth_file: PgBouncer's userlist.txt: lines of "user" "secret", quotes within doubled,
 * ; begins a comment line, what follows the secret is ignored. Secrets are SCRAM
 * verifiers; read whole, immutable, wiped when freed.
 */
#ifndef PROXY_AUTH_FILE_H
#define PROXY_AUTH_FILE_H

#include <stddef.h>

#include "proxy/log.h"
#include "proxy/scram.h"

struct auth_file;

/*
 * NULL with a message (file:line: what is wrong) in error if it cannot be read. A line whose
 * secret is an MD5 hash or clear text is left out and logged: such users' logins are the
 * coordinator's. Of several lines for a user the last one counts. Logs a warning, too, if
 * everybody may read the file.
 */
struct auth_file *auth_file_read(const char *path, struct log *log, char *error, size_t error_size);
void auth_file_free(struct auth_file *file); /* NULL is allowed */

/* NULL: not in it. */
const struct scram_verifier *auth_file_find(const struct auth_file *file, const char *user);

#endif
