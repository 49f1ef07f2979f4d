/*
 * Shrink: makes a failing script as short as it can be while it still fails.
 */
#ifndef T_TORTURE_SHRINK_H
#define T_TORTURE_SHRINK_H

#include "t/torture/stage.h"

/* Leaves the shortest in script; returns what goes wrong in it. */
const char *shrink(struct stage *stage, struct script *script, const char *why);

#endif
