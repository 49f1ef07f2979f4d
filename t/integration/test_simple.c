/*
 * Simple: vector queries in the simple query protocol: every distance operator and
 * type, every way to write a top-K query. Each must be answered by the shards and
 * equal exact search over one table.
 */
#include "t/lib/oracle.h"
#include "t/lib/suite.h"

#define DISTANCE "ORDER BY embedding <-> '" Q8 "'"

static void all_routed(const char *const *statements)
{
	struct oracle oracle;

	oracle_open(&oracle);
	for (; *statements; statements++)
		oracle_routed(&oracle, *statements);
	oracle_close(&oracle);
}

Test(simple, distance_of_vector)
{
	static const char *const statements[] = {
	    "SELECT id, embedding <-> '" Q8 "' AS d FROM items ORDER BY d LIMIT 10",
	    "SELECT id, embedding <#> '" Q8 "' AS d FROM items ORDER BY d LIMIT 10",
	    "SELECT id, embedding <=> '" Q8 "' AS d FROM items ORDER BY d LIMIT 10",
	    "SELECT id, embedding <+> '" Q8 "' AS d FROM items ORDER BY d, id LIMIT 10",
	    "SELECT id FROM items ORDER BY embedding <-> '" Q8_OTHER "' LIMIT 200",
	    "SELECT id FROM items ORDER BY embedding <#> '" Q8_OTHER "' LIMIT 200",
	    "SELECT id FROM items ORDER BY embedding <=> '" Q8_OTHER "' LIMIT 200",
	    NULL};

	all_routed(statements);
}

Test(simple, distance_of_halfvec_bit_sparsevec)
{
	static const char *const statements[] = {
	    "SELECT id, half <-> '" Q8 "' FROM items ORDER BY half <-> '" Q8 "', id LIMIT 20",
	    "SELECT id, half <#> '" Q8 "' FROM items ORDER BY half <#> '" Q8 "', id LIMIT 20",
	    "SELECT id, half <=> '" Q8 "' FROM items ORDER BY half <=> '" Q8 "', id LIMIT 20",
	    "SELECT id, half <+> '" Q8 "' FROM items ORDER BY half <+> '" Q8 "', id LIMIT 20",
	    "SELECT id FROM items ORDER BY bits <~> B'" Q_BITS "', id LIMIT 20",
	    "SELECT id FROM items ORDER BY bits <%> B'" Q_BITS "', id LIMIT 20",
	    "SELECT id FROM items ORDER BY bits <~> '" Q_BITS "', id LIMIT 20",
	    "SELECT id FROM items ORDER BY sparse <-> '" Q_SPARSE "', id LIMIT 20",
	    "SELECT id FROM items ORDER BY sparse <#> '" Q_SPARSE "', id LIMIT 20",
	    "SELECT id FROM items ORDER BY sparse <=> '" Q_SPARSE "', id LIMIT 20",
	    "SELECT id FROM items ORDER BY sparse <+> '" Q_SPARSE "', id LIMIT 20",
	    NULL};

	all_routed(statements);
}

Test(simple, trap_09_operand_order_and_schema)
{
	static const char *const statements[] = {
	    "SELECT id FROM items ORDER BY '" Q8 "' <-> embedding LIMIT 10",
	    "SELECT id FROM items ORDER BY '" Q8 "' <=> embedding LIMIT 10",
	    "SELECT id FROM items ORDER BY '" Q8 "'::vector <#> embedding LIMIT 10",
	    "SELECT id FROM items ORDER BY embedding OPERATOR(public.<->) '" Q8 "' LIMIT 10",
	    "SELECT id FROM public.items ORDER BY embedding <-> '" Q8 "' LIMIT 10",
	    "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT '10' OFFSET ('3'::int4)",
	    "SELECT items.id FROM items ORDER BY items.embedding <-> '" Q8 "' LIMIT 10",
	    "SELECT public.items.id FROM public.items ORDER BY public.items.embedding <-> '" Q8
	    "' LIMIT 10",
	    "SELECT i.id FROM items AS i ORDER BY i.embedding <-> '" Q8 "' LIMIT 10",
	    "SELECT \"i\".\"id\" FROM \"items\" \"i\" ORDER BY \"i\".embedding <-> '" Q8
	    "' LIMIT 10",
	    NULL};

	all_routed(statements);
}

