/*
 * Limits: what the operating system grants the process: how many descriptors, and that
 * it leaves no core dump. Its counterpart in the unit file is LimitNOFILE.
 */
#ifndef PROXY_LIMITS_H
#define PROXY_LIMITS_H

#include "proxy/config.h"
#include "proxy/log.h"

/* Raises the soft limit of descriptors, often 1024, to the hard one. */
void limits_raise(void);

/* Lowers config->max_clients to the number of clients there are descriptors for, with a
 * warning in the log. After limits_raise(). */
void limits_hold_clients(struct config *config, struct log *log);

/* A core dump, and whoever may trace the process, would see keys and data. */
void limits_forbid_dumps(void);

#endif
