/*
 * Indexes: see indexes.h. Indexes of the same method, column and predicate are the
 * same one on each shard; where a shard has several of these, by operator class too.
 */
#include "proxy/indexes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/arena.h"

#define NAMED_MAX 3 /* shards named in one warning */
#define WARNING_MAX 600

struct entry {
	struct indexes_row row;
	unsigned shard;
	struct entry *next; /* in the order of coming */
};

struct indexes {
	struct arena *arena;
	const struct shardmap *map;
	const struct shardmap_table *table;
	struct entry *first, **last;
	int *versions; /* per node; -1: not told */
};

struct text {
	char data[WARNING_MAX];
	size_t len;
};

struct indexes *indexes_new(const struct shardmap *map, const struct shardmap_table *table)
{
	struct arena *arena = arena_new();
	struct indexes *indexes = arena_calloc(arena, 1, sizeof(*indexes));
	unsigned nodes = shardmap_node_count(map);

	indexes->arena = arena;
	indexes->map = map;
	indexes->table = table;
	indexes->last = &indexes->first;
	indexes->versions = arena_calloc(arena, nodes + 1, sizeof(*indexes->versions));
	for (unsigned i = 0; i < nodes; i++)
		indexes->versions[i] = -1;
	return indexes;
}

void indexes_free(struct indexes *indexes)
{
	if (indexes)
		arena_free(indexes->arena);
}

void indexes_set_version(struct indexes *indexes, unsigned shard, int version)
{
	indexes->versions[indexes->table->shards[shard].node] = version;
}

void indexes_add(struct indexes *indexes, unsigned shard, const struct indexes_row *row)
{
	struct entry *entry = arena_calloc(indexes->arena, 1, sizeof(*entry));

	entry->shard = shard;
	entry->row.method = arena_strdup(indexes->arena, row->method);
	entry->row.column = arena_strdup(indexes->arena, row->column);
	entry->row.predicate = arena_strdup(indexes->arena, row->predicate);
	entry->row.opclass = arena_strdup(indexes->arena, row->opclass);
	entry->row.parameters = arena_strdup(indexes->arena, row->parameters);
	entry->row.valid = row->valid;
	*indexes->last = entry;
	indexes->last = &entry->next;
}

/* ---- texts ---- */

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
	size_t room = sizeof(text->data) - text->len;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text->data + text->len, room, format, args);
	va_end(args);
	text->len += (size_t)len < room ? (size_t)len : room - 1;
}

static void add_node(struct text *text, const struct shardmap_node *node)
{
	if (node->coordinator)
		add(text, "the coordinator");
	else
		add(text, "%s:%d", node->host, node->port);
}

/* Names the shards for which `is` holds: the first few, and how many more. */
static unsigned add_shards(struct text *text, const struct indexes *indexes, const bool *is)
{
	unsigned count = 0;

	for (unsigned i = 0; i < indexes->table->nshards; i++) {
		const struct shardmap_shard *shard = &indexes->table->shards[i];

		if (!is[i] || count++ >= NAMED_MAX)
			continue;
		add(text, "%s%s.%s on ", count > 1 ? ", " : "", shard->schema, shard->name);
		add_node(text, shardmap_node(indexes->map, shard->node));
	}
	if (count > NAMED_MAX)
		add(text, " and %u more", count - NAMED_MAX);
	return count;
}

/* ---- which are the same ---- */

static bool same_place(const struct indexes_row *a, const struct indexes_row *b)
{
	return strcmp(a->method, b->method) == 0 && strcmp(a->column, b->column) == 0 &&
	       strcmp(a->predicate, b->predicate) == 0;
}

/* A shard has two at this place whose operator classes differ. */
static bool by_opclass(const struct indexes *indexes, const struct indexes_row *row)
{
	for (const struct entry *a = indexes->first; a; a = a->next)
		for (const struct entry *b = a->next; b && same_place(&a->row, row); b = b->next)
			if (a->shard == b->shard && same_place(&b->row, row) &&
			    strcmp(a->row.opclass, b->row.opclass) != 0)
				return true;
	return false;
}

static bool is_same(const struct indexes_row *a, const struct indexes_row *b, bool opclass)
{
	return same_place(a, b) && (!opclass || strcmp(a->opclass, b->opclass) == 0);
}

static bool is_alike(const struct indexes_row *a, const struct indexes_row *b)
{
	return strcmp(a->opclass, b->opclass) == 0 && strcmp(a->parameters, b->parameters) == 0;
}

/* What a shard has of one index. */
struct found {
	bool *none, *invalid;
	const struct indexes_row **best; /* a valid one rather than another */
};

static void find(const struct indexes *indexes, const struct indexes_row *row, bool opclass,
                 struct found *found)
{
	unsigned nshards = indexes->table->nshards;

