/*
 * Stage: see stage.h.
 *
 * An answer is right if it is the one PostgreSQL's. One by the coordinator alone is
 * right, too, if the coordinator asked directly gives the same, byte by byte: what is
 * odd about foreign tables is not pgtopk's.
 */
#include "t/torture/stage.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "t/lib/cluster.h"
#include "t/torture/ddl.h"

#define SESSIONS 2

enum side { PROXY, PLAIN, DIRECT, SIDES };

#define STAGE_USERS 3

static const char *const users[STAGE_USERS] = {"postgres", WORLD_USER, WORLD_ROLE};

/* One script's connections; those that began without options are kept for the user's next. */
struct stage_seats {
	struct talk talks[SIDES][SESSIONS];
	bool open[SIDES][SESSIONS];
};

struct play {
	struct stage *stage;
	struct script *script;
	struct arena *arena;
	struct stage_seats *seats;
	char status[SESSIONS]; /* of the last ReadyForQuery; '\0': none yet */
	bool ended;
	const char *after; /* what was changed last */
	unsigned step;     /* the one at work */
	unsigned direct;   /* the coordinator has been asked all steps before this one */
	struct talk_reply direct_reply;
	unsigned routed, refused; /* of the step */
	enum refusal reason;
};

/* In both databases, one statement after the other; may fail, in both. */
static void administer(const struct stage *stage, const char *sql)
{
	while (sql && *sql) {
		size_t len = world_statement_length(sql);
		char *one = strndup(sql, len);

		PQclear(PQexec(stage->sharded, one));
		PQclear(PQexec(stage->plain, one));
		free(one);
		sql += len + (sql[len] == ';');
	}
}

void stage_open(struct stage *stage, struct instance *instance)
{
	memset(stage, 0, sizeof(*stage));
	stage->instance = instance;
	stage->sharded = cluster_connect(CLUSTER_COORDINATOR, "dbname=" WORLD_DATABASE);
	stage->plain = cluster_connect(CLUSTER_COORDINATOR, "dbname=" WORLD_PLAIN);
	for (unsigned i = 0; i < 2; i++) {
		stage->workers[i] =
		    cluster_connect((enum cluster_node)(i + 1), "dbname=" WORLD_DATABASE);
		PQclear(PQexec(stage->workers[i],
		               "SET client_min_messages = error; SET lock_timeout = '5s'"));
	}
	stage->kept = calloc(STAGE_USERS, sizeof(*stage->kept));
	administer(stage, "SET client_min_messages = error; SET lock_timeout = '5s'");
}

void stage_learn(struct stage *stage)
{
	compare_unload(&stage->sharded_oids);
	compare_unload(&stage->plain_oids);
	compare_load(&stage->sharded_oids, stage->sharded);
	compare_load(&stage->plain_oids, stage->plain);
	/* Citus names no table where a portal is described */
	stage->sharded_oids.no_origin = stage->plain_oids.no_origin = cluster_is_citus();
}

void stage_close(struct stage *stage)
{
	coverage_free(&stage->tally.coverage);
	compare_unload(&stage->sharded_oids);
	compare_unload(&stage->plain_oids);
	PQfinish(stage->sharded);
	PQfinish(stage->plain);
	for (unsigned i = 0; i < 2; i++)
		PQfinish(stage->workers[i]);
	stage_leave(stage);
	free(stage->kept);
}

/* ---- the log ---- */

static enum refusal reason_of(const char *line)
{
	const char *at = strstr(line, " reason=");

	for (unsigned i = 0; at && i < REFUSAL_COUNT; i++) {
		size_t len = strlen(refusal_name((enum refusal)i));

		if (strncmp(at + 8, refusal_name((enum refusal)i), len) == 0 && at[8 + len] == ' ')
			return (enum refusal)i;
	}
	return REFUSAL_none;
}

static void read_log(struct play *play)
{
	struct stage_tally *tally = &play->stage->tally;
	char *lines = instance_read_log(play->stage->instance), *rest = lines, *line;

	play->routed = play->refused = 0;
	while ((line = strsep(&rest, "\n")) != NULL) {
		if (strstr(line, " event=routed ")) {
			play->routed++;
		} else if (strstr(line, " event=refused ")) {
			play->refused++;
			play->reason = reason_of(line);
			tally->refused[play->reason]++;
		}
	}
	tally->routed += play->routed;
	free(lines);
}

/* ---- talking ---- */

static bool open_side(struct play *play, enum side side, unsigned who, struct talk_reply *reply)
{
	const struct script *script = play->script;
	int port = side == PROXY ? play->stage->instance->port : cluster_port(CLUSTER_COORDINATOR);

	if (play->seats->open[side][who])
		return true;
	play->seats->open[side][who] = true;
	return talk_open(&play->seats->talks[side][who], port, script->user,
	                 side == PLAIN ? WORLD_PLAIN : WORLD_DATABASE, script->options, play->arena,
	                 reply);
}

static void close_all(struct stage_seats *seats)
{
	for (unsigned side = 0; side < SIDES; side++) {
		for (unsigned who = 0; who < SESSIONS; who++) {
			if (seats->open[side][who])
				talk_close(&seats->talks[side][who]);
			seats->open[side][who] = false;
		}
	}
}

/* Nothing may be left of the script. False: a session is of no more use. */
static bool clear_all(struct stage_seats *seats, struct arena *arena)
{
	struct talk_reply reply;

	for (unsigned side = 0; side < SIDES; side++) {
		for (unsigned who = 0; who < SESSIONS; who++) {
			if (!seats->open[side][who])
				continue;
			talk_query(&seats->talks[side][who], "ROLLBACK", arena, &reply);
			if (reply.hung || reply.ended)
				return false;
			talk_query(&seats->talks[side][who], "DISCARD ALL", arena, &reply);
			if (reply.hung || reply.ended)
				return false;
		}
	}
	return true;
}

void stage_leave(struct stage *stage)
{
	for (unsigned i = 0; i < STAGE_USERS; i++)
		close_all(&stage->kept[i]);
}

static void perform(struct play *play, enum side side, const struct script_step *step,
                    struct talk_reply *reply)
{
	struct talk *talk = &play->seats->talks[side][step->who];
	const struct compare_oids *oids =
	    side == PLAIN ? &play->stage->plain_oids : &play->stage->sharded_oids;
	unsigned syncs = script_put(&talk->raw.out, step, oids->vectors);

	talk_exchange(talk, syncs, play->arena, reply);
}

/*
 * Seldom is it needed what the coordinator says, and foreign tables are slow: it is asked
 * the whole session when it is, unless that writes.
 */
static void ask_direct(struct play *play)
{
	for (; play->direct <= play->step && !play->script->writes; play->direct++) {
		const struct script_step *step = &play->script->steps[play->direct];

		if (step->skip || step->admin)
			continue;
		if (!open_side(play, DIRECT, step->who, &play->direct_reply))
			return;
		perform(play, DIRECT, step, &play->direct_reply);
		if (play->direct_reply.ended)
			break;
	}
}

/* ---- judging ---- */

static char last_status(const struct talk_reply *reply)
{
	const struct talk_message *last = reply->count ? &reply->messages[reply->count - 1] : NULL;

	return last && last->type == WIRE_BE_ReadyForQuery ? (char)last->body[0] : '?';
}

static const char *error_of(struct play *play, const struct talk_reply *reply)
{
	for (unsigned i = 0; i < reply->count; i++) {
		if (reply->messages[i].type == WIRE_BE_ErrorResponse)
			return compare_text(reply, play->arena);
	}
	return reply->hung || reply->ended ? "no complete answer" : NULL;
}

static struct compare_recall *recall_of(struct play *play, const struct question *question)
{
	struct stage_tally *tally = &play->stage->tally;

	if (!question || !question->table->indexed || play->routed == 0)
		return NULL;
	return question->table->ivfflat ? &tally->ivfflat : &tally->hnsw;
}

/* By what may change a setting: then it is too late to ask. */
static bool is_followed(const struct script_step *step, unsigned call)
{
	while (++call < step->ncalls) {
		if (!step->calls[call].question)
			return true;
	}
	return false;
}

/* The rows of one call, where they are not the same bytes. */
static const char *judge_ranks(struct play *play, const struct script_step *step, unsigned call,
                               const struct compare_rows *got, const struct compare_rows *wanted)
{
	const struct question *question = step->calls[call].question;
	const char *sql = question ? question_all_sql(question) : NULL, *error;
	struct stage_tally *tally = &play->stage->tally;
	struct talk *talk = &play->seats->talks[PLAIN][step->who];
	struct compare_rows all;
	struct talk_reply reply;

	if (!sql)
		return "rows are not the same, and there is no complete answer";
	if (is_followed(step, call)) {
		tally->unchecked++;
		return NULL;
	}
	script_put_all(&talk->raw.out, &step->calls[call], sql, play->stage->plain_oids.vectors,
	               wire_u16((wanted->count ? wanted : got)->rows[0]->body));
	talk_exchange(talk, 1, play->arena, &reply);
	error = error_of(play, &reply);
	if (error) {
		tally->unchecked++;
		return last_status(&reply) == 'E' ? NULL
		                                  : arena_printf(play->arena, "%s: %s", sql, error);
	}
	all = compare_rows_of(&reply, play->arena);
	tally->ranked++;
	return compare_ranked(got, wanted, &all, recall_of(play, question), play->arena);
}

/* One call's part of the answer against the one PostgreSQL's. */
static const char *judge_plain(struct play *play, const struct script_step *step, unsigned call,
                               const struct talk_reply *got, const struct talk_reply *wanted)
{
	struct compare_recall *recall = recall_of(play, step->calls[call].question);
	struct compare_rows a = compare_rows_of(got, play->arena);
	struct compare_rows b = compare_rows_of(wanted, play->arena);
	const char *why = compare_messages(got, &play->stage->sharded_oids, wanted,
	                                   &play->stage->plain_oids, play->arena);

	if (why)
		return why;
	if (!compare_rows_same(&a, &b))
		return judge_ranks(play, step, call, &a, &b);
	if (recall) {
		recall->rows += a.count;
		recall->found += a.count;
	}
	return NULL;
}

/* The coordinator's own answer; OIDs of temporary tables are not the same in two sessions. */
static const char *judge_direct(struct play *play, const struct talk_reply *got,
                                const struct talk_reply *wanted)
{
	const struct compare_oids *oids = &play->stage->sharded_oids;
	struct compare_rows a = compare_rows_of(got, play->arena);
	struct compare_rows b = compare_rows_of(wanted, play->arena);
	const char *why = compare_messages(got, oids, wanted, oids, play->arena);

	if (!why && !compare_rows_same(&a, &b))
		why = compare_bytes(got, wanted, play->arena);
	return why;
}

static bool is_unsupported(const struct talk_reply *reply)
{
	for (unsigned i = 0; i < reply->count; i++) {
		const struct talk_message *message = &reply->messages[i];
		const char *sqlstate;

		if (message->type != WIRE_BE_ErrorResponse)
			continue;
		sqlstate = wire_error_field(message->body, message->len, 'C');
		return sqlstate && strcmp(sqlstate, "0A000") == 0;
	}
	return false;
}

/* What Citus cannot do, its coordinator says as well; the calls before it are not told apart then. */
static bool citus_cannot(struct play *play, const struct talk_reply *replies)
{
	if (!cluster_is_citus() || !is_unsupported(&replies[PROXY]) ||
	    is_unsupported(&replies[PLAIN]))
		return false;
	ask_direct(play);
	return is_unsupported(&play->direct_reply);
}

/* What a script that writes is told of foreign tables has nothing to be compared with. */
static const char *judge_call(struct play *play, const struct script_step *step, unsigned call,
                              const struct talk_reply *replies)
{
	struct talk_reply parts[SIDES];
	const char *why, *other;

	for (unsigned side = PROXY; side <= PLAIN; side++)
		parts[side] = compare_call(&replies[side], step, call, play->arena);
	why = judge_plain(play, step, call, &parts[PROXY], &parts[PLAIN]);
	if (!why || play->routed == step->ncalls)
		return why;
	if (play->script->writes || (cluster_is_citus() && !error_of(play, &parts[PROXY])))
		return parts[PROXY].hung ? why : NULL; /* Citus: whichever worker was first */
	ask_direct(play);
	parts[DIRECT] = compare_call(&play->direct_reply, step, call, play->arena);
	other = judge_direct(play, &parts[PROXY], &parts[DIRECT]);
	if (!other) {
		play->ended |= step->calls[call].question == NULL; /* they are not alike any more */
		return NULL;
	}
	return arena_printf(play->arena, "%s\nnor as the coordinator: %s", why, other);
}

static const char *judge(struct play *play, const struct script_step *step,
                         const struct talk_reply *replies)
{
	const char *why = NULL;

	if (citus_cannot(play, replies)) {
		play->stage->tally.unchecked++;
		return NULL;
	}
	for (unsigned call = 0; call < step->ncalls && !why; call++) {
		why = judge_call(play, step, call, replies);
		if (why)
			why = arena_printf(play->arena, "call %u: %s", call, why);
	}
	return why;
}

/* Which of several calls was routed is not known, unless all or none were. */
static void count_kinds(struct play *play, const struct script_step *step)
{
	struct coverage *coverage = &play->stage->tally.coverage;

	if (play->routed > 0 && play->routed < step->ncalls)
		return;
	if (play->after && step->calls[0].question)
		coverage_add(coverage, play->after, play->routed > 0);
	if (play->after && play->refused)
		coverage_add(
		    coverage,
		    arena_printf(play->arena, "!after DDL refused %s", refusal_name(play->reason)),
		    false);
	if (play->status[step->who] == 'T' && step->calls[0].question)
		coverage_add(coverage, "in a block", play->routed > 0);
	for (unsigned call = 0; call < step->ncalls; call++) {
		const struct question *question = step->calls[call].question;

		for (unsigned i = 0; question && i < question->ntags; i++)
			coverage_add(coverage, question->tags[i], play->routed > 0);
	}
}

/* A block's locks are not the same in both databases: it would wait in one of them. */
static void change_tables(struct play *play, const struct ddl *ddl)
{
	struct stage *stage = play->stage;
	PGconn *const conns[] = {stage->sharded, stage->plain, stage->workers[0],
	                         stage->workers[1]};

	for (unsigned who = 0; who < SESSIONS; who++) {
		if (play->status[who] && play->status[who] != 'I')
			return;
	}
	coverage_add(&stage->tally.coverage, arena_printf(play->arena, "!DDL %s", ddl->name),
	             false);
	ddl_run(ddl, conns);
	play->after = arena_printf(play->arena, "after DDL %s", ddl->name);
}

static const char *run_step(struct play *play, const struct script_step *step)
{
	struct talk_reply replies[SIDES] = {0};
	const char *why;

	if (step->ddl) {
		change_tables(play, step->ddl);
		return NULL;
	}
	if (step->admin) {
		administer(play->stage, step->calls[0].sql);
		return NULL;
	}
	for (unsigned side = PROXY; side <= PLAIN; side++) {
		if (!open_side(play, (enum side)side, step->who, &replies[side]))
			return arena_printf(play->arena, "side %u: cannot log in: %s", side,
			                    compare_text(&replies[side], play->arena));
		if (side == PROXY)
			instance_skip_log(play->stage->instance);
		perform(play, (enum side)side, step, &replies[side]);
		if (side == PROXY)
			read_log(play);
		play->ended |= replies[side].ended || replies[side].hung;
	}
	play->status[step->who] = last_status(&replies[PLAIN]);
	play->stage->tally.steps++;
	count_kinds(play, step);
	if (play->stage->eager && !play->script->writes)
		ask_direct(play);
	why = judge(play, step, replies);
	if (!why)
		return NULL;
	ask_direct(play);
	return arena_printf(
	    play->arena,
	    "%s\nrouted %u, refused %u (%s)\nthrough pgtopk:\n%sone PostgreSQL:\n%sthe "
	    "coordinator:\n%s",
	    why, play->routed, play->refused, play->refused ? refusal_name(play->reason) : "-",
	    compare_text(&replies[PROXY], play->arena), compare_text(&replies[PLAIN], play->arena),
	    compare_text(&play->direct_reply, play->arena));
}

/* Does it matter when the coordinator is asked? */
static bool has_grants(const struct script *script)
{
	for (unsigned i = 0; i < script->nsteps; i++) {
		if (script->steps[i].admin && !script->steps[i].skip)
			return true;
	}
	return false;
}

/* The sessions of scripts before it, which may be its, too; NULL: none. */
static struct stage_seats *kept_seats(struct stage *stage, const struct script *script)
{
	if (stage->fresh || script->own_start || script->ddl)
		return NULL;
	for (unsigned i = 0; i < STAGE_USERS; i++) {
		if (strcmp(script->user, users[i]) == 0)
			return &stage->kept[i];
	}
	return NULL;
}

const char *stage_run(struct stage *stage, struct script *script)
{
	struct stage_seats seats = {0}, *kept = kept_seats(stage, script);
	struct play play = {.stage = stage,
	                    .script = script,
	                    .arena = script->arena,
	                    .seats = kept ? kept : &seats};
	const char *why = NULL;

	administer(stage, script->before);
	stage->eager = has_grants(script);
	for (unsigned i = 0; i < script->nsteps && !why && !play.ended; i++) {
		if (script->steps[i].skip)
			continue;
		play.step = i;
		why = run_step(&play, &script->steps[i]);
	}
	if (!kept || why || play.ended || !clear_all(play.seats, play.arena))
		close_all(play.seats);
	administer(stage, script->after);
	return why;
}
