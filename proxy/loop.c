/*
 * Loop: see loop.h. A thin coat over libev, so that the rest of the proxy
 * neither knows its types nor forgets to stop a watcher: every watcher here is
 * freed through its own *_free(), and starting or stopping twice is harmless.
 */
#include "proxy/loop.h"

#include <assert.h>
#include <ev.h>
#include <stdlib.h>
#include <time.h>

struct loop_deferred {
	loop_defer_fn *fn;
	void *owner;
	struct loop_deferred *next;
};

struct loop_signal {
	ev_signal watcher;
	loop_signal_fn *fn;
	void *owner;
	struct loop_signal *next;
};

struct loop {
	struct ev_loop *ev;
	ev_prepare at_turn_end;                         /* runs before the loop blocks again */
	struct loop_deferred *deferred, **deferred_end; /* in order; the last one's next */
	struct loop_signal *signals;
};

struct loop_io {
	ev_io watcher;
	struct loop *loop;
	loop_io_fn *fn;
	void *owner;
	unsigned events;
};

struct loop_timer {
	ev_timer watcher;
	struct loop *loop;
	loop_timer_fn *fn;
	void *owner;
};

static void *allocate(size_t size)
{
	void *memory = calloc(1, size);

	if (!memory)
		abort();
	return memory;
}

static void run_deferred(struct ev_loop *ev, ev_prepare *watcher, int revents)
{
	struct loop *loop = watcher->data;

	(void)ev;
	(void)revents;
	while (loop->deferred) {
		struct loop_deferred *first = loop->deferred;

		loop->deferred = first->next;
		if (!loop->deferred)
			loop->deferred_end = &loop->deferred;
		first->fn(first->owner);
		free(first);
	}
}

struct loop *loop_new(void)
{
	struct ev_loop *ev = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
	struct loop *loop;

	if (!ev)
		return NULL;
	loop = allocate(sizeof(*loop));
	loop->ev = ev;
	loop->deferred_end = &loop->deferred;
	loop->at_turn_end.data = loop;
	ev_prepare_init(&loop->at_turn_end, run_deferred);
	ev_prepare_start(ev, &loop->at_turn_end);
	ev_unref(ev); /* this watcher alone keeps no loop running */
	return loop;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	run_deferred(loop->ev, &loop->at_turn_end, 0);
	while (loop->signals) {
		struct loop_signal *first = loop->signals;

		loop->signals = first->next;
		ev_signal_stop(loop->ev, &first->watcher);
		free(first);
	}
	ev_ref(loop->ev);
	ev_prepare_stop(loop->ev, &loop->at_turn_end);
	ev_loop_destroy(loop->ev);
	free(loop);
}

void loop_run(struct loop *loop)
{
	ev_run(loop->ev, 0);
}

void loop_stop(struct loop *loop)
{
	ev_break(loop->ev, EVBREAK_ALL);
}

uint64_t loop_now_ms(const struct loop *loop)
{
	/* libev's own clock may be wall time; timers only ever compare differences of this one */
	(void)loop;
	return loop_clock_us() / 1000;
}

uint64_t loop_clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void io_event(struct ev_loop *ev, ev_io *watcher, int revents)
{
	struct loop_io *io = watcher->data;
	unsigned events = LOOP_NONE;

	(void)ev;
	if (revents & EV_READ)
		events |= LOOP_READ;
	if (revents & EV_WRITE)
		events |= LOOP_WRITE;
	if (revents & EV_ERROR) /* a bad descriptor: let the owner's read or write report it */
		events |= LOOP_READ | LOOP_WRITE;
	io->fn(io->owner, events);
}

struct loop_io *loop_io_new(struct loop *loop, int fd, loop_io_fn *fn, void *owner)
{
	struct loop_io *io = allocate(sizeof(*io));

	assert(fd >= 0);
	io->loop = loop;
	io->fn = fn;
	io->owner = owner;
	io->watcher.data = io;
	ev_io_init(&io->watcher, io_event, fd, EV_NONE);
	return io;
}

void loop_io_free(struct loop_io *io)
{
	if (!io)
		return;
	ev_io_stop(io->loop->ev, &io->watcher);
	free(io);
}

void loop_io_set(struct loop_io *io, unsigned events)
{
	int wanted = (events & LOOP_READ ? EV_READ : 0) | (events & LOOP_WRITE ? EV_WRITE : 0);

	if (events == io->events)
		return;
	io->events = events;
	ev_io_stop(io->loop->ev, &io->watcher);
	if (!wanted)
		return;
	ev_io_modify(&io->watcher, wanted);
	ev_io_start(io->loop->ev, &io->watcher);
}

static void timer_event(struct ev_loop *ev, ev_timer *watcher, int revents)
{
	struct loop_timer *timer = watcher->data;

	(void)ev;
	(void)revents;
	timer->fn(timer->owner);
}

struct loop_timer *loop_timer_new(struct loop *loop, loop_timer_fn *fn, void *owner)
{
	struct loop_timer *timer = allocate(sizeof(*timer));

	timer->loop = loop;
	timer->fn = fn;
	timer->owner = owner;
	timer->watcher.data = timer;
	ev_timer_init(&timer->watcher, timer_event, 0., 0.);
	return timer;
}

void loop_timer_free(struct loop_timer *timer)
{
	if (!timer)
		return;
	ev_timer_stop(timer->loop->ev, &timer->watcher);
	free(timer);
}

void loop_timer_start(struct loop_timer *timer, uint64_t delay_ms)
{
	ev_timer_stop(timer->loop->ev, &timer->watcher);
	ev_now_update(timer->loop->ev);
	ev_timer_set(&timer->watcher, (double)delay_ms / 1000., 0.);
	ev_timer_start(timer->loop->ev, &timer->watcher);
}

void loop_timer_stop(struct loop_timer *timer)
{
	ev_timer_stop(timer->loop->ev, &timer->watcher);
}

static void signal_event(struct ev_loop *ev, ev_signal *watcher, int revents)
{
	struct loop_signal *handler = watcher->data;

	(void)ev;
	(void)revents;
	handler->fn(handler->owner, watcher->signum);
}

void loop_on_signal(struct loop *loop, int signum, loop_signal_fn *fn, void *owner)
{
	struct loop_signal *handler = allocate(sizeof(*handler));

	handler->fn = fn;
	handler->owner = owner;
	handler->watcher.data = handler;
	ev_signal_init(&handler->watcher, signal_event, signum);
	ev_signal_start(loop->ev, &handler->watcher);
	ev_unref(loop->ev);
	handler->next = loop->signals;
	loop->signals = handler;
}

void loop_defer(struct loop *loop, loop_defer_fn *fn, void *owner)
{
	struct loop_deferred *deferred = allocate(sizeof(*deferred));

	deferred->fn = fn;
	deferred->owner = owner;
	*loop->deferred_end = deferred;
	loop->deferred_end = &deferred->next;
}
