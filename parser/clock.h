/*
 * Clock: texts that are clocks when they are read as a date or time: 'now', 'today' and
 * their like. On a shard they would tell the worker's time, and its transaction's begin.
 */
#ifndef PARSER_CLOCK_H
#define PARSER_CLOCK_H

#include <stdbool.h>
#include <stddef.h>

/* What it is read as is not known here: false only if it is no clock whatever the type. */
bool clock_may_be(const char *text, size_t len);

#endif
