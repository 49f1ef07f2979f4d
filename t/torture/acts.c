/*
 * Acts: see session.h.
 */
#include <string.h>

#include "t/torture/session.h"

struct setting {
	const char *name;
	const char *values[6];
};

static const struct setting settings[] = {
    {"DateStyle", {"German", "SQL, DMY", "Postgres, MDY", "ISO, DMY", "ISO, YMD"}},
    {"TimeZone", {"UTC", "Asia/Tokyo", "America/New_York", "<A>-3", "+05:30"}},
    {"IntervalStyle", {"iso_8601", "postgres_verbose", "sql_standard", "postgres"}},
    {"extra_float_digits", {"-5", "0", "3", "1"}},
    {"bytea_output", {"escape", "hex"}},
    {"search_path",
     {"public", "\"other s\", public", "public, far", "\"$user\", public",
      "\"other s\", public, pg_catalog"}},
    {"client_encoding", {"LATIN1", "UTF8", "SQL_ASCII", "EUC_JP"}},
    {"enable_seqscan", {"off", "on"}},
    {"enable_indexscan", {"off", "on"}},
    {"enable_sort", {"off", "on"}},
    {"statement_timeout", {"30s", "0", "1min"}},
    {"hnsw.ef_search", {"1", "40", "200", "1000", "10", "7"}},
    {"hnsw.iterative_scan", {"off", "strict_order", "relaxed_order", "off"}},
    {"hnsw.max_scan_tuples", {"1", "20000"}},
    {"ivfflat.probes", {"1", "3", "10"}},
    {"pgtopk.route", {"on", "off", "1", "false"}},
    {"pgtopk.overfetch", {"1", "2.5", "50"}},
    {"transform_null_equals", {"on", "off"}},
    {"array_nulls", {"on", "off"}},
    {"standard_conforming_strings", {"on", "off"}},
    {"work_mem", {"64kB", "4MB"}},
    {"lc_monetary", {"C", "POSIX"}},
    {"plan_cache_mode", {"force_generic_plan", "force_custom_plan", "auto"}},
    {"default_transaction_isolation", {"repeatable read", "read committed"}},
    {"default_transaction_read_only", {"on", "off"}},
    {"xmlbinary", {"hex", "base64"}},
    {"backslash_quote", {"on", "off", "safe_encoding"}},
    {"lock_timeout", {"10s", "0"}},
    {"client_min_messages", {"warning", "notice"}},
    {"row_security", {"off", "on"}},
    {"enable_bitmapscan", {"off", "on"}},
    {"default_text_search_config", {"simple", "english"}},
    {"quote_all_identifiers", {"on", "off"}},
    {"lc_time", {"C", "POSIX"}},
    {"ivfflat.iterative_scan", {"off", "relaxed_order"}},
};

/* In other words than SET name = value. */
static const char *const worded[] = {
    "SET TIME ZONE 'Europe/Paris'",
    "SET TIME ZONE INTERVAL '-08:30' HOUR TO MINUTE",
    "SET TIME ZONE LOCAL",
    "SET NAMES 'LATIN1'",
    "SET NAMES 'UTF8'",
    "SET SCHEMA 'public'",
    "SET SCHEMA 'other s'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET datestyle TO DEFAULT",
    "SET hnsw.ef_search TO DEFAULT",
    "SET SESSION DateStyle FROM CURRENT",
    "BEGIN; SAVEPOINT b; SET DateStyle = 'German'; ROLLBACK TO b; COMMIT",
    "BEGIN; SAVEPOINT b; SET TimeZone = 'Asia/Tokyo'; RELEASE b; COMMIT",
    "BEGIN; SET LOCAL TimeZone = 'Asia/Tokyo'; SET TimeZone = 'UTC'; COMMIT",
    "BEGIN; SET LOCAL search_path = \"other s\"; SAVEPOINT b; RESET search_path; ROLLBACK TO b",
    "UPDATE pg_settings SET setting = 'SQL, DMY' WHERE name = 'DateStyle'",
    "DO $$ BEGIN SET DateStyle = 'German'; RAISE division_by_zero; EXCEPTION WHEN "
    "division_by_zero THEN NULL; END $$",
    "DO $$ BEGIN SET LOCAL IntervalStyle = 'iso_8601'; END $$",
    "SELECT set_config('bytea_output', 'escape', true), 1/0",
    "SET LOCAL ROLE " WORLD_ROLE,
    "SET ROLE NONE",
};

