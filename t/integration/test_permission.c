/*
 * Permission: who may read the sharded table, and which of its rows, is for the
 * coordinator to say: as quickly and in the same words through pgtopk.
 */
#include <string.h>

#include "t/lib/oracle.h"
#include "t/lib/suite.h"

#define TOP10 "SELECT id FROM items ORDER BY embedding <-> '" Q8 "', id LIMIT 10"

struct roles {
	struct instance *instance;
	PGconn *admin;
	PGconn *proxy;  /* as reader */
	PGconn *direct; /* as reader */
};

/* One statement after the other: Citus takes no more of them at once. */
static void administer(PGconn *admin, const char *const *statements)
{
	for (; *statements; statements++)
		cluster_run(admin, *statements);
}
#define ADMINISTER(roles, ...) administer((roles)->admin, (const char *const[]){__VA_ARGS__, NULL})

static void as_it_was(PGconn *admin)
{
	static const char *const statements[] = {
	    "SET client_min_messages = warning",
	    "GRANT USAGE ON SCHEMA public TO PUBLIC",
	    "ALTER TABLE items DISABLE ROW LEVEL SECURITY",
	    "ALTER TABLE items NO FORCE ROW LEVEL SECURITY",
	    "DROP POLICY IF EXISTS few ON items",
	    "ALTER TABLE items OWNER TO postgres",
	    "REVOKE ALL ON items FROM reader, other, readers",
	    "REVOKE readers FROM reader",
	    "ALTER ROLE reader NOSUPERUSER NOBYPASSRLS INHERIT",
	    "DROP SCHEMA IF EXISTS reader CASCADE",
	    "DROP SCHEMA IF EXISTS prepared CASCADE",
	    "GRANT EXECUTE ON FUNCTION l2_distance(vector, vector), pg_catalog.lower(text),"
	    " pg_catalog.texteq(text, text) TO PUBLIC",
	    "GRANT SELECT ON items TO reader",
	    NULL};

	administer(admin, statements);
}

