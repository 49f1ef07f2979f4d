/*
 * Keyring: see keyring.h.
 */
#include "proxy/keyring.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct key {
	struct scram_keys keys;
	UT_hash_handle hh;
	char user[];
};

struct keyring {
	struct key *by_user;
};

struct keyring *keyring_new(void)
{
	struct keyring *keyring = calloc(1, sizeof(*keyring));

	if (!keyring)
		abort();
	return keyring;
}

void keyring_free(struct keyring *keyring)
{
	struct key *key, *next;

	if (!keyring)
		return;
	HASH_ITER (hh, keyring->by_user, key, next) {
		HASH_DELETE(hh, keyring->by_user, key);
		scram_keys_wipe(&key->keys);
		free(key);
	}
	free(keyring);
}

void keyring_put(struct keyring *keyring, const char *user, const struct scram_keys *keys)
{
	size_t len = strlen(user);
	struct key *key;

	HASH_FIND(hh, keyring->by_user, user, len, key);
	if (!key) {
		key = calloc(1, sizeof(*key) + len + 1);
		if (!key)
			abort();
		memcpy(key->user, user, len + 1);
		HASH_ADD_KEYPTR(hh, keyring->by_user, key->user, len, key);
	}
	key->keys = *keys;
}

const struct scram_keys *keyring_get(const struct keyring *keyring, const char *user)
{
	struct key *key;

	HASH_FIND(hh, keyring->by_user, user, strlen(user), key);
	return key ? &key->keys : NULL;
}
