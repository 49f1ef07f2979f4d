/*
 * Mapload: see mapload.h.
 *
 * Four pipelines, each needing what the one before has found: extensions; the
 * tables; their columns and parts, functions and operators; their checks. The
 * second begins the transaction, the last one ends it. A table dropped at the
 * wrong moment can make a statement fail, so a load that failed is tried again
 * once on the same terms.
 */
#include "proxy/mapload.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "proxy/catalog_sql.h"
#include "proxy/citus.h"
#include "proxy/iobuf.h"
#include "proxy/partitions.h"
#include "proxy/settings.h"
#include "proxy/wire.h"
#include "proxy/worker.h"

#define MAX_VALUES 24
#define MAX_TRIES 2
#define BIT_OID 1560

/* Which statement a row or an error belongs to. */
enum question {
	ASK_NOTHING,
	ASK_EXTENSIONS,
	ASK_TABLES,
	ASK_COLUMNS,
	ASK_PARTS,
	ASK_FUNCTIONS,
	ASK_OPERATORS,
	ASK_CHECK, /* and on: one per table */
};

enum phase { PHASE_EXTENSIONS, PHASE_TABLES, PHASE_DETAILS, PHASE_CHECKS };

struct table {
	struct provider_table part;
	uint32_t oid;
	unsigned number;
	UT_hash_handle hh;
};

struct mapload {
	struct pool *pool;
	uint64_t generation;
	void (*done)(void *owner, struct mapload_result *result);
	void *owner;

	struct pool_waiter waiter;
	struct worker *worker;
	enum phase phase;
	unsigned tries;
	bool malformed;
	char error[256];

	const struct provider *provider;
	char *schema;      /* pgvector's */
	uint32_t types[3]; /* vector, halfvec, sparsevec */
	struct shardmap *map;
	struct table *tables; /* in the order of their rows */
	unsigned ntables;
	struct table *part_of; /* whose parts are coming */
	struct mapload_check *checks;
	struct iobuf scratch; /* a row's values, each with a NUL */
};

static const char *const type_names[3] = {"vector", "halfvec", "sparsevec"};

static void run_phase(struct mapload *load);
static void take_worker(struct mapload *load);

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

/* ---- arrays in text form ---- */

static void list_add(struct iobuf *list, int64_t number)
{
	char text[24];
	int len = snprintf(text, sizeof(text), ",%" PRId64, number);

	iobuf_append(list, text, (size_t)len);
}

void provider_list_add(struct provider_table *table, unsigned list, int64_t number)
{
	list_add(&table->lists[list], number);
}

static void put_list(struct iobuf *parameters, const struct iobuf *list)
{
	size_t len = iobuf_len(list);

	wire_put_u32(parameters, (uint32_t)(len ? len + 1 : 2));
	wire_put_u8(parameters, '{');
	if (len)
		wire_put_bytes(parameters, iobuf_head(list) + 1, len - 1);
	wire_put_u8(parameters, '}');
}

static void begin_parameters(struct iobuf *parameters, unsigned count)
{
	iobuf_init(parameters);
	wire_put_u16(parameters, 0); /* all text */
	wire_put_u16(parameters, (uint16_t)count);
}

/* ---- the end ---- */

void mapload_checks_free(struct mapload_check *checks, unsigned nchecks)
{
	for (unsigned i = 0; i < nchecks; i++) {
		free(checks[i].parameters);
		free(checks[i].answer);
	}
	free(checks);
}

/* Forgets what was found; the load may start again. */
static void reset(struct mapload *load)
{
	struct table *table, *next;

	HASH_ITER (hh, load->tables, table, next) {
		HASH_DEL(load->tables, table);
		iobuf_fini(&table->part.lists[0]);
		iobuf_fini(&table->part.lists[1]);
		free(table);
	}
	mapload_checks_free(load->checks, load->checks ? load->ntables : 0);
	load->checks = NULL;
	load->ntables = 0;
	load->part_of = NULL;
	shardmap_unref(load->map);
	load->map = NULL;
	free(load->schema);
	load->schema = NULL;
	memset(load->types, 0, sizeof(load->types));
	load->malformed = false;
}

void mapload_free(struct mapload *load)
{
	if (!load)
		return;
	pool_cancel(&load->waiter);
	if (load->worker) /* in the midst of something: the pool closes it */
		pool_give(load->pool, load->worker);
	reset(load);
	iobuf_fini(&load->scratch);
	free(load);
}

