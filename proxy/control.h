/*
 * Control: from listening to the end: clients are let in, and signals become actions.
 *
 *   SIGHUP             configuration and files are read again (reload.h)
 *   SIGTERM            no new clients; each session ends with its transaction, all of
 *                      them after shutdown_timeout; a second one is as SIGINT
 *   SIGINT, SIGQUIT    all sessions end at once
 *   SIGUSR1            statistics into the log
 */
#ifndef PROXY_CONTROL_H
#define PROXY_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

struct config;
struct proxy;

/*
 * Returns when a signal has ended it; false, with a message, if it cannot listen. config is
 * proxy->config, to be written to; argc and argv are read again at SIGHUP.
 */
bool control_run(struct proxy *proxy, struct config *config, int argc, char **argv, char *error,
                 size_t error_size);

#endif