Test(simple, casts_and_expressions)
{
	static const char *const statements[] = {
	    "SELECT id FROM items ORDER BY embedding <-> '" Q8 "'::vector LIMIT 10",
	    "SELECT id FROM items ORDER BY embedding <-> '" Q8 "'::vector(8) LIMIT 10",
	    "SELECT id FROM items ORDER BY embedding <-> CAST('" Q8 "' AS vector(8)) LIMIT 10",
	    "SELECT id FROM items ORDER BY embedding <-> vector '" Q8 "' LIMIT 10",
	    "SELECT id FROM items ORDER BY embedding <-> ARRAY[1,2,3,4,5,6,7,8]::vector LIMIT 10",
	    "SELECT id FROM items ORDER BY embedding <-> '{1,2,3,4,5,6,7,8.5}'::float8[]::vector "
	    "LIMIT 10",
	    "SELECT id FROM items ORDER BY embedding::halfvec(8) <=> '" Q8 "' LIMIT 10",
	    "SELECT id FROM items ORDER BY embedding::halfvec(8) <-> '" Q8 "'::halfvec(8), id "
	    "LIMIT 10",
	    "SELECT id FROM items ORDER BY (embedding::halfvec(8)) <=> '" Q8 "'::halfvec LIMIT 10",
	    "SELECT id FROM items ORDER BY binary_quantize(embedding)::bit(8) <~> "
	    "binary_quantize('" Q8 "'::vector)::bit(8), id LIMIT 10",
	    "SELECT id FROM items ORDER BY binary_quantize(embedding)::bit(8) <%> B'11010011', id "
	    "LIMIT 10",
	    "SELECT id FROM items ORDER BY subvector(embedding, 1, 4)::vector(4) <-> '[1,2,3,4]', "
	    "id LIMIT 10",
	    "SELECT id FROM items ORDER BY l2_normalize(embedding) <-> '" Q8 "', id LIMIT 10",
	    NULL};

	all_routed(statements);
}

Test(simple, by_alias_position_expression)
{
	static const char *const statements[] = {
	    "SELECT embedding <-> '" Q8 "' AS d, id FROM items ORDER BY d LIMIT 10",
	    "SELECT embedding <-> '" Q8 "' AS \"Dist ance\", id FROM items ORDER BY \"Dist ance\" "
	    "LIMIT 10",
	    "SELECT embedding <-> '" Q8 "', id FROM items ORDER BY 1 LIMIT 10",
	    "SELECT id, label, embedding <-> '" Q8 "' FROM items ORDER BY 3, 1 LIMIT 10",
	    "SELECT id AS embedding FROM items ORDER BY items.embedding <-> '" Q8 "' LIMIT 10",
	    "SELECT embedding <-> '" Q8 "' AS id, id AS x FROM items ORDER BY id LIMIT 10",
	    "SELECT id FROM items " DISTANCE " ASC LIMIT 10",
	    "SELECT id id2, 1 - (embedding <=> '" Q8 "') AS similarity FROM items "
	    "ORDER BY embedding <=> '" Q8 "' LIMIT 10",
	    NULL};

	all_routed(statements);
}

Test(simple, target_lists)
{
	static const char *const statements[] = {
	    "SELECT * FROM items " DISTANCE " LIMIT 10",
	    "SELECT items.* FROM items " DISTANCE " LIMIT 5",
	    "SELECT i.*, id FROM items i " DISTANCE " LIMIT 5",
	    "SELECT id, *, label + 1 FROM items " DISTANCE " LIMIT 5",
	    "SELECT id, id, label AS id FROM items " DISTANCE " LIMIT 5",
	    "SELECT upper(name), octet_length(name), coalesce(name, 'none'), label::text || '!', "
	    "CASE WHEN label > 5 THEN 'big' ELSE name END, price * 2, made, data FROM items " DISTANCE
	    " LIMIT 50",
	    "SELECT 1, 'x', NULL, true, id FROM items " DISTANCE " LIMIT 3",
	    "SELECT tags[1], note->>'n', note, span, weight, -weight FROM items " DISTANCE
	    " LIMIT 50",
	    "SELECT embedding, half, bits, sparse FROM items " DISTANCE " LIMIT 10",
	    "SELECT vector_dims(embedding), vector_norm(embedding) FROM items " DISTANCE " LIMIT 5",
	    NULL};

	all_routed(statements);
}

