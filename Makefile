# One Makefile, no recursion into folders.  `make help` lists the targets.
#   make [B=build/NAME] [CC=clang] [SAN=address,undefined] [WERROR=-Werror] [FAULTS=1]
CC      ?= gcc
ifeq ($(origin CC),default)
CC       = gcc
endif
B       ?= build/debug
SAN     ?=
OPT     ?= -O2
WERROR  ?=
FAULTS  ?=
# For tools whose runtime makes system calls of its own: daemons load no list.
INSTRUMENTED ?= $(SAN)
VERSION := 0.1.0

PREFIX      ?= /usr
DESTDIR     ?=

WARN = -Wall -Wextra -Wshadow -Wformat=2 -Wundef -Wwrite-strings -Wcast-qual \
       -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes \
       -Wold-style-definition -Wimplicit-fallthrough -Wvla -Wdate-time \
       -Werror=implicit-function-declaration -Werror=incompatible-pointer-types \
       -Werror=int-conversion -Werror=return-type -Werror=format-security \
       -Werror=missing-prototypes -Werror=vla -Werror=uninitialized
ifneq ($(findstring clang,$(CC)),)
WARN    += -Wcomma -Wassign-enum
HARDEN   = -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE
else
WARN    += -Wlogical-op -Wduplicated-cond -Wduplicated-branches \
           -Wjump-misses-init -Wformat-truncation=2 -Walloc-zero
HARDEN   = -fstack-protector-strong -fstack-clash-protection -fcf-protection \
           -fPIE -ftrivial-auto-var-init=zero
endif
CPPFLAGS = -D_GNU_SOURCE -DUNFARM_VERSION='"$(VERSION)"' -Icommon
CFLAGS   = -std=gnu17 $(OPT) -g $(WARN) $(WERROR) $(HARDEN)
LDFLAGS  = -pie -Wl,-z,relro,-z,now,-z,noexecstack
ifeq ($(SAN),)
CPPFLAGS += -D_FORTIFY_SOURCE=3
else
CFLAGS  += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
LDFLAGS += -fsanitize=$(SAN)
endif

COMMON_LIBS  = -lhiredis -luv -ljansson -lcrypto -linih -lcap -lseccomp
GATEWAY_LIBS = -lmicrohttpd
SANDBOX_LIBS = -lcgroup
UN_LIBS      = -lcurl -ljansson -lcrypto -lwslay

ifneq ($(FAULTS),)
CPPFLAGS += -DUNFARM_FAULTS
endif
ifneq ($(INSTRUMENTED),)
CPPFLAGS += -DUNFARM_INSTRUMENTED
endif

# One line a file; `make V=1` shows the commands.
ifeq ($(V),)
Q = @
say = @printf '  %-3s %s\n' $(1) $(2)
endif

obj = $(patsubst %.c,$(B)/%.o,$(1))

