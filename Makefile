# make [MODE=release|debug|asan|tsan] [all|check|check-web|check-san|fuzz|bench|bench-aria|demo|model|deps|install|uninstall|clean|dist]
# CFLAGS, LDFLAGS, PREFIX and DESTDIR are the user's; PACKAGES are Debian's, and `make deps` installs them.

VERSION  := 0.1.0
MODE     ?= release
CC       ?= cc
AR       ?= ar
CFLAGS   ?= -O2 -g
PREFIX   ?= /usr/local
DESTDIR  ?=
O        := build/$(MODE)

MODE_debug := -O0 -DMOE_DEBUG
MODE_asan  := -O1 -DMOE_DEBUG -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
MODE_fuzz  := -O1 -DMOE_DEBUG -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
MODE_tsan  := -O1 -DMOE_DEBUG -fsanitize=thread

PKGS     := libarchive jansson libpcre2-8 libutf8proc libdeflate libxxhash zlib cairo cairo-ft fontconfig freetype2 nettle
NEED     := -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DMOE_VERSION='"$(VERSION)"' -Ilib -Icmd \
            -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wformat=2 -Wno-maybe-uninitialized -Wno-unknown-warning-option \
            -ffp-contract=off -fPIE -pthread -fstack-protector-strong
COMPILE   = $(CC) $(NEED) $(CPPFLAGS) $(CFLAGS) $(MODE_$(MODE)) $(PKG_CFLAGS)
LINK      = $(CC) $(CFLAGS) $(MODE_$(MODE)) -pie -pthread -Wl,--as-needed -Wl,-z,relro,-z,now $(LDFLAGS)
LIBS      = $(PKG_LIBS) -lm

# Only what compiles here asks pkg-config: `make deps` works on a bare machine, and check, bench and demo call make again when all is there.
ifneq ($(filter-out deps missing-deps clean dist uninstall check check-web check-san fuzz bench bench-aria demo model,$(or $(MAKECMDGOALS),all)),)
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>&1 || echo missing)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
ifneq ($(filter missing,$(PKG_CFLAGS)),)
$(error libraries are missing ($(PKG_CFLAGS)); `make deps` installs them on Debian)
endif
endif

