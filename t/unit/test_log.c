/*
 * Tests of proxy/log: a line is one line, whatever is put into it, and says when,
 * how serious and what.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proxy/log.h"

static char text[16384];

/* A pipe to log into; what was logged is read back by logged(). */
static int ends[2];

static struct log *open_log(enum log_level minimum)
{
	cr_assert(pipe(ends) == 0);
	cr_assert(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
	return log_new(ends[1], minimum);
}

static const char *logged(void)
{
	ssize_t n = read(ends[0], text, sizeof(text) - 1);

	text[n < 0 ? 0 : n] = '\0';
	return text;
}

/* Everything behind the time. */
static const char *after_time(void)
{
	const char *line = logged();
	unsigned year, month, day, hour, minute, second, ms;
	int len = 0;

	cr_assert(sscanf(line, "%4u-%2u-%2u %2u:%2u:%2u.%3u UTC %n", &year, &month, &day, &hour,
	                 &minute, &second, &ms, &len) == 7);
	cr_assert(year >= 2024 && month <= 12 && day <= 31);
	cr_assert(len == (int)strlen("2026-01-31 12:00:00.123 UTC "));
	return line + len;
}

Test(log, a_line_has_time_level_event_and_pairs)
{
	struct log *log = open_log(LOG_INFO);

	log_event(log, LOG_INFO, "listening", "address=%s port=%d", "127.0.0.1", 6432);
	cr_assert_str_eq(after_time(), "level=info event=listening address=127.0.0.1 port=6432\n");
	log_free(log);
}

Test(log, an_event_may_stand_alone)
{
	struct log *log = open_log(LOG_DEBUG);

	log_event(log, LOG_ERROR, "stopped", "");
	cr_assert_str_eq(after_time(), "level=error event=stopped\n");
	log_free(log);
}

Test(log, lesser_levels_are_left_out)
{
	struct log *log = open_log(LOG_WARNING);

	log_event(log, LOG_DEBUG, "a", "x=%d", 1);
	log_event(log, LOG_INFO, "b", "x=%d", 1);
	cr_assert_str_eq(logged(), "");
	log_event(log, LOG_WARNING, "c", "x=%d", 1);
	cr_assert_str_eq(after_time(), "level=warning event=c x=1\n");
	log_event(log, LOG_ERROR, "d", "x=%d", 1);
	cr_assert_str_eq(after_time(), "level=error event=d x=1\n");
	log_free(log);
}

Test(log, an_unquoted_newline_does_not_make_a_second_line)
{
	struct log *log = open_log(LOG_INFO);

	log_event(log, LOG_INFO, "e", "reason=%s", "a\nlevel=error\r\033[0m");
	cr_assert_str_eq(after_time(), "level=info event=e reason=a?level=error??[0m\n");
	log_free(log);
}

Test(log, an_endless_line_is_cut)
{
	struct log *log = open_log(LOG_INFO);
	char big[10000];
	size_t len;

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_event(log, LOG_INFO, "e", "value=%s", big);
	logged();
	len = strlen(text);
	cr_assert(len > 4000 && len <= 4096);
	cr_assert_str_eq(text + len - 5, "x...\n");
	cr_assert(strchr(text, '\n') == text + len - 1);
	log_free(log);
}

Test(log, lines_of_every_length_end_in_one_newline)
{
	struct log *log = open_log(LOG_INFO);
	char big[4200];

	memset(big, 'x', sizeof(big));
	for (int len = 3950; len < 4200; len++) {
		log_event(log, LOG_INFO, "e", "v=%.*s", len, big);
		logged();
		cr_assert(strlen(text) <= 4096);
		cr_assert(strchr(text, '\n') == text + strlen(text) - 1);
	}
	log_free(log);
}

Test(log, errno_is_left_alone)
{
	struct log *log = open_log(LOG_INFO);

	close(ends[1]);
	errno = EXDEV;
	log_event(log, LOG_INFO, "e", "x=%d", 1);
	cr_assert(errno == EXDEV);
	log_free(log);
}

Test(log, plain_values_stay_bare)
{
	cr_assert_str_eq(log_quote("127.0.0.1:6432"), "127.0.0.1:6432");
	cr_assert_str_eq(log_quote("gr\303\274n"), "gr\303\274n");
}

Test(log, other_values_are_quoted)
{
	cr_assert_str_eq(log_quote(""), "\"\"");
	cr_assert_str_eq(log_quote(NULL), "\"\"");
	cr_assert_str_eq(log_quote("a b"), "\"a b\"");
	cr_assert_str_eq(log_quote("a=b"), "\"a=b\"");
	cr_assert_str_eq(log_quote("say \"so\"\\"), "\"say \\\"so\\\"\\\\\"");
	cr_assert_str_eq(log_quote("1\n2\r3\t4\001\177"), "\"1\\n2\\r3\\t4\\x01\\x7f\"");
}

Test(log, eight_quoted_values_live_at_once)
{
	const char *values[8];
	char one[2] = "a";

	for (int i = 0; i < 8; i++) {
		one[0] = (char)('a' + i);
		values[i] = log_quote(one);
	}
	for (int i = 0; i < 8; i++)
		cr_assert(values[i][0] == 'a' + i && values[i][1] == '\0');
}

Test(log, long_values_are_cut_at_any_length)
{
	char big[2000];

	for (size_t len = 480; len < 600; len++) {
		const char *quoted;

		memset(big, 'x', len);
		big[len] = '\0';
		quoted = log_quote(big);
		cr_assert(strlen(quoted) < 512);
		cr_assert(strcmp(quoted, big) == 0 ||
		          strcmp(quoted + strlen(quoted) - 5, "x...\"") == 0);
		/* The same, of bytes that take four. */
		memset(big, '\001', len);
		quoted = log_quote(big);
		cr_assert(strlen(quoted) < 512);
		cr_assert_str_eq(quoted + strlen(quoted) - 5, "1...\"");
	}
}
