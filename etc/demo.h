/*
 * Demo: what ./quickstart shows once the embedded cluster stands. "load"
 * fills the sharded table with Fashion-MNIST and indexes it, "show" prints
 * pictures beside their neighbours and compares the coordinator alone with
 * pgtopk. A program for one run: a failure ends it with a sentence.
 */
#ifndef ETC_DEMO_H
#define ETC_DEMO_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "t/data/fashion.h"

/* demo.c: what both commands need */
void demo_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
struct fashion demo_open(enum fashion_set which);
PGconn *demo_connect(const char *conninfo);
/* Both end the program unless the command succeeds. */
PGresult *demo_result(PGconn *conn, PGresult *result, const char *what);
PGresult *demo_query(PGconn *conn, const char *format, ...) __attribute__((format(printf, 2, 3)));
void demo_command(PGconn *conn, const char *format, ...) __attribute__((format(printf, 2, 3)));
double demo_now_ms(void);

/* demo_load.c */
void demo_load(const char *coordinator);
/* demo_show.c */
void demo_show(const char *direct, const char *proxy);

/* demo_picture.c: pictures side by side, in the terminal's greys */
void picture_print(const uint8_t *const *pixels, size_t count);
/* The columns that each of count pictures takes, the gap behind it included. */
unsigned picture_columns(size_t count);

#endif
