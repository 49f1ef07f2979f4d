/*
 * Reload: SIGHUP. File and command line are read as at the start; what is wrong changes
 * nothing, what is right changes the running configuration in place (config.h says what
 * that asks of its readers). The log says what changed, without secrets.
 */
#ifndef PROXY_RELOAD_H
#define PROXY_RELOAD_H

#include <stdbool.h>
#include <stddef.h>

struct config;
struct proxy;

/* config is proxy->config, to be written to. From the loop, not within a session's event. */
void reload_run(struct proxy *proxy, struct config *config, int argc, char **argv);

/* What reading it did not tell: are the conninfo strings any? At the start, too. The message
 * has libpq's words, which may quote the string, only if `verbose`. */
bool reload_check(const struct config *config, bool verbose, char *error, size_t error_size);

#endif