	memset(found->best, 0, nshards * sizeof(*found->best));
	for (const struct entry *entry = indexes->first; entry; entry = entry->next) {
		const struct indexes_row **best = &found->best[entry->shard];

		if (is_same(&entry->row, row, opclass) && (!*best || !(*best)->valid))
			*best = &entry->row;
	}
	for (unsigned i = 0; i < nshards; i++) {
		found->none[i] = !found->best[i];
		found->invalid[i] = found->best[i] && !found->best[i]->valid;
	}
}

/* ---- what is wrong ---- */

struct judge {
	const struct indexes *indexes;
	void (*warn)(void *owner, const char *text);
	void *owner;
};

static void add_index(struct text *text, const struct indexes_row *row, bool opclass)
{
	add(text, "%s%s (%s%s%s)", *row->predicate ? "partial " : "", row->method, row->column,
	    opclass ? " " : "", opclass ? row->opclass : "");
}

static void judge_shards(const struct judge *judge, const struct indexes_row *row, bool opclass,
                         const bool *is, const char *what)
{
	const struct indexes *indexes = judge->indexes;
	struct text shards = {.len = 0}, text = {.len = 0};
	unsigned count = add_shards(&shards, indexes, is);

	if (count == 0)
		return;
	add(&text, "%u of %u shards %s %s ", count, indexes->table->nshards,
	    count == 1 ? "has" : "have", what);
	add_index(&text, row, opclass);
	add(&text, " and %s scanned sequentially: %s", count == 1 ? "is" : "are", shards.data);
	judge->warn(judge->owner, text.data);
}

/* Each kind of parameters with the shards that have it. */
static void judge_parameters(const struct judge *judge, const struct indexes_row *row, bool opclass,
                             const struct found *found)
{
	const struct indexes *indexes = judge->indexes;
	unsigned nshards = indexes->table->nshards, kinds = 0;
	struct text text = {.len = 0};
	bool *is = calloc(nshards, sizeof(*is)), *done = calloc(nshards, sizeof(*done));

	if (!is || !done)
		abort();
	add(&text, "the index ");
	add_index(&text, row, opclass);
	add(&text, " is not the same on all shards:");
	for (unsigned i = 0; i < nshards; i++) {
		const struct indexes_row *kind = found->best[i];

		if (!kind || done[i])
			continue;
		for (unsigned j = 0; j < nshards; j++) {
			is[j] = found->best[j] && is_alike(found->best[j], kind);
			done[j] |= is[j];
		}
		add(&text, "%s %s%s%s on ", kinds++ ? ";" : "", opclass ? "" : kind->opclass,
		    opclass ? "" : ", ", kind->parameters);
		add_shards(&text, indexes, is);
	}
	if (kinds > 1)
		judge->warn(judge->owner, text.data);
	free(is);
	free(done);
}

static void judge_index(const struct judge *judge, const struct indexes_row *row, bool opclass,
                        struct found *found)
{
	find(judge->indexes, row, opclass, found);
	judge_shards(judge, row, opclass, found->none, "no index");
	judge_shards(judge, row, opclass, found->invalid, "an invalid index");
	judge_parameters(judge, row, opclass, found);
}

/* Every index once, by the first shard that has it. */
static void judge_indexes(const struct judge *judge)
{
	unsigned nshards = judge->indexes->table->nshards;
	struct arena *arena = arena_new();
	struct found found = {
	    .none = arena_calloc(arena, nshards, sizeof(bool)),
	    .invalid = arena_calloc(arena, nshards, sizeof(bool)),
	    .best = arena_calloc(arena, nshards, sizeof(struct indexes_row *)),
	};

	for (const struct entry *entry = judge->indexes->first; entry; entry = entry->next) {
		bool opclass = by_opclass(judge->indexes, &entry->row);
		const struct entry *before = judge->indexes->first;

		while (before != entry && !is_same(&before->row, &entry->row, opclass))
			before = before->next;
		if (before == entry)
			judge_index(judge, &entry->row, opclass, &found);
	}
	arena_free(arena);
}

static void judge_versions(const struct judge *judge)
{
	const struct indexes *indexes = judge->indexes;
	struct text text = {.len = 0};
	int first = -1;
	bool differ = false;

	add(&text, "pgvector is not the same on all nodes:");
	for (unsigned i = 0; i < shardmap_node_count(indexes->map); i++) {
		int version = indexes->versions[i];

		if (version < 0)
			continue;
		add(&text, "%s %d.%d.%d on ", first < 0 ? "" : ",", version / 10000,
		    version / 100 % 100, version % 100);
		add_node(&text, shardmap_node(indexes->map, i));
		differ |= first >= 0 && version != first;
		first = version;
	}
	if (differ)
		judge->warn(judge->owner, text.data);
}

void indexes_judge(const struct indexes *indexes, void (*warn)(void *owner, const char *text),
                   void *owner)
{
	struct judge judge = {.indexes = indexes, .warn = warn, .owner = owner};

	judge_versions(&judge);
	judge_indexes(&judge);
}
