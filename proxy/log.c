/*
 * Log: see log.h. One line is composed on the stack and written by one write(),
 * so that lines of several processes on one pipe do not mix (PIPE_BUF). A line
 * that cannot be written is lost: there is nobody to tell.
 */
#include "proxy/log.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_MAX 4096
#define LOG_QUOTE_MAX 512
#define LOG_QUOTE_SLOTS 8

struct log {
	int fd;
	enum log_level minimum;
};

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARNING] = "warning",
    [LOG_ERROR] = "error",
};

struct log *log_new(int fd, enum log_level minimum)
{
	struct log *log = calloc(1, sizeof(*log));

	assert(fd >= 0);
	assert(minimum <= LOG_ERROR);
	if (log == NULL)
		abort();
	log->fd = fd;
	log->minimum = minimum;
	return log;
}

void log_free(struct log *log)
{
	free(log);
}

void log_set_level(struct log *log, enum log_level minimum)
{
	assert(minimum <= LOG_ERROR);
	log->minimum = minimum;
}

enum log_level log_level_of(const char *name)
{
	int level = LOG_DEBUG;

	while (level < LOG_ERROR && strcmp(name, level_names[level]) != 0)
		level++;
	return (enum log_level)level;
}

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

static size_t print_head(char *line, size_t size, enum log_level level, const char *event)
{
	struct timespec now;
	struct tm utc;
	size_t len;
	int n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	len = strftime(line, size, "%Y-%m-%d %H:%M:%S", &utc);
	n = snprintf(line + len, size - len, ".%03ld UTC level=%s event=%s", now.tv_nsec / 1000000,
	             level_names[level], event);
	assert(n > 0 && (size_t)n < size - len);
	return len + (size_t)n;
}

static void write_line(int fd, const char *line, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, line, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		line += n;
		len -= (size_t)n;
	}
}

void log_event(struct log *log, enum log_level level, const char *event, const char *format, ...)
{
	char line[LOG_LINE_MAX];
	int saved_errno = errno;
	size_t head, len;
	va_list args;
	int n;

	assert(level <= LOG_ERROR);
	if (level < log->minimum)
		return;

	/* One byte less than there is: room for the newline. */
	head = print_head(line, sizeof(line) - 1, level, event);
	len = head;
	if (*format != '\0') {
		line[len++] = ' ';
		va_start(args, format);
		n = vsnprintf(line + len, sizeof(line) - 1 - len, format, args);
		va_end(args);
		assert(n >= 0);
		len += (size_t)n;
		if (len > sizeof(line) - 2) {
			len = sizeof(line) - 2;
			memcpy(line + len - 3, "...", 3);
		}
	}
	/* Somebody forgot log_quote(): even so a line stays one line. */
	for (size_t i = head; i < len; i++) {
		if (is_control(line[i]))
			line[i] = '?';
	}
	line[len++] = '\n';
	write_line(log->fd, line, len);
	errno = saved_errno;
}

static bool needs_quotes(const char *value)
{
	if (*value == '\0')
		return true;
	for (; *value != '\0'; value++) {
		if (is_control(*value) || strchr(" \"'\\=", *value) != NULL)
			return true;
	}
	return false;
}

/* Writes c as it stands between quotes; returns how many bytes that took (4 at most). */
static size_t escape(char *out, char c)
{
	static const char names[] = "\"\"\\\\\nn\rr\tt";

	for (size_t i = 0; i < sizeof(names) - 1; i += 2) {
		if (c == names[i]) {
			out[0] = '\\';
			out[1] = names[i + 1];
			return 2;
		}
	}
	if (is_control(c)) {
		static const char hex[] = "0123456789abcdef";

		out[0] = '\\';
		out[1] = 'x';
		out[2] = hex[(unsigned char)c >> 4];
		out[3] = hex[(unsigned char)c & 15];
		return 4;
	}
	out[0] = c;
	return 1;
}

const char *log_quote(const char *value)
{
	static char slots[LOG_QUOTE_SLOTS][LOG_QUOTE_MAX];
	static unsigned next;
	char *slot = slots[next];
	size_t len = 0;

	next = (next + 1) % LOG_QUOTE_SLOTS;
	if (value == NULL)
		value = "";
	if (!needs_quotes(value) && strlen(value) < LOG_QUOTE_MAX) {
		strcpy(slot, value);
		return slot;
	}

	slot[len++] = '"';
	for (; *value != '\0'; value++) {
		/* One escape, "...", the closing quote and NUL must still fit. */
		if (len + 4 + 3 + 2 > LOG_QUOTE_MAX) {
			memcpy(slot + len, "...", 3);
			len += 3;
			break;
		}
		len += escape(slot + len, *value);
	}
	slot[len++] = '"';
	slot[len] = '\0';
	assert(len < LOG_QUOTE_MAX);
	return slot;
}
