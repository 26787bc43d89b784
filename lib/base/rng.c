#include "base/rng.h"

#include <math.h>

void moe_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
	uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];

	for (int round = 0; round < 10; round++) {
		uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
		c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
		c1 = (uint32_t)b;
		c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
		c3 = (uint32_t)a;
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	out[0] = c0;
	out[1] = c1;
	out[2] = c2;
	out[3] = c3;
}

uint64_t moe_random_u64(uint64_t seed, uint64_t stream, uint64_t index)
{
	uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)};
	uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)}, out[4];

	moe_philox(counter, key, out);
	return (uint64_t)out[1] << 32 | out[0];
}

double moe_random_unit(uint64_t seed, uint64_t stream, uint64_t index)
{
	return (double)(moe_random_u64(seed, stream, index) >> 11) * 0x1p-53;
}

/* ln x for x in (0, 1], by the series of atanh: the same bits everywhere, which libm's logarithm does not promise. */
static double logarithm(double x)
{
	int e;
	double m = frexp(x, &e), s, z, sum = 0;

	if (m < 0.70710678118654752) {
		m *= 2;
		e--;
	}
	s = (m - 1) / (m + 1);          /* |s| < 0.172 */
	z = s * s;
	for (int k = 23; k > 0; k -= 2)
		sum = sum * z + 1.0 / k;
	return 2 * s * sum + e * 0.69314718055994531;
}

double moe_random_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
	double u = 0, v, s = 0;

	for (uint64_t attempt = 0; attempt < 64 && (s >= 1 || s == 0); attempt++) {
		uint64_t bits = moe_random_u64(seed, stream, index << 6 | attempt);
		u = ((double)(uint32_t)bits + 0.5) * 0x1p-31 - 1;
		v = ((double)(bits >> 32) + 0.5) * 0x1p-31 - 1;
		s = u * u + v * v;
	}
	return s < 1 && s > 0 ? u * sqrt(-2 * logarithm(s) / s) : 0;
}