static void end(struct mapload *load, struct mapload_result *result)
{
	void (*done)(void *owner, struct mapload_result *result) = load->done;
	void *owner = load->owner;
	char error[sizeof(load->error)];

	memcpy(error, load->error, sizeof(error));
	if (!result->map)
		result->error = error; /* cppcheck-suppress autoVariables ; while done() runs */
	mapload_free(load);
	done(owner, result);
}

static void fail(struct mapload *load)
{
	struct mapload_result result = {0};

	if (load->worker)
		pool_give(load->pool, load->worker);
	load->worker = NULL;
	if (++load->tries < MAX_TRIES) {
		reset(load);
		load->error[0] = '\0';
		take_worker(load);
		return;
	}
	end(load, &result);
}

static void succeed(struct mapload *load)
{
	struct mapload_result result = {
	    .map = load->map,
	    .provider = load->provider,
	    .nchecks = load->ntables,
	    .checks = load->checks,
	};

	pool_give(load->pool, load->worker);
	load->worker = NULL;
	shardmap_seal(load->map);
	load->map = NULL;
	load->checks = NULL;
	end(load, &result);
}

/* ---- rows ---- */

static struct table *find_table(const struct mapload *load, const char *oid_text)
{
	uint32_t oid = (uint32_t)strtoul(oid_text, NULL, 10);
	struct table *table;

	HASH_FIND(hh, load->tables, &oid, sizeof(oid), table);
	return table;
}

static void on_extension(struct mapload *load, const char *const *values)
{
	if (strcmp(values[0], "citus") == 0) {
		load->provider = &citus_provider;
		return;
	}
	if (!load->schema)
		load->schema = must(strdup(values[1]));
	for (unsigned i = 0; values[2] && values[3] && i < 3; i++)
		if (strcmp(values[2], type_names[i]) == 0)
			load->types[i] = (uint32_t)strtoul(values[3], NULL, 10);
}

static void on_table(struct mapload *load, const char *const *values)
{
	struct table *table;

	if (find_table(load, values[0]))
		return;
	table = must(calloc(1, sizeof(*table)));
	table->oid = (uint32_t)strtoul(values[0], NULL, 10);
	table->number = load->ntables++;
	table->part.map = load->map;
	table->part.table = shardmap_add_table(load->map, table->oid, values[1], values[2]);
	table->part.table->key = values[3] ? must(strdup(values[3])) : NULL;
	table->part.table->signature = values[6] ? must(strdup(values[6])) : NULL;
	table->part.table->routable = values[4] && values[4][0] == 't';
	table->part.hashed = values[5] && values[5][0] == 't';
	HASH_ADD(hh, load->tables, oid, sizeof(table->oid), table);
}

static void on_column(struct mapload *load, const char *const *values)
{
	struct table *table = find_table(load, values[0]);
	uint32_t oid = (uint32_t)strtoul(values[3], NULL, 10);
	enum shardmap_type type = SHARDMAP_TYPE_OTHER;

	if (!table)
		return;
	if (oid == BIT_OID)
		type = SHARDMAP_TYPE_BIT;
	else if (values[4] && values[4][0] == 't')
		type = SHARDMAP_TYPE_BUILTIN;
	for (unsigned i = 0; i < 3; i++)
		if (oid == load->types[i])
			type = (enum shardmap_type)(SHARDMAP_TYPE_VECTOR + i);
	shardmap_add_column(table->part.table, values[2], atoi(values[1]), oid, type);
}

static void end_parts(struct mapload *load)
{
	if (load->part_of)
		load->provider->on_parts_end(&load->part_of->part);
	load->part_of = NULL;
}

static void on_part(struct mapload *load, const char *const *values)
{
	struct table *table = find_table(load, values[0]);

	if (!table)
		return;
	if (table != load->part_of) {
		end_parts(load);
		load->part_of = table;
	}
	load->provider->on_part(&table->part, values);
}

static void on_check(struct mapload *load, unsigned number, const uint8_t *body, size_t len)
{
	struct mapload_check *check = &load->checks[number];

	assert(number < load->ntables);
	free(check->answer);
	check->answer = must(malloc(len ? len : 1));
	memcpy(check->answer, body, len);
	check->answer_len = len;
}

/* NUL-terminated copies of a row's values, NULL for NULL; those missing are NULL, too. The first
 * ones must be there, whatever server it is that answers. */
