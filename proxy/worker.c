/*
 * Worker: see worker.h.
 *
 * What was sent and not yet answered is a queue of steps, one per expected end
 * of an answer; each message from the server belongs to the first of them. An
 * ErrorResponse ends its step and, as the server then skips everything up to the
 * Sync, all steps before the next STEP_SYNC.
 *
 * Messages are dispatched where they lie in the stream's buffer. A callback may
 * free the worker or begin the next job: `dispatching` keeps the buffer until the
 * dispatch has come back, `gone` stops it.
 */
#include "proxy/worker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/prepared.h"
#include "proxy/steps.h"
#include "proxy/stream.h"
#include "proxy/tls.h"
#include "proxy/wire.h"

#define CANCEL_PATIENCE_MS 2000
#define READ_AHEAD_MAX ((size_t)1024 * 1024)

struct worker {
	struct loop *loop;
	struct pq_link *link;
	struct tls *tls;
	struct stream stream;
	struct loop_timer *timer; /* patience with a CancelRequest */
	struct worker_facts facts;

	const struct worker_job *job; /* NULL: idle */
	void *owner;
	bool synced;   /* the job's pipeline is complete */
	bool held;     /* ReadyForQuery came while a CancelRequest was on its way */
	bool failed;   /* an error was reported: silence until ReadyForQuery */
	bool in_block; /* the server says it is in a transaction block: of no more use */
	bool lost;
	bool gone; /* freed; memory goes at the turn's end */
	bool dispatching;
	char why[256]; /* why it was, or is about to be, lost */

	void (*on_idle_lost)(void *keeper, const char *why);
	void *keeper;

	struct steps steps;
	struct prepared *prepared;
	struct settings *applied; /* NULL: unknown */
	struct settings *pending; /* hold once ReadyForQuery comes without an error before */
};

/* ---- steps ---- */

/* The server skips this step after an error before it. */
static void skip_step(struct worker *worker)
{
	const struct step *step = steps_first(&worker->steps);

	if (step->kind == STEP_PARSE)
		prepared_lost(worker->prepared, step->statement);
	else if (step->kind == STEP_CLOSE)
		prepared_close_later(worker->prepared, step->statement);
	else if (step->kind == STEP_DESCRIBE) /* not verified: to be prepared anew */
		prepared_forget(worker->prepared, step->statement);
	steps_pop(&worker->steps);
}

/* ---- the end ---- */

static void lose(struct worker *worker, const char *why)
{
	const struct worker_job *job = worker->job;
	void *owner = worker->owner;

	if (worker->lost)
		return;
	worker->lost = true;
	if (!worker->why[0])
		snprintf(worker->why, sizeof(worker->why), "%s", why);
	while (worker->steps.count)
		steps_pop(&worker->steps);
	loop_timer_stop(worker->timer);
	if (!worker->dispatching)
		stream_close(&worker->stream);
	worker->job = NULL;
	if (job)
		job->on_lost(owner, worker->why);
	else if (worker->on_idle_lost)
		worker->on_idle_lost(worker->keeper, worker->why);
}

static void protocol_error(struct worker *worker, uint8_t type)
{
	char why[128];

	snprintf(why, sizeof(why), "protocol error: unexpected %s", wire_backend_name(type));
	lose(worker, why);
}

static void destroy(void *owner)
{
	struct worker *worker = owner;

	assert(worker->gone && !worker->dispatching);
	stream_close(&worker->stream);
	steps_fini(&worker->steps);
	prepared_free(worker->prepared);
	settings_unref(worker->applied);
	settings_unref(worker->pending);
	loop_timer_free(worker->timer);
	tls_free(worker->tls);
	pq_link_free(worker->link);
	free(worker);
}

void worker_free(struct worker *worker)
{
	if (!worker)
		return;
	assert(!worker->gone);
	worker->gone = true;
	worker->job = NULL;
	loop_timer_stop(worker->timer);
	if (!worker->dispatching)
		stream_close(&worker->stream);
	loop_defer(worker->loop, destroy, worker);
}

void worker_abort(struct worker *worker, const char *why)
{
	if (worker->job)
		lose(worker, why);
}

/* ---- ready for the next job ---- */

static void tell_ready(struct worker *worker)
{
	const struct worker_job *job = worker->job;
	void *owner = worker->owner;

	assert(job && worker->steps.count == 0);
	worker->held = false;
	worker->job = NULL;
	loop_timer_stop(worker->timer);
	job->on_ready(owner);
}

/* The CancelRequest has arrived: the server is idle by now, and takes no notice. */
static void on_cancelled(void *owner)
{
	struct worker *worker = owner;

	if (worker->held && !worker->lost && !worker->gone)
		tell_ready(worker);
}

