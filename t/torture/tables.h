/*
 * Tables: writes the DDL and the rows of a world's tables: partitions on the
 * workers or here, remote names, dropped columns, indexes.
 */
#ifndef T_TORTURE_TABLES_H
#define T_TORTURE_TABLES_H

#include <stdio.h>

#include "t/torture/world.h"

struct tables_sql {
	FILE *sharded, *worker[2], *plain, *data, *empty;
};

void tables_begin(struct tables_sql *sql, const struct world *world);
void tables_write(struct tables_sql *sql, struct world *world, struct world_table *table,
                  struct dice *dice);

#endif
