/*
 * Client_tls: TLS towards clients as the configuration has it: proxy->tls, made at
 * the start and made anew by a reload. Connections that are open stay as they are.
 */
#ifndef PROXY_CLIENT_TLS_H
#define PROXY_CLIENT_TLS_H

#include <stdbool.h>
#include <stddef.h>

struct proxy;

/* Reads certificate, key and authorities. False with a message, and what was stays. */
bool client_tls_load(struct proxy *proxy, char *error, size_t error_size);

#endif
