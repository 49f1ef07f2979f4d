/*
 * Fuzz frontend: a client that is logged in says anything. First byte: how its bytes come
 * (0 all at once, 1 message by message, n in pieces of n bytes); second byte: faults of
 * the workers (low half) and options. Rows are made up such that pgtopk must say, byte
 * for byte, what the coordinator alone would have said. The stand-ins read SQL by a few
 * words, though: where a statement was routed, and FUZZ_STRICT is not set, another number
 * of rows or other fields count for nothing, as mutants of it may mislead them.
 */
#include <assert.h>
#include <stdio.h>
#include <unistd.h>

#include "proxy/wire.h"
#include "t/fuzz/answers.h"
#include "t/fuzz/world.h"

#define SMALL_INSPECT 16
#define LANES 32
#define NO_ROUTE 64
#define CANCELS 128 /* each piece is followed by a CancelRequest; nothing is compared then */

static size_t next_piece(uint8_t mode, const uint8_t *data, size_t size)
{
	size_t piece = size, total;
	uint8_t type;

	if (mode == 1 && wire_frame(data, size, &type, &total) == WIRE_FRAME_OK)
		piece = total;
	else if (mode > 1)
		piece = mode;
	return piece < size ? piece : size;
}

/* The types of its messages, or the message at some byte in full. */
static void show(const char *whose, const struct iobuf *said)
{
	const uint8_t *at = iobuf_head(said);
	size_t left = iobuf_len(said), total;
	uint8_t type;

	fprintf(stderr, "%s: ", whose);
	while (wire_frame(at, left, &type, &total) == WIRE_FRAME_OK && total <= left) {
		const char *sqlstate =
		    type == WIRE_BE_ErrorResponse ? wire_error_field(at + 5, total - 5, 'C') : NULL;

		fprintf(stderr, "%c%s%s ", type, sqlstate ? ":" : "", sqlstate ? sqlstate : "");
		at += total;
		left -= total;
	}
	fprintf(stderr, "(%zu bytes)\n", iobuf_len(said));
}

/* The types of messages as text, without rows and fields. False: no room. */
static bool outline(const struct iobuf *said, char *out, size_t size)
{
	const uint8_t *at = iobuf_head(said);
	size_t left = iobuf_len(said), total, used = 0;
	uint8_t type;

	while (wire_frame(at, left, &type, &total) == WIRE_FRAME_OK && total <= left) {
		if (used + 1 == size)
			return false;
		if (type == WIRE_BE_PortalSuspended || type == WIRE_BE_EmptyQueryResponse)
			type = WIRE_BE_CommandComplete;
		if (type != WIRE_BE_DataRow && type != WIRE_BE_RowDescription &&
		    type != WIRE_BE_NoData && type != WIRE_BE_ParameterDescription)
			out[used++] = (char)type;
		at += total;
		left -= total;
	}
	out[used] = '\0';
	return true;
}

/* The same but for rows and fields. */
static bool is_alike(const struct iobuf *heard, const struct iobuf *wanted)
{
	char one[4096], other[4096];

	return !outline(heard, one, sizeof(one)) || !outline(wanted, other, sizeof(other)) ||
	       strncmp(one, other, strlen(one)) == 0;
}

/* All that the coordinator alone says, and nothing behind it but what it may yet say. */
static void compare(const struct iobuf *heard, bool routed, const uint8_t *data, size_t size)
{
	struct server *server = server_new("trusted", 0);
	struct iobuf wanted;
	size_t len = iobuf_len(heard), least;
	bool same;

	iobuf_init(&wanted);
	server_hear(server, data, size, &wanted);
	least = iobuf_len(&wanted);
	iobuf_append(&wanted, iobuf_head(server_unsaid(server)), iobuf_len(server_unsaid(server)));
	same = len >= least && len <= iobuf_len(&wanted) &&
	       (len == 0 || memcmp(iobuf_head(heard), iobuf_head(&wanted), len) == 0);
	if (!same && !(routed && !getenv("FUZZ_STRICT") && is_alike(heard, &wanted))) {
		show("through pgtopk", heard);
		show("direct", &wanted);
		assert(!"pgtopk says what the coordinator does");
	}
	iobuf_fini(&wanted);
	server_free(server);
}

static void converse(struct world *world, const uint8_t *head, const uint8_t *data, size_t size)
{
	while (size > 0) {
		size_t piece = next_piece(head[0], data, size);

		world_say(world, data, piece);
		data += piece;
		size -= piece;
		if (head[1] & CANCELS)
			world_cancel(world);
		world_settle(world);
	}
}

/* In upper or lower case. */
static bool mentions(const uint8_t *data, size_t size, const char *word)
{
	for (size_t i = 0; i + strlen(word) <= size; i++)
		if (strncasecmp((const char *)data + i, word, strlen(word)) == 0)
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world world;
	const char *options[] = {"inspect_limit", "1000000", "lanes", "1", "route", "on", NULL};

	if (size < 2)
		return 0;
	if (data[1] & SMALL_INSPECT)
		options[1] = "4kB";
	if (data[1] & LANES)
		options[3] = "2";
	if (data[1] & NO_ROUTE)
		options[5] = data[1] & LANES ? "shadow" : "off";
	world_open(&world, options);
	world.faults = data[1] & 15;
	world_login(&world, "trusted");
	iobuf_consume(&world.heard, iobuf_len(&world.heard));
	converse(&world, data, data + 2, size - 2);
	if (getenv("FUZZ_SHOW")) {
		fprintf(stderr, "routed %u shadowed %u\n", (unsigned)world.proxy.counters.routed,
		        (unsigned)(world.proxy.counters.shadow_same +
		                   world.proxy.counters.shadow_differs));
		for (unsigned i = 0; i < REFUSAL_COUNT; i++)
			if (world.proxy.counters.refused[i])
				fprintf(stderr, "refused: %s\n", refusal_name((enum refusal)i));
	}
	/* own settings and EXPLAIN are pgtopk's to say something about */
	if (!(data[1] & CANCELS) && !mentions(data, size, "pgtopk.") &&
	    !mentions(data, size, "explain"))
		compare(&world.heard, world.proxy.counters.routed > 0, data + 2, size - 2);
	world_close(&world);
	return 0;
}