static void open_roles(struct roles *roles)
{
	static const char *const names[] = {"reader LOGIN", "other LOGIN", "readers"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		cluster_run_everywhere(text("DO $$ BEGIN CREATE ROLE %s; "
		                            "EXCEPTION WHEN duplicate_object THEN NULL; END $$",
		                            names[i]));
	if (!cluster_is_citus()) /* which grants by itself */
		cluster_run_shards("items", ITEMS_SHARDS,
		                   "GRANT SELECT ON @ TO reader, other, readers");
	roles->instance = instance_shared();
	roles->admin = cluster_connect(CLUSTER_COORDINATOR, NULL);
	as_it_was(roles->admin);
	roles->proxy = instance_connect(roles->instance, "user=reader");
	roles->direct = cluster_connect(CLUSTER_COORDINATOR, "user=reader");
}

static void close_roles(struct roles *roles)
{
	as_it_was(roles->admin);
	PQfinish(roles->admin);
	PQfinish(roles->proxy);
	PQfinish(roles->direct);
}

/* event NULL: whoever answers. */
static void check(struct roles *roles, const char *sql, const char *event)
{
	PGresult *got, *wanted = PQexec(roles->direct, sql);
	const char *difference;

	instance_skip_log(roles->instance);
	got = PQexec(roles->proxy, sql);
	difference = oracle_difference(got, wanted);
	cr_assert(!difference, "%s: %s", sql, difference);
	if (event)
		instance_expect(roles->instance, event, sql);
	PQclear(got);
	PQclear(wanted);
}

Test(permission, granted_and_revoked)
{
	struct roles roles;

	open_roles(&roles);
	for (int i = 0; i < 3; i++) {
		check(&roles, TOP10, "routed");
		cluster_run(roles.admin, "REVOKE SELECT ON items FROM reader");
		check(&roles, TOP10, NULL); /* an error at once */
		cluster_run(roles.admin, "GRANT SELECT ON items TO reader");
		check(&roles, "SELECT 1", NULL);
		check(&roles, TOP10, "routed");
	}
	close_roles(&roles);
}

Test(permission, trap_10_columns)
{
	struct roles roles;

	open_roles(&roles);
	ADMINISTER(&roles, "REVOKE SELECT ON items FROM reader",
	           "GRANT SELECT (id, embedding) ON items TO reader");
	check(&roles, TOP10, "permission");
	check(&roles, "SELECT label FROM items ORDER BY embedding <-> '" Q8 "', id LIMIT 10",
	      "permission");
	cluster_run(roles.admin, "REVOKE SELECT (id, embedding) ON items FROM reader");
	check(&roles, TOP10, "permission");
	close_roles(&roles);
}

Test(permission, trap_10_row_level_security)
{
	struct roles roles;

	open_roles(&roles);
	check(&roles, TOP10, "routed");
	ADMINISTER(&roles, "CREATE POLICY few ON items FOR SELECT TO reader USING (label = 3)",
	           "ALTER TABLE items ENABLE ROW LEVEL SECURITY");
	check(&roles, TOP10, NULL); /* at once */
	check(&roles, "SELECT 1", NULL);
	check(&roles, TOP10, "row_security");
	cluster_run(roles.admin, "ALTER TABLE items DISABLE ROW LEVEL SECURITY");
	check(&roles, "SELECT 1", NULL);
	check(&roles, TOP10, "routed");
	close_roles(&roles);
}

Test(permission, trap_10_set_role)
{
	struct roles roles;
	PGconn *conns[2];

	open_roles(&roles);
	conns[0] = roles.proxy;
	conns[1] = roles.direct;
	roles.proxy = instance_connect(roles.instance, NULL);
	roles.direct = cluster_connect(CLUSTER_COORDINATOR, NULL);
	check(&roles, TOP10, "routed");
	check(&roles, "SET ROLE other", NULL);
	check(&roles, TOP10, NULL); /* permission denied */
	check(&roles, "SET ROLE reader", NULL);
	check(&roles, TOP10, "role");
	check(&roles, "RESET ROLE", NULL);
	check(&roles, TOP10, "routed");
	check(&roles, "SET SESSION AUTHORIZATION reader", NULL);
	check(&roles, TOP10, "role");
	check(&roles, "RESET SESSION AUTHORIZATION", NULL);
	check(&roles, TOP10, "routed");
	PQfinish(conns[0]);
	PQfinish(conns[1]);
	close_roles(&roles);
}

/* ---- what others do takes effect at once, though the session has asked nothing meanwhile ---- */

/* The reader's query is routed, then another session runs those statements: it is not. */
static void check_change(const char *const *setup, const char *change, const char *sql)
{
	struct roles roles;

	open_roles(&roles);
	administer(roles.admin, setup);
	check(&roles, sql, "routed");
	cluster_run(roles.admin, change);
	check(&roles, sql, NULL);
	check(&roles, "SELECT 1", NULL);
	check(&roles, sql, NULL);
	close_roles(&roles);
}
#define CHECK_CHANGE(change, sql, ...)                                                             \
	check_change((const char *const[]){__VA_ARGS__, NULL}, change, sql)

/* The map that the check compares with may be younger than what is known of the session. */
Test(permission, a_revoke_is_noticed_when_another_session_has_loaded_the_map_since)
{
	static const char *const changes[][2] = {
	    {"REVOKE SELECT ON items FROM reader", "GRANT SELECT ON items TO reader"},
	    {"ALTER TABLE items ENABLE ROW LEVEL SECURITY",
	     "ALTER TABLE items DISABLE ROW LEVEL SECURITY"},
	};
	struct roles roles;
	PGconn *other;

	open_roles(&roles);
	other = instance_connect(roles.instance, NULL);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		check(&roles, TOP10, "routed");
		cluster_run(roles.admin, changes[i][0]);
		cluster_run(other, TOP10);
		check(&roles, TOP10, NULL);
		cluster_run(roles.admin, changes[i][1]);
		check(&roles, "SELECT 1", NULL);
	}
	check(&roles, TOP10, "routed");
	PQfinish(other);
	close_roles(&roles);
}

Test(permission, membership)
{
	CHECK_CHANGE("REVOKE readers FROM reader", TOP10, "REVOKE SELECT ON items FROM reader",
	             "GRANT SELECT ON items TO readers", "GRANT readers TO reader");
}

Test(permission, inheritance)
{
	CHECK_CHANGE("ALTER ROLE reader NOINHERIT", TOP10, "REVOKE SELECT ON items FROM reader",
	             "GRANT SELECT ON items TO readers", "GRANT readers TO reader");
}

Test(permission, superusers)
{
	CHECK_CHANGE("ALTER ROLE reader NOSUPERUSER", TOP10, "REVOKE SELECT ON items FROM reader",
	             "ALTER ROLE reader SUPERUSER");
}

Test(permission, those_who_bypass_policies)
{
	CHECK_CHANGE("ALTER ROLE reader NOBYPASSRLS", TOP10, "ALTER ROLE reader BYPASSRLS",
	             "CREATE POLICY few ON items FOR SELECT TO reader USING (label = 3)",
	             "ALTER TABLE items ENABLE ROW LEVEL SECURITY");
}

