/*
 * Auth_file: PgBouncer's userlist.txt with SCRAM verifiers in it; what is left out,
 * what is wrong and where.
 */
#include "proxy/auth_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEYS                                                                                       \
	"$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"                                           \
	"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define VERIFIER(iterations) "SCRAM-SHA-256$" #iterations ":W22ZaJ0SNY7soEsUEjb6gQ==" KEYS

/* A file, what was read of it, and what was logged and said. */
struct fixture {
	char path[64], log_path[64];
	struct log *log;
	int log_fd;
	struct auth_file *file;
	char error[512];
	char logged[2048];
};

static void read_file(struct fixture *fixture, const char *content, size_t len, mode_t mode)
{
	ssize_t got;
	int fd;

	memset(fixture, 0, sizeof(*fixture));
	strcpy(fixture->path, "/tmp/pgtopk-auth.XXXXXX");
	strcpy(fixture->log_path, "/tmp/pgtopk-log.XXXXXX");
	fd = mkstemp(fixture->path);
	fixture->log_fd = mkstemp(fixture->log_path);
	cr_assert(fd >= 0 && fixture->log_fd >= 0);
	cr_assert_eq(write(fd, content, len), (ssize_t)len);
	cr_assert_eq(fchmod(fd, mode), 0);
	close(fd);
	fixture->log = log_new(fixture->log_fd, LOG_DEBUG);
	fixture->file =
	    auth_file_read(fixture->path, fixture->log, fixture->error, sizeof(fixture->error));
	log_free(fixture->log);
	got = pread(fixture->log_fd, fixture->logged, sizeof(fixture->logged) - 1, 0);
	cr_assert_geq(got, 0);
	close(fixture->log_fd);
	unlink(fixture->path);
	unlink(fixture->log_path);
}

static void read_text(struct fixture *fixture, const char *content)
{
	read_file(fixture, content, strlen(content), 0600);
}

/* 0: not in the file. */
static unsigned iterations_of(const struct fixture *fixture, const char *user)
{
	const struct scram_verifier *verifier = auth_file_find(fixture->file, user);

	return verifier ? verifier->iterations : 0;
}

Test(auth_file, users_are_found_as_in_pgbouncers_userlist)
{
	struct fixture fixture;

	read_text(&fixture,
	          "; a comment\n"
	          "\n"
	          "\"alice\" \"" VERIFIER(
		      4096) "\"\n"
	                    "  \"a \"\"quoted\"\" one\"\t\"" VERIFIER(
				5000) "\" and more; \"\n"
	                              "\"bob\"\"" VERIFIER(
					  1) "\"\r\n"
	                                     "   ; \"carol\" \"" VERIFIER(
						 4096) "\"\n"
	                                               "\"dave\" \"" VERIFIER(
							   6000) "\"\n"
	                                                         "\"dave\" \"" VERIFIER(7000) "\"");
	cr_assert_null(fixture.file, "bob's quotes are doubled: there is no secret");
	read_text(&fixture,
	          "; a comment\n"
	          "\n"
	          "\"alice\" \"" VERIFIER(
		      4096) "\"\n"
	                    "  \"a \"\"quoted\"\" one\"\t\"" VERIFIER(
				5000) "\" and more; \"\n"
	                              "   ; \"carol\" \"" VERIFIER(
					  4096) "\"\n"
	                                        "\"dave\" \"" VERIFIER(6000) "\"\r\n"
	                                                                     "\"dave\" \"" VERIFIER(
										 7000) "\"");
	cr_assert_not_null(fixture.file, "%s", fixture.error);
	cr_assert_eq(iterations_of(&fixture, "alice"), 4096);
	cr_assert_eq(iterations_of(&fixture, "a \"quoted\" one"), 5000);
	cr_assert_eq(iterations_of(&fixture, "carol"), 0);
	cr_assert_eq(iterations_of(&fixture, "dave"), 7000, "the last one counts");
	cr_assert_eq(iterations_of(&fixture, "Alice"), 0);
	cr_assert_eq(iterations_of(&fixture, "alic"), 0);
	cr_assert_str_eq(fixture.logged, "");
	auth_file_free(fixture.file);
}

