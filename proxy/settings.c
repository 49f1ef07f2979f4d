/*
 * Settings: see settings.h. A sorted array: sets are small (two dozen names),
 * made once and then compared for every query, mostly with an equal one.
 * Names are those of PostgreSQL settings, which know no upper and lower case.
 */
#include "proxy/settings.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/wire.h"

struct setting {
	char *name;
	char *value;
};

struct settings {
	unsigned refs;
	bool sealed;
	uint64_t hash; /* of all names and values; once sealed */
	unsigned count;
	unsigned cap;
	struct setting *items;
	const char *const *extracted; /* the names asked for by settings_values() */
	struct iobuf extract;
};

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

static int fold(char c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : (unsigned char)c;
}

/* As PostgreSQL compares them: in ASCII, whatever the locale. */
static int compare_names(const char *a, const char *b)
{
	while (*a && fold(*a) == fold(*b)) {
		a++;
		b++;
	}
	return fold(*a) - fold(*b);
}

static int compare_settings(const void *a, const void *b)
{
	return compare_names(((const struct setting *)a)->name, ((const struct setting *)b)->name);
}

struct settings *settings_new(void)
{
	struct settings *settings = must(calloc(1, sizeof(*settings)));

	settings->refs = 1;
	iobuf_init(&settings->extract);
	return settings;
}

static struct setting *find(const struct settings *settings, const char *name)
{
	unsigned low = 0, high = settings->count;

