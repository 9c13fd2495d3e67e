# kijil: one Makefile, one dependency graph. `make help` lists the targets.
CONFIG  ?= release
O       ?= build
-include config.mk                      # local overrides; never committed

CC      ?= cc
CXX     ?= c++
PKGS     = libxml-2.0 libpcre2-8 libzstd libarchive sqlite3 yaml-0.1 \
           libbrotlidec uchardet simdjson libcurl
# -fno-math-errno lets sqrt() be one instruction; arithmetic stays IEEE.
DEFS     = -D_DEFAULT_SOURCE -D_POSIX_C_SOURCE=200809L -D_FILE_OFFSET_BITS=64 -I.
STD      = -std=c17 $(DEFS)
WARN     = -Wall -Wextra -Wpedantic -Wshadow -Wwrite-strings -Wvla -Wformat=2 \
           $(if $(WERROR),-Werror)
CWARN    = $(WARN) -Wstrict-prototypes -Wmissing-prototypes
OPT.release = -O2 -g -fno-math-errno
OPT.debug   = -O0 -g3 -DKJ_DEBUG
OPT.asan    = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
              -fno-sanitize-recover=all -DKJ_DEBUG
OPT.tsan    = -O1 -g -fsanitize=thread -DKJ_DEBUG
PKGCFLAGS := $(shell pkg-config --cflags $(PKGS))
PKGLIBS   := $(shell pkg-config --libs $(PKGS))
CFLAGS_ALL   = $(STD) $(CWARN) $(OPT.$(CONFIG)) -pthread $(PKGCFLAGS) $(CFLAGS)
CXXFLAGS_ALL = -std=c++17 $(DEFS) $(WARN) $(OPT.$(CONFIG)) -pthread $(PKGCFLAGS) $(CXXFLAGS)
LDFLAGS_ALL  = $(OPT.$(CONFIG)) -pthread $(LDFLAGS)
LDLIBS_ALL   = $(PKGLIBS) -ldeflate -lz -lbz2 -lxxhash -lm $(LDLIBS)
LINK         = $(CXX) $(LDFLAGS_ALL)

B       := $(O)/$(CONFIG)

# Vector code wants the compiler to vectorise loops and to fuse a*b+c.
CFLAGS.kern_base   = $(if $(filter release,$(CONFIG)),-O3) -ffp-contract=fast
CFLAGS.kern_avx2   = $(CFLAGS.kern_base)
CFLAGS.kern_avx512 = $(CFLAGS.kern_base)
# The same bits on all devices (nn/arith.h, kj_mul).
CFLAGS.adamw_bf16 = -O3 -ffp-contract=off
# Loops over floats that want vectors.
CFLAGS.ft_train = -O3
CFLAGS.ft_quant = -O3
# The judge's sums round alike on all machines: nothing is fused.
CFLAGS.judge = -O3 -ffp-contract=off
CFLAGS.bench_judge = -O3
CFLAGS.features = -O3
# Square roots and floats of doubles become vectors only where no fault is asked for.
CFLAGS.normal = -O3 -ffp-contract=fast -fno-math-errno -fno-trapping-math

