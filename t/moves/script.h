/*
 * Script: what is done to a Citus cluster while a crowd works: shards moved, split and
 * rebalanced, nodes drained and added, tables altered and distributed anew; or
 * servers stopped, killed and started again. Chosen by a seed.
 */
#ifndef T_MOVES_SCRIPT_H
#define T_MOVES_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

#include "t/moves/crowd.h"

enum script_kind {
	SCRIPT_CHANGES, /* Citus does them; nobody may notice */
	SCRIPT_CRASHES, /* servers go, clients may be told so */
};

/* Makes the crowd's table, distributed. */
void script_prepare(void);
/*
 * Plays one event after the other for so long, at least `seconds`; names (separated by commas) chooses
 * some of them, NULL all of the kind. Returns how many went well; those that did not are printed.
 */
unsigned script_play(struct crowd *crowd, enum script_kind kind, uint64_t seed, unsigned seconds,
                     const char *names);
/* Everything runs, all nodes have shards; the table is gone. */
void script_clean_up(void);

#endif
