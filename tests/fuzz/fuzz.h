/* A fuzz target: one function that is given any bytes at all and must come back. `make fuzz` runs the targets under libFuzzer; replay.c runs
 * each on the files of its corpus, as part of the tests. */
#ifndef MOE_TESTS_FUZZ_H
#define MOE_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the program as a crash does, so that the fuzzer keeps the input. */
#define FUZZ_EXPECT(condition) do { if (!(condition)) __builtin_trap(); } while (0)

#endif
