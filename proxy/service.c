/*
 * Service: see service.h. That systemd does not hear us is nothing we could mend, so
 * sd_notify()'s result does not matter.
 */
#include "proxy/service.h"

#include <inttypes.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#define EXTRA_MS 5000 /* from the deadline to the process's end */

unsigned service_sockets(int *first)
{
	int count = sd_listen_fds(1);

	*first = SD_LISTEN_FDS_START;
	return count > 0 ? (unsigned)count : 0;
}

void service_ready(unsigned clients)
{
	sd_notifyf(0, "READY=1\nSTATUS=Serving; %u clients at the last change", clients);
}

void service_reloading(void)
{
	struct timespec now;

	/* The time is what Type=notify-reload waits for; Type=notify does not mind. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
	           (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
}

void service_stopping(unsigned clients, uint64_t timeout_ms)
{
	sd_notifyf(0,
	           "STOPPING=1\nSTATUS=Stopping; %u clients with open transactions\n"
	           "EXTEND_TIMEOUT_USEC=%" PRIu64,
	           clients, (timeout_ms + EXTRA_MS) * 1000);
}