# The rooms. A module may use base; classify and trainer also use nn; only
# commands/ may use all (scripts/checksrc proves it).
MODULES := base nn extract filter dedup classify tokenize manifests trainer
DIRS    := $(MODULES) nn/cpu commands
SRC     := $(sort $(wildcard $(DIRS:=/*.c)))
CXXSRC  := $(sort $(wildcard $(DIRS:=/*.cc)))
ASMSRC  := $(sort $(wildcard $(DIRS:=/*.S)))
HDR     := $(sort $(wildcard $(DIRS:=/*.h)))
TOP     := main.c stages.c

objs     = $(patsubst %,$(B)/%.o,$(basename $(filter $(1)/%,$(SRC) $(CXXSRC) $(ASMSRC))))
LIBS    := $(MODULES:%=$(B)/lib%.a)
LIBOBJ  := $(foreach m,$(MODULES),$(call objs,$m))
CMDOBJ  := $(call objs,commands) $(TOP:%.c=$(B)/%.o)

# What a module's tests are linked with, in link order.
uses    = $(1) $(if $(filter classify trainer,$(1)),nn) $(filter-out $(1),base)
UNIT    := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/*/test_*.c))
REPLAY  := $(patsubst tests/fuzz/fuzz_%.c,$(B)/tests/replay_%,$(wildcard tests/fuzz/fuzz_*.c))
BENCH   := $(patsubst %.c,$(B)/%,$(wildcard tests/bench/bench_*.c))
GRADS   := $(B)/tests/cuda/gradients

all: $(B)/kijil kijil                      ## build the program (default)

kijil: $(B)/kijil
	@ln -sf $< $@
$(B)/kijil: $(CMDOBJ) $(LIBS) $(B)/ldflags
	$(LINK) -o $@ $(CMDOBJ) -Wl,--start-group $(LIBS) -Wl,--end-group $(LDLIBS_ALL)

define modlib
$(B)/lib$(1).a: $(call objs,$(1))
	@rm -f $$@; $(AR) rcs $$@ $$^
$(B)/tests/unit/$(1)/%: $(B)/tests/unit/$(1)/%.o $(patsubst %,$(B)/lib%.a,$(call uses,$(1))) $(B)/ldflags
	$(LINK) -o $$@ $$(filter %.o %.a,$$^) $$(LDLIBS_ALL)
endef
$(foreach m,$(MODULES),$(eval $(call modlib,$m)))
# The oracle of one test; without it that part is skipped.
$(B)/tests/unit/dedup/test_substring: private LDLIBS += $(shell pkg-config --libs libdivsufsort 2>/dev/null)

$(B)/%.o: %.c $(B)/cflags
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(CFLAGS.$(*F)) -MMD -MP -c -o $@ $<
$(B)/%.o: %.cc $(B)/cflags
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS_ALL) -MMD -MP -c -o $@ $<
$(B)/%.o: %.S $(B)/cflags
	@mkdir -p $(@D)
	$(CC) $(DEFS) -MMD -MP -c -o $@ $<
$(B)/manifests/embedded.o: manifests/schema.sql manifests/report.css # .incbin
$(B)/extract/judge_data.o: extract/judge.f32
$(REPLAY): $(B)/tests/replay_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/replay.o $(LIBS) $(B)/ldflags
	$(LINK) -o $@ $(filter %.o,$^) -Wl,--start-group $(LIBS) -Wl,--end-group $(LDLIBS_ALL)
$(BENCH) $(GRADS): $(B)/%: $(B)/%.o $(LIBS) $(B)/ldflags
	$(LINK) -o $@ $(filter %.o,$^) -Wl,--start-group $(LIBS) -Wl,--end-group $(LDLIBS_ALL)

# Rebuild when a flag changes: each stamp is rewritten only if its text differs.
FORCE:
$(B)/cflags: FORCE  ; @mkdir -p $(@D); echo '$(CC) $(CFLAGS_ALL) $(CXXFLAGS_ALL)' | cmp -s - $@ || echo '$(CC) $(CFLAGS_ALL) $(CXXFLAGS_ALL)' >$@
$(B)/ldflags: FORCE ; @mkdir -p $(@D); echo '$(LINK) $(LDLIBS_ALL)' | cmp -s - $@ || echo '$(LINK) $(LDLIBS_ALL)' >$@

# The CUDA back end: one shared object that the program opens at run time.
NVCC    ?= $(firstword $(wildcard $(CUDA_HOME)/bin/nvcc) $(shell command -v nvcc 2>/dev/null) \
             $(wildcard /usr/local/cuda/bin/nvcc))
