/*
 * Inspect: see inspect.h. Names go as one array of what to_regclass() reads.
 */
#include "proxy/inspect.h"

#include <stdlib.h>
#include <string.h>

#include "merge/arena.h"
#include "proxy/iobuf.h"
#include "proxy/mapload.h"
#include "proxy/survey.h"
#include "proxy/wire.h"

/* A parameter that was not given has pgvector's default. */
#define PARAMETER(name, value)                                                                     \
	"coalesce((SELECT option_value FROM pg_options_to_table(c.reloptions)"                     \
	" WHERE option_name = '" name "'), '" value "')"
#define M PARAMETER("m", "16")
#define EF_CONSTRUCTION PARAMETER("ef_construction", "64")
#define LISTS PARAMETER("lists", "100")

/* Written for search_path = pg_catalog, pg_temp. */
static const char indexes_sql[] =
    "SELECT s.n - 1, a.amname, pg_get_indexdef(i.indexrelid, 1, true),"
    " coalesce(pg_get_expr(i.indpred, i.indrelid), ''), o.opcname,"
    " CASE WHEN a.amname = 'hnsw' THEN 'm=' || " M " || ', ef_construction=' || " EF_CONSTRUCTION
    " ELSE 'lists=' || " LISTS " END, i.indisvalid AND i.indisready"
    " FROM unnest($1::text[]) WITH ORDINALITY s(name, n)"
    " JOIN pg_index i ON i.indrelid = to_regclass(s.name)"
    " JOIN pg_class c ON c.oid = i.indexrelid"
    " JOIN pg_am a ON a.oid = c.relam AND a.amname IN ('hnsw', 'ivfflat')"
    " JOIN pg_opclass o ON o.oid = i.indclass[0]"
    " ORDER BY s.n, 2, 3, 4, 5, 6, i.indexrelid";

#define COLUMNS 7

struct inspect {
	struct shardmap *map;
	struct indexes *indexes;
	const struct shardmap_table *table;
	struct settings *settings;
	struct survey *survey;
	unsigned first; /* shard of the node that is being asked */
	void (*done)(void *owner, const struct indexes *indexes, const char *why);
	void *owner;
};

void inspect_free(struct inspect *inspect)
{
	if (!inspect)
		return;
	survey_free(inspect->survey);
	indexes_free(inspect->indexes);
	settings_unref(inspect->settings);
	shardmap_unref(inspect->map);
	free(inspect);
}

static struct settings *node_settings(void *owner, const struct worker_facts *facts)
{
	struct inspect *inspect = owner;

	(void)facts;
	return inspect->settings;
}

/* "name", within an array's element, which is quoted itself. */
static void put_quoted(struct iobuf *out, const char *name)
{
	wire_put_bytes(out, "\\\"", 2);
	for (; *name; name++) {
		if (*name == '"')
			wire_put_bytes(out, "\\\"\\\"", 4);
		else if (*name == '\\')
			wire_put_bytes(out, "\\\\", 2);
		else
			wire_put_bytes(out, name, 1);
	}
	wire_put_bytes(out, "\\\"", 2);
}

static void put_names(const struct shardmap_table *table, unsigned first, unsigned end,
                      struct iobuf *out)
{
	for (unsigned i = first; i < end; i++) {
		wire_put_bytes(out, i == first ? "{\"" : ",\"", 2);
		put_quoted(out, table->shards[i].schema);
		wire_put_bytes(out, ".", 1);
		put_quoted(out, table->shards[i].name);
		wire_put_bytes(out, "\"", 1);
	}
	wire_put_bytes(out, "}", 1);
}

static void put_query(void *owner, struct worker *worker, unsigned first, unsigned end)
{
	struct inspect *inspect = owner;
	struct worker_query query = {.sql = indexes_sql, .sql_len = strlen(indexes_sql)};
	struct iobuf names, parameters;

	inspect->first = first;
	indexes_set_version(inspect->indexes, first, worker_facts(worker)->vector_version);
	iobuf_init(&names);
	iobuf_init(&parameters);
	put_names(inspect->table, first, end, &names);
	wire_put_u16(&parameters, 0);
	wire_put_u16(&parameters, 1);
	wire_put_u32(&parameters, (uint32_t)iobuf_len(&names));
	wire_put_bytes(&parameters, iobuf_head(&names), iobuf_len(&names));
	query.parameters = iobuf_head(&parameters);
	query.parameters_len = iobuf_len(&parameters);
	worker_query(worker, &query);
	iobuf_fini(&parameters);
	iobuf_fini(&names);
}

static void on_row(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct inspect *inspect = owner;
	struct arena *arena = arena_new();
	const char *values[COLUMNS];
	struct wire_reader reader;
	struct wire_value value;
	bool ok = wire_read_data_row(body, len, &reader) == COLUMNS;
	unsigned shard;

	(void)id;
	for (unsigned i = 0; ok && i < COLUMNS; i++) {
		ok = wire_read_value(&reader, &value) && value.len >= 0;
		values[i] =
		    ok ? arena_strndup(arena, (const char *)value.data, (size_t)value.len) : NULL;
	}
	shard = ok ? inspect->first + (unsigned)strtoul(values[0], NULL, 10) : 0;
	if (ok && shard < inspect->table->nshards) {
		struct indexes_row row = {
		    .method = values[1],
		    .column = values[2],
		    .predicate = values[3],
		    .opclass = values[4],
		    .parameters = values[5],
		    .valid = values[6][0] == 't',
		};

		indexes_add(inspect->indexes, shard, &row);
	}
	arena_free(arena);
}

static void on_surveyed(void *owner, const char *failure, const char *sqlstate)
{
	struct inspect *inspect = owner;

	(void)sqlstate;
	inspect->survey = NULL;
	inspect->done(inspect->owner, failure ? NULL : inspect->indexes, failure);
	inspect_free(inspect);
}

/* Citus hides shards from pg_class otherwise; elsewhere the setting means nothing. */
static struct settings *make_settings(void)
{
	struct settings *of_map = mapload_settings(), *settings = settings_copy(of_map);

	settings_unref(of_map);
	settings_put(settings, "citus.override_table_visibility", "off");
	settings_seal(settings);
	return settings;
}

struct inspect *inspect_start(
    struct proxy *proxy, struct shardmap *map, const struct shardmap_table *table, const char *user,
    const char *database, void (*done)(void *owner, const struct indexes *indexes, const char *why),
    void *owner)
{
	struct inspect *inspect = calloc(1, sizeof(*inspect));
	struct survey_request request = {
	    .map = map,
	    .table = table,
	    .end = table->nshards,
	    .user = user,
	    .database = database,
	    .settings = node_settings,
	    .put = put_query,
	    .row = on_row,
	    .done = on_surveyed,
	    .owner = inspect,
	};

	if (!inspect)
		abort();
	inspect->map = shardmap_ref(map);
	inspect->table = table;
	inspect->indexes = indexes_new(map, table);
	inspect->settings = make_settings();
	inspect->done = done;
	inspect->owner = owner;
	inspect->survey = survey_start(proxy, &request);
	return inspect;
}
