/*
 * Fuzz startup: what somebody unknown says. First byte: options; then parts, each with
 * two bytes of length, said one by one when pgtopk has nothing more to say. Nonces are
 * the same each time, so that a real login can be in a corpus.
 */
#include <stdio.h>

#include "t/fuzz/answers.h"
#include "t/fuzz/world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *options[] = {"auth_query",           "",  "client_peer", "off",
	                         "max_clients_per_user", "0", NULL};
	struct fuzz_parts parts = {.at = data + 1, .end = data + size};
	struct world world;
	const uint8_t *part;
	size_t len;

	if (size == 0)
		return 0;
	if (data[0] & 1)
		options[1] =
		    "SELECT rolname, rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1";
	if (data[0] & 2)
		options[3] = "on";
	if (data[0] & 4)
		options[5] = "1";
	world_open(&world, options);
	world.faults = data[0] & 8 ? SERVER_LEAVES : 0;
	while (fuzz_next(&parts, &part, &len)) {
		world_say(&world, part, len);
		world_settle(&world);
	}
	if (getenv("FUZZ_SHOW"))
		fwrite(iobuf_head(&world.heard), 1, iobuf_len(&world.heard), stderr);
	world_leave(&world);
	world_settle(&world);
	world_close(&world);
	return 0;
}
