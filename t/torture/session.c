/*
 * Session: thinks up scripts: questions in all protocols, with settings,
 * transactions, writes and whatever else a session may do between them.
 */
#include <stdio.h>
#include <string.h>

#include "t/torture/ddl.h"
#include "t/torture/script.h"
#include "t/torture/session.h"

struct maker {
	struct script *script;
	struct dice *dice;
	bool two;    /* two sessions */
	bool writes; /* may change the tables */
	unsigned nprepared, nportals;
	unsigned raw; /* of a hundred calls so many are no questions */
	struct script_call prepared[4];
};

/* With `others`, a second session does a step now and then. */
static struct script_step *add_step(struct maker *maker)
{
	struct script_step *step = &maker->script->steps[maker->script->nsteps++];

	memset(step, 0, sizeof(*step));
	step->who = maker->two && dice_chance(maker->dice, 25);
	return step;
}

/* Raw SQL by the simple protocol, or now and then by the extended one. */
static void put_sql(struct maker *maker, struct script_step *step, const char *sql)
{
	/* a Sync that comes before CopyDone is not answered */
	step->simple = dice_chance(maker->dice, 70) || strchr(sql, ';') || strstr(sql, "STDIN");
	step->ncalls = 1;
	step->calls[0] = (struct script_call){
	    .sql = sql, .statement = "", .portal = "", .parse = true, .describe_portal = true};
}

static void add_sql(struct maker *maker, const char *sql)
{
	put_sql(maker, add_step(maker), sql);
}

/* ---- questions ---- */

/* In a pipeline: of what was routed before it the coordinator knows nothing. */
static bool wants_no_query(const char *sql)
{
	return strstr(sql, "DISCARD") || strstr(sql, "ISOLATION") || strstr(sql, "TRANSACTION");
}

static void make_call(struct maker *maker, struct script_call *call)
{
	struct dice *dice = maker->dice;

	*call = (struct script_call){.statement = "", .portal = "", .parse = true};
	if (dice_chance(dice, maker->raw)) {
		do
			call->sql = dice_chance(dice, 50)
			                ? session_transaction(dice)
			                : session_setting(maker->script->arena, dice);
		while (wants_no_query(call->sql));
		call->describe_portal = dice_chance(dice, 50);
		call->sync = dice_chance(dice, 10);
		return;
	}
	if (maker->nprepared > 0 && dice_chance(dice, maker->script->ddl ? 50 : 20)) {
		*call = maker->prepared[dice_below(dice, maker->nprepared)];
		call->parse = false;
	} else {
		call->question =
		    question_new(maker->script->arena, maker->script->world, dice, true);
		if (dice_chance(dice, 20) && maker->nprepared < 4) {
			call->statement =
			    arena_printf(maker->script->arena, "s%u", maker->nprepared + 1);
			maker->prepared[maker->nprepared++] = *call;
		}
	}
	call->describe_statement = dice_chance(dice, 25);
	call->describe_portal = dice_chance(dice, 70);
	call->format = dice_chance(dice, 50) ? 0 : 1 + (int)dice_below(dice, 2);
	call->flush = dice_chance(dice, 10);
	if (dice_chance(dice, 20)) {
		call->max_rows = 1 + dice_below(dice, 6);
		call->again = dice_chance(dice, 60);
	}
	if (dice_chance(dice, 15))
		call->portal = arena_printf(maker->script->arena, "p%u", maker->nportals++ % 3);
	call->close = *call->portal && dice_chance(dice, 80);
	call->sync = dice_chance(dice, 20);
}

static void add_question(struct maker *maker)
{
	struct script_step *step = add_step(maker);
	struct dice *dice = maker->dice;

	step->simple = dice_chance(dice, 45);
	step->ncalls = 1;
	if (step->simple) {
		step->calls[0] = (struct script_call){
		    .question =
			question_new(maker->script->arena, maker->script->world, dice, false),
		    .statement = "",
		    .portal = ""};
		return;
	}
	if (dice_chance(dice, 25))
		step->ncalls = 2 + dice_below(dice, SCRIPT_CALLS_MAX - 1);
	for (unsigned i = 0; i < step->ncalls; i++)
		make_call(maker, &step->calls[i]);
}

/* ---- the rest ---- */

static void add_write(struct maker *maker)
{
	struct script_step *step = add_step(maker);

	put_sql(maker, step, session_write(maker->script, maker->dice, step->who != 0));
}

static void add_grant(struct maker *maker)
{
	struct script_step *step = add_step(maker);

	put_sql(maker, step, session_grant(maker->script, maker->dice));
	step->admin = true;
}

static void add_ddl(struct maker *maker)
{
	struct script_step *step = add_step(maker);
	struct ddl *ddl = ddl_new(maker->script->arena, maker->script->world, maker->dice);

	step->ddl = ddl;
	step->admin = true;
	step->ncalls = 1;
	step->calls[0] = (struct script_call){
	    .sql = arena_printf(maker->script->arena, "%s: %s; %s", ddl->name,
	                        ddl->sharded ? ddl->sharded : "", ddl->plain ? ddl->plain : "")};
}

static void add_other(struct maker *maker)
{
	struct dice *dice = maker->dice;
	struct arena *arena = maker->script->arena;

	if (maker->script->ddl && dice_chance(dice, 60)) {
		add_ddl(maker);
		return;
	}
	if (maker->writes && dice_chance(dice, 30)) {
		add_write(maker);
		return;
	}
	if (maker->script->after && dice_chance(dice, 25)) {
		add_grant(maker);
		return;
	}
	switch (dice_below(dice, 10)) {
	case 0:
	case 1:
	case 2:
	case 3:
		add_sql(maker, session_setting(arena, dice));
		break;
	case 5:
	case 6:
	case 7:
		add_sql(maker, session_transaction(dice));
		break;
	default:
		add_sql(maker, session_statement(maker->script, dice));
		break;
	}
}

struct script *script_new(struct arena *arena, const struct world *world, struct dice *dice,
                          bool ddl)
{
	struct script *script = arena_calloc(arena, 1, sizeof(*script));
	struct maker maker = {.script = script, .dice = dice};
	unsigned steps = 1 + dice_below(dice, dice_chance(dice, 60) ? 4 : SCRIPT_STEPS_MAX - 8);
	unsigned others = dice_chance(dice, 35) ? 0 : 10 + dice_below(dice, 50);

	script->arena = arena;
	script->world = world;
	script->user = "postgres";
	session_start(script, dice);
	maker.two = dice_chance(dice, 25);
	maker.writes = dice_chance(dice, 30);
	maker.raw = dice_chance(dice, 40) ? 25 : 0;
	if (ddl) {
		script->ddl = true;
		maker.writes = false; /* a row may have no partition to go to */
		steps = 6 + dice_below(dice, 12);
		others = 30;
	}
	if (dice_chance(dice, 35))
		add_sql(&maker, session_formats(arena, dice));
	if (dice_chance(dice, 15))
		add_sql(&maker, "BEGIN");
	while (script->nsteps < steps) {
		if (dice_chance(dice, others))
			add_other(&maker);
		else
			add_question(&maker);
	}
	return script;
}
