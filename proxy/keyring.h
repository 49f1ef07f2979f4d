/*
 * Keyring: the SCRAM keys of users that the coordinator has let in, recovered from
 * their proofs (proxy/login.h); worker connections log in with them. The newest
 * login's keys count. Kept in memory only, wiped when replaced or freed.
 */
#ifndef PROXY_KEYRING_H
#define PROXY_KEYRING_H

#include "proxy/scram.h"

struct keyring;

struct keyring *keyring_new(void);
void keyring_free(struct keyring *keyring); /* NULL is allowed */

void keyring_put(struct keyring *keyring, const char *user, const struct scram_keys *keys);
/* NULL: none are known. Valid until the next keyring_put(). */
const struct scram_keys *keyring_get(const struct keyring *keyring, const char *user);

#endif
