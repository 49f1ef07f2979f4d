/*
 * Dice: the seeded source of all chance in the torture tests. The same seed gives
 * the same throws on every machine.
 */
#ifndef T_TORTURE_DICE_H
#define T_TORTURE_DICE_H

#include <stdbool.h>
#include <stdint.h>

struct dice {
	uint64_t state;
};

/* Two numbers make one seed: of the run and of what is made. */
void dice_init(struct dice *dice, uint64_t seed, uint64_t of);
/* 0 .. below - 1 */
unsigned dice_below(struct dice *dice, unsigned below);
/* from .. to */
int dice_between(struct dice *dice, int from, int to);
/* True so many times of a hundred. */
bool dice_chance(struct dice *dice, unsigned percent);

/* One element of an array. */
#define DICE_PICK(dice, array) ((array)[dice_below((dice), sizeof(array) / sizeof((array)[0]))])

#endif