Test(simple, trap_04_descending_nulls_nan)
{
	static const char *const statements[] = {
	    "SELECT id FROM items " DISTANCE " DESC, id LIMIT 30",
	    "SELECT id FROM items " DISTANCE " DESC NULLS LAST LIMIT 30",
	    "SELECT id FROM items " DISTANCE " NULLS FIRST, id LIMIT 30",
	    "SELECT id, embedding <=> '" Q8 "' FROM items ORDER BY 2 DESC, id LIMIT 40",
	    "SELECT id, embedding <=> '" Q8 "' FROM items ORDER BY 2 DESC NULLS LAST, id LIMIT 40",
	    "SELECT id, embedding <=> '" Q8 "' FROM items ORDER BY 2, id LIMIT 2000",
	    "SELECT id, embedding <#> '" Q8 "' FROM items ORDER BY 2 DESC NULLS LAST, id LIMIT 20",
	    "SELECT id FROM items ORDER BY embedding <=> '[0,0,0,0,0,0,0,0]', id LIMIT 20",
	    "SELECT id, half <=> '" Q8 "' FROM items ORDER BY 2 DESC, id LIMIT 40",
	    "SELECT id, half <=> '" Q8 "' FROM items ORDER BY 2, id LIMIT 2000",
	    "SELECT id FROM items WHERE embedding IS NULL " DISTANCE ", id LIMIT 20",
	    NULL};

	all_routed(statements);
}

Test(simple, further_keys)
{
	static const char *const keys[] = {"id",
	                                   "id DESC",
	                                   "label, id",
	                                   "label DESC NULLS LAST, id",
	                                   "price, id",
	                                   "price DESC NULLS LAST, id",
	                                   "made DESC",
	                                   "weight, id",
	                                   "weight DESC, id",
	                                   "data, id",
	                                   "octet_length(name) NULLS FIRST, id",
	                                   "bits <~> B'" Q_BITS "', id",
	                                   "embedding <-> '" Q8 "' DESC, id",
	                                   "label % 3, id",
	                                   "(label > 5), id",
	                                   NULL};
	struct oracle oracle;

	oracle_open(&oracle);
	for (const char *const *key = keys; *key; key++)
		oracle_routed(&oracle, text("SELECT id, label, ties <-> '[1,1,1]' FROM items "
		                            "ORDER BY ties <-> '[1,1,1]', %s LIMIT 100",
		                            *key));
	oracle_close(&oracle);
}

/* Keys whose order pgtopk may not know exactly: answered right, whoever does it. */
Test(simple, further_keys_of_other_types)
{
	static const char *const keys[] = {"note, id",
	                                   "name, id",
	                                   "name DESC, id",
	                                   "tags, id",
	                                   "span, id",
	                                   "embedding, id",
	                                   "name COLLATE \"POSIX\", id",
	                                   "sparse, id",
	                                   NULL};
	struct oracle oracle;

	oracle_open(&oracle);
	for (const char *const *key = keys; *key; key++) {
		const char *sql = text("SELECT id FROM items ORDER BY ties <-> '[1,1,1]', %s "
		                       "LIMIT 100",
		                       *key);
		PGresult *got = PQexec(oracle.proxy, sql), *wanted = PQexec(oracle.plain, sql);
		const char *difference = NULL;

		for (int i = 0; i < PQntuples(wanted) && !difference; i++)
			if (strcmp(PQgetvalue(got, i, 0), PQgetvalue(wanted, i, 0)) != 0)
				difference = text("row %d", i);
		cr_assert(PQntuples(got) == 100 && !difference, "%s: %s", sql, difference);
		PQclear(got);
		PQclear(wanted);
	}
	oracle_close(&oracle);
}

Test(simple, trap_05_offset_per_shard)
{
	static const char *const tails[] = {"LIMIT 10 OFFSET 10",
	                                    "LIMIT 1 OFFSET 300",
	                                    "LIMIT 10 OFFSET 1995",
	                                    "LIMIT 10 OFFSET 5000",
	                                    "OFFSET 5 LIMIT 10",
	                                    "OFFSET 5 ROWS FETCH FIRST 10 ROWS ONLY",
	                                    "FETCH FIRST 10 ROWS ONLY",
	                                    "FETCH NEXT ROW ONLY",
	                                    "FETCH FIRST ROW ONLY",
	                                    "LIMIT 10 OFFSET 0",
	                                    "LIMIT 10 OFFSET NULL",
	                                    "LIMIT 10::int8",
	                                    "LIMIT CAST(7 AS bigint) OFFSET 3::int",
	                                    "LIMIT 100000",
	                                    "LIMIT 2147483648",
	                                    NULL};
	struct oracle oracle;

	oracle_open(&oracle);
	for (const char *const *tail = tails; *tail; tail++)
		oracle_routed(&oracle, text("SELECT id FROM items " DISTANCE ", id %s", *tail));
	oracle_close(&oracle);
}