LIB    := $(patsubst %.c,$(O)/%.o,$(wildcard lib/*/*.c))
COMMON := $(patsubst %.c,$(O)/%.o,$(wildcard cmd/common/*.c))
CMDS   := $(patsubst cmd/%.c,$(O)/bin/%,$(wildcard cmd/*.c))
TESTS  := $(patsubst tests/%.c,$(O)/tests/%,$(wildcard tests/lib/*.c tests/kernel/*.c)) $(O)/tests/golden/run \
          $(patsubst tests/fuzz/%.c,$(O)/tests/fuzz/%,$(filter-out tests/fuzz/replay.c,$(wildcard tests/fuzz/*.c)))
TARGETS := $(filter-out replay,$(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c)))
PAGES  := $(wildcard man/*.[1-9])
COMPLETIONS := completions/moe.bash completions/_moe completions/moe.fish

all: $(CMDS) $(O)/share/moe

$(O)/libmoe.a: $(LIB) $(O)/members
	@rm -f $@
	$(AR) rcs $@ $(LIB)
$(O)/bin/%: $(O)/cmd/%.o $(COMMON) $(O)/libmoe.a
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(LIBS)
$(O)/tests/golden/run: $(patsubst %.c,$(O)/%.o,$(wildcard tests/golden/*.c)) $(O)/libmoe.a
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(LIBS)
# A fuzz target with the program that replays its corpus; under MODE=fuzz with libFuzzer instead.
ifeq ($(MODE),fuzz)
$(O)/tests/fuzz/%: $(O)/tests/fuzz/%.o $(O)/libmoe.a
	$(LINK) -fsanitize=fuzzer -o $@ $^ $(LIBS)
else
$(O)/tests/fuzz/%: $(O)/tests/fuzz/%.o $(O)/tests/fuzz/replay.o $(O)/libmoe.a
	$(LINK) -o $@ $^ $(LIBS)
endif
$(O)/tests/%: $(O)/tests/%.o $(O)/libmoe.a
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ -lcmocka $(LIBS)
# stb_image_write shifts into the sign bit, which compilers define and the standard does not.
$(O)/lib/synth/jpeg.o: private MODE_asan += -fno-sanitize=shift
$(O)/lib/synth/jpeg.o: private MODE_fuzz += -fno-sanitize=shift
$(O)/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	$(COMPILE) -MMD -MP -c -o $@ $<

# Objects are made again when the flags change, the library when a source comes or goes.
$(O)/flags: SAYS = $(COMPILE) $(LINK)
$(O)/members: SAYS = $(LIB)
$(O)/flags $(O)/members: FORCE
	@mkdir -p $(@D)
	@echo '$(subst ','"'"',$(SAYS))' | cmp -s - $@ || echo '$(subst ','"'"',$(SAYS))' >$@
# The build tree has the shape of an installation: bin/ beside share/moe/.
$(O)/share/moe:
	@mkdir -p $(@D)
	ln -sfn ../../../share $@

tests: $(TESTS)

check: missing-deps
	@$(MAKE) --no-print-directory MODE=$(MODE) all tests
	@MODE=$(MODE) tests/run.sh

# moe-plot's page in headless Chromium; screenshots stay in build/web.
check-web: missing-deps
	@share/deps.sh missing chromium
	@$(MAKE) --no-print-directory all
	@python3 tests/web.py $(O)/bin build/web

check-san: missing-deps
	@$(MAKE) --no-print-directory check MODE=asan
	@$(MAKE) --no-print-directory check MODE=tsan
	@$(MAKE) --no-print-directory all MODE=release
	@tests/valgrind.sh build/release/bin

# FUZZ_SECONDS for each target, of which FUZZ names some; what is found stays in build/fuzz/new/TARGET.
FUZZ_SECONDS ?= 60
FUZZ         ?= $(TARGETS)
fuzz: missing-deps
	@share/deps.sh missing clang
	@$(MAKE) --no-print-directory MODE=fuzz CC=clang $(FUZZ:%=build/fuzz/tests/fuzz/%)
	@set -e; for t in $(FUZZ); do mkdir -p build/fuzz/new/$$t; \
		build/fuzz/tests/fuzz/$$t -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=4096 -close_fd_mask=1 -artifact_prefix=build/fuzz/new/$$t- \
			build/fuzz/new/$$t tests/fuzz/corpus/$$t; done

bench: missing-deps
	@$(MAKE) --no-print-directory all
	@python3 tests/bench.py $(O)/bin

bench-aria: missing-deps
	@$(MAKE) --no-print-directory all
	@python3 tests/bench_aria.py $(O)/bin

demo: missing-deps
	@$(MAKE) --no-print-directory all
	@share/demo/run.sh $(O)/bin

# A model that ships, look or draw, from its data on; SIZE=0.001 tries it out.
SIZE  ?= 1
MODEL ?= look
model: missing-deps
	@$(MAKE) --no-print-directory all
	@share/models/make.sh $(O)/bin $(SIZE) $(MODEL)

deps:
	@share/deps.sh install

# Installs only what is not there, so that `make demo` and `make check` work alone on a fresh machine.
missing-deps:
	@share/deps.sh missing

completions: all
	completions/make.sh $(O)/bin

# A library without its headers would be of no use; what is private to a folder stays here.
HEADERS := $(filter-out %_priv.h,$(wildcard lib/*/*.h))
AT      := $(DESTDIR)$(PREFIX)

install: all
	install -d $(AT)/bin $(AT)/lib
	install -m 755 $(CMDS) $(AT)/bin
	install -m 644 $(O)/libmoe.a $(AT)/lib
	set -e; for h in $(HEADERS:lib/%=%); do install -D -m 644 lib/$$h $(AT)/include/moe/$$h; done
	set -e; for f in $$(cd share && find examples families models plot recipes synth -type f); do install -D -m 644 share/$$f $(AT)/share/moe/$$f; done
	set -e; for p in $(PAGES); do install -D -m 644 -t $(AT)/share/man/man$${p##*.} $$p; done
	set -e; for c in $(notdir $(CMDS)); do install -D -m 644 completions/moe.bash $(AT)/share/bash-completion/completions/$$c; done
	install -D -m 644 -t $(AT)/share/zsh/site-functions completions/_moe
	install -D -m 644 -t $(AT)/share/fish/vendor_completions.d completions/moe.fish

uninstall:
	rm -f $(addprefix $(AT)/bin/,$(notdir $(CMDS))) $(AT)/lib/libmoe.a
	rm -f $(foreach p,$(PAGES),$(AT)/share/man/man$(subst .,,$(suffix $(p)))/$(notdir $(p)))
	rm -f $(addprefix $(AT)/share/bash-completion/completions/,$(notdir $(CMDS)))
	rm -f $(AT)/share/zsh/site-functions/_moe $(AT)/share/fish/vendor_completions.d/moe.fish
	rm -rf $(AT)/share/moe $(AT)/include/moe

dist:
	git archive --prefix=moe-$(VERSION)/ -o moe-$(VERSION).tar.gz HEAD

clean:
	rm -rf build moe-*.tar.gz

FORCE:
.PHONY: all tests check check-web check-san fuzz bench bench-aria demo model deps missing-deps completions install uninstall dist clean FORCE
.SECONDARY:
-include $(patsubst %.o,%.d,$(LIB) $(COMMON)) $(wildcard $(O)/cmd/*.d $(O)/tests/*/*.d)