Test(permission, owners)
{
	CHECK_CHANGE("ALTER TABLE items OWNER TO postgres", TOP10,
	             "REVOKE SELECT ON items FROM reader", "ALTER TABLE items OWNER TO reader");
	CHECK_CHANGE("ALTER TABLE items FORCE ROW LEVEL SECURITY", TOP10,
	             "ALTER TABLE items OWNER TO reader",
	             "ALTER TABLE items ENABLE ROW LEVEL SECURITY");
}

Test(permission, trap_10_a_policy_that_changes)
{
	struct roles roles;

	open_roles(&roles);
	ADMINISTER(&roles, "CREATE POLICY few ON items FOR SELECT TO reader USING (label = 3)",
	           "ALTER TABLE items ENABLE ROW LEVEL SECURITY");
	check(&roles, TOP10, "row_security");
	check(&roles, "SET row_security = off", NULL);
	check(&roles, TOP10, "row_security"); /* an error */
	check(&roles, "RESET row_security", NULL);
	cluster_run(roles.admin, "ALTER POLICY few ON items USING (label = 4)");
	check(&roles, TOP10, "row_security");
	cluster_run(roles.admin, "ALTER ROLE reader BYPASSRLS");
	check(&roles, TOP10, NULL);
	close_roles(&roles);
}

/* The name means another table as soon as that one is there. */
Test(permission, trap_10_another_sessions_table_shadows_the_name)
{
	static const char insert[] = "INSERT INTO %s.items VALUES (-1, '[1,1,1,1,1,1,1,1]')";
	struct roles roles;

	open_roles(&roles);
	check(&roles, TOP10, "routed");
	ADMINISTER(&roles, "BEGIN", "CREATE SCHEMA reader",
	           "GRANT USAGE ON SCHEMA reader TO reader",
	           "CREATE TABLE reader.items (id bigint, embedding vector(8))",
	           "GRANT SELECT ON reader.items TO reader", text(insert, "reader"), "COMMIT");
	check(&roles, TOP10, NULL);
	cluster_run(roles.admin, "DROP SCHEMA reader CASCADE");
	check(&roles, "SELECT 1", NULL);
	ADMINISTER(&roles, "BEGIN", "CREATE SCHEMA prepared",
	           "GRANT USAGE ON SCHEMA prepared TO reader",
	           "CREATE TABLE prepared.items (id bigint, embedding vector(8))",
	           "GRANT SELECT ON prepared.items TO reader", text(insert, "prepared"), "COMMIT");
	check(&roles, TOP10, "routed");
	cluster_run(roles.admin, "ALTER SCHEMA prepared RENAME TO reader");
	check(&roles, TOP10, NULL);
	close_roles(&roles);
}

/* ---- what has to be granted beside the table ---- */

Test(permission, usage_of_schemas)
{
	static const char qualified[] =
	    "SELECT id FROM public.items ORDER BY embedding OPERATOR(public.<->) '" Q8
	    "', id LIMIT 10";
	struct roles roles;

	open_roles(&roles);
	for (int i = 0; i < 2; i++) {
		const char *sql = i ? qualified : TOP10;

		check(&roles, sql, "routed");
		cluster_run(roles.admin, "REVOKE USAGE ON SCHEMA public FROM PUBLIC");
		check(&roles, sql, NULL);
		check(&roles, "BEGIN", NULL);
		check(&roles, sql, NULL);
		check(&roles, "SELECT 1", NULL);
		check(&roles, "ROLLBACK", NULL);
		cluster_run(roles.admin, "GRANT USAGE ON SCHEMA public TO PUBLIC");
		check(&roles, "SELECT 1", NULL);
	}
	check(&roles, TOP10, "routed");
	close_roles(&roles);
}

/* As soon as the map was loaded again, in a minute at the latest. */
Test(permission, execute_of_functions)
{
	static const struct {
		const char *function, *sql, *event;
	} cases[] = {
	    {"l2_distance(vector, vector)", TOP10, "operator"},
	    {"pg_catalog.lower(text)",
	     "SELECT lower(name) FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 10", "function"},
	    {"pg_catalog.texteq(text, text)",
	     "SELECT id FROM items WHERE name IN ('a', 'b') ORDER BY embedding <-> '" Q8
	     "' LIMIT 10",
	     "operator"},
	};
	struct roles roles;

	open_roles(&roles);
	PQfinish(roles.proxy);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *sql = cases[i].sql;
		struct instance own; /* with a map of its own */

		instance_start(&own, NULL);
		roles.instance = &own;
		roles.proxy = instance_connect(&own, "user=reader");
		check(&roles, sql, "routed");
		cluster_run(roles.admin,
		            text("REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC", cases[i].function));
		cluster_run(roles.admin, "GRANT SELECT ON items TO other");
		check(&roles, sql, cases[i].event);
		cluster_run(roles.admin,
		            text("GRANT EXECUTE ON FUNCTION %s TO PUBLIC", cases[i].function));
		PQfinish(roles.proxy);
		instance_stop(&own);
	}
	roles.proxy = NULL;
	close_roles(&roles);
}

