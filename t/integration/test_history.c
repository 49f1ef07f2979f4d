/*
 * History: whole sessions, run through pgtopk and then on the coordinator itself: after each
 * statement both have the same answer. Their writes are rolled back.
 */
#include "t/lib/oracle.h"
#include "t/lib/suite.h"

/* id + 0: a column's table may have another OID in each session */
#define TOP "SELECT id + 0 FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 5"
#define INSERT "INSERT INTO items (id, embedding) VALUES (999999, '" Q8 "')"

TestSuite(history, .timeout = 120);

#define TABLES "items (id bigint, embedding vector(8))"
#define NEAR "'[1.5,-2.25,3,0.5,-1,4.75,2,-3]'"

struct history {
	const char *name;
	const char *statements[12];
};

static void compare_histories(struct instance *instance, const struct history *history)
{
	PGconn *conns[2] = {instance_connect(instance, NULL),
	                    cluster_connect(CLUSTER_COORDINATOR, NULL)};
	PGresult *results[2][12];
	unsigned count = 0;

	for (int i = 0; i < 2; i++) {
		for (count = 0; count < 12 && history->statements[count]; count++)
			results[i][count] = PQexec(conns[i], history->statements[count]);
		PQfinish(conns[i]);
	}
	for (unsigned i = 0; i < count; i++) {
		const char *difference = oracle_difference(results[0][i], results[1][i]);

		cr_assert(!difference, "%s, %s: %s", history->name, history->statements[i],
		          difference);
		PQclear(results[0][i]);
		PQclear(results[1][i]);
	}
}

static const struct history histories[] = {
    {"a function writes", {"BEGIN", TOP, "SELECT t_insert()", TOP, "ROLLBACK", TOP}},
    {"what a function has undone", {"BEGIN", TOP, "SELECT t_undo()", TOP, "ROLLBACK"}},
    {"a savepoint is rolled back",
     {"BEGIN", "SAVEPOINT s", INSERT, TOP, "ROLLBACK TO s", TOP, INSERT, TOP, "ROLLBACK"}},
    {"a temporary table hides it",
     {"CREATE TEMP TABLE " TABLES, TOP, "INSERT INTO items VALUES (-7, " NEAR ")", TOP,
      "DROP TABLE items", TOP}},
    {"a temporary table of a function",
     {"SELECT t_temp()", TOP, "DROP TABLE items", TOP, "BEGIN", "SELECT t_temp()", TOP, "ROLLBACK",
      TOP}},
    {"a temporary table of the block",
     {"BEGIN", "CREATE TEMP TABLE " TABLES " ON COMMIT DROP", TOP, "COMMIT", TOP}},
    {"a temporary view hides it",
     {"CREATE TEMP VIEW items AS SELECT -1 AS id, '[1,1,1,1,1,1,1,1]'::vector AS embedding", TOP,
      "DISCARD TEMP", TOP}},
    {"a cursor with hold",
     {"BEGIN", "DECLARE c CURSOR WITH HOLD FOR " TOP, TOP, "COMMIT", "FETCH 3 FROM c", TOP,
      "FETCH ALL FROM c", "CLOSE c"}},
    {"a cursor sees what was there",
     {"BEGIN", "DECLARE c CURSOR FOR " TOP, INSERT, TOP, "FETCH ALL FROM c", "ROLLBACK"}},
    {"several in one message",
     {"BEGIN; " INSERT "; " TOP, TOP, "ROLLBACK; " TOP, INSERT "; " TOP "; SELECT 1/0", TOP}},
    {"a prepared transaction",
     {"BEGIN", INSERT, "PREPARE TRANSACTION 't'", TOP, "ROLLBACK PREPARED 't'", TOP}},
    {"locks",
     {"BEGIN", TOP " FOR UPDATE", TOP, "ROLLBACK", "BEGIN",
      "LOCK TABLE items IN ROW EXCLUSIVE MODE", TOP, "ROLLBACK"}},
    {"a level that is set too late",
     {"BEGIN", TOP, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", TOP, "ROLLBACK"}},
    {"a level for all of the session",
     {"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ", TOP, "BEGIN",
      TOP, INSERT, TOP, "ROLLBACK", TOP}},
    {"a chain of blocks",
     {"BEGIN ISOLATION LEVEL SERIALIZABLE", TOP, "COMMIT AND CHAIN", TOP, "ROLLBACK", TOP}},
    {"only to be read", {"BEGIN READ ONLY", TOP, INSERT, TOP, "ROLLBACK"}},
    {"a snapshot is exported",
     {"BEGIN", "SELECT pg_export_snapshot() IS NULL", TOP, "ROLLBACK",
      "BEGIN ISOLATION LEVEL REPEATABLE READ", "SET TRANSACTION SNAPSHOT '00000003-0000001B-1'",
      TOP, "ROLLBACK"}},
    {"an error", {"BEGIN", TOP, "SELECT 1/0", TOP, "SAVEPOINT s", TOP, "ROLLBACK", TOP}},
    {"our savepoint's name is taken",
     {"BEGIN", "SAVEPOINT pgtopk_description", INSERT,
      "SELECT id, label, note FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 6",
      "ROLLBACK TO pgtopk_description",
      "SELECT id, note, label FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 6",
      "RELEASE pgtopk_description", "ROLLBACK"}},
    {"it is written, in a block, to another table",
     {"BEGIN", "CREATE TEMP TABLE other AS " TOP, TOP, "COMMIT", TOP}},
    {"EXECUTE",
     {"PREPARE p AS " TOP, "EXECUTE p", "BEGIN", INSERT, "EXECUTE p", "ROLLBACK", "EXECUTE p",
      "DISCARD ALL", "EXECUTE p", TOP}},
};

Test(history, trap_10)
{
	static const char *const functions[] = {
	    "CREATE OR REPLACE FUNCTION t_insert() RETURNS void LANGUAGE sql AS $$" INSERT "$$",
	    "CREATE OR REPLACE FUNCTION t_undo() RETURNS void LANGUAGE plpgsql AS $$BEGIN " INSERT
	    "; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN END$$",
	    "CREATE OR REPLACE FUNCTION t_temp() RETURNS void LANGUAGE plpgsql AS $$BEGIN CREATE TEMP"
	    " TABLE " TABLES "; INSERT INTO items VALUES (-7, " NEAR "); END$$"};
	struct instance *instance = instance_shared();

	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		cluster_run_on(CLUSTER_COORDINATOR, functions[i]);
	for (size_t i = 0; i < sizeof(histories) / sizeof(histories[0]); i++)
		compare_histories(instance, &histories[i]);
	cluster_run_on(CLUSTER_COORDINATOR, "DROP FUNCTION t_insert()");
	cluster_run_on(CLUSTER_COORDINATOR, "DROP FUNCTION t_undo()");
	cluster_run_on(CLUSTER_COORDINATOR, "DROP FUNCTION t_temp()");
}
