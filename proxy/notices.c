/*
 * Notices: see notices.h. A table's warnings have an edition, a number that no other
 * warnings ever had; it changes only when their texts do.
 */
#include "proxy/notices.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "proxy/config.h"
#include "proxy/inspect.h"
#include "proxy/session.h"

#define TABLES_MAX 1000

struct key {
	uint32_t catalog;
	uint32_t table;
};

struct watched {
	struct key key;
	struct notices *notices;
	char *name;     /* schema.table */
	char *database; /* for the log */
	uint64_t generation;
	struct inspect *inspect; /* NULL: not under way */
	struct iobuf texts;      /* each with its NUL */
	uint64_t edition;
	UT_hash_handle hh;
};

struct notices {
	struct proxy *proxy;
	struct watched *tables; /* in the order of coming */
	uint64_t last_edition;
};

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

void notices_told_fini(struct notices_told *told)
{
	free(told->editions);
	memset(told, 0, sizeof(*told));
}

struct notices *notices_new(struct proxy *proxy)
{
	struct notices *notices = must(calloc(1, sizeof(*notices)));

	notices->proxy = proxy;
	return notices;
}

static void forget(struct notices *notices, struct watched *watched)
{
	HASH_DEL(notices->tables, watched);
	inspect_free(watched->inspect);
	iobuf_fini(&watched->texts);
	free(watched->name);
	free(watched->database);
	free(watched);
}

void notices_free(struct notices *notices)
{
	struct watched *watched, *next;

	if (!notices)
		return;
	HASH_ITER (hh, notices->tables, watched, next)
		forget(notices, watched);
	free(notices);
}

/* ---- inspecting ---- */

static void add_text(void *owner, const char *text)
{
	iobuf_append(owner, text, strlen(text) + 1);
}

static const char *next_text(const struct iobuf *texts, const char *text)
{
	const char *end = (const char *)iobuf_head(texts) + iobuf_len(texts);

	text = text ? text + strlen(text) + 1 : (const char *)iobuf_head(texts);
	return text == end ? NULL : text;
}

static void log_texts(const struct watched *watched)
{
	const char *text = NULL;

	while ((text = next_text(&watched->texts, text)) != NULL)
		log_event(watched->notices->proxy->log, LOG_WARNING, "table_warning",
		          "database=%s table=%s text=%s", log_quote(watched->database),
		          log_quote(watched->name), log_quote(text));
}

static void on_inspected(void *owner, const struct indexes *indexes, const char *why)
{
	struct watched *watched = owner;
	struct iobuf texts;

	watched->inspect = NULL;
	if (!indexes) {
		log_event(watched->notices->proxy->log, LOG_DEBUG, "inspect_failed",
		          "database=%s table=%s why=%s", log_quote(watched->database),
		          log_quote(watched->name), log_quote(why));
		return;
	}
	log_event(watched->notices->proxy->log, LOG_DEBUG, "inspected", "database=%s table=%s",
	          log_quote(watched->database), log_quote(watched->name));
	iobuf_init(&texts);
	indexes_judge(indexes, add_text, &texts);
	if (iobuf_len(&texts) == iobuf_len(&watched->texts) &&
	    (iobuf_len(&texts) == 0 ||
	     memcmp(iobuf_head(&texts), iobuf_head(&watched->texts), iobuf_len(&texts)) == 0)) {
		iobuf_fini(&texts);
		return;
	}
	iobuf_fini(&watched->texts);
	watched->texts = texts;
	watched->edition = ++watched->notices->last_edition;
	log_texts(watched);
}

static struct watched *watch(struct notices *notices, const struct session *session)
{
	const struct shardmap_table *table = session->route.table;
	struct key key = {catalog_id(session->route.catalog), table->oid};
	size_t size = strlen(table->schema) + strlen(table->name) + 2;
	struct watched *watched;

	HASH_FIND(hh, notices->tables, &key, sizeof(key), watched);
	if (watched)
		return watched;
	if (HASH_COUNT(notices->tables) >= TABLES_MAX)
		forget(notices, notices->tables);
	watched = must(calloc(1, sizeof(*watched)));
	watched->key = key;
	watched->notices = notices;
	watched->name = must(malloc(size));
	snprintf(watched->name, size, "%s.%s", table->schema, table->name);
	watched->database = must(strdup(session->database));
	iobuf_init(&watched->texts);
	HASH_ADD(hh, notices->tables, key, sizeof(watched->key), watched);
	return watched;
}

/* ---- telling ---- */

static bool was_told(const struct notices_told *told, uint64_t edition)
{
	for (unsigned i = 0; i < told->count; i++)
		if (told->editions[i] == edition)
			return true;
	return false;
}

static void note_told(struct notices_told *told, uint64_t edition)
{
	if (told->count == TABLES_MAX)
		told->count = 0;
	told->editions = must(realloc(told->editions, (told->count + 1) * sizeof(*told->editions)));
	told->editions[told->count++] = edition;
}

static bool wants(const struct session *session)
{
	const char *value = facts_value(session->facts, "pgtopk.notices");
	bool on;

	return value && config_parse_bool(value, &on) ? on : session->proxy->config->notices;
}

static void tell(struct session *session, const struct watched *watched)
{
	struct wire_error notice = {.severity = "WARNING", .sqlstate = "01000"};
	const char *text = NULL;
	char message[1024];

	if (iobuf_len(&watched->texts) == 0 || !wants(session) ||
	    was_told(&session->told_notices, watched->edition))
		return;
	while ((text = next_text(&watched->texts, text)) != NULL) {
		snprintf(message, sizeof(message), "table \"%s\": %s", watched->name, text);
		notice.message = message;
		wire_put_error(&session->client.out, WIRE_BE_NoticeResponse, &notice);
	}
	note_told(&session->told_notices, watched->edition);
}

void notices_routed(struct session *session)
{
	struct notices *notices = session->proxy->notices;
	const struct route *route = &session->route;
	struct watched *watched = watch(notices, session);

	tell(session, watched);
	if (watched->inspect || watched->generation == shardmap_generation(route->map))
		return;
	watched->generation = shardmap_generation(route->map);
	if (route->table->nshards > 0)
		watched->inspect =
		    inspect_start(notices->proxy, route->map, route->table, session->user,
		                  session->database, on_inspected, watched);
}
