/*
 * Loop: one thread's event loop. libev's door: no other file includes <ev.h>.
 *
 * Watchers are embedded in their owners and call back with the owner's pointer.
 * loop_defer() runs a function at the end of the current turn: what is closed
 * while handlers run is freed there, so that no handler sees freed memory.
 */
#ifndef PROXY_LOOP_H
#define PROXY_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;

enum loop_events {
	LOOP_NONE = 0,
	LOOP_READ = 1,
	LOOP_WRITE = 2,
};

struct loop *loop_new(void); /* NULL: the system gives none */
void loop_free(struct loop *loop);
void loop_run(struct loop *loop); /* until loop_stop() */
void loop_stop(struct loop *loop);

/* Monotonic milliseconds: cached for this turn, and read afresh. */
uint64_t loop_now_ms(const struct loop *loop);
uint64_t loop_clock_us(void);

/* ---- file descriptors ---- */

struct loop_io;
typedef void loop_io_fn(void *owner, unsigned events);

/* Watches nothing until loop_io_set(). */
struct loop_io *loop_io_new(struct loop *loop, int fd, loop_io_fn *fn, void *owner);
void loop_io_free(struct loop_io *io); /* NULL is allowed; before the fd is closed */
void loop_io_set(struct loop_io *io, unsigned events);

/* ---- timers ---- */

struct loop_timer;
typedef void loop_timer_fn(void *owner);

struct loop_timer *loop_timer_new(struct loop *loop, loop_timer_fn *fn, void *owner);
void loop_timer_free(struct loop_timer *timer);                     /* NULL is allowed */
void loop_timer_start(struct loop_timer *timer, uint64_t delay_ms); /* restarts a running one */
void loop_timer_stop(struct loop_timer *timer);

/* ---- signals ---- */

typedef void loop_signal_fn(void *owner, int signum);
void loop_on_signal(struct loop *loop, int signum, loop_signal_fn *fn, void *owner);

/* ---- the end of this turn ---- */

typedef void loop_defer_fn(void *owner);
void loop_defer(struct loop *loop, loop_defer_fn *fn, void *owner);

#endif
