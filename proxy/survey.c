/*
 * Survey: see survey.h.
 */
#include "proxy/survey.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/config.h"
#include "proxy/pool.h"
#include "proxy/wire.h"

struct survey {
	struct proxy *proxy;
	struct survey_request request;
	char *user, *database;
	unsigned next, end; /* the shards of the node being asked */
	struct pool *pool;
	struct pool_waiter waiter;
	struct worker *worker;
	struct loop_timer *timer; /* worker_timeout, for all of it */
	char failure[160];
	char sqlstate[6];
};

static void next_node(struct survey *survey);

void survey_free(struct survey *survey)
{
	if (!survey)
		return;
	pool_cancel(&survey->waiter);
	if (survey->worker) { /* in the midst of something: the pool closes it */
		worker_cancel(survey->worker);
		pool_give(survey->pool, survey->worker);
	}
	loop_timer_free(survey->timer);
	free(survey->user);
	free(survey->database);
	free(survey);
}

static void end(struct survey *survey)
{
	struct survey_request request = survey->request;
	char failure[sizeof(survey->failure)], sqlstate[sizeof(survey->sqlstate)];

	memcpy(failure, survey->failure, sizeof(failure));
	memcpy(sqlstate, survey->sqlstate, sizeof(sqlstate));
	survey_free(survey);
	request.done(request.owner, failure[0] ? failure : NULL, sqlstate);
}

static void give_back(struct survey *survey)
{
	pool_give(survey->pool, survey->worker);
	survey->worker = NULL;
}

static void on_row(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct survey *survey = owner;

	survey->request.row(survey->request.owner, id, body, len);
}

static void on_error(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct survey *survey = owner;
	const char *sqlstate = wire_error_field(body, len, 'C');
	const struct shardmap_shard *shard = &survey->request.table->shards[survey->next];
	const struct shardmap_node *node = shardmap_node(survey->request.map, shard->node);

	(void)id;
	snprintf(survey->sqlstate, sizeof(survey->sqlstate), "%s", sqlstate ? sqlstate : "?");
	snprintf(survey->failure, sizeof(survey->failure), "%s:%d sqlstate %s", node->host,
	         node->port, survey->sqlstate);
}

static void on_ready(void *owner)
{
	struct survey *survey = owner;

	give_back(survey);
	survey->next = survey->end;
	if (survey->failure[0] || survey->next >= survey->request.end)
		end(survey);
	else
		next_node(survey);
}

static void on_lost(void *owner, const char *why)
{
	struct survey *survey = owner;

	give_back(survey);
	snprintf(survey->failure, sizeof(survey->failure), "%s", why);
	end(survey);
}

static const struct worker_job job = {
    .on_row = on_row,
    .on_error = on_error,
    .on_ready = on_ready,
    .on_lost = on_lost,
};

static void ask(struct survey *survey, struct worker *worker)
{
	const struct survey_request *request = &survey->request;

	survey->worker = worker;
	worker_begin(worker, &job, survey);
	worker_apply(worker, request->settings(request->owner, worker_facts(worker)));
	request->put(request->owner, worker, survey->next, survey->end);
	worker_sync(worker);
}

static void on_worker(void *owner, struct worker *worker, const char *why)
{
	struct survey *survey = owner;

	if (worker) {
		ask(survey, worker);
		return;
	}
	snprintf(survey->failure, sizeof(survey->failure), "%s", why);
	end(survey);
}

static void next_node(struct survey *survey)
{
	const struct survey_request *request = &survey->request;
	const struct shardmap_shard *shards = request->table->shards;
	const struct shardmap_node *node = shardmap_node(request->map, shards[survey->next].node);
	struct worker *worker;

	survey->end = survey->next;
	while (survey->end < request->end && shards[survey->end].node == shards[survey->next].node)
		survey->end++;
	survey->pool = pools_of_node(survey->proxy->pools, node, survey->database, survey->user);
	worker = pool_take(survey->pool, &survey->waiter);
	if (worker)
		ask(survey, worker);
}

static void on_timeout(void *owner)
{
	struct survey *survey = owner;

	if (survey->worker) /* else the pool's own patience ends it */
		worker_abort(survey->worker, "no answer in time (worker_timeout)");
}

static char *copy(const char *text)
{
	char *made = strdup(text);

	if (!made)
		abort();
	return made;
}

struct survey *survey_start(struct proxy *proxy, const struct survey_request *request)
{
	struct survey *survey = calloc(1, sizeof(*survey));

	if (!survey)
		abort();
	assert(request->first < request->end && request->end <= request->table->nshards);
	survey->proxy = proxy;
	survey->request = *request;
	survey->user = copy(request->user);
	survey->database = copy(request->database);
	survey->next = request->first;
	survey->waiter.fn = on_worker;
	survey->waiter.owner = survey;
	survey->timer = loop_timer_new(proxy->loop, on_timeout, survey);
	loop_timer_start(survey->timer, (uint64_t)proxy->config->worker_timeout);
	next_node(survey);
	return survey;
}

void survey_cancel(struct survey *survey)
{
	if (survey && survey->worker)
		worker_cancel(survey->worker);
}
