/*
 * Client_tls: TLS towards clients as the configuration has it: proxy->tls, made at
 * the start and made anew by a reload. Connections that are open stay as they are.
 */
#ifndef PROXY_CLIENT_TLS_H
#define PROXY_CLIENT_TLS_H

#include <stdbool.h>
#include <stddef.h>

struct config;
struct proxy;
struct tls_server;

/* Reads certificate, key and authorities; *server is NULL where TLS is off. False with a
 * message. */
bool client_tls_make(const struct config *config, struct tls_server **server, char *error,
                     size_t error_size);
/* For clients that come from now on; server is the proxy's then. */
void client_tls_use(struct proxy *proxy, struct tls_server *server);

#endif
