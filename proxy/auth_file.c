/*
 * Auth_file: see auth_file.h.
 */
#include "proxy/auth_file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>

#include "proxy/digest.h"

struct entry {
	struct scram_verifier verifier;
	UT_hash_handle hh;
	char user[];
};

struct auth_file {
	struct entry *by_user;
};

/* Where the reading is. */
struct place {
	const char *path;
	unsigned line;
	struct log *log;
};

static void put(struct auth_file *file, const char *user, const struct scram_verifier *verifier)
{
	size_t len = strlen(user);
	struct entry *entry;

	HASH_FIND(hh, file->by_user, user, len, entry);
	if (!entry) {
		entry = calloc(1, sizeof(*entry) + len + 1);
		if (!entry)
			abort();
		memcpy(entry->user, user, len + 1);
		HASH_ADD_KEYPTR(hh, file->by_user, entry->user, len, entry);
	}
	entry->verifier = *verifier;
}

/* A quoted string at *at, unquoted in place; *at goes behind it. NULL: there is none. */
static char *take_quoted(char **at)
{
	char *from = *at, *to = *at, *begin = *at;

	if (*from++ != '"')
		return NULL;
	for (; *from; from++) {
		if (*from == '"' && *++from != '"') {
			*at = from;
			*to = '\0';
			return begin;
		}
		*to++ = *from;
	}
	return NULL;
}

/* Why pgtopk has no use for a secret that is no verifier. */
static const char *kind_of(const char *secret)
{
	if (strncmp(secret, "md5", 3) == 0 && strlen(secret) == 35)
		return "an MD5 hash cannot do SCRAM";
	if (strncmp(secret, SCRAM_MECHANISM "$", strlen(SCRAM_MECHANISM) + 1) == 0)
		return "a malformed SCRAM verifier";
	if (!*secret)
		return "no password";
	return "pgtopk keeps no clear-text passwords; write the SCRAM verifier of pg_authid";
}

/* False with what is wrong. The line is changed. */
static bool read_line(struct auth_file *file, const struct place *place, char *line,
                      const char **wrong)
{
	char *at = line + strspn(line, " \t\r\n\f\v"), *user, *secret;
	struct scram_verifier verifier;

	if (!*at || *at == ';')
		return true;
	user = take_quoted(&at);
	*wrong = "a user's name in double quotes is missing";
	if (!user || !*user)
		return false;
	at += strspn(at, " \t");
	secret = take_quoted(&at);
	*wrong = "a SCRAM verifier in double quotes is missing behind the user";
	if (!secret)
		return false;
	if (scram_verifier_parse(secret, &verifier))
		put(file, user, &verifier);
	else
		log_event(place->log, LOG_WARNING, "auth_file_line_ignored",
		          "file=%s line=%u user=%s reason=%s", log_quote(place->path), place->line,
		          log_quote(user), log_quote(kind_of(secret)));
	scram_verifier_wipe(&verifier);
	return true;
}

static bool read_lines(struct auth_file *file, struct place *place, FILE *in, char *error,
                       size_t error_size)
{
	const char *wrong = NULL;
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	bool ok = true;

	while (ok && (len = getline(&line, &size, in)) >= 0) {
		place->line++;
		wrong = "there is a NUL in it";
		ok = strlen(line) == (size_t)len && read_line(file, place, line, &wrong);
		digest_wipe(line, (size_t)len);
	}
	if (!ok)
		snprintf(error, error_size, "%s:%u: %s", place->path, place->line, wrong);
	else if (ferror(in))
		snprintf(error, error_size, "%s: %s", place->path, strerror(errno));
	ok = ok && !ferror(in);
	free(line);
	return ok;
}

static void warn_of_mode(const struct place *place, FILE *in)
{
	struct stat status;

	if (fstat(fileno(in), &status) == 0 && (status.st_mode & (S_IROTH | S_IWOTH)))
		log_event(place->log, LOG_WARNING, "auth_file_is_public",
		          "file=%s mode=%04o remedy=%s", log_quote(place->path),
		          (unsigned)status.st_mode & 07777,
		          log_quote("chmod o= it: a server key in it can pose as the server"));
}

struct auth_file *auth_file_read(const char *path, struct log *log, char *error, size_t error_size)
{
	struct place place = {.path = path, .log = log};
	struct auth_file *file;
	FILE *in = fopen(path, "re");

	if (!in) {
		snprintf(error, error_size, "%s: %s", path, strerror(errno));
		return NULL;
	}
	file = calloc(1, sizeof(*file));
	if (!file)
		abort();
	setvbuf(in, NULL, _IONBF, 0); /* the C library's buffer would not be wiped */
	warn_of_mode(&place, in);
	if (!read_lines(file, &place, in, error, error_size)) {
		auth_file_free(file);
		file = NULL;
	}
	fclose(in);
	return file;
}

void auth_file_free(struct auth_file *file)
{
	struct entry *entry, *next;

	if (!file)
		return;
	HASH_ITER (hh, file->by_user, entry, next) {
		HASH_DELETE(hh, file->by_user, entry);
		scram_verifier_wipe(&entry->verifier);
		free(entry);
	}
	free(file);
}

const struct scram_verifier *auth_file_find(const struct auth_file *file, const char *user)
{
	struct entry *entry;

	HASH_FIND(hh, file->by_user, user, strlen(user), entry);
	return entry ? &entry->verifier : NULL;
}