CUDALIB  = $(abspath $(dir $(NVCC))../lib64)
CUSRC   := $(sort $(wildcard nn/cuda/*.cu))
CUHOST  := nn/fault.c base/err.c $(wildcard nn/comm*.c)           # C that the object has a copy of
CUDNN_H ?= $(wildcard $(CUDALIB)/../include/cudnn.h)    # where they are elsewhere, with CPATH
NCCL_H  ?= $(wildcard $(CUDALIB)/../include/nccl.h)
ifneq ($(strip $(CUDNN_H)),)
CULIBSRC := nn/cuda/attn_cudnn.c nn/cuda/cudnn_graph.c
CULIBS   := -DKJ_CUDNN
endif
ifneq ($(strip $(NCCL_H)),)
CULIBSRC += nn/cuda/nccl_lib.c
CULIBS   += -DKJ_NCCL
endif
CUSM     = sm_80 sm_90a sm_100     # and code of compute_80, which a driver translates for others
CUARCH   = -gencode arch=compute_80,code=compute_80 $(foreach a,$(CUSM),-gencode arch=$(a:sm_%=compute_%),code=$a)
CUWARN   = -Werror all-warnings
empty   :=
CUFLAGS  = -std=c++20 -O3 -lineinfo $(DEFS) $(CULIBS) -DKJ_CUDA_FOR=$(subst $(empty) ,+,$(strip $(CUSM))) $(CUWARN) -Xcompiler -fPIC,-fvisibility=hidden
cuda: $(B)/kijil-cuda.so                   ## the GPU back end (needs nvcc; no GPU)
$(B)/kijil-cuda.so: $(CUSRC:nn/cuda/%.cu=$(B)/cuda/%.o) $(patsubst %.c,$(B)/cuda/%.pic.o,$(CUHOST) $(CULIBSRC))
	$(CXX) -shared -o $@ $^ -L$(CUDALIB) -Wl,-rpath,$(CUDALIB) -Wl,--exclude-libs,ALL -Wl,-z,defs \
	    -lcublasLt -lcudart_static -lrt -ldl -lpthread
$(B)/cuda/%.o: nn/cuda/%.cu $(B)/cflags
	@mkdir -p $(@D); [ -n "$(NVCC)" ] || { echo 'make cuda needs nvcc: set CUDA_HOME' >&2; exit 1; }
	$(NVCC) $(CUFLAGS) $(CUARCH) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<
$(B)/cuda/%.pic.o: %.c $(B)/cflags
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(if $(filter $(CULIBSRC),$<),-isystem $(CUDALIB)/../include) -fPIC -fvisibility=hidden -MMD -MP -c -o $@ $<
cuda-check:                                ## kernels for each GPU: warnings, registers, spills
	@scripts/cuda-check

# The same source for a device that is emulated on the processor (tests/cuda_emu).
EMU      = $(B)/tests/cuda_emu
EMUFLAGS = -std=c++20 $(DEFS) -DKJ_CUDNN -DKJ_NCCL -Itests/cuda_emu $(OPT.$(CONFIG)) -Wall -Wextra -fno-strict-aliasing -ffp-contract=off \
           -Wno-unknown-pragmas -Wno-clobbered -fPIC -fvisibility=hidden $(CXXFLAGS)
EMUSRC  := $(CUSRC) $(wildcard tests/cuda_emu/*.cc)
ifdef RACES # tests/cuda/races.sh: each access of kernels calls tests/cuda/races.cc
EMU      = $(B)/tests/cuda_races
EMUFLAGS += -DKJ_EMU_RACE
EMUSRC  += tests/cuda/races.cc
EACH     = -fsanitize=thread
endif
$(EMU)/kijil-cuda.so: $(patsubst %,$(EMU)/%.o,$(notdir $(basename $(EMUSRC)))) $(CUHOST:%.c=$(B)/cuda/%.pic.o)
	$(CXX) $(LDFLAGS_ALL) -shared -o $@ $^ -lm
$(EMU)/%.o: nn/cuda/%.cu $(B)/cflags
	@mkdir -p $(@D)
	$(CXX) -x c++ $(EMUFLAGS) $(EACH) -MMD -MP -c -o $@ $<
$(EMU)/%.o: tests/cuda_emu/%.cc $(B)/cflags
	@mkdir -p $(@D)
	$(CXX) $(EMUFLAGS) -MMD -MP -c -o $@ $<
$(EMU)/%.o: tests/cuda/%.cc $(B)/cflags
	@mkdir -p $(@D)
	$(CXX) $(EMUFLAGS) $(if $(findstring planted,$@),$(EACH)) -MMD -MP -c -o $@ $<
$(EMU)/planted: $(patsubst %,$(EMU)/%.o,emu fail host races races_planted)
	$(CXX) $(LDFLAGS_ALL) -o $@ $^ -lm -ldl

# Preloaded by shell tests into the program, which it kills in the middle.
$(B)/tests/kill_at.so: tests/cli/kill_at.c
	@mkdir -p $(@D)
	$(CC) -O1 -Wall -Wextra -D_GNU_SOURCE -fPIC -shared -o $@ $< -ldl

tests: all $(UNIT) $(REPLAY) $(GRADS) $(EMU)/kijil-cuda.so $(B)/tests/kill_at.so ## build all test programs
check: tests                               ## unit tests, corpus replay, shell tests
	@B=$(B) tests/run
check-unit: $(UNIT) $(REPLAY) $(EMU)/kijil-cuda.so ## unit tests and corpus replay only
	@B=$(B) tests/run unit
check-asan check-tsan:                     ## the same under sanitizers
	$(MAKE) CONFIG=$(@:check-%=%) check
$(B)/classify/lid_data.o: classify/lid.ftz
$(B)/classify/prompts.o: classify/prompt_en.txt classify/prompt_ko.txt # .incbin
lid-model: $(B)/kijil                      ## train the built-in language model again
	scripts/make_lid_model $(B)/kijil classify/lid.ftz
hdr-check: $(HDR:%=$(B)/%.ok)              ## every header compiles alone
$(B)/%.h.ok: %.h $(B)/cflags
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS_ALL) -fsyntax-only -x c -include $< /dev/null && touch $@
fuzz-%:                                    ## libFuzzer binary for one target (clang)
	$(MAKE) CC=clang CXX=clang++ O=$(O)/fuzz CONFIG=debug \
	    OPT.debug='-g -O1 -fsanitize=fuzzer-no-link,address,undefined -DKJ_DEBUG' fuzz-link-$*
fuzz-link-%: $(B)/tests/fuzz/fuzz_%.o $(LIBS)
	$(LINK) -fsanitize=fuzzer -o $(O)/fuzz_$* $< -Wl,--start-group $(LIBS) -Wl,--end-group $(LDLIBS_ALL)
lint: hdr-check                            ## format, rules, cppcheck, clang-tidy, shellcheck
	@scripts/lint
bench: $(B)/kijil $(BENCH)                 ## MB/s of each stage beside its peers
	@B=$(B) tests/bench/run
bench-%: tests/bench/%.sh $(B)/kijil $(BENCH) ## a closer look: extract, filter, decontam, dedup, classify, lid, refine, encoder, stream, tokenize, train
	@B=$(B) $<
print-defs:
	@echo '$(STD) $(PKGCFLAGS)'
format:                                    ## clang-format in place
	clang-format -i $(SRC) $(HDR) $(TOP) $(wildcard tests/*/*.[ch] tests/unit/*/*.[ch])
man: $(B)/kijil                            ## man pages into man/
	$(B)/kijil completion man man
clean:                                     ## remove build/
	rm -rf $(O) kijil
help:                                      ## this list
	@awk -F':.*## ' '/^[a-z%-][a-z% -]*:.*## /{printf "  %-22s %s\n",$$1,$$2}' $(firstword $(MAKEFILE_LIST))
.PHONY: all cuda cuda-check lid-model tests man check check-unit check-asan check-tsan hdr-check lint bench \
        print-defs format clean help FORCE
.SECONDARY:
-include $(LIBOBJ:.o=.d) $(CMDOBJ:.o=.d) $(UNIT:=.d) $(wildcard $(B)/tests/*/*.d $(B)/cuda/*.d $(B)/cuda/*/*.d)
