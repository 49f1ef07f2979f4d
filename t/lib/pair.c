/*
 * Pair: see pair.h.
 */
#include "t/lib/pair.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "t/lib/cluster.h"

static char *heard, *wanted;

void pair_open(struct pair *pair)
{
	memset(pair, 0, sizeof(*pair));
	pair->instance = instance_shared();
	raw_login(&pair->proxy, pair->instance->port);
	raw_login(&pair->direct, cluster_port(CLUSTER_COORDINATOR));
	iobuf_init(&pair->out);
}

void pair_close(struct pair *pair)
{
	raw_close(&pair->proxy);
	raw_close(&pair->direct);
	iobuf_fini(&pair->out);
	free(heard);
	free(wanted);
	heard = wanted = NULL;
}

void pair_talk(struct pair *pair, uint8_t type, unsigned count)
{
	size_t len = iobuf_len(&pair->out);

	iobuf_append(&pair->proxy.out, iobuf_head(&pair->out), len);
	if (!pair->repeating) {
		iobuf_append(&pair->direct.out, iobuf_head(&pair->out), len);
		raw_send(&pair->direct, 0);
		free(wanted);
		wanted = raw_read(&pair->direct, type, count);
	}
	iobuf_consume(&pair->out, len);
	if (pair->cut > 0)
		raw_send_cut(&pair->proxy, pair->cut < len ? pair->cut : len);
	else
		raw_send(&pair->proxy, pair->piece);
	free(heard);
	heard = raw_read(&pair->proxy, type, count);
	cr_assert(strcmp(heard, wanted) == 0, "through pgtopk:\n%.3000s\ndirect:\n%.3000s", heard,
	          wanted);
}

const char *pair_heard(void)
{
	return heard ? heard : "";
}

void pair_sync(struct pair *pair)
{
	wire_put_bare(&pair->out, WIRE_FE_Sync);
	pair_talk(pair, WIRE_BE_ReadyForQuery, 1);
}

void pair_expect_routed(struct pair *pair, unsigned routed)
{
	unsigned found = instance_count(pair->instance, " event=routed ");
	char *lines = instance_read_log(pair->instance);

	if (pair->instance->pid)
		cr_assert_eq(found, routed, "expected %u routed; the log says:\n%.3000s", routed,
		             lines);
	free(lines);
}
