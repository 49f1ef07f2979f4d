/*
 * Tests of proxy/config and proxy/option: values of each type, the file, the
 * command line, what is said about mistakes, and that the sample file in etc/ is
 * the one this program prints.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/config.h"

static char error[1024];
static struct config *config;

static void setup(void)
{
	config = config_new();
	error[0] = '\0';
}

static void teardown(void)
{
	config_free(config);
}

TestSuite(config, .init = setup, .fini = teardown);

static bool set(const char *key, const char *value)
{
	return config_set(config, "x.conf:3", key, value, error, sizeof(error));
}

#define REFUSED(key, value, message)                                                               \
	do {                                                                                       \
		cr_assert(!set(key, value), "%s = %s was taken", key, value);                      \
		cr_assert_str_eq(error, "x.conf:3: " key ": " message);                            \
	} while (0)

/* Reads `text` as a file. Messages name it FILE. */
static bool read_text(const char *text, size_t len)
{
	char path[] = "/tmp/pgtopk-test-XXXXXX";
	int fd = mkstemp(path);
	bool ok;

	cr_assert(fd >= 0);
	cr_assert(write(fd, text, len) == (ssize_t)len);
	close(fd);
	ok = config_read_file(config, path, error, sizeof(error));
	unlink(path);
	if (!ok) {
		char *rest = error + strlen(path);

		cr_assert(strncmp(error, path, strlen(path)) == 0, "%s", error);
		memmove(error + 4, rest, strlen(rest) + 1);
		memcpy(error, "FILE", 4);
	}
	return ok;
}

#define READ(text) cr_assert(read_text(text, strlen(text)), "%s", error)
#define NOT_READ(text, message)                                                                    \
	do {                                                                                       \
		cr_assert(!read_text(text, strlen(text)));                                         \
		cr_assert_str_eq(error, message);                                                  \
	} while (0)

static enum config_action action;

static bool arguments(const char *const *words)
{
	char *argv[16];
	int argc = 0;
	bool ok;

	argv[argc++] = strdup("pgtopk");
	for (; *words != NULL; words++)
		argv[argc++] = strdup(*words);
	argv[argc] = NULL;
	ok = config_from_arguments(config, argc, argv, &action, error, sizeof(error));
	while (argc > 0)
		free(argv[--argc]);
	return ok;
}
#define GIVEN(...) cr_assert(arguments((const char *const[]){__VA_ARGS__, NULL}), "%s", error)
#define NOT_GIVEN(message, ...)                                                                    \
	do {                                                                                       \
		cr_assert(!arguments((const char *const[]){__VA_ARGS__, NULL}));                   \
		cr_assert_str_eq(error, message);                                                  \
	} while (0)

/* ---- values ---- */

Test(config, defaults_are_those_of_the_table)
{
	cr_assert_str_eq(config->listen, "127.0.0.1:6432");
	cr_assert_str_eq(config->worker, "");
	cr_assert_str_eq(config->log_level, "info");
	cr_assert(config->node_map.count == 0);
	cr_assert_str_eq(config->route, "on");
	cr_assert(!config->log_routed && !config->notices);
	cr_assert(config->overfetch == 1.0);
	cr_assert(config->pool_idle_timeout == 600000);
	cr_assert(config->plan_cache_size == 16777216);
}

Test(config, booleans_are_spelt_as_in_postgresql)
{
	static const char *const yes[] = {"on", "true", "t", "TR", "yes", "y", "1", "On"};
	static const char *const no[] = {"off", "of", "false", "f", "no", "n", "0", "OFF"};
	static const char *const none[] = {"", "o", "2", "onn", "yess", "01", " on", "-"};
	bool value = false;

	for (int i = 0; i < 8; i++) {
		cr_assert(config_parse_bool(yes[i], &value) && value, "%s", yes[i]);
		cr_assert(config_parse_bool(no[i], &value) && !value, "%s", no[i]);
		cr_assert(!config_parse_bool(none[i], &value), "%s", none[i]);
	}
	REFUSED("notices", "maybe", "\"maybe\" is not a boolean; give on or off");
}

