/*
 * Check roles: see check_roles.h. Who may not read pg_authid is told so; that is no
 * failure, as workers may be reached without passwords.
 */
#include "proxy/check_roles.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "proxy/wire.h"

#define DIGEST_TEXT_LEN 64
#define PRINTED_MAX 20 /* per node */

static const char roles_sql[] =
    "SELECT rolname, CASE WHEN pg_catalog.starts_with(rolpassword, 'SCRAM-SHA-256$')"
    " THEN pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(rolpassword, 'UTF8')), 'hex')"
    " ELSE '' END"
    " FROM pg_catalog.pg_authid WHERE rolcanlogin"
    " ORDER BY rolname USING OPERATOR(pg_catalog.<)";

struct role {
	char digest[DIGEST_TEXT_LEN + 1]; /* "" without a verifier */
	UT_hash_handle hh;
	char name[];
};

struct check_roles {
	FILE *out;
	struct role *by_name; /* the coordinator's with verifiers */
	bool known;           /* the coordinator has told */
	unsigned differing;   /* on all nodes */

	/* the node that is being asked */
	bool coordinator;
	unsigned here;
	bool failed;
	void (*done)(void *owner);
	void *owner;
};

struct check_roles *check_roles_new(FILE *out)
{
	struct check_roles *roles = calloc(1, sizeof(*roles));

	if (!roles)
		abort();
	roles->out = out;
	return roles;
}

void check_roles_free(struct check_roles *roles)
{
	struct role *role, *next;

	HASH_ITER (hh, roles->by_name, role, next) {
		HASH_DELETE(hh, roles->by_name, role);
		free(role);
	}
	free(roles);
}

static void learn(struct check_roles *roles, const struct wire_value *name, const char *digest)
{
	struct role *role;

	if (!digest[0])
		return;
	role = calloc(1, sizeof(*role) + (size_t)name->len + 1);
	if (!role)
		abort();
	memcpy(role->name, name->data, (size_t)name->len);
	memcpy(role->digest, digest, DIGEST_TEXT_LEN);
	HASH_ADD_KEYPTR(hh, roles->by_name, role->name, (size_t)name->len, role);
}

static void compare(struct check_roles *roles, const struct wire_value *name, const char *digest)
{
	struct role *role;

	HASH_FIND(hh, roles->by_name, name->data, (size_t)name->len, role);
	if (!role || strcmp(role->digest, digest) == 0)
		return;
	roles->differing++;
	if (++roles->here <= PRINTED_MAX)
		fprintf(roles->out, "  warning: role \"%s\": %s\n", role->name,
		        digest[0] ? "its SCRAM verifier is not the coordinator's"
		                  : "it has no SCRAM verifier here");
}

static void on_row(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	struct check_roles *roles = owner;
	char text[DIGEST_TEXT_LEN + 1] = "";
	struct wire_value name, digest;
	struct wire_reader values;

	(void)id;
	if (wire_read_data_row(body, len, &values) != 2 || !wire_read_value(&values, &name) ||
	    !wire_read_value(&values, &digest) || !name.data)
		return;
	if (digest.len == DIGEST_TEXT_LEN)
		memcpy(text, digest.data, DIGEST_TEXT_LEN);
	if (roles->coordinator)
		learn(roles, &name, text);
	else
		compare(roles, &name, text);
}

static void not_compared(struct check_roles *roles, const char *why)
{
	roles->failed = true;
	fprintf(roles->out, "  passwords of roles are not compared: %s\n", why);
}

static void on_error(void *owner, unsigned id, const uint8_t *body, size_t len)
{
	const char *message = wire_error_field(body, len, 'M');

	(void)id;
	not_compared(owner, message ? message : "an error without a message");
}

static void on_ready(void *owner)
{
	struct check_roles *roles = owner;

	if (roles->coordinator)
		roles->known = !roles->failed;
	else if (roles->here > PRINTED_MAX)
		fprintf(roles->out, "  ... and %u more\n", roles->here - PRINTED_MAX);
	roles->done(roles->owner);
}

static void on_lost(void *owner, const char *why)
{
	not_compared(owner, why);
	on_ready(owner);
}

static const struct worker_job job = {
    .on_row = on_row,
    .on_error = on_error,
    .on_ready = on_ready,
    .on_lost = on_lost,
};

void check_roles_ask(struct check_roles *roles, struct worker *worker, bool coordinator,
                     void (*done)(void *owner), void *owner)
{
	struct worker_query query = {.id = 0, .sql = roles_sql, .sql_len = strlen(roles_sql)};

	roles->coordinator = coordinator;
	roles->here = 0;
	roles->failed = false;
	roles->done = done;
	roles->owner = owner;
	worker_begin(worker, &job, roles);
	if (coordinator || roles->known) /* else there is nothing to compare with */
		worker_query(worker, &query);
	worker_sync(worker);
}

void check_roles_print_remedy(const struct check_roles *roles, bool citus)
{
	if (roles->differing == 0)
		return;
	fprintf(
	    roles->out,
	    "where a node asks for a SCRAM password, pgtopk cannot log in as these roles, and the "
	    "coordinator answers their queries;\nto mend it, %s\n",
	    citus ? "ALTER ROLE ... PASSWORD on the coordinator: Citus gives all nodes the same"
		  : "copy the verifier: ALTER ROLE ... PASSWORD 'rolpassword in the coordinator's "
		    "pg_authid' on that node");
}
