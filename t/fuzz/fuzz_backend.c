/*
 * Fuzz backend: a server says anything. First byte: which one (world_scripted), and after
 * how many answers of the real one; second byte: what the client has said before (a row
 * of conversations below). Then the script: parts, each with two bytes of length, said
 * one by one whenever pgtopk has spoken to it.
 */
#include "proxy/wire.h"
#include "t/fuzz/answers.h"
#include "t/fuzz/world.h"

#define ROUTED "SELECT id, name FROM items ORDER BY e <-> '[1,2,3]' LIMIT 4"

static void put_routed(struct iobuf *out)
{
	wire_put_query(out, ROUTED);
}

static void put_bind(struct iobuf *out, const char *portal, const char *statement)
{
	size_t mark = wire_begin(out, WIRE_FE_Bind);

	wire_put_string(out, portal);
	wire_put_string(out, statement);
	wire_put_u16(out, 0);
	wire_put_u16(out, 0);
	wire_put_u16(out, 0);
	wire_end(out, mark);
}

static void put_extended(struct iobuf *out)
{
	wire_put_parse(out, "", ROUTED, sizeof(ROUTED) - 1, 0, NULL);
	put_bind(out, "", "");
	wire_put_describe(out, 'P', "");
	wire_put_execute(out, "", 2);
	wire_put_execute(out, "", 0);
	wire_put_bare(out, WIRE_FE_Sync);
}

static void put_named(struct iobuf *out)
{
	wire_put_parse(out, "s", ROUTED, sizeof(ROUTED) - 1, 0, NULL);
	wire_put_describe(out, 'S', "s");
	wire_put_bare(out, WIRE_FE_Sync);
	put_bind(out, "p", "s");
	wire_put_bare(out, WIRE_FE_Flush);
	wire_put_execute(out, "p", 0);
	wire_put_close(out, 'S', "s");
	wire_put_bare(out, WIRE_FE_Sync);
}

static void put_plain(struct iobuf *out)
{
	wire_put_query(out, "select 1");
	wire_put_parse(out, "a", "select $1", 9, 0, NULL);
	put_bind(out, "", "a");
	wire_put_execute(out, "", 0);
	wire_put_bare(out, WIRE_FE_Sync);
}

static void put_copy(struct iobuf *out)
{
	wire_put_query(out, "copy items from stdin");
	wire_put_bare(out, WIRE_FE_CopyDone);
	put_routed(out);
}

static void put_all(struct iobuf *out)
{
	put_plain(out);
	put_routed(out);
	put_extended(out);
	put_named(out);
	wire_put_query(out, "begin");
	put_routed(out);
	wire_put_query(out, "set pgtopk.route = maybe");
}

static void put_twice(struct iobuf *out)
{
	put_routed(out);
	put_routed(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const conversations[])(struct iobuf *) = {
	    put_routed, put_extended, put_named, put_plain, put_copy, put_all, put_twice,
	};
	static const char *const users[] = {"trusted", "md5", ANSWERS_USER};
	struct world world;
	struct iobuf out;
	unsigned what;

	if (size < 2)
		return 0;
	what = data[1];
	world_open(&world, NULL);
	world.scripted = (enum world_scripted)(1 + data[0] % WORLD_WORKER);
	world.scripted_after = data[0] / 4;
	world.script = (struct fuzz_parts){.at = data + 2, .end = data + size};
	world_login(&world, users[what / 64 % 3]);
	iobuf_init(&out);
	conversations[what % 64 % (sizeof(conversations) / sizeof(conversations[0]))](&out);
	world_say(&world, iobuf_head(&out), iobuf_len(&out));
	iobuf_fini(&out);
	world_settle(&world);
	world_leave(&world);
	world_settle(&world);
	world_close(&world);
	return 0;
}
