/* SHA-256 (FIPS 180-4), for references that are given as hashes. */
#ifndef MOE_TESTS_SHA256_H
#define MOE_TESTS_SHA256_H

#include <stddef.h>

/* 64 lower-case hexadecimal digits and a NUL. */
void sha256_hex(char out[65], const void *bytes, size_t n);

#endif
