/*
 * Site: see site.h.
 */
#include "t/faults/site.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "t/lib/cluster.h"

#define COLUMNS "id int, version int, tag int, note text, e vector(4)"
#define TRIES 150
#define TRY_US 200000

#define HBA "host all all 127.0.0.1/32 trust\nlocal all all trust\n"
#define SETTINGS                                                                                   \
	"max_connections = 60\nsuperuser_reserved_connections = 10\nshared_buffers = 32MB\n"       \
	"full_page_writes = off\nmax_wal_size = 1GB\njit = off\n"                                  \
	"hnsw.ef_search = 200\nhnsw.iterative_scan = relaxed_order\n"                              \
	"deadlock_timeout = 300ms\nautovacuum_naptime = 3s\n"

static const char *const names[SITE_TABLES] = {"exact", "indexed", "mixed"};

const char *site_table_name(unsigned table)
{
	return names[table];
}

bool site_table_indexed(unsigned table)
{
	return table == 1;
}

int site_port(const struct site *site)
{
	return site->port;
}

int site_coordinator_port(const struct site *site)
{
	return site->servers[0].port;
}

const char *site_part_name(unsigned table, unsigned part)
{
	return text("%s_%u", names[table], part);
}

const char *site_shard_name(const struct site *site, unsigned table, unsigned part)
{
	const struct site_part *it = &site->parts[table][part];

	if (it->node == 0)
		return site_part_name(table, part);
	return text("%s_%u_g%u", names[table], part, it->generation);
}

/* ---- SQL ---- */

static void ignore(void *context, const PGresult *result)
{
	(void)context;
	(void)result;
}

PGconn *site_connect(const struct site *site, unsigned node)
{
	const struct server *server = &site->servers[node];
	const char *conninfo = text("host=%s port=%d user=postgres dbname=postgres "
	                            "connect_timeout=10 options='-c lock_timeout=3s'",
	                            server->dir, server->port);
	PGconn *conn = PQconnectdb(conninfo);

	for (unsigned i = 0; i < TRIES && PQstatus(conn) != CONNECTION_OK; i++) {
		usleep(TRY_US);
		PQreset(conn);
	}
	cr_assert_eq(PQstatus(conn), CONNECTION_OK, "node %u does not come up: %s", node,
	             PQerrorMessage(conn));
	PQsetNoticeReceiver(conn, ignore, NULL);
	return conn;
}

