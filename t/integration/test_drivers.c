/*
 * Drivers: what applications are written with. One script for each, in drivers/, does
 * everything typical and prints what it was told. Directly and through pgtopk it must
 * print the same; its last line says how many of its vector queries the shards answer.
 */
#include <stdlib.h>
#include <string.h>

#include "t/lib/program.h"
#include "t/lib/suite.h"

#define JAR "/usr/share/java/postgresql.jar"

/* A command that runs the script; its arguments follow. */
static const char *script(const char *interpreter, const char *name)
{
	const char *source = getenv("PGTOPK_SRCDIR");

	return text("%s '%s/t/integration/drivers/%s'", interpreter,
	            source && *source ? source : ".", name);
}

static char *run(const char *command, int port)
{
	int status;
	char *output = program_run(text("timeout 120 %s %d '" Q8 "' '" Q8_OTHER "'", command, port),
	                           NULL, &status);

	cr_assert_eq(status, 0, "%s: %s", command, output);
	return output;
}

static void same(const char *command)
{
	struct instance *instance = instance_shared();
	char *wanted = run(command, cluster_port(CLUSTER_COORDINATOR));
	char *got = run(command, instance->port);
	const char *last = strstr(got, "routed: ");
	unsigned routed = instance_count(instance, " event=routed ");

	cr_assert_str_eq(got, wanted);
	cr_assert_not_null(last, "%s", got);
	if (instance->pid)
		cr_assert_eq(routed, (unsigned)atoi(last + strlen("routed: ")), "%u routed, %s",
		             routed, last);
	free(got);
	free(wanted);
}

/* The first of these that succeeds with its argument, or NULL. */
static const char *find(const char *const *interpreters, const char *argument)
{
	for (; *interpreters; interpreters++) {
		if (system(text("%s %s >/dev/null 2>&1", *interpreters, argument)) == 0)
			return *interpreters;
	}
	return NULL;
}

/* Debian's modules are for Debian's interpreter, which may be hidden by another one. */
static const char *const pythons[] = {"python3 -B", "/usr/bin/python3 -B", NULL};
static const char *const perls[] = {"perl", "/usr/bin/perl", NULL};
static const char *const nodes[] = {"node", "/usr/bin/node", "NODE_PATH=/usr/share/nodejs node",
                                    NULL};
static const char *const javas[] = {"java -cp " JAR, NULL};

static void driver(const char *name, const char *const *interpreters, const char *argument,
                   const char *file, const char *package)
{
	const char *interpreter = find(interpreters, argument);

	if (!interpreter)
		SKIP(name, text("the driver is not installed (Debian: %s)", package));
	else
		same(script(interpreter, file));
}

Test(drivers, psycopg2)
{
	driver("psycopg2", pythons, "-c 'import psycopg2.extras'", "use_psycopg2.py",
	       "python3-psycopg2");
}

Test(drivers, psycopg3)
{
	driver("psycopg3", pythons, "-c 'import psycopg'", "use_psycopg3.py", "python3-psycopg");
}

Test(drivers, node_pg)
{
	driver("node_pg", nodes, "-e 'require(\"pg\")'", "use_pg.js", "node-pg");
}

Test(drivers, perl_dbd_pg)
{
	driver("perl_dbd_pg", perls, "-e 'use DBD::Pg'", "use_dbd_pg.pl", "libdbd-pg-perl");
}

Test(drivers, jdbc)
{
	driver("jdbc", javas, "--list-modules | grep -q '^jdk.compiler' && test -e " JAR,
	       "UseJdbc.java", "libpostgresql-jdbc-java, default-jdk-headless");
}
