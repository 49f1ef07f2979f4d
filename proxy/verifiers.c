/*
 * Verifiers: see verifiers.h.
 *
 * A question's owner may give it up at any time. One that is being asked goes on
 * without him, because to abort it would cost its connection: whoever comes and goes
 * could keep pgtopk connecting.
 */
#include "proxy/verifiers.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "proxy/auth_file.h"
#include "proxy/digest.h"
#include "proxy/mapload.h"
#include "proxy/pq.h"
#include "proxy/wire.h"

#define LOG_INTERVAL_MS 60000

struct verifiers {
	struct loop *loop;
	const struct config *config;
	struct log *log;
	struct auth_file *file; /* NULL: none is configured */
	struct pool *pool;      /* NULL: whose it would be is not known */
	struct settings *settings;
	struct verifier_query *queries;
	uint64_t quiet_until_ms; /* a failure has just been logged */
};

struct verifier_query {
	struct verifiers *verifiers;
	char *user;
	verifier_fn *fn; /* NULL: given up */
	void *owner;
	struct pool_waiter waiter;
	struct worker *worker;    /* while it is asked */
	struct loop_timer *timer; /* patience with the worker */
	bool again;               /* its connection was lost: asked a second time */
	unsigned rows;
	struct scram_verifier verifier;
	bool known;      /* there is one */
	char error[256]; /* "" if all is well */
	struct verifier_query *prev, *next;
};

static void take_worker(struct verifier_query *query);

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

/* ---- the end ---- */

static void free_query(struct verifier_query *query)
{
	DL_DELETE(query->verifiers->queries, query);
	loop_timer_free(query->timer);
	scram_verifier_wipe(&query->verifier);
	free(query->user);
	free(query);
}

/* Once a minute is enough: every login would say the same. */
static void log_failure(struct verifiers *verifiers, const char *error)
{
	uint64_t now = loop_now_ms(verifiers->loop);

	if (now < verifiers->quiet_until_ms)
		return;
	verifiers->quiet_until_ms = now + LOG_INTERVAL_MS;
	log_event(verifiers->log, LOG_WARNING, "auth_query_failed", "error=%s", log_quote(error));
}

static void answer(struct verifier_query *query, bool answered)
{
	verifier_fn *fn = query->fn;
	void *owner = query->owner;
	struct scram_verifier verifier = query->verifier;
	bool known = query->known;

	free_query(query);
	if (fn)
		fn(owner, known ? &verifier : NULL, answered);
	scram_verifier_wipe(&verifier);
}

static void fail(struct verifier_query *query, const char *error)
{
	log_failure(query->verifiers, error);
	query->known = false;
	answer(query, false);
}

/* ---- auth_query ---- */

static void give_back(struct verifier_query *query)
{
	struct worker *worker = query->worker;

	loop_timer_stop(query->timer);
	query->worker = NULL;
	pool_give(query->verifiers->pool, worker);
}

static void set_error(struct verifier_query *query, const char *error)
{
	if (!query->error[0])
		snprintf(query->error, sizeof(query->error), "%s", error);
}

/* A row is the verifier, or the user and the verifier. */
static void on_row(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct verifier_query *query = owner;
	size_t user_len = strlen(query->user);
	struct wire_value name, secret;
	struct wire_reader values;
	int count = wire_read_data_row(body, len, &values);
	char *text;

	(void)id;
	if (++query->rows > 1) {
		set_error(query, "auth_query gives more than one row");
		return;
	}
	if (count != 1 && count != 2) {
		set_error(query, "auth_query gives rows of neither one nor two columns");
		return;
	}
	if (count == 2 &&
	    (!wire_read_value(&values, &name) || !name.data || (size_t)name.len != user_len ||
	     memcmp(name.data, query->user, user_len) != 0)) {
		set_error(query, "auth_query gives another user than the one that was asked for");
		return;
	}
	if (!wire_read_value(&values, &secret) || !secret.data)
		return; /* a user without a password */
	text = must(strndup((const char *)secret.data, (size_t)secret.len));
	if (strlen(text) == (size_t)secret.len)
		query->known = scram_verifier_parse(text, &query->verifier);
	digest_wipe(text, strlen(text));
	free(text);
}

static void on_error(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct verifier_query *query = owner;
	const char *sqlstate = wire_error_field(body, len, 'C');
	const char *message = wire_error_field(body, len, 'M');
	char error[sizeof(query->error)];

	(void)id;
	snprintf(error, sizeof(error), "%s (SQLSTATE %.5s)", message ? message : "?",
	         sqlstate ? sqlstate : "?");
	set_error(query, error);
}

static void on_ready(void *owner)
{
	struct verifier_query *query = owner;

	give_back(query);
	if (query->error[0])
		fail(query, query->error);
	else
		answer(query, true);
}

/* An idle connection may be dead without our knowing: that is found out here. */
static void on_lost(void *owner, const char *why)
{
	struct verifier_query *query = owner;

	give_back(query);
	if (!query->fn) {
		free_query(query);
		return;
	}
	if (query->error[0] || query->again || !query->verifiers->config->auth_query[0]) {
		fail(query, query->error[0] ? query->error : why);
		return;
	}
	query->again = true;
	query->rows = 0;
	query->known = false;
	take_worker(query);
}

static const struct worker_job job = {
    .on_row = on_row,
    .on_error = on_error,
    .on_ready = on_ready,
    .on_lost = on_lost,
};

