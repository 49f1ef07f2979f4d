/*
 * Service: what systemd gives and is told. libsystemd's door: no other file includes
 * its headers. Where systemd has not started us (no NOTIFY_SOCKET, no LISTEN_FDS)
 * nothing happens.
 * Manual: sd_notify(3), sd_listen_fds(3).
 */
#ifndef PROXY_SERVICE_H
#define PROXY_SERVICE_H

#include <stdint.h>

/* Listening sockets that were handed over: *first and the ones after it, ours from now on.
 * Their number, 0 if none. To be asked once. */
unsigned service_sockets(int *first);

void service_ready(unsigned clients); /* listening, and after service_reloading() */
void service_reloading(void);
/* It ends, within that time, before which nobody should kill it. */
void service_stopping(unsigned clients, uint64_t timeout_ms);

#endif
