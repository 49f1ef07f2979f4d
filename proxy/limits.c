/*
 * Limits: see limits.h.
 */
#include "proxy/limits.h"

#include <inttypes.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define PER_CLIENT 2 /* its own and the coordinator's */
#define BASE_RESERVE 64
#define POOLS_RESERVED 2 /* full pools of worker connections */

void limits_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

void limits_hold_clients(struct config *config, struct log *log)
{
	struct rlimit limit;
	uint64_t descriptors, reserve = BASE_RESERVE + POOLS_RESERVED * (uint64_t)config->pool_size;
	uint64_t hold;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return;
	descriptors = limit.rlim_cur;
	if (reserve > descriptors / 4)
		reserve = descriptors / 4;
	hold = (descriptors - reserve) / PER_CLIENT;
	if (hold == 0)
		hold = 1;
	if ((uint64_t)config->max_clients <= hold)
		return;
	log_event(log, LOG_WARNING, "max_clients_lowered",
	          "from=%" PRId64 " to=%" PRIu64 " descriptors=%" PRIu64
	          " remedy=\"raise the limit of open files (LimitNOFILE, ulimit -n)\"",
	          config->max_clients, hold, descriptors);
	config->max_clients = (int64_t)hold;
}

void limits_forbid_dumps(void)
{
	struct rlimit limit;

	/* The second also holds where the kernel pipes dumps to a program. */
	if (getrlimit(RLIMIT_CORE, &limit) == 0) {
		limit.rlim_cur = 0;
		setrlimit(RLIMIT_CORE, &limit);
	}
	prctl(PR_SET_DUMPABLE, 0);
}
