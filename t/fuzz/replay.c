/*
 * Replay: runs a target on every file of its corpus, or on the files named, in make check
 * and where there is no libFuzzer. The corpus is t/fuzz/corpus/NAME of fuzz_NAME. The last
 * line is what criterion prints, for t/summary.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/fuzz/fuzz.h"

static void fail(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

/* The whole file, in memory of exactly its size. */
static uint8_t *read_file(const char *path, size_t *size)
{
	FILE *in = fopen(path, "re");
	uint8_t *data;
	long end;

	if (!in || fseek(in, 0, SEEK_END) < 0 || (end = ftell(in)) < 0)
		fail(path);
	rewind(in);
	*size = (size_t)end;
	data = malloc(*size ? *size : 1);
	if (!data || fread(data, 1, *size, in) != *size)
		fail(path);
	fclose(in);
	return data;
}

/* Its name is printed before: the last one named is the one that broke it. */
static void run_file(const char *path)
{
	size_t size;
	uint8_t *data = read_file(path, &size);

	printf("%s\n", path);
	fflush(stdout);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static unsigned run_folder(const char *folder)
{
	struct dirent **entries;
	int count = scandir(folder, &entries, is_visible, alphasort);
	char *path;

	if (count < 0)
		fail(folder);
	for (int i = 0; i < count; i++) {
		if (asprintf(&path, "%s/%s", folder, entries[i]->d_name) < 0)
			abort();
		run_file(path);
		free(path);
		free(entries[i]);
	}
	free(entries);
	return (unsigned)count;
}

int main(int argc, char **argv)
{
	const char *source = getenv("PGTOPK_SRCDIR"), *name = strrchr(argv[0], '/');
	char *folder;
	unsigned count;

	for (int i = 1; i < argc; i++)
		run_file(argv[i]);
	if (argc > 1)
		return EXIT_SUCCESS;
	name = strstr(name ? name : argv[0], "fuzz_");
	if (!name)
		return EXIT_FAILURE;
	if (asprintf(&folder, "%s/t/fuzz/corpus/%s", source ? source : ".",
	             name + strlen("fuzz_")) < 0)
		abort();
	count = run_folder(folder);
	free(folder);
	printf("[====] Synthesis: Tested: %u | Passing: %u | Failing: 0 | Crashing: 0 \n", count,
	       count);
	return count ? EXIT_SUCCESS : EXIT_FAILURE;
}