/* Once it was a boolean. */
Test(config, route_has_a_third_value)
{
	static const char *const words[][2] = {{"on", "on"},   {"yes", "on"}, {"1", "on"},
	                                       {"off", "off"}, {"f", "off"},  {"shadow", "shadow"}};
	enum config_route route;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		cr_assert(config_set(config, "here", "route", words[i][0], error, sizeof(error)),
		          "%s", words[i][0]);
		cr_assert_str_eq(config->route, words[i][1]);
	}
	REFUSED("route", "maybe", "\"maybe\" is not known; give one of on, off, shadow");
	REFUSED("route", "shad", "\"shad\" is not known; give one of on, off, shadow");
	cr_assert(config_parse_route("Shadow", &route) && route == CONFIG_ROUTE_SHADOW);
	cr_assert(config_parse_route("true", &route) && route == CONFIG_ROUTE_ON);
	cr_assert(config_parse_route("OFF", &route) && route == CONFIG_ROUTE_OFF);
	cr_assert(!config_parse_route("", &route) && !config_parse_route("shado", &route));
}

Test(config, reals_are_decimal_and_within_limits)
{
	static const char *const none[] = {"",    "nan", "inf", "0x10", "1.5x", "1 ", "--1",
	                                   "0.9", "101", "1e9", "e",    ".",    "-",  "1,5"};
	double value = 0;

	cr_assert(config_parse_real("1.5", 1, 100, &value) && value == 1.5);
	cr_assert(config_parse_real("1e2", 1, 100, &value) && value == 100);
	cr_assert(config_parse_real(".5e1", 1, 100, &value) && value == 5);
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		cr_assert(!config_parse_real(none[i], 1, 100, &value), "%s", none[i]);
	REFUSED("overfetch", "0.5", "\"0.5\" is not a number in range; give 1 to 100");
}

Test(config, whole_numbers_have_limits)
{
	cr_assert(set("lanes", "64") && config->lanes == 64);
	cr_assert(set("lanes", "1") && config->lanes == 1);
	REFUSED("lanes", "0", "0 is out of range; give 1 to 64");
	REFUSED("lanes", "65", "65 is out of range; give 1 to 64");
	REFUSED("lanes", "99999999999999999999",
	        "\"99999999999999999999\" is not a whole number; give 1 to 64");
	REFUSED("lanes", "1.5", "\"1.5\" is not a whole number; give 1 to 64");
	REFUSED("lanes", "1e1", "\"1e1\" is not a whole number; give 1 to 64");
	REFUSED("lanes", "", "\"\" is not a whole number; give 1 to 64");
	REFUSED("lanes", "many", "\"many\" is not a whole number; give 1 to 64");
	REFUSED("max_clients", "0", "0 is out of range; give 1 to 1000000");
}

Test(config, durations_have_units)
{
	cr_assert(set("connect_timeout", "250") && config->connect_timeout == 250);
	cr_assert(set("connect_timeout", "250ms") && config->connect_timeout == 250);
	cr_assert(set("connect_timeout", "1.5s") && config->connect_timeout == 1500);
	cr_assert(set("connect_timeout", "2 min") && config->connect_timeout == 120000);
	cr_assert(set("worker_timeout", "24h") && config->worker_timeout == 86400000);
	cr_assert(set("settings_ttl", "0") && config->settings_ttl == 0);
	REFUSED("connect_timeout", "5 days",
	        "\"5 days\" is not a time; give 100ms to 10min (units: ms, s, min, h)");
	REFUSED("connect_timeout", "s",
	        "\"s\" is not a time; give 100ms to 10min (units: ms, s, min, h)");
	REFUSED("connect_timeout", "99ms", "99ms is out of range; give 100ms to 10min");
	REFUSED("settings_ttl", "-1s", "-1s is out of range; give 0 to 1h");
}

