# Fuzz: builds the targets with libFuzzer under ASan and UBSan and runs them, one
# after another. For `make fuzz`, which gives the names below; by GNU make.
#
# SRCDIR, SOURCES (the three libraries'), CPPFLAGS, CFLAGS, LIBS; TIME in seconds
# for each, TARGET for one of them.

FUZZ_CC ?= $(shell command -v clang || command -v clang-19 || command -v clang-14)
TIME ?= 60
TARGET ?= $(TARGETS)
TARGETS = $(PLAIN) $(SESSIONS)
PLAIN = config merge planner scram wire
SESSIONS = backend frontend startup

DIR = var/fuzz
# the world around a session; its connections take the place of proxy/pq.c
HELPERS = t/fuzz/answers.c t/fuzz/server.c t/fuzz/server_login.c t/fuzz/world.c
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
COMPILE = $(FUZZ_CC) -std=c11 -O1 -g $(SANITIZE) -fsanitize=fuzzer-no-link -I$(SRCDIR) $(CPPFLAGS)

objects = $(SOURCES:%.c=$(DIR)/%.o)
helpers = $(HELPERS:%.c=$(DIR)/%.o)
programs = $(TARGET:%=$(DIR)/fuzz_%)

.PHONY: run build
run: build
	@for target in $(TARGET); do \
		TIME='$(TIME)' $(SRCDIR)/t/fuzz/run $$target '$(DIR)' '$(SRCDIR)' || exit 1; done

build: $(programs)

ifeq ($(FUZZ_CC),)
$(error make fuzz needs clang and its libFuzzer (Debian: clang libclang-rt-14-dev))
endif

$(DIR)/%.o: $(SRCDIR)/%.c
	@mkdir -p $(@D)
	$(COMPILE) -Werror=implicit-function-declaration -MMD -MP -c -o $@ $<

$(DIR)/libpgtopk.a: $(objects)
	@rm -f $@
	@ar cr $@ $^

$(PLAIN:%=$(DIR)/fuzz_%): $(DIR)/fuzz_%: $(DIR)/t/fuzz/fuzz_%.o $(DIR)/libpgtopk.a
	$(FUZZ_CC) $(SANITIZE) -fsanitize=fuzzer -o $@ $^ $(LIBS)

# The stand-ins come first, so that nothing of the library is taken in their place.
$(SESSIONS:%=$(DIR)/fuzz_%): $(DIR)/fuzz_%: $(DIR)/t/fuzz/fuzz_%.o $(helpers) $(DIR)/libpgtopk.a
	$(FUZZ_CC) $(SANITIZE) -fsanitize=fuzzer -Wl,--wrap=digest_random -o $@ $^ $(LIBS)

.SECONDARY:
-include $(objects:.o=.d) $(helpers:.o=.d) $(TARGETS:%=$(DIR)/t/fuzz/fuzz_%.d)