bool site_try(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(result);

	PQclear(result);
	return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

void site_run(const struct site *site, unsigned node, const char *sql)
{
	char *statement = strdup(sql), why[300] = "";
	bool done = false;

	for (unsigned i = 0; i < TRIES && !done; i++) {
		PGconn *conn = site_connect(site, node);

		done = site_try(conn, statement);
		if (!done) {
			snprintf(why, sizeof(why), "%s", PQerrorMessage(conn));
			if (strstr(why, "syntax error") || strstr(why, "does not exist"))
				i += TRIES / 5;
			usleep(TRY_US);
		}
		PQfinish(conn);
	}
	cr_assert(done, "node %u: %s: %s", node, statement, why);
	free(statement);
}

void site_run_shards(const struct site *site, unsigned table, const char *sql)
{
	for (unsigned part = 0; part < SITE_PARTS; part++) {
		char *statement = NULL;
		const char *name = site_shard_name(site, table, part);
		size_t len;
		FILE *out;

		if (site->parts[table][part].node == 0)
			continue;
		out = open_memstream(&statement, &len);
		for (const char *at = sql; *at; at++) {
			if (*at == '@')
				fputs(name, out);
			else
				fputc(*at, out);
		}
		fclose(out);
		site_run(site, site->parts[table][part].node, statement);
		free(statement);
	}
}

/* ---- tables ---- */

void site_make_shard(struct site *site, unsigned table, unsigned part)
{
	struct site_part *it = &site->parts[table][part];
	const char *name = site_shard_name(site, table, part);

	if (it->node == 0)
		return; /* it is the partition */
	site_run(site, it->node,
	         text("SET client_min_messages = error; DROP TABLE IF EXISTS %s; "
	              "CREATE TABLE %s (" COLUMNS ", UNIQUE (id)); ALTER TABLE %s OWNER TO app%s",
	              name, name, name,
	              site_table_indexed(table)
	                  ? text("; CREATE INDEX %s_e_idx ON %s USING hnsw (e vector_l2_ops)", name,
	                         name)
	                  : ""));
}

const char *site_partition_sql(const struct site *site, unsigned table, unsigned part)
{
	const struct site_part *it = &site->parts[table][part];
	unsigned step = SITE_IDS / SITE_PARTS;
	const char *bounds = text("PARTITION OF %s FOR VALUES FROM (%u) TO (%u)", names[table],
	                          part * step, (part + 1) * step);
	const char *name = site_part_name(table, part);

	if (it->node == 0)
		return text("CREATE TABLE %s %s; ALTER TABLE %s ADD UNIQUE (id); "
		            "ALTER TABLE %s OWNER TO app",
		            name, bounds, name, name);
	return text("CREATE FOREIGN TABLE %s %s SERVER worker%u OPTIONS (schema_name 'public', "
	            "table_name '%s'); ALTER FOREIGN TABLE %s OWNER TO app",
	            name, bounds, it->node, site_shard_name(site, table, part), name);
}

void site_make_table(struct site *site, unsigned table)
{
	char *sql = NULL;
	size_t len;
	FILE *out;

	for (unsigned part = 0; part < SITE_PARTS; part++)
		site_make_shard(site, table, part);
	out = open_memstream(&sql, &len);
	fprintf(out,
	        "DROP TABLE IF EXISTS %s CASCADE; CREATE TABLE %s (" COLUMNS ") PARTITION BY RANGE "
	        "(id); ALTER TABLE %s OWNER TO app;",
	        names[table], names[table], names[table]);
	for (unsigned part = 0; part < SITE_PARTS; part++)
		fprintf(out, "%s;", site_partition_sql(site, table, part));
	fclose(out);
	site_run(site, 0, sql);
	free(sql);
}

/* ---- servers ---- */

static void start_proxy(struct site *site)
{
	const char *options[] = {
	    "--coordinator",
	    text("host=127.0.0.1 port=%d user=postgres dbname=postgres", site->networks[0].port),
	    "--node-map",
	    text("127.0.0.1:%d=127.0.0.1:%d", site->servers[1].port, site->networks[1].port),
	    "--node-map",
	    text("127.0.0.1:%d=127.0.0.1:%d", site->servers[2].port, site->networks[2].port),
	    "--worker-timeout",
	    "2s",
	    "--connect-timeout",
	    "2s",
	    "--pool-wait-timeout",
	    "2s",
	    "--pool-size",
	    "6",
	    "--shutdown-timeout",
	    "5s",
	    NULL};

	instance_start(&site->instance, options);
	site->port = site->instance.pid ? site->instance.port : site->servers[0].port;
}

void site_restart_proxy(struct site *site)
{
	struct instance old = site->instance;

	if (old.pid == 0)
		return;
	start_proxy(site);
	instance_end(&old, SIGTERM);
	instance_forget(&old);
}

static void connect_servers(struct site *site)
{
	site_run(site, 0, "CREATE EXTENSION postgres_fdw");
	for (unsigned node = 1; node < SITE_NODES; node++)
		site_run(site, 0,
		         text("CREATE SERVER worker%u FOREIGN DATA WRAPPER postgres_fdw OPTIONS "
		              "(host '127.0.0.1', port '%d', dbname 'postgres', extensions "
		              "'vector'); CREATE USER MAPPING FOR PUBLIC SERVER worker%u OPTIONS "
		              "(user 'app', password_required 'false'); GRANT USAGE ON FOREIGN "
		              "SERVER worker%u TO app",
		              node, site->servers[node].port, node, node));
}

void site_open(struct site *site)
{
	memset(site, 0, sizeof(*site));
	for (unsigned node = 0; node < SITE_NODES; node++) {
		server_start(&site->servers[node], HBA, SETTINGS);
		forwarder_start(&site->networks[node], site->servers[node].port);
		site_run(site, node,
		         "CREATE ROLE app LOGIN; GRANT ALL ON SCHEMA public TO app; "
		         "CREATE EXTENSION vector");
	}
	cluster_use(site->servers[0].port, site->servers[1].port, site->servers[2].port);
	connect_servers(site);
	for (unsigned table = 0; table < SITE_TABLES; table++) {
		for (unsigned part = 0; part < SITE_PARTS; part++)
			site->parts[table][part].node =
			    table == 2 && part == 1 ? 0 : 1 + part % (SITE_NODES - 1);
		site_make_table(site, table);
	}
	start_proxy(site);
}

void site_close(struct site *site)
{
	instance_stop(&site->instance);
	for (unsigned node = 0; node < SITE_NODES; node++) {
		forwarder_stop(&site->networks[node]);
		server_stop(&site->servers[node]);
	}
}