static bool read_values(struct mapload *load, unsigned id, const uint8_t *body, size_t len,
                        const char *values[MAX_VALUES])
{
	static const uint8_t required[] = {0, 2, 3, 4, 2, 2, 1}; /* by question */
	struct wire_reader reader;
	struct wire_value value;
	int count = wire_read_data_row(body, len, &reader);
	char *at;

	memset(values, 0, MAX_VALUES * sizeof(*values));
	if (count < required[id] || count > MAX_VALUES)
		return false;
	iobuf_truncate(&load->scratch, 0);
	at = (char *)iobuf_reserve(&load->scratch, len + (size_t)count);
	for (int i = 0; i < count; i++) {
		if (!wire_read_value(&reader, &value) || (!value.data && i < required[id]))
			return false;
		if (!value.data)
			continue;
		values[i] = at;
		memcpy(at, value.data, (size_t)value.len);
		at[value.len] = '\0';
		at += value.len + 1;
	}
	return true;
}

static void on_row(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct mapload *load = owner;
	const char *values[MAX_VALUES];

	if (id >= ASK_CHECK)
		on_check(load, id - ASK_CHECK, body, len);
	if (id >= ASK_CHECK || id == ASK_NOTHING)
		return;
	if (!read_values(load, id, body, len, values)) {
		load->malformed = true;
		return;
	}
	switch ((enum question)id) {
	case ASK_EXTENSIONS:
		on_extension(load, values);
		break;
	case ASK_TABLES:
		on_table(load, values);
		break;
	case ASK_COLUMNS:
		on_column(load, values);
		break;
	case ASK_PARTS:
		on_part(load, values);
		break;
	case ASK_FUNCTIONS:
		shardmap_add_function(load->map, values[0], (unsigned)atoi(values[1]));
		break;
	default:
		shardmap_add_foreign_operator(load->map, values[0]);
	}
}

static void on_error(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct mapload *load = owner;
	const char *sqlstate = wire_error_field(body, len, 'C');
	const char *message = wire_error_field(body, len, 'M');

	snprintf(load->error, sizeof(load->error), "catalog query %u: sqlstate %.5s: %s", id,
	         sqlstate ? sqlstate : "?", message ? message : "");
}

/* ---- the phases ---- */

static void ask(struct mapload *load, unsigned id, const char *sql, const struct iobuf *parameters)
{
	struct worker_query query = {.id = id, .sql = sql, .sql_len = strlen(sql)};

	if (parameters) {
		query.parameters = iobuf_head(parameters);
		query.parameters_len = iobuf_len(parameters);
	}
	worker_query(load->worker, &query);
}

/* With an oid[] as its one parameter. */
static void ask_about(struct mapload *load, unsigned id, const char *sql, const struct iobuf *list)
{
	struct iobuf parameters;

	begin_parameters(&parameters, 1);
	put_list(&parameters, list);
	ask(load, id, sql, &parameters);
	iobuf_fini(&parameters);
}

static void list_types(const struct mapload *load, struct iobuf *list)
{
	iobuf_init(list);
	list_add(list, BIT_OID);
	for (unsigned i = 0; i < 3; i++)
		if (load->types[i])
			list_add(list, load->types[i]);
}

static void ask_tables(struct mapload *load)
{
	struct iobuf types;

	load->map = shardmap_new(load->provider->kind, load->generation);
	if (load->schema)
		shardmap_set_vector_schema(load->map, load->schema);
	for (unsigned i = 0; i < 3; i++)
		if (load->types[i])
			shardmap_set_vector_type(load->map,
			                         (enum shardmap_type)(SHARDMAP_TYPE_VECTOR + i),
			                         load->types[i]);
	ask(load, ASK_NOTHING, begin_sql, NULL);
	if (load->provider->prepare)
		ask(load, ASK_NOTHING, load->provider->prepare, NULL);
	list_types(load, &types);
	if (load->schema) /* without pgvector there is nothing to route */
		ask_about(load, ASK_TABLES, load->provider->tables, &types);
	iobuf_fini(&types);
}

static void ask_details(struct mapload *load)
{
	struct iobuf oids, types;

	if (load->ntables == 0)
		return;
	iobuf_init(&oids);
	for (struct table *table = load->tables; table; table = table->hh.next)
		list_add(&oids, table->oid);
	list_types(load, &types);
	ask_about(load, ASK_COLUMNS, columns_sql, &oids);
	ask_about(load, ASK_PARTS, load->provider->parts, &oids);
	ask(load, ASK_FUNCTIONS, functions_sql, NULL);
	ask_about(load, ASK_OPERATORS, operators_sql, &types);
	ask_about(load, ASK_OPERATORS, casts_sql, &types);
	iobuf_fini(&oids);
	iobuf_fini(&types);
}

static void ask_check(struct mapload *load, struct table *table)
{
	struct mapload_check *check = &load->checks[table->number];
	struct iobuf parameters;
	char oid[16];
	int len = snprintf(oid, sizeof(oid), "%" PRIu32, table->oid);

	begin_parameters(&parameters, 1 + load->provider->nlists);
	wire_put_u32(&parameters, (uint32_t)len);
	wire_put_bytes(&parameters, oid, (size_t)len);
	for (unsigned i = 0; i < load->provider->nlists; i++)
		put_list(&parameters, &table->part.lists[i]);
	ask(load, ASK_CHECK + table->number, load->provider->check, &parameters);
	check->table_oid = table->oid;
	check->parameters_len = iobuf_len(&parameters);
	check->parameters = must(malloc(check->parameters_len));
	memcpy(check->parameters, iobuf_head(&parameters), check->parameters_len);
	iobuf_fini(&parameters);
}

static void ask_checks(struct mapload *load)
{
	end_parts(load);
	load->checks = must(calloc(load->ntables + 1, sizeof(*load->checks)));
	for (struct table *table = load->tables; table; table = table->hh.next)
		ask_check(load, table);
	ask(load, ASK_NOTHING, "COMMIT", NULL);
}

static void on_ready(void *owner)
{
	struct mapload *load = owner;
	bool last = load->phase == PHASE_CHECKS;

	for (unsigned i = 0; last && i < load->ntables; i++)
		load->malformed |= !load->checks[i].answer;
	if (load->malformed && !load->error[0])
		snprintf(load->error, sizeof(load->error), "catalog query: an unexpected answer");
	if (load->error[0]) {
		fail(load);
	} else if (last) {
		succeed(load);
	} else {
		load->phase++;
		run_phase(load);
	}
}

static void on_lost(void *owner, const char *why)
{
	struct mapload *load = owner;

	snprintf(load->error, sizeof(load->error), "%s", why);
	fail(load);
}

static const struct worker_job job = {
    .on_row = on_row,
    .on_error = on_error,
    .on_ready = on_ready,
    .on_lost = on_lost,
};

struct settings *mapload_settings(void)
{
	struct settings *settings = settings_new();

	settings_put(settings, "search_path", "pg_catalog, pg_temp");
	settings_put(settings, "client_encoding", "UTF8");
	settings_put(settings, "jit", "off");
	/* planning a check takes longer than running it */
	settings_put(settings, "plan_cache_mode", "force_generic_plan");
	settings_seal(settings);
	return settings;
}

static void run_phase(struct mapload *load)
{
	struct settings *settings;

	worker_begin(load->worker, &job, load);
	switch (load->phase) {
	case PHASE_EXTENSIONS:
		settings = mapload_settings();
		worker_apply(load->worker, settings);
		settings_unref(settings);
		ask(load, ASK_EXTENSIONS, extensions_sql, NULL);
		break;
	case PHASE_TABLES:
		ask_tables(load);
		break;
	case PHASE_DETAILS:
		ask_details(load);
		break;
	case PHASE_CHECKS:
		ask_checks(load);
		break;
	}
	worker_sync(load->worker);
}

static void start(struct mapload *load, struct worker *worker)
{
	load->worker = worker;
	load->phase = PHASE_EXTENSIONS;
	load->provider = &partitions_provider;
	run_phase(load);
}

static void on_worker(void *owner, struct worker *worker, const char *why)
{
	struct mapload *load = owner;

	if (worker) {
		start(load, worker);
		return;
	}
	snprintf(load->error, sizeof(load->error), "%s", why);
	load->tries = MAX_TRIES;
	fail(load);
}

static void take_worker(struct mapload *load)
{
	struct worker *worker = pool_take(load->pool, &load->waiter);

	if (worker)
		start(load, worker);
}

struct mapload *mapload_start(struct pool *pool, uint64_t generation,
                              void (*done)(void *owner, struct mapload_result *result), void *owner)
{
	struct mapload *load = must(calloc(1, sizeof(*load)));

	load->pool = pool;
	load->generation = generation;
	load->done = done;
	load->owner = owner;
	load->waiter = (struct pool_waiter){.fn = on_worker, .owner = load};
	iobuf_init(&load->scratch);
	take_worker(load);
	return load;
}

void mapload_abort(struct mapload *load, const char *why)
{
	load->tries = MAX_TRIES;
	if (load->worker)
		worker_abort(load->worker, why);
}