/* ---- functions ---- */

Test(permission, trap_10_functions_of_others)
{
	struct roles roles;

	open_roles(&roles);
	ADMINISTER(&roles,
	           "CREATE OR REPLACE FUNCTION nearest() RETURNS SETOF bigint LANGUAGE sql"
	           " SECURITY DEFINER AS $$" TOP10 "$$",
	           "CREATE OR REPLACE FUNCTION as_caller() RETURNS SETOF bigint LANGUAGE sql"
	           " SET search_path = public AS $$" TOP10 "$$");
	check(&roles, "SELECT * FROM nearest() n", NULL);
	check(&roles, "SELECT * FROM as_caller() n", NULL);
	cluster_run(roles.admin, "REVOKE SELECT ON items FROM reader");
	check(&roles, "SELECT * FROM nearest() n", NULL);
	check(&roles, "SELECT * FROM as_caller() n", NULL);
	check(&roles, TOP10, "permission"); /* nothing is left of the other's rights */
	ADMINISTER(&roles, "DROP FUNCTION nearest()", "DROP FUNCTION as_caller()");
	close_roles(&roles);
}

/* ---- parts ---- */

/* The parent alone is asked for its privileges and policies, not the leaf, local or remote. */
Test(permission, partitions_have_their_own)
{
	struct roles roles;
	struct instance own;

	if (cluster_is_citus())
		return;
	open_roles(&roles);
	instance_start(&own, NULL); /* with a map of its own */
	PQfinish(roles.proxy);
	roles.instance = &own;
	roles.proxy = instance_connect(&own, "user=reader");
	ADMINISTER(&roles, "SET client_min_messages = warning", "DROP TABLE IF EXISTS parts",
	           "CREATE TABLE parts (id int, embedding vector(2)) PARTITION BY RANGE (id)",
	           "CREATE TABLE parts_0 PARTITION OF parts FOR VALUES FROM (0) TO (100)",
	           "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (100) TO (200)",
	           "INSERT INTO parts SELECT i, ARRAY[i, 1]::vector FROM generate_series(0, 199) i",
	           "GRANT SELECT ON parts TO reader");
#define PARTS "SELECT id FROM parts ORDER BY embedding <-> '[90.3, 3]' LIMIT 30"
	check(&roles, PARTS, "worker");
	cluster_run(roles.admin, "GRANT SELECT ON parts_0, parts_1 TO reader");
	check(&roles, PARTS, "routed");
	cluster_run(roles.admin, "ALTER TABLE parts_0 ENABLE ROW LEVEL SECURITY");
	check(&roles, PARTS, "worker");
	cluster_run(roles.admin, "ALTER TABLE parts_0 DISABLE ROW LEVEL SECURITY");
	cluster_run(roles.admin, "ALTER TABLE parts ENABLE ROW LEVEL SECURITY");
	check(&roles, PARTS, "row_security");
	cluster_run(roles.admin, "DROP TABLE parts");
	close_roles(&roles);
	instance_stop(&own);
}

/* A role that the workers do not know: the coordinator's mapping still lets it in. */
Test(permission, role_unknown_to_the_workers)
{
	struct roles roles;

	if (cluster_is_citus()) /* whose coordinator could not read it, either */
		return;
	open_roles(&roles);
	ADMINISTER(&roles,
	           "DO $$ BEGIN CREATE ROLE stranger LOGIN; "
	           "EXCEPTION WHEN duplicate_object THEN NULL; END $$",
	           "GRANT SELECT ON items TO stranger");
	PQfinish(roles.proxy);
	PQfinish(roles.direct);
	roles.proxy = instance_connect(roles.instance, "user=stranger");
	roles.direct = cluster_connect(CLUSTER_COORDINATOR, "user=stranger");
	check(&roles, TOP10, NULL);
	check(&roles, TOP10, NULL);
	close_roles(&roles);
}