Test(simple, trap_05_limits_that_are_not_routed)
{
	static const struct {
		const char *tail, *reason;
	} cases[] = {
	    {"LIMIT 0", "limit"},
	    {"LIMIT ALL", "limit"},
	    {"LIMIT NULL", "limit"},
	    {"LIMIT -1", "limit"},
	    {"LIMIT 10 OFFSET -1", "limit"},
	    {"LIMIT 5 + 5", "limit"},
	    {"LIMIT 1.5", "limit"},
	    {"LIMIT 9223372036854775807 OFFSET 9223372036854775807", "limit"},
	    {"LIMIT 99999999999999999999", "limit"},
	    {"LIMIT (SELECT 3)", "limit"},
	    {"FETCH FIRST 10 ROWS WITH TIES", "with_ties"},
	    {"OFFSET 5", NULL},
	};
	struct oracle oracle;

	oracle_open(&oracle);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		oracle_check(&oracle,
		             text("SELECT id FROM items " DISTANCE ", id %s", cases[i].tail),
		             cases[i].reason);
	oracle_close(&oracle);
}

Test(simple, where)
{
	static const char *const conditions[] = {
	    "label = 3",
	    "label IN (1, 2, 7) AND id > 100",
	    "label = ANY ('{1,5}')",
	    "label <> ALL (ARRAY[1,5])",
	    "id BETWEEN 100 AND 200 OR label = 9",
	    "NOT (label = 3)",
	    "name LIKE 'name a%'",
	    "name ILIKE '%B%' AND name IS NOT NULL",
	    "name IS NULL",
	    "price > 50.5 AND price < 100",
	    "made >= '2024-06-01' AND made < '2024-09-01 00:00+00'",
	    "made > timestamptz '2025-01-01 00:00:00+02'",
	    "note @> '{\"odd\": true}'",
	    "note->>'n' = '77' OR (note->'n')::int > 1900",
	    "tags @> '{t3}'",
	    "embedding <-> '" Q8 "' < 15",
	    "coalesce(label, 0) = 4",
	    "octet_length(name) > 10",
	    "label % 2 = 0",
	    "weight IS DISTINCT FROM 'NaN'",
	    "span > '30 days'",
	    "label = 3 AND false",
	    "id < 0",
	    NULL};
	struct oracle oracle;

	oracle_open(&oracle);
	for (const char *const *where = conditions; *where; where++)
		oracle_routed(&oracle, text("SELECT id, label FROM items WHERE %s " DISTANCE
		                            ", id LIMIT 100",
		                            *where));
	oracle_close(&oracle);
}

Test(simple, texts)
{
	static const char *const statements[] = {
	    "select id from items order by embedding <-> '" Q8 "' limit 10;",
	    "SELECT id FROM items\n\tORDER BY embedding\n<->'" Q8 "'LIMIT 10 ; ",
	    "/* a comment */ SELECT id -- and\nFROM items " DISTANCE " LIMIT 10",
	    "SELECT id, 'it''s', \"id\" FROM items " DISTANCE " LIMIT 10",
	    "SELECT id, $$dollar$$, E'tab\\t' FROM items " DISTANCE " LIMIT 10",
	    "SELECT id, U&'\\00e9', 'h\303\251' AS \"\303\251t\303\251\" FROM items " DISTANCE
	    " LIMIT 10",
	    NULL};

	all_routed(statements);
}

Test(simple, ties_at_the_last_rank)
{
	struct oracle oracle;

	oracle_open(&oracle);
	oracle_tied(&oracle, "SELECT ties <-> '[1,1,1]', id FROM items ORDER BY 1 LIMIT 100",
	            "SELECT ties <-> '[1,1,1]', id FROM items");
	oracle_tied(&oracle,
	            "SELECT bits <~> B'" Q_BITS "', id FROM items ORDER BY 1 LIMIT 70 OFFSET 30",
	            "SELECT bits <~> B'" Q_BITS "', id FROM items");
	oracle_close(&oracle);
}
