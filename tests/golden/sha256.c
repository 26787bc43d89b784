#include "sha256.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The constants are the first 32 bits of the fractions of the cube roots of the first 64 primes, and of the square roots of the first 8. */
static uint32_t k[64], start[8];

static uint32_t fraction(long double x) { return (uint32_t)((x - floorl(x)) * 4294967296.0L); }

static void make_constants(void)
{
	int n = 0;

	for (int p = 2; n < 64; p++) {
		int q = 2;
		while (p % q)
			q++;
		if (q < p)
			continue;
		if (n < 8)
			start[n] = fraction(sqrtl(p));
		k[n++] = fraction(cbrtl(p));
	}
}

static inline uint32_t turn(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void block(uint32_t h[8], const uint8_t *p)
{
	uint32_t w[64], s[8];

	for (int i = 0; i < 16; i++, p += 4)
		w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	for (int i = 16; i < 64; i++)
		w[i] = w[i - 16] + w[i - 7] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) +
		       (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(s, h, sizeof s);
	for (int i = 0; i < 64; i++) {
		uint32_t a = s[0], e = s[4];
		uint32_t t = s[7] + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + k[i] + w[i];
		uint32_t u = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
		memmove(s + 1, s, 7 * sizeof *s);
		s[4] += t;
		s[0] = t + u;
	}
	for (int i = 0; i < 8; i++)
		h[i] += s[i];
}

void sha256_hex(char out[65], const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	uint8_t tail[128] = {0};
	size_t rest = n % 64, n_tail = rest < 56 ? 64 : 128;
	uint32_t h[8];

	if (!k[0])
		make_constants();
	memcpy(h, start, sizeof h);
	for (size_t i = 0; i + 64 <= n; i += 64)
		block(h, p + i);
	if (rest)
		memcpy(tail, p + n - rest, rest);
	tail[rest] = 0x80;
	for (int i = 0; i < 8; i++)
		tail[n_tail - 1 - i] = (uint8_t)((uint64_t)n * 8 >> 8 * i);
	for (size_t i = 0; i < n_tail; i += 64)
		block(h, tail + i);
	for (int i = 0; i < 8; i++)
		snprintf(out + 8 * i, 9, "%08x", h[i]);
}
