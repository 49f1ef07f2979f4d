/*
 * Dice: splitmix64.
 */
#include "t/torture/dice.h"

#include <assert.h>

static uint64_t next(struct dice *dice)
{
	uint64_t z = dice->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

void dice_init(struct dice *dice, uint64_t seed, uint64_t of)
{
	dice->state = seed;
	dice->state = next(dice) ^ (of * UINT64_C(0xd1342543de82ef95));
	next(dice);
}

unsigned dice_below(struct dice *dice, unsigned below)
{
	assert(below > 0);
	return (unsigned)((next(dice) >> 32) * below >> 32);
}

int dice_between(struct dice *dice, int from, int to)
{
	assert(from <= to);
	return from + (int)dice_below(dice, (unsigned)(to - from) + 1);
}

bool dice_chance(struct dice *dice, unsigned percent)
{
	return dice_below(dice, 100) < percent;
}
