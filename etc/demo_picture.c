/*
 * Pictures in a terminal: two grey pixels per character cell, an upper half
 * block drawn in the one on the other. Where colours are not wanted or not
 * known (NO_COLOR, no terminal), one of ten characters per cell instead.
 */
#include "etc/demo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { GAP = 2, MARGIN = 2, SIDE_MAX = 20, SIDE_MIN = 12 };

enum shades { SHADES_TEXT, SHADES_256, SHADES_TRUE };

static enum shades shades(void)
{
	const char *colours = getenv("COLORTERM"), *term = getenv("TERM");

	if (!isatty(STDOUT_FILENO) || getenv("NO_COLOR") != NULL || term == NULL ||
	    strcmp(term, "dumb") == 0)
		return SHADES_TEXT;
	if (colours != NULL && (strcmp(colours, "truecolor") == 0 || strcmp(colours, "24bit") == 0))
		return SHADES_TRUE;
	return SHADES_256;
}

static unsigned terminal_columns(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	return 100;
}

/* The side of a drawn picture: as large as the line allows, even because two
 * pixels share a cell. */
static unsigned drawn_side(size_t count)
{
	unsigned side = (terminal_columns() - MARGIN) / (unsigned)count - GAP;

	if (side > SIDE_MAX)
		side = SIDE_MAX;
	return side < SIDE_MIN ? SIDE_MIN : side / 2 * 2;
}

unsigned picture_columns(size_t count)
{
	return drawn_side(count) + GAP;
}

/* The grey of the drawn pixel (x, y): the mean of the part of the picture that
 * it covers, counted in 1/side of a pixel. */
static unsigned grey(const uint8_t *pixels, unsigned side, unsigned x, unsigned y)
{
	unsigned sum = 0;

	for (unsigned v = y * FASHION_SIDE; v < (y + 1) * FASHION_SIDE;) {
		unsigned row = v / side, below = (row + 1) * side;
		unsigned high;

		if (below > (y + 1) * FASHION_SIDE)
			below = (y + 1) * FASHION_SIDE;
		high = below - v;
		for (unsigned u = x * FASHION_SIDE; u < (x + 1) * FASHION_SIDE;) {
			unsigned column = u / side, right = (column + 1) * side;

			if (right > (x + 1) * FASHION_SIDE)
				right = (x + 1) * FASHION_SIDE;
			sum += pixels[row * FASHION_SIDE + column] * high * (right - u);
			u = right;
		}
		v = below;
	}
	return sum / (FASHION_SIDE * FASHION_SIDE);
}

/* The grey of the 256 colour palette: 16 black, 232 to 255 a ramp, 231 white. */
static unsigned palette(unsigned level)
{
	unsigned step = (level + 5) / 10;

	if (step == 0)
		return 16;
	return step >= 25 ? 231 : 231 + step;
}

static void print_cell(enum shades kind, unsigned upper, unsigned lower)
{
	static const char ramp[] = " .:-=+*#%@";

	switch (kind) {
	case SHADES_TRUE:
		printf("\033[38;2;%u;%u;%u;48;2;%u;%u;%um▀", upper, upper, upper, lower, lower,
		       lower);
		break;
	case SHADES_256:
		printf("\033[38;5;%u;48;5;%um▀", palette(upper), palette(lower));
		break;
	case SHADES_TEXT:
		putchar(ramp[(upper + lower) / 2 * 10 / 256]);
		break;
	}
}

void picture_print(const uint8_t *const *pixels, size_t count)
{
	enum shades kind = shades();
	unsigned side = drawn_side(count);

	for (unsigned y = 0; y < side; y += 2) {
		printf("%*s", MARGIN, "");
		for (size_t i = 0; i < count; i++) {
			for (unsigned x = 0; x < side; x++)
				print_cell(kind, grey(pixels[i], side, x, y),
				           grey(pixels[i], side, x, y + 1));
			printf("%s%*s", kind == SHADES_TEXT ? "" : "\033[0m", GAP, "");
		}
		putchar('\n');
	}
}