static void on_impatient(void *owner)
{
	lose(owner, "a cancel request did not arrive in time");
}

static bool on_ready_for_query(struct worker *worker, const uint8_t *body, size_t len)
{
	const struct step *step = steps_first(&worker->steps);

	if (!step || step->kind != STEP_SYNC || len != 1 || !worker->job)
		return false;
	steps_pop(&worker->steps);
	worker->in_block = body[0] != 'I';
	if (worker->pending) {
		/* set_config() was undone with its transaction if anything in it failed */
		settings_unref(worker->applied);
		worker->applied = worker->failed ? NULL : settings_ref(worker->pending);
		settings_unref(worker->pending);
		worker->pending = NULL;
	}
	if (pq_link_cancelling(worker->link)) {
		worker->held = true;
		loop_timer_start(worker->timer, CANCEL_PATIENCE_MS);
	} else {
		tell_ready(worker);
	}
	return true;
}

/* ---- errors ---- */

static void report_error(struct worker *worker, unsigned id, const uint8_t *body, size_t len)
{
	if (worker->failed)
		return;
	worker->failed = true;
	worker->facts.doubtful |= wire_error_is_surprise(body, len);
	if (worker->job->on_error)
		worker->job->on_error(worker->owner, id, body, len);
}

static bool on_error_response(struct worker *worker, const uint8_t *body, size_t len)
{
	const struct step *step = steps_first(&worker->steps);
	const char *severity, *sqlstate, *message;
	unsigned id;

	if (!wire_error_valid(body, len))
		return false;
	severity = wire_error_field(body, len, 'V');
	if (!severity) /* before PostgreSQL 9.6 */
		severity = wire_error_field(body, len, 'S');
	if (!severity || strcmp(severity, "ERROR") != 0) { /* the end follows */
		sqlstate = wire_error_field(body, len, 'C');
		message = wire_error_field(body, len, 'M');
		snprintf(worker->why, sizeof(worker->why), "%s %s: %s",
		         severity ? severity : "FATAL", sqlstate ? sqlstate : "?????",
		         message ? message : "");
		return true;
	}
	if (!step || !worker->job)
		return false;
	id = step->id;
	if (step->kind == STEP_QUERY || step->kind == STEP_SETTINGS)
		/* it may be the statement: its plan, or what it means since a table changed */
		prepared_forget(worker->prepared, step->statement);
	while (steps_first(&worker->steps) && steps_first(&worker->steps)->kind != STEP_SYNC)
		skip_step(worker);
	report_error(worker, id, body, len);
	return true;
}

/* ---- what a prepared statement answers with ---- */

static void report_mismatch(struct worker *worker, unsigned id)
{
	struct iobuf message;

	iobuf_init(&message);
	prepared_put_mismatch(&message);
	report_error(worker, id, iobuf_head(&message) + WIRE_HEADER,
	             iobuf_len(&message) - WIRE_HEADER);
	iobuf_fini(&message);
}

/* RowDescription (or NoData: len 0) of a new statement. */
static bool on_description(struct worker *worker, const uint8_t *body, size_t len)
{
	const struct step *step = steps_first(&worker->steps);

	if (!step || step->kind != STEP_DESCRIBE)
		return false;
	if (!prepared_answers(step->statement, body, len)) {
		prepared_forget(worker->prepared, step->statement);
		report_mismatch(worker, step->id);
		if (worker->gone)
			return true;
	}
	steps_pop(&worker->steps);
	return true;
}

/* ---- one message ---- */

static bool on_row(struct worker *worker, const uint8_t *body, size_t len)
{
	const struct step *step = steps_first(&worker->steps);

	if (!step || !step->bound)
		return false;
	if (step->kind == STEP_QUERY && !worker->failed)
		worker->job->on_row(worker->owner, step->id, body, len);
	return true;
}

static bool on_complete(struct worker *worker)
{
	const struct step *step = steps_first(&worker->steps);
	enum step_kind kind;
	unsigned id;

	if (!step || !step->bound)
		return false;
	kind = step->kind;
	id = step->id;
	steps_pop(&worker->steps);
	if (kind == STEP_QUERY && !worker->failed && worker->job->on_complete)
		worker->job->on_complete(worker->owner, id);
	return true;
}

static bool on_step_done(struct worker *worker, enum step_kind kind)
{
	struct step *step = steps_first(&worker->steps);

	if (!step || step->kind != kind)
		return false;
	if (kind == STEP_PARSE)
		step->statement->known = true;
	steps_pop(&worker->steps);
	return true;
}