static const char *value_of(const struct setting *setting, struct dice *dice)
{
	unsigned count = 0;

	while (count < 6 && setting->values[count])
		count++;
	return setting->values[dice_below(dice, count)];
}

/* search_path is a list of names, not one. */
static const char *written(struct arena *arena, const struct setting *setting, struct dice *dice)
{
	const char *value = value_of(setting, dice);

	return strcmp(setting->name, "search_path") == 0 ? value : value_literal(arena, value);
}

/* The first ones are those that every text shows. */
#define FORMATS 7

const char *session_setting(struct arena *arena, struct dice *dice)
{
	const struct setting *setting = dice_chance(dice, 50) ? &settings[dice_below(dice, FORMATS)]
	                                                      : &DICE_PICK(dice, settings);
	const char *value = written(arena, setting, dice);
	const char *literal = value_literal(arena, value_of(setting, dice));

	if (dice_chance(dice, 15))
		return DICE_PICK(dice, worded);
	switch (dice_below(dice, 12)) {
	case 0:
		return arena_printf(arena, "SET LOCAL %s = %s", setting->name, value);
	case 1:
		return arena_printf(arena, "RESET %s", setting->name);
	case 2:
		return arena_printf(arena, "SELECT set_config('%s', %s, %s)", setting->name,
		                    literal, dice_chance(dice, 70) ? "false" : "true");
	case 3:
		return arena_printf(arena,
		                    "DO $$ BEGIN PERFORM set_config('%s', %s, false); END $$",
		                    setting->name, literal);
	case 4:
		return dice_chance(dice, 50) ? "RESET ALL" : "DISCARD ALL";
	case 5:
		return arena_printf(arena, "BEGIN; SET %s = %s; %s", setting->name, value,
		                    dice_chance(dice, 50) ? "ROLLBACK" : "COMMIT");
	case 6:
		return arena_printf(arena, "SHOW %s", setting->name);
	default:
		return arena_printf(arena, "SET %s = %s", setting->name, value);
	}
}

const char *session_formats(struct arena *arena, struct dice *dice)
{
	const char *all = "";

	for (unsigned i = 0; i < 5; i++) {
		const struct setting *setting = &settings[i];

		if (dice_chance(dice, 60))
			all = arena_printf(arena, "%sSET %s = %s; ", all, setting->name,
			                   written(arena, setting, dice));
	}
	return all;
}

const char *session_transaction(struct dice *dice)
{
	static const char *const acts[] = {"BEGIN",
	                                   "BEGIN",
	                                   "BEGIN",
	                                   "BEGIN ISOLATION LEVEL REPEATABLE READ",
	                                   "START TRANSACTION READ ONLY",
	                                   "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY",
	                                   "COMMIT",
	                                   "COMMIT",
	                                   "ROLLBACK",
	                                   "ROLLBACK",
	                                   "END",
	                                   "SAVEPOINT a",
	                                   "ROLLBACK TO a",
	                                   "RELEASE a",
	                                   "SELECT 1/0",
	                                   "COMMIT AND CHAIN",
	                                   "SET TRANSACTION READ ONLY"};

	return DICE_PICK(dice, acts);
}

static const struct world_table *table_of(const struct script *script, struct dice *dice)
{
	return &script->world->tables[dice_below(dice, script->world->ntables)];
}