static void on_timeout(void *owner)
{
	struct verifier_query *query = owner;

	assert(query->worker);
	set_error(query, "no answer in time (worker_timeout)");
	worker_cancel(query->worker);
	worker_abort(query->worker, query->error);
}

static void ask(struct verifier_query *query, struct worker *worker)
{
	struct verifiers *verifiers = query->verifiers;
	struct worker_query statement = {
	    .sql = verifiers->config->auth_query,
	    .sql_len = strlen(verifiers->config->auth_query),
	};
	struct iobuf parameters;

	iobuf_init(&parameters);
	wire_put_u16(&parameters, 0);
	wire_put_u16(&parameters, 1);
	wire_put_u32(&parameters, (uint32_t)strlen(query->user));
	wire_put_bytes(&parameters, query->user, strlen(query->user));
	statement.parameters = iobuf_head(&parameters);
	statement.parameters_len = iobuf_len(&parameters);
	query->worker = worker;
	loop_timer_start(query->timer, (uint64_t)verifiers->config->worker_timeout);
	worker_begin(worker, &job, query);
	worker_apply(worker, verifiers->settings);
	worker_query(worker, &statement);
	worker_sync(worker);
	iobuf_fini(&parameters);
}

static void on_worker(void *owner, struct worker *worker, const char *why)
{
	struct verifier_query *query = owner;

	if (worker && query->verifiers->config->auth_query[0]) {
		ask(query, worker);
		return;
	}
	if (worker) /* switched off meanwhile */
		pool_give(query->verifiers->pool, worker);
	fail(query, worker ? "auth_query was switched off" : why);
}

static void take_worker(struct verifier_query *query)
{
	struct worker *worker;

	query->waiter = (struct pool_waiter){.fn = on_worker, .owner = query};
	worker = pool_take(query->verifiers->pool, &query->waiter);
	if (worker)
		ask(query, worker);
}

/* ---- questions ---- */

/* The file knows, or nobody does. */
static void on_timer(void *owner)
{
	struct verifier_query *query = owner;

	if (query->worker)
		on_timeout(query);
	else
		answer(query, query->known);
}

struct verifier_query *verifiers_ask(struct verifiers *verifiers, const char *user, verifier_fn *fn,
                                     void *owner)
{
	struct verifier_query *query = must(calloc(1, sizeof(*query)));
	const struct scram_verifier *verifier =
	    verifiers->file ? auth_file_find(verifiers->file, user) : NULL;

	query->verifiers = verifiers;
	query->user = must(strdup(user));
	query->fn = fn;
	query->owner = owner;
	query->timer = loop_timer_new(verifiers->loop, on_timer, query);
	DL_APPEND(verifiers->queries, query);
	if (verifier) {
		query->verifier = *verifier;
		query->known = true;
	}
	if (verifier || !verifiers->pool || !verifiers->config->auth_query[0])
		loop_timer_start(query->timer, 0);
	else
		take_worker(query);
	return query;
}

void verifier_query_free(struct verifier_query *query)
{
	if (!query)
		return;
	query->fn = NULL;
	if (query->worker) /* it goes on alone */
		return;
	pool_cancel(&query->waiter);
	free_query(query);
}

/* ---- all of it ---- */

/* The pool of the configuration's user in its own database: nothing of it is a client's. */
static bool find_pool(struct verifiers *verifiers, struct pools *pools, char *error,
                      size_t error_size)
{
	const char *conninfo = verifiers->config->coordinator;
	char *why = NULL, *database = pq_conninfo_value(conninfo, "dbname", &why);

	if (!database && !why) /* libpq's own default */
		database = pq_conninfo_value(conninfo, "user", &why);
	if (database)
		verifiers->pool = pools_get(pools, NULL, 0, database, NULL);
	else
		snprintf(error, error_size, "coordinator: %s",
		         why ? why : "neither dbname nor user is named");
	free(database);
	free(why);
	return verifiers->pool != NULL;
}

struct verifiers *verifiers_new(struct loop *loop, const struct config *config, struct log *log,
                                struct pools *pools, char *error, size_t error_size)
{
	struct verifiers *verifiers = must(calloc(1, sizeof(*verifiers)));

	verifiers->loop = loop;
	verifiers->config = config;
	verifiers->log = log;
	verifiers->settings = mapload_settings();
	/* auth_query may come and go with a reload; the coordinator stays */
	if (!verifiers_reload(verifiers, error, error_size) ||
	    (!find_pool(verifiers, pools, error, error_size) && config->auth_query[0])) {
		verifiers_free(verifiers);
		return NULL;
	}
	return verifiers;
}

void verifiers_free(struct verifiers *verifiers)
{
	struct verifier_query *query, *next;

	if (!verifiers)
		return;
	DL_FOREACH_SAFE (verifiers->queries, query, next) {
		query->fn = NULL;
		if (query->worker)
			worker_abort(query->worker, "shutdown"); /* on_lost() frees it */
		else
			verifier_query_free(query);
	}
	assert(!verifiers->queries);
	auth_file_free(verifiers->file);
	settings_unref(verifiers->settings);
	free(verifiers);
}

bool verifiers_reload(struct verifiers *verifiers, char *error, size_t error_size)
{
	const char *path = verifiers->config->auth_file;
	struct auth_file *file = NULL;

	if (path[0] && !(file = auth_file_read(path, verifiers->log, error, error_size)))
		return false;
	auth_file_free(verifiers->file);
	verifiers->file = file;
	return true;
}