static bool on_bind_complete(struct worker *worker)
{
	struct step *step = steps_first(&worker->steps);

	if (!step || (step->kind != STEP_QUERY && step->kind != STEP_SETTINGS) || step->bound)
		return false;
	step->bound = true;
	return true;
}

static bool on_notice(struct worker *worker)
{
	const struct step *step = steps_first(&worker->steps);

	if (worker->job && worker->job->on_notice && step && step->kind == STEP_QUERY)
		worker->job->on_notice(worker->owner);
	return true;
}

/* False: out of order or malformed. */
static bool on_message(struct worker *worker, uint8_t type, const uint8_t *body, size_t len)
{
	switch (type) {
	case WIRE_BE_DataRow:
		return on_row(worker, body, len);
	case WIRE_BE_CommandComplete:
	case WIRE_BE_EmptyQueryResponse:
	case WIRE_BE_PortalSuspended:
		return on_complete(worker);
	case WIRE_BE_BindComplete:
		return on_bind_complete(worker);
	case WIRE_BE_ParseComplete:
		return on_step_done(worker, STEP_PARSE);
	case WIRE_BE_CloseComplete:
		return on_step_done(worker, STEP_CLOSE);
	case WIRE_BE_ParameterDescription: /* RowDescription or NoData follows */
		return steps_first(&worker->steps) &&
		       steps_first(&worker->steps)->kind == STEP_DESCRIBE;
	case WIRE_BE_RowDescription:
		return len > 0 && on_description(worker, body, len);
	case WIRE_BE_NoData:
		return on_description(worker, NULL, 0);
	case WIRE_BE_ErrorResponse:
		return on_error_response(worker, body, len);
	case WIRE_BE_ReadyForQuery:
		return on_ready_for_query(worker, body, len);
	case WIRE_BE_NoticeResponse:
		return on_notice(worker);
	case WIRE_BE_ParameterStatus:
	case WIRE_BE_NotificationResponse:
		return true;
	default:
		return false;
	}
}

static void dispatch(void *owner)
{
	struct worker *worker = owner;
	struct iobuf *in = &worker->stream.in;

	worker->dispatching = true;
	while (!worker->gone && !worker->lost) {
		const uint8_t *message = iobuf_head(in);
		size_t have = iobuf_len(in), total;
		uint8_t type;
		enum wire_frame frame;

		if (have < WIRE_HEADER)
			break;
		frame = wire_frame(message, have, &type, &total);
		if (frame == WIRE_FRAME_BAD) {
			lose(worker, "protocol error: a message of impossible length");
			break;
		}
		if (frame == WIRE_FRAME_MORE || total > have) {
			if (frame ==
			    WIRE_FRAME_OK) /* fewer, larger reads; not all at a peer's word */
				iobuf_reserve(in, total - have < READ_AHEAD_MAX ? total - have
				                                                : READ_AHEAD_MAX);
			break;
		}
		if (!on_message(worker, type, message + WIRE_HEADER, total - WIRE_HEADER))
			protocol_error(worker, type);
		iobuf_consume(in, total);
	}
	worker->dispatching = false;
	if (worker->gone || worker->lost)
		stream_close(&worker->stream);
}

/* ---- the stream ---- */

static void on_closed(void *owner, int error)
{
	lose(owner, error ? strerror(error) : "the server closed the connection");
}

static const struct stream_ops stream_ops = {
    .on_input = dispatch,
    .on_closed = on_closed,
};

struct worker *worker_new(struct loop *loop, struct pq_link *link)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	void *ssl = pq_link_ssl(link);

	if (!worker)
		abort();
	worker->loop = loop;
	worker->link = link;
	worker->tls = ssl ? tls_wrap(ssl) : NULL;
	worker->prepared = prepared_new();
	worker->timer = loop_timer_new(loop, on_impatient, worker);
	stream_open(&worker->stream, loop, pq_link_fd(link), false, worker->tls, &stream_ops,
	            worker);
	return worker;
}

/* ---- sending ---- */

void worker_begin(struct worker *worker, const struct worker_job *job, void *owner)
{
	struct prepared_statement *statement;

	assert(!worker->gone && !worker->job && worker->steps.count == 0);
	worker->job = job;
	worker->owner = owner;
	worker->synced = false;
	worker->failed = false;
	if (worker->lost)
		return;
	while ((statement = prepared_next_to_close(worker->prepared)) != NULL) {
		wire_put_close(&worker->stream.out, 'S', statement->name);
		steps_push(&worker->steps, STEP_CLOSE, 0, statement);
		prepared_unref(statement);
	}
}

/* What will hold for the next query of the pipeline. */
static struct settings *settings_of_next(const struct worker *worker)
{
	return worker->pending ? worker->pending : worker->applied;
}