COMMON_SRC    := $(wildcard common/*.c)
# What runs as pid 1 of nests and sandboxes: small, no library but libc; as a
# static program, and as a library loaded into what a nest holds.
INIT_SRC      := sandbox/init.c sandbox/init_setup.c sandbox/init_run.c \
                 sandbox/init_files.c sandbox/init_fork.c sandbox/init_net.c \
                 sandbox/init_ahead.c sandbox/init_proc.c
# Of these, tests have a copy in libsandbox.
INIT_SHARED   := sandbox/init_read.c common/msg.c common/err.c
HOLD_SRC      := $(wildcard sandbox/hold*.c)
INSIDE_SRC    := $(INIT_SRC) sandbox/init_main.c $(HOLD_SRC)
SANDBOX_SRC   := $(filter-out $(INSIDE_SRC),$(wildcard sandbox/*.c))
GATEWAY_SRC   := $(wildcard gateway/*.c)
WORKER_SRC    := $(wildcard worker/*.c)
SESSIOND_SRC  := $(wildcard sessiond/*.c)
SCHEDULER_SRC := $(wildcard scheduler/*.c)
UN_SRC        := $(wildcard cli/un_*.c)
UNFARM_SRC    := $(wildcard cli/unfarm_*.c)
TEST_SRC      := $(wildcard tests/unit/test_*.c)
FUZZ_SRC      := $(wildcard tests/fuzz/*.c)
BENCH_SRC     := $(wildcard bench/*.c)

PROGRAMS := $(B)/unfarm-gateway $(B)/unfarm-worker $(B)/unfarm-scheduler \
            $(B)/unfarm-sessiond $(B)/un $(B)/unfarm $(B)/sandbox-init $(B)/sandbox-hold.so
TESTS    := $(patsubst tests/unit/%.c,$(B)/%,$(TEST_SRC))
ALL_SRC  := $(COMMON_SRC) $(SANDBOX_SRC) $(GATEWAY_SRC) \
            $(WORKER_SRC) $(SESSIOND_SRC) $(SCHEDULER_SRC) $(UN_SRC) $(UNFARM_SRC) \
            $(TEST_SRC) $(FUZZ_SRC) $(BENCH_SRC)
BENCHES  := $(patsubst %,$(B)/bench-%,load floor hello queue)

.DEFAULT_GOAL := all
all: $(PROGRAMS) ## build every program

$(B)/libcommon.a: $(call obj,$(COMMON_SRC)) $(B)/gen/scripts.o
$(B)/libsandbox.a: $(call obj,$(SANDBOX_SRC))
$(B)/lib%.a:
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(B)/unfarm-gateway: $(call obj,$(GATEWAY_SRC)) $(B)/libcommon.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(GATEWAY_LIBS) $(COMMON_LIBS)
$(B)/unfarm-worker: $(call obj,$(WORKER_SRC)) $(B)/libsandbox.a $(B)/libcommon.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(SANDBOX_LIBS) $(COMMON_LIBS)
$(B)/unfarm-sessiond: $(call obj,$(SESSIOND_SRC)) $(B)/libsandbox.a $(B)/libcommon.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lwslay -lz $(SANDBOX_LIBS) $(COMMON_LIBS)
$(B)/unfarm-scheduler: $(call obj,$(SCHEDULER_SRC)) $(B)/libcommon.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(COMMON_LIBS)
$(B)/un: $(call obj,$(UN_SRC)) $(B)/libcommon.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(UN_LIBS)
$(B)/unfarm: $(call obj,$(UNFARM_SRC)) $(B)/libsandbox.a $(B)/libcommon.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(SANDBOX_LIBS) $(COMMON_LIBS)
# Never sanitized: they are the sandbox's own code and must stay small.
INSIDE_FLAGS = $(filter-out -D_FORTIFY_SOURCE=3,$(CPPFLAGS)) -iquote sandbox -std=gnu17 \
    -Os -g $(WARN) $(WERROR) -fstack-protector-strong -ffunction-sections \
    -fdata-sections -Wl,--gc-sections
INSIDE_HEADERS = $(wildcard sandbox/*.h sandbox/*.def common/*.h common/*.def)
$(B)/sandbox-init: sandbox/init_main.c $(INIT_SRC) $(INIT_SHARED) $(INSIDE_HEADERS)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(INSIDE_FLAGS) -static -o $@ $(filter %.c,$^)
$(B)/sandbox-hold.so: $(HOLD_SRC) $(INIT_SRC) $(INIT_SHARED) $(INSIDE_HEADERS)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(INSIDE_FLAGS) -fPIC -fvisibility=hidden -shared -o $@ $(filter %.c,$^)

$(B)/gen/scripts.c: $(wildcard conf/redis/*.lua) common/scripts.def scripts/embed-lua
	@mkdir -p $(@D)
	$(Q)scripts/embed-lua conf/redis common/scripts.def > $@.new && mv $@.new $@
$(B)/gen/%.o: $(B)/gen/%.c
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
$(B)/worker/%.o $(B)/sessiond/%.o $(B)/cli/unfarm_%.o $(B)/tests/%.o: CPPFLAGS += -iquote sandbox
$(B)/tests/%.o: CPPFLAGS += -Igateway -Iworker -Ischeduler -Icli -Isessiond -Ibench

-include $(patsubst %.c,$(B)/%.d,$(ALL_SRC))

# ---- trying it ----

JOBS = $(shell nproc)

run: ## install what is missing, build, start a farm, run an example
	@scripts/install-deps run
	@scripts/languages install small
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@scripts/farm start
	@scripts/farm example
stop: ## stop the farm that `make run` started
	@scripts/farm stop
languages: ## install the small tier of languages
	@scripts/install-deps run
	@scripts/languages install small

# ---- tests ----

# A unit test links the libraries, and of each program all but its main().
TEST_LIBS = $(B)/libgateway.a $(B)/libworker.a $(B)/libsessiond.a $(B)/libun.a \
            $(B)/libbench.a $(B)/libsandbox.a $(B)/libcommon.a
$(B)/libbench.a: $(call obj,bench/hist.c bench/http.c)
$(B)/libgateway.a: $(call obj,$(filter-out gateway/main.c,$(GATEWAY_SRC)))
$(B)/libworker.a: $(call obj,$(filter-out worker/main.c,$(WORKER_SRC)))
$(B)/libsessiond.a: $(call obj,$(filter-out sessiond/main.c,$(SESSIOND_SRC)))
$(B)/libun.a: $(call obj,$(filter-out cli/un_main.c,$(UN_SRC)))
$(B)/test_%: $(B)/tests/unit/test_%.o $(TEST_LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(TEST_LIBS) $(GATEWAY_LIBS) \
	    $(SANDBOX_LIBS) $(COMMON_LIBS) -lcurl -lwslay -lcmocka

# A fuzz target links the same.  Where the compiler brings no fuzzer, driver.c
# is its main(), which needs the sanitizers all the same.
FUZZERS = $(patsubst tests/fuzz/fuzz_%.c,$(B)/fuzz_%,$(filter tests/fuzz/fuzz_%,$(FUZZ_SRC)))
ifneq ($(findstring fuzzer,$(SAN)),)
FUZZ_MAIN = -fsanitize=fuzzer
else
FUZZ_MAIN = $(B)/tests/fuzz/driver.o
endif
FUZZ_HELP = $(B)/tests/fuzz/fuzz.o $(B)/tests/fuzz/liar.o
$(B)/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/driver.o $(FUZZ_HELP) $(TEST_LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(FUZZ_HELP) $(FUZZ_MAIN) \
	    $(TEST_LIBS) $(GATEWAY_LIBS) $(SANDBOX_LIBS) $(COMMON_LIBS) -lcurl -lwslay -lz

test: ## install what tests need, build, run every test
	@scripts/install-deps test
	@scripts/languages install small
	@$(MAKE) --no-print-directory -j$(JOBS) all tests
	@$(MAKE) --no-print-directory faults
	@$(MAKE) --no-print-directory -j$(JOBS) $(FUZZ_BUILD) fuzzers
	@scripts/run-tests all
tests: $(TESTS) $(BENCHES)
faults: ## the programs with the switch that kills them (common/fault.h)
	@$(MAKE) --no-print-directory -j$(JOBS) B=build/fault FAULTS=1 all
FUZZ_BUILD = B=build/fuzz CC=gcc OPT=-O1 SAN=address,undefined
fuzzers: $(FUZZERS)
soak: ## the long forms of the tests that have one: hours of load in minutes
	@scripts/install-deps test
	@scripts/languages install small
	@$(MAKE) --no-print-directory -j$(JOBS) all tests
	@SOAK=1 /usr/bin/python3 -m pytest -p no:cacheprovider -q --durations=8 \
	    tests/security/test_hygiene.py tests/security/test_compilers.py \
	    tests/fault/test_overload.py tests/sessions/test_session_chaos.py \
	    tests/sessions/test_session_strangers.py \
	    tests/sessions/test_session_acceptance.py
check: tests ## unit tests only, seconds
	@scripts/run-tests unit
lint: ## clang-format, clang-tidy, cppcheck, shellcheck, include walls
	@scripts/install-deps lint
	@scripts/lint
# What was freed is kept for a while, to find who uses it; kept for ever it would
# look like a leak to the tests that watch the memory of daemons.  These hide their
# memory, from the search for leaks as well: `make valgrind` looks for the worker's.
asan: ## every test under address and undefined
	@scripts/install-deps test lint
	@$(MAKE) --no-print-directory -j$(JOBS) B=build/asan SAN=address,undefined all tests
	@$(MAKE) --no-print-directory faults
	@$(MAKE) --no-print-directory -j$(JOBS) $(FUZZ_BUILD) fuzzers
	@BUILD=build/asan scripts/run-tests unit
	@ASAN_OPTIONS=quarantine_size_mb=8:detect_leaks=0 SAN=address,undefined \
		BUILD=build/asan scripts/run-tests all
# All programs but sandbox-init (see its rule), as for asan.  Only the worker
# has threads of its own; libraries might.
tsan: ## every test under the thread sanitizer
	@scripts/install-deps test
	@$(MAKE) --no-print-directory -j$(JOBS) B=build/tsan SAN=thread all tests
	@$(MAKE) --no-print-directory faults
	@$(MAKE) --no-print-directory -j$(JOBS) $(FUZZ_BUILD) fuzzers
	@SAN=thread BUILD=build/tsan scripts/run-tests all
# The worker processes.  Not their master: valgrind 3.19 knows no clone3, open_tree
# and mount_setattr, which it answers with ENOSYS, so no sandbox could be made.
valgrind: ## the worker under memcheck: no error, nothing lost
	@scripts/install-deps test valgrind
	@$(MAKE) --no-print-directory -j$(JOBS) B=build/valgrind INSTRUMENTED=1 all
	@BUILD=build/valgrind /usr/bin/python3 -m pytest -p no:cacheprovider -q tests/valgrind
fuzz: ## every fuzz target for FUZZ_SECONDS (60)
	@scripts/install-deps lint
	@$(MAKE) --no-print-directory -j$(JOBS) B=build/libfuzzer CC=clang OPT=-O1 \
	    SAN=fuzzer-no-link,address,undefined fuzzers
	@scripts/fuzz $${FUZZ_SECONDS:-60}
clang: ## the whole build with clang, warnings are errors
	@scripts/install-deps test lint
	@$(MAKE) --no-print-directory -j$(JOBS) B=build/clang CC=clang WERROR=-Werror all tests
format: ## clang-format in place
	clang-format -i $(wildcard common/*.[ch] sandbox/*.[ch] worker/*.[ch] \
	    gateway/*.[ch] scheduler/*.[ch] sessiond/*.[ch] cli/*.[ch] \
	    bench/*.[ch] tests/*/*.c)

