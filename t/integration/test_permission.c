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

static void open_roles(struct roles *roles)
{
	cluster_run_everywhere("DO $$ BEGIN CREATE ROLE reader LOGIN; CREATE ROLE other LOGIN; "
	                       "EXCEPTION WHEN duplicate_object THEN NULL; END $$");
	cluster_run_shards("items", ITEMS_SHARDS, "GRANT SELECT ON @ TO reader, other");
	roles->instance = instance_shared();
	roles->admin = cluster_connect(CLUSTER_COORDINATOR, NULL);
	cluster_run(roles->admin,
	            "REVOKE ALL ON items FROM reader, other; GRANT SELECT ON items TO reader;"
	            "ALTER TABLE items DISABLE ROW LEVEL SECURITY;"
	            "DROP POLICY IF EXISTS few ON items");
	roles->proxy = instance_connect(roles->instance, "user=reader");
	roles->direct = cluster_connect(CLUSTER_COORDINATOR, "user=reader");
}

static void close_roles(struct roles *roles)
{
	cluster_run(roles->admin, "ALTER TABLE items DISABLE ROW LEVEL SECURITY;"
	                          "DROP POLICY IF EXISTS few ON items");
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
	cluster_run(
	    roles.admin,
	    "REVOKE SELECT ON items FROM reader; GRANT SELECT (id, embedding) ON items TO reader");
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
	cluster_run(roles.admin,
	            "CREATE POLICY few ON items FOR SELECT TO reader USING (label = 3);"
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

/* A role that the workers do not know: the coordinator's mapping still lets it in. */
Test(permission, role_unknown_to_the_workers)
{
	struct roles roles;

	open_roles(&roles);
	cluster_run(
	    roles.admin,
	    "DO $$ BEGIN CREATE ROLE stranger LOGIN; "
	    "EXCEPTION WHEN duplicate_object THEN NULL; END $$; GRANT SELECT ON items TO stranger");
	PQfinish(roles.proxy);
	PQfinish(roles.direct);
	roles.proxy = instance_connect(roles.instance, "user=stranger");
	roles.direct = cluster_connect(CLUSTER_COORDINATOR, "user=stranger");
	check(&roles, TOP10, NULL);
	check(&roles, TOP10, NULL);
	close_roles(&roles);
}
