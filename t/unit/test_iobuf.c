/*
 * Iobuf: a queue of bytes against a plain array, growth, and that moving bytes
 * stays cheap when the reader is slow.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/iobuf.h"

Test(iobuf, holds_no_memory_while_empty)
{
	struct iobuf buf;

	iobuf_init(&buf);
	cr_assert_null(buf.data);
	cr_assert_eq(iobuf_len(&buf), 0);
	cr_assert_null(iobuf_head(&buf));
	iobuf_append(&buf, NULL, 0);
	cr_assert_null(buf.data);
	iobuf_append(&buf, "abc", 3);
	cr_assert_not_null(buf.data);
	iobuf_release(&buf);
	cr_assert_eq(iobuf_len(&buf), 3, "release keeps what is unread");
	iobuf_consume(&buf, 3);
	iobuf_release(&buf);
	cr_assert_null(buf.data);
	cr_assert_eq(buf.cap, 0);
	iobuf_release(&buf);
	iobuf_fini(&buf);
}

Test(iobuf, what_goes_in_comes_out)
{
	struct iobuf buf;

	iobuf_init(&buf);
	iobuf_append(&buf, "hello", 5);
	iobuf_consume(&buf, 2);
	iobuf_append(&buf, " world", 6);
	cr_assert_eq(iobuf_len(&buf), 9);
	cr_assert_eq(memcmp(iobuf_head(&buf), "llo world", 9), 0);
	iobuf_truncate(&buf, 3);
	cr_assert_eq(memcmp(iobuf_head(&buf), "llo", 3), 0);
	iobuf_append(&buf, "!", 1);
	cr_assert_eq(memcmp(iobuf_head(&buf), "llo!", 4), 0);
	iobuf_truncate(&buf, 4);
	cr_assert_eq(iobuf_len(&buf), 4);
	iobuf_truncate(&buf, 0);
	cr_assert_eq(iobuf_len(&buf), 0);
	cr_assert_eq(buf.head, 0);
	iobuf_fini(&buf);
}

Test(iobuf, reserve_and_commit_in_part)
{
	struct iobuf buf;
	uint8_t *room;

	iobuf_init(&buf);
	room = iobuf_reserve(&buf, 8192);
	cr_assert_geq(buf.cap, 8192);
	memset(room, 'x', 8192);
	iobuf_commit(&buf, 10);
	cr_assert_eq(iobuf_len(&buf), 10);
	room = iobuf_reserve(&buf, 100000);
	memset(room, 'y', 100000);
	iobuf_commit(&buf, 100000);
	iobuf_commit(&buf, 0);
	cr_assert_eq(iobuf_head(&buf)[9], 'x');
	cr_assert_eq(iobuf_head(&buf)[100009], 'y');
	iobuf_fini(&buf);
}

Test(iobuf, a_reader_that_follows_closely_needs_no_growth)
{
	struct iobuf buf;

	iobuf_init(&buf);
	for (int i = 0; i < 100000; i++) {
		iobuf_append(&buf, "0123456789", 10);
		cr_assert_eq(memcmp(iobuf_head(&buf), i == 0 ? "0" : "9", 1), 0);
		iobuf_consume(&buf, i == 0 ? 9 : 10);
	}
	cr_assert_leq(buf.cap, 1024);
	iobuf_fini(&buf);
}

/* One byte in, one byte out, with a megabyte always unread: a buffer that moved
 * it every time would take minutes here. */
Test(iobuf, a_slow_reader_costs_no_quadratic_time, .timeout = 20)
{
	struct iobuf buf;
	uint8_t *room;

	iobuf_init(&buf);
	room = iobuf_reserve(&buf, 1 << 20);
	memset(room, 0, 1 << 20);
	iobuf_commit(&buf, 1 << 20);
	for (int i = 0; i < 4 << 20; i++) {
		iobuf_consume(&buf, 1);
		iobuf_append(&buf, "", 1);
	}
	cr_assert_eq(iobuf_len(&buf), 1 << 20);
	cr_assert_leq(buf.cap, 4 << 20, "and does not grow without limit");
	iobuf_fini(&buf);
}

Test(iobuf, random_against_an_array)
{
	enum { SIZE = 1 << 20 };
	uint8_t *model = malloc(SIZE);
	struct iobuf buf;
	size_t head = 0;
	size_t tail = 0;

	cr_assert_not_null(model);
	srand(5);
	iobuf_init(&buf);
	for (int i = 0; i < SIZE; i++)
		model[i] = (uint8_t)rand();
	while (tail < SIZE) {
		size_t len = (size_t)rand() % (rand() % 50 == 0 ? 20000 : 200);

		if (len > SIZE - tail)
			len = SIZE - tail;
		if (rand() % 2 == 0) {
			iobuf_append(&buf, model + tail, len);
			tail += len;
		} else {
			len = len > tail - head ? tail - head : len;
			iobuf_consume(&buf, len);
			head += len;
		}
		if (rand() % 20 == 0)
			iobuf_release(&buf);
		cr_assert_eq(iobuf_len(&buf), tail - head);
		if (tail > head)
			cr_assert_eq(memcmp(iobuf_head(&buf), model + head, tail - head), 0);
	}
	iobuf_fini(&buf);
	free(model);
}