# ---- measuring ----

$(B)/bench-load: $(call obj,bench/load.c bench/client.c) $(B)/libbench.a $(B)/libcommon.a
$(B)/bench-floor: $(call obj,bench/floor.c) $(B)/libbench.a
$(B)/bench-hello: $(call obj,bench/hello.c)
$(B)/bench-queue: $(call obj,bench/queue.c) $(B)/libbench.a $(B)/libcommon.a
$(BENCHES):
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(GATEWAY_LIBS) $(COMMON_LIBS)

bench: ## measure farm, floor and others side by side (ten minutes; BENCH_ARGS=--quick: one)
	@scripts/install-deps test bench
	@scripts/languages install small
	@$(MAKE) --no-print-directory -j$(JOBS) all $(BENCHES)
	@bench/run $(BENCH_ARGS)

# ---- installing ----

install: all ## install below DESTDIR
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin \
	    $(DESTDIR)$(PREFIX)/libexec/unfarm $(DESTDIR)$(PREFIX)/share/unfarm \
	    $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man8 \
	    $(DESTDIR)/etc/unfarm
	install -m 755 $(B)/un $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(B)/unfarm $(B)/unfarm-gateway $(B)/unfarm-worker \
	    $(B)/unfarm-scheduler $(B)/unfarm-sessiond $(DESTDIR)$(PREFIX)/sbin
	install -m 755 $(B)/sandbox-init $(B)/sandbox-hold.so $(DESTDIR)$(PREFIX)/libexec/unfarm
	cp -r conf/languages.d conf/shells.json conf/sandbox.paths \
	    $(DESTDIR)$(PREFIX)/share/unfarm
	install -m 644 docs/un.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 644 conf/systemd/*.service $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 644 docs/unfarm.8 $(DESTDIR)$(PREFIX)/share/man/man8
	$(B)/unfarm config --sample > $(DESTDIR)/etc/unfarm/unfarm.conf.sample

clean: ## remove what was built
	rm -rf build
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: all run stop languages test tests soak faults fuzzers check lint asan tsan valgrind \
        fuzz bench clang format install clean help
.SECONDARY:
