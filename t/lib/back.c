/*
 * Back: see back.h.
 */
#include "t/lib/back.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/wire.h"
#include "t/lib/cluster.h"

static void on_limit(void *owner)
{
	(void)owner;
	cr_assert_fail("waited for twenty seconds");
}

void back_open(struct back *back, const char *const *options)
{
	char error[512] = "";
	const char *conninfo = text("host=127.0.0.1 port=%d user=postgres dbname=postgres",
	                            cluster_port(CLUSTER_COORDINATOR));

	memset(back, 0, sizeof(*back));
	back->config = config_new();
	cr_assert(config_set(back->config, "test", "coordinator", conninfo, error, sizeof(error)));
	for (; options && *options; options += 2)
		cr_assert(
		    config_set(back->config, "test", options[0], options[1], error, sizeof(error)),
		    "%s", error);
	back->log = log_new(2, getenv("PGTOPK_TEST_DEBUG") ? LOG_DEBUG : LOG_ERROR);
	back->loop = loop_new();
	cr_assert_not_null(back->loop);
	back->keyring = keyring_new();
	back->pools = pools_new(back->loop, back->config, back->log, back->keyring);
	back->catalogs = catalogs_new(back->loop, back->config, back->log, back->pools);
	back->limit = loop_timer_new(back->loop, on_limit, back);
}

void back_close(struct back *back)
{
	loop_timer_free(back->limit);
	catalogs_free(back->catalogs);
	pools_free(back->pools);
	loop_free(back->loop);
	keyring_free(back->keyring);
	log_free(back->log);
	config_free(back->config);
}

void back_wait(struct back *back, const bool *flag)
{
	loop_timer_start(back->limit, 20000);
	while (!*flag)
		loop_run(back->loop);
	loop_timer_stop(back->limit);
}

static void on_idle_end(void *owner)
{
	struct back *back = owner;

	loop_stop(back->loop);
}

void back_idle(struct back *back, unsigned ms)
{
	struct loop_timer *timer = loop_timer_new(back->loop, on_idle_end, back);
	uint64_t end = loop_now_ms(back->loop) + ms;

	do {
		uint64_t now = loop_now_ms(back->loop);

		loop_timer_start(timer, end > now ? end - now : 0);
		loop_run(back->loop);
	} while (loop_now_ms(back->loop) < end);
	loop_timer_free(timer);
}

/* ---- pools ---- */

struct pool *back_pool(struct back *back, int port)
{
	return pools_get(back->pools, "127.0.0.1", port, "postgres", "postgres");
}

struct taking {
	struct back *back;
	struct worker *worker;
	const char *why;
	bool done;
};

static void on_taken(void *owner, struct worker *worker, const char *why)
{
	struct taking *taking = owner;

	taking->worker = worker;
	taking->why = why ? text("%s", why) : NULL;
	taking->done = true;
	loop_stop(taking->back->loop);
}

struct worker *back_take(struct back *back, struct pool *pool, const char **why)
{
	struct taking taking = {.back = back};
	struct pool_waiter waiter = {.fn = on_taken, .owner = &taking};
	struct worker *worker = pool_take(pool, &waiter);

	if (worker)
		return worker;
	back_wait(back, &taking.done);
	if (why)
		*why = taking.why;
	else
		cr_assert(taking.worker, "%s", taking.why);
	return taking.worker;
}

/* ---- jobs ---- */

static void hear(struct back_job *job, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void hear(struct back_job *job, const char *format, ...)
{
	char line[4096];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	cr_assert(len >= 0 && (size_t)len < sizeof(line));
	if (iobuf_len(&job->heard) > 0)
		iobuf_append(&job->heard, ",", 1);
	iobuf_append(&job->heard, line, (size_t)len);
}

static void on_row(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct back_job *job = owner;
	struct wire_reader values;
	struct wire_value value;
	char line[2048] = "";
	size_t at = 0;

	job->rows++;
	job->bytes += len;
	if (job->hook)
		job->hook(job);
	if (job->quiet)
		return;
	cr_assert(wire_read_data_row(body, len, &values) >= 0);
	while (wire_read_value(&values, &value))
		at += (size_t)snprintf(line + at, sizeof(line) - at, "%s%.*s", at ? "|" : "",
		                       value.data ? (int)value.len : 4,
		                       value.data ? (const char *)value.data : "NULL");
	hear(job, "row %u=%s", id, line);
}

static void on_complete(void *owner, unsigned id)
{
	hear(owner, "complete %u", id);
}

static void on_error(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct back_job *job = owner;

	cr_assert(wire_error_valid(body, len));
	snprintf(job->sqlstate, sizeof(job->sqlstate), "%s", wire_error_field(body, len, 'C'));
	if (id == WORKER_NO_QUERY)
		hear(job, "error - %s", job->sqlstate);
	else
		hear(job, "error %u %s", id, job->sqlstate);
}

static void on_ready(void *owner)
{
	struct back_job *job = owner;

	job->over = true;
	hear(job, "ready");
	loop_stop(job->back->loop);
}

static void on_lost(void *owner, const char *why)
{
	struct back_job *job = owner;

	job->over = true;
	job->lost = true;
	snprintf(job->why, sizeof(job->why), "%s", why);
	hear(job, "lost");
	loop_stop(job->back->loop);
}

static const struct worker_job job_calls = {
    .on_row = on_row,
    .on_complete = on_complete,
    .on_error = on_error,
    .on_ready = on_ready,
    .on_lost = on_lost,
};

void back_begin(struct back_job *job, struct back *back, struct worker *worker)
{
	memset(job, 0, sizeof(*job));
	job->back = back;
	job->worker = worker;
	iobuf_init(&job->heard);
	worker_begin(worker, &job_calls, job);
}

void back_ask(struct back_job *job, unsigned id, const char *sql, ...)
{
	struct worker_query query = {.id = id, .sql = sql, .sql_len = strlen(sql)};
	struct iobuf values, parameters;
	const char *value;
	unsigned count = 0;
	va_list args;

	iobuf_init(&values);
	iobuf_init(&parameters);
	va_start(args, sql);
	while ((value = va_arg(args, const char *)) != NULL) {
		wire_put_u32(&values, (uint32_t)strlen(value));
		wire_put_bytes(&values, value, strlen(value));
		count++;
	}
	va_end(args);
	wire_put_u16(&parameters, 0);
	wire_put_u16(&parameters, (uint16_t)count);
	wire_put_bytes(&parameters, iobuf_head(&values), iobuf_len(&values));
	query.parameters = iobuf_head(&parameters);
	query.parameters_len = iobuf_len(&parameters);
	worker_query(job->worker, &query);
	iobuf_fini(&values);
	iobuf_fini(&parameters);
}

const char *back_end(struct back_job *job)
{
	worker_sync(job->worker);
	back_wait(job->back, &job->over);
	return text("%.*s", (int)iobuf_len(&job->heard), (const char *)iobuf_head(&job->heard));
}

void back_fini(struct back_job *job)
{
	iobuf_fini(&job->heard);
}

const char *back_value(struct back *back, struct worker *worker, const char *sql)
{
	struct back_job job;
	const char *heard;
	const char *end;

	back_begin(&job, back, worker);
	back_ask(&job, 0, sql, NULL);
	heard = back_end(&job);
	back_fini(&job);
	cr_assert(strncmp(heard, "row 0=", 6) == 0, "%s: %s", sql, heard);
	heard += strlen("row 0=");
	end = strstr(heard, ",complete");
	return text("%.*s", end ? (int)(end - heard) : (int)strlen(heard), heard);
}

/* ---- catalogs ---- */

struct asking {
	struct back *back;
	bool done;
	bool ok;
	const char *why;
};

static void on_answer(void *owner, bool ok, const char *why)
{
	struct asking *asking = owner;

	asking->done = true;
	asking->ok = ok;
	asking->why = ok ? NULL : text("%s", why);
	loop_stop(asking->back->loop);
}

const char *back_load(struct back *back, struct catalog *catalog)
{
	struct asking asking = {.back = back};
	struct catalog_waiter waiter = {.fn = on_answer, .owner = &asking};

	if (catalog_map(catalog))
		catalog_expire(catalog, shardmap_generation(catalog_map(catalog)));
	catalog_load(catalog, &waiter);
	back_wait(back, &asking.done);
	cr_assert(!asking.ok || catalog_map(catalog));
	return asking.why;
}

const struct shardmap_table *back_table(struct catalog *catalog, const char *schema,
                                        const char *table)
{
	struct shardmap *map = catalog_map(catalog);

	cr_assert(map);
	for (unsigned i = 0; i < shardmap_table_count(map); i++) {
		const struct shardmap_table *at = shardmap_table_at(map, i);

		if (strcmp(at->schema, schema) == 0 && strcmp(at->name, table) == 0)
			return at;
	}
	return NULL;
}

const char *back_check(struct back *back, struct catalog *catalog, const char *schema,
                       const char *table)
{
	struct asking asking = {.back = back};
	struct catalog_waiter waiter = {.fn = on_answer, .owner = &asking};
	const struct shardmap_table *at = back_table(catalog, schema, table);

	cr_assert(at, "%s.%s is not in the map", schema, table);
	catalog_check(catalog, catalog_map(catalog), at, &waiter);
	back_wait(back, &asking.done);
	return asking.why;
}