Test(config, sizes_have_units)
{
	cr_assert(set("inspect_limit", "4096") && config->inspect_limit == 4096);
	cr_assert(set("inspect_limit", "64kB") && config->inspect_limit == 65536);
	cr_assert(set("inspect_limit", "2 MB") && config->inspect_limit == 2097152);
	cr_assert(set("plan_cache_size", "1GB") && config->plan_cache_size == 1073741824);
	REFUSED("inspect_limit", "2 M",
	        "\"2 M\" is not a size; give 4kB to 64MB (units: B, kB, MB, GB, TB)");
	REFUSED("inspect_limit", "65MB", "65MB is out of range; give 4kB to 64MB");
}

Test(config, a_map_grows_with_each_pair)
{
	cr_assert(set("node_map", "localhost:5432=10.0.0.1:5432"));
	cr_assert(set("node_map", "b:1=c:2"));
	cr_assert(config->node_map.count == 2);
	cr_assert_str_eq(config->node_map.entries[0].from, "localhost:5432");
	cr_assert_str_eq(config->node_map.entries[0].to, "10.0.0.1:5432");
	cr_assert_str_eq(config->node_map.entries[1].to, "c:2");
	REFUSED("node_map", "b:1", "\"b:1\" is not a pair; give host:port=host:port");
	REFUSED("node_map", "=b:1", "\"=b:1\" is not a pair; give host:port=host:port");
	REFUSED("node_map", "b:1=", "\"b:1=\" is not a pair; give host:port=host:port");
}

Test(config, log_level_is_one_of_four)
{
	cr_assert(set("log_level", "debug") && set("log_level", "error"));
	REFUSED("log_level", "warn",
	        "\"warn\" is not known; give one of debug, info, warning, error");
	REFUSED("log_level", "", "\"\" is not known; give one of debug, info, warning, error");
	REFUSED("log_level", "debug,",
	        "\"debug,\" is not known; give one of debug, info, warning, error");
	cr_assert_str_eq(config->log_level, "error");
}

Test(config, an_unknown_key_gets_its_nearest)
{
	REFUSED("over_fetch", "1", "there is no such setting; did you mean overfetch?");
	REFUSED("log_route", "1", "there is no such setting; did you mean log_routed?");
	REFUSED("coord", "1", "there is no such setting; did you mean coordinator?");
	REFUSED("lane", "1", "there is no such setting; did you mean lanes?");
	REFUSED("shared_buffers", "1", "there is no such setting; pgtopk --help lists them all");
	REFUSED("", "1", "there is no such setting; pgtopk --help lists them all");
	REFUSED("a_key_that_is_much_longer_than_any_that_there_is_or_will_ever_be_1234567890", "1",
	        "there is no such setting; pgtopk --help lists them all");
}

Test(config, a_message_never_overflows)
{
	char small[24];

	memset(small, 'x', sizeof(small));
	for (size_t size = 1; size < sizeof(small); size++) {
		cr_assert(!config_set(config, "x.conf:3", "lanes", "none", small, size));
		cr_assert(strlen(small) < size);
		cr_assert(small[size] == 'x');
		memset(small, 'x', sizeof(small));
	}
}

/* ---- the file ---- */

Test(config, a_file_has_keys_comments_and_blank_lines)
{
	READ("# comment\n; comment\n\n  \t\nlanes = 4\n\tpool_size=7\nroute =off\r\nlisten = a:1");
	cr_assert(config->lanes == 4 && config->pool_size == 7);
	cr_assert_str_eq(config->route, "off");
	cr_assert_str_eq(config->listen, "a:1");
}