/* Own names for what comes and goes: a temporary table, a cursor, a statement. */
static const char *of_a_table(struct script *script, struct dice *dice)
{
	const struct world_table *table = table_of(script, dice);
	struct arena *arena = script->arena;
	const char *name = value_name(arena, table->name);
	const char *sql = question_sql(question_new(arena, script->world, dice, false));

	switch (dice_below(dice, 9)) {
	case 0:
		return arena_printf(arena,
		                    "CREATE TEMP TABLE %s AS SELECT * FROM %s ORDER BY id LIMIT 3",
		                    name, table->full);
	case 1:
		return arena_printf(arena, "DROP TABLE pg_temp.%s", name);
	case 2:
		return arena_printf(arena, "DECLARE c %sCURSOR FOR %s",
		                    dice_chance(dice, 30) ? "SCROLL " : "", sql);
	case 3:
		return arena_printf(arena, "PREPARE q AS %s", sql);
	case 4:
		return arena_printf(arena, "COPY (SELECT id FROM %s ORDER BY id) TO STDOUT",
		                    table->full);
	case 5:
		return arena_printf(arena, "COPY %s (id) FROM STDIN", table->full);
	case 6:
		return arena_printf(arena, "SELECT count(*), sum(id) FROM %s", table->full);
	case 7:
		return arena_printf(arena, "LOCK TABLE %s IN ACCESS SHARE MODE", table->full);
	default:
		return arena_printf(arena, "BEGIN; %s; COMMIT", sql);
	}
}

const char *session_statement(struct script *script, struct dice *dice)
{
	static const char *const acts[] = {"SELECT 1",
	                                   "SELECT now() IS NOT NULL",
	                                   "",
	                                   "LISTEN x",
	                                   "UNLISTEN *",
	                                   "NOTIFY x, 'heard'",
	                                   "NOT SQL",
	                                   "SELECT 2; SELECT 1",
	                                   "FETCH 2 FROM c",
	                                   "FETCH ALL FROM c",
	                                   "CLOSE c",
	                                   "EXECUTE q",
	                                   "DEALLOCATE q",
	                                   "DEALLOCATE ALL",
	                                   "DISCARD PLANS",
	                                   "DISCARD TEMP",
	                                   "SELECT set_style('German')",
	                                   "SELECT set_style('ISO, MDY')",
	                                   "SELECT set_style('no style')",
	                                   "SELECT set_path('\"other s\", public')",
	                                   "SET ROLE " WORLD_ROLE,
	                                   "SET ROLE " WORLD_USER,
	                                   "RESET ROLE",
	                                   "SET SESSION AUTHORIZATION " WORLD_USER,
	                                   "RESET SESSION AUTHORIZATION",
	                                   "SELECT current_user, session_user"};

	if (dice_chance(dice, 40))
		return of_a_table(script, dice);
	return DICE_PICK(dice, acts);
}

const char *session_write(struct script *script, struct dice *dice, bool only_new)
{
	const struct world_table *table = table_of(script, dice);
	const struct world_column *column = &table->columns[2];
	struct arena *arena = script->arena;
	const char *vector = value_literal(
	    arena, value_vector(dice, arena, column->vector, column->dimensions, !column->tame));

	script->writes = true;
	switch (only_new ? 0 : dice_below(dice, 5)) {
	case 0:
	case 1:
		return arena_printf(arena,
		                    "INSERT INTO %s (id, part, %s) SELECT %u + i, i, %s FROM "
		                    "generate_series(1, %u) i",
		                    table->full, value_name(arena, column->name),
		                    1000 + 10 * dice_below(dice, 1000), vector,
		                    1 + dice_below(dice, 5));
	case 2:
		return arena_printf(arena, "DELETE FROM %s WHERE id %% %u = 1", table->full,
		                    2 + dice_below(dice, 5));
	case 3:
		return arena_printf(arena, "UPDATE %s SET %s = NULL WHERE id = %u", table->full,
		                    value_name(arena, column->name), dice_below(dice, 20));
	default:
		return arena_printf(arena, "UPDATE %s SET %s = %s WHERE id %% %u = 0", table->full,
		                    value_name(arena, column->name), vector,
		                    2 + dice_below(dice, 9));
	}
}

/* ---- the start ---- */

