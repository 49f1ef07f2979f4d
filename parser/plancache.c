/*
 * Plan cache: entries of both kinds in one list, most recently used first. A
 * plan's key holds its query by address; the entry's reference to the query
 * keeps that address from being used again.
 */
#include "parser/plancache.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Statements carry long literals; uthash's own function goes byte by byte. */
static unsigned hash_bytes(const void *data, size_t len)
{
	const unsigned char *at = data;
	uint64_t hash = 0x9e3779b97f4a7c15u ^ len;
	uint64_t word;

	for (; len >= sizeof(word); len -= sizeof(word), at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		hash = (hash ^ word) * 0xff51afd7ed558ccdu;
		hash ^= hash >> 32;
	}
	word = 0;
	memcpy(&word, at, len);
	hash = (hash ^ word) * 0xc4ceb9fe1a85ec53u;
	return (unsigned)(hash ^ (hash >> 32));
}

#define HASH_FUNCTION(key, len, hash) ((hash) = hash_bytes(key, len))
#include <uthash.h>
#include <utlist.h>

struct plan_id {
	const struct query *query;
	uint64_t generation;
	uint32_t database;
	uint32_t table;
};

struct entry {
	UT_hash_handle hh;
	struct entry *prev, *next;
	size_t bytes;
	enum refusal refusal;
	struct query *query; /* of a text: its own, NULL if refused; of a plan: the key's */
	struct plan *plan;
	struct plan_id id;
	char *text; /* NULL: a plan */
};

struct plancache {
	struct entry *texts;
	struct entry *plans;
	struct entry *recent; /* list of all; the oldest is recent->prev */
	size_t max_entries;
	size_t max_bytes;
	struct plancache_stats stats;
};

struct plancache *plancache_new(size_t max_entries, size_t max_bytes)
{
	struct plancache *cache = calloc(1, sizeof(*cache));

	if (cache == NULL)
		abort();
	cache->max_entries = max_entries;
	cache->max_bytes = max_bytes;
	return cache;
}

static void entry_free(struct entry *entry)
{
	query_unref(entry->query);
	plan_unref(entry->plan);
	free(entry->text);
	free(entry);
}

static void drop(struct plancache *cache, struct entry *entry)
{
	DL_DELETE(cache->recent, entry);
	if (entry->text != NULL)
		HASH_DEL(cache->texts, entry);
	else
		HASH_DEL(cache->plans, entry);
	assert(cache->stats.entries > 0 && cache->stats.bytes >= entry->bytes);
	cache->stats.entries--;
	cache->stats.bytes -= entry->bytes;
	entry_free(entry);
}

void plancache_free(struct plancache *cache)
{
	if (cache == NULL)
		return;
	while (cache->recent != NULL)
		drop(cache, cache->recent);
	assert(cache->stats.bytes == 0);
	free(cache);
}

/* Makes room; false if the entry is too large to be worth it. */
static bool admit(struct plancache *cache, size_t bytes)
{
	if (cache->max_entries == 0 || bytes > cache->max_bytes / 8)
		return false;
	while (cache->stats.entries >= cache->max_entries ||
	       cache->stats.bytes > cache->max_bytes - bytes) {
		drop(cache, cache->recent->prev);
		cache->stats.evictions++;
	}
	return true;
}

static struct entry *entry_new(struct plancache *cache, size_t bytes)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (entry == NULL)
		abort();
	entry->bytes = bytes;
	cache->stats.entries++;
	cache->stats.bytes += bytes;
	DL_PREPEND(cache->recent, entry);
	return entry;
}

static void touch(struct plancache *cache, struct entry *entry)
{
	cache->stats.hits++;
	if (cache->recent == entry)
		return;
	DL_DELETE(cache->recent, entry);
	DL_PREPEND(cache->recent, entry);
}

static void keep_text(struct plancache *cache, const char *sql, size_t len, enum refusal refusal,
                      struct query *query)
{
	size_t bytes = sizeof(struct entry) + len + (query == NULL ? 0 : query_size(query));
	struct entry *entry;

	if (!admit(cache, bytes))
		return;
	entry = entry_new(cache, bytes);
	entry->refusal = refusal;
	entry->query = query == NULL ? NULL : query_ref(query);
	entry->text = malloc(len + 1);
	if (entry->text == NULL)
		abort();
	memcpy(entry->text, sql, len);
	entry->text[len] = '\0';
	HASH_ADD_KEYPTR(hh, cache->texts, entry->text, len, entry);
}

enum refusal plancache_query(struct plancache *cache, const char *sql, size_t len,
                             struct query **query)
{
	struct entry *entry;
	enum refusal refusal;

	HASH_FIND(hh, cache->texts, sql, len, entry);
	if (entry != NULL) {
		touch(cache, entry);
		*query = entry->query == NULL ? NULL : query_ref(entry->query);
		return entry->refusal;
	}
	cache->stats.misses++;
	refusal = query_parse(sql, len, query);
	keep_text(cache, sql, len, refusal, *query);
	return refusal;
}

static void keep_plan(struct plancache *cache, const struct plan_id *id, struct query *query,
                      enum refusal refusal, struct plan *plan)
{
	size_t bytes = sizeof(struct entry) + (plan == NULL ? 0 : plan_size(plan));
	struct entry *entry;

	if (!admit(cache, bytes))
		return;
	entry = entry_new(cache, bytes);
	entry->refusal = refusal;
	entry->query = query_ref(query);
	entry->plan = plan == NULL ? NULL : plan_ref(plan);
	entry->id = *id;
	HASH_ADD(hh, cache->plans, id, sizeof(entry->id), entry);
}

enum refusal plancache_plan(struct plancache *cache, struct query *query, uint32_t database,
                            const struct shardmap *map, const struct shardmap_table *table,
                            struct plan **plan)
{
	struct plan_id id;
	struct entry *entry;
	enum refusal refusal;

	memset(&id, 0, sizeof(id)); /* compared as bytes */
	id.query = query;
	id.generation = shardmap_generation(map);
	id.database = database;
	id.table = table->oid;
	HASH_FIND(hh, cache->plans, &id, sizeof(id), entry);
	if (entry != NULL) {
		touch(cache, entry);
		*plan = entry->plan == NULL ? NULL : plan_ref(entry->plan);
		return entry->refusal;
	}
	cache->stats.misses++;
	refusal = plan_new(query, map, table, plan);
	keep_plan(cache, &id, query, refusal, *plan);
	return refusal;
}

void plancache_forget(struct plancache *cache, uint32_t database)
{
	struct entry *next = NULL;

	for (struct entry *entry = cache->recent; entry != NULL; entry = next) {
		next = entry->next;
		if (entry->text == NULL && entry->id.database == database)
			drop(cache, entry);
	}
}

struct plancache_stats plancache_stats(const struct plancache *cache)
{
	return cache->stats;
}
