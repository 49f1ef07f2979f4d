/*
 * The demo's command line, and what its commands share: a connection, a query
 * and a way to fail. See demo.h.
 */
#include "etc/demo.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] =
    "usage: demo load CONNINFO\n"
    "         fill and index the table fashion, which etc/cluster made, of\n"
    "         the coordinator at CONNINFO\n"
    "       demo show --direct CONNINFO --proxy CONNINFO\n"
    "         compare the coordinator alone with pgtopk in front of it\n";

void demo_fail(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("\ndemo: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

struct fashion demo_open(enum fashion_set which)
{
	struct fashion set;
	const char *error;

	if (!fashion_open(&set, which, &error))
		demo_fail("%s", error);
	return set;
}

static void ignore_notice(void *arg, const PGresult *result)
{
	(void)arg;
	(void)result;
}

PGconn *demo_connect(const char *conninfo)
{
	PGconn *conn = PQconnectdb(conninfo);

	if (PQstatus(conn) != CONNECTION_OK)
		demo_fail("%s", PQerrorMessage(conn));
	PQsetNoticeReceiver(conn, ignore_notice, NULL);
	return conn;
}

PGresult *demo_result(PGconn *conn, PGresult *result, const char *what)
{
	switch (PQresultStatus(result)) {
	case PGRES_COMMAND_OK:
	case PGRES_TUPLES_OK:
	case PGRES_COPY_IN:
		return result;
	default:
		demo_fail("port %s: %.200s\n%s", PQport(conn), what, PQerrorMessage(conn));
	}
}

static PGresult *vquery(PGconn *conn, const char *format, va_list args)
{
	char sql[2048];
	int len = vsnprintf(sql, sizeof sql, format, args);

	if (len < 0 || (size_t)len >= sizeof sql)
		demo_fail("a statement is too long: %.80s", format);
	return demo_result(conn, PQexec(conn, sql), sql);
}

PGresult *demo_query(PGconn *conn, const char *format, ...)
{
	PGresult *result;
	va_list args;

	va_start(args, format);
	result = vquery(conn, format, args);
	va_end(args);
	return result;
}

void demo_command(PGconn *conn, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	PQclear(vquery(conn, format, args));
	va_end(args);
}

double demo_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
	const char *direct = NULL, *proxy = NULL;

	if (argc == 3 && strcmp(argv[1], "load") == 0) {
		demo_load(argv[2]);
		return 0;
	}
	if (argc == 6 && strcmp(argv[1], "show") == 0) {
		for (int i = 2; i < argc; i += 2) {
			if (strcmp(argv[i], "--direct") == 0)
				direct = argv[i + 1];
			else if (strcmp(argv[i], "--proxy") == 0)
				proxy = argv[i + 1];
		}
	}
	if (direct == NULL || proxy == NULL) {
		fputs(usage, stderr);
		return 2;
	}
	demo_show(direct, proxy);
	return 0;
}
