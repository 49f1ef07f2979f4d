/*
 * Rewrite: the texts that a question becomes. Each is read back and compared
 * with the tree that it was written from, so that a fault of the writer is a
 * refusal, never another question.
 */
#ifndef PARSER_REWRITE_H
#define PARSER_REWRITE_H

#include "parser/analyze.h"
#include "parser/refusal.h"

struct rewrite {
	char *describe_sql;
	/* shard text = before_table "schema"."shard" before_rows 42 */
	char *before_table;
	char *before_rows;
};

/* Changes the question's tree. Texts are in the arena. */
enum refusal rewrite(struct question *question, const struct shardmap_table *table,
                     struct arena *arena, struct rewrite *texts);

#endif
