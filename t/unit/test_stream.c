/*
 * Stream: whoever waits for on_drained hears of it, whoever it was that wrote the last
 * byte.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/loop.h"
#include "proxy/stream.h"

struct talk {
	struct loop *loop;
	struct stream stream;
	int peer;
	unsigned drained;
};

static void on_input(void *owner)
{
	(void)owner;
}

static void on_drained(void *owner)
{
	struct talk *talk = owner;

	talk->drained++;
	loop_stop(talk->loop);
}

static void on_closed(void *owner, int error)
{
	(void)owner;
	(void)error;
}

static void give_up(void *owner)
{
	struct talk *talk = owner;

	loop_stop(talk->loop);
}

static const struct stream_ops ops = {on_input, on_drained, on_closed};

static void open_talk(struct talk *talk)
{
	int ends[2];

	memset(talk, 0, sizeof(*talk));
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	talk->loop = loop_new();
	talk->peer = ends[1];
	stream_open(&talk->stream, talk->loop, ends[0], true, NULL, &ops, talk);
}

static void close_talk(struct talk *talk)
{
	stream_close(&talk->stream);
	close(talk->peer);
	loop_free(talk->loop);
}

/* Until the socket takes no more. */
static void hold_up(struct talk *talk)
{
	static const char bytes[10000];

	while (iobuf_len(&talk->stream.out) == 0)
		stream_write(&talk->stream, bytes, sizeof(bytes));
}

static void read_all(struct talk *talk)
{
	char bytes[10000];

	while (read(talk->peer, bytes, sizeof(bytes)) > 0)
		;
}

static void run(struct talk *talk)
{
	struct loop_timer *timer = loop_timer_new(talk->loop, give_up, talk);

	loop_timer_start(timer, 200);
	loop_run(talk->loop);
	loop_timer_free(timer);
}

Test(stream, drained_by_the_loop)
{
	struct talk talk;

	open_talk(&talk);
	hold_up(&talk);
	run(&talk);
	cr_assert_eq(talk.drained, 0);
	read_all(&talk);
	run(&talk);
	cr_assert_eq(talk.drained, 1);
	run(&talk);
	cr_assert_eq(talk.drained, 1, "once");
	close_talk(&talk);
}

Test(stream, drained_by_a_flush)
{
	struct talk talk;

	open_talk(&talk);
	hold_up(&talk);
	read_all(&talk);
	stream_flush(&talk.stream);
	cr_assert_eq(iobuf_len(&talk.stream.out), 0);
	cr_assert_eq(talk.drained, 0, "not from within a call");
	run(&talk);
	cr_assert_eq(talk.drained, 1);
	close_talk(&talk);
}

Test(stream, what_was_never_held_up_is_not_drained)
{
	struct talk talk;

	open_talk(&talk);
	stream_write(&talk.stream, "abc", 3);
	run(&talk);
	cr_assert_eq(talk.drained, 0);
	close_talk(&talk);
}
