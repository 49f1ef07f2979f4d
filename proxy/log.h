/*
 * Log: one line per event, key=value, no secrets.
 *
 *   2026-01-31 12:00:00.123 UTC level=info event=listening address=127.0.0.1:6432
 *
 * Values with blanks, quotes or control characters are quoted and escaped, so a
 * line is always one line. SQL text is never logged, nor are parameters.
 */
#ifndef PROXY_LOG_H
#define PROXY_LOG_H

#include <stdarg.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

struct log;

struct log *log_new(int fd, enum log_level minimum);
void log_free(struct log *log);
void log_set_level(struct log *log, enum log_level minimum);
enum log_level log_level_of(const char *name); /* one of "debug", "info", "warning", "error" */

/*
 * One line: time, level, event, then the formatted rest, which is key=value
 * pairs: log_event(log, LOG_INFO, "client_closed", "session=%" PRIu64 " reason=%s", id, reason).
 * Strings from outside go through log_quote(). format may be "" for nothing.
 */
void log_event(struct log *log, enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* A value safe for a log line, in one of a few static slots: good until the eighth next call. */
const char *log_quote(const char *value);

#endif