static struct prepared_statement *prepare(struct worker *worker, const struct worker_query *query)
{
	struct iobuf *out = &worker->stream.out;
	struct prepared_statement *statement, *evicted;
	bool is_new;

	statement = prepared_get(worker->prepared, query, settings_of_next(worker), &is_new);
	if (!is_new)
		return statement;
	wire_put_parse(out, statement->name, query->sql, query->sql_len, query->ntypes,
	               query->types);
	steps_push(&worker->steps, STEP_PARSE, query->id, statement);
	if (query->result_types) {
		wire_put_describe(out, 'S', statement->name);
		steps_push(&worker->steps, STEP_DESCRIBE, query->id, statement);
	}
	while ((evicted = prepared_evict(worker->prepared, statement)) != NULL) {
		wire_put_close(out, 'S', evicted->name);
		steps_push(&worker->steps, STEP_CLOSE, query->id, evicted);
		prepared_unref(evicted);
	}
	return statement;
}

static void put_query(struct worker *worker, const struct worker_query *query, enum step_kind kind)
{
	struct iobuf *out = &worker->stream.out;
	struct prepared_statement *statement;
	size_t mark;

	assert(worker->job && !worker->synced);
	if (worker->lost)
		return;
	statement = prepare(worker, query);
	mark = wire_begin(out, WIRE_FE_Bind);
	wire_put_string(out, "");
	wire_put_string(out, statement->name);
	if (query->parameters)
		wire_put_bytes(out, query->parameters, query->parameters_len);
	else
		wire_put_u32(out, 0); /* no formats, no values */
	wire_put_u16(out, (uint16_t)query->nresult_formats);
	for (unsigned i = 0; i < query->nresult_formats; i++)
		wire_put_u16(out, query->result_formats[i]);
	wire_end(out, mark);
	wire_put_execute(out, "", 0);
	steps_push(&worker->steps, kind, query->id, statement);
}

void worker_query(struct worker *worker, const struct worker_query *query)
{
	put_query(worker, query, STEP_QUERY);
}

void worker_apply(struct worker *worker, struct settings *settings)
{
	struct worker_query query = {.id = WORKER_NO_QUERY};
	struct settings *now = settings_of_next(worker);
	struct iobuf sql, parameters;

	assert(worker->job && !worker->synced);
	if (worker->lost || (now && settings_equal(now, settings)))
		return;
	iobuf_init(&sql);
	iobuf_init(&parameters);
	if (settings_change(now, settings, &sql, &parameters)) {
		query.sql = (const char *)iobuf_head(&sql);
		query.sql_len = iobuf_len(&sql);
		query.parameters = iobuf_head(&parameters);
		query.parameters_len = iobuf_len(&parameters);
		put_query(worker, &query, STEP_SETTINGS);
		settings_unref(worker->pending);
		worker->pending = settings_ref(settings);
	}
	iobuf_fini(&sql);
	iobuf_fini(&parameters);
}

/* The job began on a worker that had been lost with nobody to tell. */
static void tell_lost(void *owner)
{
	struct worker *worker = owner;
	const struct worker_job *job = worker->job;

	if (worker->gone || !job)
		return;
	worker->job = NULL;
	job->on_lost(worker->owner, worker->why);
}

void worker_sync(struct worker *worker)
{
	assert(worker->job && !worker->synced);
	worker->synced = true;
	if (worker->lost) {
		loop_defer(worker->loop, tell_lost, worker);
		return;
	}
	wire_put_bare(&worker->stream.out, WIRE_FE_Sync);
	steps_push(&worker->steps, STEP_SYNC, WORKER_NO_QUERY, NULL);
	stream_flush(&worker->stream);
}

void worker_cancel(struct worker *worker)
{
	if (worker->job && worker->steps.count > 0 && !worker->lost)
		pq_link_cancel(worker->link, on_cancelled, worker);
}

/* ---- asking ---- */

void worker_keep(struct worker *worker, void (*on_idle_lost)(void *keeper, const char *why),
                 void *keeper)
{
	worker->on_idle_lost = on_idle_lost;
	worker->keeper = keeper;
}

void *worker_keeper(const struct worker *worker)
{
	return worker->keeper;
}

bool worker_is_idle(const struct worker *worker)
{
	return !worker->job && !worker->lost && !worker->in_block && worker->steps.count == 0;
}

bool worker_is_lost(const struct worker *worker)
{
	return worker->lost;
}

const struct worker_facts *worker_facts(const struct worker *worker)
{
	return &worker->facts;
}

void worker_set_facts(struct worker *worker, const struct worker_facts *facts)
{
	worker->facts = *facts;
}