Test(config, values_are_bare_or_quoted)
{
	READ("coordinator = host=a port=5433 password='it #s ;me' # comment\n"
	     "worker = \"sslmode=verify-full sslrootcert=\\\"x\\\\y\\\"\" ; comment\n"
	     "listen = 'it''s:1'# comment\n");
	cr_assert_str_eq(config->coordinator, "host=a port=5433 password='it #s ;me'");
	cr_assert_str_eq(config->worker, "sslmode=verify-full sslrootcert=\"x\\y\"");
	cr_assert_str_eq(config->listen, "it's:1");
	READ("coordinator = password=a#b;c\nworker = # nothing\n");
	cr_assert_str_eq(config->coordinator, "password=a#b;c");
	cr_assert_str_eq(config->worker, "");
	READ("coordinator = password='a\\' #b' host=x\nworker=''\n");
	cr_assert_str_eq(config->coordinator, "password='a\\' #b' host=x");
}

Test(config, lines_may_be_long)
{
	char text[6000], value[5001];

	memset(value, 'x', 5000);
	value[5000] = '\0';
	snprintf(text, sizeof(text), "coordinator = %s\nlanes = 2\n", value);
	READ(text);
	cr_assert_str_eq(config->coordinator, value);
	cr_assert(config->lanes == 2);
}

Test(config, mistakes_in_a_file_have_line_and_key)
{
	NOT_READ("lanes = 1\n\nlane = 2\n",
	         "FILE:3: lane: there is no such setting; did you mean lanes?");
	NOT_READ("lanes = 0", "FILE:1: lanes: 0 is out of range; give 1 to 64");
	NOT_READ("[pgtopk]\n", "FILE:1: there are no sections here; remove the line [pgtopk]");
	NOT_READ("#\nlanes\n", "FILE:2: \"lanes\" is not of the form key = value");
	NOT_READ("= 2\n", "FILE:1: \"= 2\" is not of the form key = value");
	NOT_READ("listen = 'a\n",
	         "FILE:1: listen: the quoted value does not end where its quote does; "
	         "double a ' inside '...', write \\\" inside \"...\"");
	NOT_READ("listen = 'a' b\n",
	         "FILE:1: listen: the quoted value does not end where its quote does; "
	         "double a ' inside '...', write \\\" inside \"...\"");
	cr_assert(!read_text("a\0b", 3));
	cr_assert_str_eq(error, "FILE:1: a NUL byte; this is not a text file");
}

Test(config, a_file_that_cannot_be_read_is_named)
{
	cr_assert(!config_read_file(config, "/nonexistent/x.conf", error, sizeof(error)));
	cr_assert_str_eq(error, "/nonexistent/x.conf: cannot read it: No such file or directory");
	cr_assert(!config_read_file(config, "/", error, sizeof(error)));
	cr_assert_str_eq(error, "/: cannot read it: Is a directory");
}

/* ---- the command line ---- */

Test(config, options_come_with_equals_or_as_two_words)
{
	GIVEN("--pool-size", "5", "--max_clients=6", "--listen=a=b", "--coordinator",
	      "host=x port=1");
	cr_assert(action == CONFIG_RUN);
	cr_assert(config->pool_size == 5 && config->max_clients == 6);
	cr_assert_str_eq(config->listen, "a=b");
	cr_assert_str_eq(config->coordinator, "host=x port=1");
	GIVEN("--worker=");
	cr_assert_str_eq(config->worker, "");
}

Test(config, booleans_may_stand_alone)
{
	GIVEN("--log-routed", "--log_connections", "--lanes", "3");
	cr_assert(config->log_routed && config->log_connections && config->lanes == 3);
	GIVEN("--log-routed", "off", "--route=no");
	cr_assert(!config->log_routed);
	cr_assert_str_eq(config->route, "off");
}

Test(config, actions_are_told)
{
	GIVEN("--check", "--lanes", "3");
	cr_assert(action == CONFIG_CHECK && config->lanes == 3);
	GIVEN("--help", "-c", "/nonexistent");
	cr_assert(action == CONFIG_HELP);
	GIVEN("-h");
	cr_assert(action == CONFIG_HELP);
	GIVEN("-V");
	cr_assert(action == CONFIG_VERSION);
	GIVEN("--check", "--version");
	cr_assert(action == CONFIG_VERSION);
	GIVEN("--print-sample");
	cr_assert(action == CONFIG_SAMPLE);
}