	for (unsigned i = 0; !settings->sealed && i < settings->count; i++)
		if (compare_names(settings->items[i].name, name) == 0)
			return &settings->items[i];
	while (settings->sealed && low < high) {
		unsigned middle = (low + high) / 2;
		int order = compare_names(settings->items[middle].name, name);

		if (order == 0)
			return &settings->items[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

void settings_put(struct settings *settings, const char *name, const char *value)
{
	struct setting *item = find(settings, name);

	assert(!settings->sealed && name[0]);
	if (item) {
		char *copy = must(strdup(value));

		free(item->value);
		item->value = copy;
		return;
	}
	if (settings->count == settings->cap) {
		settings->cap = settings->cap ? 2 * settings->cap : 16;
		settings->items =
		    must(realloc(settings->items, settings->cap * sizeof(*settings->items)));
	}
	item = &settings->items[settings->count++];
	item->name = must(strdup(name));
	item->value = must(strdup(value));
}

void settings_put_int(struct settings *settings, const char *name, int64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, value);
	settings_put(settings, name, text);
}

static uint64_t hash_text(uint64_t hash, const char *text, bool folded)
{
	for (;; text++) { /* FNV-1a, the NUL included */
		hash = (hash ^ (uint64_t)(folded ? fold(*text) : (unsigned char)*text)) *
		       0x100000001b3u;
		if (!*text)
			return hash;
	}
}

void settings_seal(struct settings *settings)
{
	assert(!settings->sealed);
	if (settings->count > 1)
		qsort(settings->items, settings->count, sizeof(*settings->items), compare_settings);
	settings->hash = 0xcbf29ce484222325u;
	for (unsigned i = 0; i < settings->count; i++) {
		settings->hash = hash_text(settings->hash, settings->items[i].name, true);
		settings->hash = hash_text(settings->hash, settings->items[i].value, false);
	}
	settings->sealed = true;
}

struct settings *settings_copy(const struct settings *settings)
{
	struct settings *copy = settings_new();

	copy->cap = settings->count + 8;
	copy->items = must(malloc(copy->cap * sizeof(*copy->items)));
	copy->count = settings->count;
	for (unsigned i = 0; i < copy->count; i++) {
		copy->items[i].name = must(strdup(settings->items[i].name));
		copy->items[i].value = must(strdup(settings->items[i].value));
	}
	return copy;
}

struct settings *settings_ref(struct settings *settings)
{
	settings->refs++;
	return settings;
}

void settings_unref(struct settings *settings)
{
	if (!settings)
		return;
	assert(settings->refs > 0);
	if (--settings->refs > 0)
		return;
	for (unsigned i = 0; i < settings->count; i++) {
		free(settings->items[i].name);
		free(settings->items[i].value);
	}
	iobuf_fini(&settings->extract);
	free(settings->items);
	free(settings);
}

const char *settings_values(struct settings *settings, const char *const *names, size_t count,
                            size_t *len)
{
	assert(settings->sealed && (!settings->extracted || settings->extracted == names));
	for (size_t i = 0; !settings->extracted && i < count; i++) {
		const char *value = settings_get(settings, names[i]);

		wire_put_string(&settings->extract, value ? value : "");
	}
	settings->extracted = names;
	*len = iobuf_len(&settings->extract);
	return (const char *)iobuf_head(&settings->extract);
}

const char *settings_get(const struct settings *settings, const char *name)
{
	const struct setting *item = find(settings, name);

	return item ? item->value : NULL;
}

unsigned settings_count(const struct settings *settings)
{
	return settings->count;
}

const char *settings_name(const struct settings *settings, unsigned i)
{
	assert(settings->sealed && i < settings->count);
	return settings->items[i].name;
}

const char *settings_value(const struct settings *settings, unsigned i)
{
	assert(settings->sealed && i < settings->count);
	return settings->items[i].value;
}

bool settings_equal(const struct settings *a, const struct settings *b)
{
	assert(a->sealed && b->sealed);
	if (a == b)
		return true;
	if (a->hash != b->hash || a->count != b->count)
		return false;
	for (unsigned i = 0; i < a->count; i++)
		if (compare_names(a->items[i].name, b->items[i].name) != 0 ||
		    strcmp(a->items[i].value, b->items[i].value) != 0)
			return false;
	return true;
}

void settings_diff(const struct settings *applied, const struct settings *wanted,
                   void (*fn)(void *owner, const char *name, const char *value), void *owner)
{
	unsigned at = 0;

	assert(wanted->sealed && (!applied || applied->sealed));
	for (unsigned i = 0; i < wanted->count; i++) {
		const struct setting *want = &wanted->items[i];
		int order = 1;

		while (applied && at < applied->count &&
		       (order = compare_names(applied->items[at].name, want->name)) < 0)
			at++;
		if (!applied || at == applied->count || order != 0 ||
		    strcmp(applied->items[at].value, want->value) != 0)
			fn(owner, want->name, want->value);
	}
}

struct change {
	unsigned count;
	struct iobuf *sql;
	struct iobuf values;
};

static void put_value(struct iobuf *values, const char *text)
{
	size_t len = strlen(text);

	wire_put_u32(values, (uint32_t)len);
	wire_put_bytes(values, text, len);
}

static void add_change(void *owner, const char *name, const char *value)
{
	struct change *change = owner;
	char text[80];
	int len =
	    snprintf(text, sizeof(text), "%s pg_catalog.set_config($%u,$%u,false)",
	             change->count ? "," : "SELECT", 2 * change->count + 1, 2 * change->count + 2);

	assert(len > 0 && (size_t)len < sizeof(text));
	iobuf_append(change->sql, text, (size_t)len);
	put_value(&change->values, name);
	put_value(&change->values, value);
	change->count++;
}

bool settings_change(const struct settings *applied, const struct settings *wanted,
                     struct iobuf *sql, struct iobuf *parameters)
{
	struct change change = {.sql = sql};

	iobuf_init(&change.values);
	settings_diff(applied, wanted, add_change, &change);
	assert(change.count <= 32767);
	if (change.count > 0) {
		wire_put_u16(parameters, 0); /* all text */
		wire_put_u16(parameters, (uint16_t)(2 * change.count));
		wire_put_bytes(parameters, iobuf_head(&change.values), iobuf_len(&change.values));
	}
	iobuf_fini(&change.values);
	return change.count > 0;
}