static void is_wrong(const char *content, size_t len, const char *expected)
{
	struct fixture fixture;
	char text[256];

	read_file(&fixture, content, len, 0600);
	cr_assert_null(fixture.file, "%s", content);
	snprintf(text, sizeof(text), "%s:%s", fixture.path, expected);
	cr_assert_str_eq(fixture.error, text, "%s", fixture.error);
}

Test(auth_file, what_is_wrong_is_named_with_its_line)
{
	static const char nul[] = "\"a\0b\" \"x\"\n";
	const char *user = "a user's name in double quotes is missing";
	char text[128];

	snprintf(text, sizeof(text), "2: %s", user);
	is_wrong("\n# no comment\n", 14, text);
	snprintf(text, sizeof(text), "1: %s", user);
	is_wrong("alice x\n", 8, text);
	is_wrong("\"alice\n", 7, text);
	is_wrong("\"\" \"x\"\n", 7, text);
	is_wrong("\"a\"\n", 4, "1: a SCRAM verifier in double quotes is missing behind the user");
	is_wrong("\"a\" \"x\n", 7,
	         "1: a SCRAM verifier in double quotes is missing behind the user");
	is_wrong(nul, sizeof(nul) - 1, "1: there is a NUL in it");
}

Test(auth_file, a_file_that_is_not_there_is_named)
{
	struct log *log = log_new(2, LOG_ERROR);
	char error[256];

	cr_assert_null(auth_file_read("/nowhere/users", log, error, sizeof(error)));
	cr_assert_str_eq(error, "/nowhere/users: No such file or directory");
	cr_assert_null(auth_file_read("/tmp", log, error, sizeof(error)));
	cr_assert_str_eq(error, "/tmp: Is a directory");
	log_free(log);
}

Test(auth_file, md5_and_clear_text_are_left_out_and_the_log_says_why)
{
	struct fixture fixture;

	read_text(&fixture, "\"md\" \"md5d2f2c0e4a1b4b5a4a7d5d0e0d0b0c0a0\"\n"
	                    "\"clear\" \"sesame\"\n"
	                    "\"none\" \"\"\n"
	                    "\"broken\" \"SCRAM-SHA-256$x\"\n"
	                    "\"alice\" \"" VERIFIER(4096) "\"\n");
	cr_assert_not_null(fixture.file);
	cr_assert_eq(iterations_of(&fixture, "alice"), 4096);
	cr_assert_eq(iterations_of(&fixture, "md"), 0);
	cr_assert_eq(iterations_of(&fixture, "clear"), 0);
	cr_assert(strstr(fixture.logged, "line=1 user=md reason=\"an MD5 hash cannot do SCRAM\""),
	          "%s", fixture.logged);
	cr_assert(strstr(fixture.logged, "line=2 user=clear reason=\"pgtopk keeps no clear-text"),
	          "%s", fixture.logged);
	cr_assert(strstr(fixture.logged, "line=3 user=none reason=\"no password\""), "%s",
	          fixture.logged);
	cr_assert(
	    strstr(fixture.logged, "line=4 user=broken reason=\"a malformed SCRAM verifier\""),
	    "%s", fixture.logged);
	cr_assert_null(strstr(fixture.logged, "sesame"));
	auth_file_free(fixture.file);
}

Test(auth_file, a_public_file_is_warned_of)
{
	static const char content[] = "\"alice\" \"" VERIFIER(4096) "\"\n";
	struct fixture fixture;

	read_file(&fixture, content, strlen(content), 0644);
	cr_assert_not_null(fixture.file);
	cr_assert(strstr(fixture.logged, "event=auth_file_is_public"), "%s", fixture.logged);
	cr_assert(strstr(fixture.logged, "mode=0644"), "%s", fixture.logged);
	auth_file_free(fixture.file);
	read_file(&fixture, content, strlen(content), 0640);
	cr_assert_str_eq(fixture.logged, "");
	auth_file_free(fixture.file);
}
