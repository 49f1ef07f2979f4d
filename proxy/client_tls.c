/*
 * Client_tls: see client_tls.h.
 */
#include "proxy/client_tls.h"

#include <stdio.h>
#include <string.h>

#include "proxy/config.h"
#include "proxy/proxy.h"
#include "proxy/tls.h"

bool client_tls_make(const struct config *config, struct tls_server **server, char *error,
                     size_t error_size)
{
	bool demand = strncmp(config->client_tls, "verify-", 7) == 0;
	struct tls_server_options options = {
	    .cert_file = config->client_tls_cert,
	    .key_file = config->client_tls_key,
	    .ca_file = config->client_tls_ca,
	    .crl_file = config->client_tls_crl,
	    .min_version = config->client_tls_min_version,
	    .ciphers = config->client_tls_ciphers,
	    .verify = demand ? TLS_VERIFY_DEMAND : TLS_VERIFY_NONE,
	};

	*server = NULL;
	if (strcmp(config->client_tls, "off") == 0)
		return true;
	if (demand && !config->client_tls_ca[0]) {
		snprintf(error, error_size, "client_tls = %s needs client_tls_ca",
		         config->client_tls);
		return false;
	}
	*server = tls_server_new(&options, error, error_size);
	return *server != NULL;
}

void client_tls_use(struct proxy *proxy, struct tls_server *server)
{
	tls_server_free(proxy->tls);
	proxy->tls = server;
}
