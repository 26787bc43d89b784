# make [MODE=release|debug|asan|tsan] [all|check|check-san|bench|demo|deps|install|uninstall|clean|dist]
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
MODE_tsan  := -O1 -DMOE_DEBUG -fsanitize=thread

PKGS     := libarchive jansson libpcre2-8 libutf8proc libdeflate libxxhash zlib
NEED     := -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DMOE_VERSION='"$(VERSION)"' -Ilib -Icmd \
            -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wformat=2 -Wno-maybe-uninitialized -ffp-contract=off -fPIE -pthread
COMPILE   = $(CC) $(NEED) $(CPPFLAGS) $(CFLAGS) $(MODE_$(MODE)) $(PKG_CFLAGS)
LINK      = $(CC) $(CFLAGS) $(MODE_$(MODE)) -pie -pthread -Wl,--as-needed $(LDFLAGS)
LIBS      = $(PKG_LIBS) -lm

# Only targets that compile ask pkg-config, so that `make deps` works on a bare machine.
ifeq ($(filter deps clean dist uninstall,$(MAKECMDGOALS)),)
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
endif

LIB    := $(patsubst %.c,$(O)/%.o,$(wildcard lib/*/*.c))
COMMON := $(patsubst %.c,$(O)/%.o,$(wildcard cmd/common/*.c))
CMDS   := $(patsubst cmd/%.c,$(O)/bin/%,$(wildcard cmd/*.c))
TESTS  := $(patsubst tests/%.c,$(O)/tests/%,$(wildcard tests/lib/*.c tests/kernel/*.c)) $(O)/tests/golden/run
PAGES  := $(wildcard man/*.[1-9])
COMPLETIONS := completions/moe.bash completions/_moe completions/moe.fish

all: $(CMDS) $(O)/share/moe

$(O)/libmoe.a: $(LIB)
	@rm -f $@
	$(AR) rcs $@ $^
$(O)/bin/%: $(O)/cmd/%.o $(COMMON) $(O)/libmoe.a
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(LIBS)
$(O)/tests/golden/run: $(patsubst %.c,$(O)/%.o,$(wildcard tests/golden/*.c)) $(O)/libmoe.a
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(LIBS)
$(O)/tests/%: $(O)/tests/%.o $(O)/libmoe.a
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ -lcmocka $(LIBS)
$(O)/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	$(COMPILE) -MMD -MP -c -o $@ $<

# Objects are made again when the flags change.
$(O)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(subst ','"'"',$(COMPILE) $(LINK))' | cmp -s - $@ || echo '$(subst ','"'"',$(COMPILE) $(LINK))' >$@
# The build tree has the shape of an installation: bin/ beside share/moe/.
$(O)/share/moe:
	@mkdir -p $(@D)
	ln -sfn ../../../share $@

tests: $(TESTS)

check: missing-deps
	@$(MAKE) --no-print-directory MODE=$(MODE) all tests
	@MODE=$(MODE) tests/run.sh

check-san: missing-deps
	@$(MAKE) --no-print-directory check MODE=asan
	@$(MAKE) --no-print-directory check MODE=tsan
	@$(MAKE) --no-print-directory all MODE=release
	@tests/valgrind.sh build/release/bin

bench: missing-deps
	@$(MAKE) --no-print-directory all
	@python3 tests/bench.py $(O)/bin

demo: missing-deps
	@$(MAKE) --no-print-directory all
	@share/demo/run.sh $(O)/bin

deps:
	@share/deps.sh install

# Installs only what is not there, so that `make demo` and `make check` work alone on a fresh machine.
missing-deps:
	@share/deps.sh missing

completions: all
	completions/make.sh $(O)/bin

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/share/moe
	install -m 755 $(CMDS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(O)/libmoe.a $(DESTDIR)$(PREFIX)/lib
	cp -R share/families share/models $(DESTDIR)$(PREFIX)/share/moe
	for p in $(PAGES); do d=$(DESTDIR)$(PREFIX)/share/man/man$${p##*.}; install -d $$d; install -m 644 $$p $$d; done
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	for c in $(notdir $(CMDS)); do install -m 644 completions/moe.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$c; done
	install -m 644 completions/_moe $(DESTDIR)$(PREFIX)/share/zsh/site-functions
	install -m 644 completions/moe.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d

uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,$(notdir $(patsubst %.c,%,$(wildcard cmd/*.c)))) $(DESTDIR)$(PREFIX)/lib/libmoe.a
	rm -f $(foreach p,$(PAGES),$(DESTDIR)$(PREFIX)/share/man/man$(subst .,,$(suffix $(p)))/$(notdir $(p)))
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/share/bash-completion/completions/,$(notdir $(patsubst %.c,%,$(wildcard cmd/*.c))))
	rm -f $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_moe $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/moe.fish
	rm -rf $(DESTDIR)$(PREFIX)/share/moe

dist:
	git archive --prefix=moe-$(VERSION)/ -o moe-$(VERSION).tar.gz HEAD

clean:
	rm -rf build moe-*.tar.gz

FORCE:
.PHONY: all tests check check-san bench demo deps missing-deps completions install uninstall dist clean FORCE
.SECONDARY:
-include $(patsubst %.o,%.d,$(LIB) $(COMMON)) $(wildcard $(O)/cmd/*.d $(O)/tests/*/*.d)