/* The end of a REVOKE: takes effect for the next statement. */
const char *session_grant(const struct script *script, struct dice *dice)
{
	const struct world_table *table = table_of(script, dice);
	struct arena *arena = script->arena;
	const char *who = dice_chance(dice, 60) ? script->user : WORLD_ROLE;

	switch (dice_below(dice, 5)) {
	case 0:
		return arena_printf(arena, "REVOKE SELECT ON %s FROM PUBLIC, %s", table->full, who);
	case 1:
		return arena_printf(arena, "GRANT SELECT (id, part) ON %s TO %s", table->full, who);
	case 2:
		return arena_printf(arena, "REVOKE SELECT (part) ON %s FROM %s", table->full, who);
	default:
		return arena_printf(arena, "GRANT SELECT ON %s TO %s", table->full, who);
	}
}

static void choose_user(struct script *script, struct dice *dice)
{
	const struct world_table *table = &script->world->tables[0];
	struct arena *arena = script->arena;

	if (dice_chance(dice, 70))
		return;
	script->user = dice_chance(dice, 70) ? WORLD_USER : WORLD_ROLE;
	script->before =
	    arena_printf(arena, "%s; %s",
	                 dice_chance(dice, 80) ? "GRANT SELECT ON ALL TABLES IN SCHEMA public, "
	                                         "\"other s\" TO PUBLIC"
	                                       : "SELECT 1",
	                 session_grant(script, dice));
	script->after =
	    "REVOKE ALL ON ALL TABLES IN SCHEMA public, \"other s\" FROM PUBLIC, " WORLD_USER
	    ", " WORLD_ROLE;
	if (dice_chance(dice, 20)) {
		script->before = arena_printf(arena,
		                              "%s; ALTER TABLE %s ENABLE ROW LEVEL SECURITY; "
		                              "CREATE POLICY half ON %s USING (id %% 2 = 0)",
		                              script->before, table->full, table->full);
		script->after = arena_printf(
		    arena, "%s; DROP POLICY half ON %s; ALTER TABLE %s DISABLE ROW LEVEL SECURITY",
		    script->after, table->full, table->full);
	}
}

/* Settings of the role or the database, which the workers do not have. */
static void choose_settings(struct script *script, struct dice *dice)
{
	const struct setting *setting = &DICE_PICK(dice, settings);
	struct arena *arena = script->arena;
	const char *value = written(arena, setting, dice);
	const char *before = script->before ? script->before : "SELECT 1";
	const char *after = script->after ? script->after : "SELECT 1";

	if (dice_chance(dice, 50)) {
		script->before = arena_printf(arena, "%s; ALTER ROLE %s SET %s = %s", before,
		                              script->user, setting->name, value);
		script->after =
		    arena_printf(arena, "%s; ALTER ROLE %s RESET ALL", after, script->user);
		return;
	}
	script->before =
	    arena_printf(arena,
	                 "%s; DO $$ BEGIN EXECUTE format($f$ALTER DATABASE %%I SET %s = %s$f$, "
	                 "current_database()); END $$",
	                 before, setting->name, value);
	script->after =
	    arena_printf(arena,
	                 "%s; DO $$ BEGIN EXECUTE format($f$ALTER DATABASE %%I RESET ALL$f$, "
	                 "current_database()); END $$",
	                 after);
}

void session_start(struct script *script, struct dice *dice)
{
	static const char *const options[] = {"-c DateStyle=German",
	                                      "-c TimeZone=Asia/Tokyo -c extra_float_digits=0",
	                                      "-c hnsw.ef_search=5",
	                                      "-c enable_indexscan=off",
	                                      "-c bytea_output=escape",
	                                      "-c search_path=public,far",
	                                      "-c pgtopk.overfetch=3",
	                                      "-c client_encoding=LATIN1",
	                                      "-c default_transaction_isolation=repeatable\\ read"};

	if (dice_chance(dice, 12))
		script->options = DICE_PICK(dice, options);
	choose_user(script, dice);
	script->own_start = script->options != NULL;
	if (dice_chance(dice, 10)) {
		choose_settings(script, dice);
		script->own_start = true;
	}
}
