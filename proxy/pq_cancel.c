/*
 * Pq_cancel: see pq_cancel.h. Threads touch a request and what the mutex guards, all
 * else is the loop's; they outlive it, so that nobody waits for a server that is gone.
 */
#include "proxy/pq_cancel.h"

#include <assert.h>
#include <errno.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utlist.h>

#include "proxy/delivery.h"

#define DELIVERY_TIMEOUT_MS 10000
#define MAX_CANCEL_THREADS 64
#define CANCEL_STACK (256 * 1024)

struct pq_cancel {
	PGcancel *request;          /* libpq's */
	struct delivery *delivery;  /* or ours */
	struct pq_cancels *cancels; /* when ours */
	void (*done)(void *owner);  /* NULL: forgotten */
	void *owner;
	struct pq_cancel *prev, *next;
};

struct pq_cancels {
	struct loop *loop;
	struct pq_cancel *deliveries;
	pthread_mutex_t mutex; /* guards what follows */
	unsigned refs;
	unsigned threads;
	bool closed;
	struct pq_cancel *queue;
	struct pq_cancel *finished;
	int event_fd; /* wakes the loop: something is in `finished` */
	struct loop_io *io;
};

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

static void cancels_unref_locked(struct pq_cancels *cancels)
{
	bool last = --cancels->refs == 0;

	pthread_mutex_unlock(&cancels->mutex);
	if (!last)
		return;
	while (cancels->finished) {
		struct pq_cancel *cancel = cancels->finished;

		cancels->finished = cancel->next;
		free(cancel);
	}
	assert(!cancels->queue);
	close(cancels->event_fd);
	pthread_mutex_destroy(&cancels->mutex);
	free(cancels);
}

/* Puts it among the finished ones; wakes the loop. */
static void cancel_finish_locked(struct pq_cancels *cancels, struct pq_cancel *cancel)
{
	uint64_t one = 1;

	PQfreeCancel(cancel->request);
	cancel->request = NULL;
	cancel->next = cancels->finished;
	cancels->finished = cancel;
	if (write(cancels->event_fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN); /* the counter is full: the loop is awake */
}

static struct pq_cancel *cancel_pop_locked(struct pq_cancels *cancels)
{
	struct pq_cancel **end = &cancels->queue;
	struct pq_cancel *cancel;

	if (!*end)
		return NULL;
	while ((*end)->next) /* pushed at the head: the last one is the oldest */
		end = &(*end)->next;
	cancel = *end;
	*end = NULL;
	return cancel;
}

static void *cancel_thread(void *owner)
{
	struct pq_cancels *cancels = owner;
	struct pq_cancel *cancel;
	char error[256];

	pthread_mutex_lock(&cancels->mutex);
	while ((cancel = cancel_pop_locked(cancels)) != NULL) {
		if (!cancels->closed) {
			pthread_mutex_unlock(&cancels->mutex);
			/* a failure shows in that the query goes on to its end */
			(void)PQcancel(cancel->request, error, sizeof(error));
			pthread_mutex_lock(&cancels->mutex);
		}
		cancel_finish_locked(cancels, cancel);
	}
	cancels->threads--;
	cancels_unref_locked(cancels);
	return NULL;
}

/* Signals are the loop's: the new thread blocks them all. */
static bool start_thread(struct pq_cancels *cancels)
{
	pthread_attr_t attributes;
	pthread_t thread;
	sigset_t all, old;
	bool ok;

	sigfillset(&all);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, CANCEL_STACK);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ok = pthread_create(&thread, &attributes, cancel_thread, cancels) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attributes);
	return ok;
}

static void on_finished(void *owner, unsigned events)
{
	struct pq_cancels *cancels = owner;
	struct pq_cancel *finished;
	uint64_t count;

	(void)events;
	if (read(cancels->event_fd, &count, sizeof(count)) < 0)
		assert(errno == EAGAIN);
	pthread_mutex_lock(&cancels->mutex);
	finished = cancels->finished;
	cancels->finished = NULL;
	pthread_mutex_unlock(&cancels->mutex);
	while (finished) {
		struct pq_cancel *cancel = finished;

		finished = cancel->next;
		if (cancel->done)
			cancel->done(cancel->owner);
		free(cancel);
	}
}

struct pq_cancels *pq_cancels_new(struct loop *loop)
{
	struct pq_cancels *cancels = must(calloc(1, sizeof(*cancels)));

	cancels->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (cancels->event_fd < 0) {
		free(cancels);
		return NULL;
	}
	cancels->loop = loop;
	cancels->refs = 1;
	pthread_mutex_init(&cancels->mutex, NULL);
	cancels->io = loop_io_new(loop, cancels->event_fd, on_finished, cancels);
	loop_io_set(cancels->io, LOOP_READ);
	return cancels;
}

void pq_cancels_free(struct pq_cancels *cancels)
{
	if (!cancels)
		return;
	loop_io_free(cancels->io);
	while (cancels->deliveries) {
		struct pq_cancel *cancel = cancels->deliveries;

		DL_DELETE(cancels->deliveries, cancel);
		delivery_free(cancel->delivery);
		free(cancel);
	}
	pthread_mutex_lock(&cancels->mutex);
	cancels->closed = true;
	cancels_unref_locked(cancels);
}

struct pq_cancel *pq_cancels_send(struct pq_cancels *cancels, void *request,
                                  void (*done)(void *owner), void *owner)
{
	struct pq_cancel *cancel = must(calloc(1, sizeof(*cancel)));

	cancel->request = request;
	cancel->done = done;
	cancel->owner = owner;
	pthread_mutex_lock(&cancels->mutex);
	cancel->next = cancels->queue;
	cancels->queue = cancel;
	if (cancels->threads < MAX_CANCEL_THREADS) {
		if (start_thread(cancels)) {
			cancels->threads++;
			cancels->refs++;
		} else if (cancels->threads == 0) { /* nobody would ever send it */
			cancel_finish_locked(cancels, cancel_pop_locked(cancels));
		}
	}
	pthread_mutex_unlock(&cancels->mutex);
	return cancel;
}

static void on_delivered(void *owner)
{
	struct pq_cancel *cancel = owner;

	DL_DELETE(cancel->cancels->deliveries, cancel);
	if (cancel->done)
		cancel->done(cancel->owner);
	free(cancel);
}

struct pq_cancel *pq_cancels_deliver(struct pq_cancels *cancels, const struct pq_target *target,
                                     const uint8_t *message, size_t len, void (*done)(void *owner),
                                     void *owner)
{
	struct pq_cancel *cancel = must(calloc(1, sizeof(*cancel)));

	cancel->cancels = cancels;
	cancel->done = done;
	cancel->owner = owner;
	DL_APPEND(cancels->deliveries, cancel);
	cancel->delivery = delivery_start(cancels->loop, target, message, len, DELIVERY_TIMEOUT_MS,
	                                  on_delivered, cancel);
	return cancel;
}

void pq_cancel_forget(struct pq_cancel *cancel)
{
	cancel->done = NULL;
}