Test(config, the_command_line_overrides_the_file)
{
	char path[] = "/tmp/pgtopk-test-XXXXXX";
	int fd = mkstemp(path);
	static const char text[] =
	    "lanes = 5\npool_size = 9\nnode_map = a:1=b:1\nnode_map = c:1=d:1\n";

	cr_assert(write(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	GIVEN("--lanes", "2", "-c", path);
	cr_assert(config->lanes == 2 && config->pool_size == 9 && config->node_map.count == 2);
	GIVEN("--config", path, "--node-map", "x:1=y:1", "--node-map=z:1=y:2");
	cr_assert(config->node_map.count == 2);
	cr_assert_str_eq(config->node_map.entries[0].from, "x:1");
	unlink(path);
}

Test(config, mistakes_on_the_command_line_are_named)
{
	NOT_GIVEN("command line: lanes: 0 is out of range; give 1 to 64", "--lanes", "0");
	NOT_GIVEN("command line: over_fetch: there is no such setting; did you mean overfetch?",
	          "--over-fetch", "2");
	NOT_GIVEN("command line: --lanes: needs a value; give connections", "--lanes");
	NOT_GIVEN("command line: --lanes: needs a value; give connections", "--lanes", "--route");
	NOT_GIVEN("command line: -c: needs a value; give one", "-c");
	NOT_GIVEN("command line: --check=1: takes no value", "--check=1");
	NOT_GIVEN("command line: etc/x.conf: settings begin with --, see pgtopk --help",
	          "etc/x.conf");
	NOT_GIVEN("command line: -x: there is no such option, see pgtopk --help", "-x");
	NOT_GIVEN("command line: --: there is no such option, see pgtopk --help", "--");
	NOT_GIVEN("/nonexistent.conf: cannot read it: No such file or directory",
	          "-c/nonexistent.conf");
}

/* ---- reload ---- */

static struct config *fresh;
static char heard[4096];

/* option:from>to, an ! behind it if it is secret, a ? if it needs a restart. */
static void hear(void *owner, const struct config_change *change)
{
	size_t len = strlen(heard);

	cr_assert_eq(owner, &fresh);
	snprintf(heard + len, sizeof(heard) - len, "%s:%s>%s%s%s ", change->option, change->from,
	         change->to, change->secret ? "!" : "", change->adopted ? "" : "?");
}

static void adopt(void)
{
	heard[0] = '\0';
	config_adopt(config, fresh, hear, &fresh);
	config_free(fresh);
	fresh = config_new();
}

static void give(const char *key, const char *value)
{
	if (!fresh)
		fresh = config_new();
	cr_assert(config_set(fresh, "here", key, value, error, sizeof(error)), "%s", error);
}

Test(config, what_is_the_same_is_not_told)
{
	give("route", "yes");
	give("overfetch", "1");
	adopt();
	cr_assert_str_eq(heard, "");
}

Test(config, values_of_every_type_are_adopted)
{
	give("auth_file", "/x y");
	give("lanes", "3");
	give("route", "off");
	give("overfetch", "1.5");
	give("worker_timeout", "90s");
	give("inspect_limit", "1536kB");
	adopt();
	cr_assert_str_eq(heard, "route:on>off overfetch:1>1.5 lanes:1>3 auth_file:>/x y "
	                        "worker_timeout:1min>90s inspect_limit:1MB>1536kB ");
	cr_assert(config->lanes == 3 && strcmp(config->route, "off") == 0 &&
	          config->overfetch == 1.5);
	cr_assert(config->worker_timeout == 90000 && config->inspect_limit == 1536 * 1024);
	cr_assert_str_eq(config->auth_file, "/x y");
}

Test(config, what_needs_a_restart_stays_and_is_told_each_time)
{
	for (int i = 0; i < 2; i++) {
		give("listen", "*:1");
		give("node_map", "a:1=b:2");
		give("node_map", "c=d");
		give("lanes", "2");
		adopt();
		cr_assert_str_eq(heard, i == 0
		                            ? "listen:127.0.0.1:6432>*:1? "
		                              "node_map:>a:1=b:2,c=d? lanes:1>2 "
		                            : "listen:127.0.0.1:6432>*:1? node_map:>a:1=b:2,c=d? ");
	}
	cr_assert_str_eq(config->listen, "127.0.0.1:6432");
	cr_assert(config->node_map.count == 0 && config->lanes == 2);
}

Test(config, what_may_have_a_password_is_secret)
{
	give("coordinator", "password=x");
	give("worker", "password=y");
	give("auth_query", "SELECT 'z'");
	adopt();
	cr_assert_not_null(strstr(heard, ">password=x!? "));
	cr_assert_not_null(strstr(heard, ">password=y! "));
	cr_assert_not_null(strstr(heard, ">SELECT 'z'! "));
	cr_assert_str_eq(config->worker, "password=y");
}

/* ---- help and sample ---- */

static char *printed(void (*print)(FILE *out))
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	print(out);
	fclose(out);
	return text;
}

Test(config, help_shows_every_setting_in_80_columns)
{
	char *text = printed(config_print_help);

#define OPTION(name, type, value, minimum, maximum, change, unit, help)                            \
	{                                                                                          \
		char dashed[64] = "\n  --" #name " <";                                             \
		for (char *c = dashed; *c != '\0'; c++)                                            \
			*c = *c == '_' ? '-' : *c;                                                 \
		cr_assert(strstr(text, dashed) != NULL, "%s", dashed);                             \
	}
#include "proxy/options.def"
#undef OPTION
	for (char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1)
		cr_assert(strcspn(line, "\n") <= 80, "%.90s", line);
	free(text);
}

Test(config, help_and_sample_tell_what_needs_a_restart)
{
	char *help = printed(config_print_help), *sample = printed(config_print_sample);

	cr_assert_not_null(strstr(help, "Default: 127.0.0.1:6432; needs a restart\n"));
	cr_assert_not_null(strstr(help, "Default: 1; 1 to 64\n"));
	cr_assert_not_null(strstr(sample, "# address:port; needs a restart\n#listen ="));
	cr_assert_not_null(strstr(sample, "# connections, 1 to 64\n#lanes ="));
	free(help);
	free(sample);
}

Test(config, the_sample_without_its_comment_signs_is_the_default)
{
	char *text = printed(config_print_sample);
	size_t out = 0;

	/* "#key = value" is a setting, "# text" a comment. */
	for (char *in = text; *in != '\0'; in++) {
		if (*in == '#' && in[1] != ' ' && (in == text || in[-1] == '\n'))
			continue;
		text[out++] = *in;
	}
	text[out] = '\0';
	READ(text);
	cr_assert_str_eq(config->coordinator, "host=127.0.0.1 port=5432 user=postgres");
	cr_assert(config->lanes == 1 && config->node_map.count == 0);
	free(text);
}

Test(config, the_sample_in_etc_is_up_to_date)
{
	const char *srcdir = getenv("PGTOPK_SRCDIR");
	char *text = printed(config_print_sample);
	char path[4096], file[16384];
	size_t len;
	FILE *in;

	snprintf(path, sizeof(path), "%s/etc/pgtopk.conf.sample", srcdir == NULL ? "." : srcdir);
	in = fopen(path, "r");
	cr_assert(in != NULL, "%s is missing", path);
	len = fread(file, 1, sizeof(file) - 1, in);
	file[len] = '\0';
	fclose(in);
	cr_assert(strcmp(file, text) == 0, "run: make etc/pgtopk.conf.sample");
	free(text);
}
