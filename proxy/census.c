/*
 * Census: see census.h.
 */
#include "proxy/census.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct census_entry {
	unsigned count;
	UT_hash_handle hh;
	char name[];
};

struct census {
	struct census_entry *by_name;
};

struct census *census_new(void)
{
	struct census *census = calloc(1, sizeof(*census));

	if (!census)
		abort();
	return census;
}

void census_free(struct census *census)
{
	if (!census)
		return;
	assert(!census->by_name);
	free(census);
}

struct census_entry *census_enter(struct census *census, const char *name)
{
	size_t len = strlen(name);
	struct census_entry *entry;

	HASH_FIND(hh, census->by_name, name, len, entry);
	if (!entry) {
		entry = calloc(1, sizeof(*entry) + len + 1);
		if (!entry)
			abort();
		memcpy(entry->name, name, len + 1);
		HASH_ADD_KEYPTR(hh, census->by_name, entry->name, len, entry);
	}
	entry->count++;
	return entry;
}

unsigned census_count(const struct census_entry *entry)
{
	return entry->count;
}

bool census_leave(struct census *census, struct census_entry *entry)
{
	if (!entry || --entry->count > 0)
		return false;
	HASH_DELETE(hh, census->by_name, entry);
	free(entry);
	return true;
}
