/*
 * Prefilter: what passes, what does not, and that the ends of the text are
 * looked at but never overrun.
 */
#include "parser/prefilter.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* In a buffer of exactly that size, so that a sanitizer sees a byte too many. */
static bool candidate(const char *sql, size_t len)
{
	char *exact = malloc(len + 1);
	bool result;

	memcpy(exact + 1, sql, len);
	result = prefilter_is_candidate(exact + 1, len);
	free(exact);
	return result;
}

Test(prefilter, accepts)
{
	static const char *const texts[] = {
	    "SELECT * FROM t ORDER BY e <-> $1 LIMIT 5",
	    "SELECT * FROM t ORDER BY e <#> $1 limit 5",
	    "SELECT * FROM t ORDER BY e <=> $1 LiMiT 5",
	    "SELECT * FROM t ORDER BY e <+> $1 FETCH FIRST ROW ONLY",
	    "SELECT * FROM t ORDER BY e <~> $1 fetch first 2 rows only",
	    "SELECT * FROM t ORDER BY e <%> $1 fEtCh next 2 rows only",
	    "SELECT e<->$1d FROM t ORDER BY d LIMIT$2",
	    "SELECT e OPERATOR(public.<->) $1 FROM t ORDER BY 1\nLIMIT\n5",
	    "SELECT a<b, e<<->>c LIMIT",
	    "limit <->",
	    "<->LIMIT",
	    "LIMIT <<<->",
	    "SELECT 1 /* LIMIT */ <-> 2",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		cr_expect(candidate(texts[i], strlen(texts[i])), "%s", texts[i]);
}

Test(prefilter, refuses)
{
	static const char *const texts[] = {
	    "",
	    "<",
	    "<-",
	    "<->",
	    "limit",
	    "SELECT 1 LIMIT 1",
	    "SELECT * FROM t ORDER BY e <-> $1",
	    "SELECT * FROM t WHERE a <> 1 LIMIT 5",
	    "SELECT * FROM t WHERE a <= 1 AND b > 2 LIMIT 5",
	    "SELECT * FROM t WHERE a < - 1 LIMIT 5",
	    "SELECT * FROM t WHERE r -|- s AND r << s LIMIT 5",
	    "SELECT a <-> b FROM t WHERE lim = it",
	    "SELECT a <-> b FROM t WHERE c = 'imit'",
	    "imit <->",
	    "etch <->",
	    "<-> limi",
	    "LIMIT <-",
	    "LIMIT <!>",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		cr_expect_not(candidate(texts[i], strlen(texts[i])), "%s", texts[i]);
}

Test(prefilter, nul_bytes)
{
	cr_expect_not(candidate("LIMIT <\0>", 9));
	cr_expect(candidate("\0LIMIT\0<->\0", 11));
}

Test(prefilter, every_cut)
{
	static const char text[] = "SELECT e <-> $1 FROM t LIMIT 5";
	size_t whole = strlen("SELECT e <-> $1 FROM t LIMIT");

	for (size_t len = 0; len <= strlen(text); len++)
		cr_expect_eq(candidate(text, len), len >= whole, "%zu bytes", len);
}

/* A literal of a megabyte before and after the operator. */
Test(prefilter, long_text)
{
	size_t size = 1 << 20;
	char *text = malloc(2 * size + 64);
	size_t len;

	memset(text, '1', size);
	memcpy(text + size, " <-> ", 5);
	memset(text + size + 5, '2', size);
	len = 2 * size + 5;
	cr_expect_not(prefilter_is_candidate(text, len));
	memcpy(text + len, " LIMIT 1", 8);
	cr_expect(prefilter_is_candidate(text, len + 8));
	memset(text, '<', len);
	cr_expect_not(prefilter_is_candidate(text, len + 8));
	free(text);
}
